"""Word by word: the person's own text, shaded by the score of the selected piece. Needs one pass of the model."""

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
    from perpcs.serve.engine import Engine

SHOWN = 6
"""Number of items to read: those with the largest votes for the piece."""


def words_panel(engine: "Engine", record: Studio, person: Person, position: int, sharer: int) -> None:
    """The items that voted for the piece, each word shaded by the piece's score just before that word."""
    facts = piece_facts(person.assembly, position, sharer)
    st.html(f"<h2>{escape(facts.label)}, sharer {escape(facts.sharer_name)}, word by word</h2>")
    if not person.history:
        st.html(
            '<p class="pp-note">A saved model holds no text, so there are no words to shade. Assemble it again from '
            "the history.</p>"
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
        f"The router “{escape(str(facts.router.get('router')))}” does not score single words, so the sharer’s "
        f"{term('prototype')} is used instead: how similar the model’s state is to that of the sharer’s own words."
        if found.stands_in
        else f"Scored by the {term(found.router)} used in this assembly; pieces were selected by "
        f"{'the sum' if facts.router.get('reduce') == 'sum' else 'the mean'} over each item."
        if found.router in ("gate", "prototype")
        else "Scored by the direction that the piece amplifies most (arrow); its sign has no meaning."
    )
    st.html(
        f'<p class="pp-quiet">{how} The shade shows how far a word’s {term("score")}, just before it is written, '
        f"is from the mean of these words, {mean_score(found):+.2f}: <span class='pp-fit pp-strong'>line above</span>"
        " = higher, <span class='pp-unfit pp-strong'>line below</span> = lower. Hover over a word for its score.</p>"
        f"<p>Highest scores: {best or '–'}</p>"
    )
    st.html(token_html(found, is_dark()))
    st.html(
        f'<p class="pp-quiet">{len(which)} of {facts.n_items} items'
        + (", those with the largest votes for the piece." if voters else ", the newest; none selected the piece.")
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
        help="This file contains your words. It is saved to your own disk only.",
    )
