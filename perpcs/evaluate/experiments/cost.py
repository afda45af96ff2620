"""What a person costs: bytes against the number of people, seconds against the number of history items.

Per-Pcs keeps the sharers' pieces once and a table of weights a person; OPPU keeps an adapter a person. Seconds are
measured, one person at a time: the same history, cut to its newest items, assembled by gate and by fit, and trained on
as OPPU trains, with the settings of a sharer and with the search for its best ones (once, because that takes minutes).
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from perpcs.assembly.assemble import assemble
from perpcs.assembly.record import quantised_size
from perpcs.assembly.routers import make_router
from perpcs.data.smalltown import make_people
from perpcs.errors import PerpcsError
from perpcs.evaluate.experiments import Experiment, Setting, machine
from perpcs.evaluate.protocol import prepare
from perpcs.pool.stages import encode_histories
from perpcs.pool.store import PIECES
from perpcs.pool.train import settings_of, train_pieces
from perpcs.tasks import Item, User, get_task

ITEMS = (4, 8, 16, 32, 64)
USERS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
REPEATS = 3
SEARCHED = "oppu:best"


def run(setting: Setting) -> dict[str, Any]:
    """{storage: bytes by users, time: seconds by items}; ``share`` of a method is what does not grow with people."""
    name = "LaMP_4" if "LaMP_4" in setting.tasks else setting.tasks[0]
    history = _long_history(setting, name)
    counts = [count for count in ITEMS if count <= len(history)]
    timings = _seconds(setting, name, history, counts)
    manifest = setting.pool.manifest
    weights = quantised_size(len(manifest.positions) * setting.pool.task(name).sharers)
    once = (setting.pool.folder / name / PIECES).stat().st_size
    return {
        "task": name,
        "machine": machine(),
        "units": {"storage": "bytes", "time": "seconds a person, median"},
        "storage": {
            "users": list(USERS),
            "methods": {
                "perpcs": {"once": once, "person": weights, "bytes": [once + weights * users for users in USERS]},
                "oppu": {
                    "once": 0,
                    "person": manifest.adapter_bytes,
                    "bytes": [manifest.adapter_bytes * users for users in USERS],
                },
            },
            "even_at": once / (manifest.adapter_bytes - weights) if manifest.adapter_bytes > weights else None,
        },
        "time": {"items": counts, "repeats": REPEATS, "methods": timings},
    }


def _long_history(setting: Setting, task: str) -> Sequence[Item]:
    """The longest history there is: a made-up person with as many items as are asked for, else of the users given."""
    if setting.users is None and setting.town:
        (person,) = make_people(task, seed=setting.seed, count=1, split="target", history=(ITEMS[-1], ITEMS[-1]))
        return person.history
    longest = max(setting.people_of(task)[0], key=lambda user: len(user.history))
    if len(longest.history) < ITEMS[0]:
        raise PerpcsError(f"Nobody has {ITEMS[0]} history items.", "Give people who wrote more.")
    return longest.history


def _seconds(setting: Setting, name: str, history: Sequence[Item], counts: Sequence[int]) -> dict[str, Any]:
    """Per method the runs at each number of items: {median_s: [...], runs_s: [[...]]}."""
    base, pool, task = setting.base, setting.pool, get_task(name)
    settings = settings_of(pool.manifest, name)[0]

    def by(router: str) -> Callable[[Sequence[Item]], object]:
        return lambda items: assemble(base, pool, task, items, options=make_router(router))

    def train(items: Sequence[Item]) -> object:
        return train_pieces(base, encode_histories(base, task, [User("me", tuple(items))]), ["me"], settings)

    def search(items: Sequence[Item]) -> object:
        return prepare(base, pool, task, [User("me", tuple(items))], SEARCHED)

    methods = {"perpcs:gate": by("gate"), "perpcs:fit": by("fit"), "oppu": train, SEARCHED: search}
    runs: dict[str, list[list[float]]] = {method: [] for method in methods}
    for count in counts:
        items = history[-count:]
        for method, do in methods.items():

            def measure(method: str = method, do: Callable[..., object] = do, items: Any = items) -> list[float]:
                if method != SEARCHED:
                    do(items)  # once for warmth
                return [_timed(do, items) for _ in range(1 if method == SEARCHED else REPEATS)]

            runs[method].append(setting.kept(f"{name}, {count} items, {method}", measure))
        setting.say(f"{count} items: " + ", ".join(f"{method} {min(rows[-1]):.2f} s" for method, rows in runs.items()))
    return {
        method: {
            "median_s": [round(statistics.median(row), 4) for row in rows],
            "runs_s": [[round(value, 4) for value in row] for row in rows],
        }
        for method, rows in runs.items()
    }


def _timed(do: Callable[[Sequence[Item]], object], items: Sequence[Item]) -> float:
    began = time.perf_counter()
    do(items)
    return time.perf_counter() - began


EXPERIMENT = Experiment("What has to be kept, and how long does it take, as people and their histories grow?", run)
