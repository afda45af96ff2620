"""Numbers for every position, layer by layer: small panels with the layers as a shared x axis.

A dot is a position, its shape is the module; the line is the mean over a layer's positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from perpcs.figures.order import modules_of, split_label
from perpcs.figures.style import base_layout, faint, ink, method_colour, muted

_SHAPES = ("circle", "square", "triangle-up", "diamond", "x", "cross", "star", "hexagon")


@dataclass(frozen=True)
class Panel:
    """One number per position."""

    title: str
    values: np.ndarray
    """(P,), in the unit of the title."""
    top: float | None = None
    """Upper end of the axis, for numbers with a bound; None = the largest value."""


def strip(panels: Sequence[Panel], positions: Sequence[str], *, dark: bool = False) -> go.Figure:
    """Draw the panels next to each other."""
    layers, modules = [split_label(label)[0] for label in positions], modules_of(positions)
    which = [split_label(label)[1] for label in positions]
    figure = make_subplots(1, len(panels), horizontal_spacing=0.06, subplot_titles=[panel.title for panel in panels])
    for column, panel in enumerate(panels, start=1):
        for number, module in enumerate(modules):
            at = [p for p, name in enumerate(which) if name == module]
            figure.add_trace(
                go.Scatter(
                    x=[layers[p] for p in at],
                    y=[float(panel.values[p]) for p in at],
                    mode="markers",
                    name=module.removesuffix("_proj"),
                    legendgroup=module,
                    showlegend=column == 1,
                    customdata=[positions[p] for p in at],
                    marker={"symbol": _SHAPES[number % len(_SHAPES)], "size": 7, "color": muted(dark), "opacity": 0.75},
                    hovertemplate="<b>%{customdata}</b><br>%{y:.3g}<extra></extra>",
                ),
                row=1,
                col=column,
            )
        order = sorted(set(layers))
        means = [
            float(np.mean([v for v, layer in zip(panel.values, layers, strict=True) if layer == n])) for n in order
        ]
        figure.add_trace(
            go.Scatter(
                x=order,
                y=means,
                mode="lines",
                name="layer mean",
                showlegend=column == 1,
                line={"color": method_colour("perpcs"), "width": 2},
                hovertemplate="layer %{x}<br>mean %{y:.3g}<extra></extra>",
            ),
            row=1,
            col=column,
        )
        top = {} if panel.top is None else {"range": [0, panel.top * 1.05]}
        figure.update_yaxes(row=1, col=column, rangemode="tozero", showgrid=True, gridcolor=faint(dark), **top)
    figure.update_xaxes(title_text="layer", dtick=max(1, round(len(set(layers)) / 6)))
    figure.update_layout(
        base_layout(
            dark,
            height=276,
            margin={"l": 8, "r": 8, "t": 44, "b": 70},
            dragmode=False,
            legend={"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
        )
    )
    figure.update_annotations(font={"size": 13, "color": ink(dark)})
    return figure


def strip_csv(panels: Sequence[Panel], positions: Sequence[str]) -> str:
    """One line per position, one column per panel."""
    head = ["layer", "module", *(f'"{panel.title}"' for panel in panels)]
    rows = [",".join(head)]
    for p, label in enumerate(positions):
        rows.append(",".join([*map(str, split_label(label)), *(f"{panel.values[p]:.6g}" for panel in panels)]))
    return "\n".join(rows) + "\n"
