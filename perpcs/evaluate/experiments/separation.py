"""Is the town well made? The base model must be surely worse than what knows the person, and a stranger's LoRA no help.

Likelihoods only, so that many people can be asked: intervals over people, each method's own, either overlap or do not.
"""

from typing import Any

from perpcs.errors import PerpcsError
from perpcs.evaluate.experiments import Experiment, Setting
from perpcs.evaluate.metrics import paired, summary
from perpcs.evaluate.protocol import person_nll, prepare
from perpcs.personalizers.methods import parse
from perpcs.tasks import get_task

METHODS = ("base", "rag", "rag:4", "perpcs:gate", "oppu", "wrong:oppu")
MUST = ("rag:4", "oppu")
"""What must be apart from the base model. RAG shows four items: where several labels fit, one tells little."""


def run(setting: Setting) -> dict[str, Any]:
    """{tasks: {task: {users, methods: {name: {nll, minus_base}}, apart, stranger}}}. ``apart``: the methods whose
    whole interval lies below the base model's; ``stranger``: whether somebody else's LoRA is no better than none.
    """
    return {
        "units": {"nll": "nats per target token", "minus_base": "nats per target token, paired person by person"},
        "settings": {"people": setting.people, "seed": setting.seed},
        "tasks": {name: _column(setting, name) for name in setting.tasks},
    }


def _column(setting: Setting, name: str) -> dict[str, Any]:
    task = get_task(name)
    users = [user for user in setting.people_of(name)[0] if user.history and user.queries]
    if len(users) < 2:
        raise PerpcsError("Fewer than two people have a history and queries.", "Give more people.")
    ready: dict[str, Any] = {}
    found: dict[str, list[float]] = {}
    for method in METHODS:
        plain = parse(method).plain

        def measure(method: str = method, plain: str = plain) -> list[float]:
            if plain not in ready:
                setting.say(f"{name}: preparing {plain} for {len(users)} people")
                ready[plain] = prepare(setting.base, setting.pool, task, users, plain)
            return person_nll(setting.base, setting.pool, task, users, ready[plain], int(plain != method))

        found[method] = setting.kept(f"{name}, {method}", measure)
    rows = {
        method: {"nll": summary(values), "minus_base": paired(values, found["base"])}
        for method, values in found.items()
    }
    lowest = rows["base"]["nll"]["low"]
    return {
        "users": len(users),
        "methods": rows,
        "apart": {method: rows[method]["nll"]["high"] < lowest for method in MUST},
        "stranger": rows["wrong:oppu"]["minus_base"]["mean"] >= 0,
    }


EXPERIMENT = Experiment("Are the methods that know a person surely ahead of the base model, and a stranger's not?", run)
