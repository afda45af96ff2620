"""What a method is: parameters of one person, and what rows of a batch carry because of them.

    start(shape, size)                      one person's parameters before training, the same for everybody
    rows(shape, size, parameters, owner)    what each row carries: parameters (people, ...), row b belongs to owner[b]

People are trained together in batches; the first axis of every parameter is the person, and no number of one person
depends on another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from perpcs.model.base import BaseModel
from perpcs.model.basis import Update
from perpcs.peftu.scorer import Rows, Scorer
from perpcs.schema import Position


@dataclass(frozen=True)
class Shape:
    """What parameters are made for."""

    base: BaseModel
    first_layer: int
    labels: int
    start_tokens: Tensor
    """Tokens as they enter the first layer, (t, width), from which soft prompts start."""
    start_text: dict[int, tuple[Tensor, Tensor]]
    """Keys and values of some tokens, (k, t, size), by layer, from which prefixes start."""

    @property
    def width(self) -> int:
        return self.start_tokens.shape[1]

    @property
    def positions(self) -> list[tuple[int, Position]]:
        """Number and position of the layers that may be adapted."""
        return [(p, one) for p, one in enumerate(self.base.positions) if one.layer >= self.first_layer]

    def named(self, *modules: str) -> list[tuple[int, Position]]:
        """Those of some modules."""
        return [(p, one) for p, one in self.positions if one.module in modules]


class Method(Protocol):
    """A way to adapt the model to one person. A class of a file in ``methods/``; ``methods/__init__.py`` lists them."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def says(self) -> str:
        """Where it sits and what it trains, in one sentence."""

    @property
    def size_means(self) -> str: ...

    @property
    def default(self) -> int:
        """Its size as usual."""

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rates that are searched."""

    def matched(self, shape: Shape, budget: int) -> int:
        """The size whose number of trained parameters is nearest to a budget."""

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        """One person's parameters before training, float32."""

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        """What each row carries."""

    def count(self, shape: Shape, size: int) -> int:
        """Numbers that are trained."""

    def kept(self, shape: Shape, size: int) -> int:
        """Numbers that are kept of a person after training."""


class InPieces(Method, Protocol):
    """A method whose modules are cut into pieces, so that other people's can be mixed."""

    def places(self, shape: Shape) -> list[int]:
        """The P positions of its pieces."""

    def mixed(self, shape: Shape, size: int, parameters: Sequence[Tensor], weights: Tensor) -> Rows:
        """What rows with weights (b, P, S) of S people's pieces carry; 0 is the base model."""


class Sized:
    """What most methods share: the size is found by counting, and everything trained is kept."""

    largest: ClassVar[int] = 512

    def count(self: Any, shape: Shape, size: int) -> int:
        return sum(part.numel() for part in self.start(shape, size))

    def matched(self: Any, shape: Shape, budget: int) -> int:
        low, high = 1, self.largest
        while low < high:  # the count rises with the size
            middle = (low + high) // 2
            low, high = (low, middle) if self.count(shape, middle) >= budget else (middle + 1, high)
        return min((max(low - 1, 1), low), key=lambda size: abs(self.count(shape, size) - budget))

    def kept(self: Any, shape: Shape, size: int) -> int:
        return self.count(shape, size)


def at_positions(updates: dict[int, Update]) -> Rows:
    """Rows with an update at some positions."""
    return Rows(adapter=lambda p, x: updates.get(p))


def generator(seed: int, name: str) -> torch.Generator:
    """A private source of random numbers."""
    return torch.Generator().manual_seed(seed * 1_000_003 + sum(ord(c) * 31**i for i, c in enumerate(name)) % 999_983)


def cycled(tokens: Tensor, count: int) -> Tensor:
    """The first ``count`` of tokens (t, ...) repeated without end."""
    return tokens[torch.arange(count) % len(tokens)]


def shape_of(scorer: Scorer) -> Shape:
    """The shape of a scorer's model; soft prompts and prefixes start from what the task asks."""
    asked = scorer.asked()
    return Shape(scorer.base, scorer.first_layer, len(scorer.task.words), asked.hidden, asked.text)
