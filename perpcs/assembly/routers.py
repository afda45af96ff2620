"""Scoring pieces by what the model is about to say: the gate router of the paper, and prototypes in its place.

At each position, for each history item: the target tokens' input activations v_t are compared with every piece's key
(its gate g_s, or its owner's mean activation), and token scores are reduced to one score an item and piece:

    score_s = reduce_t  norm(g_s) . norm(v_t)               cosine, or layer norm with the product divided by sqrt(n)

Then the top k are kept and weighted by softmax(score / temperature); the paper divides its summed cosines by sqrt(n)
too. Centring subtracts from keys and activations what all sharers have in common, which would otherwise decide every
choice.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from perpcs.assembly.options import RouterOptions
from perpcs.pool.store import TaskPieces


@dataclass(frozen=True)
class Keys:
    """What the activations of one position are compared with. S sharers, n inputs."""

    rows: Tensor
    """Normalised keys, (S, n), in float32 or more; zero for a piece that is not shared, so that it scores 0."""
    centre: Tensor | None
    """Subtracted from activations, (n,)."""
    spread: Tensor | None
    """Activations are divided by it, (n,)."""


def routing_keys(task: TaskPieces, options: RouterOptions) -> list[Keys]:
    """The keys of every position, computed once an assembly. Pieces that are not shared count for nothing."""
    keys = []
    for p, mask in enumerate(task.mask):
        kind = torch.promote_types(task.prototypes[p].dtype, torch.float32)
        shared = mask.to(kind)[:, None]
        count = shared.sum().clamp(min=1)
        prototypes = task.prototypes[p].to(kind)
        rows = prototypes if options.router == "prototype" else task.gates[p].to(kind)
        centre = spread = None
        if options.centre:
            rows = rows - (rows * shared).sum(0) / count
            centre = (prototypes * shared).sum(0) / count
        if options.standardise:
            mean = (prototypes * shared).sum(0) / count
            spread = (((prototypes - mean).square() * shared).sum(0) / count).sqrt().clamp(min=1e-6)
            rows = rows / spread if options.router == "prototype" else rows * spread  # a gate is dual to activations
        keys.append(Keys(normalise(rows * shared, options), centre, spread))
    return keys


def normalise(rows: Tensor, options: RouterOptions) -> Tensor:
    """Rows (..., n) to unit length, or to mean 0 and variance 1."""
    if options.normalise == "cosine":
        return F.normalize(rows, dim=-1)
    return F.layer_norm(rows, rows.shape[-1:])


def item_scores(x: Tensor, keys: Keys, mask: Tensor, options: RouterOptions) -> Tensor:
    """Scores of every piece for every item: activations x (b, t, n), target mask (b, t) -> (b, S)."""
    rows, columns = mask.nonzero(as_tuple=True)
    v = x[rows, columns].to(keys.rows.dtype)  # the m target tokens alone, (m, n): most of a text is prompt
    if options.reduce != "pooled":
        v = normalise(_shift(v, keys), options)
    # The product is linear in v, so tokens are reduced before it: b x S products of length n, not m x S.
    reduced = v.new_zeros(len(x), v.shape[1]).index_add(0, rows, v)
    if options.reduce != "sum":
        reduced = reduced / (mask != 0).sum(1, keepdim=True).clamp(min=1)
    if options.reduce == "pooled":
        reduced = normalise(_shift(reduced, keys), options)
    scores = reduced @ keys.rows.T
    return scores / math.sqrt(x.shape[-1]) if options.normalise == "layernorm" else scores


def _shift(v: Tensor, keys: Keys) -> Tensor:
    """Activations (..., n) as the keys are: centred, and divided by the spread."""
    v = v if keys.centre is None else v - keys.centre
    return v if keys.spread is None else v / keys.spread


def select(scores: Tensor, shared: Tensor, n: int, options: RouterOptions) -> tuple[Tensor, Tensor]:
    """The k best shared pieces of every item and their weights: scores (b, S), shared (S,) -> index, weight (b, k).

    A weight is 0 where fewer than k pieces are shared at this position. Equal scores keep the order of the sharers.
    """
    k = min(options.k, scores.shape[1])
    barred = scores.masked_fill(~shared, -torch.inf)
    order = barred.sort(dim=1, descending=True, stable=True)
    best, index = order.values[:, :k], order.indices[:, :k]
    sharpness = options.temperature * (math.sqrt(n) if options.sqrt_n else 1.0)
    none = ~shared.any()
    weight = torch.softmax(best.masked_fill(none, 0.0) / sharpness, dim=1)
    return index, weight.masked_fill(best == -torch.inf, 0.0)
