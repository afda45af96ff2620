"""The methods: one interface for every way of answering for a person, a registry of one line each, and their names. The
engine, the command line and the evaluation use it alike.

    prepare(setting, people) -> Prepared a person   what is kept (weights, an adapter, text, a profile) and what it cost
    Prepared.prompt(query)   -> Prompt              what is sent
    Prepared.weights, .own                          what the row of a batch carries

What is prepared may be kept for as long as the person stays and serves any number of queries. Several people are
prepared in one call, because training many at once is faster than one by one and comes to the same.

    NAME            rag, perpcs, oppu                a method of the table
    NAME:DETAIL     rag:2, perpcs:gate, oppu:best    with one of its details from the table
    X+rag:K         perpcs:fit+rag:1, oppu+pag       the adapter of X, with the prompt of RAG or PAG
    wrong:X         wrong:perpcs                     a control: X prepared for someone else

A new method is a function from a ``Call`` to prepared people, and a line here that says where it is. It is imported
on first use, so that pages and --help know the names without loading a model's libraries.

Methods that show the model something of a history in the prompt: random items, RAG and PAG.

    base             nothing at all
    random history   items of other people, drawn by the query: what any example of the task does, whoever wrote it
    RAG              the items that BM25 finds nearest to the query (Okapi, as in LaMP)
    PAG              a profile of the person, and retrieved items where asked (Richardson et al., 2023)

All history lies before the query, and what training is shown of an item's past lies strictly before the item.
"""

import importlib
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from perpcs.assembly.record import Assembly, made_by, router_name
from perpcs.assembly.routers import deciding
from perpcs.data.prompts import retrieve, statistics
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
    """Whom a method is prepared for. History items all lie before whatever is asked later."""

    id: str
    history: tuple[Item, ...] = ()
    """Empty for a saved person: the file holds no text."""
    assembly: Assembly | None = None
    """The one that there already is."""


@dataclass(frozen=True)
class Progress:
    """How far a preparation is. An exception raised by whoever is told ends the work."""

    doing: str
    step: int
    steps: int
    losses: Mapping[str, float] = field(default_factory=dict)
    """Of this step, in nats per target token, where something is trained."""


Watch = Callable[[Progress], None]


@dataclass(frozen=True)
class Setting:
    """What methods work with beside the person."""

    base: "BaseModel"
    pool: "Pool"
    task: Task
    strangers: Sequence[tuple[str, Sequence[Item]]] = ()
    """Other people's histories by id, for random history; whoever asks is passed over."""
    writer: Writer = statistics


@dataclass(frozen=True)
class Prompt:
    """A prompt as it is sent, and what stands in it."""

    text: str
    retrieved: tuple[Item, ...] = ()
    profile: str = ""


@dataclass(frozen=True)
class Prepared:
    """What is kept of one person for one method."""

    task: Task
    method: str = ""
    finds: tuple[Callable[[Query], Sequence[Item]], ...] = ()
    """What looks items up for a query."""
    profile: str = ""
    weights: np.ndarray | None = None
    """Weights of the pool's pieces, (P, S)."""
    own: "OwnPiece | None" = None
    """What the row carries of its own, at every position."""
    text_bytes: int = 0
    """Bytes of the history's text, where it has to be kept."""
    other_bytes: int = 0
    """Bytes of all else that has to be kept."""
    text_leaves: bool = False
    """Whether words of the history stand in the prompt, so that whoever runs the model reads them."""
    seconds: float = 0.0
    """To prepare; where several people were prepared together, each one's share."""
    curve: Curve = field(default_factory=dict)
    """What training looked like, where there was any."""
    says: str = ""
    """What was found on the way, in a sentence."""

    @property
    def bytes(self) -> int:
        """What has to be kept of this person between two questions."""
        return self.text_bytes + self.other_bytes

    def prompt(self, query: Query) -> Prompt:
        """What is sent for a query."""
        found = tuple(item for find in self.finds for item in find(query))
        return Prompt(self.task.prompt(query, found, self.profile), found, self.profile)

    def beside(self, other: "Prepared") -> "Prepared":
        """This and another: what either shows, what either carries. A text that both keep is kept once."""
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
    """What a name shows of the history beside what it carries: training sees prompts of the same kind."""

    items: int = 0
    profile: bool = False


