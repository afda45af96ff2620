"""What a router is: its options, and a method that turns a history into weights.

    History (base model, pieces, encoded items)  -->  Router.route  -->  Routed (weights, scores, what each item chose)

A router's file imports nothing heavy at its top: the command line and the pages read options without loading torch.

Options that several routers share, in groups; a router is a frozen dataclass that inherits the groups it needs.

The docstring of a field is its help text on the command line and in the app; its type makes the flag and the control;
``number`` adds the range that its values must lie in.
"""

import ast
import inspect
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args, get_origin, get_type_hints

import numpy as np

from perpcs.errors import PerpcsError

if TYPE_CHECKING:
    from torch import Tensor

    from perpcs.model.base import BaseModel
    from perpcs.model.likelihood import Encoded
    from perpcs.pool.store import TaskPieces


# ---- options ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """The range of a numeric option."""

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
    """What every router declares, and the options on which pieces it may use."""

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
    """How scores become weights; ``perpcs/assembly/activations.py`` does it."""

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
    """How many of the newest items are held out: a fifth, at least one; none below ``FEWEST_TO_CHECK`` items."""
    return max(1, items // 5) if items >= FEWEST_TO_CHECK else 0


def item_shares(items: int, half_life: int) -> np.ndarray:
    """How much each item counts, oldest first: halved every ``half_life`` items back; equal if that is 0."""
    ages = np.arange(items)[::-1]
    size = 0.5 ** (ages / half_life) if half_life else np.ones(items)
    return size / max(size.sum(), 1e-300)


def item_weights(choices: np.ndarray, votes: np.ndarray, sharers: int) -> np.ndarray:
    """Every item's own weights, float32 (N, P, S): choices (-1 = none) and votes of its sharers (N, P, k)."""
    n, p, _ = choices.shape
    dense = np.zeros((n, p, sharers + 1), dtype=np.float32)  # last column takes the -1 of "none"
    np.put_along_axis(dense, choices.astype(np.int64) % dense.shape[2], votes.astype(np.float32), axis=2)
    return dense[:, :, :-1]


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
    """The default of an option."""
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


# ---- routers ---------------------------------------------------------------------------------------------------------


class Router(Protocol):
    """A way to find a person's weights. The fields of an instance are its options, all with a default."""

    name: ClassVar[str]
    """As on the command line and in records."""
    short: ClassVar[str]
    """As in the titles of pages and figures: ``distilled gates``."""
    decided_by: ClassVar[str]
    """What makes the weights: the items' ``votes``, the ``loss``, or the ``router`` alone, without a pass of the model.
    """

    @property
    def share_ratio(self) -> float: ...

    @property
    def without(self) -> tuple[str, ...]: ...

    @property
    def seed(self) -> int: ...

    def idle(self) -> set[str]:
        """Options that have no effect, given the others."""

    def route(self, history: "History") -> "Routed":
        """The weights of a history.

        Raises:
            PerpcsError: when the pool lacks what the router needs.
        """


@dataclass(frozen=True)
class Keys:
    """What the activations of one position are compared with. S sharers, n inputs."""

    rows: "Tensor"
    """Normalised keys, (S, n), in float32 or more; zero for a piece that is not shared, so that it scores 0."""
    centre: "Tensor | None" = None
    """Subtracted from activations, (n,)."""
    spread: "Tensor | None" = None
    """Activations are divided by it, (n,)."""


@dataclass(frozen=True, kw_only=True)
class ByActivations(Selecting, Recent):
    """A router that scores activations, so it can also score single words."""

    def keys(self, pieces: "TaskPieces") -> list[Keys]:
        """What the activations of each position are compared with, computed once an assembly."""
        raise NotImplementedError

    def item_scores(self, x: "Tensor", keys: Keys, mask: "Tensor") -> "Tensor":
        """Scores of every piece for every item: activations x (b, t, n), target mask (b, t) -> (b, S)."""
        raise NotImplementedError

    def token_scores(self, v: "Tensor", keys: Keys, sharer: int) -> "Tensor":
        """What each of an item's target tokens v (m, n) adds to the item's score of one piece, (m,)."""
        raise NotImplementedError

    def scale(self, n: int) -> float:
        """The factor of the temperature for inputs of n numbers."""
        return 1.0


@dataclass(frozen=True)
class Step:
    """What is reported after every position of every batch."""

    position: int
    positions: int
    batch: int
    batches: int
    weights: np.ndarray
    """Mean weights over the items read so far, (P, S); zeros at positions not reached yet."""
    seconds: float


@dataclass(frozen=True)
class History:
    """The input of a router. N items, P positions, S sharers."""

    base: "BaseModel"
    pieces: "TaskPieces"
    """The pieces that the options allow."""
    items: "Sequence[Encoded]"
    """Prompts and answers, oldest first."""
    texts: bool = False
    """Whether the task's answers are texts."""
    likeness: "Callable[[], Tensor] | None" = None
    """Gives the cosine of this history's embedding and each sharer's, (S,)."""
    batch_tokens: int = 8192
    """Padded tokens of one pass; it changes speed and memory, never the result."""
    on_position: Callable[[Step], None] | None = None
    began: float = field(default_factory=time.perf_counter)

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, P, S."""
        return len(self.items), len(self.base.positions), self.pieces.pieces.sharers

    def batches(self) -> list[list[int]]:
        """Indices of the items of each batch."""
        from perpcs.model.likelihood import length_batches

        return length_batches([len(item.ids) for item in self.items], self.batch_tokens)

    def tell(self, number: int, of: int, weights: np.ndarray, position: int | None = None) -> None:
        """Report the weights (P, S) after a step; without a position, all positions were reached."""
        if self.on_position:
            P = len(self.base.positions)
            at, seconds = P - 1 if position is None else position, time.perf_counter() - self.began
            self.on_position(Step(at, P, number, of, weights.astype(np.float32), seconds))


@dataclass(frozen=True)
class Routed:
    """The outcome of routing, before it becomes a record; float64 if the model is."""

    weights: np.ndarray
    """(P, S)."""
    scores: np.ndarray
    """(P, S)."""
    index: np.ndarray
    """Sharers that each item chose, best first, int16 (N, P, k); -1 = none."""
    votes: np.ndarray
    """The weight of each choice, float16 (N, P, k)."""
    own: np.ndarray | None = None
    """The person's own piece, as stored in the record."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Other results of the router, as stored in the record."""
