"""The panel under the map: one piece, the items that voted for it, its sharer, and the equation with its numbers."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.assembly.record import Assembly
from perpcs.figures.order import rows_of
from perpcs.figures.piece import PieceFacts, largest_piece, piece_facts, update_equation, weight_equation
from perpcs.figures.sentences import called
from perpcs.pool.manifest import Sharer
from perpcs.pool.portraits import Portrait
from perpcs.tasks import Item
from perpcs.ui.facts import facts_html
from perpcs.ui.people import Person
from perpcs.ui.sharer_card import portrait_said, sample_html
from perpcs.ui.state import Studio, remember
from perpcs.ui.strings import term

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

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
    _pick_by_name(record, assembly, facts)


def _numbers(engine: "Engine", facts: PieceFacts) -> None:
    weight = f"{facts.weight:.3f}" if facts.selected else "not selected"
    rows = (
        (weight, term("weight")),
        (f"{facts.score:.3f}", f"{term('score')}, rank {facts.score_rank} of {facts.n_sharers}"),
    )
    st.html(facts_html(rows))
    st.latex(weight_equation(facts))
    st.latex(update_equation(facts, engine.pool.manifest.scale, engine.pool.manifest.kind))


def _voters(facts: PieceFacts, history: tuple[Item, ...]) -> str:
    """Which history items selected the piece, largest vote first."""
    head = f"<b>{len(facts.voters)} of {facts.n_items} items selected it</b>"
    if facts.decided_by == "router":
        return f"<b>No item voted</b><p class='pp-quiet'>{_BLIND[str(facts.router['router'])]}</p>"
    if facts.decided_by == "loss":
        head = (
            f"<b>For {len(facts.voters)} of {facts.n_items} items it is among the {facts.k} that help most here</b>"
            "<p class='pp-quiet'>Bars: its share of the drop in the item’s loss that these would bring, one small "
            "step from the base model.</p>"
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
    whole = f"id {escape(card.id)}<br>" if card.id != facts.sharer_name else ""
    whole += f"{escape(origin)}<br>" if origin else ""
    return (
        f'<div class="pp-card"><b>{term("sharer", "Sharer")} {escape(facts.sharer_name)}</b><p class="pp-quiet">'
        f"{whole}cluster {card.cluster}{terms}<br>trained on {card.items} items{loss}<br>has weight at {held} of "
        f"{len(assembly.positions)} positions, {share:.1f} % of all weight here</p></div>"
    )


def _pick_by_name(record: Studio, assembly: Assembly, facts: PieceFacts) -> None:
    """The same selection as a click on the map, for keyboards and screen readers."""
    with st.expander("Choose a piece by name"):
        a, b = st.columns(2)
        remember("piece-position", facts.label)
        remember("piece-sharer", facts.sharer_id)
        a.selectbox("Position", assembly.positions, key="piece-position", on_change=_take_name, args=(record,))
        b.selectbox("Sharer", assembly.sharers, key="piece-sharer", on_change=_take_name, args=(record,))


def _take_name(record: Studio) -> None:
    record.cell = (st.session_state["piece-position"], st.session_state["piece-sharer"])
