"""Scoring pieces by what the model is about to say: the gate router of the paper, and prototypes in its place.

At each position, for each history item: the target tokens' input activations v_t are compared with every piece's key
(its gate g_s, or its owner's mean activation), and token scores are reduced to one score an item and piece:

    score_s = reduce_t  norm(g_s) . norm(v_t)                           (cosine, or layer norm with the product /
    sqrt(n))

Then the top k are kept and weighted by softmax(score / (temperature sqrt(n))) for cosine scores summed over tokens,
as the paper writes, or softmax(score / temperature) for layer-normed scores, whose 1 / sqrt(n) is in the product
already.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from perpcs.assembly.options import RouterOptions
from perpcs.pool.store import TaskPieces


def routing_keys(task: TaskPieces, options: RouterOptions) -> list[Tensor]:
    """What activations are compared with: normalised keys per position, (S, n), in float32 or more. Computed once an
    assembly. Pieces that are not shared have a key of zeros, and so score 0.
    """
    vectors = task.gates if options.router == "gate" else task.prototypes
    keys = []
    for p, rows in enumerate(vectors):
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        shared = task.mask[p].to(rows.dtype)[:, None]
        if options.centre:
            rows = rows - (rows * shared).sum(0) / shared.sum().clamp(min=1)
        keys.append(normalise(rows * shared, options))
    return keys


def normalise(rows: Tensor, options: RouterOptions) -> Tensor:
    """Rows (..., n) to unit length, or to mean 0 and variance 1."""
    if options.normalise == "cosine":
        return F.normalize(rows, dim=-1)
    return F.layer_norm(rows, rows.shape[-1:])


def item_scores(x: Tensor, key: Tensor, mask: Tensor, options: RouterOptions) -> Tensor:
    """Scores of every piece for every item: activations x (b, t, n), key (S, n), target mask (b, t) -> (b, S)."""
    v = normalise(x, options)
    # The product is linear in v, so tokens are reduced before it: b x S products of length n, not b x t x S.
    pooled = torch.einsum("bt,btn->bn", mask.to(v.dtype), v).to(key.dtype)
    if options.reduce == "mean":
        pooled = pooled / mask.sum(1, keepdim=True).clamp(min=1).to(key.dtype)
    scores = pooled @ key.T
    return scores / math.sqrt(x.shape[-1]) if options.normalise == "layernorm" else scores


def select(scores: Tensor, shared: Tensor, n: int, options: RouterOptions) -> tuple[Tensor, Tensor]:
    """The k best shared pieces of every item and their weights: scores (b, S), shared (S,) -> index, weight (b, k).

    A weight is 0 where fewer than k pieces are shared at this position. Equal scores keep the order of the sharers.
    """
    k = min(options.k, scores.shape[1])
    barred = scores.masked_fill(~shared, -torch.inf)
    order = barred.sort(dim=1, descending=True, stable=True)
    best, index = order.values[:, :k], order.indices[:, :k]
    sharpness = options.temperature * (math.sqrt(n) if options.normalise == "cosine" else 1.0)
    none = ~shared.any()
    weight = torch.softmax(best.masked_fill(none, 0.0) / sharpness, dim=1)
    return index, weight.masked_fill(best == -torch.inf, 0.0)
