"""The app's look: the style sheet, which theme is on, and the mark of the studio."""

from functools import lru_cache
from pathlib import Path

import streamlit as st

_MARK = ("#0072B2", "", "#E69F00", "", "#009E73", "", "#CC79A7", "#56B4E9", "")
MARK = "".join(f'<i style="background:{c}"></i>' if c else "<i></i>" for c in _MARK)
"""The studio's mark as HTML: a small map with a few pieces selected. icon.svg is the same."""
ICON = Path(__file__).with_name("icon.svg")


@lru_cache
def _css() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def apply_theme() -> None:
    """Send the style sheet; call once in every run, before anything is drawn."""
    bar, on_primary = ("#0F151CEE", "#0B1117") if is_dark() else ("#FFFFFFEE", "#FFFFFF")
    ground, dim = ("#0F151C", "#000000C0") if is_dark() else ("#FFFFFF", "#0B1117A8")
    st.html(
        f"<style>{_css()} :root {{ --pp-bar: {bar}; --pp-on-primary: {on_primary}; --pp-ground: {ground}; "
        f"--pp-dim: {dim}; }}</style>"
    )


def is_dark() -> bool:
    """Whether the visitor's theme is dark, for figures whose colours are numbers."""
    return st.context.theme.type == "dark"
