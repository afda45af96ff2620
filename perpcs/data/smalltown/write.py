"""A town on disk: target users in the layout of the Per-Pcs release, their traits apart.

OUT/TASK/target_users.json   [{"user_id", "profile": [LaMP items], "query": [{"id", "input", "gold"}]}]
OUT/TASK/traits.json         {user_id: {"traits": ..., "description": ..., "oracle": {query id: answer}}}
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perpcs.data.smalltown.person import MAKERS, Person, describe, get_maker, make_people
from perpcs.files import write_json
from perpcs.tasks import Item, get_task


def write_town(out: Path, *, seed: int, users: int, tasks: Sequence[str] = tuple(MAKERS)) -> None:
    """Write ``users`` target people of every task below ``out``.

    Raises:
        PerpcsError: for a task that the town does not have, before anything is written.
    """
    for task in tasks:
        get_maker(task)
    for task in tasks:
        people = make_people(task, seed=seed, count=users, split="target")
        folder = out / task
        write_json(folder / "target_users.json", [release_fields(person) for person in people])
        traits = {
            person.id: {
                "traits": person.traits,
                "description": describe(person),
                "oracle": {query.id: answer for query, answer in zip(person.queries, person.oracle, strict=True)},
            }
            for person in people
        }
        write_json(folder / "traits.json", traits)


def write_pool_people(
    out: Path,
    *,
    seed: int,
    base_users: int,
    candidates: int,
    tasks: Sequence[str],
    history: tuple[int, int] | None = None,
) -> None:
    """Write whom a pool is made of, below ``out``: TASK/base_users.json and TASK/sharer_candidates.json.

    Args:
        history: fewest and most items of a candidate; None = as people of the town write.
    """
    for task in tasks:
        for name, split, count, items in (
            ("base_users", "base", base_users, (6, 12)),
            ("sharer_candidates", "candidate", candidates, history),
        ):
            people = make_people(task, seed=seed, count=count, split=split, history=items)
            write_json(out / task / f"{name}.json", [release_fields(person) for person in people])


def release_fields(person: Person) -> dict[str, Any]:
    """One person as a user of the Per-Pcs release layout, traits left out."""
    wording = get_maker(person.task).wording
    return {
        "user_id": person.id,
        "profile": [_item_fields(person.task, item) for item in person.history],
        "query": [
            {
                "id": query.id,
                "input": wording.format(x=query.x, **{f"option{i}": text for i, text in enumerate(query.options, 1)}),
                "gold": query.gold,
            }
            for query in person.queries
        ],
    }


def _item_fields(task_name: str, item: Item) -> dict[str, str]:
    """One history item under LaMP's names of its fields."""
    task = get_task(task_name)
    fields = {"id": item.id, task.x_fields[0]: item.x}
    if task.y_field is not None and item.y is not None:
        fields[task.y_field] = item.y
    if item.other:
        fields["other"] = item.other
    return fields
