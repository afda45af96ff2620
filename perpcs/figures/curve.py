"""The base model's loss on held-out people during training, a line per task."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from perpcs.figures.style import base_layout, faint, paper
from perpcs.pool.manifest import is_number
from perpcs.tasks import TASKS

ALL = "All held-out texts"
"""The single line of a pool whose curve is not split by task."""
UNIT = "nats per target token"
BARE = "bare"
"""The group of a task whose prompts contain no personal text."""
_ON_LIGHT = ("#332288", "#117733", "#AA4499", "#882255", "#8A7A1B", "#C4515F", "#2F7F73")
_ON_DARK = ("#88CCEE", "#DDCC77", "#CC6677", "#44AA99", "#E0A3D3", "#B5BD4C", "#A9A2E8")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down")

Lines = Mapping[str, Sequence[tuple[int, float]]]
"""Title of a line -> (training step, nats per target token), in the order of steps."""


def curve_lines(curve: Any) -> dict[str, list[tuple[int, float]]]:
    """The lines of a card's curve: one per task if the groups are separate, else the mean over all held-out texts.

    Args:
        curve: ``card["base"]["curve"]``, a list of {step, held_out, groups}; what is missing or malformed is left out.
    """
    points = [point for point in curve if isinstance(point, Mapping)] if isinstance(curve, list | tuple) else []
    by_task: dict[str, list[tuple[int, float]]] = {}
    together: list[tuple[int, float]] = []
    for point in points:
        step, groups = point.get("step"), point.get("groups")
        if not is_number(step):
            continue
        if is_number(point.get("held_out")):
            together.append((int(step), float(point["held_out"])))
        for name, value in groups.items() if isinstance(groups, Mapping) else ():
            task, _, shows = str(name).partition(" ")
            if shows == BARE and is_number(value):
                by_task.setdefault(task, []).append((int(step), float(value)))
    found = {title_of(task): line for task, line in by_task.items()} or {ALL: together}
    return {title: sorted(line) for title, line in found.items() if line}


def curve_title(lines: Lines) -> str:
    """The takeaway: how the loss changed from the first to the last measured step; empty if there is no line."""
    if not lines:
        return ""
    first, last = min(line[0][0] for line in lines.values()), max(line[-1][0] for line in lines.values())
    ends = {title: line[-1][1] for title, line in lines.items()}
    if first == last:
        return f"At step {last:,} the held-out loss is {_span(ends)} {UNIT}"
    when = f"From step {first:,} to {last:,} the held-out loss"
    if len(lines) == 1:
        before, after = next(iter(lines.values()))[0][1], next(iter(ends.values()))
        how = "fell" if after < before else "rose" if after > before else "stayed"
        return f"{when} {how} from {before:.2f} to {after:.2f} {UNIT}"
    fell = sum(line[-1][1] < 0.95 * line[0][1] for line in lines.values())  # less is noise, not learning
    for_whom = f"all {len(lines)}" if fell == len(lines) else f"{fell} of {len(lines)}"
    return f"{when} fell for {for_whom} tasks and ended {_span(ends)} {UNIT}"


def curve_figure(lines: Lines, *, dark: bool = False) -> go.Figure:
    """The lines over training steps; lines differ in colour, dash and mark, none in the colour of a method."""
    figure = go.Figure()
    for index, (title, line) in enumerate(lines.items()):
        figure.add_trace(
            go.Scatter(
                x=[step for step, _ in line],
                y=[value for _, value in line],
                name=title,
                mode="lines+markers",
                line={"color": line_colour(index, dark), "width": 2, "dash": _DASHES[index % 7]},
                marker={"symbol": _SYMBOLS[index % 7], "size": 6, "line": {"width": 1, "color": paper(dark)}},
                hovertemplate=f"{title}<br>step %{{x:,}}: %{{y:.3f}} {UNIT}<extra></extra>",
            )
        )
    figure.update_layout(
        base_layout(
            dark,
            height=300 + 12 * len(lines),
            margin={"l": 8, "r": 16, "t": 36, "b": 44},
            dragmode=False,
            showlegend=True,
            legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        )
    )
    figure.update_xaxes(title_text="training step", tickformat=",", rangemode="tozero")
    figure.update_yaxes(
        title_text=UNIT, rangemode="tozero", showgrid=True, gridcolor=faint(dark), automargin=True, nticks=6
    )
    return figure


def curve_csv(lines: Lines) -> str:
    """The figure's numbers: line, step, nats per target token."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("held_out", "step", "nats_per_target_token"))
    writer.writerows((title, step, f"{value:.6g}") for title, line in lines.items() for step, value in line)
    return out.getvalue()


def line_colour(index: int, dark: bool) -> str:
    """The colour of a line, at least 3:1 against the background."""
    return (_ON_DARK if dark else _ON_LIGHT)[index % 7]


def title_of(task: str) -> str:
    """A task's title on the screen."""
    return TASKS[task].title if task in TASKS else task


def _span(ends: Mapping[str, float]) -> str:
    """``0.51``, or the lowest and the highest value with the names of their lines."""
    low, high = min(ends, key=ends.__getitem__), max(ends, key=ends.__getitem__)
    if len(ends) == 1:
        return f"{ends[low]:.2f}"
    return f"between {ends[low]:.2f} ({low.lower()}) and {ends[high]:.2f} ({high.lower()})"
