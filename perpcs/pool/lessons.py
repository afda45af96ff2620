"""What the base model of the town learns from, and what its learning is measured on.

First it learns to read, from texts above all, then to look at what a prompt shows, and then all. What shown items
say of the next label is little beside what its text says, and a small model that learns both at once learns to read and
never to look: 14,000 steps of mixed lessons did not make ours repeat the label of the very item in its prompt. A few
thousand in which looking is all that helps do (docs/SMALLTOWN.md).
"""

from collections.abc import Sequence
from dataclasses import replace

from perpcs.data.smalltown import Person, make_people
from perpcs.data.smalltown.citations import ELSEWHERE
from perpcs.model.text import Lesson
from perpcs.model.tokenizer import EOS
from perpcs.pool.adapt import LABEL_WEIGHT, Said, Shares, base_lessons, prompt_about
from perpcs.pool.recipe import Recipe, TaskRecipe
from perpcs.tasks import get_task

_QUERIES_OF_FREE_TEXT = 20
_HELD_OUT_PEOPLE = 32
_HELD_OUT_SEED = 1_000_000
_READING_PART = 6
"""One in so many base users of a task with labels writes lessons of reading."""
LOOKING = Shares(strange=1.0, alone=0.6, marks=0.6)
"""What lessons of looking show."""
FITTING = Shares(with_history=0.0, named=1.0, misfits=1.0, label_weight=32)
"""What lessons of fitting show, which are nothing but choices of which one fits."""
CHOOSING = replace(FITTING, misfits=0.4, marks=0.4)
"""What lessons of choosing show: the same, and others that name what is chosen."""
RECALLING = replace(CHOOSING, named=0.3, taste=1.0, alone=1.0)
"""What lessons of recalling show: most of them one item, chosen by the taste that decides what is asked."""
FINDING = replace(RECALLING, named=0.15, alone=0.2)
"""What lessons of finding show: the same, most of them with others beside the item that tells the choice."""
BY_TASTE = Shares(with_history=0.0, named=0.3, taste=1.0, alone=0.3, marks=0.4, label_weight=32)
"""What lessons of taste show."""
_LOOKING_PART = 5
"""One in so many base users of a task with labels writes lessons of looking."""
_CHOOSING_PART = 2
"""The same of a task whose answers are choices, which take longest to learn."""
_TEXT_PART = 3
"""One in so many base users of a task with texts writes lessons beside them."""


def town_lessons(recipe: Recipe, late: bool = False) -> list[Lesson]:
    """What the base model of a recipe learns from, task by task; of those people who come late, or of the first."""
    lessons: list[Lesson] = []
    for part in recipe.tasks:
        people = base_people(recipe, part, late)
        lessons += base_lessons(
            get_task(part.task), [person.user for person in people], recipe.lessons, said_of(people)
        )
    return lessons


def last_lessons(recipe: Recipe) -> list[Lesson]:
    """What the base model of a recipe learns from in the end, of people whom it has not met.

    By then it has learned some answers of the first ones by heart, and trusts itself too much with others.
    """
    return town_lessons(replace(recipe, lessons=recipe.last_lessons or recipe.lessons), late=True)


def reading_lessons(recipe: Recipe) -> list[Lesson]:
    """Lessons to begin with, most of them for texts: what is shown there is of use at once, word by word.

    Among all lessons, of which three quarters are for labels, texts are hardly learned in 3,000 steps, and nothing is
    copied.
    """
    shares = replace(recipe.lessons, strange=0.0, taste=0.0, named=0.0, open_book=0.15, label_weight=LABEL_WEIGHT)
    parts = (_one_in(_READING_PART, part) if get_task(part.task).labels else part for part in recipe.tasks)
    return town_lessons(replace(recipe, lessons=shares, tasks=tuple(parts)))


def looking_lessons(recipe: Recipe, shares: Shares) -> list[Lesson]:
    """Lessons that only looking solves, of the tasks with labels: the very item is shown, or labels are exchanged.

    One half draw labels from all tasks, so that copying does not depend on which label it is. Choices are left out:
    their labels say where a text stands, and which text it is has to be learned apart (``choice_lessons``).
    """
    kinds = [get_task(part.task) for part in recipe.tasks]
    every = tuple(label for kind in kinds if not kind.has_options for label in kind.labels)
    lessons = _beside(recipe)
    for part, kind in zip(recipe.tasks, kinds, strict=True):
        if kind.labels and not kind.has_options:
            people = _who_look(recipe, part)
            half = len(people) // 2
            lessons += _looking(kind.name, people[:half], Said(), shares, labels=every)
            lessons += _looking(kind.name, people[half:], Said(), shares)
    return lessons


