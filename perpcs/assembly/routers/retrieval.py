"""PEFT retrieval: whole sharers by the likeness of their histories, the same at every position. No model runs."""

from dataclasses import dataclass

from perpcs.assembly.options import Selecting
from perpcs.assembly.router import History, Routed


@dataclass(frozen=True, kw_only=True)
class Retrieval(Selecting):
    name = "retrieval"
    short = "retrieval"
    decided_by = "router"

    def route(self, history: History) -> Routed:
        from perpcs.assembly.model_free import by_scores

        if history.likeness is None:
            raise ValueError("PEFT retrieval needs the likeness of the sharers")
        _, P, _ = history.shape
        return by_scores(history, history.likeness().double().cpu().expand(P, -1), self)
