"""Stored evaluations of a pool, read back as rows of a table. What does not fit is left out, never guessed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

from perpcs.assembly.routers import PRESETS
from perpcs.pool.manifest import is_number, mapping
from perpcs.tasks import TASKS

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
    """What one method reached: the task's metric, and nats per target token where it has likelihoods."""

    kind: str
    """One of ``KINDS``."""
    variant: str
    """What sets it apart from the method as the app runs it: a router, a number of shown items; mostly empty."""
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
    """The evaluations in a folder that were made with a pool, by task in the order of the table of tasks.

    A file that is malformed or was made with another pool is passed over. Of two files for one task the one with more
    people counts.
    """
    found: dict[str, Evaluation] = {}
    for path in sorted(Path(folder).glob(PATTERN)):
        try:
            state = path.stat()
        except OSError:
            continue
        one = _read(path, state.st_mtime_ns, state.st_size)
        if one is not None and one.pool_hash == pool_hash:
            known = found.get(one.task)
            if known is None or one.users >= known.users:
                found[one.task] = one
    return {task: found[task] for task in TASKS if task in found}


@lru_cache(maxsize=64)
def _read(path: Path, changed: int, size: int) -> Evaluation | None:
    """A file as it was at that time: pages ask at every click, and a file may hold megabytes of examples."""
    try:
        return evaluation(json.loads(path.read_bytes()), path.name)
    except (OSError, ValueError, RecursionError):
        return None


def evaluation(result: Any, file: str = "") -> Evaluation | None:
    """What ``perpcs evaluate`` wrote, as a record; None where it is not that, or not of a known task."""
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
    """What to type so that there is an evaluation of a pool for a task.

    Args:
        town: the pool is of the small town, whose people can be made up.
        shipped: it is the pool that comes with the program, which needs no naming.
    """
    users = f"build/town/{task}/target_users.json" if town else "path/to/users.json"
    pool = "" if shipped else " --pool path/to/pool"
    measure = f"perpcs evaluate --task {task} --users {users}{pool} --out results/evaluate_{task}.json"
    return ("perpcs smalltown --seed 3 --out build/town", measure) if town else (measure,)


def _first(names: Sequence[str], wanted: Sequence[str], prefix: str) -> str:
    """The first wanted name that is there, else the first with the prefix, else nothing."""
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
