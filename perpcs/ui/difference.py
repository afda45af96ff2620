"""Compares two tables of weights: with the previous run, a pinned model, or a what-if."""

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from perpcs.assembly.explain import agreement
from perpcs.assembly.names import made_by
from perpcs.figures.difference import difference_csv, difference_map, difference_takeaway, pair_map
from perpcs.figures.vector import difference_svg
from perpcs.ui.chart import chart
from perpcs.ui.facts import facts_html
from perpcs.ui.people import Person
from perpcs.ui.state import Studio
from perpcs.ui.strings import term
from perpcs.ui.theme import is_dark

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


def difference_panel(engine: "Engine", record: Studio, person: Person) -> None:
    """Compares with the previous run and with the pinned model; if there is neither, says how to get one."""
    before = record.before if _comparable(record.before, person) else None
    pinned = record.pinned if _comparable(record.pinned, person) else None
    if before is not None:
        show_difference(
            engine,
            record,
            person,
            before.assembly.weights,
            f"Compared with the previous run ({_router(before)})",
            "before",
        )
    if pinned is not None:
        _pair(engine, record, pinned, person)
    elif record.pinned is not None:
        st.html(
            f'<p class="pp-note">{escape(record.pinned.name)} is pinned but was assembled for another kind of text, '
            "with other sharers, so the two cannot be compared.</p>"
        )
    if before is None and record.pinned is None:
        st.html(
            '<p class="pp-quiet">Pin this person, then choose another one on the left (or change the settings and '
            "assemble again). Both maps then appear here side by side, with the differences.</p>"
        )
    with st.container(horizontal=True):
        st.button(f"Pin {_called(person)}", icon=":material/keep:", key="pin", on_click=_pin, args=(record, person))
        if record.pinned is not None:
            st.button("Unpin", icon=":material/keep_off:", key="unpin", on_click=_pin, args=(record, None))


def _pin(record: Studio, person: Person | None) -> None:
    record.pinned = person


def _called(person: Person) -> str:
    return "yourself" if person.name == "You" else person.name


def _router(person: Person) -> str:
    return f"{made_by(person.assembly.router)}, {person.how}"


def _comparable(other: Person | None, person: Person) -> bool:
    """Whether two people have the same rows and columns and are not the same table."""
    return (
        other is not None
        and other.assembly.positions == person.assembly.positions
        and other.assembly.sharers == person.assembly.sharers
        and other.task == person.task
        and other.assembly is not person.assembly
    )


def show_difference(
    engine: "Engine", record: Studio, person: Person, other: np.ndarray, what: str, key: str, *, to: bool = False
) -> None:
    """The person's weights next to another table: a sentence, the map, and files to download.

    Args:
        other: weights (P, S).
        what: the cause of the difference, as the beginning of a sentence.
        key: of the widgets, unique for each place.
        to: whether ``other`` comes after the person's weights rather than before.
    """
    assembly, sharers = person.assembly, engine.pool.sharers(person.task)
    before, after = (assembly.weights, other) if to else (other, assembly.weights)
    title = difference_takeaway(before, after, assembly.positions, assembly.sharers, what)
    st.html(f"<h3>{escape(title)}</h3>")
    if np.array_equal(before, after):
        return
    how: dict[str, Any] = {"sort": record.sort, "module": record.module or None}
    with st.container(key=f"diffbox-{key}"):
        figure = difference_map(before, after, assembly.positions, sharers, dark=is_dark(), **how)
        chart(figure, f"diff-{key}", title, file=f"perpcs-{key}")
    _files(
        lambda: difference_csv(before, after, assembly.positions, assembly.sharers),
        lambda: difference_svg(before, after, assembly.positions, sharers, title, **how),
        key,
    )


def _files(csv: Callable[[], str], svg: Callable[[], str], key: str) -> None:
    with st.container(horizontal=True):
        for name, made, kind in (("CSV", csv, "text/csv"), ("SVG", svg, "image/svg+xml")):
            st.download_button(
                f"{name} of this difference",
                made,
                f"perpcs-difference-{key}.{name.lower()}",
                kind,
                on_click="ignore",
                key=f"{name.lower()}-{key}",
                type="tertiary",
                icon=":material/table:" if name == "CSV" else ":material/image:",
            )


def _pair(engine: "Engine", record: Studio, pinned: Person, person: Person) -> None:
    """Two people side by side on one scale, and their differences."""
    one, other, sharers = pinned.assembly, person.assembly, engine.pool.sharers(person.task)
    share = agreement(one.weights, other.weights)
    names = (_named(pinned, person), _named(person, pinned))
    title = f"{names[0]} and {names[1]} share {100 * share.mean():.0f} % of the mix"
    st.html(f"<h3>{escape(title)}</h3>")
    both = (one.weights != 0).any(axis=0) & (other.weights != 0).any(axis=0)
    rows = (
        (f"{100 * share.mean():.0f} %", f"{term('agreement')}, mean of {len(share)} positions"),
        (f"{100 * share.min():.0f} to {100 * share.max():.0f} %", "range over positions"),
        (f"{int(both.sum())} of {len(both)}", "sharers have weight for both"),
    )
    st.html(facts_html(rows, "What both have in common"))
    how: dict[str, Any] = {"sort": record.sort, "module": record.module or None}
    with st.container(key="diffbox-pair"):
        figure = pair_map(one.weights, other.weights, one.positions, sharers, names, dark=is_dark(), **how)
        chart(figure, "diff-pair", title, file="perpcs-side-by-side")
    _files(
        lambda: difference_csv(one.weights, other.weights, one.positions, one.sharers),
        lambda: difference_svg(one.weights, other.weights, one.positions, sharers, title, **how),
        "pair",
    )


def _named(person: Person, beside: Person) -> str:
    """The name, plus the run if both are the same person."""
    return f"{person.name} ({_router(person)})" if person.name == beside.name else person.name
