"""The settings of an assembly, as one flat record shared by the command line, the app and the stored record.

Presets: ``paper`` follows section 2.5 of Per-Pcs exactly, ``reference_code`` the scoring of its released code
(layer norm, dot / sqrt(n), mean over tokens), ``default`` is the one that measured best (docs/RESULTS.md).
"""

import ast
import inspect
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from perpcs.errors import PerpcsError, unknown

FITS = ("fit", "fit+own")
BY_LOSS = ("newton", "gradient", *FITS)
"""Routers that use the loss; their weights are not the mean of the items' votes."""
BLIND = ("retrieval", "uniform", "random")
"""Routers that never run the model: whole sharers by similarity, and two controls."""


@dataclass(frozen=True)
class RouterOptions:
    """How pieces are scored and selected. Field docstrings are the help texts of the command line and the app."""

    router: Literal[
        "newton", "gate", "prototype", "arrow", "gradient", "fit", "fit+own", "retrieval", "uniform", "random"
    ] = "newton"
    """How the weights are found. From the loss: one damped Gauss-Newton step on the weights (newton), the gradient by
    each weight (gradient), or some steps of gradient descent on the weights (fit), then also on a rank-1 piece of your
    own (fit+own). From activations: compare those of the target tokens with each piece's gate, with its owner's mean
    activation (prototype), or with the direction the piece amplifies most (arrow). Without the model: whole sharers
    with similar histories (retrieval), or as controls all pieces equally (uniform) or at random."""
    gates: Literal["distilled", "trained"] = "distilled"
    """Distilled: fitted to predict which pieces lower the loss of people who do not share (not in the paper). Trained:
    trained on their owners' own words, as published. A pool without distilled gates has only trained ones."""
    normalise: Literal["cosine", "layernorm"] = "cosine"
    """How gate and activation are normalised before taking their product."""
    centre: bool = True
    """First subtract the mean over sharers from keys and activations (not in the paper)."""
    standardise: bool = True
    """After centring, divide each dimension by its spread over sharers (not in the paper)."""
    reduce: Literal["sum", "mean", "pooled"] = "pooled"
    """The sum or mean of the token scores, or a single score of the mean activation (pooled: not in the paper)."""
    sqrt_n: bool = False
    """Whether a cosine score is divided by sqrt(n) before the softmax, as in the paper."""
    selector: Literal["top_k", "top_p", "sample", "all"] = "top_k"
    """Which pieces an item keeps: the k best (top_k), the best that together have a share p of the softmax (top_p), k
    drawn from the softmax without replacement (sample), or all."""
    k: int = 3
    """Number of pieces each item keeps at each position."""
    p: float = 0.9
    """Top-p: the minimum share of the softmax that the kept pieces have together."""
    attention: bool = True
    """Whether the kept pieces are weighted by their scores; if not, equally (an ablation in the paper)."""
    temperature: float = 0.1
    """Scores are divided by it before the softmax; if small, the best piece gets all the weight."""
    half_life: int = 0
    """An item this many items older than another counts half as much; 0 = all count equally."""
    steps: int = 20
    """Fit: number of gradient steps, each on eight items."""
    rate: float = 0.1
    """Fit: learning rate of the first step; it decays to 0."""
    shrink: float = 3.0
    """Fit: how strongly weights are pulled towards 0 (the base model). The pull is the same for any history: it stops
    overfitting on a few items or labels, and matters little for a long history."""
    signed: Literal["texts", "always", "never"] = "texts"
    """Fit: when weights may be negative, which subtracts a piece instead of adding it: only for tasks whose answers are
    texts, always, or never."""
    least: float = 0.25
    """Fit with negative weights: halfway through, pieces with less than this share of the largest weight at their
    position are dropped. Without negative weights, many end at 0 anyway."""
    own_rate: float = 0.004
    """Fit+own: learning rate of the first step of your own piece; it decays to 0."""
    share_ratio: float = 1.0
    """Share of each sharer's pieces that may be used; they are drawn once and are the same for everyone."""
    without: tuple[str, ...] = ()
    """Ids of sharers whose pieces are left out."""
    seed: int = 0
    """Seed of all random draws: sampling, the random router, the share ratio."""

    def __post_init__(self) -> None:
        for name, kind in _kinds().items():
            value = getattr(self, name)
            allowed = get_args(kind) if get_origin(kind) is Literal else (True, False) if kind is bool else None
            if allowed and value not in allowed:
                raise PerpcsError(f"{name} is {value!r}.", f"Use one of: {', '.join(map(str, allowed))}.")
            if name in _WHOLE and (not isinstance(value, int) or isinstance(value, bool) or not _within(name, value)):
                low, high = _WHOLE[name]
                raise PerpcsError(f"{name} is {value}.", f"Use a whole number from {low} to {high:,}.")
        if not (self.rate > 0 and self.own_rate > 0 and self.shrink >= 0):
            raise PerpcsError(
                "A rate or the shrinkage is out of range.", "Use a rate above 0 and a shrinkage of at least 0."
            )
        if not self.temperature > 0:
            raise PerpcsError(f"The temperature is {self.temperature}.", "Use a number above 0.")
        if not 0 <= self.least < 1:
            raise PerpcsError(f"least is {self.least}.", "Use a number from 0 to below 1.")
        for name in ("p", "share_ratio"):
            if not 0 < getattr(self, name) <= 1:
                raise PerpcsError(f"{name} is {getattr(self, name)}.", "Use a number above 0 and at most 1.")
        if isinstance(self.without, str) or not all(isinstance(id, str) for id in self.without):
            raise PerpcsError(f"without is {self.without!r}.", "Give a list of sharer ids.")
        object.__setattr__(self, "without", tuple(self.without))  # JSON only has lists


