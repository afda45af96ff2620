"""Stage 1 of a pool from seeds: tokenizer and base model, trained on base users only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perpcs.data.smalltown import Person, make_people
from perpcs.model.text import Lesson
from perpcs.model.train_base import EOS, train_base, train_tokenizer
from perpcs.pool.adapt import base_lessons, prompt_about
from perpcs.pool.recipe import Recipe, TaskRecipe
from perpcs.pool.stages import Workspace, clock, throttled
from perpcs.pool.store import base_hash
from perpcs.tasks import get_task

_TOKENIZER_PAIRS = 20_000
_QUERIES_OF_FREE_TEXT = 20
_HELD_OUT_PEOPLE = 32
_HELD_OUT_SEED = 1_000_000
TOWN_VERSION = 3
"""Raise it when the town's texts change: everything made from them is then made anew."""


def base_stage(space: Workspace, recipe: Recipe) -> tuple[str, Path, Any]:
    """Train the base model of a recipe; (key, folder, training curve)."""
    inputs = {
        "town": TOWN_VERSION,
        "town_seed": recipe.town_seed,
        "tasks": [(t.task, get_task(t.task).version, t.base_users) for t in recipe.tasks],
        "base": recipe.base,
        "start": base_hash(recipe.start) if recipe.start else None,
        "shown": (recipe.with_history, recipe.with_profile, recipe.open_book, recipe.notes),
        **({"marks": recipe.marks} if recipe.marks else {}),
    }

    def work(folder: Path) -> dict[str, Any]:
        space.say("base: writing lessons")
        pairs = town_lessons(recipe)
        tokenizer = _tokenizer(recipe, pairs)
        tell = throttled(space.say)

        def progress(at: dict[str, Any]) -> None:
            tell(
                lambda: (
                    f"base: step {at['step']} of {at['steps']}, loss {at['loss']:.3f}, "
                    f"held out {at['held_out']:.3f}, {clock(at['left'])} left"
                )
            )

        held = held_out_lessons(recipe)
        return train_base(pairs, held, tokenizer, recipe.base, folder, progress, start=recipe.start)

    return space.stage("base", inputs, work)


def _tokenizer(recipe: Recipe, lessons: Sequence[Lesson]) -> Any:
    if recipe.start:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(recipe.start)
    step = max(1, len(lessons) // _TOKENIZER_PAIRS)
    return train_tokenizer((lesson.prompt + lesson.target for lesson in lessons[::step]), recipe.base)


def town_lessons(recipe: Recipe) -> list[Lesson]:
    """What the base model of a recipe learns from, task by task."""
    lessons: list[Lesson] = []
    for part in recipe.tasks:
        people = base_people(recipe, part)
        lessons += base_lessons(
            get_task(part.task),
            [person.user for person in people],
            with_history=recipe.with_history,
            with_profile=recipe.with_profile,
            open_book=recipe.open_book,
            notes={id: said for person in people for id, said in person.notes.items()} if recipe.notes else {},
            marks=recipe.marks,
            end=EOS,
        )
    return lessons


def base_people(recipe: Recipe, part: TaskRecipe) -> list[Person]:
    """The people whose texts the base model learns from.

    Where a history is free text only queries show what is asked, so there these people have as many of them.
    """
    queries = _QUERIES_OF_FREE_TEXT if get_task(part.task).y_field is None else None
    return make_people(part.task, seed=recipe.town_seed, count=part.base_users, split="base", queries=queries)


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
