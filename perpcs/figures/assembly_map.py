"""The map of an assembly: rows are positions, columns are sharers, a mark is a weight.

    total weight per sharer   | bars over the columns
    ------------------------------------------------------------------
    map                       | effective sharers per position, bars beside the rows

A filled square is a piece that at least one history item selected; its colour is the mean weight. A dot is a piece that
no item selected, which is not the same as a weight that rounds to 0. Every mark carries position and sharer in
customdata, so that a click can be traced back to its piece.

``live_map`` is the map in progress: the same rows and columns as light HTML that a page can redraw often. Plotly would
be rebuilt for every position; this is a few KB of coloured boxes, and only the newest row is animated. ``strip`` shows
numbers for every position, layer by layer: a dot is a position, its shape is the module; the line is the mean over a
layer's positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import plotly.graph_objects as go
from plotly.basedatatypes import BaseTraceType
from plotly.subplots import make_subplots

from perpcs.assembly.explain import contributions
from perpcs.assembly.record import Assembly
from perpcs.figures.columns import (
    Grid,
    brought,
    cluster_words,
    clusters_in_order,
    column_order,
    column_ticks,
    grid_of,
    modules_of,
    named_rows,
    short_names,
    split_label,
)
from perpcs.figures.style import (
    FAINT,
    INK,
    MARK,
    MUTED,
    base_layout,
    colour_bar,
    csv_text,
    legend_below,
    mark_size,
    method_colour,
    points,
    row_height,
    signed_scale,
    weight_colour,
    weight_scale,
)
from perpcs.pool.manifest import Sharer

# ---- the map ---------------------------------------------------------------------------------------------------------


MOST_CLUSTERS = 10
"""With more clusters than this (many pools take one sharer from each), no lines separate them."""
_MAP = {"xaxis": "x3", "yaxis": "y3"}
_BESIDE = {"xaxis": "x4", "yaxis": "y4"}
_TOTALS = 44
"""Pixels of the bars over the map."""
_GAP = 0.012
"""Space between the three parts, as a share of the figure."""
_HOVER = (
    "<b>%{customdata[2]}</b><br>%{customdata[4]}<br>sharer %{customdata[3]}<br>"
    "score %{customdata[6]} (rank %{customdata[5]} of %{customdata[8]})<br>%{customdata[7]}<extra></extra>"
)


def assembly_map(
    assembly: Assembly,
    sharers: Sequence[Sharer],
    *,
    sort: str = "cluster",
    module: str | None = None,
    chosen: tuple[int, int] | None = None,
    names: Sequence[str] = (),
    only: Sequence[int] = (),
    dark: bool = False,
) -> go.Figure:
    """Draw the map.

    Args:
        sharers: the pool's sharers, in the order of ``assembly.sharers``.
        sort: order of the columns, one of ``order.SORTS``.
        module: only positions of this module; ``LAYERS`` = one row a layer; None = all.
        chosen: (position, sharer) of the piece that was clicked.
        names: what each column is called, in the order of ``sharers``; () = cluster words or numbers.
        only: numbers of the sharers that are drawn; () = all.
    """
    grid = grid_of(assembly, module)
    kind = points(len(grid.groups) * (len(only) or len(sharers)))
    brings = contributions(assembly, [p for group in grid.groups for p in group])
    columns = [s for s in column_order(grid.weights, sharers, sort, brings) if not only or s in only]
    height = row_height(len(grid.groups)) * len(grid.groups)
    traces = [
        *_map_marks(kind, assembly, grid, sharers, columns, names, dark),
        _totals(assembly, brings, columns, names, dark),
        _effective(grid, dark),
    ]
    row = grid.row_of(chosen[0]) if chosen is not None else None
    if chosen is not None and row is not None and chosen[1] in columns:
        traces.append(
            kind(
                x=[columns.index(chosen[1])],
                y=[row],
                mode="markers",
                showlegend=False,
                hoverinfo="skip",
                name="clicked",
                marker={
                    "symbol": "square-open",
                    "size": mark_size(len(grid.groups), len(columns)) + 6,
                    "color": MARK,
                    "line": {"width": 3},
                },
                **_MAP,
            )
        )
    traces.append(_lines(kind, grid, sharers, columns, sort, dark))
    # All traces at once: plotly checks the whole figure again for each added trace, which was slower than all the rest.
    return go.Figure(traces, _layout(assembly, grid, sharers, columns, names, sort, height, dark))


def map_csv(assembly: Assembly, sharers: Sequence[Sharer]) -> str:
    """Every piece of the map as CSV: one line per piece, weight and score as stored, how many items selected it."""
    votes = np.zeros(assembly.weights.shape, dtype=int)
    for s in range(len(assembly.sharers)):
        votes[:, s] = (assembly.choices == s).any(axis=2).sum(axis=0)
    rows: list[tuple[object, ...]] = []
    for p, label in enumerate(assembly.positions):
        layer, module = split_label(label)
        for s, sharer in enumerate(sharers):
            numbers = (f"{assembly.weights[p, s]:.6g}", f"{assembly.scores[p, s]:.6g}", votes[p, s], assembly.n_items)
            rows.append((layer, module, sharer.id, sharer.cluster, *numbers))
    head = ("layer", "module", "sharer", "cluster", "weight", "score", "items_that_chose_it", "items")
    return csv_text(head, rows)


def _map_marks(
    kind: type[go.Scatter] | type[go.Scattergl],
    assembly: Assembly,
    grid: Grid,
    sharers: Sequence[Sharer],
    columns: list[int],
    names: Sequence[str],
    dark: bool,
) -> list[BaseTraceType]:
    """Pieces that were not selected, pieces that were, and a legend for negative weights."""
    traces: list[BaseTraceType] = []
    ranks = (-grid.scores).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") + 1
    size = mark_size(len(grid.groups), len(columns))
    labels, numbers = np.array(grid.labels, dtype=object), np.array(short_names(assembly.sharers), dtype=object)
    about = np.array(
        [
            names[s] if names else f"cluster {one.cluster}{': ' if one.terms else ''}{', '.join(one.terms[:3])}"
            for s, one in enumerate(sharers)
        ],
        dtype=object,
    )
    order = np.array(columns)
    for selected in (False, True):
        y, x = np.nonzero(grid.picked[:, columns] == selected)
        s_of = order[x]
        # numpy arrays, because plotly checks every element of a list: that took a second for 128 x 100 pieces
        data = np.empty((len(x), 9), dtype=object)
        data[:, 0], data[:, 1] = grid.opens[y, s_of], s_of
        data[:, 2], data[:, 3], data[:, 4] = labels[y], numbers[s_of], about[s_of]
        data[:, 5], data[:, 8] = ranks[y, s_of], len(sharers)
        data[:, 6] = [f"{score:.3f}" for score in grid.scores[y, s_of].tolist()]
        weights = grid.weights[y, s_of]
        data[:, 7] = [f"weight <b>{weight:.3f}</b>" for weight in weights.tolist()] if selected else "not selected"
        if selected:
            largest, below = float(np.abs(grid.weights).max()) or 1.0, bool((weights < 0).any())
            how = {"votes": "mean<br>over", "loss": "fitted<br>to"}.get(assembly.decided_by, "selected<br>for")
            marker = {
                # A negative weight subtracts a piece: another shape and another hue.
                "symbol": np.where(weights >= 0, "square", "diamond").tolist() if below else "square",
                "size": size,
                "color": weights.tolist(),
                "colorscale": signed_scale(dark) if below else weight_scale(dark),
                "cmin": -largest if below else 0,
                "cmax": largest,
                "opacity": 1,
                "line": {"width": 0.5, "color": MUTED[dark]},
                "colorbar": colour_bar(f"weight, {how} {assembly.n_items} items", dark, length=0.26),
            }
        else:
            marker = {"symbol": "circle", "size": 3, "color": FAINT[dark], "opacity": 1}
        traces.append(
            kind(
                x=x.tolist(),
                y=y.tolist(),
                customdata=data,
                mode="markers",
                marker=marker,
                name="selected piece" if selected else "not selected",
                hovertemplate=_HOVER,
                unselected={"marker": {"opacity": 1}},
                selected={"marker": {"opacity": 1}},
                showlegend=not selected,
                **_MAP,
            )
        )
    if (grid.weights[:, columns] < 0).any():
        traces.append(
            kind(
                x=[None],
                y=[None],
                mode="markers",
                marker={"symbol": "diamond", "size": 9, "color": weight_colour(-0.5, 1.0, dark)},
                name="negative: the piece is subtracted",
                showlegend=True,
                **_MAP,
            )
        )
    return traces


def _totals(assembly: Assembly, brings: np.ndarray, columns: list[int], names: Sequence[str], dark: bool) -> go.Bar:
    share = 100 * brings
    numbers = short_names(assembly.sharers)
    return go.Bar(
        x=list(range(len(columns))),
        y=[float(share[s]) for s in columns],
        marker={"color": MUTED[dark], "opacity": 0.55, "line": {"width": 0}},
        showlegend=False,
        customdata=[f"{names[s]}<br>sharer {numbers[s]}" if names else f"sharer {numbers[s]}" for s in columns],
        name="total",
        hovertemplate=f"%{{customdata}}<br>%{{y:.1f}} % of {brought(assembly)}<extra></extra>",
    )


def _effective(grid: Grid, dark: bool) -> go.Bar:
    return go.Bar(
        y=list(range(len(grid.groups))),
        x=grid.effective.tolist(),
        orientation="h",
        marker={"color": MUTED[dark], "opacity": 0.55, "line": {"width": 0}},
        customdata=[(label, f"{100 * top:.0f}") for label, top in zip(grid.labels, grid.top, strict=True)],
        showlegend=False,
        name="effective",
        hovertemplate=(
            "<b>%{customdata[0]}</b><br>%{x:.1f} effective sharers (exp of entropy)<br>"
            "largest weight: %{customdata[1]} %<extra></extra>"
        ),
        **_BESIDE,
    )


def _layout(
    assembly: Assembly,
    grid: Grid,
    sharers: Sequence[Sharer],
    columns: list[int],
    names: Sequence[str],
    sort: str,
    height: int,
    dark: bool,
) -> dict[str, object]:
    """Totals above the map and effective sharers beside it, on axes linked to the map's."""
    turned = bool(names)
    ticks, labels = column_ticks(names, columns) if turned else _column_ticks(assembly, sharers, columns, sort)
    below = 168 if turned else 78
    rows = named_rows(len(grid.groups), row_height(len(grid.groups)))
    still = {"fixedrange": True}
    hidden = {"showticklabels": False, "showgrid": False, "zeroline": False, **still}
    down = [len(grid.groups) - 0.3, -0.7]
    small = {"showarrow": False, "font": {"size": 12, "color": MUTED[dark]}, "xref": "paper", "yref": "paper"}
    left, bottom = 0.87 * (1 - _GAP), height / (height + _TOTALS) * (1 - _GAP)
    return base_layout(
        dark,
        height=height + _TOTALS + 34 + below,
        margin={"l": 44, "r": 8, "t": 34, "b": below},
        bargap=0.25,
        clickmode="event+select",
        dragmode="pan",  # Streamlit's mode for clickable charts; the axes are fixed
        hovermode="closest",
        legend=legend_below(dark, 0.4, "left"),
        xaxis={"anchor": "y", "domain": [0, left], "matches": "x3", **hidden},
        yaxis={"anchor": "x", "domain": [bottom + _GAP, 1], **hidden},
        xaxis3={
            "anchor": "y3",
            "domain": [0, left],
            "range": [-0.7, len(columns) - 0.3],
            "tickvals": ticks,
            "ticktext": labels,
            "tickangle": -60 if turned else 0,
            "tickfont": {"size": 12},
            **still,
        },
        yaxis3={
            "anchor": "x3",
            "domain": [0, bottom],
            "range": down,
            "ticktext": [grid.ticks[row] for row in rows],
            "tickvals": list(rows),
            "tickfont": {"size": 11, "family": "monospace", "color": MUTED[dark]},
            **still,
        },
        xaxis4={
            "anchor": "y4",
            "domain": [left + _GAP, 1],
            "rangemode": "tozero",
            "nticks": 3,
            "tickfont": {"size": 11},
            "side": "bottom",
            **still,
        },
        yaxis4={"anchor": "x4", "domain": [0, bottom], "matches": "y3", "range": down, **hidden},
        annotations=[
            {
                "text": f"share of {brought(assembly)}, %",
                "x": 0,
                "y": 1,
                "xanchor": "left",
                "yanchor": "bottom",
                **small,
            },
            {
                "text": "effective<br>sharers",
                "x": 1,
                "y": 0.995,
                "xanchor": "right",
                "yanchor": "top",
                "align": "right",
                **small,
            },
        ],
    )


