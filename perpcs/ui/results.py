"""The Results page's table: methods x tasks, published numbers, and cells that open. It only reads files."""

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.evaluate.findings import Column, columns, methods, published
from perpcs.evaluate.results import Measure
from perpcs.figures import results as figures
from perpcs.figures.curve import title_of
from perpcs.figures.results import method_name
from perpcs.pool.manifest import is_number, mapping
from perpcs.ui.errors import show_error
from perpcs.ui.examples_of import examples_panel
from perpcs.ui.found import finding_of, made_by
from perpcs.ui.state import Studio, remember
from perpcs.ui.strings import term

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

MEASURES = {"metric": "The task’s metric", "nll": "Likelihood (NLL)", "style": "Style"}
_NAMES = {"accuracy": "accuracy", "mae": "MAE", "rouge-L": "ROUGE-L", "nll": "NLL", "style": "style"}
_EARLY = """<script>if (!window.perpcsCells) {
  window.perpcsCells = { pressed: null, listens: false };
  document.addEventListener('click', event => {
    const cell = event.target.closest('[data-cell]');
    if (cell && !window.perpcsCells.listens) window.perpcsCells.pressed = cell.dataset.cell;
  });
}</script>"""
_LISTEN = """export default function ({ setTriggerValue }) {
  const early = window.perpcsCells;
  const heard = event => {
    const cell = event.target.closest('[data-cell]');
    if (cell) setTriggerValue('cell', cell.dataset.cell);
  };
  document.addEventListener('click', heard);
  if (early) {
    if (early.pressed) setTriggerValue('cell', early.pressed);
    early.pressed = null;
    early.listens = true;
  }
  return () => { document.removeEventListener('click', heard); if (early) early.listens = false; };
}"""
"""The table's cells are plain HTML buttons, which Streamlit does not handle itself. The listener is loaded after the
table; clicks before that are remembered."""


def table_panel(engine: "Engine", record: Studio) -> None:
    """R1: methods x tasks; R3: the examples behind a cell."""
    st.html("<h1>Results</h1>")
    finding = finding_of(engine, "table1")
    if finding is None:
        return
    found = columns(finding)
    if not found:
        show_error(PerpcsError("results/table1.json contains no task.", f"Make it again with: {finding.command}."))
        return
    _settle(record, found)
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.html(f"<h2>{escape(table_title(found))}</h2>", width="content")
        remember("measure", record.measure)
        chosen = st.segmented_control(
            "Measure", list(MEASURES), key="measure", required=True, format_func=MEASURES.__getitem__
        )
        record.measure = chosen or record.measure
    st.html(
        f'<p class="pp-quiet">Means over held-out people, with the {term("interval", "95 % interval")} below. '
        "<b>Bold</b>: significantly better than every other method (the interval of the difference excludes 0; paired "
        "by person if individual results are stored). Greedy decoding. <b>published</b>: the paper’s number for that "
        "method, with another model and other people. Click a cell to see its examples.</p>"
    )
    named, controls = methods(finding)
    table = st.container(key="results-table")
    table.html(_EARLY, unsafe_allow_javascript=True)
    table.html(table_html(found, named, controls, record.measure, record.result))
    listener = st.components.v2.component("perpcs_cells", js=_LISTEN)
    listener(key="cells", on_cell_change=lambda: _take_cell(record, found))
    made_by(finding)
    published_panel(found)
    column = next(one for one in found if one.task == record.result[0])
    examples_panel(engine, record, column, record.result[1])


def table_title(found: tuple[Column, ...]) -> str:
    """The main finding: on how many tasks the default method is significantly better than the base model."""
    for method in figures.OURS:
        there = [one.cells[method].minus_base for one in found if method in one.cells]
        known = [value for value in there if value is not None]
        if known:
            better = sum(value.high < 0 for value in known)
            return (
                f"{method_name(method)} predicts people’s own answers significantly better than the base model "
                f"on {better} of {len(known)} tasks"
            )
    return "Methods and tasks"


def _settle(record: Studio, found: tuple[Column, ...]) -> None:
    """Make sure that the open cell exists, whatever the link says."""
    task, method = record.result
    column = next((one for one in found if one.task == task), None) or found[0]
    if column.task != task or method not in column.cells:
        ours = [name for name in column.cells if name.startswith("perpcs")]
        record.result = (column.task, next((m for m in (*figures.OURS, *ours, *column.cells) if m in column.cells), ""))


def _take_cell(record: Studio, found: tuple[Column, ...]) -> None:
    """A click on a cell, as reported by the browser; ignored if there is no such cell."""
    said = st.session_state["cells"].get("cell")
    task, _, method = str(said or "").partition("~")
    if any(one.task == task and method in one.cells for one in found):
        record.result = (task, method)
        for key in ("result-task", "result-method"):
            st.session_state.pop(key, None)


