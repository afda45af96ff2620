"""Everything about one piece of an assembly, from its stored numbers alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perpcs.assembly.record import Assembly
from perpcs.figures.order import short_names
from perpcs.pool.manifest import is_number


@dataclass(frozen=True)
class Voter:
    """One history item that selected the piece."""

    item: int
    """Index into the history, oldest first."""
    rank: int
    """1 = this item's first choice at the position."""
    vote: float
    """The item's own weight for the piece."""


@dataclass(frozen=True)
class PieceFacts:
    """The contents of the panel for a clicked piece."""

    position: int
    sharer: int
    label: str
    sharer_id: str
    sharer_name: str
    """The id without the prefix that all sharers have in common."""
    weight: float
    score: float
    score_rank: int
    """1 = the best mean score at the position."""
    n_sharers: int
    n_items: int
    voters: tuple[Voter, ...]
    """Largest vote first. Empty if no item selected the piece: that is "not selected", not a weight of 0."""
    router: dict[str, Any]
    """Router and its options, as they were run."""
    k: int = 0
    """The most pieces that an item chose at a position."""
    additive: bool = True
    """Whether the weight is the mean of the votes; if a router uses the loss, votes only show which items gain."""
    decided_by: str = "votes"
    """``votes``, ``loss`` or ``router``, as of the assembly."""
    length: float | None = None
    """Newton: eta, the step length."""
    damping: float | None = None
    """Newton: lambda."""

    @property
    def selected(self) -> bool:
        return bool(self.voters) if self.additive else self.weight != 0


def piece_facts(assembly: Assembly, position: int, sharer: int) -> PieceFacts:
    """The facts of one piece.

    Raises:
        IndexError: when the assembly has no such position or sharer.
    """
    if not (0 <= position < len(assembly.positions) and 0 <= sharer < len(assembly.sharers)):
        raise IndexError(f"no piece at position {position} of sharer {sharer}")
    items, ranks = np.nonzero(assembly.choices[:, position, :] == sharer)
    voters = [
        Voter(int(i), int(r) + 1, float(assembly.votes[i, position, r])) for i, r in zip(items, ranks, strict=True)
    ]
    scores = assembly.scores[position]
    length, damping = (assembly.extra.get(name) for name in ("length", "damping"))
    return PieceFacts(
        position=position,
        sharer=sharer,
        label=assembly.positions[position],
        sharer_id=assembly.sharers[sharer],
        sharer_name=short_names(assembly.sharers)[sharer],
        weight=float(assembly.weights[position, sharer]),
        score=float(scores[sharer]),
        score_rank=int((scores > scores[sharer]).sum()) + 1,
        n_sharers=len(assembly.sharers),
        n_items=assembly.n_items,
        voters=tuple(sorted(voters, key=lambda voter: (-voter.vote, voter.item))),
        router=assembly.router,
        k=assembly.choices.shape[2],
        additive=assembly.additive,
        decided_by=assembly.decided_by,
        length=length if is_number(length) else None,
        damping=damping if is_number(damping) else None,
    )