_WHOLE = {"k": (1, 10_000), "steps": (1, 1000), "half_life": (0, 1_000_000), "seed": (0, 2**31 - 1)}


def _within(name: str, value: int) -> bool:
    low, high = _WHOLE[name]
    return low <= value <= high


@lru_cache
def _kinds() -> dict[str, Any]:
    return get_type_hints(RouterOptions)


PRESETS: dict[str, RouterOptions] = {
    "default": RouterOptions(),
    "paper": RouterOptions(
        router="gate",
        gates="trained",
        normalise="cosine",
        centre=False,
        standardise=False,
        reduce="sum",
        sqrt_n=True,
        temperature=1.0,
    ),
    "reference_code": RouterOptions(
        router="gate",
        gates="trained",
        normalise="layernorm",
        centre=False,
        standardise=False,
        reduce="mean",
        temperature=1.0,
    ),
}


def router_options(preset: str = "default", **changes: Any) -> RouterOptions:
    """The options of a preset with the given changes; None keeps the preset's value.

    Raises:
        PerpcsError: for an unknown preset or option, or a value out of range.
    """
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    names = [field.name for field in fields(RouterOptions)]
    for name in changes:
        if name not in names:
            raise unknown("routing option", name, names)
    return replace(PRESETS[preset], **{name: value for name, value in changes.items() if value is not None})


ACTIVATIONS = ("gate", "prototype", "arrow")
"""Routers that use activations."""
_SELECTING = (*ACTIVATIONS, "gradient", "retrieval", "random")
_APPLIES: dict[str, Sequence[str]] = {
    **dict.fromkeys(("normalise", "reduce", "sqrt_n"), ("gate", "prototype")),
    **dict.fromkeys(("centre", "standardise"), ("gate", "prototype")),
    **dict.fromkeys(("selector", "k", "p", "attention", "temperature"), _SELECTING),
    "half_life": (*ACTIVATIONS, *BY_LOSS),
    "gates": ("gate",),
    **dict.fromkeys(("steps", "rate", "shrink", "signed", "least"), FITS),
    "own_rate": ("fit+own",),
}


def applies(name: str, options: RouterOptions) -> bool:
    """Whether an option has any effect, given the others."""
    if options.router not in _APPLIES.get(name, (options.router,)):
        return False
    if name == "least":
        return options.signed != "never"
    if name in ("k", "p"):
        return options.selector in (("top_k", "sample") if name == "k" else ("top_p",))
    if name == "temperature":
        return options.attention or options.selector in ("top_p", "sample")
    return True


def settled(options: RouterOptions, texts: bool) -> RouterOptions:
    """The options with ``signed`` resolved to "always" or "never", depending on whether answers are texts."""
    signed: Literal["always", "never"] = "always" if texts else "never"
    return replace(options, signed=signed) if options.signed == "texts" else options


def option_arguments() -> dict[str, tuple[type, tuple[str, ...], str]]:
    """For every option: its type, its allowed values (empty = any), and its help."""
    found: dict[str, tuple[type, tuple[str, ...], str]] = {}
    for name, kind in _kinds().items():
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        plain = str if choices else get_origin(kind) or kind
        found[name] = (plain, choices, option_helps()[name])
    return found


@lru_cache
def option_helps() -> dict[str, str]:
    """The docstring of each field of RouterOptions, by field name; empty if there is none."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(RouterOptions))).body[0]
    assert isinstance(tree, ast.ClassDef)
    helps = {field.name: "" for field in fields(RouterOptions)}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(help))):
                helps[name] = " ".join(help.split())
    return helps
