"""A control: k pieces at each position, all alike, drawn for each history from its own tokens as the seed."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from perpcs.assembly.options import Options, Selecting, number
from perpcs.assembly.router import History, Routed


@dataclass(frozen=True, kw_only=True)
class Random(Options):
    name = "random"
    short = "random"
    decided_by = "router"

    k: int = number(3, 1, 10_000)
    """Number of pieces each item keeps at each position."""

    def route(self, history: History) -> Routed:
        from perpcs.assembly.model_free import by_scores

        words = np.concatenate([np.asarray(item.ids, dtype=np.int64) for item in history.items])
        draws = np.random.default_rng([self.seed, crc32(words.tobytes())]).random(history.shape[1:])
        return by_scores(history, draws, Selecting(k=self.k, attention=False))
