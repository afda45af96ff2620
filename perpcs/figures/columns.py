"""What a map shows, without drawing it: the order and names of its rows and columns, one piece's numbers, and what an
assembly comes to in sentences, the titles of the map.

All of it follows from the stored numbers of an assembly.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import numpy as np

from perpcs.assembly.explain import contributions, fewest
from perpcs.assembly.record import Assembly
from perpcs.pool.manifest import Sharer, is_number
from perpcs.pool.portraits import Portraits

# ---- order and names -------------------------------------------------------------------------------------------------


Sort = Literal["gain", "cluster", "total", "id"]
SORTS: dict[str, str] = {"gain": "Gain", "cluster": "Cluster", "total": "Weight", "id": "Number"}
LAYERS = "layers"
"""In place of a module: a row for each layer, the mean over its modules."""
ALL = "all"
"""In place of a module: all positions."""
MOST_NAMES = 42
"""More columns than this are too narrow for a name each."""
LETTER = 11
"""Pixels that a row's label needs."""
_LABEL = re.compile(r"layer (\d+), (.+)")


def column_order(
    weights: np.ndarray, sharers: Sequence[Sharer], sort: str, gain: np.ndarray | None = None
) -> list[int]:
    """Sharer indices from left to right. Inside a cluster, sharers with more weight come first; ties keep pool order.

    Args:
        weights: (P, S), to be summed; negative ones count by their absolute value.
        sort: one of ``SORTS``.
        gain: what each sharer brings, (S,), for the order of that name; None = the sum of weights.
    """
    total = np.abs(weights).sum(axis=0)
    if sort == "gain" and gain is not None:
        return sorted(range(len(sharers)), key=lambda s: (-gain[s], s))
    if sort in ("total", "gain"):
        return sorted(range(len(sharers)), key=lambda s: (-total[s], s))
    if sort == "id":
        return sorted(range(len(sharers)), key=lambda s: sharers[s].id)
    return sorted(range(len(sharers)), key=lambda s: (sharers[s].cluster, -total[s], s))


def clusters_in_order(order: Sequence[int], sharers: Sequence[Sharer]) -> list[tuple[int, int, int]]:
    """Runs of the same cluster along the columns: (cluster, first column, last column)."""
    runs: list[tuple[int, int, int]] = []
    for column, s in enumerate(order):
        cluster = sharers[s].cluster
        if runs and runs[-1][0] == cluster:
            runs[-1] = (cluster, runs[-1][1], column)
        else:
            runs.append((cluster, column, column))
    return runs


def split_label(label: str) -> tuple[int, str]:
    """``layer 3, v_proj`` as (3, "v_proj"); a label of another form is its own module in layer 0."""
    match = _LABEL.fullmatch(label)
    return (int(match[1]), match[2]) if match else (0, label)


def short_label(label: str) -> str:
    """``layer 3, v_proj`` as ``3 v`` for axis ticks."""
    layer, module = split_label(label)
    return f"{layer} {module.removesuffix('_proj')}"


def short_names(ids: Sequence[str]) -> list[str]:
    """Ids without the prefix that all of them share, cut after a separator: ``t7-candidate-00002`` as ``00002``."""
    ends = zip(min(ids, default=""), max(ids, default=""), strict=False)  # the two with the shortest common prefix
    prefix = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], ends)) if len(ids) > 1 else ""
    cut = max((prefix.rfind(mark) for mark in "-_/. "), default=-1) + 1
    return [name[cut:] or name for name in ids]


def cluster_words(order: Sequence[int], sharers: Sequence[Sharer]) -> dict[int, str]:
    """A word for each cluster: its first term that no earlier cluster uses."""
    words: dict[int, str] = {}
    for cluster, first, _ in clusters_in_order(order, sharers):
        terms = [re.sub(r"^\W+|\W+$", "", term) for term in sharers[order[first]].terms]
        free = [term for term in terms if term and term not in words.values()]
        words[cluster] = free[0] if free else f"cluster {cluster}"
    return words


