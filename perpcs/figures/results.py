"""Figures of the Results page, from plain numbers: quality against cost, how cost grows, and what performance depends
on.

A variant of a method has the method's colour and its own mark; its name is next to it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import plotly.graph_objects as go

from perpcs.assembly.record import router_name, short_name
from perpcs.figures.style import (
    FAINT,
    INK,
    MUTED,
    PAPER,
    base_layout,
    bytes_text,
    csv_text,
    method_colour,
    seconds_text,
)

# ---- quality and cost ------------------------------------------------------------------------------------------------


_NAMES = {
    "base": "Base model",
    "random-history": "Random history",
    "rag": "RAG",
    "pag": "PAG",
    "pag-counted": "PAG, counted profile",
    "retrieval": "PEFT retrieval",
    "uniform": "Uniform weights",
    "random": "Random pieces",
    "p2p": "P2P",
    "oppu": "OPPU",
    "majority": "Majority answer",
    "oracle": "Oracle",
}
_PLUS = re.compile(r"\+(?=(?:rag|pag|pag-counted|random-history)(?:[:+]|$))")
"""A plus inside a router's name does not count."""
_MARKS = {
    "paper": "x",
    "gate": "diamond",
    "prototype": "square",
    "gradient": "triangle-up",
    "newton": "circle",
    "from_base": "circle-open",
    "fit": "hexagon",
    "fit+own": "star",
}
_BRIEF = {"from_base": "Newton from base"}
"""Names for legends, if the usual one is too long."""
UNITS = {"nll": "nats per target token", "mae": "MAE, stars", "rouge-L": "ROUGE-L"}
OURS = ("perpcs", "perpcs:newton", "perpcs:fit", "perpcs:gate", "perpcs:paper")
"""Possible names of the default method in a result, in order of preference."""
LOWER = ("nll", "mae")
"""Measures for which lower is better."""


def method_name(method: str) -> str:
    """``perpcs:fit`` as ``Per-Pcs (fit)``; the control of a wrong user says so; additions to the prompt follow a plus:
    ``perpcs+rag`` as ``Per-Pcs + Newton weights + RAG``.
    """
    if method.startswith("wrong:"):
        return f"{method_name(method.removeprefix('wrong:'))}, wrong user"
    return " + ".join(_part(part) for part in _PLUS.split(method))


def _part(part: str) -> str:
    name, _, variant = part.partition(":")
    if name == "perpcs":
        return router_name(variant)
    shown = variant if not variant[:1].isdigit() else f"top {variant}" if name == "retrieval" else f"{variant} items"
    return _NAMES.get(name, name) + (f", {shown}" if variant else "")


def brief_name(method: str) -> str:
    """The router alone if the method is Per-Pcs, for legends with little room."""
    wrong, plain = method.startswith("wrong:"), method.removeprefix("wrong:")
    if plain.partition(":")[0] != "perpcs":
        return method_name(method)
    variant = plain.partition(":")[2]
    return _BRIEF.get(variant, short_name(variant)) + (", wrong user" if wrong else "")


def ours_among(methods: Iterable[str]) -> str:
    """The default method's name among those of a result, else the next one of ours; empty if there is none."""
    there = tuple(methods)
    return next((name for name in OURS if name in there), "")


def mark_of(method: str) -> str:
    """The mark of the method's variant."""
    return _MARKS.get(method.partition(":")[2], "circle")


def colour_of(method: str) -> str:
    """The method's colour, the same for all variants."""
    return method_colour(method.removeprefix("wrong:").partition(":")[0])


@dataclass(frozen=True)
class Point:
    """One method: its quality with an interval, and its cost per person."""

    method: str
    mean: float
    low: float
    high: float
    bytes: float
    seconds: float


Cost = Literal["bytes", "seconds"]


def cost_of(point: Point, cost: Cost) -> float:
    return point.bytes if cost == "bytes" else point.seconds


