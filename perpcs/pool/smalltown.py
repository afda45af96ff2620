"""The small town's pool from nothing but seeds: people, base model, sharers, pieces, gates, pool folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from perpcs.data.smalltown import Person, describe, make_people
from perpcs.pool.base_stage import TOWN_VERSION, base_stage
from perpcs.pool.build import (
    check_disjoint,
    choose_stage,
    copy_base,
    embed_stage,
    finish,
    gates_stage,
    pieces_stage,
    versions,
    write_task,
)
from perpcs.pool.manifest import Example, Manifest
from perpcs.pool.recipe import Recipe, TaskRecipe
from perpcs.pool.stages import Workspace
from perpcs.tasks import get_task

LICENCE = "Made from seeds by this project; no text of a real person. Same licence as the project."


def build_smalltown(space: Workspace, recipe: Recipe, final: Path) -> dict[str, Sequence[Example]]:
    """Build the pool folder ``final``; returns the example people of each task, which need the pool to be assembled."""
    base_key, base_folder, curve = base_stage(space, recipe)
    target = space.folder / f"out-{recipe.name}"
    shutil.rmtree(target, ignore_errors=True)
    base, base_sum = copy_base(base_folder, target / "base")
    tasks = []
    examples: dict[str, Sequence[Example]] = {}
    for part in recipe.tasks:
        task = get_task(part.task)
        people = make_people(part.task, seed=recipe.town_seed, count=part.candidates, split="candidate")
        candidates = [person.user for person in people]
        examples[part.task] = example_people(recipe, part)
        everyone = make_people(
            part.task, seed=recipe.town_seed, count=part.base_users, split="base", history=(1, 1), queries=0
        )
        base_ids = [person.id for person in everyone]  # ids do not depend on how much a person wrote
        check_disjoint(
            {
                "base users": base_ids,
                "sharer candidates": [user.id for user in candidates],
                "target users": [example.id for example in examples[part.task]],
            }
        )
        town = {"town": TOWN_VERSION, "seed": recipe.town_seed, "task": part.task, "count": part.candidates}
        embed = embed_stage(space, task, candidates, town)
        choose = choose_stage(space, task, candidates, embed, part.sharers, recipe.town_seed)
        sharers = [candidates[i] for i in choose[2]["chosen"]]
        pieces = pieces_stage(space, base, base_key, task, sharers, choose[0], recipe.pieces)
        gates = gates_stage(space, base, task, sharers, pieces, recipe.pieces, recipe.gates)
        tasks.append(
            write_task(
                target,
                base,
                task,
                sharers,
                choose[2],
                pieces,
                gates,
                ratio=recipe.share_ratio,
                share_seed=recipe.share_seed,
                dtype="float16",
                settings=(recipe.pieces, recipe.gates),
            )
        )
    manifest = Manifest(
        name=recipe.name,
        title=recipe.title,
        base="base",
        base_hash=base_sum,
        rank=recipe.pieces.rank,
        alpha=recipe.pieces.alpha,
        dtype="float16",
        positions=base.positions,
        tasks=tuple(tasks),
        licence=LICENCE,
        users={
            "base": {part.task: part.base_users for part in recipe.tasks},
            "candidates": {part.task: part.candidates for part in recipe.tasks},
            "town_seed": recipe.town_seed,
        },
        card={
            "data": "A synthetic small town: people with known traits, invented names, places and films.",
            "base": {"parameters": sum(p.numel() for p in base.model.parameters()), **curve},
            "limits": [
                "It knows the small town and nothing of the world.",
                "It copies words it has never seen, and sometimes misspells them.",
                "Texts far from news sentences or film descriptions get poor answers.",
            ],
        },
        created_with=versions(),
    )
    finish(target, manifest, final, space.say)
    return examples


def example_people(recipe: Recipe, part: TaskRecipe) -> list[Example]:
    """The example people of a task: target users, picked so that no two of them have the same traits in front."""
    people = make_people(part.task, seed=recipe.town_seed, count=part.examples * 8, split="target")
    picked: list[Person] = []
    for person in people:
        likeness = [sum(person.traits.get(key) == other.traits.get(key) for key in person.traits) for other in picked]
        if len(person.history) >= 15 and max(likeness, default=0) <= len(person.traits) // 2:
            picked.append(person)
        if len(picked) == part.examples:
            break
    picked += [person for person in people if person not in picked][: part.examples - len(picked)]
    return [
        Example(
            id=person.id,
            description=describe(person),
            history=person.history,
            queries=person.queries,
            traits=dict(person.traits),
        )
        for person in picked
    ]
