"""The equations with numbers in them, as HTML whose symbols light up together: in the formula, in the figure below it,
and in the list of what they are. It needs no script: a style sheet sees which symbol is pointed at (style.css).

The toy is the whole method on a screen: 2 positions, 2 sharers, rank 1, vectors of 2. Plain floats, no model.

    v_1 = x                                              the input of the first position
    score_s = g_s . v / (|g_s| |v|)                      a gate against what is read, by cosine
    w = softmax over the k best of (score / temperature)
    y = W v + scale * sum_s w_s B_s (A_s . v)            and v_2 = y: the second position reads it

The arithmetic is that of perpcs/model/basis.py and perpcs/assembly/activations.py; a test holds them together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import NamedTuple

from perpcs.assembly.record import quantised_size
from perpcs.figures.style import bytes_text

# ---- the toy's numbers -----------------------------------------------------------------------------------------------


Vector = tuple[float, float]
TOY_SHARERS = TOY_POSITIONS = 2


@dataclass(frozen=True)
class EditedPiece:
    """One sharer at one position: A (1, 2), B (2, 1) and the gate (2)."""

    A: Vector
    B: Vector
    g: Vector


@dataclass(frozen=True)
class Place:
    """One position: the base model's matrix by rows, and the sharers' pieces."""

    W: tuple[Vector, Vector]
    pieces: tuple[EditedPiece, EditedPiece]


@dataclass(frozen=True)
class Toy:
    """Everything that may be edited."""

    x: Vector = (1.0, 0.5)
    places: tuple[Place, Place] = field(
        default=(
            Place(
                W=((1.0, 0.0), (0.0, 1.0)),
                pieces=(
                    EditedPiece((1.0, 0.0), (0.0, 1.0), (1.0, 0.2)),
                    EditedPiece((0.0, 1.0), (1.0, 0.0), (-0.5, 1.0)),
                ),
            ),
            Place(
                W=((0.5, 0.5), (-0.5, 0.5)),
                pieces=(
                    EditedPiece((1.0, 1.0), (0.5, 0.0), (0.2, 1.0)),
                    EditedPiece((1.0, -1.0), (0.0, 0.5), (1.0, -0.4)),
                ),
            ),
        )
    )
    scale: float = 2.0
    k: int = 2
    temperature: float = 0.5


@dataclass(frozen=True)
class ToyPiece:
    """What one piece did: its score, whether it was kept, its weight, A v, and what it added."""

    score: float
    kept: bool
    weight: float
    read: float
    added: Vector


@dataclass(frozen=True)
class ToyStep:
    """What happened at one position."""

    v: Vector
    base: Vector
    """W v: what the base model says."""
    pieces: tuple[ToyPiece, ToyPiece]
    y: Vector


def run_toy(toy: Toy) -> tuple[ToyStep, ToyStep]:
    """Both positions, one after the other."""
    first = _step(toy, toy.places[0], toy.x)
    return first, _step(toy, toy.places[1], first.y)


def with_toy_number(toy: Toy, name: str, value: float) -> Toy:
    """The toy with one number changed; names are those of ``numbers``."""
    what, *rest = name.split(".")
    if what == "scale":
        return replace(toy, scale=value)
    if what == "temperature":
        return replace(toy, temperature=value)
    if what == "k":
        return replace(toy, k=int(value))
    if what == "x":
        return replace(toy, x=_put(toy.x, int(rest[0]), value))
    place = toy.places[int(rest[0])]
    if what == "W":
        row = int(rest[1])
        changed = replace(place, W=_swap(place.W, row, _put(place.W[row], int(rest[2]), value)))
    else:
        sharer = int(rest[1])
        piece = place.pieces[sharer]
        vector = _put(getattr(piece, what), int(rest[2]), value)
        changed = replace(place, pieces=_swap(place.pieces, sharer, replace(piece, **{what: vector})))
    return replace(toy, places=_swap(toy.places, int(rest[0]), changed))


def toy_numbers(toy: Toy) -> dict[str, float]:
    """Every number by a name: ``x.0``, ``W.position.row.column``, ``A.position.sharer.entry``, ``scale`` and so on."""
    found: dict[str, float] = {"scale": toy.scale, "k": toy.k, "temperature": toy.temperature}
    found |= {f"x.{i}": value for i, value in enumerate(toy.x)}
    for p, place in enumerate(toy.places):
        found |= {f"W.{p}.{r}.{c}": value for r, row in enumerate(place.W) for c, value in enumerate(row)}
        for s, piece in enumerate(place.pieces):
            for what in ("A", "B", "g"):
                found |= {f"{what}.{p}.{s}.{i}": value for i, value in enumerate(getattr(piece, what))}
    return found


def _step(toy: Toy, place: Place, v: Vector) -> ToyStep:
    scores = [_cosine(piece.g, v) for piece in place.pieces]
    order = sorted(range(TOY_SHARERS), key=lambda s: -scores[s])[: toy.k]  # equal scores keep the sharers' order
    top = max(scores)
    size = {s: math.exp((scores[s] - top) / toy.temperature) for s in order}
    total = sum(size.values())
    done = []
    for s, piece in enumerate(place.pieces):
        weight, read = size.get(s, 0.0) / total, _dot(piece.A, v)
        added = (toy.scale * weight * read * piece.B[0], toy.scale * weight * read * piece.B[1])
        done.append(ToyPiece(scores[s], s in size, weight, read, added))
    base = (_dot(place.W[0], v), _dot(place.W[1], v))
    y = (base[0] + sum(piece.added[0] for piece in done), base[1] + sum(piece.added[1] for piece in done))
    return ToyStep(v, base, (done[0], done[1]), y)


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1]


def _cosine(g: Vector, v: Vector) -> float:
    """As torch's normalize: a vector of length 0 stays 0, and scores 0."""
    return _dot(g, v) / (max(math.hypot(*g), 1e-12) * max(math.hypot(*v), 1e-12))


