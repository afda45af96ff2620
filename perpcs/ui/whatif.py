"""What if: the person without an item, a sharer or a layer, or with fewer pieces; by arithmetic, without the model."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.assembly.explain import item_influence, item_sharers, most_kept, with_k, without_positions
from perpcs.assembly.options import router_options
from perpcs.errors import PerpcsError
from perpcs.figures.order import short_names, split_label
from perpcs.figures.style import seconds_text
from perpcs.tasks import get_task
from perpcs.ui.difference import show_difference
from perpcs.ui.errors import show_error
from perpcs.ui.people import Person
from perpcs.ui.state import Studio, worked_out
from perpcs.ui.strings import term

if TYPE_CHECKING:
    from perpcs.personalizers.engine import Engine

MOST_SECONDS = 20.0
"""A run that took longer is not done again for a what-if: nobody could stop it."""
_KINDS = {"item": "without an item", "sharer": "without a sharer", "layer": "without a layer", "k": "with fewer pieces"}
MOST_RANKED = 300
"""Above so many items they are not ranked by influence: it would take seconds."""


def whatif_panel(engine: "Engine", record: Studio, person: Person) -> None:
    """Choose what to take away; see at once what would change."""
    kind = st.segmented_control(
        f"{person.name} …",
        list(_KINDS),
        format_func=_KINDS.__getitem__,
        key="whatif",
        default="item" if person.assembly.additive else "sharer",
        required=True,
    )
    if not person.assembly.weights.any():
        st.html('<p class="pp-note">This person has no weight on any piece, so nothing can be taken away.</p>')
        return
    {"item": _item, "sharer": _sharer, "layer": _layer, "k": _fewer}[kind or "item"](engine, record, person)


def _item(engine: "Engine", record: Studio, person: Person) -> None:
    assembly = person.assembly
    ranked = assembly.additive and assembly.n_items <= MOST_RANKED
    influence = (
        worked_out(record, "influence", assembly.fingerprint, lambda: item_influence(assembly)) if ranked else None
    )
    order = list(range(assembly.n_items))
    if influence is not None:
        order.sort(key=lambda i: -influence[i])

    def name(index: int) -> str:
        item = person.history[index] if index < len(person.history) else None
        text = " ".join((item.y or item.x).split())[:70] if item else "its text is not in the file"
        moves = "" if influence is None else f"{100 * influence[index]:.1f} %: "
        return f"{moves}item {index + 1}, {text}"

    key = f"whatif-item-{assembly.fingerprint}"
    index = st.selectbox(
        "Which item" + (", largest influence first" if influence is not None else ""), order, format_func=name, key=key
    )
    names = short_names(assembly.sharers)
    voted = ", ".join(
        f"<b>{escape(names[s])}</b> {100 * share:.0f} %" for s, share in item_sharers(assembly, int(index))
    )
    said = f"Over all positions it voted for: {voted}." if voted else "No item votes with this router."
    if not assembly.additive:
        why = (
            "The weights were found by the loss on all items together, so no arithmetic tells what they would be "
            "without this one."
            if assembly.decided_by == "loss"
            else "The weights do not depend on single items."
        )
        said = said.replace("it voted for", "it would gain most from")
        st.html(f'<p class="pp-note">{said} {why}</p>')
        if assembly.decided_by == "loss":
            _again_without(engine, record, person, int(index))
        return
    st.html(f'<p class="pp-quiet">{said} {term("influence", "Influence")}: how much of the mix differs without it.</p>')
    show_difference(
        engine, record, person, assembly.without_item(int(index)), f"Without item {index + 1}", "item", to=True
    )


def _again_without(engine: "Engine", record: Studio, person: Person, index: int) -> None:
    """Where arithmetic does not do: the same run without the item, on request."""
    assembly, of = person.assembly, (person.assembly.fingerprint, index)
    if len(person.history) != assembly.n_items or assembly.n_items < 2:
        return
    if record.kept.get("without-item", (None, None))[0] != of:
        if assembly.seconds > MOST_SECONDS:
            took = seconds_text(assembly.seconds)
            st.html(f'<p class="pp-quiet">The first run took {took}: too long to wait for beside the page.</p>')
            return
        if not st.button(f"Assemble without it, about {seconds_text(assembly.seconds)}", key="without-item"):
            return
    rest = [item for i, item in enumerate(person.history) if i != index]

    def run() -> np.ndarray:
        options = router_options(**assembly.router)
        return engine.assemble(get_task(person.task), rest, options=options, user="me").weights

    try:
        with st.spinner(f"Assembling from {len(rest)} items", show_time=True):
            after = worked_out(record, "without-item", of, run)
    except PerpcsError as error:
        show_error(error)
        return
    show_difference(engine, record, person, after, f"Without item {index + 1}", "item", to=True)


def _sharer(engine: "Engine", record: Studio, person: Person) -> None:
    assembly, names = person.assembly, short_names(person.assembly.sharers)
    held = assembly.top_sharers(len(assembly.sharers))
    share = dict(held)
    chosen = st.selectbox(
        "Which sharer, largest share first",
        [id for id, _ in held],
        format_func=lambda id: f"{100 * share[id]:.1f} %: {names[assembly.sharers.index(id)]}",
        key=f"whatif-sharer-{assembly.fingerprint}",
    )
    st.html(
        '<p class="pp-quiet">What the sharer held at a position goes to the others there, in proportion: the same as '
        "when a sharer takes their pieces back.</p>"
    )
    after = assembly.without_sharers([chosen]).weights
    name = names[assembly.sharers.index(chosen)]
    show_difference(engine, record, person, after, f"Without sharer {name}", "sharer", to=True)


def _layer(engine: "Engine", record: Studio, person: Person) -> None:
    assembly = person.assembly
    layers = sorted({split_label(label)[0] for label in assembly.positions})
    layer = st.selectbox("Which layer", layers, format_func=lambda n: f"layer {n}", key="whatif-layer")
    gone = [p for p, label in enumerate(assembly.positions) if split_label(label)[0] == layer]
    st.html('<p class="pp-quiet">There the base model answers alone, as for everybody.</p>')
    after = without_positions(assembly, gone).weights
    show_difference(engine, record, person, after, f"Without layer {layer}", "layer", to=True)


def _fewer(engine: "Engine", record: Studio, person: Person) -> None:
    assembly, most = person.assembly, most_kept(person.assembly)
    if most < 2:
        st.html('<p class="pp-note">Only one piece is kept at a position: there are no fewer.</p>')
        return
    whose = "an item keeps" if assembly.additive else "are kept"
    k = st.slider(f"Pieces that {whose} at a position, at most", 1, most, most - 1, key=f"whatif-k-{most}")
    how = (
        "The others are cut off; those that stay keep their weight."
        if str(assembly.router.get("router")).startswith(("fit", "newton"))
        else "The weights of those that stay grow in proportion, as a softmax over fewer scores does."
    )
    st.html(
        f'<p class="pp-quiet">{how} Later layers would then read a slightly different text, which this leaves out.</p>'
    )
    pieces = "1 piece" if k == 1 else f"{k} pieces"
    show_difference(engine, record, person, with_k(assembly, k).weights, f"With at most {pieces}", "k", to=True)
