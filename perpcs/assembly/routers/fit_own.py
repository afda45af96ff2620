"""Fit, and then a rank-1 piece of the person's own. ``perpcs/assembly/own.py`` has the law."""

from dataclasses import dataclass, replace

from perpcs.assembly.routers.fit import Fit, settled
from perpcs.assembly.routers.options import number
from perpcs.assembly.routers.router import History, Routed


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
        own = train_own(history, fitted.weights, options, lambda n: history.tell(self.steps + n, of, fitted.weights))
        return replace(fitted, own=own)
