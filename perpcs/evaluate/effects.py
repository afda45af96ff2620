"""What a choice did to the likelihood of held-out texts, as stored evaluations say. Nothing is computed."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from perpcs.evaluate.results import PATTERN
from perpcs.pool.manifest import is_number, mapping
from perpcs.tasks import TASKS


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
    """All of a folder's evaluations, by task in the order of the table of tasks; what does not fit is left out."""
    found: list[Effect] = []
    for path in sorted(Path(folder).glob(PATTERN)):
        try:
            state = path.stat()
        except OSError:
            continue
        found += _read(path, state.st_mtime_ns, state.st_size)
    return tuple(sorted(found, key=lambda effect: list(TASKS).index(effect.task)))


@lru_cache(maxsize=64)
def _read(path: Path, changed: int, size: int) -> tuple[Effect, ...]:
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
