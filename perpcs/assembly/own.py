"""A person's own rank-1 piece, trained on top of the pieces of others: a few KB beside the weights.

Others' pieces cannot say what nobody among the sharers does. The own piece learns the rest, while the fitted weights
stay as they are. In a record it is one flat array of half floats: A (n) then B (d), position by position.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from perpcs.assembly.descent import FitOptions, fit_batches, pull_of
from perpcs.assembly.options import item_shares
from perpcs.assembly.router import History
from perpcs.errors import PerpcsError
from perpcs.model.basis import Factors, OwnPiece, Update, as_list
from perpcs.model.likelihood import target_nll
from perpcs.pool.train import PieceSettings, initial_A
from perpcs.positions import Position


def own_piece(own: np.ndarray, positions: Sequence[Position]) -> OwnPiece | None:
    """The piece that a record holds (``Assembly.own``), rank 1; None where it holds none.

    Raises:
        PerpcsError: when it does not fit the positions.
    """
    if not own.size:
        return None
    if own.size != sum(position.n + position.d for position in positions):
        raise PerpcsError("The person's own piece does not fit the pool's layers.", "Assemble the person again.")
    flat, at = torch.from_numpy(own.astype(np.float32)), 0
    A, Bt = [], []
    for position in positions:
        A.append(flat[at : at + position.n][None])
        Bt.append(flat[at + position.n : at + position.n + position.d][None])
        at += position.n + position.d
    return OwnPiece(A, Bt)


@torch.enable_grad()
def train_own(
    history: History,
    weights: np.ndarray,
    options: FitOptions,
    rate: float,
    on_step: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Train a rank-1 piece at every position beside fixed weights (P, S).

    Args:
        options: those of the fit.
        rate: learning rate of the first step; it decays to 0.
        on_step: told the number of the step.

    Returns:
        Float16, flat: A (n) then B (d), position by position.
    """
    base, task, encoded = history.base, history.pieces, history.items
    batches = fit_batches(len(encoded), options.steps)
    settings = PieceSettings(rank=1)
    like = torch.zeros(1, device=base.device, dtype=torch.promote_types(base.dtype, torch.float32))
    A = [initial_A("", p.path, p.n, settings).to(like).requires_grad_() for p in base.positions]
    B = [like.new_zeros(1, p.d).requires_grad_() for p in base.positions]
    w = torch.from_numpy(weights)[None].to(like)
    others = [task.pieces.shared(p, w[:, p]) for p in range(len(base.positions))]
    one = like.new_ones(1, 1, 1)

    def adapter(p: int, x: Tensor) -> list[Update]:
        return [*as_list(others[p]), Factors(A[p], B[p], one)]

    count = torch.from_numpy(item_shares(len(encoded), options.half_life) * len(encoded)).to(like)
    pull = pull_of(encoded, options)
    optimiser = torch.optim.Adam([*A, *B], lr=rate, betas=(0.9, 0.99))
    for step, rows in enumerate(batches):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / len(batches))
        nll, tokens = target_nll(base, [encoded[row] for row in rows], adapter)
        loss = (nll * count[list(rows)]).sum() / (tokens * count[list(rows)]).sum()
        (loss + pull * torch.stack([b.square().sum() for b in B]).sum()).backward()
        optimiser.step()
        optimiser.zero_grad()
        if on_step:
            on_step(step)
    flat = [part.detach().flatten() for pair in zip(A, B, strict=True) for part in pair]
    return torch.cat(flat).cpu().numpy().astype(np.float16)
