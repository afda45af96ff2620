"""The one engine of this server: which pool it opens, and how pages wait for it.

The pool is named by PERPCS_POOL: a folder, or a name under assets/pools. Opening starts when the server starts, in a
thread of its own, so that no visitor waits for it with an empty page.
"""

import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.ui.errors import as_error, show_error

if TYPE_CHECKING:
    from perpcs.personalizers.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_POOL = "smalltown"


def pool_folder() -> Path:
    """The folder that PERPCS_POOL names; a bare name stands for a folder under assets/pools."""
    name = os.environ.get("PERPCS_POOL", "").strip() or DEFAULT_POOL
    shipped = ROOT / "assets" / "pools" / name
    return shipped if (len(Path(name).parts) == 1 and shipped.exists()) or name == DEFAULT_POOL else Path(name)


def open_engine(folder: Path) -> "Engine":
    """Open the engine of a pool (imports torch, takes seconds). Tests put a fake in its place.

    Raises:
        PerpcsError: when the folder holds no pool or the pool cannot be read.
    """
    if not (folder / "manifest.json").exists():
        raise PerpcsError(
            f"There is no pool in {folder}.",
            "Set PERPCS_POOL to a pool's folder and start the app again, or build one with: make pool.",
        )
    from perpcs.personalizers.engine import Engine

    return Engine.open(folder)


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
        except Exception as error:
            self.error = as_error(error)
        finally:
            self.ready.set()


@st.cache_resource(show_spinner=False)
def opening(folder: str) -> Opening:
    """The opening of a folder, one for all sessions; returns at once."""
    return Opening(Path(folder))


@asynccontextmanager
async def warm_start(_app: Any) -> AsyncIterator[None]:
    """Streamlit's lifespan: begin to open the pool before the first visitor comes."""
    opening(str(pool_folder()))
    yield


def people_ahead(engine: "Engine", mine: int = 0) -> str:
    """``2 people ahead of you``; empty where nobody is. ``mine``: how many of the waiting turns are one's own."""
    ahead = max(0, engine.waiting - mine)
    return f"{ahead} {'person' if ahead == 1 else 'people'} ahead of you" if ahead else ""


def get_engine() -> "Engine":
    """The engine, for a page. Names the step and the elapsed time while it opens; stops the page if it cannot."""
    handle = opening(str(pool_folder()))
    if not handle.ready.wait(0.3):
        place = st.empty()
        while not handle.ready.wait(0.25):
            elapsed = time.monotonic() - handle.started
            place.html(
                f'<div class="pp-wait" role="status">Opening the pool <b>{handle.folder.name}</b> and its base model'
                f"<span>{elapsed:.0f} s</span></div>" + '<div class="pp-skeleton"></div>' * 3
            )
        place.empty()
    if handle.engine is None:
        show_error(handle.error or PerpcsError("The pool did not open.", "Start the app again."))
        if st.button("Try again"):
            opening.clear()
            st.rerun()
        st.stop()
    return handle.engine
