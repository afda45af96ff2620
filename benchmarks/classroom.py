"""What it costs when a class asks at once: people with their own weights who press the button at the same moment.

    python -m benchmarks.classroom [--pool FOLDER] [--people 16] [--repeats 5] [--out FILE]

For each task of the pool, with as many different people and questions:

together     seconds until the last of the people has an answer, all asking at once
in turn      seconds for the same questions asked one after the other
slowest      of those who ask together, the longest wait for a first word, over that of somebody alone
"""

import argparse
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import DEFAULT_POOL, SPEED, about, print_table, take_turns, write_result, writers
from perpcs.personalizers.methods import Prepared
from perpcs.serve.engine import Engine
from perpcs.tasks import Query, get_task

PACKAGES = ("torch", "transformers")
SHORT_HISTORY = 8
"""Items that each person is assembled from."""


def measure(folder: Path, *, people: int = 16, repeats: int = 5) -> dict[str, Any]:
    """Run the benchmark on a pool's folder, on the CPU; the result as it is written."""
    engine = Engine.open(folder, "cpu")
    settings = {"people": people, "repeats": repeats, "threads": torch.get_num_threads(), "device": "cpu"}
    result = about("classroom", engine.pool, settings, PACKAGES)
    result["goals"] = {"together_over_in_turn": {"at most": 0.5}}
    result["tasks"] = {
        part.task: measure_task(engine, part.task, people, repeats) for part in engine.pool.manifest.tasks
    }
    return result


def measure_task(engine: Engine, name: str, people: int, repeats: int) -> dict[str, Any]:
    """All numbers of one task."""
    task = get_task(name)
    class_ = writers(engine.pool, task, people, SHORT_HISTORY)
    rows = [(engine.prepare(task, "perpcs:prototype", history), query) for history, query in class_]
    first_words: list[float] = []

    def ask(row: tuple[Prepared, Query]) -> None:
        began = time.perf_counter()
        for count, _ in enumerate(engine.answer_rows(task, [row])):
            if not count:
                first_words.append(time.perf_counter() - began)

    def in_turn() -> None:
        for row in rows:
            ask(row)

    def together() -> None:
        threads = [threading.Thread(target=ask, args=(row,)) for row in rows]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    one_by_one, at_once = take_turns([in_turn, together], repeats)
    first_words.clear()
    in_turn()
    alone = float(np.median(first_words))
    first_words.clear()
    together()
    return {
        "together": at_once,
        "in_turn": one_by_one,
        "together_over_in_turn": round(at_once["median_s"] / one_by_one["median_s"], 3),
        "first_word_alone_s": round(alone, 4),
        "slowest_first_word_s": round(max(first_words), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs when a class asks at once.")
    parser.add_argument("--pool", type=Path, default=DEFAULT_POOL, help="a pool's folder (default: people)")
    parser.add_argument("--people", type=int, default=16, help="who ask at the same moment (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="runs behind each median (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=SPEED / "classroom.json")
    asked = parser.parse_args()
    result = measure(asked.pool, people=asked.people, repeats=asked.repeats)
    write_result(asked.out, result)
    print_table(
        [
            ("task", "together", "in turn", "ratio", "first word", "slowest first word"),
            *(
                (
                    name,
                    f"{row['together']['median_s']:.2f} s",
                    f"{row['in_turn']['median_s']:.2f} s",
                    row["together_over_in_turn"],
                    f"{row['first_word_alone_s']:.2f} s",
                    f"{row['slowest_first_word_s']:.2f} s",
                )
                for name, row in result["tasks"].items()
            ),
        ]
    )


if __name__ == "__main__":
    main()
