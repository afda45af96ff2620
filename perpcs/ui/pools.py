"""Which pools a visitor may choose: the server's own, those under assets/pools, and copies that people shared to."""

import os
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.figures.style import bytes_text
from perpcs.pool.manifest import Manifest, read_manifest
from perpcs.tasks import TASKS
from perpcs.ui.pages import page
from perpcs.ui.state import Studio

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "assets" / "pools"
DEFAULT_POOL = "people"


def started_with() -> Path:
    """The folder that PERPCS_POOL names; a bare name stands for a folder under assets/pools."""
    name = os.environ.get("PERPCS_POOL", "").strip() or DEFAULT_POOL
    shipped = SHIPPED / name
    return shipped if (len(Path(name).parts) == 1 and shipped.exists()) or name == DEFAULT_POOL else Path(name)


def shared_root() -> Path:
    """Where copies that people contribute to lie: the folder that PERPCS_SHARED names, else build/pools."""
    return Path(os.environ.get("PERPCS_SHARED", "").strip() or ROOT / "build" / "pools")


def known_pools() -> dict[str, Path]:
    """Pools that may be opened, by key; the empty key is the one that the server was started with."""
    found = {"": started_with()}
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
        st.page_link(page("overview"), label="Its model card, at the end of Overview", icon=":material/badge:")


def open_pool(record: Studio, key: str) -> None:
    """Switch to another pool and drop everything that was computed with the old one."""
    record.pool, record.cell, record.asked = key, None, None
    record.live.clear()
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