def _put(vector: Vector, place: int, value: float) -> Vector:
    return (value, vector[1]) if place == 0 else (vector[0], value)


def _swap(pair: tuple, place: int, new: object) -> tuple:
    return (new, pair[1]) if place == 0 else (pair[0], new)


# ---- formulas --------------------------------------------------------------------------------------------------------


SYMBOLS = ("x", "W", "A", "B", "w", "s", "g", "y")
"""Letters that light up; style.css has a line for each."""


class Layer(NamedTuple):
    """One position of one person, in numbers."""

    label: str
    n: int
    d: int
    rank: int
    scale: float
    top: tuple[tuple[str, float], ...]
    """(sharer, weight) of the largest weights there, largest first."""
    others: int
    """How many more sharers have weight there."""
    sharers: int
    positions: int
    name: str
    """Whose weights they are."""
    scaling: bool = False
    """The pieces are scaling vectors."""


def symbol(letter: str, shown: str | None = None) -> str:
    """A symbol that can be pointed at, by mouse or keyboard."""
    return f'<span class="pp-sym s-{letter}" tabindex="0">{shown or f"<i>{letter}</i>"}</span>'


def layer_html(layer: Layer) -> str:
    """The one equation, the same with this layer's numbers, and the figure of it."""
    x, W, A, B, w, s, y = (symbol(letter) for letter in "xWABwsy")
    sub = "<sub><i>j</i></sub>"
    terms = [f"{symbol('w', f'<b>{weight:.3f}</b>')} · {_piece(name, layer)}" for name, weight in layer.top]
    more = f" + … {layer.others} more" if layer.others else ""
    own = f"{symbol('s', f'{layer.scale:g}')} · ( {' + '.join(terms)}{more} )"
    if layer.scaling:
        V = symbol("B", "<i>V</i>")
        law = f"{y} = {W} {x} ⊙ ( 1 + Σ{sub} {w}{sub} {V}{sub} )"
        live = f"{y} = {W} {x} ⊙ ( 1 + {' + '.join(terms)}{more} )"
    else:
        law = f"{y} = {W} {x} + {s} Σ{sub} {w}{sub} {B}{sub} {A}{sub} {x}"
        live = f"{y} = {W} {x} + {own} {x}"
    return (
        f'<div class="pp-lit"><div class="pp-eq" role="math" aria-label="The one equation">{law}</div>'
        f'<p class="pp-cap">The same at {escape(layer.label)}, for {escape(layer.name)}:</p>'
        f'<div class="pp-eq">{live}</div>{_flow(layer)}{_legend(layer)}</div>'
    )


def _piece(name: str, layer: Layer) -> str:
    shown = f"<sub>{escape(name)}</sub>"
    if layer.scaling:
        return symbol("B", f"<i>V</i>{shown}")
    return symbol("B", f"<i>B</i>{shown}") + symbol("A", f"<i>A</i>{shown}")


