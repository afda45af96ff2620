"""The knobs of an assembly, as one flat record that the command line, the app and the stored record share.

Presets: ``paper`` follows section 2.5 of Per-Pcs to the letter, ``reference_code`` the scoring of its released code
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
"""Routers that look at the loss; these weights are not the mean of the items' votes."""
BLIND = ("retrieval", "uniform", "random")
"""Routers that never run the model: whole sharers by likeness, and two controls."""


@dataclass(frozen=True)
class RouterOptions:
    """How pieces are scored and chosen. Field docstrings are the help texts of the command line and the app."""

    router: Literal[
        "newton", "gate", "prototype", "arrow", "gradient", "fit", "fit+own", "retrieval", "uniform", "random"
    ] = "newton"
    """Look at the loss: one damped Gauss-Newton step on the weights (newton), its gradient by each piece's weight, or a
    few steps of descent on the weights alone (fit), and then on a rank-1 piece of the person's own (fit+own); compare a
    target token's activation with each piece's gate, with its owner's mean activation, or with the direction that the
    piece itself amplifies most (arrow); take
    whole sharers of like history (retrieval); or, as controls, take every piece alike or draw pieces at random."""
    gates: Literal["distilled", "trained"] = "distilled"
    """Gates fitted to predict which pieces lower the loss of people who share nothing (not in the paper), or those
    trained on their owners' own words as published; a pool without distilled ones has only the latter."""
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
    selector: Literal["top_k", "top_p", "sample", "all"] = "top_k"
    """Which pieces an item keeps: the k best, the best that together hold the share p of the softmax, k drawn from the
    softmax without putting back, or all."""
    k: int = 3
    """Pieces kept at each position for each item."""
    p: float = 0.9
    """Top-p: the share of the softmax that the kept pieces hold together, at least."""
    attention: bool = True
    """Whether the kept pieces are weighted by their scores; else they all weigh alike (the paper's ablation)."""
    temperature: float = 0.1
    """Scores are divided by it before the softmax; small = the best piece takes all."""
    half_life: int = 0
    """An item that so many items ago was the newest counts half of the newest one; 0 = all count alike."""
    steps: int = 20
    """Fit: steps of descent, each over eight items."""
    rate: float = 0.1
    """Fit: learning rate of the first step; it falls to nothing."""
    shrink: float = 3.0
    """Fit: pull of the weights towards 0, the base model, the same for any history: a handful of items or of labels is
    not overfitted, and a long history has its way."""
    signed: Literal["texts", "always", "never"] = "texts"
    """Fit: where a weight may fall below 0, which takes a piece's manner away instead of adding it: where answers are
    texts, always or never."""
    least: float = 0.25
    """Fit, where weights may fall below 0: half way, a piece whose weight is less than this share of the largest one at
    its position is left out. Where they may not, many end at 0 by themselves."""
    own_rate: float = 0.004
    """Fit+own: learning rate of the first step of the own piece; it falls to nothing."""
    share_ratio: float = 1.0
    """Share of every sharer's pieces that may be used; which ones is drawn once, the same for everybody."""
    without: tuple[str, ...] = ()
    """Ids of sharers whose pieces are left out."""
    seed: int = 0
    """Of everything that is drawn: sampling, the random router, the share ratio."""

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
            raise PerpcsError("A rate or the shrinkage is out of range.", "Use a rate above 0 and a shrinkage from 0.")
        if not self.temperature > 0:
            raise PerpcsError(f"The temperature is {self.temperature}.", "Use a number above 0.")
        if not 0 <= self.least < 1:
            raise PerpcsError(f"least is {self.least}.", "Use a number from 0 up to, but not, 1.")
        for name in ("p", "share_ratio"):
            if not 0 < getattr(self, name) <= 1:
                raise PerpcsError(f"{name} is {getattr(self, name)}.", "Use a number above 0 and up to 1.")
        if isinstance(self.without, str) or not all(isinstance(id, str) for id in self.without):
            raise PerpcsError(f"without is {self.without!r}.", "Give a list of sharers' ids.")
        object.__setattr__(self, "without", tuple(self.without))  # JSON knows lists only


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
    """The options of a preset with the given changes; a change of None keeps the preset's value.

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
"""Routers that look at activations."""
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
    """Whether an option changes anything beside the others."""
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
    """The options with ``signed`` decided for answers that are texts, or are none: "always" or "never"."""
    signed: Literal["always", "never"] = "always" if texts else "never"
    return replace(options, signed=signed) if options.signed == "texts" else options


def option_arguments() -> dict[str, tuple[type, tuple[str, ...], str]]:
    """Of every option its type, what may be chosen (empty where anything), and its help."""
    found: dict[str, tuple[type, tuple[str, ...], str]] = {}
    for name, kind in _kinds().items():
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        plain = str if choices else get_origin(kind) or kind
        found[name] = (plain, choices, option_helps()[name])
    return found


@lru_cache
def option_helps() -> dict[str, str]:
    """The string under each field of RouterOptions, by the field's name; empty where there is none."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(RouterOptions))).body[0]
    assert isinstance(tree, ast.ClassDef)
    helps = {field.name: "" for field in fields(RouterOptions)}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(help))):
                helps[name] = " ".join(help.split())
    return helps
