"""A figure of plotly on a page, the same way everywhere, and such that a browser draws it once."""

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import plotly.graph_objects as go
import streamlit as st

from perpcs.figures.style import CHART_CONFIG


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
