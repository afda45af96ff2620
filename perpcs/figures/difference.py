"""The difference between two tables of weights: a map, a sentence, and two people side by side.

    before                after                 after - before
    weights (P, S)        weights (P, S)        triangle up: more of the piece; down: less; nothing: unchanged

The directions differ in shape as well as in colour. The colours, blue and vermilion, are distinguishable with every
common colour blindness and become stronger, further from the background, with the size of the difference.

Beside it the same for two methods: one person's weights next to PEFT retrieval's selection, each on its own scale.

``map_svg`` and its company write maps as SVG files: real vectors for papers and slides, while the browser's own export
contains a bitmap. Always drawn for a light page, with title, units and scale inside, so that the file is self-
contained.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from perpcs.assembly.explain import changes, moved
from perpcs.assembly.record import Assembly
from perpcs.figures.columns import (
    column_order,
    column_ticks,
    row_ticks,
    rows_of,
    selected_pieces,
    short_label,
    short_names,
    split_label,
)
from perpcs.figures.style import (
    FAINT,
    INK,
    MARK,
    MUTED,
    PAPER,
    base_layout,
    colour_bar,
    csv_text,
    mark_size,
    points,
    row_height,
    signed_scale,
    weight_colour,
    weight_scale,
)
from perpcs.pool.manifest import Sharer

# ---- two tables ------------------------------------------------------------------------------------------------------


_LEAST = 5e-4
"""Differences below this are not drawn: they would be shown as 0.000."""
_ON_LIGHT = ("#A63F00", "#D55E00", "#F0B48C", "#F4F6F8", "#8FC3E8", "#0072B2", "#004C7A")
_ON_DARK = ("#FFB07A", "#E8772E", "#7A4526", "#1B2530", "#2A5C80", "#3D9BDA", "#A5D8FA")


def difference_scale(dark: bool) -> list[list[float | str]]:
    """The diverging scale: vermilion = less, the background's grey = unchanged, blue = more."""
    colours = _ON_DARK if dark else _ON_LIGHT
    return [[index / (len(colours) - 1), colour] for index, colour in enumerate(colours)]


def difference_colour(value: float, largest: float, dark: bool) -> str:
    """The colour of one difference on that scale, as ``rgb(r,g,b)``."""
    share = max(-1.0, min(1.0, value / largest)) if largest > 0 else 0.0
    return sample_colorscale(difference_scale(dark), [0.5 + share / 2])[0].replace(" ", "")


def difference_takeaway(
    before: np.ndarray, after: np.ndarray, positions: Sequence[str], name: Callable[[int], str], what: str
) -> str:
    """The title of a difference: how much the mix changed, and where most.

    Args:
        name: what a sharer of that number is called in a sentence.
        what: the cause of the difference, as the beginning of a sentence: ``Without item 3``.
    """
    largest = changes(before, after, 1)
    if not largest:
        return f"{what}, nothing changes"
    share = 100 * float(moved(before, after).mean())
    piece = largest[0]
    size = "less than 0.1" if share < 0.1 else f"{share:.1f}" if share < 10 else f"{share:.0f}"
    return (
        f"{what}, the mix changes by {size} % on average ({len(positions)} positions); most at "
        f"{positions[piece.position]}: {name(piece.sharer)} goes from {piece.before:.3f} to {piece.after:.3f}"
    )


def difference_map(
    before: np.ndarray,
    after: np.ndarray,
    positions: Sequence[str],
    sharers: Sequence[Sharer],
    *,
    sort: str = "cluster",
    module: str | None = None,
    names: Sequence[str] = (),
    only: Sequence[int] = (),
    dark: bool = False,
) -> go.Figure:
    """The difference of two tables (P, S), rows and columns as on the map.

    Args:
        names: what each column is called, in the order of ``sharers``; () = numbers.
        only: numbers of the sharers that are drawn; () = all.
    """
    rows = rows_of(positions, module)
    order = column_order((np.abs(before) + np.abs(after))[rows], sharers, sort)
    columns = [s for s in order if not only or s in only]
    figure, labels = go.Figure(), _Labels.of(sharers, names)
    _add_difference(figure, before, after, positions, labels, rows, columns, dark)
    _lay_out(figure, positions, labels, rows, columns, dark)
    return figure


