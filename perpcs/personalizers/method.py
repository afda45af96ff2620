"""One interface for every way of answering for a person.

A method prepares a row of a batch: the prompt as it will be sent, and the weights the row carries, if any. The engine
decodes the rows of any people and any methods together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from perpcs.assembly.record import Assembly
from perpcs.tasks import Item, Query, Task


@dataclass(frozen=True)
class Person:
    """What a method may use of the person who asks. History items all lie before the query."""

    task: Task
    history: Sequence[Item]
    assembly: Assembly | None


@dataclass(frozen=True)
class Row:
    """A prepared row: what is sent, what it carries, and what keeping it costs."""

    prompt: str
    weights: np.ndarray | None = None
    """(P, S), or None for the base model."""
    own: Assembly | None = None
    """The record that holds a piece of the person's own, where there is one."""
    retrieved: tuple[Item, ...] = ()
    bytes_stored: int = 0
    """What has to be kept of this person between two questions."""
    text_leaves: bool = False
    """Whether words of the history stand in the prompt, so that whoever runs the model reads them."""


@dataclass(frozen=True)
class Method:
    """One line of the registry."""

    name: str
    title: str
    says: str
    """One sentence for the app."""
    prepare: Callable[[Person, Query], Row]