def choice_lessons(recipe: Recipe, shares: Shares) -> list[Lesson]:
    """Lessons of choices that their prompts alone decide, of all base users, and no others beside them.

    To compare texts takes many steps in which nothing else is of use, and beside others a model does not find out which
    text is spoken of. None where no task asks to choose.
    """
    parts = [part for part in recipe.tasks if get_task(part.task).has_options]
    written = [(part.task, base_people(recipe, part)) for part in parts]
    return [lesson for task, people in written for lesson in _looking(task, people, said_of(people), shares)]


def taste_lessons(recipe: Recipe, shares: Shares) -> list[Lesson]:
    """Lessons in which what is shown was chosen by the taste that decides what is asked: the step after looking up.

    Half of those without options are lessons of looking still.
    """
    lessons = _beside(recipe)
    for part in recipe.tasks:
        kind = get_task(part.task)
        if kind.labels:
            people = _who_look(recipe, part)
            half = 0 if kind.has_options else len(people) // 2
            lessons += _looking(kind.name, people[:half], Said(), replace(LOOKING, label_weight=shares.label_weight))
            lessons += _looking(kind.name, people[half:], said_of(people[half:]), shares)
    return lessons


def _beside(recipe: Recipe) -> list[Lesson]:
    """Some lessons for texts, where looking helps too: without them texts would be forgotten meanwhile."""
    texts = tuple(_one_in(_TEXT_PART, part) for part in recipe.tasks if not get_task(part.task).labels)
    return town_lessons(replace(recipe, tasks=texts))


def _who_look(recipe: Recipe, part: TaskRecipe) -> list[Person]:
    """The people whose lessons teach to look, of a task with labels."""
    return base_people(recipe, _one_in(_CHOOSING_PART if get_task(part.task).has_options else _LOOKING_PART, part))


def _one_in(count: int, part: TaskRecipe) -> TaskRecipe:
    """The part of a pool with one in so many of its base users."""
    return replace(part, base_users=max(2, part.base_users // count))


def _looking(task: str, people: list[Person], said: Said, shares: Shares, labels: tuple[str, ...] = ()) -> list[Lesson]:
    """Those lessons of these people that their prompts alone decide."""
    return base_lessons(get_task(task), [person.user for person in people], shares, said, labels=labels, all_drawn=True)


def said_of(people: Sequence[Person]) -> Said:
    """What the town knows of these people beside their texts."""
    return Said(
        notes={id: said for person in people for id, said in person.notes.items()},
        evidence={id: said for person in people for id, said in person.evidence.items()},
        manners={person.id: person.manner for person in people},
        last=ELSEWHERE,
        end=EOS,
    )


def base_people(recipe: Recipe, part: TaskRecipe, late: bool = False) -> list[Person]:
    """The people whose texts the base model learns from: the first of them, or those who come late where some do.

    Where a history is free text only queries show what is asked, so there these people have as many of them.
    """
    queries = _QUERIES_OF_FREE_TEXT if get_task(part.task).y_field is None else None
    first, count = (part.base_users, part.late_users) if late and part.late_users else (0, part.base_users)
    return make_people(part.task, seed=recipe.town_seed, count=count, split="base", queries=queries, first=first)


def held_out_lessons(recipe: Recipe) -> dict[str, list[Lesson]]:
    """Queries of people whom nothing is trained on (another seed's), by task and by what
    the prompt shows: nothing, one retrieved item, four, or a profile.
    """
    groups: dict[str, list[Lesson]] = {}
    for part in recipe.tasks:
        task = get_task(part.task)
        people = make_people(
            part.task, seed=recipe.town_seed + _HELD_OUT_SEED, count=_HELD_OUT_PEOPLE, split="base", queries=3
        )
        for name, k, tells in (("bare", 0, False), ("1 item", 1, False), ("4 items", 4, False), ("profile", 0, True)):
            groups[f"{part.task} {name}"] = [
                Lesson(prompt_about(task, query, person.history, k, tells), f" {query.gold}")
                for person in people
                for query in person.queries
            ]
    return groups