def _lines(
    kind: type[go.Scatter] | type[go.Scattergl],
    grid: Grid,
    sharers: Sequence[Sharer],
    columns: list[int],
    sort: str,
    dark: bool,
) -> BaseTraceType:
    """Thin lines between clusters and between layers, as one trace: plotly is slow with many shapes."""
    x: list[float | None] = []
    y: list[float | None] = []
    runs = clusters_in_order(columns, sharers)
    if sort == "cluster" and len(runs) <= MOST_CLUSTERS:
        for _, first, _ in runs[1:]:
            x += [first - 0.5, first - 0.5, None]
            y += [-0.7, len(grid.groups) - 0.3, None]
    layers = [split_label(label)[0] for label in grid.labels]
    for at in range(1, len(layers)):
        if layers[at] != layers[at - 1] and len(layers) > len(set(layers)):
            x += [-0.7, len(columns) - 0.3, None]
            y += [at - 0.5, at - 0.5, None]
    return kind(
        x=x,
        y=y,
        mode="lines",
        name="lines",
        line={"color": FAINT[dark], "width": 1},
        hoverinfo="skip",
        showlegend=False,
        **_MAP,
    )


def _column_ticks(
    assembly: Assembly, sharers: Sequence[Sharer], columns: list[int], sort: str
) -> tuple[list[float], list[str]]:
    """Positions and labels of the column ticks: cluster words if they fit, else some ids."""
    runs = clusters_in_order(columns, sharers)
    if sort == "cluster" and len(runs) <= MOST_CLUSTERS:
        words = cluster_words(columns, sharers)
        return [(first + last) / 2 for _, first, last in runs], [words[cluster][:12] for cluster, _, _ in runs]
    names, step = short_names(assembly.sharers), max(1, round(len(columns) / 8))
    at = list(range(0, len(columns), step))
    return [float(x) for x in at], [names[columns[x]] for x in at]


