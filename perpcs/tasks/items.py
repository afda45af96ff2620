"""What a person wrote, in the same three records for every task."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Item:
    """One past item of a person's history.

    ``x`` is what was given (an article, a film's description), ``y`` what the person made of it (their headline, their
    tag). ``y`` is None where the history is free text without inputs, as in LaMP-7.
    """

    x: str
    y: str | None = None
    id: str = ""
    other: str = ""
    """What the person passed over for y, where the task is a choice between two and the history tells."""


@dataclass(frozen=True)
class Query:
    """One question to answer for a person. ``gold`` is their own answer where it is known."""

    x: str
    gold: str | None = None
    id: str = ""
    options: tuple[str, ...] = ()

    @property
    def sought(self) -> str:
        """What retrieval looks for in a history: as LaMP does, the two references of a choice, else what is given."""
        return " ".join(self.options) or self.x


@dataclass(frozen=True)
class User:
    """A person: an id, the ordered history (oldest first) and queries that all lie after it."""

    id: str
    history: tuple[Item, ...]
    queries: tuple[Query, ...] = field(default=())
