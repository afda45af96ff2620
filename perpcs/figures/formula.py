"""The equations with numbers in them, as HTML whose symbols light up together: in the formula, in the figure below it,
and in the list of what they are. It needs no script: a style sheet sees which symbol is pointed at (style.css).
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from perpcs.assembly.record import quantised_size
from perpcs.figures.style import bytes_text

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
