"""What a result hangs on: likelihood against the size of the pool, and beside other ways to choose."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import plotly.graph_objects as go

from perpcs.figures.results import (
    UNITS,
    Band,
    brief_name,
    colour_of,
    csv_text,
    frame,
    mark_of,
    method_name,
    ours_among,
)
from perpcs.figures.style import faint, ink, muted

RULES = {
    "all": "all of them",
    "cluster": "the most active of each history cluster",
    "active": "the most active",
    "random": "drawn at random",
    "nearest": "the most like the person",
}
"""Rules by which some of the sharers are taken."""


@dataclass(frozen=True)
class Dot:
    """One way to choose, with one method."""

    name: str
    method: str
    mean: float
    low: float
    high: float
    differs: str = ""
    """Against the method's default, "better" or "worse", where the interval of the difference excludes 0."""


def gain_title(bands: Sequence[Band], base: float, what: str) -> str:
    """How much of what a method gains over the base model is left at the smallest size.

    Args:
        what: what there is of that size, in words: ``with 5 of 40 sharers``.
    """
    said = []
    for band in bands:
        gained = base - band.mean[-1]
        if gained > 0:
            kept = (base - band.mean[0]) / gained
            said.append(f"{method_name(band.method)} keeps {f'{100 * kept:.0f} %' if kept > 0 else 'nothing'}")
    return f"{what}, of what all bring: {', '.join(said)}" if said else f"{what} nothing is gained over the base model"


def rules_title(dots: Sequence[Dot], taken: int) -> str:
    """Which rule takes the best sharers for a method."""
    ours = ours_among(dot.method for dot in dots)
    rows = [dot for dot in dots if dot.method == ours and dot.name != RULES["all"]] or list(dots)
    best = min(rows, key=lambda dot: dot.mean)
    worst = max(rows, key=lambda dot: dot.mean)
    return (
        f"Of {taken} sharers, {best.name} serve {method_name(best.method)} best ({best.mean:.2f}), {worst.name} worst "
        f"({worst.mean:.2f})"
    )


def choices_title(dots: Sequence[Dot]) -> str:
    """Which other choices are surely better than the default, and which worse."""
    better, worse = ([dot.name for dot in dots if dot.differs == how] for how in ("better", "worse"))
    first = f"Surely better than the default: {', '.join(better)}" if better else "No other choice is surely better"
    return f"{first}; surely worse: {', '.join(worse)}" if worse else first


@lru_cache(maxsize=32)  # a page asks at every press
def dots_figure(dots: tuple[Dot, ...], base: float, *, dark: bool = False) -> go.Figure:
    """A row a name, a dot a method with its interval over people; a line where the base model stands."""
    figure = go.Figure()
    names = list(dict.fromkeys(dot.name for dot in dots))
    methods = list(dict.fromkeys(dot.method for dot in dots))
    several = len(dots) > len(names)
    for place, method in enumerate(methods):
        own = [dot for dot in dots if dot.method == method]
        shift = 0.22 * (place - (len(methods) - 1) / 2) if several else 0.0  # so that intervals do not cover each other
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
                    "line": {"width": 1, "color": ink(dark)},
                },
                name=brief_name(method),  # short: buttons stand beside it
                customdata=[(dot.name, dot.low, dot.high, f", {dot.differs}" if dot.differs else "") for dot in own],
                hovertemplate=(
                    f"<b>{method_name(method)}</b>, %{{customdata[0]}}<br>%{{x:.3f}} [%{{customdata[1]:.3f}}, "
                    f"%{{customdata[2]:.3f}}] {UNITS['nll']}%{{customdata[3]}}<extra></extra>"
                ),
            )
        )
    frame(figure, dark, 110 + 34 * len(names))
    figure.update_layout(showlegend=several)  # else every row names its method
    figure.add_vline(x=base, line={"color": muted(dark), "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text=UNITS["nll"], showgrid=True, gridcolor=faint(dark))
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5], showgrid=False
    )
    return figure


def dots_csv(dots: Iterable[Dot]) -> str:
    """The figure's numbers."""
    rows = ((dot.method, dot.name, f"{dot.mean:.6g}", f"{dot.low:.6g}", f"{dot.high:.6g}", dot.differs) for dot in dots)
    return csv_text(("method", "choice", "nll", "low", "high", "than_default"), rows)
