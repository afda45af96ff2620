"""Results of experiments, read back for whoever shows them. It computes nothing and loads no model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from perpcs.evaluate.results import Measure, read_measure
from perpcs.pool.manifest import is_number, mapping
from perpcs.tasks import TASKS

KIND = "perpcs-experiment"
_PUBLISHED = Path(__file__).with_name("published.json")


@dataclass(frozen=True, eq=False)
class Finding:
    """One result file: what was asked, when, and of which pool; ``data`` is the whole file."""

    experiment: str
    says: str
    date: str
    commit: str
    pool: str
    pool_hash: str
    command: str
    data: Mapping[str, Any]


def read_finding(folder: Path, experiment: str) -> Finding | None:
    """The result of an experiment; None where there is none or the file is not one."""
    path = Path(folder) / f"{experiment}.json"
    try:
        state = path.stat()
    except OSError:
        return None
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _read(path: Path, changed: int, size: int) -> Finding | None:
    """A file as it was at that time: pages ask at every click."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or data.get("kind") != KIND:
        return None
    names = ("experiment", "says", "date", "commit", "pool", "pool_hash", "command")
    return Finding(**{name: str(data.get(name) or "") for name in names}, data=data)


@dataclass(frozen=True)
class Cell:
    """One method on one task."""

    measures: Mapping[str, Measure]
    minus_base: Measure | None
    """Difference to the base model in nats per target token, paired person by person."""
    bytes: float | None
    seconds: float | None
    best: frozenset[str]
    """Measures in which it is ahead of every other method by an interval that excludes 0."""


@dataclass(frozen=True)
class Column:
    """One task of the table."""

    task: str
    metric: str
    users: int
    queries: int
    date: str
    commit: str
    file: str
    cells: Mapping[str, Cell]
    references: Mapping[str, Cell]
    examples: Mapping[str, Any]


def columns(finding: Finding) -> tuple[Column, ...]:
    """The tasks of ``table1`` in the order of the table of tasks; what is malformed is left out."""
    tasks = mapping(finding.data.get("tasks"))
    return tuple(_column(task, mapping(tasks[task])) for task in TASKS if task in tasks)


def methods(finding: Finding) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the methods and of the controls of ``table1``, in the order of its rows."""
    named, controls = (finding.data.get(key) for key in ("methods", "controls"))
    apart = [str(name) for name in controls] if isinstance(controls, list) else []
    rows = [str(name) for name in named] if isinstance(named, list) else []
    return tuple(name for name in rows if name not in apart), tuple(name for name in rows if name in apart)


def _column(task: str, found: Mapping[str, Any]) -> Column:
    best = mapping(found.get("best"))
    users, queries = (value if is_number(value) else 0 for value in (found.get("users"), found.get("queries")))
    cells = {
        str(name): _cell(mapping(cell), frozenset(measure for measure, who in best.items() if who == name))
        for name, cell in mapping(found.get("methods")).items()
    }
    references = {str(name): _cell(mapping(cell)) for name, cell in mapping(found.get("references")).items()}
    date, commit, file = (str(found.get(key) or "") for key in ("date", "commit", "file"))
    metric, examples = TASKS[task].metric, mapping(found.get("examples"))
    return Column(task, metric, int(users), int(queries), date, commit, file, cells, references, examples)


def _cell(cell: Mapping[str, Any], best: frozenset[str] = frozenset()) -> Cell:
    measured = {name: read_measure(value) for name, value in mapping(cell.get("measures")).items()}
    size, seconds = (value if is_number(value) else None for value in (cell.get("bytes"), cell.get("prepare_seconds")))
    measures = {name: value for name, value in measured.items() if value is not None}
    return Cell(measures, read_measure(cell.get("minus_base")), size, seconds, best)


@dataclass(frozen=True)
class Shown:
    """One query of a held-out person with what a method answered; ``answer`` is None where it was not kept."""

    user: str
    input: str
    options: tuple[str, ...]
    gold: str
    answer: str | None
    score: float | None
    nll: float | None


def examples(column: Column, method: str) -> tuple[Shown, ...]:
    """The stored examples of a cell, in the order of the file; empty where no texts are kept."""
    answers = mapping(column.examples.get("answers")).get(method)
    people = column.examples.get("people")
    if not isinstance(answers, list) or not isinstance(people, list):
        return ()
    asked = [
        (str(mapping(person).get("user")), mapping(query))
        for person in people
        for query in mapping(person).get("queries", ())
    ]
    return tuple(_shown(user, query, row) for (user, query), row in zip(asked, answers, strict=False))


def _shown(user: str, query: Mapping[str, Any], row: Sequence[Any]) -> Shown:
    said, score, nll = (*row, None, None, None)[:3]
    return Shown(
        user=user,
        input=str(query.get("input", "")),
        options=tuple(str(option) for option in query.get("options", ())),
        gold=str(query.get("gold") or ""),
        answer=said if isinstance(said, str) else None,
        score=score if is_number(score) else None,
        nll=nll if is_number(nll) else None,
    )


@lru_cache(maxsize=1)
def published() -> Mapping[str, Any]:
    """The paper's own numbers with their source: {source, base_model, people, tasks.TASK.METRIC.METHOD, cost}. They are
    shown as published, never as measured here.
    """
    return mapping(json.loads(_PUBLISHED.read_bytes()))
