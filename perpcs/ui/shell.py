"""The frame around every page: look, navigation, status line. Streamlit runs this file at every visit and click."""

import html
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from perpcs.ui import widgets
from perpcs.ui.engine import get_engine, people_ahead, pool_picker
from perpcs.ui.navigation import copy_link, home_by_name, pages
from perpcs.ui.state import Studio, come_back, studio
from perpcs.ui.tours import TOURS, present, show_tour, start_tour

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from perpcs.serve.engine import Engine


def masthead(all_pages: list[st.Page]) -> "DeltaGenerator":
    """Name, pages and a link to the current screen; returns the container for what needs an open pool."""
    with st.container(key="masthead", horizontal=True, vertical_alignment="center", gap="small"):
        st.html(
            f'<div class="pp-brand"><span aria-hidden="true">{widgets.MARK}</span>Per-Pcs Studio</div>', width="content"
        )
        for entry in all_pages:
            st.page_link(entry)
        tools = st.container(key="tools", horizontal=True, vertical_alignment="center", width="content", gap="small")
        with st.container(width="content"):  # a fragment would take all the remaining width
            copy_link()
    return tools


def status_line(engine: "Engine") -> None:
    """Base model, device and why, pool and hash, people ahead (G3); drawn again until the base model is loaded."""
    with st.container(key="statusline"):
        if engine.loaded is None:
            st.fragment(_status, run_every=3)(engine)
        else:
            _status(engine)


def _status(engine: "Engine") -> None:
    manifest = engine.pool.manifest
    layers = len({position.layer for position in manifest.positions})
    queue = people_ahead(engine, studio().work) or "no one ahead of you"
    facts = manifest.card.get("base", {})
    size = facts.get("parameters", 0)
    base = f"{size / 1e6:.3g} M parameters" if size else html.escape(Path(str(facts.get("from") or manifest.base)).name)
    loaded = engine.loaded
    device = "loading the base model" if loaded is None else f"{loaded.device}: {loaded.why}"
    parts = (
        f"<b>Base model</b> {base}, pieces in {layers} layers",
        f"<b>Device</b> {html.escape(device)}",
        f"<b>Pool</b> {html.escape(manifest.name)} <code>{html.escape(engine.pool.hash[:8])}</code>",
        f"<b>Queue</b> {queue}",
    )
    st.html(f'<p class="pp-status">{"".join(f"<span>{part}</span>" for part in parts)}</p>')


def guide(record: Studio, page: str) -> None:
    """The masthead's "Guide"."""
    key = f"guide-{'touring' if record.tour else 'resting'}"  # another key closes the menu when a tour begins
    with st.popover("Guide", icon=":material/signpost:", type="tertiary", key=key):
        st.button(
            "Tour of this page",
            key="tour-start",
            icon=":material/tour:",
            type="tertiary",
            on_click=start_tour,
            args=(record, page),
            disabled=page not in TOURS,
        )
        st.button(
            "Presentation",
            key="present-start",
            icon=":material/slideshow:",
            type="tertiary",
            on_click=_present,
            args=(record,),
        )


def _present(record: Studio) -> None:
    record.present = "1"


st.set_page_config(
    page_title="Per-Pcs Studio",
    page_icon=str(widgets.ICON),
    layout="wide",
    initial_sidebar_state="collapsed",
    menu_items={"About": "Per-Pcs Studio: personal language models assembled from pieces that other people share."},
)
widgets.apply_theme()
all_pages = pages()
page = st.navigation([*all_pages, home_by_name()], position="hidden")
record = studio()
if record.work is not None and record.work.about.get("page") != page.url_path:
    record.work.stop()  # no one is watching it any more
    record.work = None
here = page.title.lower()
if record.present:
    present(get_engine(), record, here)
else:
    tools = masthead(all_pages)
    engine = get_engine()
    with tools:
        pool_picker(engine, record)
        guide(record, here)
    status_line(engine)
    come_back(record)
    page.run()
    show_tour(record, here)
