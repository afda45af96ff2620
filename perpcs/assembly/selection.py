"""How scores become weights (a selector keeps some pieces and weights them by softmax(score / temperature)), and what
routers do that never run the model: whole sharers by the likeness of their histories, and two controls.

    retrieval   PEFT retrieval: cosine of the person's and the sharers' embeddings, the same choice at every position
    uniform     every shared piece alike                random     k pieces at each position, drawn for each history

Per-Pcs must beat all three, or reading the person layer by layer is worth nothing.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from perpcs.assembly.router import History, Routed, Selecting
from perpcs.errors import PerpcsError
from perpcs.pool.embed import embed_users
from perpcs.pool.store import Pool
from perpcs.tasks import Item

# ---- selectors -------------------------------------------------------------------------------------------------------


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


# ---- without the model -----------------------------------------------------------------------------------------------


def likeness(pool: Pool, task: str, items: Sequence[Item]) -> Tensor:
    """Cosine between the embedding of a history and of each sharer's: float32 (S,).

    Raises:
        PerpcsError: when the pool stores no embeddings of its sharers.
    """
    sharers = pool.embeddings(task)
    if sharers is None:
        raise PerpcsError(
            f"The pool stores no embeddings of the sharers of {task}.", "Build the pool again, or take another router."
        )
    person = embed_users([items], pool.task(task).encoder)[0]
    return F.normalize(sharers, dim=1) @ F.normalize(person, dim=0)


def by_scores(history: History, scores: np.ndarray | Tensor, options: Selecting) -> Routed:
    """Weights from scores (P, S) that no pass of the model made. No item votes: the choice is the same whatever was
    written where.
    """
    scores = torch.as_tensor(scores)
    N, P, S = history.shape
    noise = gumbel(options, (1, P, S))
    weights = torch.zeros(P, S, dtype=scores.dtype)
    for p, mask in enumerate(history.pieces.mask.cpu()):
        drawn = None if noise is None else noise[:, 0]  # whole sharers: the same draw at every position
        picked, weight = select(scores[p : p + 1], mask, options, drawn)
        weights[p].scatter_(0, picked[0], weight[0])
    history.tell(0, 1, weights.float().numpy())
    nobody = np.zeros((N, P, 0))
    return Routed(weights.numpy(), scores.numpy(), nobody.astype(np.int16), nobody.astype(np.float16))
