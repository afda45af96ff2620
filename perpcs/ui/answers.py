"""Answers as Compare shows them, whether they were just made or stored with the pool."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perpcs.personalizers.answer import Answer
from perpcs.tasks import Query
from perpcs.ui.people import Person

if TYPE_CHECKING:
    from perpcs.personalizers.engine import Engine


@dataclass
class Asked:
    """One question of Compare and what the methods answered. Lives in the session only."""

    person: Person
    query: Query
    methods: tuple[str, ...]
    answers: tuple[Answer, ...] = ()
    stored: bool = False
    stopped: bool = False


def stored_answers(
    engine: "Engine", task: str, example_id: str, query: Query | None, methods: Sequence[str]
) -> tuple[Answer, ...]:
    """An example person's answers that were computed when the pool was built; none where one of ``methods`` lacks."""
    if query is None or not methods:
        return ()
    rows = engine.example_answers(task, example_id, query.id)
    return tuple(rows[method] for method in methods) if all(method in rows for method in methods) else ()
