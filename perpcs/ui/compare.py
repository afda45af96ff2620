"""The right side of Compare: the question, the person's own answer, and one column per method."""

import time
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from perpcs.figures.labels import label_bars, label_takeaway
from perpcs.figures.style import CHART_CONFIG, bytes_text, method_colour, seconds_text
from perpcs.figures.worddiff import diff_html, shared_words
from perpcs.personalizers.answer import Answer
from perpcs.tasks import TASKS, Query
from perpcs.ui.answers import Asked, stored_answers
from perpcs.ui.ask import Question, title_of
from perpcs.ui.engine import people_ahead
from perpcs.ui.errors import show_error
from perpcs.ui.give_history import items_html
from perpcs.ui.people import Person
from perpcs.ui.state import Studio
from perpcs.ui.theme import is_dark

if TYPE_CHECKING:
    from perpcs.personalizers.engine import Engine

TICK = 0.06


def answers_panel(engine: "Engine", record: Studio, question: Question) -> None:
    """Answers that are being written, else the last ones to this question, else those stored with the pool."""
    if record.work is not None:
        _stream(engine, record)
    asked = record.asked if _same(record.asked, question) else None
    if asked is None and question.query is not None:
        stored = () if question.person.how != "precomputed" else _stored(engine, record, question)
        asked = Asked(question.person, question.query, question.methods, stored, stored=True) if stored else None
    with st.container(key="finished"):
        if question.query is not None:
            _question(question.person, question.query)
        if record.failure is not None:
            show_error(record.failure)
        if asked is None and question.query is not None:
            asked = Asked(question.person, question.query, question.methods)
        if asked is not None and asked.methods:
            _columns(asked)
        elif asked is None:
            st.html(
                '<div class="pp-empty"><h3>The answers will be here</h3><p>Type a question on the left and press Ask. '
                "Each method gets a column.</p></div>"
            )


def _stored(engine: "Engine", record: Studio, question: Question) -> tuple[Answer, ...]:
    return stored_answers(engine, question.person.task, record.example, question.query, question.methods)


def _same(asked: Asked | None, question: Question) -> bool:
    return (
        asked is not None
        and asked.query == question.query
        and _who(asked.person) == _who(question.person)
        and asked.methods == question.methods
    )


def _who(person: Person) -> tuple[str, str, str, str]:
    return person.kind, person.name, person.task, person.how


def _question(person: Person, query: Query) -> None:
    task = TASKS[person.task]
    text = " ".join(query.x.split())
    shown = escape(text if len(text) <= 700 else text[:700] + " …")
    options = "".join(f"<br>[{i}] {escape(option)}" for i, option in enumerate(query.options, start=1))
    st.html(
        f'<p class="pp-quiet">{escape(task.instruction.split(". ")[0].rstrip("."))}.</p>'
        f'<div class="pp-quote">{shown}{options}</div>'
    )
    if query.gold:
        did = "chose" if task.labels else "wrote"
        st.html(
            f'<div class="pp-truth"><small>What {escape(person.name)} really {did} (held out, never shown to a method)'
            f"</small><b>{escape(query.gold)}</b></div>"
        )


def _stream(engine: "Engine", record: Studio) -> None:
    """Draw the columns while they are written, then run the page again with what there is."""
    work, asked = record.work, record.asked
    assert work is not None
    st.html("<style>.st-key-finished { display: none; }</style>")
    _question(asked.person, asked.query)
    head = st.empty()
    places = [column.empty() for column in st.columns(len(asked.methods), gap="medium")]
    st.button("Stop", on_click=work.stop, icon=":material/stop:", key="stop")
    drawn = -1
    while True:
        work.beat()
        over = work.stopped or work.ended
        if len(work.reports) != drawn:
            drawn = len(work.reports)
            asked.answers = work.reports[-1] if work.reports else ()
            for place, method, answer in zip(places, asked.methods, _aligned(asked), strict=True):
                place.html(_card(asked, method, answer, writing=True))
        step = "writing" if drawn else people_ahead(engine, mine=1) or "reading the prompts"
        head.html(
            f'<div class="pp-wait" role="status"><div>All methods in one batch: {step}</div>'
            f"<span>{seconds_text(work.elapsed)}</span></div>"
        )
        if over:
            break
        time.sleep(TICK)
    asked.stopped, record.work = work.stopped, None
    record.failure = work.error
    st.rerun()


