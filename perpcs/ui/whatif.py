"""What if: the model without an item, a sharer or a layer, scaled, with another person's layer, or of some sharers
only.

The changed model answers the same question as the person's own, both in one batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.assembly.explain import fills_up, item_influence, item_sharers, most_kept, with_k, without_positions
from perpcs.assembly.record import Assembly
from perpcs.assembly.routers import changed, make_router
from perpcs.errors import PerpcsError
from perpcs.figures.answers import beside_html
from perpcs.figures.columns import called, sharer_names, split_label, whose
from perpcs.figures.style import seconds_text
from perpcs.files import hash_bytes
from perpcs.pool.manifest import STRATEGIES, Candidates, would_share
from perpcs.serve.answer import Answer
from perpcs.tasks import Query, get_task
from perpcs.ui.asking import kept_as
from perpcs.ui.give_history import start_assembly
from perpcs.ui.numbers import show_difference
from perpcs.ui.state import Person, Studio, names_of, worked_out
from perpcs.ui.widgets import table_html, term
from perpcs.ui.work import show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- some sharers only -----------------------------------------------------------------------------------------------


@dataclass
class Before:
    """A person's model before it was assembled with fewer sharers; losses are filled in when known."""

    key: tuple[str, str, str]
    assembly: Assembly
    kept: int
    losses: tuple[float | None, float | None] | None = None


def key_of(person: Person, record: Studio) -> tuple[str, str, str]:
    """Identifies a person, for the comparison with their previous model."""
    return person.kind, person.task, record.example if person.kind == "example" else person.name


def subset_panel(engine: "Engine", record: Studio, person: Person | None) -> None:
    """The selected sharers, the button, and the difference from before."""
    sharers = engine.pool.sharers(record.task)
    names = sharer_names([sharer.id for sharer in sharers], engine.stored.portraits(record.task))
    st.html("<h2>With these sharers only</h2>")
    st.session_state["only"] = list(record.only)
    st.multiselect(
        "Selected sharers",
        range(len(sharers)),
        key="only",
        format_func=lambda number: names[number],
        placeholder="Draw around stars on the map, or choose here",
        on_change=lambda: setattr(record, "only", tuple(sorted(st.session_state["only"]))),
    )
    if record.only and person is not None:
        held = float(np.abs(person.assembly.weights[:, list(record.only)]).sum())
        share = 100 * held / (float(np.abs(person.assembly.weights).sum()) or 1.0)
        st.html(
            f'<p class="pp-quiet">{len(record.only)} of {len(sharers)} sharers, with {share:.0f} % of '
            f"{escape(person.name)}’s {term('weight')}.</p>"
        )
    _button(engine, record, person, record.only, f"Reassemble with only these {len(record.only)}", "only-these")
    if record.only:
        st.button("Clear selection", key="none-picked", type="tertiary", on_click=lambda: setattr(record, "only", ()))
    if person is not None:
        _difference(engine, record, person)


def _button(engine: "Engine", record: Studio, person: Person | None, only: Sequence[int], label: str, key: str) -> None:
    if person is None or not only:
        return
    if not person.history:
        st.html('<p class="pp-note">A saved model holds no text, so it cannot be assembled again.</p>')
        return
    busy = record.work is not None
    if st.button(label, key=key, icon=":material/refresh:", disabled=busy):
        sharers = engine.pool.sharers(record.task)
        left_out = tuple(sharer.id for number, sharer in enumerate(sharers) if number not in set(only))
        options = changed(record.options, without=left_out)
        record.remade = Before(key_of(person, record), person.assembly, len(only))
        user = record.example if person.kind == "example" else "me"
        start_assembly(engine, record, person.task, person.history, user=user, options=options, page="sharers")
        st.rerun()


def held_out_loss(engine: "Engine", assembly: Assembly, queries: Sequence[Query]) -> float | None:
    """Nats per target token of a person's own answers, which lie after the history; None where there are none."""
    from perpcs.evaluate.protocol import held_out_loss

    engine.check(assembly)
    with engine.queue.turn():
        return held_out_loss(engine.base, engine.pool, assembly, queries)


