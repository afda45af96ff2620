"""The people of the town: who they are and what they wrote, drawn from a seed."""

import random
from dataclasses import dataclass
from hashlib import blake2b

from perpcs.data.smalltown import citations, headlines, movies, names, ratings, titles, tweets
from perpcs.data.smalltown.maker import Made, Maker, Traits, draw_traits
from perpcs.errors import PerpcsError
from perpcs.tasks import Item, Query, User, get_task

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
    return names.first_name(random.Random(id), held_out=True)


def describe(person: Person) -> str:
    """One sentence about the person's traits that a teacher can read out."""
    return get_maker(person.task).describe(person.traits)