def front(points: Sequence[Point], measure: str, cost: Cost) -> list[Point]:
    """The methods that no other beats in both at once, cheapest first (the Pareto front)."""
    sign = 1.0 if measure in LOWER else -1.0
    kept: list[Point] = []
    for point in sorted(points, key=lambda one: (cost_of(one, cost), sign * one.mean)):
        if not kept or sign * point.mean < sign * kept[-1].mean:
            kept.append(point)
    return kept


def pareto_title(points: Sequence[Point], measure: str, cost: Cost) -> str:
    """The main finding: which methods are worth their cost."""
    names = [method_name(point.method) for point in front(points, measure, cost)]
    listed = f"{'; '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
    cheaper = "stores less" if cost == "bytes" else "is prepared faster"
    return f"No other method {cheaper} and answers better than {listed}"


@lru_cache(maxsize=32)  # a page asks at every click
def pareto_figure(points: tuple[Point, ...], measure: str, cost: Cost, *, dark: bool = False) -> go.Figure:
    """Quality (higher is better) against cost per person, with intervals; a line joins the Pareto front.

    Cost is on a logarithmic axis, with 0 at its left end.
    """
    costs = [cost_of(point, cost) for point in points if cost_of(point, cost) > 0]
    least = min(costs, default=1.0)
    zero = least / 6
    place = {point.method: cost_of(point, cost) if cost_of(point, cost) > 0 else zero for point in points}
    kept = front(points, measure, cost)
    figure = go.Figure(
        go.Scatter(
            x=[place[point.method] for point in kept],
            y=[point.mean for point in kept],
            mode="lines",
            line={"color": MUTED[dark], "width": 1.5, "dash": "dot", "shape": "hv"},
            hoverinfo="skip",
            showlegend=False,
            name="front",
        )
    )
    text, unit = bytes_text if cost == "bytes" else seconds_text, UNITS.get(measure, measure)
    for point in points:
        name = method_name(point.method)
        figure.add_trace(
            go.Scatter(
                x=[place[point.method]],
                y=[point.mean],
                error_y={
                    "array": [point.high - point.mean],
                    "arrayminus": [point.mean - point.low],
                    "thickness": 1.3,
                    "width": 4,
                    "color": colour_of(point.method),
                },
                mode="markers",
                marker={
                    "size": 12,
                    "color": colour_of(point.method),
                    "symbol": mark_of(point.method),
                    "line": {"width": 1, "color": INK[dark]},
                },
                name=brief_name(point.method),
                hovertemplate=(
                    f"<b>{name}</b><br>{point.mean:.3f} [{point.low:.3f}, {point.high:.3f}] {unit}<br>"
                    f"{text(cost_of(point, cost))} per person<extra></extra>"
                ),
            )
        )
    high = max([*costs, zero])
    ticks = _ticks(least, high)
    frame(figure, dark, 330 + 11 * len(points))
    under = {"y": -0.2, "yanchor": "top", "entrywidth": 0.48, "entrywidthmode": "fraction"}  # two columns
    figure.update_layout(legend=under)
    figure.update_xaxes(
        type="log",
        title_text=f"{'bytes stored per' if cost == 'bytes' else 'seconds to prepare a'} person",
        tickvals=[zero, *ticks],
        ticktext=["0", *map(text, ticks)],
    )
    figure.update_yaxes(title_text=unit, autorange="reversed" if measure in LOWER else True)
    return figure


def points_csv(points: Iterable[Point], measure: str) -> str:
    """The figure's numbers."""
    return csv_text(
        ("method", measure, "low", "high", "bytes_a_person", "seconds_to_prepare"),
        ((one.method, one.mean, one.low, one.high, f"{one.bytes:.6g}", f"{one.seconds:.6g}") for one in points),
    )


@dataclass(frozen=True)
class Line:
    """A method's cost at each size."""

    method: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@lru_cache(maxsize=32)  # a page asks at every click
