"""The small town's pool from nothing but seeds: people, base model, sharers, pieces, gates, pool folder."""

from pathlib import Path

from perpcs.data.smalltown import Person, describe, invented_name, make_people, release_fields
from perpcs.pool.base_stage import TOWN_VERSION, base_stage
from perpcs.pool.build import TaskPeople, finish, open_target
from perpcs.pool.recipe import Recipe, TaskRecipe
from perpcs.pool.stages import Workspace
from perpcs.tasks import get_task

_ORDINARY_FORMS = ("plain", "quote")
LICENCE = "Made from seeds by this project; no text of a real person. Same licence as the project."


def build_smalltown(space: Workspace, recipe: Recipe, final: Path) -> list[TaskPeople]:
    """Build the pool folder ``final``; its example people are assembled afterwards, by the finished pool.

    Returns:
        Of whom it was made, task by task.
    """
    base_key, base_folder, curve = base_stage(space, recipe)
    target = open_target(space, recipe.name, base_folder)
    people = [town_people(recipe, part) for part in recipe.tasks]
    finish(
        space,
        target,
        base_key,
        people,
        recipe.settings,
        final,
        name=recipe.name,
        title=recipe.title,
        licence=LICENCE,
        users={
            "base": {part.task: part.base_users + part.late_users for part in recipe.tasks},
            "candidates": {part.task: part.candidates for part in recipe.tasks},
            "town_seed": recipe.town_seed,
        },
        card={
            "data": (
                "A synthetic small town: people with known traits, drawn from a seed, and what they wrote. All names, "
                "places, films and papers are invented. docs/SMALLTOWN.md describes it."
            ),
            "base": {"parameters": sum(p.numel() for p in target.base.model.parameters()), **curve},
            "limits": [
                "It knows the small town and nothing of the world.",
                "It copies words that it has never seen, and sometimes misspells them.",
                "Texts unlike the town's articles, abstracts, reviews, films and tweets get poor answers.",
                "Traits are simpler and steadier than people: what a method reaches here it need not reach on you.",
            ],
        },
    )
    return people


def town_people(recipe: Recipe, part: TaskRecipe) -> TaskPeople:
    """Base users' ids, candidates and example people of one task."""
    seed = recipe.town_seed
    candidates = make_people(part.task, seed=seed, count=part.candidates, split="candidate", history=part.history)
    # Ids do not depend on how much a person wrote, so base users are drawn again with one item each.
    count = part.base_users + part.late_users
    base = make_people(part.task, seed=seed, count=count, split="base", history=(1, 1), queries=0)
    rows = [
        {
            **release_fields(person),
            "name": invented_name(person.id),
            "description": describe(person),
            "traits": dict(person.traits),
        }
        for person in example_people(recipe, part)
    ]
    return TaskPeople(
        task=get_task(part.task),
        base_ids=[person.id for person in base],
        candidates=[person.user for person in candidates],
        sharers=part.sharers,
        key={"town": TOWN_VERSION, "seed": seed, "task": part.task, "count": part.candidates}
        | ({"history": part.history} if part.history else {}),
        examples=rows,
    )


def example_people(recipe: Recipe, part: TaskRecipe) -> list[Person]:
    """The example people of a task: target users with enough history, no two of them alike in most traits.

    Those whose manner shows at a glance stand first; nothing of how well a method does enters the choice.
    """
    people = make_people(part.task, seed=recipe.town_seed, count=part.examples * 8, split="target")
    picked: list[Person] = []
    for person in people:
        likeness = [sum(person.traits.get(key) == other.traits.get(key) for key in person.traits) for other in picked]
        if len(person.history) >= 15 and max(likeness, default=0) <= len(person.traits) // 2:
            picked.append(person)
        if len(picked) == part.examples:
            break
    picked += [person for person in people if person not in picked][: part.examples - len(picked)]
    return sorted(picked, key=lambda person: person.traits.get("form") in _ORDINARY_FORMS)
