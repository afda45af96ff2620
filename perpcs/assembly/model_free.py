"""What routers do that never run the model: whole sharers by the likeness of their histories, and two controls.

    retrieval   PEFT retrieval: cosine of the person's and the sharers' embeddings, the same choice at every position
    uniform     every shared piece alike                random     k pieces at each position, drawn for each history

Per-Pcs must beat all three, or reading the person layer by layer is worth nothing.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from perpcs.assembly.options import Selecting
from perpcs.assembly.router import History, Routed
from perpcs.assembly.selection import gumbel, select
from perpcs.errors import PerpcsError
from perpcs.pool.embed import embed_users
from perpcs.pool.store import Pool
from perpcs.tasks import Item


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
