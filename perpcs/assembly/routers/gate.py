"""The paper's router: each piece has a gate, a vector that predicts for which inputs it helps (section 2.5)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from perpcs.assembly.router import Keys
from perpcs.assembly.routers.scored import Scored

if TYPE_CHECKING:
    from perpcs.pool.store import TaskPieces


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
