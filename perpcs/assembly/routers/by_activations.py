"""What routers share that read activations: how these are compared with a key of each piece, and the pass.

``perpcs/assembly/activations.py`` has the law.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from perpcs.assembly.routers.options import Recent, Selecting
from perpcs.assembly.routers.router import History, Routed

if TYPE_CHECKING:
    from torch import Tensor

    from perpcs.assembly.activations import Keys
    from perpcs.pool.store import TaskPieces


@dataclass(frozen=True, kw_only=True)
class ByActivations(Selecting, Recent):
    """A router that scores activations, and so any single word."""

    def keys(self, pieces: "TaskPieces") -> "list[Keys]":
        """What the activations of each position are compared with, computed once an assembly."""
        raise NotImplementedError

    def item_scores(self, x: "Tensor", keys: "Keys", mask: "Tensor") -> "Tensor":
        """Scores of every piece for every item: activations x (b, t, n), target mask (b, t) -> (b, S)."""
        raise NotImplementedError

    def token_scores(self, v: "Tensor", keys: "Keys", sharer: int) -> "Tensor":
        """What each of an item's target tokens v (m, n) adds to the item's score of one piece, (m,)."""
        raise NotImplementedError

    def scale(self, n: int) -> float:
        """What the temperature is multiplied with where inputs have n numbers."""
        return 1.0

    def route(self, history: History) -> Routed:
        from perpcs.assembly.activations import route_by_activations

        return route_by_activations(history, self)


@dataclass(frozen=True, kw_only=True)
class Scoring(ByActivations):
    """Scores by cosine or layer norm; a router adds ``keys``."""

    normalise: Literal["cosine", "layernorm"] = "cosine"
    """How gate and activation are normalised before taking their product."""
    centre: bool = True
    """First subtract the mean over sharers from keys and activations (not in the paper)."""
    standardise: bool = True
    """After centring, divide each dimension by its spread over sharers (not in the paper)."""
    reduce: Literal["sum", "mean", "pooled"] = "pooled"
    """The sum or mean of the token scores, or a single score of the mean activation (pooled: not in the paper)."""
    sqrt_n: bool = False
    """Whether a cosine score is divided by sqrt(n) before the softmax, as in the paper."""

    def scale(self, n: int) -> float:
        return math.sqrt(n) if self.sqrt_n else 1.0

    def item_scores(self, x: "Tensor", keys: "Keys", mask: "Tensor") -> "Tensor":
        from perpcs.assembly.activations import key_scores

        return key_scores(x, keys, mask, self)

    def token_scores(self, v: "Tensor", keys: "Keys", sharer: int) -> "Tensor":
        from perpcs.assembly.activations import key_token_scores

        return key_token_scores(v, keys, sharer, self)
