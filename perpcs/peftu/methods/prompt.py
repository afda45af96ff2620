"""Prompt tuning (Lester et al., arXiv 2104.08691): the vectors of tokens before the question.

They enter at the first adapted layer: late prompt tuning (arXiv 2210.11292), and prompt tuning itself at layer 0.
"""

from collections.abc import Sequence

from torch import Tensor

from perpcs.peftu.method import Shape, Sized, cycled
from perpcs.peftu.scorer import Rows


class Prompt(Sized):
    name = "prompt"
    title = "Prompt tuning"
    says = "Vectors in front of the question, where the first adapted layer reads words."
    size_means = "tokens"
    default = 20
    rates = (3e-2, 1e-1, 3e-1)

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        return [cycled(shape.start_tokens.float().cpu(), size).clone()]

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        del shape, size
        return Rows(soft=parameters[0][owner])
