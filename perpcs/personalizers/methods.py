"""One interface for every way of personalising an answer: the registry of methods, a line each, and their names. The
engine, the command line and the evaluation all use it.

    prepare(setting, people, name) -> [Prepared]    what is stored of each person (weights, a LoRA, text, a profile)
    Prepared.prompt(query)         -> Prompt        what the model reads
    Prepared.weights, .own                          what the person's row of a batch carries

Prepare a person once, then answer any number of queries. One call prepares several people: training them together is
faster and gives the same result.

    NAME            rag, perpcs, oppu                a method of the table
    NAME:DETAIL     rag:2, perpcs:gate, oppu:best    with one of its details from the table
    X+rag:K         perpcs:fit+rag:1, oppu+pag       the adapter of X, with the prompt of RAG or PAG
    wrong:X         wrong:perpcs                     a control: X prepared for someone else

A new method is a function from a ``Call`` to prepared people, and one line in the table that names it. The function is
imported on first use, so that pages and --help list the names without loading torch.

This file also holds the methods that only change the prompt:

    base             the query alone
    random history   items by other people, drawn by the query: separates examples of the task from the person's own
    RAG              the items that BM25 ranks highest for the query (Okapi, as in LaMP)
    PAG              a profile of the person, with retrieved items if asked for (Richardson et al., 2023)

All history is older than the query. A training prompt shows only history that is older than its item.
"""

import importlib
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from perpcs.assembly.record import Assembly, made_by, router_name
from perpcs.assembly.routers import deciding
from perpcs.data.prompts import indexed, retrieve, statistics
from perpcs.errors import PerpcsError, unknown
from perpcs.tasks import Item, Query, Task

if TYPE_CHECKING:  # pages read these records, and need no torch for that
    from perpcs.model.base import BaseModel
    from perpcs.model.basis import OwnPiece
    from perpcs.pool.store import Pool


# ---- the interface ---------------------------------------------------------------------------------------------------


Writer = Callable[[Task, Sequence[Item]], str]
"""Writes a profile from a history: by counting, or with a language model."""
Curve = Mapping[str, tuple[tuple[int, float], ...]]
"""Losses by what they are the loss of: (step, nats per target token)."""


@dataclass(frozen=True)
class Person:
    """The person to prepare for. Every history item is older than every query."""

    id: str
    history: tuple[Item, ...] = ()
    """Empty for a saved person, whose file holds no text."""
    assembly: Assembly | None = None
    """An assembly to reuse, if there is one."""


@dataclass(frozen=True)
class Progress:
    """How far a preparation is. The watcher stops the work by raising an exception."""

    doing: str
    step: int
    steps: int
    losses: Mapping[str, float] = field(default_factory=dict)
    """Losses of this step in nats per target token, if something is trained."""


Watch = Callable[[Progress], None]


@dataclass(frozen=True)
class Setting:
    """What every method is given besides the people."""

    base: "BaseModel"
    pool: "Pool"
    task: Task
    strangers: Sequence[tuple[str, Sequence[Item]]] = ()
    """Histories by id, for random history and shuffled profiles; a person never receives their own."""
    writer: Writer = statistics


@dataclass(frozen=True)
class Prompt:
    """A prompt as the model reads it, and the personal text in it."""

    text: str
    retrieved: tuple[Item, ...] = ()
    profile: str = ""


