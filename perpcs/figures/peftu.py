"""Figures of the PEFT-U part of Results: any two measures of small personal modules, and the spread over people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape

import plotly.graph_objects as go

from perpcs.figures.results import csv_text, frame
from perpcs.figures.style import INK, METHOD_COLOURS, MUTED, OTHER_COLOUR, bytes_text, scrolling, seconds_text
from perpcs.schema import PIECE_KINDS

TITLES = {
    "zero-shot": "Zero-shot",
    "few-shot": "Few-shot",
    "prior": "Own label counts",
    "lora": "LoRA",
    "ia3": "(IA)³",
    "adapter": "Adapter",
    "prefix": "Prefix tuning",
    "ptuning": "P-tuning",
    "prompt": "Prompt tuning",
    "head": "Personal head",
    "shuffled": "LoRA, shuffled labels",
    "crowd": "One LoRA of other people",
}
_WAYS = {"newton": "Assembled, Newton weights", "fit": "Assembled, fitted weights", "gate": "Assembled, gates"}
AXES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "nats": "nats per text",
    "trained": "trained numbers per person",
    "kept_bytes": "bytes stored per person",
    "train_seconds": "seconds to train or assemble, per person",
    "answer_seconds": "seconds per answer",
}
LOWER = frozenset(AXES) - {"accuracy", "f1"}
COSTS = ("trained", "kept_bytes", "train_seconds", "answer_seconds")
"""Measures without an interval; on a logarithmic axis."""
_COLOURS = {
    "lora": METHOD_COLOURS["oppu"],
    "ia3": METHOD_COLOURS["rag"],
    "adapter": METHOD_COLOURS["pag"],
    "prefix": METHOD_COLOURS["retrieval"],
    "ptuning": METHOD_COLOURS["random-history"],
    "prompt": METHOD_COLOURS["perpcs:prototype"],
    "head": METHOD_COLOURS["pag-counted"],
    "zero-shot": METHOD_COLOURS["base"],
}
_MARKS = {"newton": "circle", "fit": "hexagon", "gate": "diamond", "own": "square", "matched": "square-open"}


@dataclass(frozen=True)
class Value:
    """A mean over people with its 95 % interval; a cost has none."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Cell:
    """One method of one task."""

    name: str
    values: Mapping[str, Value]
    people: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """By measure, each person in their order."""
    minus: Mapping[str, Value] = field(default_factory=dict)
    """Accuracy minus that of a control, paired person by person: ``zero-shot``, ``prior``, ``wrong``."""

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted((key, value) for key, value in self.values.items()))))


def title_of(name: str) -> str:
    """``newton:lora-matched`` as ``Assembled, Newton weights, of LoRA pieces (matched)``."""
    if name.startswith("wrong:"):
        return f"{title_of(name.removeprefix('wrong:'))}, another person’s"
    way, colon, kind = name.partition(":")
    if colon:
        return f"{_WAYS.get(way, way)}, of {_sized(kind)} pieces"
    return _sized(name)


def _sized(name: str) -> str:
    stem = name.removesuffix("-matched")
    return TITLES.get(stem, stem) + (" (matched size)" if stem != name else "")


def colour_of(name: str) -> str:
    """Ours in the colour of Per-Pcs; controls in grey."""
    way, colon, _ = name.partition(":")
    if colon and way in _WAYS:
        return METHOD_COLOURS["perpcs"]
    return _COLOURS.get(name.removesuffix("-matched"), OTHER_COLOUR)


def mark_of(name: str) -> str:
    way, colon, _ = name.partition(":")
    return _MARKS.get(way if colon else "matched" if name.endswith("-matched") else "own", "x")


def front(cells: Sequence[Cell], x: str, y: str) -> list[Cell]:
    """The methods that no other beats in both measures, best in x first."""
    kept: list[Cell] = []
    for cell in sorted(cells, key=lambda one: (_worse(one, x), _worse(one, y))):
        if not kept or _worse(cell, y) < _worse(kept[-1], y):
            kept.append(cell)
    return kept


def _worse(cell: Cell, measure: str) -> float:
    """Larger is worse."""
    return cell.values[measure].mean * (1 if measure in LOWER else -1)


