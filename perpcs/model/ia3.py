"""(IA)3 pieces: one scaling vector a sharer and position in place of a low-rank product (arXiv 2205.05638).

    y = (W x) * (1 + sum_s w_s V_s)          V_s (d,): how far the sharer's scaling vector is from 1

Mixing is as exact as with LoRA: the mean over items of scalings is the scaling of the mean. On disk and in training a
piece is an A without rows and a B with one column, V, so that everything around it is the same.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from perpcs.model.basis import Factors, Pieces, Scaling, Update


class Scalings(Pieces):
    """The scaling vectors of S sharers at P positions, as ``Pieces`` are low-rank updates."""

    @property
    def rank(self) -> int:
        return 1

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Scalings":
        moved = Scalings.__new__(Scalings)
        moved.__dict__.update(super().to(device, dtype).__dict__)
        return moved

    def shared(self, position: int, w: Tensor) -> Scaling | None:
        """Rows with weights w (b, S) on one basis; None when no sharer is used."""
        used = (w != 0).any(dim=0).nonzero()[:, 0]
        return Scaling(self.Bt[position][used, 0], self._coefficients(w[:, used])) if len(used) else None

    def whole(self, position: int, w: Tensor) -> Scaling:
        """Rows with weights w (b, S) on the basis of all sharers."""
        return Scaling(self.Bt[position][:, 0], self._coefficients(w))

    def gathered(self, position: int, index: Tensor, w: Tensor) -> Scaling:
        """Row b uses its own k sharers index (b, k) with weights w (b, k)."""
        return Scaling(self.Bt[position][index, 0], self._coefficients(w))


def make_pieces(kind: str, A: Sequence[Tensor], B: Sequence[Tensor], scale: float) -> Pieces:
    """Pieces of a kind from per position A (S, r, n) and B (S, d, r); of (IA)3 A is empty and r of B is 1."""
    return Scalings(A, B, scale) if kind == "ia3" else Pieces(A, B, scale)


def own_update(kind: str, A: Tensor, Bt: Tensor, c: Tensor) -> Update:
    """What rows with pieces of their own add at a position: A (b, r, n), Bt (b, r, d), c (b, 1 or t, r)."""
    return Scaling(Bt, c) if kind == "ia3" else Factors(A, Bt, c)
