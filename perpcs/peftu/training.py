"""Training many people's modules in one batch, as if each were alone, and scoring them.

The loss of a text is the cross entropy between the model's label probabilities and the person's labels, which share the
mass where there are several. Every person keeps the epoch with the lowest loss on their validation texts. Masters are
float32; Adam keeps its moments a person (perpcs/pool/train.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perpcs.peftu.data import Judged
from perpcs.peftu.method import Method, Shape
from perpcs.peftu.scorer import BASE, Rows, Scorer
from perpcs.pool.train import SharerAdam

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