def pair_map(
    before: np.ndarray,
    after: np.ndarray,
    positions: Sequence[str],
    sharers: Sequence[Sharer],
    titles: tuple[str, str],
    *,
    sort: str = "cluster",
    module: str | None = None,
    names: Sequence[str] = (),
    dark: bool = False,
) -> go.Figure:
    """Two people's maps on one scale, and the second less the first.

    Args:
        titles: over the two maps.
        names: what each column is called, in the order of ``sharers``; () = numbers.
    """
    rows = rows_of(positions, module)
    columns = column_order((np.abs(before) + np.abs(after))[rows], sharers, sort)
    figure = make_subplots(1, 3, shared_yaxes=True, horizontal_spacing=0.025, subplot_titles=(*titles, "difference"))
    top = max(float(np.abs(before[rows]).max()), float(np.abs(after[rows]).max())) or 1.0
    labels, below = _Labels.of(sharers, names), bool(min(before[rows].min(), after[rows].min()) < 0)
    for column, table in ((1, before), (2, after)):
        size = table[np.ix_(rows, columns)]
        figure.add_trace(
            go.Heatmap(
                z=np.where(size != 0, size, np.nan).tolist(),
                customdata=[[(positions[p], labels.hover[s], f"{table[p, s]:.3f}") for s in columns] for p in rows],
                colorscale=signed_scale(dark) if below else weight_scale(dark),
                zmin=-top if below else 0,
                zmax=top,
                showscale=column == 1,
                xgap=0.5,
                ygap=0.5,
                hovertemplate=("<b>%{customdata[0]}</b><br>%{customdata[1]}<br>weight %{customdata[2]}<extra></extra>"),
                colorbar=colour_bar("weight", dark, length=0.28, x=0.0),
                name=titles[column - 1],
            ),
            row=1,
            col=column,
        )
    _add_difference(figure, before, after, positions, labels, rows, columns, dark, col=3)
    _lay_out(figure, positions, labels, rows, columns, dark, panels=3)
    return figure


def difference_csv(before: np.ndarray, after: np.ndarray, positions: Sequence[str], sharers: Sequence[str]) -> str:
    """Every piece as CSV: its weight before and after."""
    rows = [
        (*split_label(label), sharer, f"{before[p, s]:.6g}", f"{after[p, s]:.6g}")
        for p, label in enumerate(positions)
        for s, sharer in enumerate(sharers)
    ]
    return csv_text(("layer", "module", "sharer", "before", "after"), rows)


@dataclass(frozen=True)
class _Labels:
    """What the columns are called."""

    ticks: Sequence[str]
    hover: Sequence[str]
    turned: bool
    """Names are written aslant, numbers are not."""

    @classmethod
    def of(cls, sharers: Sequence[Sharer], names: Sequence[str]) -> "_Labels":
        ids = short_names([sharer.id for sharer in sharers])
        numbers = [f"sharer {id}" for id in ids]
        if not names:
            return cls(ids, numbers, False)
        return cls(names, [f"{name}<br>{number}" for name, number in zip(names, numbers, strict=True)], True)


def _add_difference(
    figure: go.Figure,
    before: np.ndarray,
    after: np.ndarray,
    positions: Sequence[str],
    labels: _Labels,
    rows: list[int],
    columns: list[int],
    dark: bool,
    col: int | None = None,
) -> None:
    by = after.astype(float) - before
    top = float(np.abs(by[rows]).max()) or 1.0
    cells = [(y, x, p, s) for y, p in enumerate(rows) for x, s in enumerate(columns) if abs(by[p, s]) >= _LEAST]
    size = mark_size(len(rows), len(columns), 700 if col is None else 250)
    trace = points(len(cells))(
        x=[x for _, x, _, _ in cells],
        y=[y for y, _, _, _ in cells],
        customdata=[
            (p, s, positions[p], labels.hover[s], f"{before[p, s]:.3f}", f"{after[p, s]:.3f}", f"{by[p, s]:+.3f}")
            for _, _, p, s in cells
        ],
        mode="markers",
        marker={
            "symbol": ["triangle-up" if by[p, s] > 0 else "triangle-down" for _, _, p, s in cells],
            "size": size,
            "color": [float(by[p, s]) for _, _, p, s in cells],
            "colorscale": difference_scale(dark),
            "cmin": -top,
            "cmax": top,
            "line": {"width": 0.5, "color": MUTED[dark]},
            "colorbar": colour_bar("▲ more   ▼ less", dark, length=0.28, x=0.0 if col is None else 0.68),
        },
        showlegend=False,
        name="difference",
        hovertemplate=(
            "<b>%{customdata[2]}</b><br>%{customdata[3]}<br>%{customdata[4]} → %{customdata[5]} "
            "(<b>%{customdata[6]}</b>)<extra></extra>"
        ),
    )
    figure.add_trace(trace, **({} if col is None else {"row": 1, "col": col}))


