"""What a base model is adapted on: base users' items, with and without retrieved history, as the paper does.

A history item that stands in a prompt must help, or RAG is no honest baseline; so a share of the pairs carry the item
that BM25 retrieves from the writer's strictly earlier history.
"""

import random
from collections.abc import Sequence

from perpcs.data.bm25 import retrieve
from perpcs.tasks import Task, User


def base_pairs(task: Task, users: Sequence[User], *, with_history: float = 0.4, seed: int = 0) -> list[tuple[str, str]]:
    """(prompt, target) pairs of base users' histories.

    Args:
        with_history: share of pairs whose prompt carries one retrieved, strictly earlier item.
    """
    pairs = []
    for user in users:
        rng = random.Random(f"{seed}/{task.name}/{user.id}")
        for index, item in enumerate(user.history):
            earlier = user.history[:index]
            shown = retrieve(item.x, earlier) if earlier and rng.random() < with_history else []
            pairs.append(task.pair(item, history=shown))
    return pairs
