"""Questions and their answers, column by column, whether in progress or stored with the pool.

Columns are prepared and answered in a separate thread, the fast ones first, in one batch. Methods that train for
seconds follow one by one and report every step; each can be stopped separately. Prepared people stay in the session,
so that the next question costs no training.

Answers are shown as HTML, a column each: the method, its answer, the difference from the truth, and the cost; the same
on Compare and on Assemble.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from perpcs.errors import PerpcsError
from perpcs.evaluate.metrics import rouge
from perpcs.figures.answers import diff_html, likeness_html, likeness_title, shared_words, traits_of
from perpcs.figures.model_card import loss_strips
from perpcs.figures.style import bytes_text, method_colour, seconds_text
from perpcs.personalizers.methods import Prepared, Progress, parse, title_of
from perpcs.serve.answer import Answer, Marks, marks_of
from perpcs.tasks import TASKS, Query, get_task
from perpcs.tasks.task import Habits, own_texts
from perpcs.ui.give_history import items_html
from perpcs.ui.state import Person, Studio
from perpcs.ui.work import Work

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- asking ----------------------------------------------------------------------------------------------------------


# ---- answers ---------------------------------------------------------------------------------------------------------


@dataclass
class Column:
    """One column: a method that answers for a person, and its progress."""

    method: str
    person: Person
    title: str
    answer: Answer | None = None
    progress: Progress | None = None
    """Progress of its preparation, while it runs."""
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Training losses, if it is trained."""
    problem: PerpcsError | None = None
    stopped: bool = False
    marked: tuple[Answer, Marks] | None = None
    """The finished answer and its warnings: every redraw shows them, and a history may be long."""

    @property
    def over(self) -> bool:
        """Whether the column is finished."""
        return self.stopped or self.problem is not None or (self.answer is not None and self.answer.done)


@dataclass(frozen=True)
class Told:
    """A report about one column from the answering thread; None means unchanged."""

    column: int
    answer: Answer | None = None
    progress: Progress | None = None
    problem: PerpcsError | None = None
    stopped: bool = False


@dataclass
class Asked:
    """One question of Compare and its answers. Lives in the session only."""

    query: Query
    columns: list[Column]
    by_person: bool = False
    """Whether columns are people with one method, rather than methods for one person."""
    stored: bool = False
    stopped: bool = False
    folded: int = 0
    """Number of reports already applied to the columns."""
    order: tuple[int, ...] = ()
    """In blind mode, the order in which columns are shown; otherwise empty."""
    revealed: bool = False
    voted: str = ""

    @property
    def blind(self) -> bool:
        return bool(self.order) and not self.revealed

    @property
    def over(self) -> bool:
        return all(column.over for column in self.columns)

    def fold(self, reports: Sequence[Told]) -> bool:
        """Apply the new reports; returns whether there were any."""
        new = reports[self.folded :]
        for told in new:
            column = self.columns[told.column]
            if told.progress is not None:
                column.progress = told.progress
                for name, loss in told.progress.losses.items():
                    column.curves.setdefault(name, []).append((told.progress.step, loss))
            column.answer = told.answer or column.answer
            column.problem = told.problem or column.problem
            column.stopped = column.stopped or told.stopped
        self.folded += len(new)
        return bool(new)


def columns_of(person: Person, methods: Sequence[str]) -> list[Column]:
    """One column per method, for one person."""
    return [Column(method, person, title_of(method, person.assembly.router)) for method in methods]


def columns_by_person(people: Sequence[Person], method: str) -> list[Column]:
    """One column per person, with one method."""
    return [Column(method, person, person.name) for person in people]


def stored_answers(
    engine: "Engine", task: str, example_id: str, query: Query | None, methods: Sequence[str]
) -> tuple[Answer, ...]:
    """An example person's answers computed when the pool was built; empty if any of ``methods`` is missing."""
    if query is None or not methods:
        return ()
    rows = engine.stored.answers(task, example_id, query.id)
    return tuple(rows[method] for method in methods) if all(method in rows for method in methods) else ()


# ---- the thread ------------------------------------------------------------------------------------------------------


KEPT = 32
"""Number of prepared people that a session keeps."""
Report = Callable[[Told], None]


class _Skipped(BaseException):
    """Raised inside a training to end only that one."""


