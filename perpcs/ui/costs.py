"""The Results page below its table: quality against cost, how cost grows, one person's pieces by two methods, and what
performance depends on: how many share, how much, who, and how pieces are chosen.
"""

from collections.abc import Collection, Mapping
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.evaluate.findings import Column, Finding, Measure, columns, methods, published, read_finding, read_measure
from perpcs.figures import results as figures
from perpcs.figures.difference import Case, case_csv, case_figure, case_title, read_case
from perpcs.figures.model_card import title_of
from perpcs.figures.results import (
    RULES,
    Band,
    Cost,
    Dot,
    Line,
    Point,
    bands_csv,
    bands_figure,
    brief_name,
    choices_title,
    dots_csv,
    dots_figure,
    gain_title,
    method_name,
    rules_title,
)
from perpcs.figures.style import bytes_text
from perpcs.pool.manifest import is_number, mapping
from perpcs.ui.engine import results_folder
from perpcs.ui.results import csv_button, finding_of, made_by, part_of
from perpcs.ui.state import Studio
from perpcs.ui.widgets import chart, is_dark, term
from perpcs.ui.work import show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- sections that one experiment fills ------------------------------------------------------------------------------


_SECTIONS = {
    "history": "How much history is needed?",
    "robustness": "What does performance depend on?",
    "cost": "How cost grows with people and history length",
    "case-study": "One person, two ways to select pieces",
}
"""By experiment, the heading of its section."""


def _section(engine: "Engine", name: str) -> Finding | None:
    """The heading of a section and its result; nothing if the result is missing."""
    if read_finding(results_folder(), name) is None:
        return None
    st.html(f'<h2 class="pp-part">{_SECTIONS[name]}</h2>')
    return finding_of(engine, name)


def missing_panel(engine: "Engine") -> None:
    """The sections that have no result yet, in one note, each with the command that makes it."""
    pool = escape(engine.pool.manifest.name)
    lines = [
        f"<li>{title} <code>perpcs experiment {name} --pool {pool}</code></li>"
        for name, title in _SECTIONS.items()
        if read_finding(results_folder(), name) is None
    ]
    if lines:
        st.html(f'<div class="pp-note">Not measured yet:<ul>{"".join(lines)}</ul></div>')


# ---- costs -----------------------------------------------------------------------------------------------------------


_COSTS: tuple[Cost, ...] = ("bytes", "seconds")


def pareto_panel(record: Studio) -> None:
    """R2: quality against cost, for the task of the open cell."""
    finding = read_finding(results_folder(), "table1")
    found = columns(finding) if finding is not None else ()
    column = next((one for one in found if one.task == record.result[0]), None)
    if finding is None or column is None:
        return
    measure = column.metric if record.measure == "metric" else record.measure
    points = points_of(column, measure, methods(finding)[1])
    if len(points) < 2:
        return
    st.html('<h2 class="pp-part">Is it worth the cost?</h2>')
    columns_ = st.columns(2, gap="large")
    for place, cost in zip(columns_, _COSTS, strict=True):
        with place:
            title = figures.pareto_title(points, measure, cost)
            st.html(f"<h3>{escape(title)}</h3>")
            chart(figures.pareto_figure(tuple(points), measure, cost, dark=is_dark()), f"pareto-{cost}", title)
    st.html(
        f'<p class="pp-quiet">{escape(title_of(column.task))}, n = {column.users} people. Whiskers: 95 % intervals '
        "over people. The dotted line joins the methods that no other method beats on both measures. RAG and PAG store "
        "the person’s text itself and put it into every prompt.</p>"
    )
    csv_button("points", figures.points_csv(points, measure), "CSV of both figures")


def _damaged(finding: Finding, name: str) -> None:
    show_error(
        PerpcsError(
            f"results/quality/{name}.json contains no usable numbers.", f"Make it again with: {finding.command}."
        )
    )


def points_of(column: Column, measure: str, controls: Collection[str] = ()) -> list[Point]:
    """The methods of a task that are not controls, as points."""
    points = []
    for name, cell in column.cells.items():
        value = cell.measures.get(measure)
        if value is None or cell.bytes is None or cell.seconds is None or name in controls:
            continue
        points.append(Point(name, value.mean, value.low, value.high, cell.bytes, cell.seconds))
    return points


