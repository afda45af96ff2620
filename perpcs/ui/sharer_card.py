"""One sharer's card: facts, shared pieces, training losses, and who uses them."""

from collections.abc import Sequence
from html import escape
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.figures.order import short_label
from perpcs.figures.worddiff import beside_html
from perpcs.pool.manifest import Sharer
from perpcs.pool.portraits import Portrait, Portraits
from perpcs.ui.facts import facts_html
from perpcs.ui.pages import page
from perpcs.ui.people import Person, names_of
from perpcs.ui.state import Studio
from perpcs.ui.strings import term

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


def usage(engine: "Engine", task: str) -> dict[str, np.ndarray]:
    """For every example person with a stored assembly: each sharer's share of weight, (S,), by the person's id."""
    found = {}
    for example in engine.pool.examples(task):
        try:
            size = np.abs(engine.stored.assembly(task, example.id).weights).sum(axis=0)
        except PerpcsError:
            continue  # reported where that person is shown
        found[example.id] = size / (float(size.sum()) or 1.0)
    return found


def card_panel(engine: "Engine", record: Studio, person: Person | None) -> None:
    """The card of the selected sharer; by default the person's strongest one."""
    sharers = engine.pool.sharers(record.task)
    ids = [sharer.id for sharer in sharers]
    tag = ""
    if record.star:
        number = ids.index(record.star)
    elif person is not None and person.assembly.weights.any():
        number = int(np.abs(person.assembly.weights).sum(axis=0).argmax())
        tag = f' <span class="pp-tag">most weight for {escape(person.name)}</span>'
    else:
        number = 0
    card, shared = sharers[number], engine.pool.mask(record.task)[:, number]
    portraits = engine.stored.portraits(record.task)
    portrait = portraits.of(card.id)
    title = f"{portrait.name[:1].upper()}{portrait.name[1:]}" if portrait.name else f"Sharer {card.id}"
    st.html(f'<h2 class="pp-sharer">{escape(title)}{tag}</h2>')
    loss = f"{card.loss[0]:.2f} → {card.loss[-1]:.2f}" if card.loss else "–"
    rows = (
        (f"{card.items}", f"{term('item', 'items')} written"),
        (f"{card.cluster}", "cluster number"),
        (f"{int(shared.sum())} of {len(shared)}", f"{term('piece', 'pieces')} shared"),
        (loss, f"{term('NLL')} on their own text,<br>base model → own pieces"),
    )
    st.html(facts_html(rows, f"Facts about sharer {escape(card.id)}"))
    origin = engine.pool.manifest.task(record.task).origin
    if origin:
        st.html(f'<p class="pp-origin"><b>Who this is</b>: {escape(origin)}</p>')
    terms = ", ".join(card.terms) or "none used by at least three people"
    if not portrait.name:
        st.html(f'<p class="pp-quiet">Typical words of the cluster: {escape(terms)}.</p>')
    else:
        st.html(f'<p class="pp-quiet">Sharer {escape(card.id)} {escape(portrait_said(portrait))}.</p>')
    st.html(f'<p class="pp-quiet">The sharer’s text is not stored.</p>{sample_html(portrait, portraits)}')
    labels = [position.label for position in engine.pool.manifest.positions]
    st.html(
        pieces_html(labels, shared, person, number)
        + losses_html(card)
        + recognised_html(labels, engine.stored.recognised(record.task), number)
        + users_html(engine, record, number)
    )
    if person is not None and person.assembly.weights[:, number].any():
        best = int(np.abs(person.assembly.weights[:, number]).argmax())
        if st.button("Show the largest piece on Assemble", key="to-piece", type="tertiary", icon=":material/grid_on:"):
            record.cell = (person.assembly.positions[best], card.id)
            record.source = "example" if person.kind == "example" else record.source
            st.switch_page(page("assemble"))


def portrait_said(portrait: Portrait) -> str:
    """Who this is, in a few words."""
    about = f"writes about {', '.join(portrait.words)}" if portrait.words else ""
    habits = f"stands out by {', '.join(portrait.habits)}" if portrait.habits else ""
    return "; ".join(filter(None, (about, habits)))


