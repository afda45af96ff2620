"""The fit check: how much the likelihood of a person's newest items improved, from the record of the assembly.

The router `newton` holds out the newest fifth of the items in a first pass and records, for each of them, the nats per
target token with the base model and with weights from the older items alone (``Assembly.extra["check"]``). The
difference is taken item by item. Its interval is Student's t over these items: they are too few for a bootstrap, whose
interval would be too narrow.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from perpcs.assembly.options import FEWEST_TO_CHECK
from perpcs.assembly.record import Assembly

_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""97.5 % quantiles of Student's t with 1, 2, 3 ... degrees of freedom."""


@dataclass(frozen=True)
class FitCheck:
    """The result on the held-out items; nats per target token."""

    items: int
    before: float
    """Mean with the base model."""
    after: float
    """Mean with weights from the older items."""
    low: float | None
    """95 % interval of the mean difference, after - before; None for a single item."""
    high: float | None
    moved: bool
    """Whether the weights differ from the base model at all."""

    @property
    def difference(self) -> float:
        """Mean over the items of after - before; negative if their words became more likely."""
        return self.after - self.before

    @property
    def helps(self) -> bool:
        return self.moved and self.difference < 0

    @property
    def sure(self) -> bool:
        """Whether the interval excludes 0."""
        return self.high is not None and self.low is not None and (self.high < 0 or self.low > 0)


def is_checked(assembly: Assembly) -> bool:
    """Whether the router of a record runs this check."""
    return assembly.router.get("router") == "newton"


def fit_check(assembly: Assembly) -> FitCheck | None:
    """The check in a record; None if there is none or it is malformed: a record may come from anyone."""
    found: Any = assembly.extra.get("check")
    try:
        before, after = (np.asarray(found[name], dtype=np.float64) for name in ("before", "after"))
    except (KeyError, TypeError, ValueError):
        return None
    if not (before.ndim == 1 and before.shape == after.shape and len(before) > 0):
        return None
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None
    by, n = after - before, len(before)
    mean, half = float(by.mean()), None
    if n > 1:
        half = quantile(n - 1) * float(by.std(ddof=1)) / math.sqrt(n)
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return FitCheck(n, float(before.mean()), float(after.mean()), low, high, bool(assembly.weights.any()))


def quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, to three digits."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = 1.959964  # Cornish-Fisher, Abramowitz and Stegun 26.7.5
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def fit_sentence(assembly: Assembly, whose: str = "your") -> str:
    """The check in one line of plain text.

    Args:
        whose: ``your``, or a possessive: ``Nell’s``.
    """
    if not is_checked(assembly):
        router = str(assembly.router.get("router", "gate"))
        return f"Not checked on held-out items: the router “{router}” does not support this; newton does."
    check = fit_check(assembly)
    if check is None:
        few = assembly.n_items < FEWEST_TO_CHECK
        return f"Too few items to check ({FEWEST_TO_CHECK} are needed)." if few else "The record contains no check."
    items = f"{whose} newest {'item' if check.items == 1 else f'{check.items} items'} (held out)"
    if not check.moved:
        return (
            f"This pool does not help with {whose} text: no step away from the base model predicts it better "
            f"({check.before:.2f} nats per target token on {items})."
        )
    numbers = f"{check.before:.2f} nats per target token with the base model, {check.after:.2f} with the pieces"
    interval = (
        "no interval for one item"
        if check.low is None or check.high is None
        else f"95 % interval {check.low:+.2f} to {check.high:+.2f}"
    )
    shown = round(check.after, 2) - round(check.before, 2)  # the difference of the two numbers as displayed
    change = f"{shown:+.2f} ({interval})".replace("-", "−")
    if not check.helps:
        return f"This pool does not help with {whose} text: on {items}, {numbers}: {change}."
    chance = "" if check.sure else " This may be chance: the interval includes 0." if check.low is not None else ""
    return f"Fit check on {items}: {numbers}: {change}. Lower is better.{chance}"
