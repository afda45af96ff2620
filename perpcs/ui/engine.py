"""The pools that a visitor may choose and the engines of this server: one a pool, opened once for all visitors.

Opening the server's own pool starts when the server starts, in its own thread, so that no visitor waits in front of
an empty page. Other pools (those under assets/pools, and copies that people shared to) are opened when someone
chooses them; the last few stay open.
"""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from html import escape
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.runtime import get_instance as get_runtime

from perpcs.errors import PerpcsError
from perpcs.figures.style import bytes_text
from perpcs.pool.manifest import Manifest, read_manifest
from perpcs.tasks import TASKS
from perpcs.ui.navigation import page
from perpcs.ui.server import LOADED, end_closed, end_when_told, keep_closed, log_no_closed_tabs
from perpcs.ui.state import Studio, studio
from perpcs.ui.work import Work, as_error, show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- pools -----------------------------------------------------------------------------------------------------------


ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "assets" / "pools"
DEFAULT_POOL = "people"
RESULTS = ROOT / "results" / "quality"


def pool_folder() -> Path:
    """The folder that PERPCS_POOL names; a bare name stands for a folder under assets/pools."""
    name = os.environ.get("PERPCS_POOL", "").strip() or DEFAULT_POOL
    shipped = SHIPPED / name
    return shipped if (len(Path(name).parts) == 1 and shipped.exists()) or name == DEFAULT_POOL else Path(name)


def results_folder() -> Path:
    """Where measurements of pools lie."""
    return RESULTS


def shared_root() -> Path:
    """Where copies that people contribute to lie: the folder that PERPCS_SHARED names, else build/pools."""
    return Path(os.environ.get("PERPCS_SHARED", "").strip() or ROOT / "build" / "pools")


def known_pools() -> dict[str, Path]:
    """Pools that may be opened, by key; the empty key is the one that the server was started with."""
    found = {"": pool_folder()}
    for root in (SHIPPED, shared_root()):
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            there = (folder / "manifest.json").is_file() and not folder.name.startswith(".")
            if there and folder.resolve() != found[""].resolve():
                found.setdefault(folder.name, folder)
    return found


def pool_picker(engine: "Engine", record: Studio) -> None:
    """The pools as a list, each with its own description, and a link to the open pool's model card."""
    with st.popover("Pool", icon=":material/database:", type="tertiary"):
        pools = known_pools()
        cards = {key: _card(folder) for key, folder in pools.items()}
        keys = list(pools)
        chosen = st.radio(
            "Open a pool",
            keys,
            index=keys.index(record.pool) if record.pool in pools else 0,
            format_func=lambda key: key or f"{pools[''].name} (this server’s default)",
            captions=[cards[key] for key in keys],
            key=f"pool-{len(keys)}-{record.pool}",
        )
        if chosen is not None and chosen != record.pool and record.pool in pools:
            open_pool(record, chosen)
            st.rerun()
        st.html(f'<p class="pp-quiet">Open now: {escape(engine.pool.manifest.title)}.</p>')
        st.page_link(page("overview"), label="Model card (end of the Overview page)", icon=":material/badge:")


def open_pool(record: Studio, key: str) -> None:
    """Switch to another pool and drop everything that was computed with the old one. Somebody who was pinned stays: the
    page says whether they can be compared.
    """
    record.pool, record.cell, record.asked, record.before, record.remade = key, None, None, None, None
    record.star, record.only = "", ()
    for worked in (record.live, record.prepared, record.kept, record.alike):
        worked.clear()
    record.failure, record.notice = None, ""
    if record.work is not None:
        record.work.stop()
        record.work = None


def _card(folder: Path) -> str:
    """One line about a pool, from its manifest alone."""
    try:
        return _written(folder, (folder / "manifest.json").stat().st_mtime_ns)
    except OSError:
        return "There is no pool in this folder."


@lru_cache(maxsize=64)
def _written(folder: Path, changed: int) -> str:
    del changed  # the line is made anew when the manifest is
    try:
        manifest: Manifest = read_manifest(folder)
    except PerpcsError as error:
        return f"{error.wrong} {error.do}"
    people = sum(part.sharers for part in manifest.tasks)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    kinds = ", ".join(TASKS[part.task].title.lower() for part in manifest.tasks if part.task in TASKS)
    return f"{people} sharers ({kinds}), rank {manifest.rank}, {bytes_text(size)}. Licence: {manifest.licence}"


# ---- engines ---------------------------------------------------------------------------------------------------------


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
    from perpcs.pool.validate import check_fits
    from perpcs.serve.engine import Engine

    _import_loaders()
    check_fits(folder)
    return Engine.open(folder, wait=False)


def _import_loaders() -> None:
    """Import what draws pages, and what opens a base model, before any page is drawn.

    Loading the model then imports more than a thousand modules in its own thread. Pages import none meanwhile: two
    threads that import at once may see modules that are half there.
    """
    for found in iter_modules([str(Path(__file__).parent)], "perpcs.ui."):
        if found.name != "perpcs.ui.shell":  # draws when it is imported
            import_module(found.name)
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
            LOADED.set()
            self.ready.set()


def _load_words() -> None:
    """Load the list of words before the first answer is marked by it."""
    from perpcs.serve.answer import word_list

    word_list()


@st.cache_resource(show_spinner=False, max_entries=4)
def opening(folder: str, state: str = "") -> Opening:
    """The opening of a folder, one for all sessions; returns at once. A copy that was changed has another ``state``."""
    del state
    return Opening(Path(folder))


def _opening_now(folder: Path) -> Opening:
    """The opening of a folder as it is now."""
    return opening(str(folder), _state(folder))


def _state(folder: Path) -> str:
    """What changes when a copy does."""
    try:
        at = (folder / "manifest.json").stat()
    except OSError:
        return ""
    return f"{at.st_mtime_ns}-{at.st_ino}"


@asynccontextmanager
async def warm_start(_app: Any) -> AsyncIterator[None]:
    """Streamlit's lifespan: opens the pool before anyone comes, ends sessions when their time is over, and the server
    when it is told to end.
    """
    end_when_told()
    log_no_closed_tabs()
    _opening_now(pool_folder())
    runtime = get_runtime()
    clock = asyncio.create_task(end_closed(runtime, keep_closed(runtime)))
    yield
    clock.cancel()


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
            opening.clear(str(handle.folder), _state(handle.folder))  # other pools stay open
            st.rerun()
        if record.pool:
            st.button("Back to this server’s default pool", on_click=open_pool, args=(record, ""), key="own-pool")
        st.stop()
    return handle.engine
