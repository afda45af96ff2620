"""Routers that never run the model: whole sharers by the likeness of their histories, and two controls.

    retrieval   PEFT retrieval: cosine of the person's and the sharers' embeddings, the same choice at every position
    uniform     every shared piece alike                random     k pieces at each position, drawn for each history

Per-Pcs must beat all three, or reading the person layer by layer is worth nothing.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from perpcs.assembly.options import RouterOptions
from perpcs.errors import PerpcsError
from perpcs.model.text import Encoded
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


def blind_scores(
    options: RouterOptions, positions: int, sharers: int, encoded: Sequence[Encoded], alike: Tensor | None
) -> Tensor:
    """Scores of every piece, (P, S): likeness, nothing, or what is drawn from the history's own tokens as the seed."""
    if options.router == "uniform":
        return torch.zeros(positions, sharers, dtype=torch.float64)
    if options.router == "random":
        words = np.concatenate([np.asarray(item.ids, dtype=np.int64) for item in encoded])
        draws = np.random.default_rng([options.seed, crc32(words.tobytes())])
        return torch.from_numpy(draws.random((positions, sharers)))
    if alike is None:
        raise ValueError("PEFT retrieval needs the likeness of the sharers")
    return alike.double().cpu().expand(positions, -1)
