"""The whole method on a screen: 2 positions, 2 sharers, rank 1, vectors of 2. Plain floats, no model.

    v_1 = x                                              the input of the first position
    score_s = g_s . v / (|g_s| |v|)                      a gate against what is read, by cosine
    w = softmax over the k best of (score / temperature)
    y = W v + scale * sum_s w_s B_s (A_s . v)            and v_2 = y: the second position reads it

The arithmetic is that of perpcs/model/basis.py and perpcs/assembly/activations.py; a test holds them together.
"""

import math
from dataclasses import dataclass, field, replace

Vector = tuple[float, float]
SHARERS = POSITIONS = 2


@dataclass(frozen=True)
class Piece:
    """One sharer at one position: A (1, 2), B (2, 1) and the gate (2)."""

    A: Vector
    B: Vector
    g: Vector


@dataclass(frozen=True)
class Place:
    """One position: the base model's matrix by rows, and the sharers' pieces."""

    W: tuple[Vector, Vector]
    pieces: tuple[Piece, Piece]


@dataclass(frozen=True)
class Toy:
    """Everything that may be edited."""

    x: Vector = (1.0, 0.5)
    places: tuple[Place, Place] = field(
        default=(
            Place(
                W=((1.0, 0.0), (0.0, 1.0)),
                pieces=(Piece((1.0, 0.0), (0.0, 1.0), (1.0, 0.2)), Piece((0.0, 1.0), (1.0, 0.0), (-0.5, 1.0))),
            ),
            Place(
                W=((0.5, 0.5), (-0.5, 0.5)),
                pieces=(Piece((1.0, 1.0), (0.5, 0.0), (0.2, 1.0)), Piece((1.0, -1.0), (0.0, 0.5), (1.0, -0.4))),
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


def run(toy: Toy) -> tuple[ToyStep, ToyStep]:
    """Both positions, one after the other."""
    first = _step(toy, toy.places[0], toy.x)
    return first, _step(toy, toy.places[1], first.y)


def with_number(toy: Toy, name: str, value: float) -> Toy:
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


def numbers(toy: Toy) -> dict[str, float]:
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
    order = sorted(range(SHARERS), key=lambda s: -scores[s])[: toy.k]  # equal scores keep the sharers' order
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