def _lay_out(
    figure: go.Figure,
    positions: Sequence[str],
    labels: _Labels,
    rows: list[int],
    columns: list[int],
    dark: bool,
    panels: int = 1,
) -> None:
    top, below = 44 if panels > 1 else 26, 168 if labels.turned else 66  # space for the buttons and for the names
    figure.update_layout(
        base_layout(
            dark,
            height=row_height(len(rows)) * len(rows) + top + below + 8,
            margin={"l": 44, "r": 8, "t": top, "b": below},
            dragmode=False,
            hovermode="closest",
            hoverlabel={"bgcolor": PAPER[dark], "font": {"color": INK[dark]}},
        )
    )
    named, rows_said = row_ticks(positions, rows, row_height(len(rows)))
    at, said = column_ticks(labels.ticks, columns, panels if labels.turned else 4 * panels)
    line = {"mirror": True, "showline": True, "linecolor": FAINT[dark]}
    figure.update_xaxes(
        range=[-0.7, len(columns) - 0.3], tickvals=at, ticktext=said, tickangle=-60 if labels.turned else 0, **line
    )
    figure.update_yaxes(
        range=[len(rows) - 0.3, -0.7],
        ticktext=rows_said,
        tickvals=named,
        tickfont={"size": 11, "family": "monospace", "color": MUTED[dark]},
        **line,
    )
    figure.update_annotations(font={"size": 13, "color": INK[dark]})


# ---- two methods -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """Weights (P, S) of both, and the sharers that retrieval selects."""

    name: str
    positions: tuple[str, ...]
    sharers: tuple[str, ...]
    perpcs: np.ndarray
    retrieval: np.ndarray
    likeness: tuple[float, ...]
    taken: tuple[str, ...]
    weight_on_taken: float
    by_chance: float


def case_title(case: Case) -> str:
    """The main finding: how much of the weight is on the sharers with the most similar histories."""
    on, chance = 100 * case.weight_on_taken, 100 * case.by_chance
    return (
        f"{case.name}: {on:.0f} % of Per-Pcs’s weight is on the {len(case.taken)} sharers that PEFT retrieval selects "
        f"({chance:.0f} % by chance)"
    )


@lru_cache(maxsize=4)  # a page asks at every click
def case_figure(case: Case, *, dark: bool = False) -> go.Figure:
    """Two maps side by side; rows are positions, columns sharers, the most similar first; selected ones have a tick."""
    columns = sorted(range(len(case.sharers)), key=lambda s: (-case.likeness[s], s))
    names = short_names(case.sharers)
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=("Per-Pcs: piece by piece", "PEFT retrieval: whole sharers"),
    )
    rows = range(len(case.positions))
    kind, height = points(len(case.positions) * len(columns)), row_height(len(rows))
    named, labels = row_ticks(case.positions, rows, height)
    for number, weights in enumerate((case.perpcs, case.retrieval), start=1):
        largest = float(np.abs(weights).max()) or 1.0
        cells = [(x, y, float(weights[y, s]), s) for y in rows for x, s in enumerate(columns)]
        held = [cell for cell in cells if cell[2] != 0]
        none = [cell for cell in cells if cell[2] == 0]
        figure.add_trace(
            kind(
                x=[x for x, *_ in none],
                y=[y for _, y, *_ in none],
                mode="markers",
                marker={"size": 3, "color": FAINT[dark]},
                hoverinfo="skip",
                showlegend=False,
                name="no weight",
            ),
            row=1,
            col=number,
        )
        figure.add_trace(
            kind(
                x=[x for x, *_ in held],
                y=[y for _, y, *_ in held],
                mode="markers",
                customdata=[
                    (case.positions[y], names[s], f"{w:.3f}", f"{case.likeness[s]:.2f}") for _, y, w, s in held
                ],
                marker={
                    "symbol": ["square" if w > 0 else "diamond" for *_, w, _ in held],
                    "size": mark_size(len(case.positions), len(columns), 380),
                    "color": [w for *_, w, _ in held],
                    "colorscale": signed_scale(dark) if (weights < 0).any() else weight_scale(dark),
                    "cmin": -largest if (weights < 0).any() else 0,
                    "cmax": largest,
                    "line": {"width": 0.5, "color": MUTED[dark]},
                },
                hovertemplate=(
                    "<b>%{customdata[0]}</b><br>sharer %{customdata[1]}, similarity %{customdata[3]}<br>"
                    "weight %{customdata[2]}<extra></extra>"
                ),
                showlegend=False,
                name="weight",
            ),
            row=1,
            col=number,
        )
    figure.update_layout(
        base_layout(
            dark,
            height=96 + height * len(case.positions),
            margin={"l": 40, "r": 8, "t": 30, "b": 40},
            dragmode=False,
            hovermode="closest",
        )
    )
    figure.update_xaxes(
        range=[-0.7, len(columns) - 0.3],
        title_text="sharers, most similar history first",
        tickvals=[x for x, s in enumerate(columns) if case.sharers[s] in case.taken],
        ticktext=["▲"] * len(case.taken),
        tickangle=0,
        tickfont={"size": 12, "color": MARK},
    )
    figure.update_yaxes(
        range=[len(case.positions) - 0.3, -0.7],
        tickvals=named,
        ticktext=labels,
        tickfont={"size": 11, "family": "monospace", "color": MUTED[dark]},
    )
    figure.update_annotations(font={"size": 14, "color": INK[dark]})
    return figure


