"""Answers as the screens show them, whether they were just made or stored with an example's assembly."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from perpcs.assembly.record import Assembly
from perpcs.tasks import Item, Query
from perpcs.ui.people import Person


@dataclass
class Asked:
    """One question of Compare and what the methods answered. Lives in the session only."""

    person: Person
    query: Query
    methods: tuple[str, ...]
    answers: tuple[Any, ...] = ()
    """The engine's Answer records, or stored ones with the same fields."""
    stored: bool = False
    stopped: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


def stored_answers(assembly: Assembly, query: Query | None, methods: Sequence[str]) -> tuple[Any, ...]:
    """Answers that were computed when the pool was built; none where any of ``methods`` is missing.

    They lie in ``assembly.extra["answers"][query.id][method]`` as the fields of an Answer.
    """
    if query is None:
        return ()
    rows = assembly.extra.get("answers", {}).get(query.id, {})
    if not methods or not all(method in rows for method in methods):
        return ()
    return tuple(_answer(method, rows[method]) for method in methods)


def _answer(method: str, row: dict[str, Any]) -> Any:
    blank = {
        "method": method,
        "title": method,
        "text": "",
        "done": True,
        "valid": True,
        "tokens": 0,
        "first_token_seconds": None,
        "seconds": 0.0,
        "prompt": "",
        "retrieved": (),
        "bytes_stored": 0,
        "prepare_seconds": 0.0,
        "text_leaves": False,
        "labels": {},
    }
    known = {key: value for key, value in row.items() if key in blank}
    known["retrieved"] = tuple(item if isinstance(item, Item) else Item(**item) for item in known.get("retrieved", ()))
    return SimpleNamespace(**{**blank, **known})
