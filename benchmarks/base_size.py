"""Which size of base model is best for the time that there is: several, each trained for the same number of seconds.

Every size gets as many steps as fit into the time, with the cool-down that belongs to them, on the same lessons. Beside
the held-out loss stands what decides how large it may be: seconds to assemble a person of 50 items.

    python -m benchmarks.base_size --minutes 10        writes results/base_size.json
"""

import argparse
import tempfile
import time
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, commit, print_table, timing, write_result
from perpcs.data.smalltown import make_people
from perpcs.model.base import load_base
from perpcs.model.text import Lesson, encode_pair, length_batches, pad_right
from perpcs.model.train_base import BaseSettings, train_base, train_tokenizer
from perpcs.pool.build import versions
from perpcs.pool.lessons import held_out_lessons, town_lessons
from perpcs.pool.recipe import SMALLTOWN
from perpcs.tasks import get_task

SIZES = {
    "192 x 4": {"width": 192, "layers": 4, "heads": 6, "feed_forward": 576},
    "256 x 4": {},
    "256 x 6": {"layers": 6},
    "384 x 4": {"width": 384, "layers": 4, "heads": 12, "feed_forward": 1152},
}
_TRIAL = 40  # steps that tell how fast a size is


def measure(size: dict[str, int], lessons: list[Lesson], seconds: float) -> dict[str, Any]:
    """Train one size and time a pass over 50 items."""
    settings = replace(SMALLTOWN.base, **size, evaluate_every=10**9)
    tokenizer = train_tokenizer((one.prompt + one.target for one in lessons[::10]), settings)
    with tempfile.TemporaryDirectory() as folder:
        step_seconds = _step_seconds(lessons, tokenizer, settings, Path(folder) / "trial")
        steps = max(_TRIAL, int(seconds / step_seconds))
        settings = replace(settings, steps=steps, warmup=min(200, steps // 10), cooldown=steps * 3 // 10)
        curve = train_base(lessons, held_out_lessons(SMALLTOWN), tokenizer, settings, Path(folder) / "base")["curve"]
        base = load_base(Path(folder) / "base", device="cpu", dtype="float32")
    (person,) = make_people("LaMP_4", seed=1, count=1, split="target", history=(50, 50), queries=0)
    items = [encode_pair(base.tokenizer, *get_task("LaMP_4").pair(item), base.max_tokens) for item in person.history]
    runs = []
    for _ in range(4):
        began = time.perf_counter()
        for rows in length_batches([len(item.ids) for item in items], 8192):
            base.hidden(pad_right([items[row].ids for row in rows], base.pad, base.device))
        runs.append(time.perf_counter() - began)
    return {
        "settings": asdict(settings),
        "parameters": sum(p.numel() for p in base.model.parameters()),
        "step_seconds": round(step_seconds, 4),
        "held_out": curve[-1]["held_out"],
        "groups": curve[-1]["groups"],
        "pass_over_50_items": timing(runs[1:]),
    }


def _step_seconds(lessons: list[Lesson], tokenizer: Any, settings: BaseSettings, folder: Path) -> float:
    """Seconds a step, once everything is compiled: the median of a few."""
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
    parser.add_argument("--out", type=Path, default=RESULTS / "base_size.json")
    arguments = parser.parse_args()
    fewer = tuple(replace(part, base_users=arguments.users) for part in SMALLTOWN.tasks)
    lessons = town_lessons(replace(SMALLTOWN, tasks=fewer))
    sizes = {name: measure(size, lessons, 60 * arguments.minutes) for name, size in SIZES.items()}
    rows = [
        (name, f"{row['parameters'] / 1e6:.2f} M", f"{row['held_out']:.4f}", row["pass_over_50_items"]["median_s"])
        for name, row in sizes.items()
    ]
    print_table([("width x layers", "parameters", "held out", "seconds, 50 items"), *rows])
    head = {"benchmark": "base_size", "commit": commit(), "minutes": arguments.minutes, "versions": versions()}
    write_result(arguments.out, {**head, "measure": "nats per answer token, mean of groups", "sizes": sizes})


if __name__ == "__main__":
    main()
