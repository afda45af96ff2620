"""How scores become weights: a selector keeps some pieces and weights them by softmax(score / temperature)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from perpcs.assembly.options import Selecting


def width(options: Selecting, sharers: int) -> int:
    """How many pieces an item may keep at a position, K."""
    return min(options.k, sharers) if options.selector in ("top_k", "sample") else sharers


def gumbel(options: Selecting, shape: Sequence[int]) -> Tensor | None:
    """Noise to sample with, of the given shape (..., S); None where nothing is sampled.

    The k largest of logits plus Gumbel noise are k draws from their softmax without putting back.
    """
    if options.selector != "sample":
        return None
    draws = torch.rand(*shape, generator=torch.Generator().manual_seed(options.seed), dtype=torch.float64)
    return -(-draws.clamp(min=1e-12).log()).log()


def select(
    scores: Tensor, shared: Tensor, options: Selecting, noise: Tensor | None = None, *, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The pieces that every item keeps, best first, and their weights: scores (b, S), shared (S,) -> index, weight
    (b, K).

    A weight is 0 where fewer than K pieces are kept at this position. Equal scores keep the order of the sharers.

    Args:
        noise: (b, S), what ``gumbel`` drew for these items.
        scale: multiplies the temperature; sqrt(n) in the paper.
    """
    K = width(options, scores.shape[1])
    sharpness = options.temperature * scale
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