# ---- the map in progress ---------------------------------------------------------------------------------------------


CELL_W, CELL_H = 16, 13


def live_map(
    weights: np.ndarray,
    columns: Sequence[int],
    *,
    done: int,
    newest: int | None = None,
    dark: bool = False,
    label: str = "",
) -> str:
    """The weights so far, as HTML.

    Args:
        weights: (P, S), rows not reached yet are 0.
        columns: sharer indices from left to right.
        done: how many positions have been reached; the others are drawn as empty rows.
        newest: the row that was just added; it is marked and fades in.
        label: what a screen reader says.
    """
    p_count, s_count = weights.shape
    top = float(np.abs(weights).max()) or 1.0
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


# ---- layer by layer --------------------------------------------------------------------------------------------------


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
                    marker={"symbol": _SHAPES[number % len(_SHAPES)], "size": 7, "color": MUTED[dark], "opacity": 0.75},
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
        figure.update_yaxes(row=1, col=column, rangemode="tozero", showgrid=True, gridcolor=FAINT[dark], **top)
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
    figure.update_annotations(font={"size": 13, "color": INK[dark]})
    return figure


def strip_csv(panels: Sequence[Panel], positions: Sequence[str]) -> str:
    """One line per position, one column per panel."""
    rows = [(*split_label(label), *(f"{panel.values[p]:.6g}" for panel in panels)) for p, label in enumerate(positions)]
    return csv_text(("layer", "module", *(panel.title for panel in panels)), rows)
