"""What a router is: its options, and a method that turns a history into weights.

    History (base model, pieces, encoded items)  -->  Router.route  -->  Routed (weights, scores, what each item chose)

A router's file imports nothing heavy at its top: the command line and the pages read options without loading torch.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from perpcs.assembly.options import Recent, Selecting

if TYPE_CHECKING:
    from torch import Tensor

    from perpcs.model.base import BaseModel
    from perpcs.model.text import Encoded
    from perpcs.pool.store import TaskPieces


class Router(Protocol):
    """A way to find a person's weights. The fields of an instance are its options, all with a default."""

    name: ClassVar[str]
    """As on the command line and in records."""
    short: ClassVar[str]
    """As in the titles of pages and figures: ``distilled gates``."""
    decided_by: ClassVar[str]
    """What makes the weights: the items' ``votes``, the ``loss``, or the ``router`` alone, without a pass of the model.
    """

    @property
    def share_ratio(self) -> float: ...

    @property
    def without(self) -> tuple[str, ...]: ...

    @property
    def seed(self) -> int: ...

    def idle(self) -> set[str]:
        """Options that have no effect, given the others."""

    def route(self, history: "History") -> "Routed":
        """The weights of a history.

        Raises:
            PerpcsError: when the pool lacks what the router needs.
        """


@dataclass(frozen=True)
class Keys:
    """What the activations of one position are compared with. S sharers, n inputs."""

    rows: "Tensor"
    """Normalised keys, (S, n), in float32 or more; zero for a piece that is not shared, so that it scores 0."""
    centre: "Tensor | None" = None
    """Subtracted from activations, (n,)."""
    spread: "Tensor | None" = None
    """Activations are divided by it, (n,)."""


@dataclass(frozen=True, kw_only=True)
class ByActivations(Selecting, Recent):
    """A router that scores activations, and so any single word."""

    def keys(self, pieces: "TaskPieces") -> list[Keys]:
        """What the activations of each position are compared with, computed once an assembly."""
        raise NotImplementedError

    def item_scores(self, x: "Tensor", keys: Keys, mask: "Tensor") -> "Tensor":
        """Scores of every piece for every item: activations x (b, t, n), target mask (b, t) -> (b, S)."""
        raise NotImplementedError

    def token_scores(self, v: "Tensor", keys: Keys, sharer: int) -> "Tensor":
        """What each of an item's target tokens v (m, n) adds to the item's score of one piece, (m,)."""
        raise NotImplementedError

    def scale(self, n: int) -> float:
        """What the temperature is multiplied with where inputs have n numbers."""
        return 1.0


@dataclass(frozen=True)
class Step:
    """Told after every position of every batch."""

    position: int
    positions: int
    batch: int
    batches: int
    weights: np.ndarray
    """Mean weights over the items read so far, (P, S); zeros at positions not reached yet."""
    seconds: float


@dataclass(frozen=True)
class History:
    """What a router reads. N items, P positions, S sharers."""

    base: "BaseModel"
    pieces: "TaskPieces"
    """Those that the options leave."""
    items: "Sequence[Encoded]"
    """Prompts and answers, oldest first."""
    texts: bool = False
    """Whether the task's answers are texts."""
    likeness: "Callable[[], Tensor] | None" = None
    """Gives the cosine of this history's embedding and each sharer's, (S,)."""
    batch_tokens: int = 8192
    """Padded tokens of one pass; it changes speed and memory, never the result."""
    on_position: Callable[[Step], None] | None = None
    began: float = field(default_factory=time.perf_counter)

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, P, S."""
        return len(self.items), len(self.base.positions), self.pieces.pieces.sharers

    def batches(self) -> list[list[int]]:
        """Numbers of the items of each pass."""
        from perpcs.model.text import length_batches

        return length_batches([len(item.ids) for item in self.items], self.batch_tokens)

    def tell(self, number: int, of: int, weights: np.ndarray, position: int | None = None) -> None:
        """Tell whoever watches the weights (P, S) after a step; without a position, all of them were reached."""
        if self.on_position:
            P = len(self.base.positions)
            at, seconds = P - 1 if position is None else position, time.perf_counter() - self.began
            self.on_position(Step(at, P, number, of, weights.astype(np.float32), seconds))


@dataclass(frozen=True)
class Routed:
    """What a history chose, before it becomes a record; in float64 where the model is."""

    weights: np.ndarray
    """(P, S)."""
    scores: np.ndarray
    """(P, S)."""
    index: np.ndarray
    """Sharers that each item chose, best first, int16 (N, P, k); -1 = none."""
    votes: np.ndarray
    """The weight of each choice, float16 (N, P, k)."""
    own: np.ndarray | None = None
    """The person's own piece as a record holds it."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What else a router found, as a record holds it."""
