"""Fair turns at one model: first come, first served, with the length of the queue visible."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock that serves in the order of arrival. Take a turn for every unit of work, so that nobody waits for a whole
    answer of somebody else.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._queue: deque[object] = deque()

    @property
    def waiting(self) -> int:
        """How many pieces of work are running or waiting."""
        return len(self._queue)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn, hold it within the block, and give it up however the block ends."""
        ticket = object()
        with self._condition:
            self._queue.append(ticket)
        try:
            with self._condition:
                self._condition.wait_for(lambda: self._queue[0] is ticket)
            yield
        finally:
            with self._condition:
                self._queue.remove(ticket)
                self._condition.notify_all()
