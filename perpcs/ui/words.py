"""Word by word: the person's own text, shaded by the score of the piece in front. Needs one pass of the model."""

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from perpcs.assembly.explain import TokenScores
from perpcs.errors import PerpcsError
from perpcs.figures.piece import piece_facts
from perpcs.figures.tokens import mean_score, strongest, token_html, tokens_csv
from perpcs.tasks import get_task
from perpcs.ui.errors import show_error
from perpcs.ui.people import Person
from perpcs.ui.state import Studio, worked_out
from perpcs.ui.strings import term
from perpcs.ui.theme import is_dark

if TYPE_CHECKING:
    from perpcs.personalizers.engine import Engine

SHOWN = 6
"""Items that are read for it: those that gave the piece most."""


def words_panel(engine: "Engine", record: Studio, person: Person, position: int, sharer: int) -> None:
    """The items that pulled the piece, each word shaded by what the piece scored when it was about to be written."""
    facts = piece_facts(person.assembly, position, sharer)
    st.html(f"<h2>{escape(facts.label)}, sharer {escape(facts.sharer_name)}, word by word</h2>")
    if not person.history:
        st.html(
            '<p class="pp-note">A saved person holds no text, so there are no words to shade. Assemble them again from '
            "their history.</p>"
        )
        return
    voters = [voter.item for voter in facts.voters]
    which = sorted([*voters, *(i for i in reversed(range(facts.n_items)) if i not in voters)][:SHOWN])
    try:
        with st.spinner(f"Reading {len(which)} items up to {facts.label}", show_time=True):
            found: TokenScores = worked_out(
                record,
                "tokens",
                (person.assembly.fingerprint, position, sharer),
                lambda: engine.token_scores(
                    get_task(person.task), person.history, person.assembly, position, sharer, which
                ),
            )
    except PerpcsError as error:
        show_error(error)
        return
    best = ", ".join(f"<b>{escape(text)}</b> ({score:+.2f})" for text, score in strongest(found))
    how = (
        f"The router “{escape(str(facts.router.get('router')))}” scores no single words, so the {term('prototype')} of "
        "the sharer stands in: how much like the sharer’s own words the model’s state is."
        if found.stands_in
        else f"Scored by the {term(found.router)} that this person was assembled with; "
        f"{'the sum' if facts.router.get('reduce') == 'sum' else 'the mean'} over an item is what it chose by."
        if found.router in ("gate", "prototype")
        else "Scored by the direction that the piece amplifies most (arrow), whose sign means nothing."
    )
    st.html(
        f'<p class="pp-quiet">{how} Shaded by how far a word’s {term("score")}, at the moment before it was written, '
        f"lies from the mean of these words, {mean_score(found):+.2f}: <span class='pp-fit pp-strong'>line above</span>"
        ", it pulled more; <span class='pp-unfit pp-strong'>line below</span>, less. Hover a word for its score.</p>"
        f"<p>Pulled most by: {best or '–'}</p>"
    )
    st.html(token_html(found, is_dark()))
    st.html(
        f'<p class="pp-quiet">{len(which)} of {facts.n_items} items'
        + (", those that gave the piece most." if voters else ", the newest; none of them chose the piece.")
        + "</p>"
    )
    st.download_button(
        "CSV of these scores",
        lambda: tokens_csv(found.items),
        "perpcs-words.csv",
        "text/csv",
        on_click="ignore",
        key="tokens-csv",
        type="tertiary",
        icon=":material/table:",
        help="It holds your words: it goes to your own disk and nowhere else.",
    )
