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

from perpcs.evaluate.experiment import commit
from perpcs.files import write_json
from perpcs.pool.store import Pool

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
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
