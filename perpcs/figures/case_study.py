"""One person's weights next to PEFT retrieval's selection: two maps of the same pieces, each on its own scale."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from perpcs.figures.order import row_ticks, short_names
from perpcs.figures.style import (
    MARK,
    base_layout,
    faint,
    ink,
    mark_size,
    muted,
    points,
    row_height,
    signed_scale,
    weight_scale,
)


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
                marker={"size": 3, "color": faint(dark)},
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
                    "line": {"width": 0.5, "color": muted(dark)},
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
        tickfont={"size": 11, "family": "monospace", "color": muted(dark)},
    )
    figure.update_annotations(font={"size": 14, "color": ink(dark)})
    return figure


def case_csv(case: Case) -> str:
    """Both weights of every piece."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("position", "sharer", "likeness", "perpcs", "peft_retrieval"))
    for p, label in enumerate(case.positions):
        for s, sharer in enumerate(case.sharers):
            writer.writerow((label, sharer, case.likeness[s], f"{case.perpcs[p, s]:g}", f"{case.retrieval[p, s]:g}"))
    return out.getvalue()


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
