"""The router `newton`: one damped Gauss-Newton step on the weights, solved in the space of the items.

With g_i the gains of item i (- d loss_i / d w at the start v, P S numbers), G their matrix (N, P S) and K = G G^T
(N, N), the step that asks every item for the same fall of its loss is

    w = v + eta G^T (K + lambda mean(diag K) I)^-1 1

whose second part is the minimiser of  sum_i (1 - g_i . w)^2 + lambda mean(diag K) |w|^2  by the push-through identity:
N x N numbers are solved for and never P S x P S. It is a natural gradient step with the items' own gradients as the
Fisher matrix. The start v is what the pool's distilled gates choose (``routers/gate.py``), times how surely
(``sureness``) their choice for the earlier items of a history makes its later items likelier: 0, the base model, if it
does not. What the person writes next comes later too, and gates that fit what somebody wrote about once may hurt what
they write about now.

How far to go is decided on folds of the history. The gains of all items are there, so a fold costs no backward pass: w
is solved for from the other folds' items, and with it

    loss_j(eta) = loss_j(v) - eta g_j . w + eta^2 c_j      for every held-out item j

whose slope is known and whose curvature c_j one forward pass at eta = 1 gives. lambda is the one of ``DAMPINGS`` whose
held-out items ask for the same fall best (leave-one-out, in closed form); eta is where the parabola of all held-out
items is lowest, and 0, the start, where it rises from there. It is then shortened by how much of the mean fall is noise
(``sureness``). The newest fifth of the history stays out of all three and checks them (``Check``). Source: natural
gradient, Amari 1998; leave-one-out of ridge regression, Allen 1974; positive-part shrinkage, Baranchik 1964.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from perpcs.assembly.router import kept_out
from perpcs.model.base import BaseModel
from perpcs.model.basis import people
from perpcs.model.likelihood import Encoded, batches_of_gains, length_batches, no_gains, target_nll
from perpcs.pool.store import TaskPieces

DAMPINGS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Values of lambda that are tried."""
FOLDS = 2
FARTHEST = 0.75
"""Largest eta. Real people's lie below 0.3; farther out answers break before likelihoods of short histories tell."""
FEWEST = 4
"""Items from which on folds decide; fewer take ``UNTRIED``."""
UNTRIED = (3.0, 0.5)
"""lambda and eta of a history that is too short for folds."""


