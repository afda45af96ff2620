"""The Results page's table: methods x tasks, published numbers, and what is behind a cell. It only reads files."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.evaluate.findings import (
    Column,
    Finding,
    Measure,
    Shown,
    columns,
    examples,
    methods,
    published,
    read_finding,
)
from perpcs.figures import results as figures
from perpcs.figures.answers import diff_html
from perpcs.figures.model_card import title_of
from perpcs.figures.results import UNITS, method_name
from perpcs.figures.style import bytes_text, scrolling, seconds_text
from perpcs.personalizers.methods import METHODS
from perpcs.pool.manifest import is_number, mapping
from perpcs.tasks import TASKS
from perpcs.ui.engine import results_folder
from perpcs.ui.navigation import page
from perpcs.ui.state import Studio, remember
from perpcs.ui.widgets import stat_row, term
from perpcs.ui.work import show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- what all parts of the page share --------------------------------------------------------------------------------


def finding_of(engine: "Engine", name: str) -> Finding | None:
    """A result; if there is none, or it belongs to another pool, the page says so."""
    finding = read_finding(results_folder(), name)
    if finding is None:
        st.html(
            f'<p class="pp-note">There is no results/quality/{name}.json yet. Make it with '
            f"<code>perpcs experiment {name} --pool {escape(engine.pool.manifest.name)}</code>.</p>"
        )
    elif finding.pool_hash != engine.pool.hash:
        st.html(
            f'<p class="pp-note">Measured with the pool {escape(finding.pool)} '
            f"<code>{escape(finding.pool_hash[:8])}</code>, not with the open one, "
            f"{escape(engine.pool.manifest.name)} <code>{engine.pool.hash[:8]}</code>.</p>"
        )
    return finding


def part_of(finding: Finding, wanted: str) -> tuple[str, Mapping[str, Any]]:
    """The part of a result about the wanted task, else about its first one: the task and its data."""
    tasks = mapping(finding.data.get("tasks"))
    task = wanted if wanted in tasks else next(iter(tasks), "")
    return task, mapping(tasks.get(task))


def made_by(finding: Finding) -> None:
    where = f"results/quality/{finding.experiment}.json, {finding.date}, commit {finding.commit[:13] or 'unknown'}"
    st.html(f'<p class="pp-quiet pp-made">{escape(where)}. Reproduce with: <code>{escape(finding.command)}</code></p>')


def csv_button(name: str, text: str, label: str) -> None:
    st.download_button(
        label,
        text,
        f"perpcs-{name}.csv",
        "text/csv",
        on_click="ignore",
        key=f"csv-{name}",
        type="tertiary",
        icon=":material/table:",
    )


# ---- behind a cell ---------------------------------------------------------------------------------------------------


SHOWN = 4
"""Examples on the page at once."""
_ASK = "Asks it as a typed question, for the person selected on Compare."


def examples_panel(engine: "Engine", record: Studio, column: Column, method: str) -> None:
    """R3: the cell's numbers and its examples. The two lists choose a cell without a mouse."""
    st.html(
        f'<h2 class="pp-part">Behind the number: {escape(method_name(method))}, {escape(title_of(column.task))}</h2>'
    )
    left, right = st.columns([0.3, 0.7], gap="large")
    with left:
        _pick(record, column, method)
        cell = column.cells[method]
        rows = [
            (f"{value.mean:.3f}", f"{UNITS.get(name, name)}<br>[{value.low:.3f}, {value.high:.3f}], n = {value.people}")
            for name, value in cell.measures.items()
        ]
        if cell.minus_base is not None:
            change = cell.minus_base
            low, high = f"{change.low:+.3f}", f"{change.high:+.3f}"
            rows.append((f"{change.mean:+.3f}", f"{term('NLL')} minus the base model’s<br>[{low}, {high}], paired"))
        if cell.bytes is not None and not method.startswith("wrong:"):
            rows.append((bytes_text(cell.bytes), "stored per person, mean"))
            rows.append((seconds_text(cell.seconds), "to prepare a person, mean"))
        st.html(stat_row(rows, "This cell"))
    with right:
        _examples(engine, record, column, method)


def _pick(record: Studio, column: Column, method: str) -> None:
    remember("result-method", method)
    st.selectbox(
        "Method",
        list(column.cells),
        key="result-method",
        format_func=method_name,
        on_change=lambda: setattr(record, "result", (column.task, st.session_state["result-method"])),
    )