@dataclass(frozen=True)
class Prepared:
    """What is stored of one person for one method."""

    task: Task
    method: str = ""
    finds: tuple[Callable[[Query], Sequence[Item]], ...] = ()
    """Functions that retrieve items for a query."""
    profile: str = ""
    weights: np.ndarray | None = None
    """Weights of the pool's pieces, (P, S)."""
    own: "OwnPiece | None" = None
    """An update of the person's own at every position, such as a LoRA."""
    text_bytes: int = 0
    """Bytes of the history's text, if it must be stored."""
    other_bytes: int = 0
    """Bytes of everything else that must be stored."""
    text_leaves: bool = False
    """Whether the prompt quotes the history, so that whoever runs the model can read it."""
    seconds: float = 0.0
    """Preparation time; people prepared together share it equally."""
    curve: Curve = field(default_factory=dict)
    """Training curves, if something was trained."""
    says: str = ""
    """A finding of the preparation, in a sentence."""

    @property
    def bytes(self) -> int:
        """Bytes to store between two questions."""
        return self.text_bytes + self.other_bytes

    def prompt(self, query: Query) -> Prompt:
        """The prompt for a query."""
        found = tuple(item for find in self.finds for item in find(query))
        return Prompt(self.task.prompt(query, found, self.profile), found, self.profile)

    def beside(self, other: "Prepared") -> "Prepared":
        """Both methods combined: the prompts and updates of either. A text that both store is counted once."""
        return replace(
            self,
            finds=(*self.finds, *other.finds),
            profile=self.profile or other.profile,
            weights=other.weights if self.weights is None else self.weights,
            own=self.own or other.own,
            text_bytes=max(self.text_bytes, other.text_bytes),
            other_bytes=self.other_bytes + other.other_bytes,
            text_leaves=self.text_leaves or other.text_leaves,
            seconds=self.seconds + other.seconds,
            curve=self.curve or other.curve,
            says=" ".join(filter(None, (self.says, other.says))),
        )


@dataclass(frozen=True)
class Shown:
    """How much of the history a method's prompt shows. Training uses prompts of the same form."""

    items: int = 0
    profile: bool = False


@dataclass(frozen=True)
class Call:
    """A request to prepare people."""

    setting: Setting
    people: Sequence[Person]
    detail: str
    """The part of the name after the colon, or the method's first detail."""
    shown: Shown
    watch: Watch | None = None


@dataclass(frozen=True)
class Method:
    """One line of the registry."""

    name: str
    title: str
    says: str
    """One sentence for the app."""
    details: tuple[str, ...]
    """What may follow a colon; the first is the default."""
    prepare: str
    """``module.function`` in ``perpcs.personalizers``: Call -> one Prepared per person, in order."""
    reads: bool = True
    """Whether it needs the history's text, which a saved person lacks."""
    shows: bool = False
    """Whether it changes the prompt, so that its name may follow a plus."""
    slow: bool = False
    """Whether it trains for seconds, so that the app shows its loss."""


# ---- the registry ----------------------------------------------------------------------------------------------------


ROUTERS = deciding("votes", "loss")


_K = ("1", "2", "4")  # items shown
_R = ("", *ROUTERS, "paper", "from_base")  # the existing assembly, one by a router, or by a preset
_S = ("3", "1", "2", "4", "5", "10")  # sharers used
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("base", "Base model", "The query alone, the same for everyone.", ("",), "methods.nothing", reads=False),
        Method(
            "random-history",
            "Random history",
            "The prompt shows items by other people.",
            _K,
            "methods.drawn",
            False,
            True,
        ),
        Method("rag", "RAG", "The prompt shows the most similar items of the history.", _K, "methods.rag", shows=True),
        Method(
            "pag",
            "PAG",
            "The prompt shows a profile written from the history.",
            ("0", *_K),
            "methods.pag",
            shows=True,
        ),
        Method(
            "pag-counted",
            "PAG (counted profile)",
            "The prompt shows a profile made of counts.",
            ("0", *_K),
            "methods.counted",
            shows=True,
        ),
        Method(
            "retrieval",
            "PEFT retrieval",
            "The model uses all pieces of the most similar sharers.",
            _S,
            "adapters.retrieved",
        ),
        Method(
            "perpcs",
            "Per-Pcs",
            "The model uses sharers' pieces, weighted by the history.",
            _R,
            "adapters.per_pcs",
            False,
        ),
        Method("p2p", "P2P", "A network generates a LoRA from a profile.", ("", "shuffled", "random"), "adapters.p2p"),
        Method("oppu", "OPPU", "A LoRA is trained for this person alone.", ("", "best"), "adapters.oppu", slow=True),
        Method("uniform", "Uniform weights", "A control: every piece has the same weight.", ("",), "adapters.uniform"),
        Method(
            "random", "Random pieces", "A control: pieces drawn at random at each position.", ("",), "adapters.drawn"
        ),
    )
}
DEFAULT = ("base", "rag:4", "perpcs")
"""The methods that Compare shows by default."""
_PLUS = re.compile(
    r"\+(?=(?:rag|pag|pag-counted|random-history)(?:[:+]|$))"
)  # a plus inside a router's name does not count


