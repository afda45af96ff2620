"""The stored map of a task's candidates: their places, clusters and numbers of items; and who would share.

Candidates have no names here. A sharer is the candidate at the sharer's own place.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perpcs.errors import PerpcsError
from perpcs.pool.manifest import Sharer
from perpcs.schema import Count, Record, read_record

STRATEGIES: dict[str, str] = {
    "cluster": "History cluster",
    "profile": "Profile cluster",
    "active": "Most active",
    "random": "Random",
}
"""Rules by which candidates become sharers (paper, section 5)."""
_SEED = 0


@dataclass(frozen=True)
class Candidates:
    """C candidates, S of whom share."""

    xy: np.ndarray
    """Places within -1..1, (C, 2)."""
    clusters: np.ndarray
    """(C,)."""
    items: np.ndarray
    """How many items each wrote, (C,)."""
    sharers: np.ndarray
    """The candidate index of each sharer, (S,)."""
    by_profile: np.ndarray | None = None
    """Who would be selected by profile cluster; None if the pool does not say."""
    whole: bool = True
    """False if the pool stores no map, so that only its sharers are known."""


@dataclass(frozen=True)
class _Map(Record):
    """map.json."""

    xy: tuple[tuple[float, float], ...]
    clusters: tuple[Count, ...]
    items: tuple[Count, ...]
    by_profile: tuple[Count, ...] = ()


def read_candidates(path: Path, sharers: Sequence[Sharer], guests: Collection[str] = ()) -> Candidates:
    """Read map.json, and find the sharers in it.

    Args:
        guests: ids of sharers who joined after the map was made; they stand on it at the place of their record.

    Raises:
        PerpcsError: when it is damaged, or a sharer is not in it.
    """
    data = read_record(path, _Map, "The pool's map.json", "Fetch or build the pool again.")
    try:
        xy = np.asarray(data.xy, dtype=np.float64).reshape(-1, 2)
        clusters, items = (np.asarray(of, dtype=np.int64) for of in (data.clusters, data.items))
        if not len(xy) == len(clusters) == len(items):
            raise ValueError("the lists have different lengths")
        by_profile = np.asarray(data.by_profile, dtype=np.int64)
        if not np.isin(by_profile, np.arange(len(xy))).all():
            raise ValueError("by_profile names nobody of the map")
        joined = [sharer for sharer in sharers if sharer.id in guests]
        found = np.array(
            [
                len(xy) + joined.index(sharer) if sharer in joined else _find(sharer, xy, clusters, items)
                for sharer in sharers
            ]
        )
        if joined:
            xy = np.concatenate([xy, [sharer.xy for sharer in joined]])
            clusters = np.append(clusters, [sharer.cluster for sharer in joined])
            items = np.append(items, [sharer.items for sharer in joined])
        return Candidates(xy, clusters, items, found, by_profile if len(by_profile) else None)
    except ValueError as error:
        raise PerpcsError("The pool's map.json does not fit its sharers.", "Fetch or build the pool again.") from error


def _find(sharer: Sharer, xy: np.ndarray, clusters: np.ndarray, items: np.ndarray) -> int:
    """The candidate of a sharer's cluster and number of items who stands nearest to the sharer's place."""
    far = np.abs(xy - np.asarray(sharer.xy)).sum(axis=1)
    far[(clusters != sharer.cluster) | (items != sharer.items)] = np.inf
    found = int(np.argmin(far))
    if not far[found] < 1e-3:
        raise ValueError(f"{sharer.id} is not on the map")
    return found


def only_sharers(sharers: Sequence[Sharer]) -> Candidates:
    """A map of a pool that stores none: its sharers, who are all that is known."""
    return Candidates(
        np.array([sharer.xy for sharer in sharers], dtype=np.float64).reshape(-1, 2),
        np.array([sharer.cluster for sharer in sharers]),
        np.array([sharer.items for sharer in sharers]),
        np.arange(len(sharers)),
        whole=False,
    )


def would_share(candidates: Candidates, strategy: str) -> np.ndarray | None:
    """Who would share by a rule, as many as share now: candidates' numbers, ascending; None where nothing that the
    pool stores tells. Ties take the earlier candidate; random is drawn once, the same for everybody.
    """
    count = len(candidates.sharers)
    if strategy == "cluster":
        return np.sort(candidates.sharers)
    if not candidates.whole:
        return None
    if strategy == "profile":
        return None if candidates.by_profile is None else np.sort(candidates.by_profile)
    if strategy == "active":
        return np.sort(np.argsort(-candidates.items, kind="stable")[:count])
    return np.sort(np.random.default_rng(_SEED).permutation(len(candidates.items))[:count])


NEIGHBOURS = 5


def place_among(candidates: Candidates, closeness: np.ndarray) -> tuple[float, float] | None:
    """Where somebody stands who is this close to each sharer, (S,): the mean place of the closest few, each counting by
    how much closer it is than the next one after them. None where nobody is closer than anybody else.
    """
    count = len(closeness)
    order = np.argsort(-closeness, kind="stable")[:NEIGHBOURS]
    least = float(np.sort(closeness)[-NEIGHBOURS - 1]) if count > NEIGHBOURS else min(0.0, float(closeness.min()))
    weight = closeness[order] - least
    if not float(weight.sum()) > 1e-9:
        return None
    x, y = (weight[:, None] * candidates.xy[candidates.sharers[order]]).sum(axis=0) / weight.sum()
    return float(x), float(y)
