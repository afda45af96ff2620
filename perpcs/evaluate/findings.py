"""Reads stored evaluations and results of experiments for the pages. It computes nothing and loads no
model.

What does not fit the pool is left out, never guessed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

from perpcs.assembly.routers import PRESETS
from perpcs.pool.manifest import is_number, mapping
from perpcs.tasks import TASKS

# ---- evaluations -----------------------------------------------------------------------------------------------------


PATTERN = "evaluate_*.json"
KINDS = ("base", "rag", "perpcs", "wrong", "oppu", "majority", "oracle")
"""Rows of a table from top to bottom; ``wrong`` is Per-Pcs with another person's weights."""


@dataclass(frozen=True)
class Measure:
    """A mean over people with its 95 % interval."""

    mean: float
    low: float
    high: float
    people: int


@dataclass(frozen=True)
class QualityRow:
    """A method's result: the task's metric, and nats per target token if it has likelihoods."""

    kind: str
    """One of ``KINDS``."""
    variant: str
    """How it differs from the app's default, such as a router or a number of items; usually empty."""
    metric: Measure | None
    nll: Measure | None


@dataclass(frozen=True)
class Evaluation:
    """One result file: a task, measured with one pool."""

    task: str
    pool_hash: str
    users: int
    queries: int
    rows: tuple[QualityRow, ...]
    file: str
    """Name of the file it was read from."""


def read_evaluations(folder: Path, pool_hash: str) -> dict[str, Evaluation]:
    """The evaluations of a pool in a folder, by task in the order of ``TASKS``.

    A file that is malformed or was made with another pool is passed over. Of two files for one task the one with more
    people counts.
    """
    found: dict[str, Evaluation] = {}
    for path in sorted(Path(folder).glob(PATTERN)):
        try:
            state = path.stat()
        except OSError:
            continue
        one = _read_evaluation(path, state.st_mtime_ns, state.st_size)
        if one is not None and one.pool_hash == pool_hash:
            known = found.get(one.task)
            if known is None or one.users >= known.users:
                found[one.task] = one
    return {task: found[task] for task in TASKS if task in found}


@lru_cache(maxsize=64)
def _read_evaluation(path: Path, changed: int, size: int) -> Evaluation | None:
    """A cached file: pages ask at every click, and a file may hold megabytes of examples."""
    try:
        return evaluation(json.loads(path.read_bytes()), path.name)
    except (OSError, ValueError, RecursionError):
        return None


def evaluation(result: Any, file: str = "") -> Evaluation | None:
    """A file of ``perpcs evaluate`` as a record; None if it is something else or of an unknown task."""
    if not isinstance(result, dict) or not isinstance(result.get("methods"), dict):
        return None
    task, pool_hash, users, queries = (result.get(key) for key in ("task", "pool_hash", "users", "queries"))
    if not isinstance(task, str) or task not in TASKS or not isinstance(pool_hash, str):
        return None
    if not _is_count(users) or not _is_count(queries):
        return None
    rows = quality_rows(task, result["methods"], mapping(result.get("references")), _router(result))
    return Evaluation(task, pool_hash, users, queries, rows, file) if rows else None


def quality_rows(
    task: str, methods: Mapping[str, Any], references: Mapping[str, Any], router: str = PRESETS["default"].name
) -> tuple[QualityRow, ...]:
    """One row for each of ``KINDS`` that was measured.

    Args:
        router: the router that ``perpcs`` without a name of one stands for.
    """
    metric = TASKS[task].metric
    names = tuple(methods)
    ours = _first(names, ("perpcs", f"perpcs:{router}"), "perpcs:")
    chosen = {
        "base": (mapping(methods).get("base"), ""),
        "rag": _named(methods, _first(names, ("rag", "rag:1"), "rag:"), ("rag", "rag:1")),
        "perpcs": _named(methods, ours, ("perpcs", f"perpcs:{router}")),
        "wrong": _named(methods, f"wrong:{ours}", ("wrong:perpcs", f"wrong:perpcs:{router}")),
        "oppu": (methods.get("oppu"), ""),
        "majority": (references.get("majority"), ""),
        "oracle": (references.get("oracle"), ""),
    }
    rows = []
    for kind in KINDS:
        numbers, variant = chosen[kind]
        row = QualityRow(kind, variant, *(read_measure(mapping(numbers).get(name)) for name in (metric, "nll")))
        if row.metric is not None or row.nll is not None:
            rows.append(row)
    return tuple(rows)


