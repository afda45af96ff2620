"""Citations without the reference that was passed over: LaMP's histories name only what was cited.

A query shows two references, one of them cited by somebody else. To learn from a history in the same form, each of its
items gets such a second reference: one that another person of the same file cited and this person never did.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from perpcs.tasks import Task, User


def with_others(task: Task, users: Sequence[User], seed: int = 0) -> list[User]:
    """The users with ``other`` filled in where a citation lacks it; of other tasks, and of lone users, as they are."""
    if not task.history_instruction:
        return list(users)
    cited = [sorted({item.y for item in user.history if item.y}) for user in users]
    return [
        _complete(user, own, cited, random.Random(f"{seed}/{user.id}")) for user, own in zip(users, cited, strict=True)
    ]


def _complete(user: User, own: list[str], cited: Sequence[list[str]], rng: random.Random) -> User:
    foreign = [titles for titles in cited if set(titles) - set(own)]
    if not foreign:
        return user

    def draw() -> str:
        while True:
            title = rng.choice(rng.choice(foreign))
            if title not in own:
                return title

    items = tuple(replace(item, other=draw()) if item.y and not item.other else item for item in user.history)
    return replace(user, history=items)
