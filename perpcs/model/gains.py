"""What a batch of texts says of pieces: how much each would help each item, and what the layers read meanwhile.

    gains        g_ips = - d loss_i / d w_ps at w = 0     one forward and one backward pass give it for every piece
    inputs       v_ip  = mean over the target tokens of item i of what position p reads

Both are of the base model. No gradient of any weight matrix is computed, and the pieces of all sharers lie on one
basis, so the first costs little more than a forward and a backward pass of the base model, the second only a forward
one.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, Pieces
from perpcs.model.likelihood import target_nll
from perpcs.model.text import Encoded, length_batches, pad_right, target_mask


def on_one_basis(pieces: Pieces, w: Tensor) -> Adapter:
    """The adapter of rows with weights w (b, P, S) through which gradients flow to w; b = 1 serves every row."""
    return lambda p, x: pieces.whole(p, w[:, p])


def batches_of_gains(
    base: BaseModel, pieces: Pieces, encoded: Sequence[Encoded], *, batch_tokens: int = 8192
) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """How much each item's loss (nats per target token) falls with the weight of each piece, and that loss, both at the
    base model, batch by batch.

    Args:
        batch_tokens: padded tokens of one pass; it changes speed and memory, never the result.

    Yields:
        Numbers of the items of a batch, their gains (items, P, S), larger = helps more, and their losses (items,).
    """
    P, S = len(base.positions), pieces.sharers
    kind = torch.promote_types(base.dtype, torch.float32)
    for rows in length_batches([len(item.ids) for item in encoded], batch_tokens):
        with torch.enable_grad():  # closed before the yield: a generator must not hold a mode open
            w = torch.zeros(len(rows), P, S, device=base.device, dtype=kind, requires_grad=True)
            nll, counts = target_nll(base, [encoded[row] for row in rows], on_one_basis(pieces, w))
            mean = nll / counts.clamp(min=1)
            (gradient,) = torch.autograd.grad(mean.sum(), w)
        yield rows, (-gradient).cpu().numpy(), mean.detach().cpu().numpy()


def item_gains(
    base: BaseModel,
    pieces: Pieces,
    encoded: Sequence[Encoded],
    *,
    batch_tokens: int = 8192,
    on_batch: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The gains of ``batches_of_gains``: (N, P, S).

    Args:
        on_batch: told the number of the batch that is done.
    """
    out = no_gains(base, len(encoded), pieces.sharers)
    for number, (rows, gains, _) in enumerate(batches_of_gains(base, pieces, encoded, batch_tokens=batch_tokens)):
        out[rows] = gains
        if on_batch:
            on_batch(number)
    return out


def no_gains(base: BaseModel, items: int, sharers: int) -> np.ndarray:
    """Zeros (N, P, S), in float64 where the model is."""
    kind = np.float64 if base.dtype == torch.float64 else np.float32
    return np.zeros((items, len(base.positions), sharers), dtype=kind)


@torch.no_grad()
def target_inputs(base: BaseModel, encoded: Sequence[Encoded], *, batch_tokens: int = 8192) -> list[Tensor]:
    """The mean over an item's target tokens of what every position reads in the base model: per position (N, n), on
    the CPU in float32 or more.
    """
    kind = torch.promote_types(base.dtype, torch.float32)
    found = [torch.zeros(len(encoded), position.n, dtype=kind) for position in base.positions]
    for rows in length_batches([len(item.ids) for item in encoded], batch_tokens):
        part = [encoded[row] for row in rows]
        ids = pad_right([item.ids for item in part], base.pad, base.device)
        mask = target_mask(part, ids.shape[1], base.device).to(kind)
        share = mask / mask.sum(1, keepdim=True).clamp(min=1)

        def take(p: int, x: Tensor, share: Tensor = share, rows: list[int] = rows) -> None:
            found[p][rows] = torch.einsum("bt,btn->bn", share, x.to(kind)).cpu()

        base.hidden(ids, take)
    return found
