"""The map in progress: the same rows and columns as the finished map, as light HTML that a page can redraw often.

Plotly would be rebuilt for every position; this is a few KB of coloured boxes, and only the newest row is animated.
"""

from collections.abc import Sequence
from html import escape

import numpy as np

from perpcs.figures.style import weight_colour

CELL_W, CELL_H = 16, 13


def live_map(
    weights: np.ndarray,
    columns: Sequence[int],
    *,
    done: int,
    newest: int | None = None,
    dark: bool = False,
    largest: float | None = None,
    label: str = "",
) -> str:
    """The weights so far, as HTML.

    Args:
        weights: (P, S), rows not reached yet are 0.
        columns: sharer indices from left to right.
        done: how many positions have been reached; the others are drawn as empty rows.
        newest: the row that was just added; it is marked and fades in.
        largest: weight at the top of the colour scale; by default the largest so far.
        label: what a screen reader says.
    """
    p_count, s_count = weights.shape
    top = largest or float(np.abs(weights).max()) or 1.0
    rows = []
    for p in range(p_count):
        state = " pp-new" if p == newest else "" if p < done else " pp-ahead"
        cells = ""
        if p < done:
            cells = "".join(
                _cell(100 * x / s_count, float(weights[p, s]), top, dark)
                for x, s in enumerate(columns)
                if weights[p, s] != 0
            )
        rows.append(f'<div class="pp-row{state}">{cells}</div>')
    style = f"aspect-ratio:{s_count * CELL_W}/{p_count * CELL_H};--w:{100 / s_count:.3f}%"
    return f'<div class="pp-live" role="img" aria-label="{escape(label)}" style="{style}">{"".join(rows)}</div>'


def _cell(left: float, weight: float, top: float, dark: bool) -> str:
    """A weight, placed in percent from the left; a negative one, which subtracts a piece, is a disc of another hue."""
    look = f"background:{weight_colour(weight, top, dark)}" + ("" if weight > 0 else ";border-radius:50%")
    return f'<i style="left:{left:.2f}%;{look}"></i>'
