"""The gate router without gates: a piece's key is the mean input of its owner's target tokens. Nothing is trained."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perpcs.assembly.router import Keys
from perpcs.assembly.routers.gate import Scored

if TYPE_CHECKING:
    from perpcs.pool.store import TaskPieces


@dataclass(frozen=True, kw_only=True)
class Prototype(Scored):
    name = "prototype"
    short = "prototypes"
    decided_by = "votes"

    def keys(self, pieces: "TaskPieces") -> list[Keys]:
        from perpcs.assembly.activations import scored_keys

        return scored_keys(pieces, pieces.prototypes, self, dual=False)
