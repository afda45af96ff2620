"""A control: every shared piece has the same weight."""

from dataclasses import dataclass

import numpy as np

from perpcs.assembly.options import Options, Selecting
from perpcs.assembly.router import History, Routed


@dataclass(frozen=True, kw_only=True)
class Uniform(Options):
    name = "uniform"
    short = "uniform"
    decided_by = "router"

    def route(self, history: History) -> Routed:
        from perpcs.assembly.model_free import by_scores

        return by_scores(history, np.zeros(history.shape[1:]), Selecting(selector="all", attention=False))
