"""Fair turns at one model: first come, first served, with everybody's place in the queue visible."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turn:
    """A place in the queue; the work that holds it may let others go first."""

    def __init__(self, queue: "Queue") -> None:
        self.thread = threading.get_ident()
        self.waited = 0.0
        """Seconds spent waiting, so that work can tell its own time."""
        self._queue = queue

    def pass_on(self) -> None:
        """Go to the end of the queue and wait for the next turn; nothing happens where nobody waits. Called between
        steps of long work, so that nobody waits for all of them.
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
