"""What performance depends on: likelihood against the size of the pool, and with other settings."""

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
                    "line": {"width": 1, "color": ink(dark)},
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