def _aligned(asked: Asked) -> list[Answer | None]:
    """An answer or None for each method, in the order of the columns."""
    by_method = {answer.method: answer for answer in asked.answers}
    return [by_method.get(method) for method in asked.methods]


def _columns(asked: Asked) -> None:
    answers = _aligned(asked)
    if asked.stopped:
        st.html('<p class="pp-note" role="status">Stopped. This is what had been written.</p>')
    if not asked.answers:
        st.html('<p class="pp-note">Press Ask: all methods answer at once, with the same seed and decoding.</p>')
    elif asked.stored:
        st.html(
            '<p class="pp-quiet"><span class="pp-tag">precomputed</span> Stored with the pool; press Ask to have them '
            "written now.</p>"
        )
    for column, method, answer in zip(
        st.columns(len(asked.methods), gap="medium"), asked.methods, answers, strict=True
    ):
        with column:
            st.html(_card(asked, method, answer))
            if answer is not None:
                _details(answer)
    _bars(asked)


def _card(asked: Asked, method: str, answer: Answer | None, writing: bool = False) -> str:
    """One column: title, the answer with its difference to the truth, the facts."""
    title = title_of(method)
    head = f"<h3>{escape(title)}<small>{_verdict(asked, answer)}</small></h3>"
    if answer is None:
        body = "<p>&nbsp;</p>"
    elif writing and not answer.done:
        body = f'<p><span class="pp-caret">{escape(answer.text)}</span></p>'
    elif asked.query.gold and not TASKS[asked.person.task].labels and answer.text:
        body = f"<p>{diff_html(answer.text, asked.query.gold)}</p>"
    else:
        body = f"<p>{escape(answer.text) or '<i>(empty)</i>'}</p>"
    facts = "" if answer is None else _facts(answer)
    return f'<div class="pp-answer" style="--m:{method_colour(method)}">{head}{body}{facts}</div>'


def _verdict(asked: Asked, answer: Answer | None) -> str:
    """What stands beside the title: invalid, right or wrong, or how many words are shared with the truth."""
    if answer is None or not answer.done:
        return ""
    if not answer.valid:
        return "not a valid answer"
    gold = asked.query.gold
    if not gold:
        return ""
    if TASKS[asked.person.task].labels:
        return "✓ same" if answer.text.strip().lower() == gold.strip().lower() else "✗ other"
    same, words = shared_words(answer.text, gold)
    return f"{same} of {words} words shared"


def _facts(answer: Answer) -> str:
    rows = (
        ("tokens", f"{answer.tokens}"),
        ("first token", seconds_text(answer.first_token_seconds)),
        ("whole answer", seconds_text(answer.seconds)),
        ("stored for the person", bytes_text(answer.bytes_stored)),
        ("time to prepare", seconds_text(answer.prepare_seconds)),
        ("text leaves the person", "yes" if answer.text_leaves else "no"),
    )
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in rows)}</dl>"


def _details(answer: Answer) -> None:
    with st.expander("Prompt as sent"):
        st.code(answer.prompt, language=None, wrap_lines=True)
    if answer.retrieved:
        with st.expander(f"Retrieved items ({len(answer.retrieved)})"):
            st.html(items_html(answer.retrieved))


def _bars(asked: Asked) -> None:
    """For label tasks, the probability of each label per method (C3)."""
    rows = {a.method: (title_of(a.method), a.labels) for a in asked.answers if a.labels}
    if not rows:
        return
    title = label_takeaway(rows, asked.query.gold)
    st.html(f"<h3>{escape(title)}</h3>")
    st.plotly_chart(
        label_bars(rows, truth=asked.query.gold, dark=is_dark()),
        theme=None,
        width="stretch",
        key="label-bars",
        alt=title,
        config={**CHART_CONFIG, "toImageButtonOptions": {"filename": "perpcs-labels", "scale": 2}},
    )
    labels = sorted({label for _, values in rows.values() for label in values})
    lines = [",".join(["label", *rows])]
    lines += [
        ",".join([f'"{label}"', *(f"{values.get(label, 0):.6g}" for _, values in rows.values())]) for label in labels
    ]
    st.download_button(
        "CSV of these bars",
        "\n".join(lines) + "\n",
        "perpcs-labels.csv",
        "text/csv",
        on_click="ignore",
        key="labels-csv",
        type="tertiary",
        icon=":material/table:",
    )
