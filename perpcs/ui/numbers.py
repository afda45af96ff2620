"""A table of weights in numbers: how the mix changes from layer to layer, who is used, what PEFT retrieval would
select, and what differs from another table (the previous run, a pinned model, or a what-if).
"""

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from perpcs.assembly.explain import OVER_USED, Usage, agreement, usage
from perpcs.assembly.record import Assembly, made_by
from perpcs.assembly.routers import router_options
from perpcs.errors import PerpcsError
from perpcs.figures.assembly_map import Panel, strip, strip_csv
from perpcs.figures.columns import called, sharer_names
from perpcs.figures.difference import difference_csv, difference_map, difference_svg, difference_takeaway, pair_map
from perpcs.tasks import get_task
from perpcs.ui.state import Person, Studio, until_now, worked_out
from perpcs.ui.widgets import chart, is_dark, stat_row, term
from perpcs.ui.work import deferred, show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- two tables ------------------------------------------------------------------------------------------------------


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
    record.pinned = until_now(person)


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
    portraits = engine.stored.portraits(person.task)
    title = difference_takeaway(
        before, after, assembly.positions, lambda s: called(assembly.sharers, s, portraits), what
    )
    st.html(f"<h3>{escape(title)}</h3>")
    if np.array_equal(before, after):
        return
    how = _how(engine, record, person)
    with st.container(key=f"diffbox-{key}"):
        figure = difference_map(before, after, assembly.positions, sharers, dark=is_dark(), **how)
        chart(figure, f"diff-{key}", title, file=f"perpcs-{key}")
    _files(
        lambda: difference_csv(before, after, assembly.positions, assembly.sharers),
        lambda: difference_svg(before, after, assembly.positions, sharers, title, **how),
        key,
    )


def _how(engine: "Engine", record: Studio, person: Person) -> dict[str, Any]:
    """How maps of differences are drawn: as the map above them."""
    portraits = engine.stored.portraits(person.task)
    names = sharer_names(person.assembly.sharers, portraits) if portraits.sharers else ()
    return {"sort": record.sort, "module": record.module or None, "names": names}


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
    titles = (_named(pinned, person), _named(person, pinned))
    title = f"{titles[0]} and {titles[1]} share {100 * share.mean():.0f} % of the mix"
    st.html(
        f"<h3>{escape(title)}</h3><p class='pp-quiet'>{escape(titles[0])}: {escape(_router(pinned))}.<br>"
        f"{escape(titles[1])}: {escape(_router(person))}.</p>"
    )
    both = (one.weights != 0).any(axis=0) & (other.weights != 0).any(axis=0)
    rows = (
        (f"{100 * share.mean():.0f} %", f"{term('agreement')}, mean of {len(share)} positions"),
        (f"{100 * share.min():.0f} to {100 * share.max():.0f} %", "range over positions"),
        (f"{int(both.sum())} of {len(both)}", "sharers used by both"),
    )
    st.html(stat_row(rows, "What both have in common"))
    how = _how(engine, record, person)
    with st.container(key="diffbox-pair"):
        figure = pair_map(one.weights, other.weights, one.positions, sharers, titles, dark=is_dark(), **how)
        chart(figure, "diff-pair", title, file="perpcs-side-by-side")
    _files(
        lambda: difference_csv(one.weights, other.weights, one.positions, one.sharers),
        lambda: difference_svg(one.weights, other.weights, one.positions, sharers, title, **how),
        "pair",
    )


def _named(person: Person, beside: Person) -> str:
    """The name, plus the run if both are the same person."""
    return f"{person.name} ({_router(person)})" if person.name == beside.name else person.name


# ---- one table -------------------------------------------------------------------------------------------------------


