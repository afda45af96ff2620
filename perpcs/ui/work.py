"""Long work in a thread, watched by script runs that come and go.

A page's script can be interrupted at any moment (a click restarts it, a closed tab ends it). The work is not
interrupted: it appends reports to a list, and the script run that watches it draws them and calls ``beat``. It ends
early when someone clicks Stop, or when no one has watched it for some seconds.
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
    """Raised inside the work to end it. Not an Exception, so that no handler mistakes it for a failure."""


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
            patience: seconds without a watcher after which it stops; ``PATIENCE`` by default.
            alive: called at every report: does someone still want the result, even if no one is watching?
        """
        self._patience, self._alive = patience, alive
        self.about = about
        """What the work is for, so that the script run that sees it end knows where to put the result."""
        self.reports: list[Any] = []
        self.result: T | None = None
        self.error: PerpcsError | None = None
        self.stopped = False
        self.skipped = False
        """Whether the watcher should skip drawing the rest."""
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
        """The thread it runs in; the engine uses it to find its place in the queue."""
        return self._thread.ident

    def beat(self) -> None:
        """Say that someone is watching."""
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
