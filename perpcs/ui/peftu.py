"""Results, PEFT-U: which small personal module is best where one text has different right answers. It only reads."""

from collections.abc import Mapping
from html import escape
from typing import Any

import streamlit as st

from perpcs.evaluate.findings import Finding, read_finding
from perpcs.figures import peftu as figures
from perpcs.figures.peftu import Cell, Value, title_of
from perpcs.pool.manifest import is_number, mapping
from perpcs.ui.engine import results_folder
from perpcs.ui.results import csv_button, made_by
from perpcs.ui.widgets import chart, is_dark

_CONTROLS = ("shuffled", "crowd")
_MINUS = {"zero-shot": "minus_zero_shot", "wrong": "minus_wrong", "prior": "minus_prior"}


def peftu_panel() -> None:
    """The part of the page; nothing where there is no result."""
    finding = read_finding(results_folder(), "peftu")
    tasks = mapping(finding.data.get("tasks")) if finding else {}
    if finding is None or not tasks:
        return
    st.html('<h2 class="pp-part" id="peftu">Which small module learns best what one person means?</h2>')
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.segmented_control(
            "Task of PEFT-U",
            list(tasks),
            key="peftu-task",
            default=next(iter(tasks)),
            required=True,
            format_func=lambda one: str(mapping(tasks.get(one)).get("title") or one),
        )
        x = st.selectbox("Across", list(figures.AXES), index=4, key="peftu-x", format_func=figures.AXES.__getitem__)
        y = st.selectbox("Up", list(figures.AXES), index=0, key="peftu-y", format_func=figures.AXES.__getitem__)
    task = mapping(tasks.get(name or next(iter(tasks))))
    cells = read_cells(task)
    shown = tuple(one for one in cells.values() if _is_method(one.name) and {x, y} <= set(one.values))
    if len(shown) < 2 or x == y:
        st.html('<p class="pp-note">Choose two different measures that this task has.</p>')
        return
    left, right = st.columns([0.58, 0.42], gap="large")
    with left:
        title = figures.front_title(shown, x, y)
        st.html(f"<h3>{escape(title)}</h3>")
        chart(figures.front_figure(shown, x, y, dark=is_dark()), "peftu-front", title)
    with right:
        _spread(cells)
    st.html(facts_html(finding, task))
    with st.expander("All methods and controls of this task", icon=":material/table_rows:"):
        st.html(table_html(task, cells))
    csv_button("peftu", figures.cells_csv(list(cells.values())), "CSV of this task")
    made_by(finding)


def _is_method(name: str) -> bool:
    return not name.startswith("wrong:") and name not in _CONTROLS


def read_cells(task: Mapping[str, Any]) -> dict[str, Cell]:
    """The methods of a task's result; what is no number is left out."""
    found = {}
    for name, said in mapping(task.get("methods")).items():
        values: dict[str, Value] = {}
        for measure in figures.AXES:
            value = mapping(said).get(measure)
            if is_number(value):
                values[measure] = Value(float(value), float(value), float(value))
            elif (one := _value(value)) is not None:
                values[measure] = one
        rows = [mapping(one) for one in mapping(said).get("people") or ()]
        people = {
            measure: tuple(float(row[measure]) for row in rows)
            for measure in ("accuracy", "f1", "nats")
            if rows and all(is_number(row.get(measure)) for row in rows)
        }
        minus = {
            other: one
            for other, key in _MINUS.items()
            if (one := _value(mapping(mapping(said).get(key)).get("accuracy"))) is not None
        }
        if "accuracy" in values and people:
            found[str(name)] = Cell(str(name), values, people, minus)
    return found


def _value(said: Any) -> Value | None:
    numbers = [mapping(said).get(key) for key in ("mean", "low", "high")]
    return Value(*map(float, numbers)) if all(is_number(one) for one in numbers) else None  # type: ignore[arg-type]


def _spread(cells: Mapping[str, Cell]) -> None:
    """Two methods, person by person."""
    names = list(cells)
    with st.container(horizontal=True):
        first = st.selectbox(
            "Each person by", names, index=_at(names, "newton:lora"), key="peftu-one", format_func=title_of
        )
        second = st.selectbox("and by", names, index=_at(names, "wrong:lora"), key="peftu-two", format_func=title_of)
    one, other = cells[first], cells[second]
    title = figures.spread_title(one, other, "accuracy")
    st.html(f"<h3>{escape(title)}</h3>")
    chart(figures.spread_figure(one, other, "accuracy", dark=is_dark()), "peftu-spread", title)


def _at(names: list[str], wanted: str) -> int:
    return names.index(wanted) if wanted in names else 0


def facts_html(finding: Finding, task: Mapping[str, Any]) -> str:
    """What was measured, in a paragraph, and the published averages, marked."""
    texts, settings = mapping(task.get("texts")), mapping(finding.data.get("settings"))
    published = mapping(finding.data.get("published"))
    said = ", ".join(
        f"{title_of(name)} {value:.3f}"
        for name, value in mapping(published.get("accuracy")).items()
        if is_number(value)
    )
    return (
        f'<p class="pp-quiet">n = {task.get("people")} people, each with about {texts.get("train")} texts to learn '
        f"from and {texts.get('test')} to be tested on. Accuracy: {escape(str(task.get('metric')))}. Modules stand in "
        f"layer {settings.get('first_layer')} and above and act after the text, which is read once for everybody. "
        "Learning rates were searched on other people. Whiskers: 95 % intervals over people. "
        f'<span class="pp-tag">published</span> {escape(said)} ({escape(str(published.get("base_model")))}, mean of 13 '
        "tasks, other people).</p>"
    )


def table_html(task: Mapping[str, Any], cells: Mapping[str, Cell]) -> str:
    """Each method with its accuracy, and its difference to zero-shot, to another person's module, and to counting."""
    head = "".join(
        f'<th scope="col">{one}</th>'
        for one in ("accuracy", "minus zero-shot", "minus another person’s", "minus own label counts")
    )
    rows = []
    for name, cell in cells.items():
        value = cell.values["accuracy"]
        parts = [f"{value.mean:.3f}<small>[{value.low:.3f}, {value.high:.3f}]</small>"]
        for other in _MINUS:
            minus = cell.minus.get(other)
            if minus is None:
                parts.append("–")
                continue
            sure = minus.low > 0 or minus.high < 0
            number = f"<b>{minus.mean:+.3f}</b>" if sure else f"{minus.mean:+.3f}"
            parts.append(f"{number}<small>[{minus.low:+.3f}, {minus.high:+.3f}]</small>")
        body = "".join(f"<td><span>{part}</span></td>" for part in parts)
        rows.append(
            f'<tr><th scope="row" style="--m:{figures.colour_of(name)}">{escape(title_of(name))}</th>{body}</tr>'
        )
    return (
        f'<div class="pp-scroll"><table class="pp-results"><caption class="pp-quiet">{escape(str(task.get("title")))}. '
        "<b>Bold</b>: the interval of the difference excludes 0, paired person by person</caption><thead><tr>"
        f'<th scope="col">method</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )
