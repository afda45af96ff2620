"""What every result says of itself, and how numbers are taken: medians, with all runs kept."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from perpcs.data.smalltown import make_people
from perpcs.evaluate.experiments import commit
from perpcs.files import write_json
from perpcs.pool.store import Pool
from perpcs.tasks import Item, Query, Task

ROOT = Path(__file__).resolve().parents[1]
QUALITY, SPEED = ROOT / "results" / "quality", ROOT / "results" / "speed"
DEFAULT_POOL = ROOT / "assets" / "pools" / "people"


def about(benchmark: str, pool: Pool, settings: dict[str, Any], packages: Iterable[str]) -> dict[str, Any]:
    """The head of a result: what was run, when, at which commit, on what, with which pool and versions."""
    return {
        "benchmark": benchmark,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "pool": {"name": pool.manifest.name, "hash": pool.hash},
        "settings": settings,
        "machine": {
            "cpus": os.cpu_count(),
            "system": platform.system(),
            "architecture": platform.machine(),
            "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def writers(pool: Pool, task: Task, count: int, items: int) -> list[tuple[tuple[Item, ...], Query]]:
    """Histories of so many items each, and a question: of the pool's example people, taken again from another item on
    where there are fewer of them, or of the small town's where the pool has none.
    """
    examples = [example for example in pool.examples(task.name) if example.queries]
    if not examples:
        people = make_people(task.name, seed=0, count=count, split="target", history=(items, items), queries=1)
        return [(person.history, person.queries[0]) for person in people]
    found = []
    for number in range(count):
        example = examples[number % len(examples)]
        endless = [item for one in examples[number % len(examples) :] + examples for item in one.history] * items
        found.append((tuple(endless[number : number + items]), example.queries[number % len(example.queries)]))
    return found


def take_turns(runs: Sequence[Callable[[], Any]], repeats: int) -> list[dict[str, Any]]:
    """Time several runs by turns, after one untimed round, so that a change of the machine's mood meets all alike."""
    for run in runs:
        run()
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for index, run in enumerate(runs):
            began = time.perf_counter()
            run()
            seconds[index].append(time.perf_counter() - began)
    return [timing(row) for row in seconds]


def timing(seconds: Sequence[float]) -> dict[str, Any]:
    """The median and all it is the median of."""
    return {"median_s": round(statistics.median(seconds), 4), "runs_s": [round(value, 4) for value in seconds]}


def write_result(out: Path, result: dict[str, Any]) -> None:
    """Write a result and say where."""
    write_json(out, result)
    print(f"Written to {out}")


def print_table(rows: Sequence[Sequence[object]]) -> None:
    """Columns that line up; the first row is the heading."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
