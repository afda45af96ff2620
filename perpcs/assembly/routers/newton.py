"""The default: one damped Gauss-Newton step on the weights. ``perpcs/assembly/newton.py`` has the law."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from perpcs.assembly.router import History, Recent, Routed, item_shares, kept_out
from perpcs.assembly.routers.gate import Gate

if TYPE_CHECKING:
    from perpcs.assembly.newton import Start


@dataclass(frozen=True, kw_only=True)
class Newton(Recent):
    name = "newton"
    short = "Newton weights"
    decided_by = "loss"

    start: Literal["base", "gates"] = "base"
    """Newton: where the step begins: at the base model, or at the weights that the distilled gates choose. In a pool
    without distilled gates it begins at the base model."""

    def route(self, history: History) -> Routed:
        from perpcs.assembly.descent import named_pieces
        from perpcs.assembly.newton import newton_record, newton_step, read_gains

        shares, passes = item_shares(len(history.items), self.half_life), len(history.batches())
        of = 4 * passes + 1  # gates, reading, trying, checking; the last two take about as many passes again
        start = self._start(history, of, shares)
        gated = 0 if start is None else passes

        def tell(pass_: int, weights: np.ndarray) -> None:
            history.tell(min(gated + pass_, of - 2), of, weights)

        base, pieces, items, tokens = history.base, history.pieces, history.items, history.batch_tokens
        gains, losses = read_gains(base, pieces, items, tokens, tell, None if start is None else start.weights)
        step = newton_step(
            *(base, pieces, items, gains, losses, shares, start),
            batch_tokens=tokens,
            on_pass=lambda number, weights: tell(passes + number, weights),
        )
        history.tell(of - 1, of, step.weights)
        index, votes = named_pieces(gains)
        return Routed(step.weights, gains.mean(axis=0), index, votes, extra=newton_record(step))

    def _start(self, history: History, of: int, shares: np.ndarray) -> "Start | None":
        """The gates' weights, from all items and from the older ones."""
        from perpcs.assembly.newton import Start

        if self.start == "base" or history.pieces.distilled is None:
            return None
        watched = history.on_position
        gated = replace(history, on_position=watched and (lambda step: watched(replace(step, batches=of))))
        found = Gate(half_life=self.half_life).route(gated)
        N, P, S = history.shape
        older = N - kept_out(N)
        chosen = np.zeros((P, S))
        item, p, choice = np.nonzero(found.index[:older] >= 0)
        np.add.at(chosen, (p, found.index[item, p, choice]), shares[item] * found.votes[item, p, choice])
        return Start(found.weights.astype(np.float64), chosen / max(float(shares[:older].sum()), 1e-12))
