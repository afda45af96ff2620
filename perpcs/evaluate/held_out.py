"""Held-out loss of an assembled person: one number, to compare two assemblies of the same person by."""

from collections.abc import Sequence

import torch

from perpcs.assembly.own import own_piece
from perpcs.assembly.record import Assembly
from perpcs.model.base import BaseModel
from perpcs.model.basis import Updates, fixed, own_updates, together
from perpcs.model.likelihood import target_nll
from perpcs.model.text import encode_pair
from perpcs.pool.store import Pool
from perpcs.tasks import Query, get_task


@torch.no_grad()
def held_out_loss(base: BaseModel, pool: Pool, assembly: Assembly, queries: Sequence[Query]) -> float | None:
    """Nats per target token of the person's own answers, which lie after their history; None where none is known."""
    task = get_task(assembly.task)
    pairs = [
        encode_pair(base.tokenizer, task.prompt(query), f" {query.gold}", base.max_tokens)
        for query in queries
        if query.gold
    ]
    if not pairs:
        return None
    pieces = pool.pieces(task.name, base.device, base.dtype).pieces
    weights = torch.from_numpy(assembly.weights).to(base.device, base.dtype).expand(len(pairs), -1, -1)
    shared: list[Updates] = [pieces.shared(p, weights[:, p]) for p in range(len(pieces))]
    own = own_updates([own_piece(assembly.own, base.positions)] * len(pairs), base.device, base.dtype)
    nll, counts = target_nll(base, pairs, fixed(together(shared, own)))
    return float(nll.sum()) / float(counts.sum())
