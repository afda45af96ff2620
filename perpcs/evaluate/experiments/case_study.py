"""One example person: the weights that Per-Pcs assembles, beside the sharers that PEFT retrieval selects.

PEFT retrieval takes whole sharers by the likeness of histories, the same at every position. How much of our weight
lies on those sharers says how much of the choice likeness alone would have told.
"""

from typing import Any

import numpy as np

from perpcs.assembly.activations import likeness
from perpcs.assembly.assemble import assemble
from perpcs.assembly.record import Assembly
from perpcs.assembly.routers import make_router
from perpcs.errors import PerpcsError
from perpcs.evaluate.experiments import Experiment, Setting
from perpcs.evaluate.protocol import evaluate
from perpcs.tasks import User, get_task

K = 3
"""Number of sharers that PEFT retrieval selects, as in the table."""


def run(setting: Setting) -> dict[str, Any]:
    """Weights (P, S) of both methods, the similarity of each sharer (S,), and how far the two agree.

    Raises:
        PerpcsError: when the pool has no example people, or stores no embeddings.
    """
    pool = setting.pool
    name = next((name for name in setting.tasks if pool.examples(name)), "")
    if not name:
        raise PerpcsError("The pool has no example people.", "Take a pool of the small town.")
    task, example = get_task(name), pool.examples(name)[0]
    alike = likeness(pool, name, example.history).numpy()
    setting.say(f"{name}: assembling {example.name or example.id}")
    ours = assemble(setting.base, pool, task, example.history, options=make_router(), user=example.id)
    taken = make_router("retrieval", k=K)
    theirs = assemble(setting.base, pool, task, example.history, options=taken, user=example.id)
    user = User(example.id, example.history, example.queries)
    router = str(ours.router["router"])
    methods = ("base", f"retrieval:{K}", f"perpcs:{router}")
    measured = evaluate(setting.base, pool, task, [user], methods, with_texts=True)
    first = {method: rows[0]["queries"] for method, rows in measured["examples"].items()}
    return {
        "task": name,
        "user": example.id,
        "name": example.name,
        "description": example.description,
        "items": len(example.history),
        "router": router,
        "positions": list(ours.positions),
        "sharers": list(ours.sharers),
        "clusters": [sharer.cluster for sharer in pool.sharers(name)],
        "perpcs": _rounded(ours),
        "retrieval": _rounded(theirs),
        "likeness": [round(float(value), 4) for value in alike],
        **agreement(ours, theirs),
        "nll": {method: round(measured["methods"][method]["nll"]["mean"], 5) for method in methods},
        "answers": [
            {
                "input": query.x,
                "options": list(query.options),
                "gold": query.gold,
                "answers": {method: rows[index]["answer"] for method, rows in first.items()},
            }
            for index, query in enumerate(example.queries[:K])
        ],
    }


def agreement(ours: Assembly, theirs: Assembly) -> dict[str, Any]:
    """The sharers that retrieval selects, our weight on them, and our own sharers with the most weight."""
    size = np.abs(ours.weights).sum(axis=0)
    taken = np.flatnonzero(theirs.weights.any(axis=0))
    share = float(size[taken].sum()) / (float(size.sum()) or 1.0)
    return {
        "taken": [ours.sharers[s] for s in taken],
        "weight_on_taken": round(share, 4),
        "by_chance": round(len(taken) / len(ours.sharers), 4),
        "top": [[id, round(held, 4)] for id, held in ours.top_sharers(5)],
    }


def _rounded(assembly: Assembly) -> list[list[float]]:
    return [[round(float(value), 4) for value in row] for row in assembly.weights]


EXPERIMENT = Experiment("Would the likeness of histories alone have chosen the same sharers for one person?", run)
