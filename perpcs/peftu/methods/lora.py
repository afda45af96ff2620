"""LoRA (arXiv 2106.09685): a low-rank product beside each attention projection."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from perpcs.model.basis import Factors
from perpcs.peftu.method import Shape, Sized, at_positions, generator
from perpcs.peftu.scorer import Rows

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj")
SCALE = 2.0
"""alpha / r."""


class LoRA(Sized):
    name = "lora"
    title = "LoRA"
    says = "A low-rank product beside the query, key, value and output projections of each layer."
    size_means = "rank"
    default = 8
    rates = (3e-3, 1e-2, 3e-2)

    def places(self, shape: Shape) -> list[int]:
        return [p for p, _ in shape.named(*MODULES)]

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        parts = []
        for _, position in shape.named(*MODULES):
            bound = 1 / math.sqrt(position.n)  # Kaiming-uniform, as peft draws it
            A = (torch.rand(size, position.n, generator=generator(0, position.path)) * 2 - 1) * bound
            parts += [A, torch.zeros(size, position.d)]
        return parts

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        c = torch.full((1, 1, size), SCALE)
        return at_positions(
            {
                p: Factors(parameters[2 * i][owner], parameters[2 * i + 1][owner], c)
                for i, p in enumerate(self.places(shape))
            }
        )

    def mixed(self, shape: Shape, size: int, parameters: Sequence[Tensor], weights: Tensor) -> Rows:
        columns = SCALE * weights.repeat_interleave(size, 2)
        return at_positions(
            {
                p: Factors(parameters[2 * i].flatten(0, 1), parameters[2 * i + 1].flatten(0, 1), columns[:, i, None])
                for i, p in enumerate(self.places(shape))
            }
        )