def cost_figure(
    lines: tuple[Line, ...], x_title: str, *, kind: Cost, even_at: float | None = None, dark: bool = False
) -> go.Figure:
    """Bytes or seconds of each method against the number of people or items, both axes logarithmic.

    Args:
        even_at: where two lines cross, to be marked; None = nowhere.
    """
    figure, text = go.Figure(), bytes_text if kind == "bytes" else seconds_text
    for line in lines:
        name = method_name(line.method)
        figure.add_trace(
            go.Scatter(
                x=line.x,
                y=line.y,
                name=name,
                mode="lines+markers",
                customdata=[text(value) for value in line.y],
                line={
                    "color": colour_of(line.method),
                    "width": 2,
                    "dash": "dash" if line.method.endswith(":gate") else "solid",
                },
                marker={
                    "size": 8,
                    "symbol": mark_of(line.method),
                    "line": {"width": 1, "color": PAPER[dark]},
                },
                hovertemplate=f"<b>{name}</b><br>%{{x:,}} {x_title}: %{{customdata}}<extra></extra>",
            )
        )
    frame(figure, dark, 330)
    xs = sorted({x for line in lines for x in line.x})
    ys = [y for line in lines for y in line.y if y > 0]
    figure.update_xaxes(type="log", title_text=x_title, tickvals=xs, ticktext=[_short(x) for x in xs])
    ticks = _ticks(min(ys, default=1.0), max(ys, default=1.0))
    what = "bytes stored" if kind == "bytes" else "seconds per person"
    figure.update_yaxes(type="log", title_text=what, tickvals=ticks, ticktext=[text(value) for value in ticks])
    if even_at is not None and xs and xs[0] < even_at < xs[-1]:
        figure.add_vline(x=even_at, line={"color": MUTED[dark], "width": 1, "dash": "dot"})
    return figure


def storage_title(lines: Sequence[Line]) -> str:
    """The storage of each of the two methods for the largest number of people."""
    ours, theirs = (next(line for line in lines if line.method == name) for name in ("perpcs", "oppu"))
    times = theirs.y[-1] / ours.y[-1]
    return (
        f"{_short(ours.x[-1])} people take {bytes_text(ours.y[-1])} with Per-Pcs and {bytes_text(theirs.y[-1])} with "
        f"OPPU: {times:.2g} times as much"
    )


def time_title(lines: Sequence[Line]) -> str:
    """Seconds at the longest history."""
    longest = max(line.x[-1] for line in lines)
    said = [f"{method_name(line.method)} {seconds_text(line.y[-1])}" for line in lines]
    return f"{longest:,.0f} history items take {', '.join(said)}"


def lines_csv(lines: Sequence[Line], x: str, y: str) -> str:
    """The figure's numbers."""
    rows = ((line.method, f"{a:g}", f"{b:.6g}") for line in lines for a, b in zip(line.x, line.y, strict=True))
    return csv_text(("method", x, y), rows)


@dataclass(frozen=True)
class Band:
    """A method's quality at each size, with its interval."""

    method: str
    sizes: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@lru_cache(maxsize=32)  # a page asks at every click
