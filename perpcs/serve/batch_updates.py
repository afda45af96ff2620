"""What a batch of prepared people adds to the base model: shared-pool weights, own pieces and whole LoRAs beside each
other, row by row.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from perpcs.model.base import BaseModel
from perpcs.model.basis import Pieces, Updates, own_updates, together
from perpcs.personalizers.methods import Prepared


def row_updates(base: BaseModel, pieces: Pieces, rows: Sequence[Prepared]) -> list[Updates]:
    """Updates of a batch, one entry a position. A row that carries nothing answers with the base model, to the bit."""
    weights = row_weights(base, pieces, rows)
    shared: list[Updates] = [pieces.shared(p, weights[:, p]) for p in range(len(pieces))]
    return together(shared, own_updates([row.own for row in rows], base.device, base.dtype))


def row_weights(base: BaseModel, pieces: Pieces, rows: Sequence[Prepared]) -> Tensor:
    """Weights of a batch, (b, P, S); zeros where a row carries none."""
    dense = np.zeros((len(rows), len(pieces), pieces.sharers), dtype=np.float32)
    for index, row in enumerate(rows):
        if row.weights is not None:
            dense[index] = row.weights
    return torch.from_numpy(dense).to(base.device, base.dtype)