def sample_html(portrait: Portrait, portraits: Portraits) -> str:
    """What all of a sharer's pieces do: one input answered without and with them; empty where that is not stored."""
    if not portrait.answer:
        return ""
    cards = beside_html(("Base model", portraits.base), ("With this sharer’s pieces", portrait.answer))
    return (
        '<p class="pp-cap"><b>What this sharer’s pieces do</b>: the same invented input, answered without and with all '
        f'of them at weight 1</p><div class="pp-quote">{escape(shorten(portraits.input, 200, placeholder=" …"))}</div>'
        + cards
    )


def pieces_html(labels: list[str], shared: np.ndarray, person: Person | None, number: int) -> str:
    """A box per position: filled if the person uses the piece, open if it is shared, crossed out if it is not."""
    boxes = []
    for p, label in enumerate(labels):
        weight = 0.0 if person is None else float(person.assembly.weights[p, number])
        state = "used" if weight else "shared" if shared[p] else "kept"
        said = {"used": f"weight {weight:.3f}", "shared": "shared, not used here", "kept": "not shared"}[state]
        boxes.append(f'<i class="pp-box pp-{state}" title="{escape(label)}: {said}">{escape(short_label(label))}</i>')
    who = "the person on the map" if person is None else escape(person.name)
    return (
        f'<p class="pp-cap"><b>Pieces</b>: filled = used by {who}; open = shared, not used; crossed out = not '
        "shared</p>"
        f'<div class="pp-boxes">{"".join(boxes)}</div>'
    )


def bars_html(rows: Sequence[tuple[str, float, str]]) -> str:
    """Bars below each other: (name, value, value as text); the largest has full width."""
    top = max(value for _, value, _ in rows) or 1.0
    bars = "".join(
        f'<div class="pp-bar"><code>{escape(name)}</code><i style="width:{100 * value / top:.0f}%"></i>'
        f"<span>{text}</span></div>"
        for name, value, text in rows
    )
    return f'<div class="pp-bars">{bars}</div>'


def losses_html(card: Sharer) -> str:
    """Loss per epoch as bars, the base model's first."""
    if len(card.loss) < 2:
        return ""
    names = ("base", *(f"epoch {epoch}" for epoch in range(1, len(card.loss))))
    bars = bars_html([(name, loss, f"{loss:.2f}") for name, loss in zip(names, card.loss, strict=True)])
    title = "<b>Training</b>: nats per target token on their own text"
    return f'<p class="pp-cap">{title}</p>{bars}'


def recognised_html(labels: list[str], found: np.ndarray | None, number: int) -> str:
    """The probability that the gates assign to the sharer's own pieces on their own text, and an even share."""
    if found is None:
        return ""
    own, even = found[number], 1 / len(found)
    mean, best = float(own.mean()), int(own.argmax())
    before = int((found.mean(axis=1) > mean).sum())
    shown = (("mean", mean), (short_label(labels[best]), float(own[best])), ("even", even))
    bars = bars_html([(name, value, f"{100 * value:.1f} %") for name, value in shown])
    return (
        "<p class='pp-cap'><b>Recognition</b>: probability that the gates assign to this sharer’s own piece on this "
        f"sharer’s own text (mean over layers and best layer), compared with an even share. {before} of {len(found)} "
        f"sharers are recognised better.</p>{bars}"
    )


def users_html(engine: "Engine", record: Studio, number: int) -> str:
    """This sharer's share of each example person's weight, as stored with the pool."""
    names = names_of(engine.pool.examples(record.task))
    shares = {names[id]: float(share[number]) for id, share in usage(engine, record.task).items()}
    if not shares:
        return ""
    order = sorted(shares, key=lambda name: (-shares[name], name))
    bars = bars_html([(name, shares[name], f"{100 * shares[name]:.1f} %") for name in order])
    used = sum(value > 0 for value in shares.values())
    return (
        f'<p class="pp-cap"><b>Used by {used} of {len(shares)} example people</b>: share of each person’s weight, '
        f"precomputed</p>{bars}"
    )