def start_asking(engine: "Engine", record: Studio, asked: Asked, page: str = "compare") -> None:
    """Start answering; ``page`` watches ``record.work``, whose reports are ``Told``."""
    most, temperature, seed = record.max_new_tokens or None, record.temperature, record.seed
    task, columns, kept = get_task(asked.columns[0].person.task), asked.columns, record.prepared
    skipped: set[int] = set()

    def do(report: Report) -> None:
        quick = [i for i, column in enumerate(columns) if not parse(column.method).slow]
        slow = [i for i in range(len(columns)) if i not in quick]
        for batch in (quick, *([i] for i in slow)):
            ready = {i: made for i in batch if (made := _prepared(engine, task, kept, columns[i], i, skipped, report))}
            if ready:
                _answer(list(ready), [(made, asked.query) for made in ready.values()], report)

    def _answer(indices: Sequence[int], rows: Sequence[Any], report: Report) -> None:
        snapshots = engine.answer_rows(task, rows, max_new_tokens=most, temperature=temperature, seed=seed)
        try:
            for snapshot in snapshots:
                for index, answer in zip(indices, snapshot, strict=True):
                    report(Told(index, answer=answer))
        finally:
            snapshots.close()  # type: ignore[attr-defined]

    record.asked, record.failure = asked, None
    record.work = Work(do, page=page, skipped=skipped)


def _prepared(
    engine: "Engine",
    task: Any,
    kept: dict[Any, Prepared],
    column: Column,
    index: int,
    skipped: set[int],
    report: Report,
) -> Prepared | None:
    """A column's person prepared for its method; or None, with the reason reported."""
    key = kept_as(column.method, column.person)
    if key in kept:
        return kept[key]

    def watch(progress: Progress) -> None:
        if index in skipped:
            raise _Skipped
        report(Told(index, progress=progress))

    report(Told(index, progress=Progress("waiting for its turn", 0, 0)))
    person = column.person
    try:
        made = engine.prepare(
            task, column.method, person.history, user=person.assembly.user, assembly=person.assembly, watch=watch
        )
    except PerpcsError as error:
        report(Told(index, problem=error))
        return None
    except _Skipped:
        report(Told(index, stopped=True))
        return None
    while len(kept) >= KEPT:
        del kept[next(iter(kept))]
    kept[key] = made
    return made


def kept_as(method: str, person: Person) -> tuple[Any, ...]:
    """The key of a prepared person: everything that the preparation depends on."""
    return method, person.task, person.assembly.user, hash(person.history), person.assembly.fingerprint


# ---- columns as HTML -------------------------------------------------------------------------------------------------


_PER_ROW = {1: 1, 2: 2, 3: 3, 4: 2}
"""Columns per row on a wide screen, by the number of columns; three if there are more."""
HIDDEN = "#8A8F98"
"""The colour of a column whose name is hidden."""


def columns_html(asked: Asked, diff_with: int | None = None) -> str:
    """All columns; in blind mode, in shuffled order.

    Args:
        diff_with: the column to compare words with; None = the true answer.
    """
    order = asked.order or tuple(range(len(asked.columns)))
    cards = "".join(_card(asked, index, place, diff_with) for place, index in enumerate(order))
    most = _PER_ROW.get(len(order), 3)
    return f'<div class="pp-columns" style="--k:{most};--k2:{min(most, 2)}">{cards}</div>'


def style_html(asked: Asked) -> str:
    """How far each finished answer is written like the person; empty for labels, hidden names and unknown histories."""
    person = asked.columns[0].person
    texts = {
        column.title or title_of(column.method): column.answer.text
        for column in asked.columns
        if column.answer and column.answer.done and column.answer.text
    }
    if asked.blind or asked.by_person or not texts or TASKS[person.task].labels:
        return ""
    habits = Habits.of(own_texts(TASKS[person.task], person.history))
    if not traits_of(habits):
        return ""
    title = likeness_title(person.name, habits, texts)
    table = likeness_html(person.name, habits, texts, asked.query.gold or "")
    return f'<h3 class="pp-part">Written like {escape(person.name)}?</h3><p>{escape(title)}.</p>{table}'


def letter(place: int) -> str:
    """The label of a column while its name is hidden."""
    return ascii_uppercase[place]


def _card(asked: Asked, index: int, place: int, diff_with: int | None) -> str:
    column = asked.columns[index]
    blind, answer = asked.blind, column.answer
    title = f"Answer {letter(place)}" if blind else column.title
    if asked.revealed:
        title = f"{letter(place)}: {title}"
    colour = HIDDEN if blind else method_colour(column.method)
    head = f"<h3>{escape(title)}<small>{_verdict(asked, column)}</small></h3>"
    body = _body(asked, column, _other(asked, index, diff_with))
    facts, folds = ("", "") if answer is None or blind else (_facts(answer), _details(column, answer))
    parts = "".join(f"<div>{part}</div>" for part in (head, body, facts, folds))  # four rows that all columns share
    return f'<div class="pp-answer" style="--m:{colour}">{parts}</div>'