def numbers_panel(engine: "Engine", record: Studio, person: Person) -> None:
    """The facts, the strip over the layers, and the sharers by use."""
    assembly = person.assembly
    norms = 100 * worked_out(record, "norms", assembly.fingerprint, lambda: engine.update_norms(assembly))
    effective, top = assembly.effective_sharers(), 100 * assembly.top_share()
    panels = [Panel("effective sharers", effective), Panel("top-1 share, %", top, 100), Panel("update norm, %", norms)]
    retrieval = _retrieval(engine, record, person)
    if retrieval is not None:
        panels.append(Panel("agreement with PEFT retrieval, %", 100 * retrieval, 100))
    largest = int(np.argmax(norms))
    title = (
        f"{person.name} {'change' if person.name == 'You' else 'changes'} the base model most at "
        f"{assembly.positions[largest]}: by {norms[largest]:.1f} % of that matrix's norm"
    )
    st.html(f"<h3>{escape(title)}</h3>")
    n = len(assembly.positions)
    rows = [
        (f"{np.median(effective):.1f}", f"{term('effective sharers')}, median of {n}"),
        (f"{top.mean():.0f} %", f"{term('top-1 share')}, mean of {n}"),
        (f"{norms.mean():.1f} %", f"{term('update norm')}, mean of {n}"),
    ]
    if retrieval is not None:
        rows.append((f"{100 * retrieval.mean():.0f} %", f"{term('agreement')} with {term('PEFT retrieval')}"))
    st.html(stat_row(rows, "This person in numbers"))
    chart(strip(panels, assembly.positions, dark=is_dark()), "strip", title, file="perpcs-numbers", vector=True)
    with st.container(horizontal=True):
        st.download_button(
            "CSV of these numbers",
            deferred(lambda: strip_csv(panels, assembly.positions)),
            "perpcs-numbers.csv",
            "text/csv",
            on_click="ignore",
            key="strip-csv",
            type="tertiary",
            icon=":material/table:",
        )
        if retrieval is None and person.history:
            st.button(
                "Compare with PEFT retrieval",
                key="retrieval",
                type="tertiary",
                icon=":material/compare_arrows:",
                on_click=_ask_retrieval,
                args=(record, assembly),
                help="Selects the sharers with the most similar histories. Takes seconds; the base model does not run.",
            )
    _sharers(engine, record, person)


def _ask_retrieval(record: Studio, assembly: Assembly) -> None:
    record.kept["retrieval-asked"] = (assembly.fingerprint, True)


def _retrieval(engine: "Engine", record: Studio, person: Person) -> np.ndarray | None:
    """Agreement with PEFT retrieval at each position, (P,); None until it is requested."""
    assembly = person.assembly
    if record.kept.get("retrieval-asked", ("", False))[0] != assembly.fingerprint or not person.history:
        return None
    options = router_options(router="retrieval", k=assembly.router.get("k"))

    def whole_sharers() -> np.ndarray:
        return engine.assemble(get_task(person.task), person.history, options=options).weights

    try:
        with st.spinner("Embedding the history", show_time=True):
            weights = worked_out(record, "retrieval", assembly.fingerprint, whole_sharers)
    except PerpcsError as error:
        record.kept.pop("retrieval-asked")
        show_error(error)
        return None
    return agreement(assembly.weights, weights)


def _sharers(engine: "Engine", record: Studio, person: Person) -> None:
    """Who is used: by this person, and by all example people of the pool together."""
    names = sharer_names(person.assembly.sharers, engine.stored.portraits(person.task))
    mine = usage([person.assembly.weights])
    st.html(
        f"<h3>Which sharers are used</h3><p>{_told(mine, names, 'here')}</p>"
        f'<p class="pp-quiet">{term("dormant", "Dormant")}: no weight anywhere. {term("over-used", "Over-used")}: more '
        f"than {OVER_USED:g} times an even share, {100 * OVER_USED / len(names):.1f} % of all weight.</p>"
    )
    examples = engine.pool.examples(person.task)
    if not examples:
        return
    try:
        everybody = worked_out(
            record,
            "usage",
            (engine.pool.hash, person.task),
            lambda: usage([engine.stored.assembly(person.task, example.id).weights for example in examples]),
        )
    except PerpcsError as error:
        show_error(error)
        return
    st.html(
        f"<p>{_told(everybody, names, f'over all {len(examples)} example people')} "
        f'<span class="pp-tag">precomputed</span></p>'
    )


def _told(found: Usage, names: Sequence[str], where: str) -> str:
    dormant, over = len(found.dormant), found.over_used
    listed = ", ".join(f"{escape(names[s])} ({100 * found.shares[s]:.0f} %)" for s in over[:6])
    more = f" and {len(over) - 6} more" if len(over) > 6 else ""
    used = f"over-used: {listed}{more}" if over else "none is over-used"
    return f"<b>{dormant} of {len(names)} sharers</b> are dormant {where}; {used}."