def cost_panel(engine: "Engine") -> None:
    """R2: bytes against people, seconds against history items."""
    finding = _section(engine, "cost")
    if finding is None:
        return
    storage, time = (mapping(finding.data.get(key)) for key in ("storage", "time"))
    kept = lines_of(storage, "users", "bytes")
    took = lines_of(time, "items", "median_s")
    if len(kept) < 2 or not took:
        _damaged(finding, "cost")
        return
    left, right = st.columns(2, gap="large")
    with left:
        title = figures.storage_title(kept)
        even = storage.get("even_at")
        st.html(f"<h3>{escape(title)}</h3>")
        at = float(even) if is_number(even) else None
        chart(figures.cost_figure(tuple(kept), "people", kind="bytes", even_at=at, dark=is_dark()), "storage", title)
        first = mapping(mapping(storage.get("methods")).get("perpcs"))
        once, person = (value if is_number(value) else 0 for value in (first.get("once"), first.get("person")))
        meet = f" Dotted line: from {at:.0f} people on, Per-Pcs stores less." if at and at > 1 else ""
        st.html(
            f'<p class="pp-quiet">Per-Pcs stores all pieces once ({bytes_text(once)}) and {bytes_text(person)} per '
            f"person (one byte per weight); OPPU stores one adapter per person, in half precision.{meet}</p>"
        )
        csv_button("storage", figures.lines_csv(kept, "people", "bytes"), "CSV of this figure")
    with right:
        title = figures.time_title(took)
        st.html(f"<h3>{escape(title)}</h3>")
        chart(figures.cost_figure(tuple(took), "history items", kind="seconds", dark=is_dark()), "time", title)
        machine, repeats = mapping(finding.data.get("machine")), time.get("repeats")
        st.html(
            f'<p class="pp-quiet">{escape(title_of(str(finding.data.get("task"))))}; one person, the newest items of '
            f"one history; median of {escape(str(repeats))} runs on {escape(str(machine.get('cpus')))} CPU cores "
            f"(load average before the run: {escape(str(machine.get('load_before')))}).</p>"
        )
        csv_button("time", figures.lines_csv(took, "items", "seconds"), "CSV of this figure")
    paper = published()
    cost = mapping(paper.get("cost"))
    st.html(
        f'<p class="pp-quiet"><span class="pp-tag">published</span> {escape(str(paper.get("source")))}: Per-Pcs takes '
        f"{cost.get('storage_times_less_than_oppu')} times less storage and "
        f"{cost.get('time_times_less_than_oppu')} times less time than OPPU "
        f"({escape(str(paper.get('base_model')))}).</p>"
    )
    made_by(finding)


def lines_of(part: Mapping[str, Any], x: str, y: str) -> list[Line]:
    """The lines of one half of ``cost``; malformed ones are left out."""
    sizes = _sizes(part.get(x))
    rows = {str(name): _sizes(mapping(row).get(y)) for name, row in mapping(part.get("methods")).items()}
    return [Line(name, sizes, values) for name, values in rows.items() if sizes and len(values) == len(sizes)]


def _sizes(value: Any) -> tuple[float, ...]:
    """A list of numbers above 0; empty for anything else."""
    if not isinstance(value, list) or not all(is_number(one) and one > 0 for one in value):
        return ()
    return tuple(float(one) for one in value)


def history_panel(engine: "Engine", record: Studio) -> None:
    """Quality against the number of history items, for the task of the open cell."""
    finding = _section(engine, "history")
    if finding is None:
        return
    task, found = part_of(finding, record.result[0])
    bands = bands_of(found)
    if not bands:
        _damaged(finding, "history")
        return
    title = figures.history_title(bands)
    st.html(f"<h3>{escape(title)}</h3>")
    with st.container(key="history-box"):
        chart(figures.bands_figure(tuple(bands), "history items", dark=is_dark()), "history", title)
    st.html(
        f'<p class="pp-quiet">{escape(title_of(task))}, n = {escape(str(found.get("users")))} people, the newest items '
        "of each; the same queries at every size. Whiskers: 95 % intervals over people. Dotted: the control, with "
        "someone else’s weights.</p>"
    )
    csv_button("history", figures.bands_csv(bands), "CSV of this figure")
    made_by(finding)


def bands_of(found: Mapping[str, Any], size: str = "items") -> list[Band]:
    """The methods of a part of a result, at the sizes it lists; malformed ones are left out."""
    sizes, bands = _sizes(found.get(size)), []
    for name, row in mapping(found.get("methods")).items():
        listed = mapping(row).get("nll")
        cells = [read_measure(cell) for cell in listed] if isinstance(listed, list) else []
        known = [cell for cell in cells if cell is not None]
        if sizes and len(known) == len(cells) == len(sizes):
            mean, low, high = (tuple(getattr(cell, key) for cell in known) for key in ("mean", "low", "high"))
            bands.append(Band(str(name), sizes, mean, low, high))
    return bands