def _other(asked: Asked, index: int, diff_with: int | None) -> str:
    """The text to compare a column's words with; empty if there is none."""
    if diff_with is None:
        return gold_of(asked, asked.columns[index])
    other = asked.columns[diff_with].answer
    return "" if diff_with == index or other is None else other.text


def gold_of(asked: Asked, column: Column) -> str:
    """The true answer of a column's person; empty if it is not known."""
    own = not asked.by_person or asked.query in column.person.queries
    return (asked.query.gold or "") if own else ""


def _body(asked: Asked, column: Column, other: str) -> str:
    answer = column.answer
    if column.problem is not None:
        return f"<p><em>{escape(column.problem.wrong)} {escape(column.problem.do)}</em></p>"
    if answer is None:
        return "<p><em>Stopped.</em></p>" if column.stopped else _preparing(asked, column)
    if not answer.done and not column.stopped:
        return f'<p><span class="pp-caret">{escape(answer.text)}</span></p>'
    if other and answer.text and not asked.blind and not TASKS[column.person.task].labels:
        return f"<p>{diff_html(answer.text, other)}</p>{_mark(column, answer)}"
    return f"<p>{escape(answer.text) or '<i>(empty)</i>'}</p>{_mark(column, answer)}"


def marks_on(column: Column, answer: Answer) -> Marks:
    """Warnings about a finished answer; labels need none, because they are marked as valid or not."""
    if TASKS[column.person.task].labels or column.stopped:
        return Marks()
    if column.marked is None or column.marked[0] is not answer:
        seen = [answer.prompt, *(item.y or item.x for item in column.person.history)]
        column.marked = answer, marks_of(answer.text, seen)
    return column.marked[1]


def _mark(column: Column, answer: Answer) -> str:
    found = marks_on(column, answer)
    if not found:
        return ""
    return f'<div class="pp-mark"><span class="pp-tag">{escape(found.label)}</span> {escape(found.says)}</div>'


def _preparing(asked: Asked, column: Column) -> str:
    progress = column.progress
    if progress is None:
        return "<p>&nbsp;</p>"
    if asked.blind or not progress.steps:
        return '<p class="pp-doing">preparing …</p>'
    share = 100 * progress.step / progress.steps
    return (
        f'<p class="pp-doing">{escape(progress.doing)}: step {progress.step} of {progress.steps}</p>'
        f'<div class="pp-progress"><i style="width:{share:.1f}%"></i></div>{loss_strips(column.curves, progress.steps)}'
    )


def _verdict(asked: Asked, column: Column) -> str:
    """The note next to the title: invalid, right or wrong, or how close the answer is to the truth."""
    answer, gold, task = column.answer, gold_of(asked, column), TASKS[column.person.task]
    if answer is None or not answer.done or asked.blind:
        return ""
    if not answer.valid:
        return "invalid answer"
    if not gold:
        return ""
    if task.kind == "rating":
        off = abs(int(answer.text) - int(gold))
        return "✓ correct" if not off else f"✗ off by {off}"
    if task.labels:
        return "✓ correct" if answer.text.strip().lower() == gold.strip().lower() else "✗ wrong"
    same, words = shared_words(answer.text, gold)
    return f"{same} of {words} words shared, ROUGE-L {rouge(answer.text, gold)['rougeL']:.2f}"


def _facts(answer: Answer) -> str:
    first, whole = seconds_text(answer.first_token_seconds), seconds_text(answer.seconds)
    timed = answer.first_token_seconds is not None  # stored answers are not: many were written in one batch
    rows = (
        ("tokens", f"{answer.tokens}"),
        *((("first token", first), ("whole answer", whole)) if timed else ()),
        ("stored per person", bytes_text(answer.bytes_stored)),
        ("preparation", seconds_text(answer.prepare_seconds)),
        ("exposes personal text", "yes" if answer.text_leaves else "no"),
    )
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in rows)}</dl>"


def _details(column: Column, answer: Answer) -> str:
    parts = [_fold("Prompt as sent", f"<pre>{escape(answer.prompt)}</pre>")]
    if answer.retrieved:
        parts.append(_fold(f"Items shown ({len(answer.retrieved)})", items_html(answer.retrieved)))
    if answer.profile:
        parts.append(_fold("Profile shown", f"<p>{escape(answer.profile)}</p>"))
    if column.curves or answer.says:
        said = f"<small>{escape(answer.says)}</small>" if answer.says else ""
        parts.append(_fold("How it was trained", said + loss_strips(column.curves)))
    return "".join(parts)


def _fold(title: str, inside: str) -> str:
    return f"<details><summary>{title}</summary>{inside}</details>"


def titles(asked: Asked) -> dict[int, str]:
    """Titles of the columns that have an answer, by index."""
    return {i: column.title or title_of(column.method) for i, column in enumerate(asked.columns) if column.answer}
