"""Below the map, one piece: its items' votes, its sharer, the equation with its numbers, and the words that it fits.

The words are the person's own text, shaded by the score of the selected piece; that takes one pass of the model.
"""

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.assembly.explain import TokenScores
from perpcs.assembly.record import Assembly
from perpcs.errors import PerpcsError
from perpcs.figures.answers import mean_score, strongest, token_html, tokens_csv
from perpcs.figures.columns import (
    PieceFacts,
    called,
    largest_piece,
    piece_facts,
    rows_of,
    update_equation,
    weight_equation,
)
from perpcs.pool.manifest import Sharer
from perpcs.pool.portraits import Portrait, Portraits
from perpcs.tasks import Item, get_task
from perpcs.ui.sharers import portrait_said, sample_html
from perpcs.ui.state import Person, Studio, remember, worked_out
from perpcs.ui.widgets import is_dark, stat_row, term
from perpcs.ui.work import deferred, show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- the piece -------------------------------------------------------------------------------------------------------


SHOWN_VOTERS = 5
_BLIND = {
    "retrieval": "PEFT retrieval takes whole sharers with similar histories, the same ones at every position.",
    "uniform": "A control: every shared piece has the same weight, regardless of the history.",
    "random": "A control: pieces are drawn at random, with equal weights.",
}


def piece_panel(engine: "Engine", record: Studio, person: Person, cell: tuple[int, int] | None) -> None:
    """Everything about one piece: the selected one, or else the one with the largest weight."""
    assembly = person.assembly
    position, sharer = cell or largest_piece(assembly, rows_of(assembly.positions, record.module or None))
    facts = piece_facts(assembly, position, sharer)
    card, origin = engine.pool.sharers(person.task)[sharer], engine.pool.manifest.task(person.task).origin
    portraits = engine.stored.portraits(person.task)
    whose = called(assembly.sharers, sharer, portraits)
    hint = "" if cell else " <span class='pp-tag'>largest weight on the map</span>"
    st.html(f"<h2>Piece: {escape(facts.label)}, {escape(whose)}{hint}</h2>")
    left, middle, right = st.columns([0.39, 0.34, 0.27], gap="medium")
    with left:
        _numbers(engine, facts)
    with middle:
        st.html(_voters(facts, person.history))
    with right:
        st.html(_card(card, portraits.of(card.id), assembly, facts, origin))
    sample = sample_html(portraits.of(card.id), portraits)
    if sample:
        st.html(sample)
    _pick_by_name(record, assembly, facts, portraits)


def _numbers(engine: "Engine", facts: PieceFacts) -> None:
    weight = f"{facts.weight:.3f}" if facts.selected else "not selected"
    rows = (
        (weight, term("weight")),
        (f"{facts.score:.3f}", f"{term('score')}, rank {facts.score_rank} of {facts.n_sharers}"),
    )
    st.html(stat_row(rows))
    st.latex(weight_equation(facts))
    st.latex(update_equation(facts, engine.pool.manifest.scale, engine.pool.manifest.kind))


def _voters(facts: PieceFacts, history: tuple[Item, ...]) -> str:
    """Which history items selected the piece, largest vote first."""
    head = f"<b>{len(facts.voters)} of {facts.n_items} items selected it</b>"
    if facts.decided_by == "router":
        return f"<b>No item voted</b><p class='pp-quiet'>{_BLIND[str(facts.router['router'])]}</p>"
    if facts.decided_by == "loss":
        start = "the gates’ weights" if facts.from_gates else "the base model"
        head = (
            f"<b>For {len(facts.voters)} of {facts.n_items} items it is among the {facts.k} that help most here</b>"
            "<p class='pp-quiet'>Bars: how much of the drop in the item’s loss, which these would bring in one "
            f"small step from {start}, is due to this piece.</p>"
        )
        if not facts.voters:
            return head
    if not facts.voters:
        return (
            f"{head}<p class='pp-quiet'>No item ranked this piece among its best at this position. It was not "
            "selected, which is not the same as a weight of 0.</p>"
        )
    rows = []
    for voter in facts.voters[:SHOWN_VOTERS]:
        item = history[voter.item] if voter.item < len(history) else None
        text = " ".join((item.y or item.x).split())[:90] if item else f"item {voter.item + 1} (text not in the file)"
        rows.append(
            f'<div class="pp-voter"><div><div class="pp-vote" style="width:{100 * voter.vote:.0f}%"></div>'
            f"<em>{voter.vote:.2f}</em></div><span>{escape(text)}</span></div>"
        )
    more = len(facts.voters) - SHOWN_VOTERS
    tail = f'<p class="pp-quiet">and {more} more with smaller votes</p>' if more > 0 else ""
    return f"{head}{''.join(rows)}{tail}"