def bands_figure(
    bands: tuple[Band, ...], x_title: str, *, percent: bool = False, base: float | None = None, dark: bool = False
) -> go.Figure:
    """Nats per target token of each method against a size; whiskers are 95 % intervals over people.

    Args:
        percent: sizes are shares, on a linear axis; otherwise counts, on a logarithmic one.
        base: the base model's value, as a dotted line; None = no line.
    """
    figure = go.Figure()
    for place, band in enumerate(bands):
        name, step = method_name(band.method), place - len(bands) / 2  # so that whiskers do not overlap
        shown = [f"{100 * size:.0f} %" if percent else f"{size:.0f}" for size in band.sizes]
        figure.add_trace(
            go.Scatter(
                x=[size + 0.008 * step if percent else size * 1.03**step for size in band.sizes],
                y=band.mean,
                error_y={
                    "array": [high - mean for high, mean in zip(band.high, band.mean, strict=True)],
                    "arrayminus": [mean - low for low, mean in zip(band.low, band.mean, strict=True)],
                    "thickness": 1,
                    "width": 3,
                },
                name=name,
                mode="lines+markers",
                customdata=list(zip(shown, band.low, band.high, strict=True)),
                line={
                    "color": colour_of(band.method),
                    "width": 2,
                    "dash": "dot" if band.method.startswith("wrong:") else "solid",
                },
                marker={"size": 8, "symbol": mark_of(band.method)},
                hovertemplate=(
                    f"<b>{name}</b>, %{{customdata[0]}} {x_title}<br>%{{y:.3f}} [%{{customdata[1]:.3f}}, "
                    "%{customdata[2]:.3f}] nats per target token<extra></extra>"
                ),
            )
        )
    frame(figure, dark, 380)
    sizes = sorted({size for band in bands for size in band.sizes})
    figure.update_xaxes(
        type="linear" if percent else "log",
        title_text=x_title,
        tickvals=sizes,
        ticktext=[f"{100 * size:.0f} %" if percent else f"{size:.0f}" for size in sizes],
    )
    figure.update_yaxes(title_text=UNITS["nll"])
    if base is not None:
        figure.add_hline(y=base, line={"color": MUTED[dark], "width": 1, "dash": "dot"})
    return figure


def history_title(bands: Sequence[Band], theirs: str = "oppu") -> str:
    """How many items the other method needs to match ours with the fewest items."""
    by = {band.method: band for band in bands}
    ours = ours_among(by)
    if ours not in by or theirs not in by:
        return "Likelihood of people’s own answers as their histories grow"
    first, reached = by[ours].mean[0], by[theirs]
    enough = [count for count, mean in zip(reached.sizes, reached.mean, strict=True) if mean <= first]
    how, to, last = ("as well", "as", enough[0]) if enough else ("better", "than", reached.sizes[-1])
    few, other = f"{by[ours].sizes[0]:.0f} items", f"{method_name(theirs)} after {last:.0f}"
    return f"{method_name(ours)} predicts {how} after {few} {to} {other}"


def bands_csv(bands: Iterable[Band], size: str = "items") -> str:
    rows = (
        (band.method, f"{count:g}", f"{mean:.6g}", f"{low:.6g}", f"{high:.6g}")
        for band in bands
        for count, mean, low, high in zip(band.sizes, band.mean, band.low, band.high, strict=True)
    )
    return csv_text(("method", size, "nll", "low", "high"), rows)


def frame(figure: go.Figure, dark: bool, height: int) -> None:
    """The layout shared by all figures of the page."""
    figure.update_layout(
        base_layout(
            dark,
            height=height,
            margin={"l": 8, "r": 14, "t": 12, "b": 44},
            dragmode=False,
            hovermode="closest",
            showlegend=True,
            legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        )
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True, showgrid=True, gridcolor=FAINT[dark])


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten across a range; also times 2 and 5 if there are only a few."""
    powers = [10.0**power for power in range(-3, 13)]
    for factors in ((1,), (1, 2, 5)):
        ticks = [f * power for power in powers for f in factors if low / 1.01 <= f * power <= high * 1.01]
        if len(ticks) >= 3:
            break
    return ticks or [high]


def _short(count: float) -> str:
    return f"{count / 1e6:g} M" if count >= 1e6 else f"{count:,.0f}"


# ---- what it depends on ----------------------------------------------------------------------------------------------


RULES = {
    "all": "all sharers",
    "cluster": "the most active of each history cluster",
    "active": "the most active",
    "random": "random ones",
    "nearest": "those most similar to the person",
}
"""Rules that select some of the sharers."""


@dataclass(frozen=True)
class Dot:
    """One setting, with one method."""

    name: str
    method: str
    mean: float
    low: float
    high: float
    differs: str = ""
    """Compared with the method's default: "better" or "worse" if the interval of the difference excludes 0."""


