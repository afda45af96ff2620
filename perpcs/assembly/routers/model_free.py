"""Routers that never run the model. PEFT retrieval: whole sharers by the likeness of their histories, the same at every
position. Two controls: every shared piece has the same weight, and k pieces at each position, all alike, drawn for each
history from its own tokens as the seed.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from perpcs.assembly.router import History, Options, Routed, Selecting, number

# ---- retrieval -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Retrieval(Selecting):
    name = "retrieval"
    short = "retrieval"
    decided_by = "router"

    def route(self, history: History) -> Routed:
        from perpcs.assembly.activations import by_scores

        if history.likeness is None:
            raise ValueError("PEFT retrieval needs the likeness of the sharers")
        _, P, _ = history.shape
        return by_scores(history, history.likeness().double().cpu().expand(P, -1), self)


# ---- uniform ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Uniform(Options):
    name = "uniform"
    short = "uniform"
    decided_by = "router"

    def route(self, history: History) -> Routed:
        from perpcs.assembly.activations import by_scores

        return by_scores(history, np.zeros(history.shape[1:]), Selecting(selector="all", attention=False))


# ---- random ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Random(Options):
    name = "random"
    short = "random"
    decided_by = "router"

    k: int = number(3, 1, 10_000)
    """Number of pieces each item keeps at each position."""

    def route(self, history: History) -> Routed:
        from perpcs.assembly.activations import by_scores

        words = np.concatenate([np.asarray(item.ids, dtype=np.int64) for item in history.items])
        draws = np.random.default_rng([self.seed, crc32(words.tobytes())]).random(history.shape[1:])
        return by_scores(history, draws, Selecting(k=self.k, attention=False))