def front_title(cells: Sequence[Cell], x: str, y: str) -> str:
    """The finding of the figure."""
    names = [title_of(cell.name) for cell in front(cells, x, y)]
    listed = f"{'; '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
    return f"In {AXES[x]} and {AXES[y]} together, no method beats {listed}"


@lru_cache(maxsize=32)  # a page asks at every click
def front_figure(cells: tuple[Cell, ...], x: str, y: str, *, dark: bool = False) -> go.Figure:
    """Any two measures of the methods; a line joins those that no other beats in both."""
    least = {axis: min((c.values[axis].mean for c in cells if c.values[axis].mean > 0), default=1.0) for axis in (x, y)}

    def place(cell: Cell, axis: str) -> float:
        """A cost of 0 stands at the end of its logarithmic axis."""
        mean = cell.values[axis].mean
        return mean if mean > 0 or axis not in COSTS else least[axis] / 4

    kept = front(cells, x, y)
    figure = go.Figure(
        go.Scatter(
            x=[place(cell, x) for cell in kept],
            y=[place(cell, y) for cell in kept],
            mode="lines",
            line={"color": MUTED[dark], "width": 1.5, "dash": "dot", "shape": "hv"},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    for cell in cells:
        figure.add_trace(
            go.Scatter(
                x=[place(cell, x)],
                y=[place(cell, y)],
                error_x=_whiskers(cell, x),
                error_y=_whiskers(cell, y),
                mode="markers",
                marker={
                    "size": 12,
                    "color": colour_of(cell.name),
                    "symbol": mark_of(cell.name),
                    "line": {"width": 1, "color": INK[dark]},
                },
                name=title_of(cell.name),
                customdata=[cell.name],
                hovertemplate=f"<b>{title_of(cell.name)}</b><br>{_said(cell, x)}<br>{_said(cell, y)}<extra></extra>",
            )
        )
    frame(figure, dark, 440)
    for axis, update in ((x, figure.update_xaxes), (y, figure.update_yaxes)):
        update(title_text=AXES[axis], type="log" if axis in COSTS else "linear")
    return figure


def _whiskers(cell: Cell, axis: str) -> dict[str, object]:
    value = cell.values[axis]
    if axis in COSTS:
        return {}
    return {
        "array": [value.high - value.mean],
        "arrayminus": [value.mean - value.low],
        "thickness": 1.3,
        "width": 4,
        "color": colour_of(cell.name),
    }


def _said(cell: Cell, axis: str) -> str:
    value = cell.values[axis]
    if axis == "kept_bytes":
        return f"{bytes_text(value.mean)} stored per person"
    if axis.endswith("seconds"):
        return f"{seconds_text(value.mean)} {AXES[axis].removeprefix('seconds ')}"
    if axis == "trained":
        return f"{value.mean:,.0f} {AXES[axis]}"
    return f"{AXES[axis]} {value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"


def spread_title(cell: Cell, other: Cell, measure: str) -> str:
    """For how many people one method is better than another."""
    pairs = list(zip(cell.people[measure], other.people[measure], strict=True))
    better = sum((a < b) if measure in LOWER else (a > b) for a, b in pairs)
    return f"{title_of(cell.name)} is better than {title_of(other.name)} for {better} of {len(pairs)} people"


@lru_cache(maxsize=32)
def spread_figure(cell: Cell, other: Cell, measure: str, *, dark: bool = False) -> go.Figure:
    """Every person's measure by two methods, a line a person, ordered by the first."""
    order = sorted(range(len(cell.people[measure])), key=lambda at: cell.people[measure][at])
    rows = [f"person {at + 1}" for at in order]
    figure = go.Figure()
    for at, row in zip(order, rows, strict=True):
        figure.add_trace(
            go.Scatter(
                x=[other.people[measure][at], cell.people[measure][at]],
                y=[row, row],
                mode="lines",
                line={"color": MUTED[dark], "width": 1},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    for one, symbol in ((other, "circle-open"), (cell, "circle")):
        figure.add_trace(
            go.Scatter(
                x=[one.people[measure][at] for at in order],
                y=rows,
                mode="markers",
                marker={"size": 10, "color": colour_of(one.name), "symbol": symbol},
                name=title_of(one.name),
                hovertemplate=f"{title_of(one.name)}: %{{x:.3f}}, %{{y}}<extra></extra>",
            )
        )
    frame(figure, dark, 80 + 22 * len(rows))
    figure.update_xaxes(title_text=AXES[measure])
    return figure


def cells_csv(cells: Sequence[Cell]) -> str:
    """All numbers of a task."""
    rows = (
        (cell.name, measure, value.mean, value.low, value.high)
        for cell in cells
        for measure, value in cell.values.items()
    )
    return csv_text(("method", "measure", "mean", "low", "high"), rows)


# ---- where each kind sits --------------------------------------------------------------------------------------------


PLACES = (
    ("the question", ("prompt", "ptuning")),
    ("queries", ("lora",)),
    ("keys", ("lora", "ia3", "prefix")),
    ("values", ("lora", "ia3", "prefix")),
    ("output of the attention", ("lora", "adapter")),
    ("inside the MLP", ("ia3",)),
    ("output of the MLP", ("adapter",)),
    ("the answer", ("head",)),
)
"""Where a word passes, from the input to the answer, and which methods change something there."""
_ATTENTION, _MLP = slice(1, 5), slice(5, 7)
ACTS = {
    "lora": "+ B A x",
    "ia3": "× (1 + v)",
    "adapter": "+ B gelu(A y)",
    "prefix": "trained tokens in front",
    "prompt": "trained vectors in front",
    "ptuning": "vectors in front, from a small network",
    "head": "a further layer of its own",
}
"""What each method does where it acts."""
KINDS = tuple(ACTS)


def layer_html() -> str:
    """The way from the question to the answer through one layer, and what each kind of module changes on it."""
    boxes = [_place(place, kinds) for place, kinds in PLACES]
    attention, mlp = ("".join(boxes[part]) for part in (_ATTENTION, _MLP))
    return (
        '<figure class="pp-layer" aria-label="Where each kind of module acts, from the question to the answer">'
        f'{boxes[0]}<div class="pp-each"><b>every layer</b>'
        f"<div><b>attention</b>{attention}</div><div><b>MLP</b>{mlp}</div></div>{boxes[-1]}"
        '<figcaption class="pp-quiet">Top to bottom: the path of a token through the model. Colours: kinds of modules. '
        "A filled dot marks the kinds that act in every layer, so that a pool can hold them as "
        "pieces.</figcaption></figure>"
    )


def _place(place: str, kinds: Sequence[str]) -> str:
    chips = "".join(
        f'<li><i class="pp-dot" style="--m:{colour_of(kind)}"{"" if kind in PIECE_KINDS else " data-whole"}></i>'
        f"<b>{TITLES[kind]}</b> {escape(ACTS[kind])}</li>"
        for kind in kinds
    )
    return f'<div class="pp-place"><span>{place}</span><ul>{chips}</ul></div>'


# ---- same text, six readers ------------------------------------------------------------------------------------------


def readers_html(labels: Sequence[str], rows: Sequence[tuple[str, Sequence[float], str]]) -> str:
    """Label probabilities of one text, a row a reader: what is said of them, probabilities, and the truth if known."""
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in labels)
    body = []
    for says, probs, truth in rows:
        best = max(range(len(labels)), key=lambda at: probs[at])
        cells = []
        for at, (label, share) in enumerate(zip(labels, probs, strict=True)):
            number = f"<b>{share:.0%}</b>" if at == best else f"{share:.0%}"
            mark = " ✓" if label == truth else ""
            width = f"width:{max(1, round(100 * share))}%"
            bar = f'<div style="{width};height:6px;background:{METHOD_COLOURS["perpcs"]}"></div>'
            cells.append(f'<td data-column="{escape(label)}"><span>{number}{mark}{bar}</span></td>')
        body.append(f'<tr><th scope="row">{escape(says)}</th>{"".join(cells)}</tr>')
    return scrolling(
        '<table class="pp-results"><caption class="pp-quiet">Probability of each label. Bold: the most likely one. '
        '✓: the label that follows from the reader’s traits</caption><thead><tr><th scope="col">reader</th>'
        f"{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def readers_takeaway(labels: Sequence[str], probs: Sequence[Sequence[float]]) -> str:
    """How many readers agree on the most likely label."""
    best = [labels[max(range(len(labels)), key=lambda at: row[at])] for row in probs]
    groups = [f"{best.count(label)} say {label}" for label in labels if label in best]
    return f"Same text, {len(best)} readers: {', '.join(groups)}"