def case_csv(case: Case) -> str:
    """Both weights of every piece."""
    rows = [
        (label, sharer, case.likeness[s], f"{case.perpcs[p, s]:g}", f"{case.retrieval[p, s]:g}")
        for p, label in enumerate(case.positions)
        for s, sharer in enumerate(case.sharers)
    ]
    return csv_text(("position", "sharer", "likeness", "perpcs", "peft_retrieval"), rows)


def read_case(data: dict[str, object]) -> Case | None:
    """The case of a ``case-study`` result; None if its arrays do not fit together."""
    try:
        positions, sharers, taken = (_names(data[key]) for key in ("positions", "sharers", "taken"))
        ours, theirs = (np.asarray(data[key], dtype=np.float64) for key in ("perpcs", "retrieval"))
        alike = tuple(float(value) for value in data["likeness"])  # type: ignore[attr-defined]
        share, chance = (float(data[key]) for key in ("weight_on_taken", "by_chance"))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return None
    shape = (len(positions), len(sharers))
    if ours.shape != shape or theirs.shape != shape or len(alike) != len(sharers):
        return None
    name = str(data.get("name") or data.get("user") or "The person")
    return Case(name, positions, sharers, ours, theirs, alike, taken, share, chance)


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError("names are no list")
    return tuple(str(name) for name in value)


# ---- maps as SVG -----------------------------------------------------------------------------------------------------


_CELL, _LEFT, _TOP, _BELOW, _LINE = 14, 52, 16, 66, 18
_CHARS = 7.0
"""Approximate width of a letter of the title in pixels."""


def map_svg(
    assembly: Assembly,
    sharers: Sequence[Sharer],
    title: str,
    *,
    sort: str = "cluster",
    module: str | None = None,
    names: Sequence[str] = (),
) -> str:
    """The map of an assembly. A square is a piece with weight, a diamond a negative one, a dot a piece not selected."""
    rows = rows_of(assembly.positions, module)
    columns = column_order(assembly.weights[rows], sharers, sort)
    picked = selected_pieces(assembly)
    top = float(np.abs(assembly.weights[rows]).max()) or 1.0

    def mark(p: int, s: int, x: float, y: float) -> str:
        weight = float(assembly.weights[p, s])
        if not picked[p, s]:
            return f'<circle cx="{x:g}" cy="{y:g}" r="1.2" fill="{FAINT[False]}"/>'
        colour = weight_colour(weight, top, False)
        if weight < 0:
            return f'<path d="M{x:g} {y - 6.5:g}l6.5 6.5l-6.5 6.5l-6.5 -6.5z" fill="{colour}"/>'
        return f'<rect x="{x - 6:g}" y="{y - 6:g}" width="12" height="12" fill="{colour}"/>'

    below = bool((assembly.weights[rows] < 0).any())
    quarters = range(-4, 5, 2) if below else range(5)
    scale = [(f"{top * i / 4:.2f}", weight_colour(i, 4, False)) for i in quarters]
    labels = _Labels.of(sharers, names)
    return _svg(assembly.positions, labels, rows, columns, title, "weight", mark, scale)


