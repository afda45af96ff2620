"""Prefix tuning (Li and Liang, arXiv 2101.00190): keys and values of tokens that are not there, in each layer.

They start as the keys and values of what the task asks, as that paper recommends for little data.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from perpcs.model.basis import Prefixes
from perpcs.peftu.method import Shape, Sized, at_positions, cycled
from perpcs.peftu.scorer import Rows


class Prefix(Sized):
    name = "prefix"
    title = "Prefix tuning"
    says = "Keys and values of tokens that every word attends to, in the attention of each layer."
    size_means = "tokens"
    default = 20
    rates = (1e-2, 3e-2, 1e-1)

    def places(self, shape: Shape) -> list[int]:
        return [p for p, _ in shape.named("o_proj")]

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        parts = []
        for _, position in shape.named("o_proj"):
            for part in shape.start_text[position.layer]:
                parts.append(cycled(part.transpose(0, 1).flatten(1).float().cpu(), size).clone())
        return parts

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        del size
        c = torch.ones(1, 1, 1)
        return at_positions(
            {
                p: Prefixes(parameters[2 * i][owner], parameters[2 * i + 1][owner], c)
                for i, p in enumerate(self.places(shape))
            }
        )

    def mixed(self, shape: Shape, size: int, parameters: Sequence[Tensor], weights: Tensor) -> Rows:
        del size
        return at_positions(
            {
                p: Prefixes(parameters[2 * i].flatten(0, 1), parameters[2 * i + 1].flatten(0, 1), weights[:, i, None])
                for i, p in enumerate(self.places(shape))
            }
        )
