"""Ours, which the benchmark did not try: a person assembled from the modules of the other people, cut into pieces.

    newton    one damped Gauss-Newton step on the weights, as everywhere in the studio (perpcs/assembly/newton.py)
    gate      each text takes the pieces whose gates score its answer highest, as in the Per-Pcs paper
    fit       Adam on the weights alone, with the person's validation texts to stop it

Nobody is assembled from their own module. What is kept of a person is a byte a weight.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perpcs.assembly.activations import select
from perpcs.assembly.newton import Step, step_for
from perpcs.assembly.record import rounded
from perpcs.assembly.routers.gate import Gate
from perpcs.model.basis import Factors, Pieces, Update
from perpcs.peftu.modules import LORA_SCALE, InPieces, LoRA, Shape
from perpcs.peftu.scorer import Rows, Scorer
from perpcs.peftu.tasks import Judged
from perpcs.peftu.training import PASS_ROWS, Own, losses
from perpcs.pool.store import TaskPieces
from perpcs.pool.train import SharerAdam


def newton_weights(
    scorer: Scorer,
    shape: Shape,
    method: InPieces,
    size: int,
    parameters: Sequence[Tensor],
    train: Sequence[Judged],
) -> tuple[np.ndarray, Step]:
    """Weights (P, S) of other people's pieces for a person's training texts, and the step they came from."""
    P, S, N = len(method.places(shape)), len(parameters[0]), len(train)
    gains, before = np.zeros((N, P, S)), np.zeros(N)
    for at in range(0, N, PASS_ROWS):
        part = train[at : at + PASS_ROWS]
        with torch.enable_grad():
            w = torch.zeros(len(part), P, S, requires_grad=True)
            nats = losses(scorer, part, method.mixed(shape, size, parameters, w))
            (gradient,) = torch.autograd.grad(nats.sum(), w)
        gains[at : at + len(part)], before[at : at + len(part)] = -gradient.numpy(), nats.detach().numpy()

    @torch.no_grad()
    def run(which: Sequence[int], weights: np.ndarray, on_batch: Any = None) -> np.ndarray:
        del on_batch
        rows, found = list(which), []
        for at in range(0, len(rows), PASS_ROWS):
            part = [train[row] for row in rows[at : at + PASS_ROWS]]
            w = torch.from_numpy(weights[at : at + PASS_ROWS]).float()
            found.append(losses(scorer, part, method.mixed(shape, size, parameters, w)).double().numpy())
        return np.concatenate(found)

    step = step_for(run, gains, before, np.full(N, 1 / N))
    return rounded(step.weights), step


class Fitted:
    """A ``modules.Method`` whose parameters are weights of other people's pieces.

    Args:
        barred: of each row of training, which person's pieces it may not use; -1 = none.
    """

    name, title = "fit", "Assembled by fit"
    says = "Weights of other people's pieces, fitted to the person's labels."
    size_means = "as the pieces"
    default = 0
    rates = (1e-1, 3e-1, 1.0)

    def __init__(self, method: InPieces, size: int, pieces: Sequence[Tensor], barred: Sequence[int]) -> None:
        self.method, self.size, self.pieces = method, size, pieces
        self.open = torch.ones(len(barred), 1, len(pieces[0]))
        for row, own in enumerate(barred):
            if own >= 0:
                self.open[row, 0, own] = 0

    def matched(self, shape: Shape, budget: int) -> int:
        del shape, budget
        return self.default

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        del size
        return [torch.zeros(len(self.method.places(shape)), len(self.pieces[0]))]

    def weights(self, parameters: Sequence[Tensor], owner: Tensor) -> Tensor:
        """Weights of rows, (b, P, S)."""
        return parameters[0][owner] * self.open[owner]

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        del size
        return self.method.mixed(shape, self.size, self.pieces, self.weights(parameters, owner))

    def count(self, shape: Shape, size: int) -> int:
        return self.kept(shape, size)

    def kept(self, shape: Shape, size: int) -> int:
        del size
        return len(self.method.places(shape)) * len(self.pieces[0])


# ---- gates -----------------------------------------------------------------------------------------------------------


def train_gates(
    scorer: Scorer,
    shape: Shape,
    size: int,
    parameters: Sequence[Tensor],
    people: Sequence[Own],
    *,
    steps: int = 20,
    batch: int = 6,
    rate: float = 1e-2,
) -> list[Tensor]:
    """Gates of people's LoRA pieces, frozen: z = W v + B A v sigmoid(g.v), g from zero (Per-Pcs, section 2.4).

    Returns:
        Per position (S, n).
    """
    places = [(p, one) for p, one in shape.positions if p in set(LoRA().places(shape))]
    gates = [torch.zeros(len(people), one.n, requires_grad=True) for _, one in places]
    number = {p: i for i, (p, _) in enumerate(places)}
    optimiser = SharerAdam(gates)
    orders = [np.random.default_rng((1, own.seed)).permutation(len(own.train)) for own in people]
    for step in range(steps):
        rows = [
            (s, own.train[int(order[(step * batch + i) % len(order)])])
            for s, (own, order) in enumerate(zip(people, orders, strict=True))
            for i in range(min(batch, len(order)))
        ]
        for at in range(0, len(rows), PASS_ROWS):
            part = rows[at : at + PASS_ROWS]
            owner = torch.tensor([s for s, _ in part])

            def gated(p: int, x: Tensor, owner: Tensor = owner) -> Update | None:
                if p not in number:
                    return None
                i = number[p]
                open_ = torch.sigmoid(x.to(gates[i].dtype) @ gates[i][owner][:, :, None])
                c = LORA_SCALE * open_.expand(-1, -1, size)
                return Factors(parameters[2 * i][owner], parameters[2 * i + 1][owner], c)

            (losses(scorer, [one for _, one in part], Rows(adapter=gated)).sum() / batch).backward()
        optimiser.step(torch.full((len(people),), rate * (1 - step / steps)))
    return [gate.detach() for gate in gates]


@torch.no_grad()
def prototypes(scorer: Scorer, shape: Shape, people: Sequence[Own]) -> list[Tensor]:
    """Each person's mean input at the answer's position, by the base model: per position (S, n)."""
    places = LoRA().places(shape)
    number = {p: i for i, p in enumerate(places)}
    found = [torch.zeros(len(people), shape.base.positions[p].n) for p in places]
    for s, own in enumerate(people):
        texts = [one.text for one in own.train]

        def take(p: int, x: Tensor, s: int = s, count: int = len(texts)) -> None:
            if p in number:
                found[number[p]][s] += x[:, -1].float().sum(0) / count

        for at in range(0, len(texts), PASS_ROWS):
            scorer.logits(texts[at : at + PASS_ROWS], Rows(adapter=take))
    return found


@torch.no_grad()
def gate_weights(
    scorer: Scorer,
    shape: Shape,
    parameters: Sequence[Tensor],
    gates: Sequence[Tensor],
    prototypes: Sequence[Tensor],
    train: Sequence[Judged],
    own: int,
) -> np.ndarray:
    """Weights (P, S) by the router ``gate``: the mean of what each training text takes, without the person's own."""
    places = LoRA().places(shape)
    number = {p: i for i, p in enumerate(places)}
    S = len(parameters[0])
    mask = torch.ones(len(places), S, dtype=torch.bool)
    mask[:, own] = False
    pieces = Pieces(parameters[0::2], [part.mT for part in parameters[1::2]], LORA_SCALE)
    router = Gate()
    task = TaskPieces(pieces, list(gates), list(prototypes), mask)
    keys = router.keys(task)
    total = torch.zeros(len(places), S)
    texts = [one.text for one in train]
    for at in range(0, len(texts), PASS_ROWS):

        def choose(p: int, x: Tensor) -> Update | None:
            if p not in number:
                return None
            i = number[p]
            target = torch.zeros(x.shape[:2])
            target[:, -1] = 1
            scores = router.item_scores(x, keys[i], target)
            picked, weight = select(scores, mask[i], router, scale=router.scale(x.shape[-1]))
            total[i] += torch.zeros_like(scores).scatter_(1, picked, weight).sum(0).float()
            return pieces.gathered(i, picked, weight)

        scorer.logits(texts[at : at + PASS_ROWS], Rows(adapter=choose))
    return rounded((total / len(texts)).numpy())