def table_html(
    found: tuple[Column, ...],
    named: tuple[str, ...],
    controls: tuple[str, ...],
    measure: str,
    chosen: tuple[str, str],
) -> str:
    """The whole table, with one body of rows each for methods, controls and references."""
    keys = {one.task: one.metric if measure == "metric" else measure for one in found}
    if measure == "style":
        found = tuple(one for one in found if any("style" in cell.measures for cell in one.cells.values()))
    head = "".join(
        f'<th scope="col">{escape(title_of(one.task))}<small>{term(_NAMES[keys[one.task]])}, '
        f"{'lower' if keys[one.task] in figures.LOWER else 'higher'} is better<br>n = {one.users} people, "
        f"{one.queries} queries<br>{escape(one.date or 'no date')}, "
        f"{escape(one.commit[:8] or 'no commit')}</small></th>"
        for one in found
    )
    body = [_group("Methods", len(found), [_row(name, found, keys, chosen) for name in named])]
    if controls:
        body.append(_group("Controls", len(found), [_row(name, found, keys, chosen) for name in controls]))
    references = list(dict.fromkeys(name for one in found for name in one.references))
    if references and measure == "metric":
        rows = [_plain(name, [_reference(one, name) for one in found]) for name in references]
        body.append(_group("References without a model", len(found), rows))
    return _table("Methods and tasks", head, body)


def _table(caption: str, head: str, body: list[str]) -> str:
    return (
        f'<div class="pp-scroll"><table class="pp-results"><caption class="pp-quiet">{escape(caption)}</caption>'
        f'<thead><tr><th scope="col">method</th>{head}</tr></thead>{"".join(body)}</table></div>'
    )


def _group(title: str, width: int, rows: list[str]) -> str:
    head = f'<tr class="pp-group"><th colspan="{width + 1}" scope="colgroup">{title}</th></tr>'
    return f"<tbody>{head}{''.join(rows)}</tbody>"


def _row(method: str, found: tuple[Column, ...], keys: dict[str, str], chosen: tuple[str, str]) -> str:
    cells = []
    for one in found:
        cell, key = one.cells.get(method), keys[one.task]
        td = f'<td data-task="{escape(title_of(one.task))}">'  # a narrow screen writes it beside the number
        value = cell.measures.get(key) if cell else None
        if cell is None or value is None:
            cells.append(f'{td}<span aria-label="not measured">–</span></td>')
            continue
        number = f"<b>{value.mean:.3f}</b>" if key in cell.best else f"{value.mean:.3f}"
        on = ' aria-pressed="true"' if chosen == (one.task, method) else ' aria-pressed="false"'
        about = f"{method_name(method)} on {title_of(one.task)}: {value.mean:.3f}, open examples"
        cells.append(
            f'{td}<button type="button" data-cell="{escape(f"{one.task}~{method}")}" aria-label="{escape(about)}"{on}>'
            f"{number}<small>{interval(value)}</small>{_beside(one.task, key, method)}</button></td>"
        )
    colour = figures.colour_of(method)
    return f'<tr><th scope="row" style="--m:{colour}">{escape(method_name(method))}</th>{"".join(cells)}</tr>'


def _plain(name: str, cells: list[str]) -> str:
    shown = term(name, method_name(name)) if name in ("majority", "oracle") else escape(method_name(name))
    return f'<tr><th scope="row">{shown}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _reference(column: Column, name: str) -> str:
    cell = column.references.get(name)
    value = cell.measures.get(column.metric) if cell else None
    return "–" if value is None else f"<span>{value.mean:.3f}<small>{interval(value)}</small></span>"


def published_panel(found: tuple[Column, ...]) -> None:
    """The paper's numbers for these tasks, marked as published: another base model and other people."""
    with st.expander("The paper’s own table", icon=":material/menu_book:"):
        paper = published()
        st.html(
            f'<p class="pp-quiet"><span class="pp-tag">published</span> {escape(str(paper.get("source")))}: '
            f"{escape(str(paper.get('base_model')))}, {escape(str(paper.get('people')))}. Not measured here: other "
            "people, another model, no intervals.</p>"
        )
        st.html(published_html(found))


def published_html(found: tuple[Column, ...]) -> str:
    """The paper's rows for these tasks and their metrics."""
    tasks = [mapping(mapping(mapping(published().get("tasks")).get(one.task)).get(one.metric)) for one in found]
    names = list(dict.fromkeys(name for task in tasks for name in task))
    cells = {name: [f"<span>{_number(task.get(name))}</span>" for task in tasks] for name in names}
    head = "".join(
        f'<th scope="col">{escape(title_of(one.task))}<small>{term(_NAMES[one.metric])}</small></th>' for one in found
    )
    ours = {"perpcs": "perpcs:paper", "random": "random-history"}  # the paper's table uses the shorter names
    body = "".join(
        _plain("+".join(ours.get(part, part) for part in name.split("+")), row) for name, row in cells.items()
    )
    return _table("Published numbers", head, [f"<tbody>{body}</tbody>"])


def _number(value: object) -> str:
    return f"{value:.3f}" if is_number(value) else "–"


def _beside(task: str, metric: str, method: str) -> str:
    """The published number for the same method, task and metric, as a line under the measured one; usually none."""
    stem, _, variant = method.partition(":")
    if (stem == "perpcs" and variant != "paper") or (stem == "rag" and variant not in ("", "1")):
        return ""  # the paper's table has no other router, and one retrieved item
    stem = {"random-history": "random", "random": ""}.get(stem, stem)  # its "random" means random history items
    value = mapping(mapping(mapping(published().get("tasks")).get(task)).get(metric)).get(stem)
    return f"<small>published {value:.3f}</small>" if is_number(value) else ""


def interval(value: Measure) -> str:
    return f"[{value.low:.3f}, {value.high:.3f}]"
