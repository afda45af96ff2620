"""What every page is made of: the style sheet and theme, a chart, a row of numbers, and what is drawn first.

HTML that several pages show is made here, so that it looks the same everywhere.
"""

import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

import plotly.graph_objects as go
import streamlit as st

from perpcs.figures.style import CHART_CONFIG

# ---- the look --------------------------------------------------------------------------------------------------------


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


# ---- charts ----------------------------------------------------------------------------------------------------------


def chart(
    figure: go.Figure, key: str, alt: str, *, file: str = "", buttons: bool = True, vector: bool = False, **how: Any
) -> None:
    """Show a figure.

    Args:
        alt: what the figure says, for who does not see it.
        file: name of the picture that its camera saves; empty = ``perpcs-KEY``.
        buttons: whether the figure has any.
        vector: whether that picture is an SVG.
        how: of ``st.plotly_chart``, such as ``on_select``.
    """
    saved = {"filename": file or f"perpcs-{key}", **({"format": "svg"} if vector else {"scale": 2})}
    config = {**CHART_CONFIG, **({"toImageButtonOptions": saved} if buttons else {"displayModeBar": False})}
    st.plotly_chart(drawn_once(figure), key=key, alt=alt, theme=None, width="stretch", config=config, **how)


def drawn_once(figure: go.Figure) -> go.Figure:
    """The figure, such that plotly sees when it is given the same again; Streamlit's page hands it every figure twice.

    What it would take for a change: a template, whose axes are therefore written into the figure's own; long lists,
    unless ``datarevision`` is the same; and numpy arrays, which a figure of many SVG marks had better not hold.
    """
    if figure.layout.datarevision is not None:  # kept since it was shown before, by whomever
        return figure
    layout = figure.layout.to_plotly_json()
    theme = layout.pop("template", {}).get("layout", {})
    axes = {"xaxis", "yaxis", *(name for name in layout if name[1:].startswith("axis"))}
    figure.update_layout({name: _missing(theme.get(name[:5], {}), layout.get(name, {})) for name in axes})
    figure.layout.template = None
    figure.layout.datarevision = crc32(figure.to_json(validate=False).encode())
    return figure


def _missing(wanted: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``wanted`` is not in ``own``, at any depth."""
    found: dict[str, Any] = {}
    for name, value in wanted.items():
        if name not in own:
            found[name] = value
        elif isinstance(value, Mapping) and isinstance(own[name], Mapping):
            found[name] = _missing(value, own[name])
    return found


# ---- numbers ---------------------------------------------------------------------------------------------------------


def stat_row(rows: Iterable[tuple[str, str]], label: str = "") -> str:
    """``rows`` are (number, words) as HTML; ``label`` is what a screen reader says first."""
    cells = "".join(f"<li><b>{number}</b><small>{words}</small></li>" for number, words in rows)
    return f'<ul class="pp-facts" aria-label="{label}">{cells}</ul>'


# ---- order -----------------------------------------------------------------------------------------------------------


PAUSE = 0.12
"""Seconds without a message after which a browser draws what it has received."""


def flush(name: str) -> None:
    """When a visitor opens the page, let the browser draw what it has so far before the rest arrives.

    Later clicks on the page do not wait, unless they change the name: a click that redraws most of a page, charts
    included, shows its direct result first.
    """
    if st.session_state.get("painted") != name:
        st.session_state["painted"] = name
        time.sleep(PAUSE)