def commands(task: str, *, town: bool, shipped: bool) -> tuple[str, ...]:
    """The commands that make an evaluation of a pool for a task.

    Args:
        town: the pool is of the small town, whose people can be made up.
        shipped: it is the pool that comes with the program, which needs no naming.
    """
    users = f"build/town/{task}/target_users.json" if town else "path/to/users.json"
    pool = "" if shipped else " --pool path/to/pool"
    measure = f"perpcs evaluate --task {task} --users {users}{pool} --out results/quality/evaluate_{task}.json"
    return ("perpcs smalltown --seed 3 --users 20 --out build/town", measure) if town else (measure,)


def _first(names: Sequence[str], wanted: Sequence[str], prefix: str) -> str:
    """The first wanted name that exists, else the first with the prefix, else an empty string."""
    there = [name for name in wanted if name in names]
    return next(iter([*there, *(name for name in names if name.startswith(prefix))]), "")


def _named(methods: Mapping[str, Any], name: str, usual: Sequence[str]) -> tuple[Any, str]:
    return methods.get(name), "" if name in usual else name.rpartition(":")[2]


def read_measure(value: Any) -> Measure | None:
    """A {mean, low, high, n_users} with finite numbers, or None."""
    cell = mapping(value)
    mean, low, high, people = (cell.get(key) for key in ("mean", "low", "high", "n_users"))
    if is_number(mean) and is_number(low) and is_number(high) and _is_count(people):
        return Measure(float(mean), float(low), float(high), people)
    return None


def _router(result: Mapping[str, Any]) -> str:
    named = mapping(mapping(result.get("settings")).get("router")).get("router")
    return named if isinstance(named, str) else PRESETS["default"].name


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


# ---- experiments -----------------------------------------------------------------------------------------------------


KIND = "perpcs-experiment"
_PUBLISHED = Path(__file__).with_name("published.json")


@dataclass(frozen=True, eq=False)
class Finding:
    """One result file: its question, date and pool; ``data`` is the whole file."""

    experiment: str
    says: str
    date: str
    commit: str
    pool: str
    pool_hash: str
    command: str
    data: Mapping[str, Any]


def read_finding(folder: Path, experiment: str) -> Finding | None:
    """The result of an experiment; None if there is no valid file."""
    path = Path(folder) / f"{experiment}.json"
    try:
        state = path.stat()
    except OSError:
        return None
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _read(path: Path, changed: int, size: int) -> Finding | None:
    """A cached file: pages ask at every click."""
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
    """Measures in which it is ahead of every other method; the interval excludes 0."""


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
    """The columns of ``table1``, without malformed ones."""
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
    """One query of a held-out person with a method's answer; ``answer`` is None if it was not stored."""

    user: str
    input: str
    options: tuple[str, ...]
    gold: str
    answer: str | None
    score: float | None
    nll: float | None


def examples(column: Column, method: str) -> tuple[Shown, ...]:
    """The stored examples of a cell; empty if no texts were stored."""
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


# ---- what a choice did -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Effect:
    """One method's nats per target token minus the base model's, mean over people with its 95 % interval."""

    task: str
    method: str
    mean: float
    low: float
    high: float
    people: int
    pool_hash: str
    file: str


def effects(folder: Path) -> tuple[Effect, ...]:
    """All evaluations of a folder by task, without invalid ones."""
    found: list[Effect] = []
    for path in sorted(Path(folder).glob(PATTERN)):
        try:
            state = path.stat()
        except OSError:
            continue
        found += _read_effects(path, state.st_mtime_ns, state.st_size)
    return tuple(sorted(found, key=lambda effect: list(TASKS).index(effect.task)))


@lru_cache(maxsize=64)
def _read_effects(path: Path, changed: int, size: int) -> tuple[Effect, ...]:
    del changed, size  # a file is read again when it is another one
    try:
        result = mapping(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return ()
    task, pool_hash = result.get("task"), result.get("pool_hash")
    if task not in TASKS or not isinstance(pool_hash, str):
        return ()
    made = []
    for method, numbers in mapping(result.get("methods")).items():
        cell: Any = mapping(mapping(numbers).get("nll_minus_base"))
        mean, low, high, people = (cell.get(key) for key in ("mean", "low", "high", "n_users"))
        if is_number(mean) and is_number(low) and is_number(high) and isinstance(people, int):
            made.append(
                Effect(str(task), str(method), float(mean), float(low), float(high), people, pool_hash, path.name)
            )
    return tuple(made)
