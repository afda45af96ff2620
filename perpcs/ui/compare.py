"""The right side of Compare: the question, the person's own answer, and a column per method or person.

Blind mode: a vote once all columns are complete, then the names, and a running tally of this session.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from perpcs.assembly.record import made_by
from perpcs.figures.answers import label_bars, label_takeaway
from perpcs.figures.model_card import loss_strips
from perpcs.figures.style import csv_text, method_colour, seconds_text
from perpcs.files import zipped
from perpcs.personalizers.methods import Prepared, known_names, parse, title_of
from perpcs.tasks import TASKS, Query
from perpcs.ui.ask import Question
from perpcs.ui.asking import Asked, Column, columns_html, kept_as, letter, style_html, titles
from perpcs.ui.state import Person, Studio, remember
from perpcs.ui.widgets import WORK_SECONDS, chart, is_dark
from perpcs.ui.work import show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- votes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ballot:
    """One vote. Holds no text."""

    task: str
    methods: tuple[str, ...]
    winner: str
    """A method, or empty if none was better."""


@dataclass(frozen=True)
class Standing:
    """How many of its votes a method won, with a 95 % Wilson interval of that share."""

    method: str
    wins: int
    votes: int
    low: float
    high: float


def standings(ballots: Sequence[Ballot]) -> list[Standing]:
    """All methods that took part in a vote, best share first."""
    methods = dict.fromkeys(method for ballot in ballots for method in ballot.methods)
    rows = []
    for method in methods:
        votes = sum(method in ballot.methods for ballot in ballots)
        wins = sum(method == ballot.winner for ballot in ballots)
        rows.append(Standing(method, wins, votes, *wilson(wins, votes)))
    return sorted(rows, key=lambda row: -row.wins / row.votes)


def wilson(wins: int, votes: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share: (low, high)."""
    from scipy.stats import binomtest  # takes a second to import, and only a vote needs it

    found = binomtest(wins, votes).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def vote_panel(record: Studio, asked: Asked) -> None:
    """Voting buttons in blind mode once all is written; the vote that was cast; the tally."""
    if asked.order and asked.over and not asked.revealed:
        st.html(
            '<p class="pp-note" role="status">Which answer is most like this person? Names appear after your vote.</p>'
        )
        with st.container(horizontal=True, key="ballot"):
            for place, index in enumerate(asked.order):
                st.button(letter(place), key=f"vote-{place}", on_click=cast, args=(record, asked, index))
            st.button("No difference", key="vote-none", on_click=cast, args=(record, asked, None))
    elif asked.voted:
        st.html(f'<p class="pp-note" role="status">{escape(asked.voted)}</p>')
    if record.ballots:
        _tally(record)


def _method(column: Column) -> str:
    """A column's method; ``perpcs`` with another router than the default is counted under that router's name."""
    by = made_by(column.person.assembly.router)
    if column.method != "perpcs" or by == title_of("perpcs"):
        return column.method
    return next((name for name in known_names("perpcs") if title_of(name) == by), column.method)


def cast(record: Studio, asked: Asked, index: int | None) -> None:
    """Count a vote and show the names."""
    if asked.revealed:
        return
    methods = tuple(_method(column) for column in asked.columns)
    record.ballots.append(Ballot(asked.columns[0].person.task, methods, "" if index is None else methods[index]))
    asked.revealed = True
    asked.voted = "You saw no difference." if index is None else f"You voted for {asked.columns[index].title}."


