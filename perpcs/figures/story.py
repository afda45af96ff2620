"""The figure of the overview: from one example's history to an answer, in five steps.

    1 history  ->  2 scores  ->  3 pieces  ->  4 assembled model  ->  5 answer

Steps 2 to 4 are drawn from the stored assembly: one position's scores, the pieces chosen there, all P x S weights.

With it two smaller ones: how small a personal model is, as areas to scale, and the steps of becoming a sharer.

The equations with numbers in them, as HTML whose symbols light up together: in the formula, in the figure below it,
and in the list of what they are. It needs no script: a style sheet sees which symbol is pointed at (style.css).

The toy is the whole method on a screen: 2 positions, 2 sharers, rank 1, vectors of 2. Plain floats, no model.

    v_1 = x                                              the input of the first position
    score_s = g_s . v / (|g_s| |v|)                      a gate against what is read, by cosine
    w = softmax over the k best of (score / temperature)
    y = W v + scale * sum_s w_s B_s (A_s . v)            and v_2 = y: the second position reads it

The arithmetic is that of perpcs/model/basis.py and perpcs/assembly/activations.py; a test holds them together.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import NamedTuple

import numpy as np

from perpcs.assembly.record import Assembly, quantised_size
from perpcs.figures.assembly_map import live_map
from perpcs.figures.columns import column_order, largest_piece, short_names
from perpcs.figures.style import MARK, bytes_text, method_colour, ratio_text
from perpcs.pool.manifest import Sharer
from perpcs.tasks import Item, Query

# ---- the story -------------------------------------------------------------------------------------------------------


SLIPS = 2
"""Items of the history that the figure shows."""
STEPS = ("History", "Scores", "Pieces", "Assembled model", "Answer")


@dataclass(frozen=True)
class Story:
    """What the five steps are drawn from."""

    name: str
    history: tuple[Item, ...]
    assembly: Assembly
    sharers: tuple[Sharer, ...]
    user_bytes: int
    query: Query | None = None
    names: tuple[str, ...] = ()
    """What each sharer is called, in the order of ``sharers``; () = short ids."""
    fit: str = ""
    """The fit check in a sentence; empty if there is none."""
    answers: tuple[tuple[str, str, str], ...] = ()
    """(method, title, text) of answers to the query that are stored with the pool, the personal model's last; may
    be empty.
    """

    @property
    def position(self) -> int:
        """The position that steps 2 and 3 show: the one with the largest weight."""
        return largest_piece(self.assembly)[0]


def story_html(story: Story, *, step: int | None = None, dark: bool = False) -> str:
    """The figure as HTML. ``step`` (0 to 4) highlights one step; None shows all of them equally."""
    drawn = (_history(story), _scores(story), _pieces(story), _assembled(story, dark), _answer(story))
    cards = []
    for index, (title, (body, caption)) in enumerate(zip(STEPS, drawn, strict=True)):
        state = "" if step is None else " pp-on" if index == step else " pp-off"
        cards.append(
            f'<li class="pp-step{state}"><div class="pp-step-head"><span class="pp-num">{index + 1}</span>'
            f"{title}</div><div class='pp-step-body'>{body}</div><p class='pp-cap'>{caption}</p></li>"
        )
    return f'<ol class="pp-story" aria-label="How {html.escape(story.name)} is assembled">{"".join(cards)}</ol>'


def explanation(story: Story, step: int) -> str:
    """One or two sentences on a step, with this example's numbers."""
    a = story.assembly
    router = str(a.router.get("router", "gate"))
    compared = f"the {router}"
    k, position = a.choices.shape[2], a.positions[story.position]
    gated = bool(a.extra.get("gates"))
    read = "No network is trained on them; the base model reads them" + (
        " once." if a.additive else " forwards, and once backwards." if router in ("newton", "gradient") else "."
    )
    by_activation = (
        f"At {position}, the activations of {story.name}'s words are compared with {compared} of each of "
        f"{len(a.sharers)} sharers. A higher bar means that this sharer's piece fits these words better.",
        f"Each item selects its best {k} pieces and weights them; the weight shown is the mean over {a.n_items} items. "
        "Selected pieces act at once, so later layers already read personalised activations.",
    )
    fitted = (
        f"Only the weights are updated, in {a.router.get('steps', 1)} small gradient steps, at all positions at once. "
        "Shown: the final weights at this position."
    )
    solved = (
        "One linear system, built from these numbers for every item and piece, "
        + ("corrects the gates' weights" if gated else "gives the weights")
        + " at all positions at once (a damped Gauss-Newton step). It aims to lower every item's loss by the same "
        "amount. Shown: the largest weights here."
    )
    below = " A negative weight subtracts a sharer's piece." if (a.weights < 0).any() else ""
    by_loss = (
        f"At {position}, one backward pass shows, for the piece of each of {len(a.sharers)} sharers, how much the loss "
        f"on {story.name}'s own words falls with its weight. A higher bar means that this sharer's piece helps more.",
        solved + below
        if router == "newton"
        else fitted + below
        if router.startswith("fit")
        else f"The weight at this position is shared among the {k} pieces that help most.",
    )
    blind = (
        f"The router “{a.router.get('router')}” scores the {len(a.sharers)} sharers without running the model.",
        f"The weights at {position}.",
    )
    return (
        f"{a.n_items} past items of {story.name}. {read}",
        *{"votes": by_activation, "loss": by_loss}.get(a.decided_by, blind),
        f"All {len(a.positions)} positions together give {len(a.positions)} × {len(a.sharers)} weights. That table is "
        f"{story.name}'s whole personal model: {bytes_text(story.user_bytes)}. {story.fit}".rstrip(),
        f"The base model does not change; the weights say how much of each piece to add when writing as {story.name}.",
    )[step]


