"""The order and the names of a map's rows and columns."""

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Literal

import numpy as np

from perpcs.pool.manifest import Sharer

Sort = Literal["gain", "cluster", "total", "id"]
SORTS: dict[str, str] = {"gain": "Gain", "cluster": "Cluster", "total": "Weight", "id": "Number"}
LAYERS = "layers"
"""In place of a module: a row for each layer, the mean over its modules."""
ALL = "all"
"""In place of a module: all positions."""
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
