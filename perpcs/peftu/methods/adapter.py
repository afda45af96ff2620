"""A bottleneck adapter (Houlsby et al., arXiv 1902.00751) after the attention and after the MLP of each layer.

Without biases, so that it is made of pieces like any other; it starts at zero.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from perpcs.model.basis import Bottleneck
from perpcs.peftu.method import Shape, Sized, at_positions, generator
from perpcs.peftu.scorer import Rows

MODULES = ("o_proj", "down_proj")


class Adapter(Sized):
    name = "adapter"
    title = "Adapter"
    says = "A bottleneck of two matrices with a GELU between them, after the attention and after the MLP of each layer."
    size_means = "width of the bottleneck; the default is a sixteenth of the layer's"
    default = 36
    rates = (1e-3, 3e-3, 1e-2)

    def places(self, shape: Shape) -> list[int]:
        return [p for p, _ in shape.named(*MODULES)]

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        parts = []
        for _, position in shape.named(*MODULES):
            bound = 1 / math.sqrt(position.d)
            A = (torch.rand(size, position.d, generator=generator(0, position.path)) * 2 - 1) * bound
            parts += [A, torch.zeros(size, position.d)]
        return parts

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        c = torch.ones(1, 1, size)
        return at_positions(
            {
                p: Bottleneck(parameters[2 * i][owner], parameters[2 * i + 1][owner], c)
                for i, p in enumerate(self.places(shape))
            }
        )

    def mixed(self, shape: Shape, size: int, parameters: Sequence[Tensor], weights: Tensor) -> Rows:
        columns = weights.repeat_interleave(size, 2)
        return at_positions(
            {
                p: Bottleneck(parameters[2 * i].flatten(0, 1), parameters[2 * i + 1].flatten(0, 1), columns[:, i, None])
                for i, p in enumerate(self.places(shape))
            }
        )