def _flow(layer: Layer) -> str:
    """The layer as boxes: the base model above, the pieces below, the sum at the end."""
    low = (
        (("B", f"scaling vectors<br>{layer.d}"),)
        if layer.scaling
        else (
            ("A", f"A of each sharer<br>{layer.rank} × {layer.n}"),
            ("w", f"× weights<br>{layer.sharers} numbers"),
            ("B", f"B of each sharer<br>{layer.d} × {layer.rank}"),
            ("s", f"× {layer.scale:g}"),
        )
    )
    lower = "".join(_box(letter, text) for letter, text in low)
    if layer.scaling:
        lower += _box("w", f"× weights<br>{layer.sharers} numbers")
    return (
        '<div class="pp-flow" role="img" aria-label="The input goes through the base model’s matrix and, beside it, '
        'through the pieces; both are added">'
        f"{_box('x', f'input<br>{layer.n}')}<div><div class='pp-lane'>"
        f"{_box('W', f'base model, frozen<br>{layer.d} × {layer.n}')}</div><div class='pp-lane'>{lower}</div></div>"
        f"{_box('y', f'output<br>{layer.d}')}</div>"
    )


def _box(letter: str, text: str) -> str:
    return f'<div class="pp-box s-{letter}"><b><i>{letter}</i></b><small>{text}</small></div>'


def _legend(layer: Layer) -> str:
    table = layer.positions * layer.sharers
    rows = [
        ("x", "what this layer reads, one vector a token"),
        ("W", "the base model’s matrix: the same for everybody, never changed"),
        ("B" if layer.scaling else "A", "what a sharer’s piece scales" if layer.scaling else "what a piece looks for"),
        ("B", "what a piece answers with when it finds it"),
        (
            "w",
            f"{layer.name}’s weights: {layer.positions} × {layer.sharers} = {table:,} numbers, "
            f"{bytes_text(quantised_size(table))}",
        ),
        ("s", f"a fixed factor, alpha / rank = {layer.scale:g}"),
        ("y", "what the next layer reads"),
    ]
    if layer.scaling:
        rows = [row for row in rows if row[1] != "what a piece answers with when it finds it"]
    items = "".join(f"<li>{symbol(letter)} {escape(text)}</li>" for letter, text in rows)
    return f'<ul class="pp-legend">{items}</ul>'


# ---- the toy -------------------------------------------------------------------------------------------------------


def toy_html(steps: Sequence[ToyStep], scale: float, temperature: float) -> str:
    """Both positions with every number between input and output."""
    drawn = "".join(_toy_step(p, step, scale, temperature) for p, step in enumerate(steps))
    return f'<div class="pp-lit pp-toy">{drawn}</div>'


def _toy_step(position: int, step: ToyStep, scale: float, temperature: float) -> str:
    rows = []
    for s, piece in enumerate(step.pieces, start=1):
        kept = f"{piece.weight:.3f}" if piece.kept else "not kept"
        rows.append(
            f"<tr><th scope='row'>sharer {s}</th><td>{symbol('g', _n(piece.score))}</td><td>{symbol('w', kept)}</td>"
            f"<td>{symbol('A', _n(piece.read))}</td><td>{symbol('B', _pair(piece.added))}</td></tr>"
        )
    heads = (
        "<span class='pp-hidden'>sharer</span>",
        "score = cos(g, v)",
        f"weight = softmax(score / {temperature:g})",
        "A v",
        f"adds {scale:g} · w · B (A v)",
    )
    head = "".join(f"<th scope='col'>{text}</th>" for text in heads)
    source = "x" if position == 0 else "y of position 1"
    total = " + ".join([symbol("W", _pair(step.base)), *(symbol("B", _pair(piece.added)) for piece in step.pieces)])
    return (
        f"<section><h3>Position {position + 1}</h3><p>reads {symbol('x', f'v = {_pair(step.v)}')}, which is "
        f"{source}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"<p class='pp-eq'>{symbol('y', '<i>y</i>')} = {symbol('W', '<i>W v</i>')} + what the pieces add = {total} = "
        f"{symbol('y', f'<b>{_pair(step.y)}</b>')}</p></section>"
    )


def _n(value: float) -> str:
    return f"{value + 0.0:.3f}".replace("-0.000", "0.000").replace("-", "−")


def _pair(values: tuple[float, float]) -> str:
    return f"({_n(values[0])}, {_n(values[1])})"
