"""What a method's label probabilities are worth: per person, over people, and against the controls."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perpcs.evaluate.metrics import paired, summary
from perpcs.peftu.data import Judged, Reader
from perpcs.peftu.tasks import PeftTask

SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Where several labels may hold, all whose probability is at least this share of the highest are named. One share a
method, the best for the people of the search."""


def named(task: PeftTask, probs: np.ndarray, share: float) -> list[set[str]]:
    """The labels that are named for each text: probs (b, labels)."""
    if not task.several:
        return [{task.labels[best]} for best in probs.argmax(1)]
    kept = probs >= share * probs.max(1, keepdims=True) - 1e-12
    return [{label for label, on in zip(task.labels, row, strict=True) if on} for row in kept]


def scores(task: PeftTask, probs: np.ndarray, golds: Sequence[Judged], share: float) -> dict[str, float]:
    """One person's accuracy, F1 (micro, over labels, where several may hold) and nats a text."""
    said, true = named(task, probs, share), [set(gold.labels) for gold in golds]
    both = [len(a & b) for a, b in zip(said, true, strict=True)]
    either = [len(a | b) for a, b in zip(said, true, strict=True)]
    mass = np.array([[label in gold for label in task.labels] for gold in true], dtype=float)
    nats = -(mass / mass.sum(1, keepdims=True) * np.log(probs.clip(1e-12))).sum(1)
    found = {"accuracy": float(np.mean(np.array(both) / np.array(either))), "nats": float(nats.mean())}
    if task.several:
        found["f1"] = 2 * sum(both) / (sum(map(len, said)) + sum(map(len, true)))
    return found


def best_share(task: PeftTask, probs: Sequence[np.ndarray], people: Sequence[Reader]) -> float:
    """The share of ``SHARES`` with the highest mean accuracy over people."""
    if not task.several:
        return 1.0
    means = [
        np.mean([scores(task, p, one.test, share)["accuracy"] for p, one in zip(probs, people, strict=True)])
        for share in SHARES
    ]
    return SHARES[int(np.argmax(means))]


def split_rows(probs: np.ndarray, people: Sequence[Reader]) -> list[np.ndarray]:
    """Probabilities of all people's test texts, one person after the other, as one array a person."""
    ends = np.cumsum([len(one.test) for one in people])
    return np.split(probs, ends[:-1])


def cell(task: PeftTask, probs: np.ndarray, people: Sequence[Reader], share: float, **facts: Any) -> dict[str, Any]:
    """One method as it is kept: facts, and every person's scores in their order."""
    each = [scores(task, p, one.test, share) for p, one in zip(split_rows(probs, people), people, strict=True)]
    each = [{key: round(value, 5) for key, value in one.items()} for one in each]
    if people[0].truth:
        for one, p, reader in zip(each, split_rows(probs, people), people, strict=True):
            said = named(task, p, share)
            one["truth"] = round(float(np.mean([true in a for a, true in zip(said, reader.truth, strict=True)])), 5)
    return {**facts, "share": share, "people": each}


def column(values: Mapping[str, Any], key: str) -> list[float]:
    """One measure of a cell, person by person."""
    return [one[key] for one in values["people"]]


def summarised(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Cells with means over people and 95 % intervals, and differences to the controls, paired person by person."""
    out = {}
    for name, one in cells.items():
        row = dict(one)
        measures = [key for key in ("accuracy", "f1", "nats", "truth") if key in one["people"][0]]
        row |= {key: summary(column(one, key)) for key in measures}
        for other, called in (
            ("zero-shot", "minus_zero_shot"),
            ("prior", "minus_prior"),
            (f"wrong:{name}", "minus_wrong"),
        ):
            if other in cells and other != name:
                row[called] = {
                    key: paired(column(one, key), column(cells[other], key)) for key in measures if key != "truth"
                }
        out[name] = row
    return out
