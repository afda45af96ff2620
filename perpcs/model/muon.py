"""Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/): momentum, made nearly orthogonal, as a step.

torch has one too, which always rounds to bfloat16 inside. Where a CPU has no such arithmetic that takes a hundred times
as long as the forward pass, so this one does it only when told, and it takes all matrices of a shape in one batch of
products.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration: steepest at 0, so that small singular values grow fast; they end between 0.7 and 1.2."""
_ITERATIONS = 5


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (k, d, n) with their singular values moved close to 1."""
    a, b, c = _COEFFICIENTS
    x = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrices.shape[1] <= matrices.shape[2] else x.mT


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum for matrices (d, n); a step has the size that AdamW's would have at the same rate."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-3,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        rounded: bool = False,
    ) -> None:
        self.rounded = rounded
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                average = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
                alike.setdefault(p.shape, []).append((p, torch.lerp(p.grad, average, group["momentum"])))
            for shape, some in alike.items():
                size = group["lr"] * 0.2 * math.sqrt(max(shape))
                ahead = torch.stack([one for _, one in some])
                ahead = ahead.bfloat16() if self.rounded else ahead
                for (p, _), update in zip(some, orthogonal(ahead), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=size)
