"""Analyses of a stored assembly that do not run the model: the effect of an item, a sharer or a layer.

    leave one out     additive weights are a mean over the items, so without item i they are (sum - w_i) / (N - 1)
    moved             half the L1 distance of two positions' shares of weight: 0 = the same mix, 1 = nothing in common
    agreement         what two mixes have in common: 1 - moved

Weights count by their size, as everywhere. Nothing here loads torch. Token scores need a pass of the model: only their
records stand here, ``assemble.py`` fills them. How large an update is beside its layer: ``export.update_norms``.

The fit check, from the record too, is how much the likelihood of a person's newest items improved.

The router `newton` holds out the newest fifth of the items in a first pass and records, for each of them, the nats per
target token with the base model and with weights from the older items alone (``Assembly.extra["check"]``). The
difference is taken item by item. Its interval is Student's t over these items: they are too few for a bootstrap, whose
interval would be too narrow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np

from perpcs.assembly.record import Assembly
from perpcs.assembly.router import FEWEST_TO_CHECK

# ---- what follows ----------------------------------------------------------------------------------------------------


END = "end of text"
"""Placeholder for the token that ends an item's own text."""
OVER_USED = 3.0
"""A sharer who holds more than so many times an even share of all weight is over-used."""


@dataclass(frozen=True)
class ItemTokens:
    """One history item's target tokens and what the piece scored when each was about to be written."""

    item: int
    """Index into the history, oldest first."""
    tokens: tuple[str, ...]
    """The person's own text in pieces; the token that ends it is ``END``."""
    scores: tuple[float, ...]


@dataclass(frozen=True)
class TokenScores:
    """The scores of one piece over some items."""

    router: str
    """What scored: the person's own router, or ``prototype`` in its place."""
    stands_in: bool
    """Whether it stands in for a router that scores no tokens."""
    items: tuple[ItemTokens, ...]


def contributions(assembly: Assembly, positions: Sequence[int] | None = None) -> Annotated[np.ndarray, "S"]:
    """Each sharer's share of what all pieces bring, (S,), summing to 1; all 0 where no piece has weight.

    With routers that use the loss: weight times gain, summed over positions, the first-order fall of the history's
    loss. It is below 0 for a sharer who only balances others. With others: the share of all weight.

    Args:
        positions: only these; None = all.
    """
    at = slice(None) if positions is None else list(positions)
    weights, scores = assembly.weights[at], assembly.scores[at]
    by_gain = assembly.decided_by == "loss"
    own = (weights * scores if by_gain else np.abs(weights)).sum(axis=0, dtype=np.float64)
    total = float(own.sum())
    return own / total if total > 0 else np.zeros_like(own)


def fewest(assembly: Assembly, share: float = 0.9) -> list[int]:
    """The fewest sharers who together bring this share of what all pieces bring, the largest first; [] for none."""
    by_sharer = contributions(assembly)
    if not by_sharer.any():
        return []
    order = np.argsort(-by_sharer, kind="stable")
    return order[: int(np.argmax(np.cumsum(by_sharer[order]) >= share - 1e-9)) + 1].tolist()


@dataclass(frozen=True)
class Change:
    """One piece whose weight differs between two tables."""

    position: int
    sharer: int
    before: float
    after: float


@dataclass(frozen=True)
class Usage:
    """How evenly sharers are used. S sharers."""

    shares: np.ndarray
    """Each one's share of all weight, (S,); adds up to 1, or all 0 where there is no weight."""
    dormant: tuple[int, ...]
    """Sharers without any weight."""
    over_used: tuple[int, ...]
    """Sharers with more than ``OVER_USED`` times an even share, most first."""


# ---- two tables of weights ------------------------------------------------------------------------------------------


def shares(weights: Annotated[np.ndarray, "P S"]) -> Annotated[np.ndarray, "P S"]:
    """Each piece's share of its position's weight, by size: (P, S) -> (P, S); 0 where a position has none."""
    size = np.abs(weights)
    total = size.sum(axis=-1, keepdims=True)
    return np.divide(size, total, out=np.zeros_like(size), where=total > 0)


def moved(before: Annotated[np.ndarray, "P S"], after: Annotated[np.ndarray, "P S"]) -> Annotated[np.ndarray, "P"]:
    """How much of each position's mix changed, (P,): 0 = the same, 1 = nothing in common.

    A position with weight on one side only has moved completely. The signs of weights count: a piece that is added on
    one side and subtracted on the other has nothing in common.
    """
    return _distance(_signed(before), _signed(after))


