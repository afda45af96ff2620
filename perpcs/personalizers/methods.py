"""The registry of methods, one line each, and the names built from them.

    NAME            rag, perpcs, oppu                a method of the table
    NAME:DETAIL     rag:2, perpcs:gate, oppu:best    with one of its details from the table
    X+rag:K         perpcs:fit+rag:1, oppu+pag       the adapter of X, with the prompt of RAG or PAG
    wrong:X         wrong:perpcs                     a control: X prepared for someone else

A new method is a function from a ``Call`` to prepared people, and a line here that says where it is. It is imported
on first use, so that pages and --help know the names without loading a model's libraries.
"""

import importlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from perpcs.assembly.names import made_by, router_name
from perpcs.assembly.routers import deciding
from perpcs.errors import PerpcsError, unknown
from perpcs.personalizers.method import Call, Method, Person, Prepared, Setting, Shown, Watch

ROUTERS = deciding("votes", "loss")


_K = ("1", "2", "4")  # items shown
_R = ("", *ROUTERS, "paper")  # the existing assembly, one by a router, or one exactly as in the paper
_S = ("3", "1", "2", "4", "5", "10")  # sharers used
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "base", "Base model", "The query alone, the same for everyone.", ("",), "prompting.nothing", reads=False
        ),
        Method(
            "random-history",
            "Random history",
            "The prompt shows items by other people.",
            _K,
            "prompting.drawn",
            False,
            True,
        ),
        Method(
            "rag", "RAG", "The prompt shows the most similar items of the history.", _K, "prompting.rag", shows=True
        ),
        Method(
            "pag",
            "PAG",
            "The prompt shows a profile written from the history.",
            ("0", *_K),
            "prompting.pag",
            shows=True,
        ),
        Method(
            "pag-counted",
            "PAG (counted profile)",
            "The prompt shows a profile made of counts.",
            ("0", *_K),
            "prompting.counted",
            shows=True,
        ),
        Method(
            "retrieval",
            "PEFT retrieval",
            "The model uses all pieces of the most similar sharers.",
            _S,
            "pieces.retrieved",
        ),
        Method(
            "perpcs", "Per-Pcs", "The model uses sharers' pieces, weighted by the history.", _R, "pieces.per_pcs", False
        ),
        Method("p2p", "P2P", "A network generates a LoRA from a profile.", ("", "shuffled", "random"), "p2p.p2p"),
        Method("oppu", "OPPU", "A LoRA is trained for this person alone.", ("", "best"), "oppu.oppu", slow=True),
        Method("uniform", "Uniform weights", "A control: every piece has the same weight.", ("",), "pieces.uniform"),
        Method("random", "Random pieces", "A control: pieces drawn at random at each position.", ("",), "pieces.drawn"),
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
