"""One look for every figure: a colour per method, one scale for weights, and how numbers are written.

Method colours are Okabe and Ito's (distinguishable with every common colour blindness). A method keeps its colour on
every screen, and its name is always next to it. Weights use one scale of a single hue, even steps of lightness in
OKLCH (readable in grey and with colour blindness). More weight is further from the background: dark on light, light on
dark. Negative weights have another such scale, in vermilion, and another shape. Figures that a page redraws often are
plain HTML, because Streamlit's html element drops SVG.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

METHOD_COLOURS = {
    "base": "#7A8793",
    "random-history": "#56B4E9",
    "rag": "#E69F00",
    "pag": "#D55E00",
    "pag-counted": "#A65A2E",
    "retrieval": "#CC79A7",
    "perpcs": "#0072B2",
    "perpcs:fit": "#2C8C99",
    "perpcs:fit+own": "#00476E",
    "perpcs:gradient": "#3B4CC0",
    "perpcs:paper": "#B08BD9",
    "perpcs:gate": "#6A5ACD",
    "perpcs:prototype": "#9A8CE0",
    "perpcs:arrow": "#4B3FA0",
    "p2p": "#F0E442",
    "oppu": "#009E73",
    "uniform": "#A8A8A8",
    "random": "#5C5C5C",
}
"""By method, or by method and detail if the detail is a method in itself; the default router is plain Per-Pcs."""
OTHER_COLOUR = "#999999"
"""For methods that are not ours, and for methods prepared for someone else."""
MARK = "#D55E00"
"""The accent colour for "this is the piece you clicked"."""
MOST_SHAPES = 2500
"""Marks up to which a browser draws shapes faster than WebGL, whose start alone takes a third of a second without a
GPU (measured with 640 to 12,800 marks)."""
CHART_CONFIG = {
    "displaylogo": False,
    "displayModeBar": True,
    "responsive": True,
    "scrollZoom": False,
    "modeBarButtonsToRemove": [
        "select2d",
        "lasso2d",
        "autoScale2d",
        "zoomIn2d",
        "zoomOut2d",
        "zoom2d",
        "pan2d",
        "resetScale2d",
    ],
}
_FONT = '"Source Sans", "Source Sans Pro", system-ui, sans-serif'
INK = ("#15202B", "#E9EEF3")
"""Text and axes, on light and on dark: ``INK[dark]``."""
MUTED = ("#52606D", "#A9B6C3")
"""Secondary text, at least 4.5:1 against the background."""
FAINT = ("#C3CDD6", "#3D4B59")
"""The colour for "nothing here": grid lines and pieces that were not selected."""
PAPER = ("#FFFFFF", "#0F151C")
"""The background."""
_SCALE_ON_LIGHT = ("#BFE5F5", "#79C9F2", "#3AA9E8", "#1586D0", "#2165A8", "#2A4874", "#232D45")
_SCALE_ON_DARK = ("#2F3D58", "#2F5989", "#2378B6", "#1C9AD6", "#45BBEB", "#83DAF6", "#C6F5FF")
_BELOW_ON_LIGHT = ("#FAD9C1", "#F5B78A", "#E9924F", "#CC6A1C", "#A04D10", "#71360B", "#45220A")
_BELOW_ON_DARK = ("#4A3322", "#6E4420", "#96591D", "#C0711C", "#E09142", "#F1B67E", "#FBDCC0")


def method_colour(method: str) -> str:
    """The colour of a method; what is added to it (``oppu+rag:1``) does not change it."""
    carried = re.split(r"\+(?=rag|pag|random-history)", method)[0]
    return METHOD_COLOURS.get(carried, METHOD_COLOURS.get(carried.split(":")[0], OTHER_COLOUR))


def weight_scale(dark: bool) -> list[list[float | str]]:
    """The plotly colour scale for weights from 0 to the largest."""
    colours = _SCALE_ON_DARK if dark else _SCALE_ON_LIGHT
    return [[index / (len(colours) - 1), colour] for index, colour in enumerate(colours)]


def signed_scale(dark: bool) -> list[list[float | str]]:
    """The plotly colour scale for weights of both signs, 0 in the middle."""
    below, above = (_BELOW_ON_DARK, _SCALE_ON_DARK) if dark else (_BELOW_ON_LIGHT, _SCALE_ON_LIGHT)
    steps = 2 * (len(above) - 1)
    left: list[list[float | str]] = [[index / steps, colour] for index, colour in enumerate(reversed(below))]
    right: list[list[float | str]] = [[0.5 + index / steps, colour] for index, colour in enumerate(above)]
    return [*left, *right]


def weight_colour(weight: float, largest: float, dark: bool) -> str:
    """The colour of one weight of either sign on these scales, for figures not drawn by plotly."""
    step = round(63 * min(abs(weight) / largest, 1.0)) if largest > 0 else 0
    return _step_colour(step, weight < 0, dark)


@lru_cache(maxsize=256)
def _step_colour(step: int, below: bool, dark: bool) -> str:
    scale = signed_scale(dark)[6::-1] if below else weight_scale(dark)
    even = [[index / 6, colour] for index, (_, colour) in enumerate(scale)]
    return sample_colorscale(even, [step / 63])[0].replace(" ", "")


def csv_text(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV, the one place where it is written.

    A text that a spreadsheet would run as a formula gets an apostrophe in front: names and words come from strangers.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows(map(_harmless, row) for row in (head, *rows))
    return out.getvalue()


def _harmless(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    cell = cell.replace("\r\n", "\n").replace("\r", "\n")  # a bare \r is not quoted, and would begin a row
    if not (cell[:1] in _BLANKS or cell.lstrip()[:1] in _FORMULA):
        return cell
    try:
        float(cell)  # a negative number
    except ValueError:
        return f"'{cell}"
    return cell


_FORMULA = tuple("=+-@＝＋－＠|%")
_BLANKS = tuple("\t\n")


def scrolling(html: str, label: str = "Table") -> str:
    """A box that scrolls sideways, by keyboard too, if its content is wider than the page."""
    return f'<div class="pp-scroll" tabindex="0" role="region" aria-label="{label}">{html}</div>'


def row_height(rows: int) -> int:
    """Height in pixels of a row, for a map with this many rows."""
    return 22 if rows <= 8 else 18 if rows <= 16 else 13 if rows <= 32 else 11 if rows <= 64 else 8


def mark_size(rows: int, columns: int, width: int = 700) -> int:
    """Size in pixels of a mark that does not cover its neighbours, for a map of this many rows and columns.

    Args:
        width: approximate width of all columns in pixels.
    """
    return max(4, min(row_height(rows) - 2, width // columns - 1, 16))


def base_layout(dark: bool, **changes: object) -> dict[str, object]:
    """Fonts, colours and margins shared by every plotly figure, as plain data, which plotly checks once."""
    axis = {
        "gridcolor": FAINT[dark],
        "linecolor": FAINT[dark],
        "showline": False,
        "zeroline": False,
        "showgrid": False,
        "tickfont": {"size": 12, "color": MUTED[dark]},
        "title": {"font": {"size": 13, "color": MUTED[dark]}},
    }
    layout: dict[str, object] = {
        "font": {"family": _FONT, "size": 13, "color": INK[dark]},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hoverlabel": {
            "bgcolor": PAPER[dark],
            "bordercolor": FAINT[dark],
            "font": {"family": _FONT, "color": INK[dark]},
        },
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": MUTED[dark], "activecolor": INK[dark]},
        "template": {"layout": {"xaxis": axis, "yaxis": axis}},
    }
    for name, value in changes.items():
        old = layout.get(name)
        layout[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return layout


def bytes_text(count: float) -> str:
    """``960 bytes``, ``1.9 KB``, ``14.2 MB``; a KB is 1000 bytes."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}" if count < 100 * size else f"{count / size:,.0f} {unit}"
    return f"{count:.0f} bytes"