def gain_title(bands: Sequence[Band], base: float, what: str) -> str:
    """How much of a method's gain over the base model remains at the smallest size.

    Args:
        what: the smallest size, in words: ``With 5 of 40 sharers``.
    """
    said = []
    for band in bands:
        gained = base - band.mean[-1]
        if gained > 0:
            kept = (base - band.mean[0]) / gained
            said.append(f"{method_name(band.method)} keeps {f'{100 * kept:.0f} %' if kept > 0 else 'none'}")
    return f"{what}, {', '.join(said)} of its gain" if said else f"{what}, there is no gain over the base model"


def rules_title(dots: Sequence[Dot], taken: int) -> str:
    """Which rule selects the best sharers for a method."""
    ours = ours_among(dot.method for dot in dots)
    rows = [dot for dot in dots if dot.method == ours and dot.name != RULES["all"]] or list(dots)
    best = min(rows, key=lambda dot: dot.mean)
    worst = max(rows, key=lambda dot: dot.mean)
    return (
        f"With {taken} sharers, {method_name(best.method)} does best with {best.name} ({best.mean:.2f}) and worst with "
        f"{worst.name} ({worst.mean:.2f})"
    )


def choices_title(dots: Sequence[Dot]) -> str:
    """Which other settings are significantly better than the default, and which worse."""
    better, worse = ([dot.name for dot in dots if dot.differs == how] for how in ("better", "worse"))
    first = (
        f"Significantly better than the default: {', '.join(better)}"
        if better
        else "No other setting is significantly better than the default"
    )
    return f"{first}; significantly worse: {', '.join(worse)}" if worse else first


@lru_cache(maxsize=32)  # a page asks at every press
def dots_figure(dots: tuple[Dot, ...], base: float, *, dark: bool = False) -> go.Figure:
    """A row per name, a dot per method with its interval over people; a line at the base model."""
    figure = go.Figure()
    names = list(dict.fromkeys(dot.name for dot in dots))
    methods = list(dict.fromkeys(dot.method for dot in dots))
    several = len(dots) > len(names)
    for place, method in enumerate(methods):
        own = [dot for dot in dots if dot.method == method]
        shift = 0.22 * (place - (len(methods) - 1) / 2) if several else 0.0  # so that intervals do not overlap
        figure.add_trace(
            go.Scatter(
                x=[dot.mean for dot in own],
                y=[names.index(dot.name) + shift for dot in own],
                error_x={
                    "array": [dot.high - dot.mean for dot in own],
                    "arrayminus": [dot.mean - dot.low for dot in own],
                    "thickness": 1.3,
                    "width": 3,
                    "color": colour_of(method),
                },
                mode="markers",
                marker={
                    "size": 10,
                    "color": colour_of(method),
                    "symbol": mark_of(method),
                    "line": {"width": 1, "color": INK[dark]},
                },
                name=brief_name(method),  # short: buttons are next to it
                customdata=[(dot.name, dot.low, dot.high, f", {dot.differs}" if dot.differs else "") for dot in own],
                hovertemplate=(
                    f"<b>{method_name(method)}</b>, %{{customdata[0]}}<br>%{{x:.3f}} [%{{customdata[1]:.3f}}, "
                    f"%{{customdata[2]:.3f}}] {UNITS['nll']}%{{customdata[3]}}<extra></extra>"
                ),
            )
        )
    frame(figure, dark, 110 + 34 * len(names))
    figure.update_layout(showlegend=several)  # otherwise every row names its method
    figure.add_vline(x=base, line={"color": MUTED[dark], "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text=UNITS["nll"], showgrid=True, gridcolor=FAINT[dark])
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5], showgrid=False
    )
    return figure


def dots_csv(dots: Iterable[Dot]) -> str:
    """The figure's numbers."""
    rows = ((dot.method, dot.name, f"{dot.mean:.6g}", f"{dot.low:.6g}", f"{dot.high:.6g}", dot.differs) for dot in dots)
    return csv_text(("method", "choice", "nll", "low", "high", "than_default"), rows)
