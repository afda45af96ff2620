"""Routers that look at the loss instead of the activations: `gradient` and `fit`.

    gradient    g_ips = - d loss_i / d w_ps at w = 0     one forward and one backward pass give it for every piece
    fit         w <- w - rate * Adam( d (mean loss over a few items + shrink * sum w^2) / d w )      a few steps, from 0

Only w moves: no gradient of any weight matrix is computed. Both see the pieces of all sharers on one basis, so a pass
costs little more than one of the base model. Neither is in the paper; what they reach stands in docs/RESULTS.md.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from perpcs.assembly.options import RouterOptions
from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, Factors
from perpcs.model.likelihood import target_nll
from perpcs.model.text import Encoded, length_batches
from perpcs.pool.store import TaskPieces

_BATCH = 8
"""Items of one step of the fit."""
_BETAS = (0.9, 0.99)


def on_one_basis(task: TaskPieces, w: Tensor) -> Adapter:
    """The adapter of rows with weights w (b, P, S) through which gradients flow to w; b = 1 serves every row."""
    pieces = task.pieces
    A = [a.flatten(0, 1) for a in pieces.A]
    Bt = [b.flatten(0, 1) for b in pieces.Bt]

    def adapter(p: int, x: Tensor) -> Factors:
        c = (pieces.scale * w[:, p]).repeat_interleave(pieces.rank, dim=1)[:, None]
        return Factors(A[p], Bt[p], c)

    return adapter


@torch.enable_grad()
def item_gradients(
    base: BaseModel,
    task: TaskPieces,
    encoded: Sequence[Encoded],
    *,
    batch_tokens: int = 8192,
    on_batch: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """How much each item's loss (nats per target token) falls with the weight of each piece, at the base model.

    Returns:
        (N, P, S), larger = helps more; 0 for a piece that is not shared.
    """
    P, S = len(base.positions), task.pieces.sharers
    mask = torch.stack(list(task.mask)).to(base.device, base.dtype)
    out = np.zeros((len(encoded), P, S), dtype=np.float64 if base.dtype == torch.float64 else np.float32)
    batches = length_batches([len(item.ids) for item in encoded], batch_tokens)
    for number, rows in enumerate(batches):
        w = torch.zeros(len(rows), P, S, device=base.device, dtype=base.dtype, requires_grad=True)
        nll, counts = target_nll(base, [encoded[row] for row in rows], on_one_basis(task, w))
        (gradient,) = torch.autograd.grad((nll / counts.clamp(min=1)).sum(), w)
        out[rows] = (-gradient * mask).cpu().numpy()
        if on_batch:
            on_batch(number, len(batches))
    return out


@torch.enable_grad()
def fit_weights(
    base: BaseModel,
    task: TaskPieces,
    encoded: Sequence[Encoded],
    options: RouterOptions,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> np.ndarray:
    """Weights (P, S) after a few steps of descent on them alone.

    Args:
        on_step: told the number of the step and the weights after it.
    """
    P, S = len(base.positions), task.pieces.sharers
    mask = torch.stack(list(task.mask)).to(base.device, base.dtype)
    w = torch.zeros(P, S, device=base.device, dtype=base.dtype, requires_grad=True)
    optimiser = torch.optim.Adam([w], lr=options.rate, betas=_BETAS)
    order = _order(len(encoded), options.steps * _BATCH)
    for step in range(options.steps):
        optimiser.param_groups[0]["lr"] = options.rate * (1 - step / options.steps)
        some = [encoded[i] for i in dict.fromkeys(order[step * _BATCH : (step + 1) * _BATCH])]
        nll, counts = target_nll(base, some, on_one_basis(task, (w * mask)[None]))
        loss = nll.sum() / counts.sum() + options.shrink * w.square().sum()
        (w.grad,) = torch.autograd.grad(loss, w)
        optimiser.step()
        if not options.signed:
            with torch.no_grad():
                w.clamp_(min=0)
        if on_step:
            on_step(step, w.detach())
    return (w * mask).detach().cpu().numpy()


def _order(count: int, wanted: int) -> list[int]:
    """Items in the order in which they are fitted: shuffled passes over all of them, the same at every call."""
    random = np.random.default_rng(0)
    order: list[int] = []
    while len(order) < wanted:
        order.extend(random.permutation(count).tolist())
    return order
