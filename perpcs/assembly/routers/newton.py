"""The default: one damped Gauss-Newton step on the weights. ``perpcs/assembly/newton.py`` has the law."""

from dataclasses import dataclass

import numpy as np

from perpcs.assembly.router import History, Recent, Routed, item_shares


@dataclass(frozen=True, kw_only=True)
class Newton(Recent):
    name = "newton"
    short = "Newton weights"
    decided_by = "loss"

    def route(self, history: History) -> Routed:
        from perpcs.assembly.descent import named_pieces
        from perpcs.assembly.newton import newton_record, newton_step, read_gains

        shares, passes = item_shares(len(history.items), self.half_life), len(history.batches())
        of = 3 * passes + 1  # reading, trying, checking; the last two take about as many passes again

        def tell(pass_: int, weights: np.ndarray) -> None:
            history.tell(min(pass_, of - 2), of, weights)

        base, pieces, items, tokens = history.base, history.pieces, history.items, history.batch_tokens
        gains, losses = read_gains(base, pieces, items, tokens, tell)
        step = newton_step(
            *(base, pieces, items, gains, losses, shares),
            batch_tokens=tokens,
            on_pass=lambda number, weights: tell(passes + number, weights),
        )
        history.tell(of - 1, of, step.weights)
        index, votes = named_pieces(gains)
        return Routed(step.weights, gains.mean(axis=0), index, votes, extra=newton_record(step))
