"""Changes to what Streamlit does: sessions of closed tabs end by a timer, the server stops soon after a signal, closed
tabs are not logged as errors, and no outside service is contacted.

Streamlit keeps the session of a closed tab for ``server.disconnectedSessionTTL`` seconds, in case the connection comes
back, but looks at the clock only when somebody else comes or goes, and then drops a session without shutting it down,
so that its uploaded files stay. Here its storage of closed sessions is replaced by one with an alarm.

Told to end, it waits for every open connection, and one that a browser has left half closed keeps it for ever. Here it
waits a few seconds.

A tab that is closed while its connection opens is logged as an error of the app, with two tracebacks. Here it is not.

For the address that it prints, and whenever it refuses a foreign origin, it asks a service of another company for this
computer's address in the internet. Here it never does.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock
from types import FrameType, ModuleType
from typing import Any

from starlette.formparsers import MultiPartParser
from streamlit import config, net_util
from streamlit.runtime import Runtime
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.session_manager import SessionInfo, SessionStorage

Handler = Callable[[int, FrameType | None], Any]

MOST = 128
"""Sessions of closed tabs that are kept at once; of more, the oldest end at once."""
LATE = 10.0
"""Seconds by which a session may outlive its time."""
PATIENCE = 3.0
"""Seconds that a server which is told to end waits for its connections."""
LOADED = Event()
"""Set when the server has opened its first pool: what exists then stays for as long as the server runs."""


class Closed(SessionStorage):
    """The sessions of closed tabs, with the second at which each was closed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        """How long a session is kept."""
        self._kept: dict[str, tuple[float, SessionInfo]] = {}
        self._lock = Lock()

    def get(self, session_id: str) -> SessionInfo | None:
        with self._lock:
            return self._kept.get(session_id, (0.0, None))[1]

    def save(self, session_info: SessionInfo) -> None:
        with self._lock:
            self._kept[session_info.session.id] = (time.monotonic(), session_info)

    def delete(self, session_id: str) -> None:
        with self._lock:
            self._kept.pop(session_id, None)

    def list(self) -> list[SessionInfo]:
        with self._lock:
            return [info for _, info in self._kept.values()]

    def overdue(self) -> tuple[str, ...]:
        """Ids of the sessions whose time is over, and of the oldest where there are more than ``MOST``."""
        now = time.monotonic()
        with self._lock:
            late = [session for session, (closed, _) in self._kept.items() if now - closed >= self.seconds]
            others = [session for session in self._kept if session not in late]
        return (*late, *others[: max(0, len(others) - MOST)])


def keep_closed(runtime: Runtime) -> Closed:
    """Have a server keep the sessions of closed tabs in a ``Closed``, which is returned, and uploads in memory only."""
    closed = Closed(config.get_option("server.disconnectedSessionTTL"))
    manager: Any = runtime._session_mgr
    for info in manager._session_storage.list():
        closed.save(info)
    manager._session_storage = closed
    AppSession.flush_browser_queue = _flush  # type: ignore[assignment]
    MultiPartParser.spool_max_size = 0  # else of more than 1 MB it makes a file on disk while they arrive
    return closed


def _flush(session: Any) -> list[Any]:
    """What Streamlit's loop sends next. The loop holds this list until it sends another, perhaps for days, so the
    session knows it and ``empty`` can empty it.
    """
    session.perpcs_sent = session._browser_queue.flush()
    return session.perpcs_sent


def empty(session: Any) -> None:
    """Take out of an ended session all that its visitor gave: Streamlit's loop holds the session that it served last,
    and the messages that it sent last, until it serves another one.
    """
    with suppress(Exception):
        record = session._session_state["studio"]
        if record.work is not None:
            record.work.stop()
        record.__init__()
    for buffer in ("_session_state", "_browser_queue"):
        with suppress(Exception):
            getattr(session, buffer).clear()
    with suppress(Exception):
        session._client_state.Clear()
    sent = getattr(session, "perpcs_sent", [])
    for message in sent:
        message.Clear()
    sent.clear()


async def end_closed(runtime: Runtime, closed: Closed) -> None:
    """End sessions when their time is over, for as long as the server runs.

    Once the pool is open, whatever exists is left out of garbage collection. Streamlit collects garbage after every run
    of a page and blocks the process meanwhile: scanning torch and its dependencies took longer than most runs. Objects
    of the visitors who are there at that moment are left out with it; they come back in when one of them has gone.
    """
    frozen: set[str] = set()
    while True:
        await asyncio.sleep(min(LATE, closed.seconds) / 2)
        ended = [info.session for name in closed.overdue() if (info := closed.get(name))]
        for session in ended:
            with suppress(Exception):  # one that fails to shut down must not keep the others
                runtime._session_mgr.close_session(session.id)
            closed.delete(session.id)
        if ended:
            await asyncio.sleep(min(LATE, closed.seconds) / 4)  # for scripts to notice that they were stopped
            for session in ended:
                empty(session)
                if session.id in frozen:
                    gc.unfreeze()
            ended, session, info = [], None, None  # type: ignore[assignment]
            sys.modules["__main__"] = ModuleType("__main__")  # was the last page that ran, with its visitor's record
            gc.collect()  # sessions refer to themselves in circles
        if LOADED.is_set() and not gc.get_freeze_count():
            gc.freeze()
            frozen = {info.session.id for info in runtime._session_mgr.list_sessions()}


def end_when_told() -> None:
    """Have SIGTERM and Ctrl-C end the server within ``PATIENCE`` seconds.

    Uvicorn, which serves the app, takes a second Ctrl-C as the order to wait no longer: it is given one.
    """
    if threading.current_thread() is not threading.main_thread():  # only there may signals be handled, as in a test
        return
    insist = threading.Timer(PATIENCE, lambda: os.kill(os.getpid(), signal.SIGINT))
    insist.daemon = True
    for number in (signal.SIGINT, signal.SIGTERM):
        gentle = signal.getsignal(number)
        if callable(gentle):
            signal.signal(number, _insisting(gentle, insist))


def _insisting(gentle: Handler, insist: threading.Timer) -> Handler:
    def handle(number: int, frame: FrameType | None) -> None:
        gentle(number, frame)
        if insist.ident is None:  # the first signal
            insist.start()

    return handle


def log_no_closed_tabs() -> None:
    """Keep uvicorn from logging a connection that its browser closed as an error of the app."""
    logging.getLogger("uvicorn.error").addFilter(_is_an_error)


def _is_an_error(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ not in ("WebSocketDisconnect", "WebSocketDisconnected")  # the second: newer starlette


def ask_nobody() -> None:
    """Have Streamlit take this computer's external address as known: one that is allowed as an origin anyway."""
    net_util._external_ip = "0.0.0.0"