def _examples(engine: "Engine", record: Studio, column: Column, method: str) -> None:
    found = examples(column, method)
    if not found:
        st.html(
            '<p class="pp-note">No examples are stored with this number. Texts are stored for made-up people only, if '
            "the evaluation included them: <code>perpcs experiment table1 --again</code>.</p>"
        )
        return
    pages_ = -(-len(found) // SHOWN)
    with st.container(horizontal=True, vertical_alignment="center"):
        first = min(record.result_page, pages_ - 1) * SHOWN
        st.html(
            f'<p class="pp-quiet">{first + 1} to {min(first + SHOWN, len(found))} of {len(found)} stored examples</p>',
            width="content",
        )
        turn = {"on_click": _turn, "type": "tertiary"}
        st.button("Previous", key="earlier", args=(record, -1, pages_), disabled=first == 0, **turn)  # type: ignore[arg-type]
        last = first + SHOWN >= len(found)
        st.button("Next", key="later", args=(record, 1, pages_), disabled=last, **turn)  # type: ignore[arg-type]
    for number, one in enumerate(found[first : first + SHOWN]):
        st.html(example_html(one, column.task, column.metric))
        if column.task in {part.task for part in engine.pool.manifest.tasks} and st.button(
            "Ask it on Compare", key=f"compare-{number}", type="tertiary", icon=":material/forum:", help=_ASK
        ):
            ask(record, one, column.task, method)
            st.switch_page(page("compare"))


def example_html(one: Shown, task: str, metric: str) -> str:
    """Input, the answer with its differences from the truth, the truth, and the measures."""
    text = " ".join(one.input.split())
    shown = escape(text if len(text) <= 420 else text[:420] + " …")
    options = "".join(f"<br>[{i}] {escape(option)}" for i, option in enumerate(one.options, start=1))
    if one.answer is None:
        answer = "<em>not stored</em>"
    elif TASKS[task].labels:
        answer = escape(one.answer or "(nothing)") + (" ✓" if one.answer == one.gold else " ✗")
    else:
        answer = diff_html(one.answer, one.gold) if one.answer else "(nothing)"
    numbers = [
        f"{value:.2f} {unit}"
        for value, unit in ((one.score, UNITS.get(metric, metric)), (one.nll, UNITS["nll"]))
        if value is not None
    ]
    return (
        f'<div class="pp-example"><div class="pp-quote">{shown}{options}</div><dl><dt>answer</dt><dd>{answer}</dd>'
        f"<dt>truth</dt><dd>{escape(one.gold)}</dd><dt>measured</dt><dd>{', '.join(numbers) or '–'}</dd></dl></div>"
    )


def ask(record: Studio, one: Shown, task: str, method: str) -> None:
    """Ask the question on Compare as a typed one, with the base model and, if Compare has it, the cell's method."""
    stem = method.removeprefix("wrong:").partition(":")[0]
    record.task, record.typed, record.asked = task, one.input, None
    record.typed_options = (one.options[0], one.options[1]) if len(one.options) == 2 else ("", "")
    record.compare_own = False
    for key in ("query-kind", "methods", f"typed-{record.generation}"):
        st.session_state.pop(key, None)
    record.methods = tuple(name for name in METHODS if name in ("base", stem)) or record.methods


def _turn(record: Studio, by: int, pages_: int) -> None:
    record.result_page = max(0, min(record.result_page + by, pages_ - 1))


# ---- the table -------------------------------------------------------------------------------------------------------


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
        show_error(
            PerpcsError("results/quality/table1.json contains no task.", f"Make it again with: {finding.command}.")
        )
        return
    _settle(record, found, engine.pool.manifest.tasks[0].task)
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


def _settle(record: Studio, found: tuple[Column, ...], first: str) -> None:
    """Make sure that the open cell exists, whatever the link says; without a link it is of the visitor's task."""
    task, method = record.result
    column = next((one for wanted in (task, record.task, first) for one in found if one.task == wanted), found[0])
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
    return scrolling(
        f'<table class="pp-results"><caption class="pp-quiet">{escape(caption)}</caption>'
        f'<thead><tr><th scope="col">method</th>{head}</tr></thead>{"".join(body)}</table>'
    )


def _group(title: str, width: int, rows: list[str]) -> str:
    head = f'<tr class="pp-group"><th colspan="{width + 1}" scope="colgroup">{title}</th></tr>'
    return f"<tbody>{head}{''.join(rows)}</tbody>"


def _row(method: str, found: tuple[Column, ...], keys: dict[str, str], chosen: tuple[str, str]) -> str:
    cells = []
    for one in found:
        cell, key = one.cells.get(method), keys[one.task]
        td = f'<td data-column="{escape(title_of(one.task))}">'  # a narrow screen writes it beside the number
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