@dataclass(frozen=True)
class Call:
    """What a method is asked to prepare."""

    setting: Setting
    people: Sequence[Person]
    detail: str
    """What stands behind the colon of its name, or the method's first one."""
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
    """What may stand behind a colon; the first is meant where nothing does."""
    prepare: str
    """``module.function`` below ``perpcs.personalizers``: Call -> one Prepared for each person, in their order."""
    reads: bool = True
    """Whether it needs the history's text, which a saved person does not hold."""
    shows: bool = False
    """Whether it shows something in the prompt, so that it may stand behind a plus."""
    slow: bool = False
    """Whether it trains for seconds, so that an audience should see how."""


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
    """A method's name, taken apart."""

    name: str
    parts: tuple[tuple[Method, str], ...]
    """(method, detail) of each part; the detail is empty if the name gives none."""
    wrong: bool = False

    @cached_property
    def plain(self) -> str:
        """The name without ``wrong:``."""
        return self.name.removeprefix("wrong:")

    @property
    def shown(self) -> Shown:
        """How much of the person's own history the method shows."""
        k = {m.name: int(detail or m.details[0]) for m, detail in self.parts if m.name in ("rag", "pag", "pag-counted")}
        return Shown(max(k.values(), default=0), any(name.startswith("pag") for name in k))

    @property
    def reads(self) -> bool:
        """Whether the history's text is needed."""
        return any(method.reads for method, _ in self.parts)

    @property
    def slow(self) -> bool:
        return any(method.slow for method, _ in self.parts)

    @property
    def title(self) -> str:
        """The title on the screen: ``Per-Pcs (fit) + RAG (2 items)``."""
        return self.titled(None)

    def titled(self, router: Mapping[str, Any] | None) -> str:
        """The title for a person whose assembly was made with these options; they decide what ``perpcs`` means."""
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
    """A method's name, taken apart.

    Raises:
        PerpcsError: for an unknown name, with the nearest known one.
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
    """All names without a plus, or those of one method."""
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
    """Whether this is the name of a method."""
    try:
        return bool(parse(name))
    except PerpcsError:
        return False


def title_of(name: str, router: Mapping[str, Any] | None = None) -> str:
    """The title of a method; an unknown name is its own title.

    Args:
        router: ``Assembly.router`` of the person it answers for; None = the default.
    """
    return parse(name).titled(router) if is_name(name) else name


def prepare(setting: Setting, people: Sequence[Person], name: str, watch: Watch | None = None) -> list[Prepared]:
    """Prepare people for a method. The caller handles ``wrong:``, because it knows the other people.

    Raises:
        PerpcsError: for an unknown method, or if a method lacks an input.
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
    """Names from ``base, rag:2``; each is checked.

    Raises:
        PerpcsError: for an unknown one.
    """
    return [parse(name.strip()).name for name in listed.split(",") if name.strip()]


# ---- methods that only write a prompt --------------------------------------------------------------------------------


def nothing(call: Call) -> list[Prepared]:
    """The base model: nothing is kept, nothing is shown."""
    return [Prepared(call.setting.task) for _ in call.people]


def drawn(call: Call) -> list[Prepared]:
    """k items of other people, drawn anew for each query and the same for the same one. Nothing of the person is kept.

    Raises:
        PerpcsError: when there is nobody else.
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
    """The k nearest items. The whole history has to be kept, as text.

    Raises:
        PerpcsError: when there is no history to retrieve from.
    """
    return [_retrieving(call, person, int(call.detail)) for person in call.people]


def pag(call: Call) -> list[Prepared]:
    """A profile, and k retrieved items beside it. The profile has to be kept, and the history where k is not 0.

    Raises:
        PerpcsError: when there is no history.
    """
    return _described(call, call.setting.writer)


def counted(call: Call) -> list[Prepared]:
    """The same with a profile that is counted: what a language model's profile has to be better than.

    Raises:
        PerpcsError: when there is no history.
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

    @lru_cache(maxsize=8)  # a column asks for its prompt more than once
    def find(query: Query) -> list[Item]:
        return retrieve(query.sought, history, k)

    return Prepared(call.setting.task, finds=(find,), text_bytes=text_bytes(history), text_leaves=True)


def _needs_text(person: Person) -> None:
    if not person.history:
        raise PerpcsError(
            "RAG and PAG need the history's text, but a saved model holds none.", "Give the history again."
        )


def text_bytes(history: Sequence[Item]) -> int:
    """Bytes of a history's text, which RAG has to keep."""
    return sum(len(f"{item.x}{item.y or ''}".encode()) for item in history)
