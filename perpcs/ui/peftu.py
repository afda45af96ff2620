"""Results, PEFT-U: which small personal module is best where one text has different right answers. It only reads."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.evaluate.findings import Finding, read_finding
from perpcs.figures import peftu as figures
from perpcs.figures.peftu import Cell, Value, title_of
from perpcs.figures.style import scrolling
from perpcs.peftu.tasks import get_peft_task
from perpcs.pool.manifest import is_number, mapping, read_json
from perpcs.ui.engine import results_folder
from perpcs.ui.results import csv_button, made_by
from perpcs.ui.state import clear_button, studio
from perpcs.ui.widgets import PRIVACY, chart, is_dark
from perpcs.ui.work import show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

_CONTROLS = ("shuffled", "crowd")
_MINUS = {"zero-shot": "minus_zero_shot", "wrong": "minus_wrong", "prior": "minus_prior"}


def peftu_panel() -> None:
    """The part of the page; nothing where there is no result."""
    finding = read_finding(results_folder(), "peftu")
    tasks = mapping(finding.data.get("tasks")) if finding else {}
    if finding is None or not tasks:
        return
    st.html('<h2 class="pp-part" id="peftu">Which small module learns one person’s judgements best?</h2>')
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.segmented_control(
            "Task of PEFT-U",
            list(tasks),
            key="peftu-task",
            default=next(iter(tasks)),
            required=True,
            format_func=lambda one: str(mapping(tasks.get(one)).get("title") or one),
        )
        x = st.selectbox(
            "Horizontal axis", list(figures.AXES), index=4, key="peftu-x", format_func=figures.AXES.__getitem__
        )
        y = st.selectbox(
            "Vertical axis", list(figures.AXES), index=0, key="peftu-y", format_func=figures.AXES.__getitem__
        )
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
    st.html(verdict_html(cells) + facts_html(finding, task))
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
            "Method, person by person", names, index=_at(names, "newton:lora"), key="peftu-one", format_func=title_of
        )
        second = st.selectbox(
            "Compared with", names, index=_at(names, "wrong:lora"), key="peftu-two", format_func=title_of
        )
    one, other = cells[first], cells[second]
    title = figures.spread_title(one, other, "accuracy")
    st.html(f"<h3>{escape(title)}</h3>")
    chart(figures.spread_figure(one, other, "accuracy", dark=is_dark()), "peftu-spread", title)


def _at(names: list[str], wanted: str) -> int:
    return names.index(wanted) if wanted in names else 0


_LIKE_COUNTING = 0.05
"""Accuracy of zero-shot within so much of counting the person's labels leaves little to gain in accuracy."""


def verdict_html(cells: Mapping[str, Cell]) -> str:
    """Which of a person's own modules are better than zero-shot and than another person's, and why others are not."""
    own = [cell for name, cell in cells.items() if f"wrong:{name}" in cells]
    said = []
    for other, called in (("zero-shot", "the base model"), ("wrong", "another person’s module")):
        there = [cell for cell in own if other in cell.minus]
        sure = [title_of(cell.name) for cell in there if cell.minus[other].low > 0]
        unsure = [title_of(cell.name) for cell in there if cell.minus[other].low <= 0]
        if sure:
            said.append(f"Significantly better than {called} in accuracy: {', '.join(sure)}.")
        if unsure:
            said.append(f"Not significantly better than {called}: {', '.join(unsure)}.")
    zero, prior = cells.get("zero-shot"), cells.get("prior")
    if zero and prior:
        a, b = (cell.values["accuracy"].mean for cell in (zero, prior))
        if a > b - _LIKE_COUNTING:
            said.append(
                f"The base model alone ({a:.3f}) is already about as good as naming each person’s most frequent labels "
                f"({b:.3f}), so accuracy has little room to improve here; nats per text tell more."
            )
        else:
            said.append(f"Naming each person’s most frequent labels, without reading the text, reaches {b:.3f}.")
    return f'<p class="pp-prose">{escape(" ".join(said))}</p>' if said else ""


def facts_html(finding: Finding, task: Mapping[str, Any]) -> str:
    """What was measured, in a paragraph, and the published averages, marked."""
    texts, settings = mapping(task.get("texts")), mapping(finding.data.get("settings"))
    published = mapping(finding.data.get("published"))
    said = ", ".join(
        f"{title_of(name)} {value:.3f}"
        for name, value in mapping(published.get("accuracy")).items()
        if is_number(value)
    )
    going_on = "" if finding.data.get("complete") else "<b>The experiment is not complete yet.</b> "
    return (
        f'<p class="pp-quiet">{going_on}n = {task.get("people")} people, each with about {texts.get("train")} training '
        f"texts and {texts.get('test')} test texts. Accuracy: {escape(str(task.get('metric')))}. Modules act in layer "
        f"{settings.get('first_layer')} and above, after the text, which is read once for all people. "
        "Learning rates were searched on other people. Whiskers: 95 % intervals over people. "
        f'<span class="pp-tag">published</span> {escape(said)} ({escape(str(published.get("base_model")))}, mean of 13 '
        "tasks, other people).</p>"
    )


