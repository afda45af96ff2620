"""How much must somebody have written? Likelihood of people's own answers against the number of history items.

The same people and the same queries at every size; only the newest items are kept. A person of the small town has as
many items as are asked for; of given users those are measured who wrote enough for the largest size that half of them
reach.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from perpcs.data.smalltown import make_people
from perpcs.errors import PerpcsError
from perpcs.evaluate.experiments import Experiment, Setting
from perpcs.evaluate.metrics import paired, summary
from perpcs.evaluate.protocol import person_nll, prepare
from perpcs.personalizers.methods import parse
from perpcs.tasks import User, get_task

ITEMS = (3, 5, 10, 20, 50)
METHODS = ("base", "rag", "perpcs:gate", "perpcs:gradient", "perpcs:fit", "wrong:perpcs:fit", "oppu")


def run(setting: Setting) -> dict[str, Any]:
    """{tasks: {task: {items, users, methods: {name: {nll: [summary an item count], minus_oppu: [paired]}}}}}."""
    return {
        "units": {"nll": "nats per target token", "minus_oppu": "nats per target token, paired person by person"},
        "items": list(ITEMS),
        "settings": {"people": setting.people, "seed": setting.seed},
        "tasks": {name: _column(setting, name) for name in setting.tasks},
    }


def _column(setting: Setting, name: str) -> dict[str, Any]:
    task = get_task(name)
    users, sizes = _people(setting, name)
    rows: dict[str, list[list[float]]] = {method: [] for method in METHODS}
    for size in sizes:
        cut = [replace(user, history=user.history[-size:]) for user in users]
        ready: dict[str, Any] = {}
        for method in METHODS:
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
    """People and the sizes that each of them reaches.

    Raises:
        PerpcsError: when there are fewer than two people with enough history, because there is no wrong person then.
    """
    if setting.users is None and setting.town:
        most = ITEMS[-1]
        made = make_people(name, seed=setting.seed, count=setting.people, split="target", history=(most, most))
        return [person.user for person in made], list(ITEMS)
    found = [user for user in setting.people_of(name)[0] if user.queries]
    reached = sorted(len(user.history) for user in found)
    sizes = [size for size in ITEMS if reached and size <= reached[len(reached) // 2]]
    enough = [user for user in found if sizes and len(user.history) >= sizes[-1]]
    if len(enough) < 2:
        raise PerpcsError(f"Fewer than two people have {ITEMS[0]} history items.", "Give people who wrote more.")
    return enough, sizes


EXPERIMENT = Experiment("How much must somebody have written before a method knows them?", run)
