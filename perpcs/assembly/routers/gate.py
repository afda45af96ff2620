"""The paper's router: each piece has a gate, a vector that predicts for which inputs it helps (section 2.5).

``Scored`` is what gates and prototypes share: scores by cosine or layer norm, and the pass over the history.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from perpcs.assembly.router import ByActivations, History, Keys, Routed, Scoring

if TYPE_CHECKING:
    from torch import Tensor

    from perpcs.pool.store import TaskPieces


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


@dataclass(frozen=True, kw_only=True)
class Gate(Scored):
    name = "gate"
    short = "distilled gates"
    decided_by = "votes"

    gates: Literal["distilled", "trained"] = "distilled"
    """Distilled: fitted to predict which pieces lower the loss of people who do not share (not in the paper). Trained:
    trained on their owners' own words, as published. A pool without distilled gates has only trained ones."""

    def keys(self, pieces: "TaskPieces") -> list[Keys]:
        from perpcs.assembly.activations import scored_keys

        gates = pieces.distilled if self.gates == "distilled" and pieces.distilled else pieces.gates
        return scored_keys(pieces, gates, self, dual=True)
