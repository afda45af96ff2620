"""What gates and prototypes share: scores by cosine or layer norm, and the pass over the history."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perpcs.assembly.router import ByActivations, History, Keys, Routed, Scoring

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Scored(Scoring, ByActivations):
    """A router adds ``keys``."""

    def scale(self, n: int) -> float:
        return math.sqrt(n) if self.sqrt_n else 1.0

    def item_scores(self, x: "Tensor", keys: Keys, mask: "Tensor") -> "Tensor":
        from perpcs.assembly.activations import key_scores

        return key_scores(x, keys, mask, self)

    def token_scores(self, v: "Tensor", keys: Keys, sharer: int) -> "Tensor":
        from perpcs.assembly.activations import key_token_scores

        return key_token_scores(v, keys, sharer, self)

    def route(self, history: History) -> Routed:
        from perpcs.assembly.activations import route_by_activations

        return route_by_activations(history, self)
