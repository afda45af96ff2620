"""The default: one damped Gauss-Newton step on the weights. ``perpcs/assembly/newton.py`` has the law."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from perpcs.assembly.router import History, Recent, Routed, item_shares, item_weights, kept_out
from perpcs.assembly.routers.gate import Gate

if TYPE_CHECKING:
    from perpcs.assembly.newton import Start


@dataclass(frozen=True, kw_only=True)
class Newton(Recent):
    name = "newton"
    short = "Newton weights"
    decided_by = "loss"

    start: Literal["gates", "base"] = "gates"
    """Newton: where the step starts. gates: at the distilled gates' weights, as far as the gates' choice for earlier
    items makes later items more likely. base: at the base model, as always in a pool without distilled gates."""

    def route(self, history: History) -> Routed:
        from perpcs.assembly.descent import named_pieces
        from perpcs.assembly.newton import newton_record, newton_step, read_gains

        shares, passes = item_shares(len(history.items), self.half_life), len(history.batches())
        gated = self.start == "gates" and history.pieces.distilled is not None
        done = passes + 1 if gated else 0  # gates choose, and are tried
        of = done + 4 * passes + 1  # reading, trying, checking; the last two take about as many passes again
        start = self._start(history, of, shares) if gated else None

        def tell(pass_: int, weights: np.ndarray) -> None:
            history.tell(min(done + pass_, of - 2), of, weights)

        base, pieces, items, tokens = history.base, history.pieces, history.items, history.batch_tokens
        gains, losses = read_gains(base, pieces, items, tokens, tell, None if start is None else start.weights)
        step = newton_step(
            *(base, pieces, items, gains, losses, shares, start),
            batch_tokens=tokens,
            on_pass=lambda number, weights: tell(passes + number, weights),
        )
        history.tell(of - 1, of, step.weights)
        index, votes = named_pieces(gains)
        return Routed(step.weights, gains.mean(axis=0), index, votes, extra=newton_record(step, start))

    def _start(self, history: History, of: int, shares: np.ndarray) -> "Start | None":
        """The gates' weights, shrunk by how surely their choice for the earlier of the older items helps later ones.
        None, if it does not, or if they are too few to tell."""
        from perpcs.assembly.newton import FEWEST, Start, item_losses, later_items, sureness

        N, P, S = history.shape
        older = N - kept_out(N)
        if older < FEWEST:
            return None
        watched = history.on_position
        gated = replace(history, on_position=watched and (lambda step: watched(replace(step, batches=of))))
        routed = Gate(half_life=self.half_life).route(gated)
        first, weights_by_item = older - later_items(older), item_weights(routed.index, routed.votes, S)
        early, chosen = (  # the mean choice of the earlier and of all older items, (P, S)
            np.tensordot(shares[:by], weights_by_item[:by], axes=1) / max(float(shares[:by].sum()), 1e-300)
            for by in (first, older)
        )

        def losses(which: range, weights: np.ndarray) -> np.ndarray:
            base, pieces, items, tokens = history.base, history.pieces, history.items, history.batch_tokens
            return item_losses(base, pieces, items, which, weights[None].repeat(len(which), 0), batch_tokens=tokens)

        at_base, with_gates = losses(range(first, N), np.zeros((P, S))), losses(range(first, older), early)
        history.tell(len(history.batches()), of, routed.weights)
        share = sureness(at_base[: older - first] - with_gates, shares[first:older])
        return Start(share * routed.weights, share * chosen, at_base[older - first :], share) if share else None