def _signed(weights: np.ndarray) -> np.ndarray:
    return np.copysign(shares(weights), weights)


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    distance = np.abs(one - other).sum(axis=-1) / 2
    return np.where(one.any(axis=-1) != other.any(axis=-1), 1.0, np.minimum(distance, 1.0))


def agreement(one: Annotated[np.ndarray, "P S"], other: Annotated[np.ndarray, "P S"]) -> Annotated[np.ndarray, "P"]:
    """What two tables have in common at each position, (P,): 1 = the same mix, 0 = no piece in common."""
    return 1.0 - moved(one, other)


def changes(before: Annotated[np.ndarray, "P S"], after: Annotated[np.ndarray, "P S"], count: int = 10) -> list[Change]:
    """The pieces whose weights differ most, largest difference first."""
    size = np.abs(after - before).ravel()
    order = np.argsort(-size, kind="stable")[:count]
    cells = [divmod(int(at), before.shape[1]) for at in order if size[at] > 0]
    return [Change(p, s, float(before[p, s]), float(after[p, s])) for p, s in cells]


# ---- what if --------------------------------------------------------------------------------------------------------


def item_influence(assembly: Assembly) -> Annotated[np.ndarray, "N"]:
    """How much the mix would change without each item, averaged over positions: (N,), 0 to 1.

    Equal to ``moved(weights, without_item(i)).mean()`` for every i, in one pass over the items.

    Raises:
        ValueError: where the weights are not the mean of the items' votes.
    """
    if not assembly.additive:
        raise ValueError("these weights are not the mean of the items' votes")
    n, half_life = assembly.n_items, int(assembly.router.get("half_life", 0))
    sizes = 0.5 ** (np.arange(n)[::-1] / half_life) if half_life else np.ones(n)
    younger = 0.5 ** (-1 / half_life) if half_life else 1.0  # items before the one left out count as one item newer
    before, after = np.zeros(assembly.weights.shape), np.zeros(assembly.weights.shape)
    for i in range(n):
        after += sizes[i] * _item(assembly, i)
    out, whole = np.zeros(n), shares(assembly.weights)
    for i in range(n):
        own = sizes[i] * _item(assembly, i)
        after -= own
        left = younger * before + after
        out[i] = _distance(whole, shares(np.where(left > 1e-9, left, 0))).mean()
        before += own
    return out


def _item(assembly: Assembly, index: int) -> np.ndarray:
    """One item's own weights, (P, S)."""
    choices, votes = assembly.choices[index].astype(np.int64), assembly.votes[index].astype(np.float64)
    dense = np.zeros((choices.shape[0], len(assembly.sharers) + 1))  # last column takes the -1 of "none"
    np.put_along_axis(dense, choices % dense.shape[1], votes, axis=1)
    return dense[:, :-1]


def item_sharers(assembly: Assembly, index: int, count: int = 5) -> list[tuple[int, float]]:
    """Which sharers one item voted for: (sharer, share of all its votes), largest first; empty where no item votes."""
    total = _item(assembly, index).sum(axis=0)
    total = total / (float(total.sum()) or 1.0)
    return [(int(s), float(total[s])) for s in np.argsort(-total, kind="stable")[:count] if total[s] > 0]


def without_positions(assembly: Assembly, positions: Sequence[int]) -> Assembly:
    """The person with the base model alone at some positions."""
    keep = np.ones((len(assembly.positions), 1), dtype=np.float32)
    keep[list(positions)] = 0
    return replace(assembly, weights=assembly.weights * keep)


def most_kept(assembly: Assembly) -> int:
    """The largest k that changes something in ``with_k``."""
    return int(assembly.choices.shape[2]) if assembly.additive else int((assembly.weights != 0).sum(axis=1).max())


def fills_up(assembly: Assembly) -> bool:
    """Whether the weights at a position have a sum that fewer pieces share: not where a step on the loss found them."""
    return not str(assembly.router.get("router")).startswith(("fit", "newton"))


def with_k(assembly: Assembly, k: int) -> Assembly:
    """The person with at most k pieces at a position: of every item where items chose, else of the whole.

    A softmax over fewer of the same scores is the larger one's, scaled up again; so are the weights here, where they
    ``fills_up``. Elsewhere the small ones are cut off and the others stay as they are.

    What it leaves out: with fewer pieces, later layers would have read a slightly different text.
    """
    if assembly.additive:
        kept = np.where(np.arange(assembly.choices.shape[2]) < k, assembly.votes.astype(np.float32), 0)
        had, left = assembly.votes.astype(np.float32).sum(axis=2, keepdims=True), kept.sum(axis=2, keepdims=True)
        votes = (kept * np.divide(had, left, out=np.zeros_like(left), where=left > 0)).astype(np.float16)
        cut = replace(assembly, votes=votes, choices=np.where(kept > 0, assembly.choices, np.int16(-1)))
        mean = sum(share * _item(cut, i) for i, share in enumerate(cut.item_shares()))
        return replace(cut, weights=np.asarray(mean, dtype=np.float32))
    size = np.abs(assembly.weights)
    rank = (-size).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    weights = np.where(rank < k, assembly.weights, 0)
    if fills_up(assembly):
        left = np.abs(weights).sum(axis=1, keepdims=True)
        weights = weights * np.divide(size.sum(axis=1, keepdims=True), left, out=np.zeros_like(left), where=left > 0)
    return replace(assembly, weights=weights.astype(np.float32))


