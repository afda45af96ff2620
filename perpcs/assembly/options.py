"""Options that several routers share, in groups; a router is a frozen dataclass that inherits the groups it needs.

The docstring of a field is its help text on the command line and in the app; its type makes the flag and the control;
``number`` adds the range that its values must lie in.
"""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np

from perpcs.errors import PerpcsError


@dataclass(frozen=True)
class Limits:
    """The numbers that an option may be."""

    low: float
    high: float = float("inf")
    above: bool = False
    """Whether ``low`` itself is left out."""
    below: bool = False
    """Whether ``high`` itself is left out."""

    def hold(self, value: float) -> bool:
        return (
            abs(value) < float("inf")
            and (value > self.low if self.above else value >= self.low)
            and (value < self.high if self.below else value <= self.high)
        )

    def sentence(self, whole: bool) -> str:
        if whole:
            return f"Use a whole number from {self.low:,} to {self.high:,}."
        low = f"above {self.low}" if self.above else f"of at least {self.low}"
        high = "" if self.high == float("inf") else f" and {'below' if self.below else 'at most'} {self.high}"
        return f"Use a number {low}{high}."


def number(default: float, low: float, high: float = float("inf"), *, above: bool = False, below: bool = False) -> Any:
    """A field for a number from ``low`` to ``high``; ``above`` and ``below`` leave out the end."""
    return field(default=default, metadata={"limits": Limits(low, high, above, below)})


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every router says of itself, and takes: which pieces there are to choose from."""

    name: ClassVar[str]
    """As on the command line and in records."""
    short: ClassVar[str]
    """As in the titles of pages and figures: ``distilled gates``."""
    decided_by: ClassVar[str]
    """What makes the weights: the items' ``votes``, the ``loss``, or the ``router`` alone, without a pass of the model.
    """

    share_ratio: float = number(1.0, 0, 1, above=True)
    """Share of each sharer's pieces that may be used; they are drawn once and are the same for everyone."""
    without: tuple[str, ...] = ()
    """Ids of sharers whose pieces are left out."""
    seed: int = number(0, 0, 2**31 - 1)
    """Seed of all random draws: sampling, the random router, the share ratio."""

    def __post_init__(self) -> None:
        for name in option_names(type(self)):
            check_option(type(self), name, getattr(self, name))
        object.__setattr__(self, "without", tuple(self.without))  # JSON only has lists

    def idle(self) -> set[str]:
        """Options that have no effect, given the others."""
        return set()


@dataclass(frozen=True, kw_only=True)
class Recent(Options):
    """How much older items count."""

    half_life: int = number(0, 0, 1_000_000)
    """An item this many items older than another counts half as much; 0 = all count equally."""


@dataclass(frozen=True, kw_only=True)
class Selecting(Options):
    """How scores become weights; ``perpcs/assembly/selection.py`` does it."""

    selector: Literal["top_k", "top_p", "sample", "all"] = "top_k"
    """Which pieces an item keeps: the k best (top_k), the best that together have a share p of the softmax (top_p), k
    drawn from the softmax without replacement (sample), or all."""
    k: int = number(3, 1, 10_000)
    """Number of pieces each item keeps at each position."""
    p: float = number(0.9, 0, 1, above=True)
    """Top-p: the minimum share of the softmax that the kept pieces have together."""
    attention: bool = True
    """Whether the kept pieces are weighted by their scores; if not, equally (an ablation in the paper)."""
    temperature: float = number(0.1, 0, above=True)
    """Scores are divided by it before the softmax; if small, the best piece gets all the weight."""

    def idle(self) -> set[str]:
        unused = super().idle()
        if self.selector not in ("top_k", "sample"):
            unused.add("k")
        if self.selector != "top_p":
            unused.add("p")
        if not self.attention and self.selector not in ("top_p", "sample"):
            unused.add("temperature")
        return unused


@dataclass(frozen=True, kw_only=True)
class Scoring(Options):
    """How activations are compared with keys; ``perpcs/assembly/activations.py`` does it."""

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


# ---- the items of a history ------------------------------------------------------------------------------------------

FEWEST_TO_CHECK = 5
"""Items that a history needs before any are held out."""


def kept_out(items: int) -> int:
    """How many of the newest items check the rest: a fifth, one at least, none of fewer than ``FEWEST_TO_CHECK``."""
    return max(1, items // 5) if items >= FEWEST_TO_CHECK else 0


def item_shares(items: int, half_life: int) -> np.ndarray:
    """How much each of so many items counts, oldest first: halved every ``half_life`` items back, alike where it is
    0."""
    ages = np.arange(items)[::-1]
    size = 0.5 ** (ages / half_life) if half_life else np.ones(items)
    return size / max(size.sum(), 1e-300)


# ---- what a class of options says of itself --------------------------------------------------------------------------


def option_names(kind: type) -> tuple[str, ...]:
    """A router's options, its own first, then those of its groups."""
    own = [name for part in kind.__mro__ for name in inspect.get_annotations(part)]
    known = {field.name for field in fields(kind)}
    return tuple(name for name in dict.fromkeys(own) if name in known)


@cache
def option_types(kind: type) -> Mapping[str, Any]:
    """The type of each option."""
    hints = get_type_hints(kind)
    return {name: hints[name] for name in option_names(kind)}


@cache
def option_docs(kind: type) -> Mapping[str, str]:
    """The docstring of each option; empty if there is none."""
    docs = dict.fromkeys(option_names(kind), "")
    for part in reversed(kind.__mro__):
        if "__dataclass_fields__" not in part.__dict__:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for line, text in zip(tree.body, tree.body[1:], strict=False):
            match line, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                    if name in docs:
                        docs[name] = " ".join(doc.split())
    return docs


def default_of(kind: type, name: str) -> Any:
    """The value of an option that nobody sets."""
    (found,) = (field for field in fields(kind) if field.name == name)
    assert found.default is not MISSING
    return found.default


def check_option(kind: type, name: str, value: Any) -> None:
    """Make sure that a router's option may have a value.

    Raises:
        PerpcsError: with what it may be.
    """
    hint = option_types(kind)[name]
    allowed = get_args(hint) if get_origin(hint) is Literal else (True, False) if hint is bool else ()
    if allowed and value not in allowed:
        raise PerpcsError(f"{name} is {value!r}.", f"Use one of: {', '.join(map(str, allowed))}.")
    if get_origin(hint) is tuple and not (
        isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    ):
        raise PerpcsError(f"{name} is {value!r}.", "Give a list of sharer ids.")
    (limits,) = (field.metadata.get("limits") for field in fields(kind) if field.name == name)
    if limits is not None:
        whole = hint is int
        right = isinstance(value, int if whole else (int, float)) and not (whole and isinstance(value, bool))
        if not right or not limits.hold(value):
            raise PerpcsError(f"{name} is {value}.", limits.sentence(whole))
