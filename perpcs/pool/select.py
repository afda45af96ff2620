"""Choosing sharers from candidates, and describing the clusters they come from (paper sections 2.3 and 5)."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perpcs.errors import PerpcsError
from perpcs.tasks import Item

UMAP_FROM = 5
_WORD = re.compile(r"[a-z][a-z'-]{2,}")


@dataclass(frozen=True)
class Selection:
    """Who shares. Candidates are counted from 0."""

    chosen: list[int]
    """One candidate a cluster, the most active; ordered by cluster."""
    clusters: list[int]
    """Cluster of every candidate."""
    xy: np.ndarray
    """Place of every candidate on the 2-D map, (candidates, 2), within -1..1."""
    terms: list[tuple[str, ...]]
    """Words that set each cluster apart."""


def check_disjoint(groups: dict[str, Sequence[str]]) -> None:
    """Base users, sharers and targets have nobody in common.

    Raises:
        PerpcsError: naming one person who is in two groups.
    """
    seen: dict[str, str] = {}
    for group, ids in groups.items():
        for id in ids:
            if seen.setdefault(id, group) != group:
                raise PerpcsError(
                    f"User {id!r} is among {seen[id]} and among {group}.", "Give every person to one group."
                )


def choose_sharers(embeddings: np.ndarray, histories: Sequence[Sequence[Item]], count: int, seed: int = 0) -> Selection:
    """k-means over user embeddings, then the most active candidate of every cluster; ties take the earlier candidate.

    Args:
        embeddings: (candidates, width).

    Raises:
        PerpcsError: when there are fewer candidates than sharers are wanted.
    """
    if len(embeddings) < count:
        raise PerpcsError(
            f"There are {len(embeddings)} candidates for {count} sharers.",
            "Ask for fewer sharers or bring more people.",
        )
    labels, chosen = most_active(embeddings, [len(history) for history in histories], count, seed)
    if len(chosen) < count:
        raise PerpcsError(
            f"Only {len(chosen)} clusters hold anyone: many candidates are alike.", f"Ask for {len(chosen)} sharers."
        )
    return Selection(chosen, labels.tolist(), lay_out(embeddings, seed), cluster_terms(histories, labels, count))


def most_active(
    embeddings: np.ndarray, sizes: Sequence[int], count: int, seed: int = 0
) -> tuple[np.ndarray, list[int]]:
    """k-means into ``count`` clusters, and who wrote most in each that holds anyone: (clusters, their numbers)."""
    from sklearn.cluster import KMeans

    labels = KMeans(n_clusters=count, n_init=4, random_state=seed).fit_predict(embeddings)
    members = [np.flatnonzero(labels == cluster) for cluster in range(count)]
    written = np.asarray(sizes)
    return labels, [int(some[np.argmax(written[some])]) for some in members if len(some)]


def lay_out(embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    """A 2-D map by UMAP, scaled into -1..1: (people, 2). Made when a pool is built and stored, never while serving.

    Fewer than ``UMAP_FROM`` people have no neighbourhoods: they lie along their two principal components.
    """
    if len(embeddings) < UMAP_FROM:
        centred = embeddings - embeddings.mean(axis=0)
        left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
        places = np.zeros((len(embeddings), 2))
        places[:, : min(2, len(sizes))] = (left * sizes)[:, :2]
    else:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from umap import UMAP

            reducer = UMAP(n_neighbors=min(15, len(embeddings) - 1), random_state=seed, n_jobs=1, init="pca")
            places = reducer.fit_transform(embeddings)
    places = places - (places.max(0) + places.min(0)) / 2
    return places / max(float(np.abs(places).max()), 1e-9)


def cluster_terms(
    histories: Sequence[Sequence[Item]], labels: np.ndarray, count: int, top: int = 6
) -> list[tuple[str, ...]]:
    """Words that are used by a larger share of a cluster's people than of all people, most telling first.

    Only words that at least three people use are shown: a word of one person alone would give them away.
    """
    people = [
        {word for item in history for word in _WORD.findall(f"{item.x} {item.y or ''}".lower())}
        for history in histories
    ]
    overall = Counter(word for words in people for word in words)
    common = {word: n for word, n in overall.items() if n >= 3}
    terms = []
    for cluster in range(count):
        members = [words for words, label in zip(people, labels, strict=True) if label == cluster]
        inside = Counter(word for words in members for word in words if word in common)
        lift = {word: n / (len(members) + 1) - common[word] / len(people) for word, n in inside.items()}
        terms.append(tuple(sorted(lift, key=lambda word: (-lift[word], word))[:top]))
    return terms


def share_mask(positions: Sequence[str], sharers: Sequence[str], ratio: float, seed: int) -> np.ndarray:
    """Which pieces each sharer shares: bool (P, S), the same for every user and fixed by the seed.

    A sharer shares round(ratio P) positions, at least one.

    Raises:
        PerpcsError: when the ratio is not within 0..1.
    """
    if not 0 < ratio <= 1:
        raise PerpcsError(f"The share ratio is {ratio}.", "Use a number above 0 and up to 1.")
    mask = np.zeros((len(positions), len(sharers)), dtype=bool)
    count = max(1, round(ratio * len(positions)))
    for column, id in enumerate(sharers):
        random = np.random.default_rng([seed, *id.encode()])
        mask[random.permutation(len(positions))[:count], column] = True
    return mask