@dataclass(frozen=True)
class Name:
    """A parsed method name."""

    name: str
    parts: tuple[tuple[Method, str], ...]
    """(method, detail) of each part; an empty detail means the default."""
    wrong: bool = False

    @cached_property
    def plain(self) -> str:
        """The name without ``wrong:``."""
        return self.name.removeprefix("wrong:")

    @property
    def shown(self) -> Shown:
        """How much of the person's own history the prompt shows."""
        k = {m.name: int(detail or m.details[0]) for m, detail in self.parts if m.name in ("rag", "pag", "pag-counted")}
        return Shown(max(k.values(), default=0), any(name.startswith("pag") for name in k))

    @property
    def reads(self) -> bool:
        """Whether any part needs the history's text."""
        return any(method.reads for method, _ in self.parts)

    @property
    def slow(self) -> bool:
        return any(method.slow for method, _ in self.parts)

    @property
    def title(self) -> str:
        """The title on the screen: ``Per-Pcs (fit) + RAG (2 items)``."""
        return self.titled(None)

    def titled(self, router: Mapping[str, Any] | None) -> str:
        """The title for a person assembled with these router options, which decide what ``perpcs`` means."""
        said = " + ".join(_title(method, detail, router) for method, detail in self.parts)
        return f"{said}, wrong user" if self.wrong else said


def _title(method: Method, detail: str, router: Mapping[str, Any] | None) -> str:
    if method.name == "perpcs":
        return made_by(router) if router and not detail else router_name(detail)
    if not detail or detail == method.details[0]:
        return method.title
    noun = {"rag": "item", "pag": "item", "pag-counted": "item", "random-history": "item", "retrieval": "sharer"}.get(
        method.name, ""
    )
    return f"{method.title} ({detail}{f' {noun}' if noun else ''}{'s' if noun and detail != '1' else ''})"


@lru_cache(maxsize=256)
def parse(name: str) -> Name:
    """Parse a method name.

    Raises:
        PerpcsError: for an unknown name; the message suggests the nearest one.
    """
    wrong = name.startswith("wrong:")
    parts: list[tuple[Method, str]] = []
    for number, part in enumerate(_PLUS.split(name.removeprefix("wrong:"))):
        stem, colon, detail = part.partition(":")
        method = METHODS.get(stem)
        if method is None or (colon and (not detail or detail not in method.details)):
            raise unknown("method", part, known_names(stem if method else ""))
        if number and not method.shows:
            raise PerpcsError(f"{stem} cannot follow a plus.", "Write +rag or +pag after a method.")
        parts.append((method, detail))
    return Name(name, tuple(parts), wrong)


def known_names(stem: str = "") -> list[str]:
    """Common names, or all those of one method."""
    if stem:
        return [stem, *(f"{stem}:{detail}" for detail in METHODS[stem].details if detail)]
    variants = (
        *(f"perpcs:{router}" for router in ROUTERS),
        "perpcs:paper",
        "rag:4",
        "pag:1",
        "oppu:best",
        "perpcs+rag",
        "wrong:perpcs",
    )
    return [*METHODS, *variants]


def is_name(name: str) -> bool:
    """Whether this is a valid method name."""
    try:
        return bool(parse(name))
    except PerpcsError:
        return False


def title_of(name: str, router: Mapping[str, Any] | None = None) -> str:
    """The title of a method; an unknown name is returned as it is.

    Args:
        router: ``Assembly.router`` of the person; None = the default.
    """
    return parse(name).titled(router) if is_name(name) else name