def difference_svg(
    before: np.ndarray,
    after: np.ndarray,
    positions: Sequence[str],
    sharers: Sequence[Sharer],
    title: str,
    *,
    sort: str = "cluster",
    module: str | None = None,
    names: Sequence[str] = (),
) -> str:
    """The difference of two tables of weights: a triangle up is more of a piece, one down is less."""
    rows = rows_of(positions, module)
    columns = column_order((np.abs(before) + np.abs(after))[rows], sharers, sort)
    by = after.astype(float) - before
    top = float(np.abs(by[rows]).max()) or 1.0

    def mark(p: int, s: int, x: float, y: float) -> str:
        if abs(by[p, s]) < top / 1000:
            return ""
        up = 1 if by[p, s] > 0 else -1
        path = f"M{x - 6:g} {y + 5 * up:g}h12l-6 {-10 * up:g}z"
        return f'<path d="{path}" fill="{difference_colour(by[p, s], top, False)}" stroke="{MUTED[False]}"/>'

    scale = [(f"{top * i / 2:+.2f}", difference_colour(i, 2, False)) for i in range(-2, 3)]
    labels = _Labels.of(sharers, names)
    return _svg(positions, labels, rows, columns, title, "difference (▲ more, ▼ less)", mark, scale)


def _svg(
    positions: Sequence[str],
    labels: _Labels,
    rows: list[int],
    columns: list[int],
    title: str,
    unit: str,
    mark: Callable[[int, int, float, float], str],
    scale: list[tuple[str, str]],
) -> str:
    width = max(_LEFT + _CELL * len(columns) + 16, 420)
    lines = _wrap(title, int(width / _CHARS))
    top = _TOP + _LINE * len(lines) + 8
    names = [labels.ticks[s] for s in columns]
    longest = max(map(len, names))
    room = round(5.3 * longest) if labels.turned else 0  # what names written aslant need below the map
    height = top + _CELL * len(rows) + _BELOW + room
    body = [
        f'<text x="8" y="{_TOP + _LINE * i + 4}" font-size="14" font-weight="600">{escape(line)}</text>'
        for i, line in enumerate(lines)
    ]
    for y, p in enumerate(rows):
        middle = top + _CELL * (y + 0.5)
        body.append(
            f'<text x="{_LEFT - 6}" y="{middle + 3.5:g}" font-size="10" text-anchor="end" '
            f'font-family="monospace" fill="{MUTED[False]}">{escape(short_label(positions[p]))}</text>'
        )
        body += [mark(p, s, _LEFT + _CELL * (x + 0.5), middle) for x, s in enumerate(columns)]
    step = 1 if labels.turned else max(1, round(len(columns) / 10), -(-(7 * longest + 4) // _CELL))  # none overlap
    below = top + _CELL * len(rows)
    for x in range(0, len(columns), step):
        at = f'x="{_LEFT + _CELL * (x + 0.5):g}" y="{below + 14}"'
        turn = f'text-anchor="end" transform="rotate(-60 {_LEFT + _CELL * (x + 0.5):g} {below + 10})"'
        how = turn if labels.turned else 'text-anchor="middle"'
        body.append(f'<text {at} font-size="10" {how} fill="{MUTED[False]}">{escape(names[x])}</text>')
    below += room
    body.append(f'<text x="{_LEFT}" y="{below + 44}" font-size="11">{escape(unit)}</text>')
    left = _LEFT + 8 + 6.2 * len(unit)
    for i, (number, colour) in enumerate(scale):
        body.append(f'<rect x="{left + 44 * i:g}" y="{below + 30}" width="44" height="10" fill="{colour}"/>')
        body.append(
            f'<text x="{left + 44 * i + 22:g}" y="{below + 54}" font-size="10" text-anchor="middle">{number}</text>'
        )
    width = max(width, int(left) + 44 * len(scale) + 8)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="sans-serif" fill="{INK[False]}"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="#FFFFFF"/>{"".join(body)}</svg>\n'
    )


def _wrap(text: str, most: int) -> list[str]:
    lines: list[str] = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
