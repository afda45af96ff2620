"""What a person costs: bytes against the number of people, seconds against the number of history items.

Per-Pcs stores the sharers' pieces once and a table of weights per person; OPPU stores an adapter per person. Seconds
are measured for one person at a time: the newest items of one history, assembled by the default router and by gates,
and trained on as OPPU trains.

How much history is needed? Likelihood of people's own answers against the number of history items.

People and queries are the same at every size; only the newest items are used. Of given users, those are measured who
have enough items for the largest size that half of them reach.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from perpcs.assembly.assemble import assemble
from perpcs.assembly.record import quantised_size
from perpcs.assembly.router import Router
from perpcs.assembly.routers import PRESETS, make_router
from perpcs.data.lamp_files import newest
from perpcs.data.smalltown import make_people
from perpcs.errors import PerpcsError
from perpcs.evaluate.experiments import Experiment, Setting, machine
from perpcs.evaluate.metrics import paired, summary
from perpcs.evaluate.protocol import person_nll, prepare
from perpcs.personalizers.methods import parse
from perpcs.pool.stages import encode_histories
from perpcs.pool.store import PIECES
from perpcs.pool.train import settings_of, train_pieces
from perpcs.tasks import Item, User, get_task

# ---- costs -----------------------------------------------------------------------------------------------------------


ITEMS = (5, 10, 20, 40)
USERS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
REPEATS = 3


def run(setting: Setting) -> dict[str, Any]:
    """{storage: bytes by users, time: seconds by items}; ``once`` is what does not grow with people."""
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
    """The longest history of the given users, or of a made-up person with enough items."""
    if setting.users is None and setting.town:
        (person,) = make_people(task, seed=setting.seed, count=1, split="target", history=(ITEMS[-1], ITEMS[-1]))
        return person.history
    longest = max(setting.people_of(task)[0], key=lambda user: len(user.history))
    if len(longest.history) < ITEMS[0]:
        raise PerpcsError(f"Nobody has {ITEMS[0]} history items.", "Give people who wrote more.")
    return longest.history


def _seconds(setting: Setting, name: str, history: Sequence[Item], counts: Sequence[int]) -> dict[str, Any]:
    """Seconds of each method at each number of items: {median_s: [...], runs_s: [[...]]}."""
    base, pool, task = setting.base, setting.pool, get_task(name)
    settings = settings_of(pool.manifest, name)[0]

    def by(options: Router) -> Callable[[Sequence[Item]], object]:
        return lambda items: assemble(base, pool, task, items, options=options)

    def train(items: Sequence[Item]) -> object:
        return train_pieces(base, encode_histories(base, task, [User("me", tuple(items))]), ["me"], settings)

    methods = {"perpcs": by(PRESETS["default"]), "perpcs:gate": by(make_router("gate")), "oppu": train}
    runs: dict[str, list[list[float]]] = {method: [] for method in methods}
    for count in counts:
        items = history[-count:]
        for method, do in methods.items():

            def measure(do: Callable[..., object] = do, items: Any = items) -> list[float]:
                do(items)  # the first run is not timed
                return [_timed(do, items) for _ in range(REPEATS)]

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


EXPERIMENT = Experiment("How do storage and time grow with the number of people and the length of a history?", run)


# ---- how much history is needed --------------------------------------------------------------------------------------


HISTORY_ITEMS = (3, 5, 10, 20, 40)
HISTORY_METHODS = ("base", "rag", "perpcs:gate", "perpcs", "wrong:perpcs", "oppu")


def run_history(setting: Setting) -> dict[str, Any]:
    """{tasks: {task: {items, users, methods: {name: {nll: [summary an item count], minus_oppu: [paired]}}}}}."""
    return {
        "units": {"nll": "nats per target token", "minus_oppu": "nats per target token, paired person by person"},
        "items": list(HISTORY_ITEMS),
        "settings": {"people": setting.people, "seed": setting.seed},
        "tasks": {name: _history_column(setting, name) for name in setting.tasks},
    }


def _history_column(setting: Setting, name: str) -> dict[str, Any]:
    task = get_task(name)
    users, sizes = _people(setting, name)
    rows: dict[str, list[list[float]]] = {method: [] for method in HISTORY_METHODS}
    for size in sizes:
        cut = newest(users, size)
        ready: dict[str, Any] = {}
        for method in HISTORY_METHODS:
            plain = parse(method).plain

            def measure(
                method: str = method, plain: str = plain, cut: Sequence[User] = cut, ready: dict[str, Any] = ready
            ) -> list[float]:
                if plain not in ready:
                    ready[plain] = prepare(setting.base, setting.pool, task, cut, plain)
                return person_nll(setting.base, setting.pool, task, cut, ready[plain], int(plain != method))

            rows[method].append(setting.kept(f"{name}, {size} items, {method}", measure))
        said = ", ".join(f"{method} {np.mean(found[-1]):.3f}" for method, found in rows.items())
        setting.say(f"{name}, {size} items: {said}")
    return {
        "items": sizes,
        "users": len(users),
        "methods": {
            method: {
                "nll": [summary(found) for found in own],
                "minus_oppu": [paired(found, other) for found, other in zip(own, rows["oppu"], strict=True)],
            }
            for method, own in rows.items()
        },
    }


def _people(setting: Setting, name: str) -> tuple[Sequence[User], list[int]]:
    """People, and the sizes that each of them reaches.

    Raises:
        PerpcsError: if fewer than two people have enough history: the control needs a wrong person.
    """
    if setting.users is None and setting.town:
        most = HISTORY_ITEMS[-1]
        made = make_people(name, seed=setting.seed, count=setting.people, split="target", history=(most, most))
        return [person.user for person in made], list(HISTORY_ITEMS)
    found = [user for user in setting.people_of(name)[0] if any(query.gold for query in user.queries)]
    reached = sorted(len(user.history) for user in found)
    sizes = [size for size in HISTORY_ITEMS if reached and size <= reached[len(reached) // 2]]
    enough = [user for user in found if sizes and len(user.history) >= sizes[-1]]
    if len(enough) < 2:
        raise PerpcsError(
            f"Fewer than two people have {HISTORY_ITEMS[0]} history items.", "Give people who wrote more."
        )
    return enough, sizes


HISTORY = Experiment("How much history does a method need?", run_history)