def _card(card: Sharer, portrait: Portrait, assembly: Assembly, facts: PieceFacts, origin: str) -> str:
    """The sharer: numbers about them, never their text."""
    size = np.abs(assembly.weights)
    mine = size[:, facts.sharer]
    held, share = int((mine > 0).sum()), 100 * float(mine.sum()) / (float(size.sum()) or 1.0)
    terms = f"<br>typical words of the cluster: {escape(', '.join(card.terms[:4]))}" if card.terms else ""
    if portrait.name:
        terms = f"<br>{escape(portrait_said(portrait))}"
    loss = (
        f"<br>loss {card.loss[0]:.2f} with the base model, {card.loss[-1]:.2f} with their own pieces"
        if card.loss
        else ""
    )
    name = portrait.name or facts.sharer_name
    whole = f"{escape(origin)}<br>" if origin else ""
    return (
        f'<div class="pp-card" title="sharer {escape(card.id)}"><b>{term("sharer", "Sharer")} {escape(name)}</b>'
        f'<p class="pp-quiet">{whole}cluster {card.cluster}{terms}<br>trained on {card.items} items{loss}<br>'
        f"used at {held} of {len(assembly.positions)} positions, {share:.1f} % of the total weight</p></div>"
    )


def _pick_by_name(record: Studio, assembly: Assembly, facts: PieceFacts, portraits: Portraits) -> None:
    """The same selection as a click on the map, for keyboards and screen readers."""
    with st.expander("Choose a piece by name"):
        a, b = st.columns(2)
        remember("piece-position", facts.label)
        remember("piece-sharer", facts.sharer_id)
        a.selectbox("Position", assembly.positions, key="piece-position", on_change=_take_name, args=(record,))
        b.selectbox(
            "Sharer",
            assembly.sharers,
            key="piece-sharer",
            format_func=lambda id: portraits.of(id).name or id,
            on_change=_take_name,
            args=(record,),
        )


def _take_name(record: Studio) -> None:
    record.cell = (st.session_state["piece-position"], st.session_state["piece-sharer"])


# ---- word by word ----------------------------------------------------------------------------------------------------


SHOWN = 6
"""Number of items to read: those with the largest votes for the piece."""


def words_panel(engine: "Engine", record: Studio, person: Person, position: int, sharer: int) -> None:
    """The items that voted for the piece, each word shaded by the piece's score just before that word."""
    facts = piece_facts(person.assembly, position, sharer)
    whose = called(person.assembly.sharers, sharer, engine.stored.portraits(person.task))
    st.html(f"<h2>{escape(facts.label)}, {escape(whose)}, word by word</h2>")
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
        f'<p class="pp-quiet">{how} Shading shows how far a word’s {term("score")}, taken just before the word is '
        f"written, is from the mean of the words shown ({mean_score(found):+.2f}): <span "
        "class='pp-fit pp-strong'>line above</span> = higher, <span class='pp-unfit pp-strong'>line below</span> = "
        "lower. Hover over a word for its score.</p>"
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
        deferred(lambda: tokens_csv(found.items)),
        "perpcs-words.csv",
        "text/csv",
        on_click="ignore",
        key="tokens-csv",
        type="tertiary",
        icon=":material/table:",
        help="This file contains your words. It is saved to your own disk only.",
    )