def named_rows(count: int, height: int) -> range:
    """Which of a map's rows are named: all, or every n-th if rows are lower than a letter."""
    return range(0, count, max(1, -(-LETTER // height)))


def column_ticks(names: Sequence[str], columns: Sequence[int], panels: int = 1) -> tuple[list[int], list[str]]:
    """Which columns of a map are named and how: all, or every n-th where columns are narrower than a line."""
    at = list(range(0, len(columns), max(1, -(-len(columns) * panels // MOST_NAMES))))
    return at, [names[columns[x]] for x in at]


def row_ticks(positions: Sequence[str], rows: Sequence[int], height: int) -> tuple[list[int], list[str]]:
    """Which rows of a map are labelled and how: all of them, or every n-th if rows are lower than a letter.

    Args:
        rows: positions from top to bottom.
        height: pixels of a row.
    """
    at = list(named_rows(len(rows), height))
    return at, [short_label(positions[rows[y]]) for y in at]


def modules_of(positions: Sequence[str]) -> list[str]:
    """The modules of a pool, each once, in order of first appearance."""
    return list(dict.fromkeys(split_label(label)[1] for label in positions))


def rows_of(positions: Sequence[str], module: str | None) -> list[int]:
    """Positions of one module, or all for None and ``LAYERS``, first layer first."""
    whole = module in (None, LAYERS)
    return [p for p, label in enumerate(positions) if whole or split_label(label)[1] == module]


# ---- one piece -------------------------------------------------------------------------------------------------------


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
    from_gates: bool = False
    """Newton: whether the step began at the gates' weights."""

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
        from_gates=bool(assembly.extra.get("gates")),
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
        start = r"v_{\text{gates}} + " if facts.from_gates else ""
        end = r" \\ " + said.replace("=", "&=", 1) if said else ""
        return (
            r"\begin{aligned} g_i &= -\partial\, \text{loss}_i / \partial w \\ "
            rf"w &= {start}\eta\, G^{{\top}} \bigl( G G^{{\top}} + \lambda \bar{{k}} I \bigr)^{{-1}} \mathbf{{1}} \\ "
            rf"w_{{p,s}} &= \mathbf{{{facts.weight:.3f}}}{end} \end{{aligned}}"
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
    if kind == "adapter":
        return rf"y = W x + \cdots + \mathbf{{{facts.weight:.3f}}}\, B_s\, \mathrm{{gelu}}(A_s W x) + \cdots"
    if kind == "prefix":
        return rf"y = W (x + \cdots + \mathbf{{{facts.weight:.3f}}}\, \lambda_s (p_s - x) + \cdots)"
    return rf"y = W x + {scale:g} \cdot (\cdots + \mathbf{{{facts.weight:.3f}}}\, B_s A_s x + \cdots)"


# ---- rows and columns that are drawn ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """The rows of a map over all S sharers."""

    groups: tuple[tuple[int, ...], ...]
    """The positions of each row, from top to bottom."""
    labels: tuple[str, ...]
    """Of each row, in full."""
    ticks: tuple[str, ...]
    """Of each row, short."""
    weights: np.ndarray
    """(rows, S), means over a row's positions."""
    scores: np.ndarray
    """(rows, S), means over a row's positions."""
    picked: np.ndarray
    """(rows, S): whether any item selected a piece there."""
    opens: np.ndarray
    """(rows, S): the position that a click on a mark opens, the one with the largest weight."""
    effective: np.ndarray
    """(rows,)"""
    top: np.ndarray
    """(rows,): share of the largest weight."""

    def row_of(self, position: int) -> int | None:
        """The row that holds a position; None where it is not drawn."""
        return next((row for row, group in enumerate(self.groups) if position in group), None)


def grid_of(assembly: Assembly, module: str | None = None) -> Grid:
    """The rows of a map.

    Args:
        module: only positions of this module; ``LAYERS`` = one row a layer; None = all positions.
    """
    if module == LAYERS:
        layers = [split_label(label)[0] for label in assembly.positions]
        groups = tuple(tuple(p for p, at in enumerate(layers) if at == layer) for layer in sorted(set(layers)))
    else:
        groups = tuple((p,) for p in rows_of(assembly.positions, module))
    of = assembly.positions
    labels = tuple(of[group[0]] if len(group) == 1 else f"layer {split_label(of[group[0]])[0]}" for group in groups)
    size, picked = np.abs(assembly.weights), selected_pieces(assembly)
    return Grid(
        groups,
        labels,
        tuple(short_label(label) if "," in label else label.removeprefix("layer ") for label in labels),
        _means(assembly.weights, groups),
        _means(assembly.scores, groups),
        np.stack([picked[list(group)].any(axis=0) for group in groups]),
        np.stack([np.array(group)[size[list(group)].argmax(axis=0)] for group in groups]),
        _means(assembly.effective_sharers(), groups),
        _means(assembly.top_share(), groups),
    )


def _means(values: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    return np.stack([values[list(group)].mean(axis=0) for group in groups])


# ---- sentences -------------------------------------------------------------------------------------------------------


MOST = 0.9
"""The share of what all pieces bring that the shown sharers must keep."""


def takeaway(assembly: Assembly, name: str) -> str:
    """The title of a map: its main finding in one sentence, with n."""
    effective = float(np.median(assembly.effective_sharers()))
    about = f"{effective:.0f}" if effective >= 10 else f"{effective:.1f}"
    return (
        f"{whose(name)} model uses {assembly.distinct_sharers()} of {len(assembly.sharers)} sharers, "
        f"effectively {about} per layer"
    )


def whose(name: str) -> str:
    """``Your``, ``This`` or ``Ada’s``."""
    return {"You": "Your", "me": "This"}.get(name, f"{name}’s")


def took(assembly: Assembly, name: str, portraits: Portraits) -> str:
    """What somebody took from whom, and what would be missing; empty where no piece has weight."""
    own = contributions(assembly)
    needed = fewest(assembly, MOST)
    if not needed:
        return ""
    first = needed[0]
    parts = [
        f"{whose(name)} model takes {100 * own[first]:.0f} % of {brought(assembly)} {_from(assembly, first, portraits)}"
    ]
    if len(needed) > 1:
        second = needed[1]
        parts.append(f"{100 * own[second]:.0f} % {_from(assembly, second, portraits)}")
    rest = (
        f"{len(needed)} of {len(assembly.sharers)} sharers account for {100 * MOST:.0f} %"
        if len(needed) > 2
        else "almost nothing comes from the others"
    )
    return f"{' and '.join(parts)}; {rest}. Without the first, {100 * (1 - own[first]):.0f} % would remain."


def _from(assembly: Assembly, number: int, portraits: Portraits) -> str:
    """A sharer's pieces are added, or most of them subtracted: then they say how this person does not write."""
    how = "from" if float(assembly.weights[:, number].sum()) >= 0 else "by moving away from"
    return f"{how} {called(assembly.sharers, number, portraits)}"


def brought(assembly: Assembly) -> str:
    """What ``contributions`` are shares of, in words."""
    return "the expected gain" if assembly.decided_by == "loss" else "all weight"


def called(sharers: Sequence[str], number: int, portraits: Portraits) -> str:
    """A sharer in a sentence: by their portrait, else by their number."""
    name = portraits.of(sharers[number]).name
    return f"“{name}”" if name else f"sharer {short_names(sharers)[number]}"


def sharer_names(sharers: Sequence[str], portraits: Portraits, most: int = 26) -> list[str]:
    """A name for each sharer: from their portrait, else their number."""
    numbers = short_names(sharers)
    named = [portraits.of(id).name or number for id, number in zip(sharers, numbers, strict=True)]
    return [name if len(name) <= most else name[: most - 1].rstrip(" ,") + "…" for name in named]