def largest_piece(assembly: Assembly, rows: Sequence[int] | None = None) -> tuple[int, int]:
    """(position, sharer) of the largest weight, among ``rows`` if given: what a map shows before any click."""
    chosen = list(rows) if rows is not None else list(range(len(assembly.positions)))
    best = int(np.argmax(np.abs(assembly.weights[chosen])))
    return chosen[best // len(assembly.sharers)], best % len(assembly.sharers)


def selected_pieces(assembly: Assembly) -> np.ndarray:
    """Which pieces any item selected, bool (P, S): separates "not selected" from a weight that rounds to 0."""
    if not assembly.additive:
        return assembly.weights != 0
    n, p, k = assembly.choices.shape
    chosen = np.zeros((p, len(assembly.sharers) + 1), dtype=bool)  # the last column takes the -1 of "none"
    rows = np.broadcast_to(np.arange(p)[None, :, None], (n, p, k))
    chosen[rows.ravel(), assembly.choices.astype(np.int64).ravel()] = True
    return chosen[:, :-1] | (assembly.weights > 0)


def weight_equation(facts: PieceFacts, shown: int = 2) -> str:
    """LaTeX: how the weight was computed, with this piece's numbers; the largest ``shown`` votes are written out."""
    if str(facts.router.get("router")).startswith("fit"):
        steps = facts.router.get("steps", 0)
        return (
            r"\begin{aligned} w &\leftarrow w - \eta\, \tfrac{\partial}{\partial w} \bigl( \text{loss} + "
            rf"\tfrac{{\lambda}}{{T}} \textstyle\sum w^2 \bigr) \\ w_{{p,s}} &= \mathbf{{{facts.weight:.3f}}} "
            rf"\text{{ after {steps} steps from }} 0 \end{{aligned}}"
        )
    if facts.router.get("router") == "newton":
        found = (("\\eta", facts.length), ("\\lambda", facts.damping))
        said = r",\ ".join(f"{name} = {value:.2f}" for name, value in found if value is not None)
        return (
            r"\begin{aligned} g_i &= -\partial\, \text{loss}_i / \partial w \\ "
            r"w &= \eta\, G^{\top} \bigl( G G^{\top} + \lambda \bar{k} I \bigr)^{-1} \mathbf{1} \\ "
            rf"w_{{p,s}} &= \mathbf{{{facts.weight:.3f}}}" + (rf"\quad ({said})" if said else "") + r" \end{aligned}"
        )
    if facts.router.get("router") == "gradient":
        return (
            r"\begin{aligned} g_{p,s} &= -\tfrac{1}{N} \textstyle\sum_i \partial\, \text{loss}_i / \partial w_{p,s} = "
            rf"{facts.score:.3f} \\ w_{{p,s}} &= \operatorname{{softmax}}_k(g_p / \text{{standard error}})_s = "
            rf"\mathbf{{{facts.weight:.3f}}} \end{{aligned}}"
        )
    blind = {
        "retrieval": r"\operatorname{softmax}_k\bigl(\cos(e_u, e_s)\bigr)",
        "uniform": r"1 / S",
        "random": r"1 / k \text{ of a random selection}",
    }.get(str(facts.router.get("router")))
    if blind:
        return rf"w_{{p,s}} = {blind} = \mathbf{{{facts.weight:.3f}}}"
    if facts.router.get("half_life"):
        return (
            r"\begin{aligned} w_{p,s} &= \textstyle\sum_i \omega_i\, w_{i,p,s} = "
            rf"\mathbf{{{facts.weight:.3f}}} \\ \omega_i &\propto 2^{{-\text{{age}}_i / "
            rf"{facts.router['half_life']}}} \end{{aligned}}"
        )
    terms = [f"{voter.vote:.2f}" for voter in facts.voters[:shown]] or ["0"]
    more = len(facts.voters) - shown
    if more > 0:
        terms.append(rf"{sum(voter.vote for voter in facts.voters[shown:]):.2f}_{{\text{{{more} more}}}}")
    total = rf"\tfrac{{1}}{{{facts.n_items}}}({' + '.join(terms)}) = \mathbf{{{facts.weight:.3f}}}"
    return (
        rf"\begin{{aligned}} w_{{p,s}} &= \tfrac{{1}}{{N}} \textstyle\sum_i w_{{i,p,s}} \\ &= {total} \end{{aligned}}"
    )


def update_equation(facts: PieceFacts, scale: float, kind: str = "lora") -> str:
    """LaTeX: what a piece of that kind adds at its position."""
    if kind == "ia3":
        return rf"y = (W x) \odot (1 + \cdots + \mathbf{{{facts.weight:.3f}}}\, V_s + \cdots)"
    return rf"y = W x + {scale:g} \cdot (\cdots + \mathbf{{{facts.weight:.3f}}}\, B_s A_s x + \cdots)"
