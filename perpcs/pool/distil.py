"""Distilled gates: gates that know from reading alone which pieces would lower the loss.

A gate as published is trained on its owner's own tokens, so it learns when its piece helps its owner, and nothing of
what it does to anybody else. A distilled gate is fitted on items of people who share nothing (the paper has none of
this). With v the mean input of an item's target tokens at a position, and gain_s how much that item's loss falls with
the weight of piece s (model/likelihood.py),

    h_s = argmin_h  mean over items ( h . z - (gain_s - mean gain_s) )^2 + ridge |h|^2      z = (v - mean v) / spread v

and h_s / spread v is the gate: for each position one system of n equations, the same for all sharers. Assembling costs
what it costs with any gate, one forward pass without a gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perpcs.model.base import BaseModel
from perpcs.model.basis import Pieces, Scalings
from perpcs.model.likelihood import item_gains, target_inputs
from perpcs.model.text import Encoded, length_batches

_BATCH_TOKENS = 8192


@dataclass(frozen=True)
class DistilSettings:
    """How gates are distilled."""

    people: int = 200
    """At most so many people who share nothing; fewer where the pool has fewer candidates."""
    items: int = 8
    """Drawn from each one's history."""
    ridge: float = 0.3
    seed: int = 0


def drawn_items(histories: Sequence[Sequence[Encoded]], settings: DistilSettings) -> list[Encoded]:
    """The items that gates are fitted on: a few of each person, the same at every call."""
    random = np.random.default_rng(settings.seed)
    people = random.permutation(len(histories))[: settings.people]
    return [histories[u][i] for u in people for i in random.permutation(len(histories[u]))[: settings.items]]


def distil_gates(
    base: BaseModel,
    pieces: Pieces,
    items: Sequence[Encoded],
    ridge: float,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Tensor]:
    """Gates that predict gains, fitted on items of people who share nothing.

    Args:
        items: (prompt, target) pairs of many people; two at least.
        on_progress: told how many batches are done.

    Returns:
        Per position (S, n), float32; scaled so that a position's gains have a spread of 1.
    """
    batches = len(length_batches([len(item.ids) for item in items], _BATCH_TOKENS))

    def told(batch: int) -> None:
        if on_progress:
            on_progress(batch + 1, batches)

    gains = item_gains(base, pieces, items, batch_tokens=_BATCH_TOKENS, on_batch=told)
    inputs = target_inputs(base, items, batch_tokens=_BATCH_TOKENS)
    return [ridge_gates(v, torch.from_numpy(gains[:, p]), ridge).float() for p, v in enumerate(inputs)]


def ridge_gates(v: Tensor, gains: Tensor, ridge: float) -> Tensor:
    """The gates of one position: inputs v (N, n), gains (N, S) -> (S, n), in float64."""
    v, gains = v.double(), gains.double()
    spread = v.std(0, correction=0).clamp(min=1e-6)
    z = (v - v.mean(0)) / spread
    y = (gains - gains.mean(0)) / gains.std(correction=0).clamp(min=1e-12)
    system = z.T @ z / len(z) + ridge * torch.eye(z.shape[1], dtype=torch.float64)
    return torch.linalg.solve(system, z.T @ y / len(z)).T / spread


def gates_of_another(pieces: Pieces, gates: Sequence[Tensor], own: Pieces) -> list[Tensor]:
    """Distilled gates of somebody who joins a pool later, without the items that the pool's gates were fitted on.

    Gains are linear in a piece, and so are these gates. The newcomer's piece is written as the combination of the
    pool's pieces that is nearest to it, and its gate is the same combination of their gates; what no sharer does is
    left out.

    Args:
        own: the pieces of one sharer.

    Returns:
        Per position (1, n).
    """
    found = []
    for p, gate in enumerate(gates):
        gram, towards = inner_products(pieces, pieces, p), inner_products(pieces, own, p)  # (S, S), (S, 1)
        tiny = 1e-4 * gram.diagonal().mean().clamp(min=1e-12)
        share = torch.linalg.solve(gram + tiny * torch.eye(len(gram), dtype=gram.dtype), towards)
        found.append((share.T @ gate.double().cpu()).float())
    return found


def inner_products(one: Pieces, other: Pieces, position: int) -> Tensor:
    """<B_s A_s, B_t A_t> for all pairs of sharers at a position, (S, T), in float64, without a matrix being multiplied
    out; of scaling vectors their plain products.
    """
    B, C = one.Bt[position].double().cpu(), other.Bt[position].double().cpu()
    if isinstance(one, Scalings):
        return B[:, 0] @ C[:, 0].T
    A, D = one.A[position].double().cpu(), other.A[position].double().cpu()
    reads, writes = torch.einsum("sun,tvn->sutv", A, D), torch.einsum("sud,tvd->sutv", B, C)
    return (reads * writes).sum((1, 3))
