"""The knobs of an assembly, as one flat record that the command line, the app and the stored record share.

Presets: ``paper`` follows section 2.5 of Per-Pcs to the letter, ``reference_code`` the scoring of its released code
(layer norm, dot / sqrt(n), mean over tokens), ``default`` is the one that measured best (docs/RESULTS.md).
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from perpcs.errors import PerpcsError

BY_LOSS = ("gradient", "fit")
"""Routers that look at the loss; the others look at activations."""


@dataclass(frozen=True)
class RouterOptions:
    """How pieces are scored and chosen. Field docstrings are the help texts of the command line and the app."""

    router: Literal["gate", "prototype", "gradient", "fit"] = "fit"
    """Compare a target token's activation with each piece's trained gate, or with its owner's mean activation; or look
    at the loss: its gradient by each piece's weight, or a few steps of descent on the weights alone."""
    normalise: Literal["cosine", "layernorm"] = "cosine"
    """How gate and activation are normalised before their product."""
    centre: bool = True
    """Subtract what all sharers have in common from keys and activations first (not in the paper)."""
    standardise: bool = True
    """Divide by the spread over sharers, dimension by dimension, after centring (not in the paper)."""
    reduce: Literal["sum", "mean", "pooled"] = "pooled"
    """Sum or mean of token scores, or one score of the mean activation (``pooled``: not in the paper)."""
    sqrt_n: bool = False
    """Whether a cosine score is divided by sqrt(n) before the softmax, as the paper writes."""
    k: int = 3
    """Pieces kept at each position for each item."""
    temperature: float = 0.1
    """Scores are divided by it before the softmax; small = the best piece takes all."""
    steps: int = 20
    """Fit: steps of descent, each over eight items."""
    rate: float = 0.1
    """Fit: learning rate of the first step; it falls to nothing."""
    shrink: float = 0.005
    """Fit: pull of the weights towards 0, the base model; it keeps a handful of items from being overfitted."""
    signed: bool = False
    """Fit: whether a weight may fall below 0, which takes a piece's manner away instead of adding it."""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise PerpcsError(f"{name} is {value!r}.", f"Use one of: {', '.join(map(str, allowed))}.")
        if not isinstance(self.k, int) or self.k < 1:
            raise PerpcsError(f"k is {self.k}.", "Use a whole number of at least 1.")
        if not isinstance(self.steps, int) or not 1 <= self.steps <= 1000:
            raise PerpcsError(f"steps is {self.steps}.", "Use a whole number from 1 to 1000.")
        if not self.rate > 0 or not self.shrink >= 0:
            raise PerpcsError(
                "The rate or the shrinkage is out of range.", "Use a rate above 0 and a shrinkage from 0."
            )
        if not self.temperature > 0:
            raise PerpcsError(f"The temperature is {self.temperature}.", "Use a number above 0.")


_CHOICES: dict[str, tuple[Any, ...]] = {
    "router": ("gate", "prototype", "gradient", "fit"),
    "signed": (True, False),
    "normalise": ("cosine", "layernorm"),
    "centre": (True, False),
    "standardise": (True, False),
    "reduce": ("sum", "mean", "pooled"),
    "sqrt_n": (True, False),
}

PRESETS: dict[str, RouterOptions] = {
    "default": RouterOptions(),
    "paper": RouterOptions(
        router="gate", normalise="cosine", centre=False, standardise=False, reduce="sum", sqrt_n=True, temperature=1.0
    ),
    "reference_code": RouterOptions(
        router="gate", normalise="layernorm", centre=False, standardise=False, reduce="mean", temperature=1.0
    ),
}


def router_options(preset: str = "default", **changes: Any) -> RouterOptions:
    """The options of a preset with the given changes; a change of None keeps the preset's value.

    Raises:
        PerpcsError: for an unknown preset or option, or a value out of range.
    """
    if preset not in PRESETS:
        raise PerpcsError(f"Unknown preset {preset!r}.", f"Use one of: {', '.join(PRESETS)}.")
    known = {field.name for field in fields(RouterOptions)}
    for name in changes:
        if name not in known:
            raise PerpcsError(f"Unknown routing option {name!r}.", f"Use one of: {', '.join(sorted(known))}.")
    return replace(PRESETS[preset], **{name: value for name, value in changes.items() if value is not None})
