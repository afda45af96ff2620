"""Questions and their answers, column by column, whether in progress or stored with the pool.

Columns are prepared and answered in a separate thread, the fast ones first, in one batch. Methods that train for
seconds follow one by one and report every step; each can be stopped separately. Prepared people stay in the session,
so that the next question costs no training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perpcs.errors import PerpcsError
from perpcs.personalizers.methods import Prepared, Progress, parse, title_of
from perpcs.serve.answer import Answer
from perpcs.tasks import Query, get_task
from perpcs.ui.people import Person
from perpcs.ui.state import Studio
from perpcs.ui.work import Work

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


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
    return method, person.task, person.assembly.user, hash(person.history), hash(person.assembly.weights.tobytes())
