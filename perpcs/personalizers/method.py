"""One interface for every way of answering for a person; the engine, the command line and the evaluation use it alike.

    prepare(setting, people) -> Prepared a person   what is kept (weights, an adapter, text, a profile) and what it cost
    Prepared.prompt(query)   -> Prompt              what is sent
    Prepared.weights, .own                          what the row of a batch carries

What is prepared may be kept for as long as the person stays and serves any number of queries. Several people are
prepared in one call, because training many at once is faster than one by one and comes to the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from perpcs.assembly.record import Assembly
from perpcs.data.profile import statistics
from perpcs.tasks import Item, Query, Task

if TYPE_CHECKING:  # pages read these records, and need no torch for that
    from perpcs.model.base import BaseModel
    from perpcs.model.basis import OwnPiece
    from perpcs.pool.store import Pool

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
