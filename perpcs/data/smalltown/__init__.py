"""The synthetic small town: people with known traits, and what they wrote. The source of the shipped pool.

    maker.py      what a task must offer the town, the traits reserved for target users; names and verbs
    headlines.py  LaMP_4: what happens in town, its article, and the traits of a headline writer
    movies.py     LaMP_2: plot clauses that hint at movie tags, and the traits of a film fan
    ratings.py    LaMP_3: things for sale, what can be said of them, and the scale of a reviewer
    titles.py     LaMP_5: what a small university works on, and how a scholar titles papers
    citations.py  LaMP_1: what a scholar prefers to cite
    daily.py      what people do all day
    tweets.py     LaMP_7: how somebody tweets it
    __init__.py   people of a split, drawn from a seed; a town on disk

A further task is one further file with a ``MAKER``, listed in ``MAKERS`` below.

Target users are written in the layout of the Per-Pcs release, their traits apart:

OUT/TASK/target_users.json   [{"user_id", "profile": [LaMP items], "query": [{"id", "input", "gold"}]}]
OUT/TASK/traits.json         {user_id: {"traits": ..., "description": ..., "oracle": {query id: answer}}}
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from perpcs.data.smalltown import citations, headlines, maker, movies, ratings, titles, tweets
from perpcs.data.smalltown.maker import Made, Maker, Traits, draw_traits
from perpcs.errors import PerpcsError
from perpcs.files import write_json
from perpcs.tasks import Item, Query, User, get_task

# ---- people ----------------------------------------------------------------------------------------------------------


MAKERS: dict[str, Maker] = {
    module.MAKER.task: module.MAKER for module in (headlines, movies, ratings, titles, tweets, citations)
}


@dataclass(frozen=True)
class Split:
    """How much the people of a split wrote: the bounds of the history's length, and the number of queries."""

    history: tuple[int, int]
    queries: int


SPLITS = {
    "base": Split(history=(8, 40), queries=2),
    "candidate": Split(history=(24, 80), queries=2),
    "target": Split(history=(10, 60), queries=12),
}
_ITEMS_A_PERSON = 100_000  # room for ids: unique over all people of a split


@dataclass(frozen=True)
class Person:
    """A person of the town. ``traits`` is what a method should find out and is never shown to it."""

    id: str
    task: str
    traits: Traits
    history: tuple[Item, ...]
    """Oldest first."""
    queries: tuple[Query, ...]
    """With gold answers."""
    oracle: tuple[str, ...]
    """To each query, what somebody answers who knows the traits and not the slips."""

    @property
    def user(self) -> User:
        """What a method may see: the person without their traits."""
        return User(id=self.id, history=self.history, queries=self.queries)


def get_maker(task: str) -> Maker:
    """The town's part for a task.

    Raises:
        PerpcsError: for a task that the town does not have.
    """
    if task not in MAKERS:
        raise PerpcsError(f"The small town has no task {task!r}.", f"Use one of: {', '.join(MAKERS)}.")
    return MAKERS[task]


def make_people(
    task: str,
    *,
    seed: int,
    count: int,
    split: str,
    history: tuple[int, int] | None = None,
    queries: int | None = None,
    first: int = 0,
) -> list[Person]:
    """``count`` people of a split from number ``first`` on; person i is the same whatever the two are.

    Combinations of traits of "target" people occur in no other split, for any seed. ``history`` (least, most) and
    ``queries`` override what SPLITS says.

    Raises:
        PerpcsError: for an unknown task or split, or impossible sizes.
    """
    maker = get_maker(task)
    if split not in SPLITS:
        raise PerpcsError(f"There is no split {split!r}.", f"Use one of: {', '.join(SPLITS)}.")
    low, high = history or SPLITS[split].history
    asked = SPLITS[split].queries if queries is None else queries
    if count < 0 or first < 0 or low < 0 or high < low or asked < 0 or high + asked > _ITEMS_A_PERSON:
        raise PerpcsError(
            f"{count} people with {low} to {high} items and {asked} queries cannot be made.",
            "Give sizes of zero or more, the smaller history bound first.",
        )
    return [_make_person(maker, seed, split, index, low, high, asked) for index in range(first, first + count)]


def _make_person(maker: Maker, seed: int, split: str, index: int, low: int, high: int, asked: int) -> Person:
    key = f"{seed}/{maker.task}/{split}/{index}".encode()
    rng = random.Random(int.from_bytes(blake2b(key, digest_size=8).digest(), "big"))
    target = split == "target"
    traits = draw_traits(maker, rng, reserved=target)
    length = low + int((high - low + 1) * rng.random() ** 2)  # squared: most people wrote little, a few a lot
    made = [maker.make(rng, traits, target) for _ in range(length + asked)]
    first_id = index * _ITEMS_A_PERSON + 1
    asked_of = [_ask(maker.task, one, str(first_id + length + i)) for i, one in enumerate(made[length:])]
    return Person(
        id=f"t{seed}-{maker.task}-{split}-{index:05d}",
        task=maker.task,
        traits=traits,
        history=tuple(_remember(maker.task, one, str(first_id + i)) for i, one in enumerate(made[:length])),
        queries=tuple(query for query, _ in asked_of),
        oracle=tuple(clean for _, clean in asked_of),
    )


def _remember(task: str, one: Made, id: str) -> Item:
    """An item of a history. Free text keeps no more than what the person wrote."""
    if get_task(task).y_field is None:
        return Item(x=one.y, id=id)
    return Item(x=one.x, y=one.y, id=id, other=one.other)


def _ask(task: str, one: Made, id: str) -> tuple[Query, str]:
    """An item as a query with its true answer, and what the traits alone would have answered."""
    query = get_task(task).as_query(Item(x=one.x, y=one.y, id=id, other=one.other))
    if not one.other:
        return query, one.clean
    return query, get_task(task).labels[query.options.index(one.clean)]


def invented_name(id: str) -> str:
    """What a person of that id is called: a first name, the same at every call."""
    return maker.first_name(random.Random(id), held_out=True)


def describe(person: Person) -> str:
    """One sentence about the person's traits that a teacher can read out."""
    return get_maker(person.task).describe(person.traits)


# ---- on disk ---------------------------------------------------------------------------------------------------------


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


__all__ = [
    "MAKERS",
    "SPLITS",
    "Person",
    "describe",
    "invented_name",
    "make_people",
    "release_fields",
    "write_pool_people",
    "write_town",
]
