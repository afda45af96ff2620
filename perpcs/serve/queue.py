"""Fair turns at one model: first come, first served, with everybody's place in the queue visible.

Answers that are asked for while the model is busy begin together, as one batch.

No thread of its own runs here. A request joins the batch of its kind that has not begun yet. The first of a batch to
get a turn begins it for all, and from then on the first reader who needs a token that is not there yet takes the step
for all. A cancelled request takes no more tokens, and a batch without readers stops.

``row_updates`` is what a batch of prepared people adds to the base model: shared-pool weights, own pieces and whole
LoRAs beside each other, row by row.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from perpcs.model.base import BaseModel
from perpcs.model.basis import Pieces, Updates, own_updates, together
from perpcs.personalizers.methods import Prepared

# ---- turns -----------------------------------------------------------------------------------------------------------


class Turn:
    """A place in the queue; the work that holds it may let others go first."""

    def __init__(self, queue: "Queue") -> None:
        self.thread = threading.get_ident()
        self.waited = 0.0
        """Seconds spent waiting, so that work can tell its own time."""
        self._queue = queue

    def pass_on(self) -> None:
        """Go to the end of the queue and wait for the next turn; does nothing if nobody waits. Called between steps of
        long work, so that nobody waits for all of them.
        """
        queue = self._queue
        with queue._condition:
            if len(queue._turns) > 1:
                queue._turns.rotate(-1)
                queue._condition.notify_all()
                queue._wait(self)


class Queue:
    """A lock that serves in the order of arrival. Take a turn for every unit of work, so that nobody waits for a whole
    answer of somebody else.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._turns: deque[Turn] = deque()

    @property
    def waiting(self) -> int:
        """How many pieces of work are running or waiting."""
        return len(self._turns)

    def ahead(self, thread: int | None) -> int:
        """How many pieces of work come before that of a thread; 0 where it has the turn, or is not in the queue."""
        with self._condition:
            return next((place for place, turn in enumerate(self._turns) if turn.thread == thread), 0)

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Wait for the turn, hold it within the block, and give it up however the block ends."""
        mine = Turn(self)
        with self._condition:
            self._turns.append(mine)
        try:
            with self._condition:
                self._wait(mine)
            yield mine
        finally:
            with self._condition:
                self._turns.remove(mine)
                self._condition.notify_all()

    def _wait(self, turn: Turn) -> None:
        began = time.perf_counter()
        self._condition.wait_for(lambda: self._turns[0] is turn)
        turn.waited += time.perf_counter() - began


# ---- batches ---------------------------------------------------------------------------------------------------------


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
        """Take one step for all; an exception is kept and raised for every request."""
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
        """What these rows have after each step, and the seconds of work on the batch so far.

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
        """The batch of these rows, and the index of the first."""
        with self._lock:
            batch = self._waiting.get(kind)
            if batch is None or len(batch.rows) + len(rows) > MOST_ROWS:
                batch = self._waiting[kind] = _Batch([])
            at = len(batch.rows)
            batch.rows.extend(rows)
            return batch, at

    def _close(self, kind: Hashable, batch: _Batch[RowT, FoundT]) -> None:
        """Close a batch that begins: no request joins it any more."""
        with self._lock:
            if self._waiting.get(kind) is batch:
                del self._waiting[kind]


# ---- what a batch adds -----------------------------------------------------------------------------------------------


def row_updates(base: BaseModel, pieces: Pieces, rows: Sequence[Prepared]) -> list[Updates]:
    """Updates of a batch, one entry a position. A row that carries nothing answers with the base model, to the bit."""
    weights = row_weights(base, pieces, rows)
    shared: list[Updates] = [pieces.shared(p, weights[:, p]) for p in range(len(pieces))]
    return together(shared, own_updates([row.own for row in rows], base.device, base.dtype))


def row_weights(base: BaseModel, pieces: Pieces, rows: Sequence[Prepared]) -> Tensor:
    """Weights of a batch, (b, P, S); zeros where a row carries none."""
    dense = np.zeros((len(rows), len(pieces), pieces.sharers), dtype=np.float32)
    for index, row in enumerate(rows):
        if row.weights is not None:
            dense[index] = row.weights
    return torch.from_numpy(dense).to(base.device, base.dtype)
