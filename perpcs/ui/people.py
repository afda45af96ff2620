"""Whose model is on the screen: an example person's, the visitor's, or one loaded from a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from perpcs.assembly.check import fit_sentence
from perpcs.assembly.record import Assembly
from perpcs.figures.style import seconds_text
from perpcs.pool.manifest import Example
from perpcs.tasks import Item, Query

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


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
