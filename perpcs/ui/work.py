"""Long work beside the page: in a thread, watched by script runs that come and go.

A page's script can be interrupted at any moment (a click starts it again, a closed tab ends it). The work is not: it
reports to a list, and whichever script run watches it draws what it finds there and calls ``beat``. It ends early when
somebody presses Stop, and by itself when nobody has watched it for some seconds.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from perpcs.errors import PerpcsError
from perpcs.ui.errors import as_error

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds without a watcher (the tab was closed) after which work stops at its next report."""


class Stopped(BaseException):
    """Raised inside the work to end it. Not an Exception, so that no handler on the way mistakes it for a failure."""


class Work(Generic[T]):
    """One run of ``do(report)`` in a thread. ``do`` calls ``report(anything)`` often; there it can be stopped."""

    def __init__(
        self,
        do: Callable[[Callable[[Any], None]], T],
        *,
        patience: float | None = None,
        alive: Callable[[], bool] = lambda: False,
        **about: Any,
    ) -> None:
        """Start it.

        Args:
            patience: seconds without a watcher after which it stops; ``PATIENCE`` where it is not given.
            alive: asked at every report whether somebody still wants the result, though nobody may be watching.
        """
        self._patience, self._alive = patience, alive
        self.about = about
        """What the work is for, so that the script run that sees its end knows where the result belongs."""
        self.reports: list[Any] = []
        self.result: T | None = None
        self.error: PerpcsError | None = None
        self.stopped = False
        self.skipped = False
        """The watcher was told not to draw the rest."""
        self.shown = 0
        """How many reports have been drawn."""
        self.started = self._seen = time.monotonic()
        self.ended_at: float | None = None
        self._do, self._stop = do, threading.Event()
        self._thread = threading.Thread(target=self._run, name="studio-work", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return self.ended_at is not None

    @property
    def elapsed(self) -> float:
        """Seconds from the start to the end, or to now."""
        return (self.ended_at or time.monotonic()) - self.started

    @property
    def thread(self) -> int | None:
        """The thread it runs in, by which the engine knows its place in the queue."""
        return self._thread.ident

    def beat(self) -> None:
        """Say that somebody is watching."""
        self._seen = time.monotonic()

    def stop(self) -> None:
        """Ask the work to end at its next report."""
        self.stopped = True
        self._stop.set()

    def skip(self) -> None:
        self.skipped = True

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)

    def _report(self, value: Any) -> None:
        if self._alive():
            self.beat()
        if self._stop.is_set() or time.monotonic() - self._seen > (self._patience or PATIENCE):
            self.stopped = True
            raise Stopped
        self.reports.append(value)

    def _run(self) -> None:
        try:
            self.result = self._do(self._report)
        except Stopped:
            self.stopped = True
        except Exception as error:
            self.error = as_error(error)
        finally:
            self.ended_at = time.monotonic()
