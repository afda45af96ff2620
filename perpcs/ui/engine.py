"""The engines of this server: one a pool, opened once for all visitors, and how pages wait for it.

Opening the server's own pool (ui/pools.py) starts when the server starts, in its own thread, so that no visitor waits
in front of an empty page. Other pools are opened when someone chooses them; the last few stay open.
"""

import gc
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.ui.errors import as_error, show_error
from perpcs.ui.pools import DEFAULT_POOL, ROOT, known_pools, open_pool
from perpcs.ui.pools import started_with as pool_folder
from perpcs.ui.state import studio
from perpcs.ui.work import Work

__all__ = ("DEFAULT_POOL", "ROOT", "get_engine", "open_engine", "opening", "people_ahead", "pool_folder")

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


def open_engine(folder: Path) -> "Engine":
    """Open the engine of a pool (imports torch, takes seconds). Tests put a fake in its place.

    Raises:
        PerpcsError: when the folder holds no pool, the pool cannot be read, or its base model does not fit.
    """
    if not (folder / "manifest.json").exists():
        raise PerpcsError(
            f"There is no pool in {folder}.",
            "Set PERPCS_POOL to a pool's folder and start the app again, or build one with: make pool.",
        )
    from perpcs.pool.memory_check import check_fits
    from perpcs.serve.engine import Engine

    _import_loaders()
    check_fits(folder)
    return Engine.open(folder, wait=False)


def _import_loaders() -> None:
    """Import what loads a base model before any page is drawn, so that only weights are read while pages import."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # noqa: F401


class Opening:
    """An engine that is being opened. ``ready`` is set when either ``engine`` or ``error`` is there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, time.monotonic()
        self.engine: Engine | None = None
        self.error: PerpcsError | None = None
        self.ready = threading.Event()
        threading.Thread(target=self._open, name="open-pool", daemon=True).start()

    def _open(self) -> None:
        try:
            self.engine = open_engine(self.folder)
            self.ready.set()
            _ = self.engine.base  # waits until it is loaded; pages draw what is stored meanwhile
            _load_words()
        except Exception as error:
            self.engine, self.error = None, as_error(error)
        finally:
            _leave_to_stay()
            self.ready.set()


def _load_words() -> None:
    """Load the list of words before the first answer is marked by it."""
    from perpcs.serve.marks import word_list

    word_list()


def _leave_to_stay() -> None:
    """Exclude from garbage collection everything that exists once a server has opened its pool.

    Streamlit collects garbage after every run of a page and blocks the process meanwhile. Scanning torch and its
    dependencies took longer than most runs and delayed the page's last messages. Done only once: later objects may
    belong to a visitor and must be freed when the visitor leaves.
    """
    if not gc.get_freeze_count():
        gc.freeze()


@st.cache_resource(show_spinner=False, max_entries=4)
def opening(folder: str, state: str = "") -> Opening:
    """The opening of a folder, one for all sessions; returns at once. A copy that was changed has another ``state``."""
    del state
    return Opening(Path(folder))


def _opening_now(folder: Path) -> Opening:
    """The opening of a folder as it is now."""
    try:
        at = (folder / "manifest.json").stat()
    except OSError:
        return opening(str(folder))
    return opening(str(folder), f"{at.st_mtime_ns}-{at.st_ino}")


@asynccontextmanager
async def warm_start(_app: Any) -> AsyncIterator[None]:
    """Streamlit's lifespan: begin to open the pool before the first visitor comes."""
    _opening_now(pool_folder())
    yield


def people_ahead(engine: "Engine", work: Work[Any] | None = None) -> str:
    """``2 people ahead of you``; empty if there are none. ``work``: the visitor's own, which is not counted."""
    ahead = engine.queue.waiting if work is None or work.ended else engine.queue.ahead(work.thread)
    return f"{ahead} {'person' if ahead == 1 else 'people'} ahead of you" if ahead else ""


def get_engine() -> "Engine":
    """The engine of the visitor's pool. Shows the step and elapsed time while it opens; stops the page if it fails."""
    record, pools = studio(), known_pools()
    if record.pool not in pools:  # a link to a copy that is gone
        record.pool = ""
    handle = _opening_now(pools[record.pool])
    if not handle.ready.wait(0.3):
        place = st.empty()
        while not handle.ready.wait(0.25):
            elapsed = time.monotonic() - handle.started
            place.html(
                f'<div class="pp-wait" role="status">Opening the pool <b>{handle.folder.name}</b>'
                f"<span>{elapsed:.0f} s</span></div>" + '<div class="pp-skeleton"></div>' * 3
            )
        place.empty()
    if handle.engine is None:
        show_error(handle.error or PerpcsError("The pool did not open.", "Start the app again."))
        if st.button("Try again"):
            opening.clear()
            st.rerun()
        if record.pool:
            st.button("Back to this server’s default pool", on_click=open_pool, args=(record, ""), key="own-pool")
        st.stop()
    return handle.engine
