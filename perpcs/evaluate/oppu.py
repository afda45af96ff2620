"""OPPU (Tan et al., 2024) in its simplest honest form: one LoRA trained for one person on their history alone.

It is trained by ``train_pieces``, the code that trains a sharer's pieces, with the settings that the pool's sharers
had, and its rows carry their own A and B through the shared layer.
"""

import torch

from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter
from perpcs.model.ia3 import own_update
from perpcs.pool.train import PieceSettings, TrainedPieces


def own_adapter(base: BaseModel, trained: TrainedPieces, owner: torch.Tensor, settings: PieceSettings) -> Adapter:
    """The adapter of a batch whose row b belongs to person owner[b]: each row carries its own LoRA whole."""
    A = [a.to(base.device, base.dtype)[owner] for a in trained.A]
    Bt = [b.mT.to(base.device, base.dtype)[owner] for b in trained.B]
    c = torch.full((1, 1, settings.rank), settings.alpha / settings.rank, device=base.device, dtype=base.dtype)
    return lambda p, x: own_update(settings.kind, A[p], Bt[p], c)