def _clip(text: str, chars: int) -> str:
    flat = " ".join(text.split())
    return html.escape(flat if len(flat) <= chars else flat[: chars - 1].rstrip() + "…")


def _history(story: Story) -> tuple[str, str]:
    slips = []
    for item in story.history[-SLIPS:]:
        given = f"<small>{_clip(item.x, 54)}</small>" if item.y is not None else ""
        slips.append(f'<div class="pp-slip">{given}<b>{_clip(item.y or item.x, 58)}</b></div>')
    return "".join(slips), f"the last {len(slips)} of {story.assembly.n_items} items"


def _scores(story: Story) -> tuple[str, str]:
    a, p = story.assembly, story.position
    columns = column_order(a.weights, story.sharers, "cluster")
    scores = a.scores[p]
    low, span = float(scores.min()), float(np.ptp(scores)) or 1.0
    chosen = set(np.argsort(-np.abs(a.weights[p]), kind="stable")[: a.choices.shape[2]].tolist())
    heights = {s: 5 + 95 * (float(scores[s]) - low) / span for s in columns}
    bars = "".join(
        f'<i class="{"pp-top" if s in chosen else ""}" style="height:{heights[s]:.0f}%"></i>' for s in columns
    )
    figure = f'<div class="pp-scores" role="img" aria-label="Scores of all sharers at one position">{bars}</div>'
    return figure, f"{len(columns)} sharers at {html.escape(a.positions[p])}"


def _pieces(story: Story) -> tuple[str, str]:
    a, p = story.assembly, story.position
    order = np.argsort(-np.abs(a.weights[p]), kind="stable")[:5]
    largest, names = abs(float(a.weights[p, order[0]])) or 1.0, story.names or short_names(a.sharers)
    rows = "".join(
        f'<div class="pp-bar"><span class="pp-who" title="sharer {html.escape(a.sharers[s])}">'
        f"{html.escape(names[s])}</span>"
        f"<i{' class=pp-below' if a.weights[p, s] < 0 else ''} "
        f'style="width:{100 * abs(a.weights[p, s]) / largest:.0f}%"></i><span>{a.weights[p, s]:.2f}</span></div>'
        for s in order.tolist()
        if a.weights[p, s] != 0
    )
    return rows, "weights of the pieces selected there" if a.additive else "the largest weights there"


def _assembled(story: Story, dark: bool) -> tuple[str, str]:
    a = story.assembly
    columns = column_order(a.weights, story.sharers, "cluster")
    svg = live_map(a.weights, columns, done=len(a.positions), dark=dark, label="All weights of the assembled model")
    return svg, f"{len(a.positions)} × {len(a.sharers)} weights = {bytes_text(story.user_bytes)}"