def _difference(engine: "Engine", record: Studio, person: Person) -> None:
    """Before and after, if this person was reassembled here."""
    before = record.remade
    if not isinstance(before, Before) or before.key != key_of(person, record) or before.assembly is person.assembly:
        return
    if before.assembly.sharers != person.assembly.sharers:  # somebody joined or left
        return
    now = person.assembly
    if before.losses is None:
        losses = [held_out_loss(engine, one, person.queries) for one in (before.assembly, now)]
        before.losses = losses[0], losses[1]
    rows = []
    for name, one, loss in zip(
        ("before", f"with {before.kept} only"), (before.assembly, now), before.losses, strict=True
    ):
        size = np.abs(one.weights)
        rows.append(
            (
                name,
                f"{one.distinct_sharers()}",
                f"{np.median(one.effective_sharers()):.1f}",
                f"{float(size.sum()) / len(size):.2f}",
                "–" if loss is None else f"{loss:.3f}",
            )
        )
    head = (
        "assembly",
        "sharers used",
        term("effective sharers"),
        "weight per position",
        f"held-out {term('NLL')}<br><small>n = {len(person.queries)} queries; lower is better</small>",
    )
    moved = float(np.abs(now.weights - before.assembly.weights).sum()) / (
        float(np.abs(before.assembly.weights).sum()) or 1
    )
    st.html(table_html(f"<b>{escape(difference_title(person.name, before))}</b>", head, rows))
    st.html(f'<p class="pp-quiet">The weights changed by {100 * moved:.0f} % (sum of absolute differences).</p>')
    st.button("Undo", key="undo", type="tertiary", on_click=_undo, args=(record, person))


def difference_title(name: str, before: Before) -> str:
    """The main finding in one sentence."""
    first, second = before.losses or (None, None)
    if first is None or second is None:
        return f"{name}, reassembled with {before.kept} sharers"
    how = "as well as" if abs(second - first) < 0.005 else "better than" if second < first else "less well than"
    return f"With {before.kept} sharers, {name}’s model predicts held-out answers {how} before"


def _undo(record: Studio, person: Person) -> None:
    if person.kind == "example":
        record.live[(person.task, record.example)] = record.remade.assembly
        if record.remade.assembly.router.get("without") in ((), [], None):
            record.live.pop((person.task, record.example))
    elif record.own is not None:
        record.own = replace(record.own, assembly=record.remade.assembly)
    record.remade = None


def strategies_panel(engine: "Engine", record: Studio, person: Person | None, candidates: Candidates) -> None:
    """S2: who each strategy would select, and an assembly with those of them who have pieces here."""
    st.html('<h2 class="pp-part">Other ways to select sharers</h2>')
    share = None if person is None else np.abs(person.assembly.weights).sum(axis=0)
    rows, sharing = [], candidates.sharers.tolist()
    for name, title in STRATEGIES.items():
        chosen = would_share(candidates, name)
        if chosen is None:
            rows.append((escape(title), "not available", "", "", ""))
            continue
        here = [sharing.index(c) for c in chosen.tolist() if c in sharing]
        held = "–" if share is None else f"{100 * share[here].sum() / (share.sum() or 1):.0f} %"
        clusters = len(set(candidates.clusters[chosen].tolist()))
        items = f"{candidates.items[chosen].mean():.0f}"
        rows.append((escape(title), f"{len(here)} of {len(chosen)}", f"{clusters}", items, held))
    who = "the person" if person is None else escape(person.name)
    head = ("strategy", "with pieces here", "clusters", "mean items", f"share of {who}’s weight")
    st.html(table_html("Who would share, for the same number of sharers", head, rows))
    chosen = would_share(candidates, record.strategy)
    if record.strategy == "cluster" or chosen is None:
        st.html(
            '<p class="pp-quiet">This pool’s sharers were selected by history cluster. Choose another strategy on the '
            "left to see whom it would select; only people who share here have pieces.</p>"
        )
        return
    here = [sharing.index(c) for c in chosen.tolist() if c in sharing]
    if not here:
        st.html('<p class="pp-note">No one selected by this strategy has pieces in this pool.</p>')
        return
    title = STRATEGIES[record.strategy].lower()
    _button(engine, record, person, here, f"Reassemble with the {len(here)} who share here ({title})", "by-strategy")


# ---- answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Again:
    """The two answers, and the loss of the person's held-out answers with each model."""

    before: Answer
    after: Answer
    losses: tuple[float | None, float | None]


def answer_again(engine: "Engine", record: Studio, person: Person, weights: np.ndarray, what: str) -> None:
    """Answers the current question with other weights and shows both answers, their difference and the losses.

    Args:
        weights: (P, S), the changed ones.
        what: the change, as a title.
    """
    query = current_question(record, person)
    if query is None:
        st.html('<p class="pp-quiet">Write something with this model above, and its answer will be rewritten here.</p>')
        return
    of = (person.assembly.fingerprint, query, hash_bytes(np.ascontiguousarray(weights).tobytes()))
    try:
        with st.spinner("Answering again", show_time=True):
            again = worked_out(record, "answer-again", of, lambda: _answer(engine, person, query, weights))
    except PerpcsError as error:
        show_error(error)
        return
    st.html(again_html(again, query, what, len(person.queries)))


