"""Long work in a thread, watched by script runs that come and go; a contribution, which is such work; and its errors.

A page's script can be interrupted at any moment (a click restarts it, a closed tab ends it). The work is not
interrupted: it appends reports to a list, and the script run that watches it draws them and calls ``beat``. It ends
early when someone clicks Stop, or when no one has watched it for some seconds.

The training of a contribution outlives a change of page, because it belongs to the session and not to a page; and a
reload, because it is found by a token that the Share page writes into its own address (never into the link that is
copied). It ends when nobody who knows it has had a tab open for ``TAB_PATIENCE`` seconds. The text is held by the
running work alone.
"""

import html
import logging
import secrets
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakValueDictionary

import streamlit as st
from streamlit.runtime import exists, get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

from perpcs.errors import PerpcsError

if TYPE_CHECKING:
    from perpcs.pool.contribute import Leaving, Trained


# ---- errors ----------------------------------------------------------------------------------------------------------


T = TypeVar("T")
_log = logging.getLogger("perpcs.ui")


def show_error(error: PerpcsError) -> None:
    """The two sentences of a PerpcsError as a card."""
    wrong, do = html.escape(error.wrong), html.escape(error.do)
    st.html(f'<div class="pp-error" role="alert"><b>{wrong}</b> <span>{do}</span></div>')


def as_error(error: BaseException) -> PerpcsError:
    """A bug as two sentences for the page. The server's log says where it happened, not the message."""
    if isinstance(error, PerpcsError):
        return error
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s (its message is left out: it may quote a person's text)\n%s", type(error).__name__, frames)
    return PerpcsError(
        f"Something in the program went wrong ({type(error).__name__}).",
        "Try again; if it happens again, report it with the server's log.",
    )


def deferred(make: Callable[[], T]) -> Callable[[], T]:
    """``make`` for a download button. Streamlit logs the message of what it raises, which must quote no text."""

    def careful() -> T:
        try:
            return make()
        except Exception as error:
            raise as_error(error) from None

    return careful


def on_script_error(error: Exception) -> bool:
    """Called by Streamlit for errors that a page did not catch; True keeps Streamlit from drawing its own box."""
    show_error(as_error(error))
    return True


# ---- work in a thread ------------------------------------------------------------------------------------------------


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


# ---- a contribution --------------------------------------------------------------------------------------------------


TAB_PATIENCE = 120.0
"""As long as Streamlit keeps a closed tab's session (.streamlit/config.toml)."""


@dataclass
class Sharing:
    """One person's way from a history to a copy of the pool. In memory only."""

    task: str
    items: int
    pool_hash: str
    """Of the pool that the pieces are trained for."""
    code: str
    """The revocation code; the id follows from it."""
    work: Work[Any] | None = None
    trained: "Trained | None" = None
    previewed: "tuple[bytes, Leaving] | None" = None
    """The share mask's bytes, and what leaves with it."""
    added: Path | None = None
    """The copy that the pieces were added to."""
    stopped: bool = False
    """The training was stopped, by somebody or because nobody was there any more."""
    error: PerpcsError | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    owners: set[str] = field(default_factory=set)
    """Ids of the sessions that know it."""

    def start(self, do: Callable[[Callable[[Any], None]], Any]) -> None:
        """Begin a piece of work for it."""
        self.error, self.work = None, Work(do, patience=TAB_PATIENCE, alive=self._wanted)

    def settle(self) -> None:
        """Take over what ended work has left."""
        work = self.work
        if work is None or not (work.ended or work.stopped):
            return
        self.work, self.error, self.stopped = None, work.error, work.stopped
        if isinstance(work.result, Path):
            self.added = work.result
        elif work.result is not None:
            self.trained = work.result

    def drop(self) -> None:
        """Forget it: stop the work, leave nothing to find."""
        if self.work is not None:
            self.work.stop()
        with _LOCK:
            _KNOWN.pop(self.token, None)

    def _wanted(self) -> bool:
        return not exists() or any(get_instance().is_active_session(owner) for owner in list(self.owners))


_KNOWN: WeakValueDictionary[str, Sharing] = WeakValueDictionary()
"""Found by token only while a session or running work holds it; Streamlit keeps a closed tab’s session a while."""
_LOCK = threading.Lock()


def register_sharing(sharing: Sharing) -> Sharing:
    """Make it findable by its token for as long as somebody holds it."""
    context = get_script_run_ctx()
    if context is not None:
        sharing.owners.add(context.session_id)
    with _LOCK:
        _KNOWN[sharing.token] = sharing
    return sharing


def find_sharing(token: str) -> Sharing | None:
    """The contribution of a token that a page's address holds, for a session that was loaded again."""
    with _LOCK:
        found = _KNOWN.get(token)
    return register_sharing(found) if found is not None else None
