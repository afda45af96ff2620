"""Training many people's modules in one batch, as if each were alone, and scoring them.

The loss of a text is the cross entropy between the model's label probabilities and the person's labels, which share the
mass where there are several. Every person keeps the epoch with the lowest loss on their validation texts. Masters are
float32; Adam keeps its moments a person (perpcs/pool/train.py).

What a method's label probabilities are worth: per person, over people, and against the controls.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perpcs.evaluate.metrics import paired, summary
from perpcs.peftu.modules import Method, Shape
from perpcs.peftu.scorer import BASE, Rows, Scorer
from perpcs.peftu.tasks import Judged, PeftTask, Reader
from perpcs.pool.train import SharerAdam

# ---- training --------------------------------------------------------------------------------------------------------


PASS_ROWS = 64


@dataclass(frozen=True)
class TrainSettings:
    """How a person's module is trained, as in the paper's appendix but for the epochs."""

    epochs: int = 5
    batch: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Own:
    """What one row of training is trained on."""

    train: Sequence[Judged]
    val: Sequence[Judged]
    rate: float
    seed: int


@dataclass(frozen=True)
class Trained:
    """Parameters of people, first axis the person, each at their best epoch."""

    parameters: list[Tensor]
    val_loss: list[float]
    """Nats a text at the best epoch; the first epoch counts as 0 when the start was best."""
    best_epoch: list[int]


def targets(scorer: Scorer, rows: Sequence[Judged]) -> Tensor:
    """Label mass of each text, (b, labels): a person's labels share it equally."""
    out = torch.zeros(len(rows), len(scorer.task.words))
    labels = scorer.task.labels
    for row, one in enumerate(rows):
        for label in one.labels:
            out[row, labels.index(label)] = 1 / len(one.labels)
    return out.to(scorer.base.device)


def losses(scorer: Scorer, rows: Sequence[Judged], carried: Rows = BASE) -> Tensor:
    """Nats of each text: cross entropy of its labels, (b,)."""
    logits = scorer.logits([one.text for one in rows], carried)
    return -(targets(scorer, rows).to(logits.dtype) * torch.log_softmax(logits, 1)).sum(1)


def train_people(
    scorer: Scorer,
    shape: Shape,
    method: Method,
    size: int,
    people: Sequence[Own],
    settings: TrainSettings,
    say: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train a module for each of some people, all in the same batches.

    Args:
        say: told the steps done and all steps.
    """
    start = method.start(shape, size)
    parameters = [part.to(scorer.base.device)[None].repeat(len(people), *([1] * part.dim())) for part in start]
    for part in parameters:
        part.requires_grad_()
    best = [part.detach().clone() for part in parameters]
    found = _val_losses(scorer, shape, method, size, parameters, people)
    epochs = [0] * len(people)
    optimiser = SharerAdam(parameters)
    batches = [_batches(own, settings) for own in people]
    steps = max(map(len, batches), default=0)
    for step in range(steps):
        rates = [
            own.rate * (1 - step / len(b)) if step < len(b) else 0.0 for own, b in zip(people, batches, strict=True)
        ]
        rows = [(s, one) for s, own in enumerate(batches) if step < len(own) for one in own[step]]
        for at in range(0, len(rows), PASS_ROWS):
            some = rows[at : at + PASS_ROWS]
            owner = torch.tensor([s for s, _ in some])
            share = torch.tensor([1 / len(batches[s][step]) for s, _ in some])
            nats = losses(scorer, [one for _, one in some], method.rows(shape, size, parameters, owner))
            (nats * share).sum().backward()
        optimiser.step(torch.tensor(rates))
        ended = [s for s, own in enumerate(batches) if (step + 1) * settings.epochs % len(own) < settings.epochs]
        ended = [s for s in ended if step < len(batches[s])]
        if ended:
            now = _val_losses(scorer, shape, method, size, parameters, people)
            for s in ended:
                if now[s] < found[s]:
                    found[s], epochs[s] = now[s], (step + 1) * settings.epochs // len(batches[s])
                    for kept, part in zip(best, parameters, strict=True):
                        kept[s] = part.detach()[s]
        if say:
            say(step + 1, steps)
    return Trained(best, found, epochs)


@torch.no_grad()
def label_probs(
    scorer: Scorer,
    texts: Sequence[str],
    carry: Callable[[Tensor], Rows] | None = None,
    shown: Sequence[str] | None = None,
) -> np.ndarray:
    """Label probabilities (b, labels).

    Args:
        carry: gives what some rows carry, by their numbers; None = the base model.
        shown: solved examples before each text; texts must have been read with them.
    """
    out = np.zeros((len(texts), len(scorer.task.words)))
    order = sorted(range(len(texts)), key=lambda row: (shown[row] if shown else "", row))
    at = 0
    while at < len(order):
        before = shown[order[at]] if shown else ""
        part = [row for row in order[at : at + PASS_ROWS] if not shown or shown[row] == before]
        rows = BASE if carry is None else carry(torch.tensor(part))
        logits = scorer.logits([texts[row] for row in part], rows, before)
        out[part] = torch.softmax(logits.double(), 1).cpu().numpy()
        at += len(part)
    return out


@torch.no_grad()
def _val_losses(
    scorer: Scorer, shape: Shape, method: Method, size: int, parameters: Sequence[Tensor], people: Sequence[Own]
) -> list[float]:
    rows = [(s, one) for s, own in enumerate(people) for one in own.val]
    total = np.zeros(len(people))
    for at in range(0, len(rows), PASS_ROWS):
        part = rows[at : at + PASS_ROWS]
        owner = torch.tensor([s for s, _ in part])
        nats = losses(scorer, [one for _, one in part], method.rows(shape, size, parameters, owner))
        np.add.at(total, owner.numpy(), nats.double().cpu().numpy())
    return [float(sum_ / max(len(own.val), 1)) for sum_, own in zip(total, people, strict=True)]


def _batches(own: Own, settings: TrainSettings) -> list[list[Judged]]:
    """A person's batches of all epochs, each epoch in its own order."""
    found: list[list[Judged]] = []
    for epoch in range(settings.epochs):
        random = np.random.default_rng((settings.seed, own.seed, epoch))
        order, size = random.permutation(len(own.train)).tolist(), settings.batch
        found += [[own.train[i] for i in order[at : at + size]] for at in range(0, len(order), size)]
    return found


# ---- measures --------------------------------------------------------------------------------------------------------


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
