"""Scoring pieces by what the model is about to say: the gate router of the paper, and what can stand in its place.

At each position, for each history item: the target tokens' input activations v_t are compared with every piece's key
(its gate g_s, or its owner's mean activation), and token scores are reduced to one score an item and piece:

    score_s = reduce_t  norm(g_s) . norm(v_t)               cosine, or layer norm with the product divided by sqrt(n)

Arrow needs no training and no text of the owner: its key is the input that the piece amplifies most, the top right
singular vector of B_s A_s, whose sign means nothing, so score_s = mean_t |key_s . v_t / |v_t||.

Then a selector keeps some pieces and weights them by softmax(score / temperature); the paper divides its summed cosines
by sqrt(n) too. Centring subtracts from keys and activations what all sharers have in common, which would otherwise
decide every choice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from perpcs.assembly.options import RouterOptions
from perpcs.errors import PerpcsError
from perpcs.model.basis import Pieces
from perpcs.model.ia3 import Scalings
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
    if options.router == "arrow":
        if isinstance(task.pieces, Scalings):
            raise PerpcsError(
                "Arrow looks at low-rank pieces, and this pool's are scaling vectors.", "Take another router."
            )
        return [Keys(amplified(task.pieces, p) * mask[:, None], None, None) for p, mask in enumerate(task.mask)]
    keys = []
    gates = task.distilled if options.gates == "distilled" and task.distilled else task.gates
    for p, mask in enumerate(task.mask):
        kind = torch.promote_types(task.prototypes[p].dtype, torch.float32)
        shared = mask.to(kind)[:, None]
        count = shared.sum().clamp(min=1)
        prototypes = task.prototypes[p].to(kind)
        rows = prototypes if options.router == "prototype" else gates[p].to(kind)
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


def amplified(pieces: Pieces, position: int) -> Tensor:
    """The unit input that every piece amplifies most, the top right singular vector of B A: (S, n).

    A^T = Q R gives B A = (B R^T) Q^T, so only matrices of the rank's width are decomposed.
    """
    kind = torch.promote_types(pieces.A[position].dtype, torch.float32)
    q, r = torch.linalg.qr(pieces.A[position].to(kind).mT)  # (S, n, r), (S, r, r)
    small = pieces.Bt[position].to(kind).mT @ r.mT  # (S, d, r)
    top = torch.linalg.svd(small, full_matrices=False).Vh[:, 0]  # (S, r)
    return (q @ top[:, :, None])[:, :, 0]


def normalise(rows: Tensor, options: RouterOptions) -> Tensor:
    """Rows (..., n) to unit length, or to mean 0 and variance 1."""
    if options.normalise == "cosine":
        return F.normalize(rows, dim=-1)
    return F.layer_norm(rows, rows.shape[-1:])


def item_scores(x: Tensor, keys: Keys, mask: Tensor, options: RouterOptions) -> Tensor:
    """Scores of every piece for every item: activations x (b, t, n), target mask (b, t) -> (b, S)."""
    rows, columns = mask.nonzero(as_tuple=True)
    v = x[rows, columns].to(keys.rows.dtype)  # the m target tokens alone, (m, n): most of a text is prompt
    if options.router == "arrow":
        size = (F.normalize(v, dim=-1) @ keys.rows.T).abs()
        total = size.new_zeros(len(x), size.shape[1]).index_add(0, rows, size)
        return total / (mask != 0).sum(1, keepdim=True).clamp(min=1)
    if options.reduce != "pooled":
        v = normalise(shifted(v, keys), options)
    # The product is linear in v, so tokens are reduced before it: b x S products of length n, not m x S.
    reduced = v.new_zeros(len(x), v.shape[1]).index_add(0, rows, v)
    if options.reduce != "sum":
        reduced = reduced / (mask != 0).sum(1, keepdim=True).clamp(min=1)
    if options.reduce == "pooled":
        reduced = normalise(shifted(reduced, keys), options)
    scores = reduced @ keys.rows.T
    return scores / math.sqrt(x.shape[-1]) if options.normalise == "layernorm" else scores


def shifted(v: Tensor, keys: Keys) -> Tensor:
    """Activations (..., n) as the keys are: centred, and divided by the spread."""
    v = v if keys.centre is None else v - keys.centre
    return v if keys.spread is None else v / keys.spread


def width(options: RouterOptions, sharers: int) -> int:
    """How many pieces an item may keep at a position, K."""
    return min(options.k, sharers) if options.selector in ("top_k", "sample") else sharers


def gumbel(options: RouterOptions, shape: Sequence[int]) -> Tensor | None:
    """Noise to sample with, of the given shape (..., S); None where nothing is sampled.

    The k largest of logits plus Gumbel noise are k draws from their softmax without putting back.
    """
    if options.selector != "sample":
        return None
    draws = torch.rand(*shape, generator=torch.Generator().manual_seed(options.seed), dtype=torch.float64)
    return -(-draws.clamp(min=1e-12).log()).log()


def select(
    scores: Tensor, shared: Tensor, n: int, options: RouterOptions, noise: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The pieces that every item keeps, best first, and their weights: scores (b, S), shared (S,) -> index, weight
    (b, K).

    A weight is 0 where fewer than K pieces are kept at this position. Equal scores keep the order of the sharers.

    Args:
        noise: (b, S), what ``gumbel`` drew for these items.
    """
    K = width(options, scores.shape[1])
    sharpness = options.temperature * (math.sqrt(n) if options.sqrt_n else 1.0)
    barred = scores.masked_fill(~shared, -torch.inf)
    ranked = barred if noise is None else barred / sharpness + noise.to(scores)
    index = ranked.sort(dim=1, descending=True, stable=True).indices[:, :K]
    best = barred.gather(1, index)
    kept = best > -torch.inf
    logits = torch.where(kept, best, -1e30) / sharpness  # finite, so that nothing shared gives no NaN
    if options.selector == "top_p":
        share = torch.softmax(logits, dim=1)
        kept &= share.cumsum(1) - share < options.p
    if not options.attention:
        logits = torch.zeros_like(logits)
    weight = torch.softmax(logits.masked_fill(~kept, -1e30), dim=1)
    return index, weight.masked_fill(~kept, 0.0)
