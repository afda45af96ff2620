"""Assembling with some sharers only: selected by hand or by a strategy, and the effect."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.assembly.record import Assembly
from perpcs.assembly.routers import changed
from perpcs.figures.order import short_names
from perpcs.pool.candidates import STRATEGIES, Candidates, would_share
from perpcs.tasks import Query
from perpcs.ui.card import table_html
from perpcs.ui.people import Person
from perpcs.ui.run import start_assembly
from perpcs.ui.state import Studio
from perpcs.ui.strings import term

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


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
    names = short_names([sharer.id for sharer in sharers])
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
    from perpcs.evaluate.held_out import held_out_loss

    engine.check(assembly)
    with engine.queue.turn():
        return held_out_loss(engine.base, engine.pool, assembly, queries)


def _difference(engine: "Engine", record: Studio, person: Person) -> None:
    """Before and after, if this person was reassembled here."""
    before = record.remade
    if not isinstance(before, Before) or before.key != key_of(person, record) or before.assembly is person.assembly:
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
        "sharers with weight",
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
