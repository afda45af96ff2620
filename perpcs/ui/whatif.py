"""What if: the model without an item, a sharer or a layer, scaled, or with another person's layer; it answers again."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.assembly.explain import item_influence, item_sharers, most_kept, with_k, without_positions
from perpcs.assembly.routers import make_router
from perpcs.errors import PerpcsError
from perpcs.figures.order import short_names, split_label
from perpcs.figures.style import seconds_text
from perpcs.tasks import get_task
from perpcs.ui.answer_again import answer_again
from perpcs.ui.difference import show_difference
from perpcs.ui.errors import show_error
from perpcs.ui.people import Person, names_of
from perpcs.ui.state import Studio, worked_out
from perpcs.ui.strings import term

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

MOST_SECONDS = 20.0
"""A run that took longer is not repeated for a what-if, because it cannot be stopped."""
_KINDS = {
    "scale": "stronger or weaker",
    "sharer": "without a sharer",
    "layer": "without a layer",
    "item": "without an item",
    "swap": "with another person’s layer",
    "k": "with fewer pieces",
}
MOST_RANKED = 300
"""With more items than this they are not ranked by influence: it would take seconds."""


def whatif_panel(engine: "Engine", record: Studio, person: Person) -> None:
    """Choose what to remove and see at once what would change."""
    kind = st.segmented_control(
        f"{person.name} …",
        list(_KINDS),
        format_func=_KINDS.__getitem__,
        key="whatif",
        default="item" if person.assembly.additive else "scale",
        required=True,
    )
    if not person.assembly.weights.any():
        st.html('<p class="pp-note">This model has no weight on any piece, so nothing can be removed.</p>')
        return
    panels = {"item": _item, "sharer": _sharer, "layer": _layer, "k": _fewer, "scale": _scaled, "swap": _swapped}
    panels[kind or "scale"](engine, record, person)


def _changed(engine: "Engine", record: Studio, person: Person, after: np.ndarray, what: str, key: str) -> None:
    """The answer of the changed model, and the map of what changed."""
    answer_again(engine, record, person, after, what)
    show_difference(engine, record, person, after, what, key, to=True)


def _scaled(engine: "Engine", record: Studio, person: Person) -> None:
    factor = st.slider("All weights times", 0.0, 2.0, 1.5, 0.25, key="whatif-scale")
    st.html('<p class="pp-quiet">0 is the base model, 1 this model, 2 twice its weights.</p>')
    _changed(engine, record, person, person.assembly.weights * factor, f"With all weights times {factor:g}", "scale")


def _swapped(engine: "Engine", record: Studio, person: Person) -> None:
    others = [one for one in engine.pool.examples(person.task) if one.id != person.assembly.user]
    if not others:
        st.html('<p class="pp-note">This pool has no other example person to swap with.</p>')
        return
    names = names_of(others)
    layers = sorted({split_label(label)[0] for label in person.assembly.positions})
    other, layer = st.columns(2)
    with other:
        chosen = st.selectbox("Whose mix", [one.id for one in others], format_func=names.__getitem__, key="swap-person")
    with layer:
        which = st.selectbox("In", [None, *layers], format_func=_layer_name, key="swap-layer")
    try:
        theirs = engine.stored.assembly(person.task, chosen)
        engine.check(theirs)
    except PerpcsError as error:
        show_error(error)
        return
    after = person.assembly.weights.copy()
    at = [p for p, label in enumerate(person.assembly.positions) if which in (None, split_label(label)[0])]
    after[at] = theirs.weights[at]
    _changed(engine, record, person, after, f"With {names[chosen]}’s mix in {_layer_name(which)}", "swap")


def _layer_name(layer: int | None) -> str:
    return "all layers" if layer is None else f"layer {layer}"


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
        text = " ".join((item.y or item.x).split())[:70] if item else "text not in the file"
        moves = "" if influence is None else f"{100 * influence[index]:.1f} %: "
        return f"{moves}item {index + 1}, {text}"

    key = f"whatif-item-{assembly.fingerprint}"
    index = st.selectbox(
        "Which item" + (", most influential first" if influence is not None else ""), order, format_func=name, key=key
    )
    names = short_names(assembly.sharers)
    voted = ", ".join(
        f"<b>{escape(names[s])}</b> {100 * share:.0f} %" for s, share in item_sharers(assembly, int(index))
    )
    said = f"Over all positions it votes for: {voted}." if voted else "With this router, items do not vote."
    if not assembly.additive:
        why = (
            "The weights were fitted to all items together, so the weights without this one need a new run."
            if assembly.decided_by == "loss"
            else "The weights do not depend on single items."
        )
        said = said.replace("it votes for", "it gains most from")
        st.html(f'<p class="pp-note">{said} {why}</p>')
        if assembly.decided_by == "loss":
            _again_without(engine, record, person, int(index))
        return
    st.html(f'<p class="pp-quiet">{said} {term("influence", "Influence")}: how much the mix changes without it.</p>')
    _changed(engine, record, person, assembly.without_item(int(index)), f"Without item {index + 1}", "item")


def _again_without(engine: "Engine", record: Studio, person: Person, index: int) -> None:
    """If arithmetic is not enough: the same run without the item, on request."""
    assembly, of = person.assembly, (person.assembly.fingerprint, index)
    if len(person.history) != assembly.n_items or assembly.n_items < 2:
        return
    if record.kept.get("without-item", (None, None))[0] != of:
        if assembly.seconds > MOST_SECONDS:
            took = seconds_text(assembly.seconds)
            st.html(f'<p class="pp-quiet">The first run took {took}, which is too long to repeat here.</p>')
            return
        if not st.button(f"Assemble without it, about {seconds_text(assembly.seconds)}", key="without-item"):
            return
    rest = [item for i, item in enumerate(person.history) if i != index]

    def run() -> np.ndarray:
        options = make_router(**assembly.router)
        return engine.assemble(get_task(person.task), rest, options=options, user="me").weights

    try:
        with st.spinner(f"Assembling from {len(rest)} items", show_time=True):
            after = worked_out(record, "without-item", of, run)
    except PerpcsError as error:
        show_error(error)
        return
    _changed(engine, record, person, after, f"Without item {index + 1}", "item")


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
        '<p class="pp-quiet">The sharer’s weight at each position goes to the other sharers there, in proportion, just '
        "as when a sharer withdraws their pieces.</p>"
    )
    after = assembly.without_sharers([chosen]).weights
    name = names[assembly.sharers.index(chosen)]
    _changed(engine, record, person, after, f"Without sharer {name}", "sharer")


def _layer(engine: "Engine", record: Studio, person: Person) -> None:
    assembly = person.assembly
    layers = sorted({split_label(label)[0] for label in assembly.positions})
    layer = st.selectbox("Which layer", layers, format_func=lambda n: f"layer {n}", key="whatif-layer")
    gone = [p for p, label in enumerate(assembly.positions) if split_label(label)[0] == layer]
    st.html('<p class="pp-quiet">In this layer, only the base model is used.</p>')
    after = without_positions(assembly, gone).weights
    _changed(engine, record, person, after, f"Without layer {layer}", "layer")


def _fewer(engine: "Engine", record: Studio, person: Person) -> None:
    assembly, most = person.assembly, most_kept(person.assembly)
    if most < 2:
        st.html('<p class="pp-note">Only one piece is kept per position, so there is nothing to reduce.</p>')
        return
    whose = "kept by an item" if assembly.additive else "kept"
    k = st.slider(f"Maximum number of pieces {whose} per position", 1, most, most - 1, key=f"whatif-k-{most}")
    how = (
        "The others are removed; the remaining pieces keep their weights."
        if str(assembly.router.get("router")).startswith(("fit", "newton"))
        else "The weights of the remaining pieces grow in proportion, as in a softmax over fewer scores."
    )
    st.html(f'<p class="pp-quiet">{how} The effect on the inputs of later layers is ignored here.</p>')
    pieces = "1 piece" if k == 1 else f"{k} pieces"
    _changed(engine, record, person, with_k(assembly, k).weights, f"With at most {pieces}", "k")