def later_items(older: int) -> int:
    """How many of the older items, the last of them, tell whether gates chosen from the others help."""
    return max(2, older // 4)


@dataclass(frozen=True)
class Start:
    """Where the step begins."""

    weights: np.ndarray
    """(P, S), from the whole history."""
    older: np.ndarray
    """(P, S), without the items that check (``kept_out``)."""
    at_base: np.ndarray
    """Nats per target token, by the base model, of the items that check."""
    share: float
    """How much of the gates' weights these are."""


@dataclass(frozen=True)
class Check:
    """What the newest items say of weights that were made without them.

    The older items' gains are read at ``Start.weights``, in which the gates' choice for the newest items has a part.
    """

    before: np.ndarray
    """Nats per target token of each by the base model."""
    after: np.ndarray
    """The same with weights from the older items alone."""


@dataclass(frozen=True)
class Step:
    """A step and what was found about it."""

    weights: np.ndarray
    """(P, S)."""
    damping: float
    length: float
    """eta; 0 where the start stays."""
    check: Check | None
    """None of a history too short to keep anything out."""


def solve(gains: np.ndarray, damping: float, counts: np.ndarray | None = None) -> np.ndarray:
    """The step at eta = 1: gains (N, D) -> weights (D,), in float64.

    Args:
        damping: lambda.
        counts: how much each item counts, (N,), any scale; None = all alike.
    """
    root = np.ones(len(gains)) if counts is None else np.sqrt(counts / counts.mean())
    rows = gains.astype(np.float64) * root[:, None]
    kernel = rows @ rows.T
    return rows.T @ np.linalg.solve(kernel + _ridge(kernel, damping), root)


def left_out(gains: np.ndarray, damping: float) -> np.ndarray:
    """The fall that the step promises each item when it is solved for without that item: (N,); 1 is asked for."""
    kernel = gains.astype(np.float64) @ gains.astype(np.float64).T
    inverse = np.linalg.inv(kernel + _ridge(kernel, damping))
    return 1 - inverse.sum(1) / np.diag(inverse)


def _ridge(kernel: np.ndarray, damping: float) -> np.ndarray:
    return np.eye(len(kernel)) * max(damping * float(np.diag(kernel).mean()), 1e-12)


def choose_damping(gains: np.ndarray) -> float:
    """lambda by leave-one-out over the items."""
    errors = [float(((1 - left_out(gains, damping)) ** 2).mean()) for damping in DAMPINGS]
    return DAMPINGS[int(np.argmin(errors))]


def newton_step(
    base: BaseModel,
    task: TaskPieces,
    encoded: Sequence[Encoded],
    gains: np.ndarray,
    losses: np.ndarray,
    counts: np.ndarray,
    start: Start | None = None,
    *,
    batch_tokens: int = 8192,
    on_pass: Callable[[int, np.ndarray], None] | None = None,
) -> Step:
    """The step for a history whose items' gains (N, P, S) and losses (N,) at the start are known; see ``step_for``."""
    run = partial(item_losses, base, task, encoded, batch_tokens=batch_tokens)
    return step_for(run, gains, losses, counts, start, on_pass=on_pass)


def step_for(
    run: Callable[..., np.ndarray],
    gains: np.ndarray,
    losses: np.ndarray,
    counts: np.ndarray,
    start: Start | None = None,
    *,
    on_pass: Callable[[int, np.ndarray], None] | None = None,
) -> Step:
    """The step for any loss whose gains (N, P, S) and values (N,) at the start are known.

    lambda and eta come from the older items; the newest (``kept_out``) check them, and then take part in the solve.

    Args:
        run: losses of some items, each with weights of its own (items, P, S); it calls ``on_batch`` after every pass.
        counts: how much each item counts, (N,), adding up to 1.
        start: None = w = 0, the base model.
        on_pass: told the number of a pass that is done, and the weights at eta = 1.
    """
    N, P, S = gains.shape
    begin = np.zeros((P, S)) if start is None else start.weights
    flat = gains.reshape(N, P * S)
    older = N - kept_out(N)
    damping, length = UNTRIED
    passes_done = 0

    def tell(number: int) -> None:
        nonlocal passes_done
        passes_done += 1
        if on_pass:
            on_pass(passes_done, begin + full_step.reshape(P, S))

    if older >= FEWEST:
        damping = choose_damping(flat[:older])
    full_step = solve(flat, damping, counts)
    if older >= FEWEST:
        fold = np.arange(older) % FOLDS
        fold_steps = np.stack(
            [solve(flat[:older][fold != f], damping, counts[:older][fold != f]) for f in range(FOLDS)]
        )
        slope = np.einsum("nd,nd->n", flat[:older].astype(np.float64), fold_steps[fold])
        losses_at_full_step = run(range(older), begin + fold_steps.reshape(FOLDS, P, S)[fold], on_batch=tell)
        bend = losses_at_full_step - losses[:older] + slope
        length = best_length(slope, bend, counts[:older])
        length *= sureness(length * slope - length**2 * bend, counts[:older])
    check = None
    if older < N:
        step = (length * solve(flat[:older], damping, counts[:older])).reshape(P, S)
        person = step if start is None else start.older + step
        before = losses[older:] if start is None else start.at_base
        after = run(range(older, N), person[None].repeat(N - older, 0), on_batch=tell) if person.any() else before
        check = Check(before, after)
    return Step(begin + (length * full_step).reshape(P, S), damping, length, check)


def best_length(slope: np.ndarray, bend: np.ndarray, counts: np.ndarray) -> float:
    """eta at which the sum over items of - eta slope + eta^2 bend is lowest, within 0 and ``FARTHEST``."""
    rise, curve = float(counts @ slope), float(counts @ bend)
    if rise <= 0:
        return 0.0
    return FARTHEST if curve <= 0 else min(FARTHEST, rise / (2 * curve))


def sureness(falls: np.ndarray, counts: np.ndarray) -> float:
    """How much of a mean fall over items is more than noise: 1 - (standard error / mean)^2, at least 0.

    The positive-part James-Stein factor. The best length on a few items is too long on average, for the noise that made
    it the best is in it; items that agree keep their step, and those that do not leave the base model as it is.
    """
    share = counts / counts.sum()
    mean, items = float(share @ falls), 1 / float((share**2).sum())
    if mean <= 0 or items <= 1:
        return 0.0
    return max(0.0, 1 - float(share @ (falls - mean) ** 2) / (items - 1) / mean**2)


@torch.no_grad()
def item_losses(
    base: BaseModel,
    task: TaskPieces,
    encoded: Sequence[Encoded],
    which: Sequence[int],
    weights: np.ndarray,
    *,
    batch_tokens: int = 8192,
    on_batch: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Nats per target token of some items, each with weights of its own (items, P, S): (items,)."""
    kind = torch.promote_types(base.dtype, torch.float32)
    some = [encoded[at] for at in which]
    found = np.zeros(len(some))
    for number, rows in enumerate(length_batches([len(item.ids) for item in some], batch_tokens)):
        w = torch.from_numpy(weights[rows]).to(base.device, kind)
        nll, tokens = target_nll(base, [some[row] for row in rows], people(task.pieces, w))
        found[rows] = (nll / tokens.clamp(min=1)).double().cpu().numpy()
        if on_batch:
            on_batch(number)
    return found


def read_gains(
    base: BaseModel,
    task: TaskPieces,
    encoded: Sequence[Encoded],
    batch_tokens: int,
    tell: Callable[[int, np.ndarray], None],
    start: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Gains (N, P, S), 0 for a piece that is not shared, and losses (N,), both at the start.

    Args:
        start: weights (P, S); None = the base model.
        tell: told after every batch its number, and the weights that the items read so far ask for.
    """
    P, S, N = len(base.positions), task.pieces.sharers, len(encoded)
    gains, losses, mask = no_gains(base, N, S), np.zeros(N), task.mask.cpu().numpy()
    read: list[int] = []
    batches = batches_of_gains(base, task.pieces, encoded, start, batch_tokens=batch_tokens)
    for number, (rows, batch_gains, loss) in enumerate(batches):
        gains[rows], losses[rows] = batch_gains * mask, loss
        read += rows
        damping, length = UNTRIED
        step = (length * solve(gains[read].reshape(len(read), P * S), damping)).reshape(P, S)
        tell(number, step if start is None else start + step)
    return gains, losses


def newton_record(step: Step, start: Start | None) -> dict[str, Any]:
    """What a record keeps of a Newton step beside its weights."""
    share = 0.0 if start is None else round(start.share, 4)
    kept: dict[str, Any] = {"gates": share, "damping": step.damping, "length": round(step.length, 4)}
    if step.check is not None:
        rows = (step.check.before, step.check.after)
        kept["check"] = {name: np.round(row, 4).tolist() for name, row in zip(("before", "after"), rows, strict=True)}
    return kept
