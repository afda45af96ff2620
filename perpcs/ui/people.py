"""Whose model is on the screen, and a history not yet assembled: what was read, for which task, what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from perpcs.assembly.explain import fit_sentence
from perpcs.assembly.record import Assembly
from perpcs.data import Limits, Look, Reading, look, read_pasted, read_upload
from perpcs.errors import PerpcsError
from perpcs.figures.style import seconds_text
from perpcs.pool.manifest import Example
from perpcs.tasks import TASKS, Item, Query, get_task

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- people ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """A person with an assembly. ``history`` is empty for a saved model: the file holds no text."""

    kind: Literal["example", "own", "saved"]
    name: str
    task: str
    assembly: Assembly
    history: tuple[Item, ...] = ()
    queries: tuple[Query, ...] = ()
    how: str = ""
    """Where the assembly comes from, for the label next to the map."""


def names_of(examples: Sequence[Example]) -> dict[str, str]:
    """Names of example people by id; those without a name are Person A, Person B and so on."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return {
        example.id: example.name or f"Person {letters[i] if i < 26 else i + 1}" for i, example in enumerate(examples)
    }


def find_example(examples: Sequence[Example], example_id: str) -> Example | None:
    """The example with that id, else the first one, else None."""
    return next((e for e in examples if e.id == example_id), examples[0] if examples else None)


def example_person(engine: "Engine", task: str, example: Example, live: Assembly | None = None) -> Person:
    """An example person with the precomputed assembly, or with one that was just assembled here.

    Raises:
        PerpcsError: when the stored assembly cannot be read.
    """
    assembly = live or engine.stored.assembly(task, example.id)
    name = names_of(engine.pool.examples(task))[example.id]
    how = assembled_here(engine, assembly) if live else "precomputed"
    return Person("example", name, task, assembly, example.history, example.queries, how)


def fit_of(person: Person) -> str:
    """The fit check of a person in one line."""
    whose = "your" if person.name == "You" else "this person’s" if person.kind == "saved" else f"{person.name}’s"
    return fit_sentence(person.assembly, whose)


def assembled_here(engine: "Engine", assembly: Assembly) -> str:
    return f"assembled here on {engine.base.device} in {seconds_text(assembly.seconds)}"


# ---- drafts ----------------------------------------------------------------------------------------------------------


GUESS = "guess"
LIMITS = Limits()


@dataclass(frozen=True)
class Draft:
    """The reading of a paste or an upload. Lives in the session only."""

    size: int
    """Bytes given."""
    task: str = ""
    why: str = ""
    """Why this task, if it was guessed."""
    reading: Reading | None = None
    error: PerpcsError | None = None
    others: tuple[str, ...] = ()
    """Other tasks of the pool as which most of it can be read."""

    @property
    def ready(self) -> bool:
        return self.reading is not None and len(self.reading.items) > 0


def read_draft(
    given: str | tuple[str, bytes],
    wanted: str,
    known: tuple[str, ...],
    user_id: str | None = None,
    replies: bool = True,
) -> Draft:
    """Read a pasted text, or an uploaded (name, bytes), of which ``user_id`` says who is meant.

    Args:
        wanted: a task's name, or ``GUESS``.
        known: tasks that the pool has sharers for.
        replies: whether posts that answer somebody's count.
    """
    content = given if isinstance(given, str) else given[1]
    size = len(content.encode("utf-8", "surrogatepass")) if isinstance(content, str) else len(content)
    task, why = wanted, ""
    seen = look_at(given, user_id)
    if wanted == GUESS:
        if seen.guess is None:
            task, why = known[0], "The kind of text is unclear, so the first one was used."
        else:
            task, why = seen.guess[0].name, seen.guess[1]
    others = tuple(fit.name for fit in seen.fits if fit.name in known and fit.name != task)
    if wanted == GUESS and task not in known:
        names = ", ".join(TASKS[name].title for name in known)
        wrong = f"This looks like {TASKS[task].title.lower()}, but the pool has no sharers for it."
        return Draft(size, task, why, error=PerpcsError(wrong, f"Choose a kind of text: {names}."), others=others)
    try:
        if isinstance(given, str):
            reading = read_pasted(given, get_task(task), user_id=user_id, replies=replies)
        else:
            reading = read_upload(given[0], given[1], get_task(task), user_id=user_id, replies=replies)
    except PerpcsError as error:
        return Draft(size, task, why, error=error, others=others)
    return Draft(size, task, why, reading, others=others)


def look_at(given: str | tuple[str, bytes], user_id: str | None = None) -> Look:
    """Whose a pasted text or an uploaded (name, bytes) is and what it fits; nothing of what is too large to be read."""
    name, content = ("", given) if isinstance(given, str) else given
    return look(content, name, user_id) if len(content) <= LIMITS.max_bytes else Look()


def as_lines(items: tuple, limit: int = 12) -> str:
    """Items as text that can be pasted: ``given => answer``, one per line."""
    lines = []
    for item in items[:limit]:
        x = " ".join(item.x.replace("=>", "->").split())
        lines.append(x if item.y is None else f"{x} => {item.y}")
    return "\n".join(lines)
