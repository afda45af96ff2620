"""(IA)3 (arXiv 2205.05638): each number of keys, values and the inner layer of the MLP is scaled."""

from collections.abc import Sequence

import torch
from torch import Tensor

from perpcs.model.basis import Scaling
from perpcs.peftu.method import Shape, Sized, at_positions
from perpcs.peftu.scorer import Rows

MODULES = ("k_proj", "v_proj", "up_proj")
"""To scale what up_proj gives is to scale what down_proj reads: the inner layer of a gated MLP is their product."""


class IA3(Sized):
    name = "ia3"
    title = "(IA)³"
    says = "Scaling vectors on keys, values and the inner layer of each MLP."
    size_means = "has one size"
    default = 1
    rates = (1e-2, 3e-2, 1e-1)
    largest = 1

    def places(self, shape: Shape) -> list[int]:
        return [p for p, _ in shape.named(*MODULES)]

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        del size
        return [torch.zeros(1, position.d) for _, position in shape.named(*MODULES)]

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        del size
        c = torch.ones(1, 1, 1)
        return at_positions({p: Scaling(own[owner], c) for p, own in zip(self.places(shape), parameters, strict=True)})

    def mixed(self, shape: Shape, size: int, parameters: Sequence[Tensor], weights: Tensor) -> Rows:
        del size
        return at_positions(
            {
                p: Scaling(own[:, 0], weights[:, i, None])
                for i, (p, own) in enumerate(zip(self.places(shape), parameters, strict=True))
            }
        )