def _tally(record: Studio) -> None:
    rows = standings(record.ballots)
    count = len(record.ballots)
    lines = "".join(
        f'<tr><th scope="row"><i style="background:{method_colour(row.method)}"></i>{escape(title_of(row.method))}</th>'
        f"<td>{row.wins} of {row.votes}</td><td>{row.low:.0%} to {row.high:.0%}</td></tr>"
        for row in rows
    )
    st.html(
        f"<h3>After {count} blind {'vote' if count == 1 else 'votes'}</h3><table class='pp-tally'><thead><tr>"
        "<th scope='col'>method</th><th scope='col'>wins</th><th scope='col'>95 % interval</th></tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )
    votes = [(b.task, " ".join(b.methods), b.winner) for b in record.ballots]
    st.download_button(
        "CSV of the votes",
        csv_text(("task", "methods", "winner"), votes),
        "perpcs-votes.csv",
        "text/csv",
        on_click="ignore",
        key="votes-csv",
        type="tertiary",
        icon=":material/table:",
    )


# ---- the page --------------------------------------------------------------------------------------------------------


TICK = 0.06
_TRUTH = "the true answer"


def answers_panel(engine: "Engine", record: Studio, question: Question) -> None:
    """Answers in progress, else the last ones to this question, else those stored with the pool."""
    if record.work is not None:
        _stream(engine, record, question.person)
    asked = record.asked if _same(record.asked, question) else None
    if asked is None and question.query is not None and question.columns:
        asked = _stored(engine, question)
    with st.container(key="finished"):
        if question.query is not None:
            _question(question.person, question.query)
        if record.failure is not None:
            show_error(record.failure)
        if asked is not None:
            _columns(engine, record, asked)
        elif question.query is None:
            st.html(
                '<div class="pp-empty"><h3>Your answers will appear here</h3><p>Type a question on the left and click '
                "Ask. Each method gets a column.</p></div>"
            )


def _stored(engine: "Engine", question: Question) -> Asked:
    """The question with the answers stored with the pool, for the columns that have one."""
    asked = question.asked()
    for column in asked.columns:
        if column.person.how == "precomputed" and not asked.blind:
            rows = engine.stored.answers(column.person.task, column.person.assembly.user, asked.query.id)
            column.answer = rows.get(column.method)
    asked.stored = any(column.answer for column in asked.columns)
    return asked


def _same(asked: Asked | None, question: Question) -> bool:
    return (
        asked is not None
        and asked.query == question.query
        and asked.by_person == question.by_person
        and bool(asked.order) == question.blind
        and [_who(column) for column in asked.columns] == [_who(column) for column in question.columns]
    )


def _who(column: Any) -> tuple[str, ...]:
    person = column.person
    return column.method, person.kind, person.name, person.task, person.how


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
            f'<div class="pp-truth"><small>What {escape(person.name)} really {did} (held out: no method sees it)'
            f"</small><b>{escape(query.gold)}</b></div>"
        )


def _stream(engine: "Engine", record: Studio, person: Person) -> None:
    """Draw the columns while they are written, then rerun the page with the result."""
    work, asked = record.work, record.asked
    assert work is not None
    st.html("<style>.st-key-finished { display: none; }</style>")
    _question(person, asked.query)
    head = st.empty()
    with st.container(horizontal=True):
        st.button("Stop", on_click=work.stop, icon=":material/stop:", key="stop")
        for index, column in enumerate(asked.columns):
            if parse(column.method).slow and not asked.blind and not column.over:
                name = f"Stop {column.title} only"
                st.button(name, on_click=work.about["skipped"].add, args=(index,), key=f"skip-{index}")
    follow(engine, record, head, st.empty())
    st.rerun()


def follow(engine: "Engine", record: Studio, head: Any, place: Any) -> None:
    """Draw the columns of ``record.asked`` in ``place`` while they are written, and how far that is in ``head``."""
    work, asked = record.work, record.asked
    assert work is not None
    place.html(columns_html(asked))
    while True:
        work.beat()
        over = work.stopped or work.ended
        if asked.fold(work.reports):
            place.html(columns_html(asked))
        head.html(
            f'<div class="pp-wait" role="status"><div>{escape(_step(engine, work, asked))}</div>'
            f"<span>{seconds_text(work.elapsed)}</span></div>{_training(asked)}"
        )
        if over:
            break
        time.sleep(TICK)
    asked.fold(work.reports)
    for column in asked.columns:
        column.stopped = not column.over
    asked.stopped, record.work = work.stopped, None
    record.failure = work.error


def _training(asked: Asked) -> str:
    """The losses of the current training, at the top where everyone sees them."""
    for column in asked.columns:
        if column.curves and column.answer is None and not column.over and not asked.blind and column.progress:
            strips = loss_strips(column.curves, column.progress.steps)
            return f'<div class="pp-training" style="--m:{method_colour(column.method)}">{strips}</div>'
    return ""


