"""Asking: columns are prepared and answered in a separate thread, the fast ones first, in one batch.

Methods that train for seconds follow one by one and report every step; each can be stopped separately. Prepared people
stay in the session, so that the next question needs no training.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from perpcs.errors import PerpcsError
from perpcs.personalizers.method import Prepared, Progress
from perpcs.personalizers.methods import parse
from perpcs.tasks import get_task
from perpcs.ui.answers import Asked, Column, Told
from perpcs.ui.people import Person
from perpcs.ui.state import Studio
from perpcs.ui.work import Work

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

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