def _answer(story: Story) -> tuple[str, str]:
    if story.query is None:
        return "", "no held-out item"
    body = f'<div class="pp-slip pp-ask"><small>{_clip(story.query.x, 28)}</small></div>'
    said = [(method_colour(method), title, text) for method, title, text in story.answers[:3]]
    if not said and story.query.gold:
        said = [(MARK, f"what {story.name} wrote", story.query.gold)]
    for at, (colour, title, text) in enumerate(said, start=1):
        room = 76 if at == len(said) else 50  # the personal model's answer should be complete
        body += (
            f'<div class="pp-slip pp-said" style="border-color:{colour}"><small>{html.escape(title)}</small>'
            f"<b>{_clip(text, room)}</b></div>"
        )
    return body, "a held-out item" if story.answers else "a held-out item; ask it on Compare"


# ---- size ------------------------------------------------------------------------------------------------------------


SIDE = 104
"""Pixels of the larger square's side."""


def size_html(user_bytes: int, adapter_bytes: int) -> str:
    """Two squares whose areas are the two sizes, to scale."""
    small = SIDE * (user_bytes / adapter_bytes) ** 0.5
    label = f"Areas to scale: {bytes_text(adapter_bytes)} against {bytes_text(user_bytes)}"
    return (
        f'<div class="pp-size" role="img" aria-label="{label}">{_square(SIDE, "oppu")}'
        f"<p><b>{bytes_text(adapter_bytes)}</b><br>an adapter trained<br>for one person</p>"
        f"{_square(small, 'perpcs')}<p><b>{bytes_text(user_bytes)}</b>, {ratio_text(user_bytes, adapter_bytes)}<br>"
        "one person’s weights<br>(areas to scale)</p></div>"
    )


def _square(side: float, method: str) -> str:
    return f'<i style="width:{side:.1f}px;height:{side:.1f}px;background:{method_colour(method)}"></i>'


# ---- steps of sharing ------------------------------------------------------------------------------------------------


SHARING_STEPS = ("Check the text", "Train pieces", "Train gates", "Choose", "Review", "Add to the copy")


def steps_html(now: int) -> str:
    """The line with one step marked as the present one; ``now`` = number of steps when all are done."""
    cells = []
    for index, title in enumerate(SHARING_STEPS):
        state, said = (
            ("pp-done", "done") if index < now else ("pp-now", "now") if index == now else ("pp-later", "later")
        )
        current = ' aria-current="step"' if index == now else ""
        cells.append(
            f'<li class="{state}"{current}><span class="pp-num" aria-hidden="true">{"✓" if index < now else index + 1}'
            f'</span>{title}<span class="pp-hidden">, {said}</span></li>'
        )
    return f'<ol class="pp-steps" aria-label="Steps of sharing">{"".join(cells)}</ol>'


# ---- the toy's numbers -----------------------------------------------------------------------------------------------


Vector = tuple[float, float]
TOY_SHARERS = 2


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
    """(what the sharer is called in a sentence, weight) of the largest weights there, largest first."""
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
    numbered = list(enumerate(layer.top, start=1))
    terms = [f"{symbol('w', f'<b>{weight:.3f}</b>')} · {_piece(number, layer)}" for number, (_, weight) in numbered]
    who = "; ".join(f"{number} is {escape(name)}" for number, (name, _) in numbered)
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
        f'<p class="pp-cap">The same at {escape(layer.label)}, for {escape(layer.name)}. {who}.</p>'
        f'<div class="pp-eq">{live}</div>{_flow(layer)}{_legend(layer)}</div>'
    )


def _piece(number: int, layer: Layer) -> str:
    shown = f"<sub>{number}</sub>"
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
    low_rank = (("A", "of a piece: maps x to a few numbers"), ("B", "of a piece: maps these to its part of the output"))
    rows = [
        ("x", "what this layer reads, one vector a token"),
        ("W", "the base model’s matrix: the same for everybody, never changed"),
        *((("B", "what a sharer’s piece scales"),) if layer.scaling else low_rank),
        (
            "w",
            f"{layer.name}’s weights: {layer.positions} × {layer.sharers} = {table:,} numbers, "
            f"{bytes_text(quantised_size(table))}",
        ),
        ("s", f"a fixed factor, alpha / rank = {layer.scale:g}"),
        ("y", "this layer’s output"),
    ]
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
