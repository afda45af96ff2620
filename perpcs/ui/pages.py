"""The app's pages, one file each under pages/; the shell registers them and buttons lead to them."""

from pathlib import Path

import streamlit as st

FOLDER = Path(__file__).resolve().parents[2] / "pages"
TITLES = {"overview": "Overview", "assemble": "Assemble", "compare": "Compare"}


def page(name: str) -> "st.Page":
    """One page; its name is its file's and its address."""
    return st.Page(FOLDER / f"{name}.py", title=TITLES[name], url_path=name, default=name == "overview")


def pages() -> list["st.Page"]:
    """All pages in the order of the masthead."""
    return [page(name) for name in TITLES]