def table_html(task: Mapping[str, Any], cells: Mapping[str, Cell]) -> str:
    """Each method with its accuracy, and its difference to zero-shot, to another person's module, and to counting."""
    titles = ("accuracy", "minus zero-shot", "minus another person’s", "minus own label counts")
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
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
        body = "".join(
            f'<td data-column="{title}"><span>{part}</span></td>' for title, part in zip(titles, parts, strict=True)
        )
        rows.append(
            f'<tr><th scope="row" style="--m:{figures.colour_of(name)}">{escape(title_of(name))}</th>{body}</tr>'
        )
    return scrolling(
        f'<table class="pp-results"><caption class="pp-quiet">{escape(str(task.get("title")))}. '
        "<b>Bold</b>: the interval of the difference excludes 0, paired person by person</caption><thead><tr>"
        f'<th scope="col">method</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def places_panel() -> None:
    """Method: where each kind of small module sits in a layer."""
    st.html(
        '<h2 class="pp-part">Other kinds of small modules</h2><p class="pp-quiet">LoRA is one of several small modules '
        "that can be trained for one person. They differ in where they act. Kinds that act in every layer can be "
        "split into pieces, one per layer, and mixed with weights as here: a weight of 0 is the base model, and people "
        "in one batch do not affect each other. A mix of adapters adds the outputs of the adapters; a mix of prefixes "
        "adds how far each prefix moves the attention. The Results page shows which kind learns one person’s "
        "judgements best.</p>"
    )
    st.html(figures.layer_html())


# ---- Compare ---------------------------------------------------------------------------------------------------------


_SIX = Path(__file__).resolve().parents[2] / "assets" / "peftu"
_MOST = 1200
"""Characters of a review."""


def six_panel(engine: "Engine") -> None:
    """One text, read live by six made-up customers; only with the pool whose base model they were trained on."""
    facts = mapping(read_json(_SIX / "six.json")) if (_SIX / "six.json").exists() else {}
    if facts.get("base_hash") != engine.pool.manifest.base_hash:
        return
    with st.expander("Same text, six readers", icon=":material/groups:", key="six"):
        st.html(
            '<p class="pp-quiet">One review can be good news for one customer and bad news for another. Each of six '
            "made-up customers has a small LoRA, trained on reviews that this customer judged. The review is read "
            "once; only the modules that answer differ. On held-out reviews, the most likely label agrees with a "
            f"customer’s traits in {_share(facts.get('right'))} of cases, and in {_share(facts.get('wrong'))} with the "
            "next customer’s module.</p>"
        )
        text = st.text_area(
            "A review",
            key=f"six-text-{studio().generation}",
            max_chars=_MOST,
            placeholder="Leave it empty for a made-up one",
        )
        st.html(f'<p class="pp-quiet">{escape(PRIVACY)}</p>')
        if text:
            clear_button("six-forget")
        if st.button("Let all six read it", key="six-read", icon=":material/groups:"):
            _read_by_six(engine, text.strip())


def _share(said: Any) -> str:
    return f"{said:.0%}" if is_number(said) else "–"


def _read_by_six(engine: "Engine", typed: str) -> None:
    from perpcs.peftu.six import example_reviews, read_by_six, read_six, true_labels

    truths, text = [""] * 6, typed
    if not typed:
        count = st.session_state["six-number"] = st.session_state.get("six-number", -1) + 1
        text, levels = example_reviews(count % 8 + 1)[-1]
        truths = true_labels(levels)
        st.html(f'<div class="pp-quote">{escape(text)}</div>')
    try:
        with engine.queue.turn():
            six = read_six(engine.base, engine.pool.manifest)
            if six is None:
                return
            alone, probs = read_by_six(engine.base, engine.pool.manifest, six, text)
    except PerpcsError as error:
        show_error(error)
        return
    labels = get_peft_task("smalltown").labels
    rows = [("The base model alone", alone.tolist(), "")]
    rows += [(says, row.tolist(), truth) for says, row, truth in zip(six.says, probs, truths, strict=True)]
    st.html(f"<h3>{escape(figures.readers_takeaway(labels, probs.tolist()))}</h3>")
    st.html(figures.readers_html(labels, rows))
