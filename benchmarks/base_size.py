"""Which size of base model is best for the time that there is: several, each trained for the same number of seconds.

Every size gets as many steps as fit into the time, with the cool-down that belongs to them, on the same lessons. Beside
the held-out loss stands what decides how large it may be: seconds to assemble a person of 50 items. Steps are counted
out before the training begins, so what else the machine does then makes it longer and changes nothing.

    python -m benchmarks.base_size --minutes 10                     writes results/base_size.json
    python -m benchmarks.base_size --minutes 50 --side-by-side 2    two at a time, each on its share of the cores
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import RESULTS, commit, print_table, timing, write_result
from perpcs.data.smalltown import make_people
from perpcs.model.base import BaseModel, load_base
from perpcs.model.text import Lesson, encode_pair, length_batches, pad_right
from perpcs.model.tokenizer import train_tokenizer
from perpcs.model.train_base import BaseSettings, train_base
from perpcs.pool.build import versions
from perpcs.pool.lessons import held_out_lessons, town_lessons
from perpcs.pool.recipe import SMALLTOWN, Recipe
from perpcs.tasks import get_task

SIZES: dict[str, dict[str, Any]] = {
    "192 x 4": {"width": 192, "layers": 4, "heads": 6, "feed_forward": 576},
    "256 x 4": {},
    "256 x 6": {"layers": 6},
    "384 x 4": {"width": 384, "layers": 4, "heads": 12, "feed_forward": 1152},
}
_TRIAL, _TURNS = 20, 3
"""Steps that tell how fast a size is, and how often all sizes take them in turn; the fastest turn counts."""
_PASSES = 5
_LOOKS = 8
"""How often the held-out loss is taken on the way."""


def measure(
    recipe: Recipe, seconds: float, sizes: dict[str, dict[str, Any]], side_by_side: int = 1
) -> dict[str, dict[str, Any]]:
    """Train every size for ``seconds`` on a recipe's lessons and time its pass over 50 items.

    What is timed is timed for all sizes within the same minutes, steps before any of them is trained and passes after,
    so that a machine which is slower for a while does not favour one. Steps are timed on as many threads as each size
    is trained with, passes on all.
    """
    # Not compiled: that takes minutes for each size, and how much it gains depends on how many shapes a run meets.
    plain = replace(SMALLTOWN.base, compiled=False, evaluate_every=10**9)
    all_settings = {name: replace(plain, **size) for name, size in sizes.items()}
    lessons, held_out = town_lessons(recipe), held_out_lessons(recipe)
    tokenizer = train_tokenizer((one.prompt + one.target for one in lessons[::10]), SMALLTOWN.base.vocabulary)
    every_thread = torch.get_num_threads()
    threads = max(1, every_thread // side_by_side)
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place:
        torch.set_num_threads(threads)
        trials = Path(place) / "trial"
        step_seconds = dict.fromkeys(sizes, float("inf"))
        for turn in range(_TURNS):
            for name, settings in all_settings.items():
                took = _step_seconds(lessons[::20], tokenizer, settings, trials / f"{name} {turn}")
                step_seconds[name] = min(step_seconds[name], took)
        torch.set_num_threads(every_thread)
        for name, settings in all_settings.items():
            steps = max(_TRIAL, int(seconds / step_seconds[name]))
            every = max(1, steps // _LOOKS)
            all_settings[name] = replace(
                settings, steps=steps, warmup=min(200, steps // 10), cooldown=steps * 3 // 10, evaluate_every=every
            )
        # Spawned, not forked: a fork of a process whose threads compute may hang.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(side_by_side, context, torch.set_num_threads, (threads,)) as workers:
            runs = {
                name: workers.submit(train_base, lessons, held_out, tokenizer, settings, Path(place) / name)
                for name, settings in all_settings.items()
            }
            results = {name: run.result() for name, run in runs.items()}
        bases = {name: load_base(Path(place) / name, device="cpu", dtype="float32") for name in sizes}
        for name, result in results.items():
            found[name] = {
                "settings": asdict(all_settings[name]),
                "parameters": sum(p.numel() for p in bases[name].model.parameters()),
                "step_seconds": round(step_seconds[name], 4),
                "held_out": result["curve"][-1]["held_out"],
                "groups": result["curve"][-1]["groups"],
                "curve": [{key: at[key] for key in ("step", "held_out")} for at in result["curve"]],
            }
        for name, times in _pass_seconds(bases).items():
            found[name]["pass_over_50_items"] = timing(times)
    return found


def _pass_seconds(bases: dict[str, BaseModel]) -> dict[str, list[float]]:
    """Seconds of passes over the same person's 50 items, all sizes in turn."""
    (person,) = make_people("LaMP_4", seed=1, count=1, split="target", history=(50, 50), queries=0)
    texts = [get_task("LaMP_4").pair(item) for item in person.history]
    passes: dict[str, list[float]] = {name: [] for name in bases}
    for turn in range(1 + _PASSES):
        for name, base in bases.items():
            items = [encode_pair(base.tokenizer, *text, base.max_tokens) for text in texts]
            began = time.perf_counter()
            for rows in length_batches([len(item.ids) for item in items], 8192):
                base.hidden(pad_right([items[row].ids for row in rows], base.pad, base.device))
            if turn:  # the first warms up
                passes[name].append(time.perf_counter() - began)
    return passes


def _step_seconds(lessons: list[Lesson], tokenizer: Any, settings: BaseSettings, folder: Path) -> float:
    """Seconds a step: the median of a few."""
    times: list[float] = []
    train_base(
        lessons,
        {},
        tokenizer,
        replace(settings, steps=_TRIAL, warmup=4, cooldown=4),
        folder,
        lambda at: times.append(time.perf_counter()),
        save_every=1e9,
    )
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    return gaps[len(gaps) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, for each size")
    parser.add_argument("--users", type=int, default=600, help="base users a task")
    names = [part.task for part in SMALLTOWN.tasks]
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=names,
        default=names,
        help="fewer tasks, to come further in the time (default: all)",
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES), help="default: all")
    parser.add_argument(
        "--side-by-side", type=int, default=1, metavar="N", help="train N at a time, on a part of the cores each"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "base_size.json")
    arguments = parser.parse_args()
    chosen = [part for part in SMALLTOWN.tasks if part.task in arguments.tasks]
    recipe = replace(SMALLTOWN, tasks=tuple(replace(part, base_users=arguments.users) for part in chosen))
    chosen_sizes = {name: SIZES[name] for name in arguments.sizes}
    sizes = measure(recipe, 60 * arguments.minutes, chosen_sizes, arguments.side_by_side)
    rows = [
        (name, f"{row['parameters'] / 1e6:.2f} M", f"{row['held_out']:.4f}", row["pass_over_50_items"]["median_s"])
        for name, row in sizes.items()
    ]
    print_table([("width x layers", "parameters", "held out", "seconds, 50 items"), *rows])
    head = {
        "benchmark": "base_size",
        "commit": commit(),
        "minutes": arguments.minutes,
        "tasks": arguments.tasks,
        "cpus": os.cpu_count(),
        "side_by_side": arguments.side_by_side,
    }
    write_result(
        arguments.out,
        {**head, "versions": versions(), "measure": "nats per answer token, mean of groups", "sizes": sizes},
    )


if __name__ == "__main__":
    main()
