"""Arrow: a piece's key is the input that it amplifies most (Ostapenko et al., 2024). Needs no training and no text of
the owner; its sign means nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perpcs.assembly.router import ByActivations, History, Keys, Routed

if TYPE_CHECKING:
    from torch import Tensor

    from perpcs.pool.store import TaskPieces


@dataclass(frozen=True, kw_only=True)
class Arrow(ByActivations):
    name = "arrow"
    short = "arrow"
    decided_by = "votes"

    def keys(self, pieces: "TaskPieces") -> list[Keys]:
        from perpcs.assembly.activations import arrow_keys

        return arrow_keys(pieces)

    def item_scores(self, x: "Tensor", keys: Keys, mask: "Tensor") -> "Tensor":
        from perpcs.assembly.activations import arrow_scores

        return arrow_scores(x, keys, mask)

    def token_scores(self, v: "Tensor", keys: Keys, sharer: int) -> "Tensor":
        from perpcs.assembly.activations import arrow_token_scores

        return arrow_token_scores(v, keys, sharer)

    def route(self, history: History) -> Routed:
        from perpcs.assembly.activations import route_by_activations

        return route_by_activations(history, self)