def prepare(setting: Setting, people: Sequence[Person], name: str, watch: Watch | None = None) -> list[Prepared]:
    """Prepare people for a method. The caller handles ``wrong:``, because it knows all people.

    Raises:
        PerpcsError: for an unknown method, or if an input is missing.
    """
    asked = parse(name)
    found = [Prepared(setting.task, method=name) for _ in people]
    for method, detail in asked.parts:
        module, _, function = method.prepare.partition(".")
        made = getattr(importlib.import_module(f"perpcs.personalizers.{module}"), function)
        call = Call(setting, people, detail or method.details[0], asked.shown, watch)
        began = time.perf_counter()
        parts: list[Prepared] = made(call)
        share = (time.perf_counter() - began) / max(len(people), 1)
        parts = [replace(part, seconds=part.seconds or share) for part in parts]
        found = [one.beside(part) for one, part in zip(found, parts, strict=True)]
    return found


def names_in(listed: str) -> list[str]:
    """Split ``base, rag:2`` into valid names.

    Raises:
        PerpcsError: for an unknown name.
    """
    return [parse(name.strip()).name for name in listed.split(",") if name.strip()]


# ---- methods that only write a prompt --------------------------------------------------------------------------------


def nothing(call: Call) -> list[Prepared]:
    """The base model: stores nothing, shows nothing."""
    return [Prepared(call.setting.task) for _ in call.people]


def drawn(call: Call) -> list[Prepared]:
    """k items by other people. The query seeds the draw; nothing of the person is stored.

    Raises:
        PerpcsError: if there is nobody else.
    """
    k, prepared = int(call.detail), []
    for person in call.people:
        own = set(person.history)
        others = [item for id, items in call.setting.strangers if id != person.id for item in items if item not in own]
        if not others:
            raise PerpcsError("Random history needs other people's items, but there are none.", "Use another method.")

        def find(query: Query, others: list[Item] = others) -> list[Item]:
            draws = random.Random(crc32(f"{query.x}/{query.options}".encode()))
            return draws.sample(others, min(k, len(others)))

        prepared.append(Prepared(call.setting.task, finds=(find,)))
    return prepared


def rag(call: Call) -> list[Prepared]:
    """The k most similar items. The whole history must be stored as text.

    Raises:
        PerpcsError: if there is no history.
    """
    return [_retrieving(call, person, int(call.detail)) for person in call.people]


def pag(call: Call) -> list[Prepared]:
    """A profile and k retrieved items. The profile must be stored, and the history unless k is 0.

    Raises:
        PerpcsError: if there is no history.
    """
    return _described(call, call.setting.writer)


def counted(call: Call) -> list[Prepared]:
    """PAG with a profile made of counts: the baseline for one that a language model writes.

    Raises:
        PerpcsError: if there is no history.
    """
    return _described(call, statistics)


def _described(call: Call, writer: Writer) -> list[Prepared]:
    k, prepared = int(call.detail), []
    for number, person in enumerate(call.people):
        _needs_text(person)
        if call.watch:
            call.watch(Progress("writing the profile", number, len(call.people)))
        profile = writer(call.setting.task, person.history)
        told = Prepared(
            call.setting.task, profile=profile, other_bytes=len(profile.encode()), text_leaves=bool(profile)
        )
        prepared.append(told.beside(_retrieving(call, person, k)) if k else told)
    return prepared


def _retrieving(call: Call, person: Person, k: int) -> Prepared:
    _needs_text(person)
    history = person.history
    index = cache(lambda: indexed(history))

    @lru_cache(maxsize=8)  # Compare asks for a prompt more than once
    def find(query: Query) -> list[Item]:
        return retrieve(query.sought, history, k, index())

    return Prepared(call.setting.task, finds=(find,), text_bytes=text_bytes(history), text_leaves=True)


def _needs_text(person: Person) -> None:
    if not person.history:
        raise PerpcsError(
            "RAG and PAG need the history's text, but a saved model holds none.", "Give the history again."
        )


def text_bytes(history: Sequence[Item]) -> int:
    """Bytes of a history's text, which RAG must store."""
    return sum(len(f"{item.x}{item.y or ''}".encode()) for item in history)