def seconds_text(seconds: float | None) -> str:
    """``0.41 s``, ``12 s``, ``2 min 5 s``; an en dash for None."""
    if seconds is None:
        return "–"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def ratio_text(part: float, whole: float) -> str:
    """``1/250``: how many times ``part`` fits into ``whole``, two significant digits."""
    if part <= 0 or whole <= 0:
        return "–"
    times = whole / part
    return f"1/{float(f'{times:.2g}'):,.0f}" if times >= 1.5 else f"{part / whole:.2g} times"


def colour_bar(title: str, dark: bool, *, length: float, x: float = 0, side: str = "right") -> dict[str, object]:
    """The scale of a map, along the bottom of the figure; length and x are shares of the plot's width."""
    return {
        "orientation": "h",
        "thickness": 9,
        "len": length,
        "x": x,
        "xanchor": "left",
        "y": 0,
        "yref": "container",
        "yanchor": "bottom",
        "outlinewidth": 0,
        "ticks": "",
        "nticks": 4,
        "tickfont": {"size": 11, "color": MUTED[dark]},
        "title": {"text": title, "side": side, "font": {"size": 12, "color": MUTED[dark]}},
    }


def legend_below(dark: bool, x: float, side: str) -> dict[str, object]:
    """A legend along the bottom of a map, with its ``side`` at x; clicking it hides nothing."""
    return {
        "orientation": "h",
        "x": x,
        "xanchor": side,
        "y": 0,
        "yref": "container",
        "yanchor": "bottom",
        "itemclick": False,
        "itemdoubleclick": False,
        "font": {"size": 12, "color": MUTED[dark]},
    }


def points(marks: int) -> type[go.Scatter] | type[go.Scattergl]:
    """The kind of trace that a browser draws fastest, for this many marks."""
    return go.Scatter if marks <= MOST_SHAPES else go.Scattergl
