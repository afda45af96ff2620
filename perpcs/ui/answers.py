"""Answers as Compare shows them, column by column, whether in progress or stored with the pool."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perpcs.errors import PerpcsError
from perpcs.personalizers.method import Progress
from perpcs.personalizers.methods import title_of
from perpcs.serve.answer import Answer
from perpcs.tasks import Query
from perpcs.ui.people import Person

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


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