def _step(engine: "Engine", work: Any, asked: Asked) -> str:
    """The current step, in a few words."""
    ahead = engine.queue.ahead(work.thread)
    if ahead:
        return f"Waiting for {ahead} other {'request' if ahead == 1 else 'requests'}"
    if any(column.answer and not column.over for column in asked.columns):
        return "Writing the answers, in one batch"
    for column in asked.columns:
        if column.progress and column.answer is None and not column.over:
            name = "a column" if asked.blind else column.title
            return f"{name}: {column.progress.doing if not asked.blind else 'preparing'}"
    return "Reading the prompts"


def _columns(engine: "Engine", record: Studio, asked: Asked) -> None:
    answered = any(column.answer or column.problem for column in asked.columns)
    if asked.stopped:
        st.html('<p class="pp-note" role="status">Stopped. These answers are incomplete.</p>')
    if not answered:
        st.html('<p class="pp-note">Click Ask: all columns answer with the same seed and decoding.</p>')
    elif asked.stored:
        st.html(
            '<p class="pp-quiet"><span class="pp-tag">precomputed</span> Stored with the pool; click Ask to generate '
            "them now.</p>"
        )
    diff_with = _diff_with(record, asked)
    with st.container(key="columns"):
        st.html(columns_html(asked, diff_with))
        if answered and not asked.blind:
            st.html(f'<p class="pp-quiet">{WORK_SECONDS}</p>{style_html(asked)}')
    vote_panel(record, asked)
    if not asked.blind:
        _own_adapters(engine, record, asked)
    if not asked.blind and not asked.by_person:
        _bars(asked)


def _own_adapters(engine: "Engine", record: Studio, asked: Asked) -> None:
    """Download buttons for adapters trained here, in peft's format."""
    for index, column in enumerate(asked.columns):
        made = record.prepared.get(kept_as(column.method, column.person))
        if column.answer and parse(column.method).slow and made is not None and made.own is not None:
            st.download_button(
                f"Save the LoRA of {column.title}",
                partial(_zipped, engine, made),
                f"{column.method.replace(':', '-')}.zip",
                "application/zip",
                on_click="ignore",
                key=f"lora-{index}",
                type="tertiary",
                icon=":material/download:",
                help="A standard adapter for the pool's base model, in peft's format.",
            )


def _zipped(engine: "Engine", prepared: Prepared) -> bytes:
    return zipped(engine.prepared_adapter(prepared).files)


def _diff_with(record: Studio, asked: Asked) -> int | None:
    """The column to compare words with; None = the true answer."""
    there = titles(asked)
    if asked.blind or TASKS[asked.columns[0].person.task].labels or len(there) < 2:
        return None
    names: dict[str, int | None] = {_TRUTH: None} if asked.query.gold else {}
    names |= {title: index for index, title in there.items()}
    first = next(iter(names))
    if record.diff_with not in names:
        record.diff_with = first
    remember("diff-with", record.diff_with)
    if st.session_state["diff-with"] not in names:
        st.session_state["diff-with"] = first
    record.diff_with = st.selectbox("Compare words with", list(names), key="diff-with", width=300)
    return names[record.diff_with]


def _bars(asked: Asked) -> None:
    """For label tasks, the probability of each label per method (C3)."""
    there = [column.answer for column in asked.columns if column.answer]
    titles_ = {column.method: column.title for column in asked.columns}
    rows = {
        answer.method: (titles_.get(answer.method, title_of(answer.method)), answer.labels)
        for answer in there
        if answer.labels
    }
    if not rows:
        return
    title = label_takeaway(rows, asked.query.gold)
    st.html(f"<h3>{escape(title)}</h3>")
    chart(label_bars(rows, truth=asked.query.gold, dark=is_dark()), "label-bars", title, file="perpcs-labels")
    labels = sorted({label for _, values in rows.values() for label in values})
    lines = [(label, *(f"{values.get(label, 0):.6g}" for _, values in rows.values())) for label in labels]
    st.download_button(
        "CSV of these bars",
        csv_text(("label", *rows), lines),
        "perpcs-labels.csv",
        "text/csv",
        on_click="ignore",
        key="labels-csv",
        type="tertiary",
        icon=":material/table:",
    )
