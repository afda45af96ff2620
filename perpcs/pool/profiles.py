"""What a hypernetwork reads of a person: a profile of the history as text, and that text's embedding.

    counts over the whole history, as PAG has them (perpcs/data/profile.py)
    what the person wrote in the last items, one a line

It is a function of the history alone, whatever is asked.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from perpcs.data.profile import statistics
from perpcs.pool.embed import MINILM, embed_texts
from perpcs.tasks import Item, Task

VERSION = 1
"""Raise it when ``profile_text`` changes: profiles are then embedded anew, and networks trained on others refused."""
RECENT = 8
"""How many items are quoted."""
FEWEST = 4
"""Items behind the shortest profile that is learned from."""


def profile_text(task: Task, history: Sequence[Item]) -> str:
    """The profile of a history, oldest item first."""
    return "\n".join([statistics(task, history), *(_written(task, item) for item in history[-RECENT:])])


def _written(task: Task, item: Item) -> str:
    if item.y is None:
        return item.x
    return item.y


def profile_points(count: int) -> list[int]:
    """After how many of ``count`` items a profile is taken: 4, 8, 16 and so on, and after the last."""
    points = []
    point = FEWEST
    while point < count:
        points.append(point)
        point *= 2
    return [*points, count]


def embed_profiles(task: Task, histories: Sequence[Sequence[Item]], encoder: str = MINILM) -> Tensor:
    """Embeddings of profiles, of length sqrt(width), as Profile-to-PEFT has them: float32 (histories, width)."""
    found = embed_texts([profile_text(task, history) for history in histories], encoder)
    return F.normalize(found, dim=1) * found.shape[1] ** 0.5


def point_histories(histories: Sequence[Sequence[Item]]) -> list[Sequence[Item]]:
    """The beginnings of each history that profiles are taken of, history by history."""
    return [history[:point] for history in histories for point in profile_points(len(history))]