def current_question(record: Studio, person: Person) -> Query | None:
    """The question last asked of this person's model, else their first held-out one."""
    asked = record.asked
    if asked is not None and any(kept_as("", column.person) == kept_as("", person) for column in asked.columns):
        query: Query = asked.query
        return query
    return person.queries[0] if person.queries else None


def _answer(engine: "Engine", person: Person, query: Query, weights: np.ndarray) -> Again:
    task = get_task(person.task)
    changed = replace(person.assembly, weights=weights.astype(np.float32))
    both = (person.assembly, changed)
    models = [engine.prepare(task, "perpcs", person.history, user=one.user, assembly=one) for one in both]
    *_, (before, after) = engine.answer_rows(task, [(model, query) for model in models])
    known = [one for one in person.queries if one.gold]
    losses = [held_out_loss(engine, one, known) if known else None for one in both]
    return Again(before, after, (losses[0], losses[1]))


def again_html(again: Again, query: Query, what: str, held_out: int) -> str:
    """The question, both answers side by side, and how the loss moves."""
    marked = not again.after.labels
    cards = beside_html(("Now", _said(again.before)), (what, _said(again.after)), marked=marked)
    before, after = again.losses
    moved = ""
    if before is not None and after is not None:
        sense = "better" if after < before - 5e-4 else "worse" if after > before + 5e-4 else "unchanged"
        moved = (
            f'<p class="pp-quiet">Held-out answers ({held_out}): {before:.3f} → {after:.3f} nats per target token, '
            f"{after - before:+.3f} ({sense}).</p>"
        )
    asked = escape(shorten(query.x, 160, placeholder=" …"))
    return f'<p class="pp-quiet">{asked}</p><div role="status">{cards}</div>{moved}'


def _said(answer: Answer) -> str:
    share = answer.labels.get(answer.text) if answer.labels else None
    return f"{answer.text} ({100 * share:.0f} %)" if share is not None else answer.text


# ---- what if ---------------------------------------------------------------------------------------------------------


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
TAKEN_OVER = (
    "The sharer’s weight goes to the other sharers at each position, in proportion, as when somebody withdraws. The "
    "model does not run; running the router again would give slightly different weights."
)
"""With Newton weights, a new run without the sharer raised the others' weights by 7 % on average over nine example
people of three tasks; weights in proportion were nearer to the new run's than unchanged ones for seven of them."""
MOST_RANKED = 300
"""With more items than this they are not ranked by influence: it would take seconds."""


def whatif_panel(engine: "Engine", record: Studio, person: Person) -> None:
    """Choose what to remove and see at once what would change."""
    kind = st.segmented_control(
        f"{whose(person.name)} model",
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
        which = st.selectbox("Layers", [None, *layers], format_func=_layer_name, key="swap-layer")
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
    names = sharer_names(assembly.sharers, engine.stored.portraits(person.task))
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
    assembly, portraits = person.assembly, engine.stored.portraits(person.task)
    names = sharer_names(assembly.sharers, portraits)
    held = assembly.top_sharers(len(assembly.sharers))
    share = dict(held)
    chosen = st.selectbox(
        "Which sharer, largest share first",
        [id for id, _ in held],
        format_func=lambda id: f"{100 * share[id]:.1f} %: {names[assembly.sharers.index(id)]}",
        key=f"whatif-sharer-{assembly.fingerprint}",
    )
    st.html(f'<p class="pp-quiet">{escape(TAKEN_OVER)}</p>')
    after = assembly.without_sharers([chosen]).weights
    name = called(assembly.sharers, assembly.sharers.index(chosen), portraits)
    _changed(engine, record, person, after, f"Without {name}", "sharer")


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
    kept = "kept by an item" if assembly.additive else "kept"
    k = st.slider(f"Maximum number of pieces {kept} per position", 1, most, most - 1, key=f"whatif-k-{most}")
    how = (
        "The weights of the remaining pieces grow in proportion, as in a softmax over fewer scores."
        if fills_up(assembly)
        else "The others are removed; the remaining pieces keep their weights."
    )
    st.html(f'<p class="pp-quiet">{how} The effect on the inputs of later layers is ignored here.</p>')
    pieces = "1 piece" if k == 1 else f"{k} pieces"
    _changed(engine, record, person, with_k(assembly, k).weights, f"With at most {pieces}", "k")
