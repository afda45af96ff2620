"""What Streamlit's server does otherwise here: closed sessions end by the clock, and no name outside is looked up."""

import asyncio
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
import starlette.websockets
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from streamlit import net_util
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.session_manager import SessionInfo
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.runtime.websocket_session_manager import WebsocketSessionManager

from perpcs.ui import server
from perpcs.ui.server import Closed, end_closed, keep_closed
from perpcs.ui.widgets import PRIVACY

ROOT = Path(__file__).resolve().parents[1]


class Session:
    """As much of Streamlit's session as its manager closes."""

    def __init__(self, name, uploads):
        self.id, self.uploads, self.ended = name, uploads, False

    def shutdown(self):
        self.ended = True
        self.uploads.remove_session_files(self.id)


class Runtime:
    """A server's runtime with Streamlit's own manager of sessions."""

    def __init__(self, storage):
        self.uploads = MemoryUploadedFileManager("/upload")
        self._session_mgr = WebsocketSessionManager(storage, self.uploads, None, None)

    def closed_tab(self, name):
        session = Session(name, self.uploads)
        self.uploads.add_file(name, UploadedFileRec(f"file-{name}", "a.txt", "text/plain", b"words"))
        self._session_mgr._session_storage.save(SessionInfo(None, session))
        return session


async def run_for(seconds, runtime, closed):
    clock = asyncio.create_task(end_closed(runtime, closed))
    await asyncio.sleep(seconds)
    clock.cancel()


def test_sessions_end_by_the_clock_with_their_files():
    """Nobody comes or goes meanwhile."""
    closed = Closed(2.0)
    runtime = Runtime(closed)
    sessions = [runtime.closed_tab(f"s{number}") for number in range(3)]
    assert [info.session for info in closed.list()] == sessions
    asyncio.run(run_for(0.5, runtime, closed))
    assert not any(session.ended for session in sessions)  # within the time a reload finds them
    asyncio.run(run_for(4.0, runtime, closed))
    assert all(session.ended for session in sessions)
    assert not closed.list()
    assert not runtime.uploads.file_storage


def test_of_many_closed_sessions_the_oldest_end(monkeypatch):
    monkeypatch.setattr(server, "MOST", 5)
    closed = Closed(100.0)
    runtime = Runtime(closed)
    for number in range(8):
        runtime.closed_tab(f"s{number}")
    assert closed.overdue() == ("s0", "s1", "s2")


def test_a_session_that_fails_to_end_keeps_no_other():
    closed = Closed(0.1)
    runtime = Runtime(closed)
    first, second = runtime.closed_tab("first"), runtime.closed_tab("second")
    first.shutdown = lambda: 1 / 0
    asyncio.run(run_for(3.0, runtime, closed))
    assert second.ended
    assert not closed.list()


class Words:
    """Something of a visitor's that refers to itself: only garbage collection frees it."""

    def __init__(self):
        self.me = self


def test_what_visitors_had_when_the_pool_was_opened_goes_with_them(monkeypatch):
    """What then exists is left out of garbage collection."""
    monkeypatch.setattr(server, "LOADED", threading.Event())
    server.LOADED.set()
    closed = Closed(1.5)
    runtime = Runtime(closed)
    first = runtime.closed_tab("first")
    first.words = Words()
    gone, others = weakref.ref(first.words), [[] for _ in range(1000)]
    gc.unfreeze()

    async def while_it_runs():
        clock = asyncio.create_task(end_closed(runtime, closed))
        await asyncio.sleep(1.0)
        kept = gc.get_freeze_count()
        await asyncio.sleep(2.0)
        clock.cancel()
        return kept, gc.get_freeze_count()

    try:
        del first
        kept, again = asyncio.run(while_it_runs())
        assert kept > len(others)
        assert again > len(others)
        assert gone() is None
    finally:
        gc.unfreeze()


def test_the_server_keeps_closed_sessions_here():
    from streamlit.runtime.memory_session_storage import MemorySessionStorage

    runtime = Runtime(MemorySessionStorage())
    session = runtime.closed_tab("before")
    closed = keep_closed(runtime)
    assert runtime._session_mgr._session_storage is closed
    assert closed.get("before").session is session
    assert AppSession.flush_browser_queue is server._flush


def test_the_sentence_on_the_screen_holds():
    """Two minutes, and at most half a minute more: the alarm's rounds, and the one in which scripts are waited for."""
    from streamlit import config

    seconds = config.get_option("server.disconnectedSessionTTL")
    assert seconds + server.LATE / 2 + server.LATE / 4 < 150
    assert "at most two and a half minutes after you close the tab" in PRIVACY


