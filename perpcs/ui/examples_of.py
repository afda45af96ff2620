"""What is behind one cell of the results: questions, answers, the truth, and a button to ask the question."""

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from perpcs.evaluate.findings import Column, Shown, examples
from perpcs.figures.curve import title_of
from perpcs.figures.results import UNITS, method_name
from perpcs.figures.style import bytes_text, seconds_text
from perpcs.figures.worddiff import diff_html
from perpcs.personalizers.methods import METHODS
from perpcs.tasks import TASKS
from perpcs.ui.facts import facts_html
from perpcs.ui.pages import page
from perpcs.ui.state import Studio, remember
from perpcs.ui.strings import term

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

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
        st.html(facts_html(rows, "This cell"))
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
