"""Some steps of descent on the weights alone, pulled towards 0. ``perpcs/assembly/descent.py`` has the law.

``fit+own`` then trains a rank-1 piece of the person's own.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from perpcs.assembly.router import History, Recent, Routed, Router, number

# ---- fit -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Fit(Recent):
    name = "fit"
    short = "fit"
    decided_by = "loss"

    steps: int = number(20, 1, 1000)
    """Fit: number of gradient steps, each on eight items."""
    rate: float = number(0.1, 0, above=True)
    """Fit: learning rate of the first step; it decays to 0."""
    shrink: float = number(3.0, 0)
    """Fit: how strongly weights are pulled towards 0 (the base model). The pull is the same for any history: it stops
    overfitting on a few items or labels, and matters little for a long history."""
    signed: Literal["texts", "always", "never"] = "texts"
    """Fit: when weights may be negative, which subtracts a piece instead of adding it: only for tasks whose answers are
    texts, always, or never."""
    least: float = number(0.25, 0, 1, below=True)
    """Fit with negative weights: halfway through, pieces with less than this share of the largest weight at their
    position are dropped. Without negative weights, many end at 0 anyway."""

    def idle(self) -> set[str]:
        return super().idle() | ({"least"} if self.signed == "never" else set())

    def route(self, history: History) -> Routed:
        from perpcs.assembly.descent import fit_history

        return fit_history(history, settled(self, history.texts))


_R = TypeVar("_R", bound=Router)


def settled(router: _R, texts: bool) -> _R:
    """A router with ``signed`` resolved to "always" or "never", depending on whether answers are texts."""
    if isinstance(router, Fit) and router.signed == "texts":
        return replace(router, signed="always" if texts else "never")
    return router


# ---- fit and an own piece --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FitOwn(Fit):
    name = "fit+own"
    short = "fit+own"
    decided_by = "loss"

    own_rate: float = number(0.004, 0, above=True)
    """Fit+own: learning rate of the first step of your own piece; it decays to 0."""

    def route(self, history: History) -> Routed:
        from perpcs.assembly.descent import fit_history, train_own

        options, of = settled(self, history.texts), 2 * self.steps
        fitted = fit_history(history, options, of=of)
        own = train_own(
            *(history, fitted.weights, options, self.own_rate),
            on_step=lambda step: history.tell(self.steps + step, of, fitted.weights),
        )
        return replace(fitted, own=own)
