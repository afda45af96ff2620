"""Fit, and then a rank-1 piece of the person's own. ``perpcs/assembly/own.py`` has the law."""

from dataclasses import dataclass, replace

from perpcs.assembly.options import number
from perpcs.assembly.router import History, Routed
from perpcs.assembly.routers.fit import Fit, settled


@dataclass(frozen=True, kw_only=True)
class FitOwn(Fit):
    name = "fit+own"
    short = "fit+own"
    decided_by = "loss"

    own_rate: float = number(0.004, 0, above=True)
    """Fit+own: learning rate of the first step of your own piece; it decays to 0."""

    def route(self, history: History) -> Routed:
        from perpcs.assembly.descent import fit_history
        from perpcs.assembly.own import train_own

        options, of = settled(self, history.texts), 2 * self.steps
        fitted = fit_history(history, options, of=of)
        own = train_own(
            *(history, fitted.weights, options, self.own_rate),
            on_step=lambda step: history.tell(self.steps + step, of, fitted.weights),
        )
        return replace(fitted, own=own)
