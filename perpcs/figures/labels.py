"""The probability of each label, per method: bars on one axis."""

from collections.abc import Mapping

import plotly.graph_objects as go

from perpcs.figures.style import base_layout, faint, method_colour, paper

_PATTERNS = ("", "/", ".", "x", "+", "-")


def label_bars(
    probabilities: Mapping[str, tuple[str, Mapping[str, float]]],
    *,
    truth: str | None = None,
    most: int = 6,
    dark: bool = False,
) -> go.Figure:
    """Grouped bars, the most likely labels of any method first, always including the true one.

    Args:
        probabilities: method -> (title, label -> probability).
        truth: the person's own label, which is marked.
        most: maximum number of labels.
    """
    labels = shown_labels({method: values for method, (_, values) in probabilities.items()}, truth, most)
    names = [f"<b>{label}</b> ✓" if label == truth else label for label in labels]
    figure = go.Figure()
    for index, (method, (title, values)) in enumerate(probabilities.items()):
        figure.add_trace(
            go.Bar(
                y=names,
                x=[100 * values.get(label, 0.0) for label in labels],
                orientation="h",
                name=title,
                marker={
                    "color": method_colour(method),
                    "pattern": {
                        "shape": _PATTERNS[index % 6],
                        "solidity": 0.18,
                        "fillmode": "overlay",
                        "fgcolor": paper(dark),
                    },
                },
                hovertemplate=f"{title}<br>%{{y}}: %{{x:.1f}} %<extra></extra>",
            )
        )
    figure.update_layout(
        base_layout(
            dark,
            height=70 + len(labels) * (16 + 14 * len(probabilities)),
            barmode="group",
            bargap=0.3,
            margin={"l": 8, "r": 16, "t": 36, "b": 44},
            dragmode=False,
            legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "traceorder": "normal"},
        )
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(range=[0, 100], ticksuffix=" %", showgrid=True, gridcolor=faint(dark), title_text="probability")
    return figure


def label_takeaway(probabilities: Mapping[str, tuple[str, Mapping[str, float]]], truth: str | None) -> str:
    """The chart's title: the probability each method gives the true label, or the label each prefers."""
    if truth is not None:
        said = [f"{100 * values.get(truth, 0.0):.0f} % from {title}" for title, values in probabilities.values()]
        return f"“{truth}”, the person's own label, gets {_and(said)}"
    best = [
        f"{title} prefers “{max(values, key=lambda label: values[label])}”" for title, values in probabilities.values()
    ]
    return _and(best)


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def shown_labels(values: Mapping[str, Mapping[str, float]], truth: str | None, most: int) -> list[str]:
    """Labels by the largest probability any method gives them; the true one replaces the last if it is missing."""
    best: dict[str, float] = {}
    for row in values.values():
        for label, probability in row.items():
            best[label] = max(best.get(label, 0.0), probability)
    labels = sorted(best, key=lambda label: -best[label])
    shown = labels[:most]
    if truth in best and truth not in shown and truth is not None:
        shown[-1] = truth
    return shown
