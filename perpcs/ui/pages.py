"""The app's pages, one file each under pages/; the shell registers them and buttons lead to them."""

from pathlib import Path

import streamlit as st

FOLDER = Path(__file__).resolve().parents[2] / "pages"
TITLES = {
    "overview": "Overview",
    "assemble": "Assemble",
    "compare": "Compare",
    "sharers": "Sharers",
    "results": "Results",
    "share": "Share",
    "method": "Method",
}


def page(name: str) -> "st.Page":
    """One page; its name is also its file name and address. The Overview, the default page, has the bare address."""
    first = name == "overview"
    return st.Page(FOLDER / f"{name}.py", title=TITLES[name], url_path="home" if first else name, default=first)


def home_by_name() -> "st.Page":
    """The Overview under /overview too: the default page only has the bare address, and people type its name."""
    return st.Page(_overview, title=TITLES["overview"], url_path="overview")


def _overview() -> None:
    st.switch_page(page("overview"))


def pages() -> list["st.Page"]:
    """All pages in the order of the masthead."""
    return [page(name) for name in TITLES]