def test_an_upload_is_never_written_to_disk(monkeypatch):
    """Nor while it arrives."""
    monkeypatch.setattr(MultiPartParser, "spool_max_size", MultiPartParser.spool_max_size)
    keep_closed(Runtime(Closed(1.0)))

    async def body():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        for _ in range(40):
            yield b"words of a visitor's" * 25_000
        yield b"\r\n--x--\r\n"

    form = asyncio.run(MultiPartParser(Headers({"content-type": "multipart/form-data; boundary=x"}), body()).parse())
    assert form["file"].size == 20_000_000
    assert not form["file"].file._rolled


LOOKUPS = """
import socket, sys
import urllib.request

asked = []
def note(name):
    def call(*args, **kwargs):
        asked.append((name, args))
        raise OSError("no network in this test")
    return call

real = socket.socket.connect
def connect(self, address):
    if self.type == socket.SOCK_STREAM:
        asked.append(("connect", address))
        raise OSError("no network in this test")
    return real(self, address)  # a datagram socket that is connected sends nothing: how an own address is found

socket.getaddrinfo, socket.gethostbyname, socket.create_connection = note("name"), note("name"), note("connection")
socket.socket.connect, urllib.request.urlopen = connect, note("urlopen")

import app
from streamlit import config, net_util
from streamlit.web import bootstrap
from streamlit.web.server import server_util

for origin in ("http://elsewhere.example", "http://8.8.4.4:8501", "null", "http://", ""):
    assert not server_util.is_url_from_allowed_origins(origin), origin
net_util.get_external_ip()
bootstrap._print_url(False)
assert not asked, asked
print("asked nobody")
"""


def test_told_to_end_the_server_is_told_again_until_it_waits_no_longer(monkeypatch):
    """Uvicorn ends at once when Ctrl-C comes after another signal; before, it waits for every connection."""
    monkeypatch.setattr(server, "PATIENCE", 0.05)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard = []
    try:
        for number in before:
            signal.signal(number, lambda number, frame: heard.append(number))
        server.end_when_told()
        os.kill(os.getpid(), signal.SIGTERM)
        until = time.monotonic() + 30
        while signal.SIGINT not in heard and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert heard[:2] == [signal.SIGTERM, signal.SIGINT]


def test_a_tab_closed_while_it_opens_is_no_error_in_the_log(caplog):
    logger = logging.getLogger("uvicorn.error")
    before = list(logger.filters)
    try:
        server.log_no_closed_tabs()
        for error in (starlette.websockets.WebSocketDisconnect(), KeyError("a real one")):
            try:
                raise error
            except Exception:
                logger.exception("Exception in ASGI application")
    finally:
        logger.filters[:] = before
    assert [record.exc_info[0] for record in caplog.records] == [KeyError]


def test_no_name_outside_is_looked_up():
    """Neither for a foreign origin nor for what the server prints, where it serves all addresses, as in a container."""
    environment = {"STREAMLIT_SERVER_ADDRESS": "0.0.0.0", "PATH": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run((sys.executable, "-c", LOOKUPS), cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.strip().endswith("asked nobody"), done.stderr
    assert "elsewhere" not in done.stdout


def test_this_test_would_notice(monkeypatch):
    """Streamlit as it is does look a name up."""
    asked = []
    monkeypatch.setattr(net_util, "_external_ip", None)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: asked.append(args) or pytest.fail("unused"))
    monkeypatch.setattr(net_util, "_make_blocking_http_get", lambda url, timeout: asked.append(url))
    net_util.get_external_ip()
    assert asked


def test_an_ended_session_is_emptied_whoever_still_holds_it():
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
    from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
    from streamlit.runtime.state import SessionState

    from perpcs.ui.state import Studio

    session = Session("s", MemoryUploadedFileManager("/upload"))
    record = Studio(text="my own words", typed="mine")
    session._session_state, session._browser_queue = SessionState(), ForwardMsgQueue()
    session._session_state["studio"] = record
    session._session_state["paste"] = "my own words"
    message = ForwardMsg()
    message.delta.new_element.markdown.body = "my own words"
    session._browser_queue.enqueue(message)
    sent = server._flush(session)  # as Streamlit's loop holds it, with its last message
    last = sent[-1]
    assert "my own words" in str(last)
    server.empty(session)
    assert sent == []
    assert str(last) == ""
    assert record == Studio()
    assert "paste" not in session._session_state
    assert "studio" not in session._session_state


IMPORTS = """
import ast, sys, types
from pathlib import Path
sys.modules["transformers"] = types.SimpleNamespace(AutoConfig=0, AutoModelForCausalLM=0, AutoTokenizer=0)
from perpcs.ui.engine import _import_loaders
_import_loaders()
before = set(sys.modules)
for page in [*Path("pages").glob("*.py"), Path("perpcs/ui/shell.py")]:
    tree = ast.parse(page.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and "perpcs.serve" not in ast.unparse(node):
            exec(ast.unparse(node))
print(len(before), sorted(set(sys.modules) - before))
"""


def test_pages_import_nothing_while_the_model_is_loaded():
    told = subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert told.stdout.strip().endswith(" []"), told.stdout + told.stderr