def case_panel(engine: "Engine") -> None:
    """One person's weights next to PEFT retrieval's selection."""
    finding = _section(engine, "case-study")
    if finding is None:
        return
    case = _case_of(finding)
    if case is None:
        _damaged(finding, "case-study")
        return
    title = case_title(case)
    st.html(f"<h3>{escape(title)}</h3>")
    with st.container(key="casebox"):
        chart(case_figure(case, dark=is_dark()), "case", title)
    nll, about = mapping(finding.data.get("nll")), str(finding.data.get("description") or "")
    said = ", ".join(f"{escape(method_name(name))} {value:.2f}" for name, value in nll.items() if is_number(value))
    st.html(
        f'<p class="pp-quiet">{escape(about)} {escape(str(finding.data.get("items")))} history items. ▲ marks the '
        "sharers that PEFT retrieval selects, the same at every position. Colour shows the weight, with a separate "
        f"scale per map; a dot means no weight. Held-out {term('NLL')}: {said} nats per target token.</p>"
    )
    csv_button("case", case_csv(case), "CSV of both maps")
    made_by(finding)


@lru_cache(maxsize=4)
def _case_of(finding: Finding) -> Case | None:
    """The same object for the same file content, so that its figure is drawn once."""
    return read_case(dict(finding.data))


# ---- what it depends on ----------------------------------------------------------------------------------------------


def robustness_panel(engine: "Engine", record: Studio) -> None:
    """R2: likelihood against the number of sharers and the share ratio, with other sharers and other settings."""
    finding = _section(engine, "robustness")
    if finding is None:
        return
    task, found = part_of(finding, record.result[0])
    base = read_measure(found.get("base"))
    sharers, ratios = (bands_of(mapping(found.get(part)), "x") for part in ("sharers", "share_ratio"))
    if base is None or not sharers or not ratios:
        _damaged(finding, "robustness")
        return
    left, right = st.columns(2, gap="large")
    with left:
        few, many = sharers[0].sizes[0], sharers[0].sizes[-1]
        _lines(sharers, base, gain_title(sharers, base.mean, f"With {few:.0f} of {many:.0f} sharers"), "sharers")
    with right:
        least = f"With {100 * ratios[0].sizes[0]:.0f} % of each sharer’s pieces"
        _lines(ratios, base, gain_title(ratios, base.mean, least), "share ratio", percent=True)
    left, right = st.columns(2, gap="large")
    with left:
        selection = mapping(found.get("selection"))
        taken = selection.get("taken")
        dots = rule_dots(selection)
        if dots and is_number(taken):
            _dots(dots, base, rules_title(dots, int(taken)), "rules")
    with right:
        dots = choice_dots(found.get("choices"))
        if dots:
            _dots(dots, base, choices_title(dots), "choices")
    _note(finding, task, found)


def _lines(bands: list[Band], base: Measure, title: str, what: str, *, percent: bool = False) -> None:
    name = what.replace(" ", "-")
    figure = bands_figure(tuple(bands), what, percent=percent, base=base.mean, dark=is_dark())
    _figure(title, figure, name, bands_csv(bands, name))


def _dots(dots: list[Dot], base: Measure, title: str, name: str) -> None:
    _figure(title, dots_figure(tuple(dots), base.mean, dark=is_dark()), name, dots_csv(dots))


def _figure(title: str, figure: Any, name: str, csv: str) -> None:
    """A figure under its main finding, and its numbers."""
    st.html(f"<h3>{escape(title)}</h3>")
    chart(figure, name, title)
    csv_button(name, csv, "CSV of this figure")


def _note(finding: Finding, task: str, found: Mapping[str, Any]) -> None:
    st.html(
        f'<p class="pp-quiet">{escape(title_of(task))}, n = {escape(str(found.get("users")))} people, the same queries '
        "everywhere. Whiskers: 95 % intervals over people. Dotted line: the base model. Smaller sets of sharers are "
        "random subsets of the larger ones. “Significantly” means that the interval of the paired difference "
        "excludes 0.</p>"
    )
    made_by(finding)


def rule_dots(selection: Mapping[str, Any]) -> list[Dot]:
    """A dot for each rule and router; malformed ones are left out."""
    dots = []
    for rule, name in RULES.items():
        for method, cell in mapping(mapping(selection.get("rules")).get(rule)).items():
            value = read_measure(cell)
            if value is not None:
                dots.append(Dot(name, str(method), value.mean, value.low, value.high))
    return dots


def choice_dots(rows: Any) -> list[Dot]:
    """A dot for each setting; malformed ones are left out."""
    dots = []
    for row in rows if isinstance(rows, list) else ():
        cell = mapping(row)
        value, differs = read_measure(cell.get("nll")), read_measure(cell.get("minus_default"))
        if value is None:
            continue
        how = "" if differs is None else "better" if differs.high < 0 else "worse" if differs.low > 0 else ""
        method, choice = str(cell.get("method")), str(cell.get("choice") or "default")
        dots.append(Dot(f"{brief_name(method)}: {choice}", method, value.mean, value.low, value.high, how))
    return dots