# ---- sharers --------------------------------------------------------------------------------------------------------


def usage(tables: Sequence[np.ndarray]) -> Usage:
    """How much of all weight each sharer holds, over one person's table (P, S) or those of several people alike."""
    each = [np.abs(table).sum(axis=0) / (float(np.abs(table).sum()) or 1.0) for table in tables]
    share = np.mean(each, axis=0) if each else np.zeros(0)
    even = 1 / len(share) if len(share) else 0.0
    over = [int(s) for s in np.argsort(-share, kind="stable") if share[s] > OVER_USED * even]
    return Usage(share, tuple(int(s) for s in np.flatnonzero(share == 0)), tuple(over))


# ---- the fit check ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FitCheck:
    """The result on the held-out items; nats per target token."""

    items: int
    before: float
    """Mean with the base model."""
    after: float
    """Mean with weights from the older items."""
    low: float | None
    """95 % interval of the mean difference, after - before; None for a single item."""
    high: float | None
    moved: bool
    """Whether the weights differ from the base model at all."""

    @property
    def difference(self) -> float:
        """Mean over the items of after - before; negative if their words became more likely."""
        return self.after - self.before

    @property
    def helps(self) -> bool:
        return self.moved and self.difference < 0

    @property
    def sure(self) -> bool:
        """Whether the interval excludes 0."""
        return self.high is not None and self.low is not None and (self.high < 0 or self.low > 0)


def is_checked(assembly: Assembly) -> bool:
    """Whether the router of a record runs this check."""
    return assembly.router.get("router") == "newton"


def fit_check(assembly: Assembly) -> FitCheck | None:
    """The check in a record; None if there is none or it is malformed: a record may come from anyone."""
    found: Any = assembly.extra.get("check")
    try:
        before, after = (np.asarray(found[name], dtype=np.float64) for name in ("before", "after"))
    except (KeyError, TypeError, ValueError):
        return None
    if not (before.ndim == 1 and before.shape == after.shape and len(before) > 0):
        return None
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None
    by, n = after - before, len(before)
    mean, half = float(by.mean()), None
    if n > 1:
        from scipy.special import stdtrit  # pages draw without it

        half = float(stdtrit(n - 1, 0.975)) * float(by.std(ddof=1)) / math.sqrt(n)
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return FitCheck(n, float(before.mean()), float(after.mean()), low, high, bool(assembly.weights.any()))


def fit_sentence(assembly: Assembly, whose: str = "your") -> str:
    """The check in one line of plain text.

    Args:
        whose: ``your``, or a possessive: ``Nell’s``.
    """
    if not is_checked(assembly):
        router = str(assembly.router.get("router", "gate"))
        return f"Not checked on held-out items: the router “{router}” does not support this; newton does."
    check = fit_check(assembly)
    if check is None:
        few = assembly.n_items < FEWEST_TO_CHECK
        return f"Too few items to check ({FEWEST_TO_CHECK} are needed)." if few else "The record contains no check."
    items = f"{whose} newest {'item' if check.items == 1 else f'{check.items} items'} (held out)"
    if not check.moved:
        return (
            f"This pool does not help with {whose} text: no step away from the base model predicts it better "
            f"({check.before:.2f} nats per target token on {items})."
        )
    numbers = f"{check.before:.2f} nats per target token with the base model, {check.after:.2f} with the pieces"
    interval = (
        "no interval for one item"
        if check.low is None or check.high is None
        else f"95 % interval {check.low:+.2f} to {check.high:+.2f}"
    )
    shown = round(check.after, 2) - round(check.before, 2)  # the difference of the two numbers as displayed
    change = f"{shown:+.2f} ({interval})".replace("-", "−")
    if not check.helps:
        return f"This pool does not help with {whose} text: on {items}, {numbers}: {change}."
    chance = "" if check.sure else " This may be chance: the interval includes 0." if check.low is not None else ""
    return f"Fit check on {items}: {numbers}: {change}. Lower is better.{chance}"
