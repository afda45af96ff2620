"""Answers that are asked for while the model is busy begin together, as one batch.

No thread of its own runs here. A request joins the batch of its kind that has not begun yet. The first of a batch to
get a turn begins it for all, and from then on whoever first wants a token that is not there yet takes the step for all.
A request that is gone wants nothing more, and a batch that nobody wants anything of goes no further.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from perpcs.serve.queue import Queue

MOST_ROWS = 32
"""Of one batch: reading so many prompts at once is still short, and a step for them hardly longer than for one."""
RowT = TypeVar("RowT")
FoundT = TypeVar("FoundT")
"""What a step gives for a row a list of: token ids, or probabilities."""


@dataclass(eq=False)
class _Batch(Generic[RowT, FoundT]):
    rows: list[RowT]
    steps: Iterator[list[list[FoundT]]] | None = None
    now: list[list[FoundT]] = field(default_factory=list)
    taken: int = 0
    """How many steps have been taken."""
    over: bool = False
    problem: BaseException | None = None
    worked: float = 0.0
    """Seconds of the steps so far, waiting not counted."""

    def step(self, begin: Callable[[Sequence[RowT]], Iterator[list[list[FoundT]]]]) -> None:
        """Take one step for all; what goes wrong is kept, for everybody to hear of."""
        began = time.perf_counter()
        try:
            self.steps = self.steps or begin(self.rows)
            found = next(self.steps, None)
        except BaseException as problem:
            self.problem, found = problem, None
        self.worked += time.perf_counter() - began
        if found is None:
            self.over = True
        else:
            self.now = found
            self.taken += 1


class Batches(Generic[RowT, FoundT]):
    """The batches of one engine."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, _Batch[RowT, FoundT]] = {}

    def answer(
        self, kind: Hashable, rows: Sequence[RowT], begin: Callable[[Sequence[RowT]], Iterator[list[list[FoundT]]]]
    ) -> Iterator[tuple[list[list[FoundT]], float]]:
        """What these rows have whenever a step was taken, and the seconds that the batch was worked at so far.

        Args:
            kind: requests of one kind may share a batch.
            begin: starts on the rows of a batch, and yields what every row has after each step. It may be called for a
                batch by any of its requests.

        Raises:
            whatever ``begin`` or a step raises, in every request of the batch.
        """
        batch, at = self._join(kind, rows)
        seen = 0
        while True:
            with self._queue.turn():
                self._close(kind, batch)
                if batch.taken == seen and not batch.over:
                    batch.step(begin)
                now, taken, worked = batch.now, batch.taken, batch.worked
            if batch.problem is not None:
                raise batch.problem
            if taken == seen:
                return
            seen = taken
            yield now[at : at + len(rows)], worked

    def _join(self, kind: Hashable, rows: Sequence[RowT]) -> tuple[_Batch[RowT, FoundT], int]:
        """The batch that these rows are in, and where its first one stands."""
        with self._lock:
            batch = self._waiting.get(kind)
            if batch is None or len(batch.rows) + len(rows) > MOST_ROWS:
                batch = self._waiting[kind] = _Batch([])
            at = len(batch.rows)
            batch.rows.extend(rows)
            return batch, at

    def _close(self, kind: Hashable, batch: _Batch[RowT, FoundT]) -> None:
        """Nobody joins a batch that begins."""
        with self._lock:
            if self._waiting.get(kind) is batch:
                del self._waiting[kind]
