"""Building a pool from people's data in LaMP or Per-Pcs layout and any Hugging Face causal LM.

    FOLDER/base_users.json           adapt the base model; optional
    FOLDER/sharer_candidates.json    the sharers are chosen from these people
    FOLDER/examples.json             example people of the app; optional, and may lie elsewhere as TASK.json

or under the names that the releases of Per-Pcs and OPPU give these files.

As in the paper (section 2.2) the base model learns the tasks from base users alone, by a LoRA. On the shipped base the
pool keeps that update as it is, and it is merged when the pool is opened; any other base is stored merged and whole.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from perpcs.data import BASE_USERS, CANDIDATES, people_file, read_users
from perpcs.data.others import with_others
from perpcs.data.profile import statistics
from perpcs.errors import PerpcsError
from perpcs.files import hash_file, write_json
from perpcs.model import opened
from perpcs.model.base import BaseModel, linear_layers, load_base, merge, save_plain
from perpcs.model.families import adapted_sentence, choose_layers, layer_of
from perpcs.pool.adapt import CHECKPOINT, Lesson, Profiles, adapt, base_lessons, encode_lessons
from perpcs.pool.build import TaskPeople, finish
from perpcs.pool.recipe import Recipe
from perpcs.pool.stages import Stage, Workspace, clock, throttled
from perpcs.pool.store import DELTA, REFERENCE
from perpcs.pool.target import open_target
from perpcs.quiet import quiet_transformers
from perpcs.tasks import Item, Task, User, get_task

FEWEST_CANDIDATES = 2
"""Of a task: one alone would be everybody's pieces."""


def build_from_data(space: Workspace, recipe: Recipe, final: Path) -> list[TaskPeople]:
    """Build the pool folder ``final``.

    Returns:
        Of whom it was made, task by task.

    Raises:
        PerpcsError: when a file is missing or malformed, or the base model cannot be loaded.
    """
    if not recipe.sources:
        raise PerpcsError("No task was named.", "Name at least one, for example --task LaMP_4.")
    people: list[TaskPeople] = []
    learners: dict[str, list[User]] = {}
    for name, folder in recipe.sources.items():
        task = get_task(name)
        candidates, adapters = people_file(folder, CANDIDATES), people_file(folder, BASE_USERS)
        examples = recipe.examples / f"{name}.json" if recipe.examples else folder / "examples.json"
        learners[name] = with_others(task, read_users(adapters, task)) if adapters.exists() else []
        users = with_others(task, read_users(candidates, task))
        people.append(
            TaskPeople(
                task,
                learners[name],
                users,
                min(recipe.sharers, len(users)),
                {"candidates": hash_file(candidates), "task": name},
                json.loads(examples.read_bytes()) if examples.exists() else (),
                recipe.origins.get(name, ""),
            )
        )
    _refuse_too_few(people)
    base_key, base_folder, result = _adapt_stage(space, recipe, learners, _open_base(recipe))
    target = open_target(space, recipe.name, base_folder, recipe.modules, recipe.first_layer)
    adapted = adapted_sentence(target.base.positions)
    space.say(f"adapted: {adapted}")
    finish(
        space,
        target,
        base_key,
        people,
        recipe.settings,
        final,
        name=recipe.name,
        title=recipe.title or recipe.name,
        licence=recipe.licence,
        users={
            "base": {part.task.name: len(part.base_users) for part in people},
            "candidates": {part.task.name: len(part.candidates) for part in people},
        },
        card={
            **recipe.card,
            "base": {"from": recipe.base, "adaptation": asdict(recipe.adaptation), "adapted": adapted, **result},
        },
    )
    return people


def _refuse_too_few(people: Sequence[TaskPeople]) -> None:
    """Before any work: each task has candidates enough for the sharers, and every candidate has a history."""
    for part in people:
        if len(part.candidates) < FEWEST_CANDIDATES:
            raise PerpcsError(
                f"{part.task.name} has {len(part.candidates)} sharer candidates, and a pool needs {FEWEST_CANDIDATES}.",
                "Bring more people, or leave the task out.",
            )


def _open_base(recipe: Recipe) -> BaseModel:
    """The base model as it learns the tasks: at its attention projections, or where those are not known, at the
    modules that were asked for. What cannot be adapted is refused here, before hours of work.
    """
    quiet_transformers()
    try:
        base = load_base(recipe.base)
    except PerpcsError:
        if not recipe.modules:
            raise
        base = load_base(recipe.base, modules=recipe.modules)
    names = choose_layers(linear_layers(base), recipe.modules)
    if all(layer_of(name) < recipe.first_layer for name in names):
        raise PerpcsError(f"The base model has no layer {recipe.first_layer}.", "Name a lower first layer.")
    return base


def _adapt_stage(space: Workspace, recipe: Recipe, users: Mapping[str, Sequence[User]], base: BaseModel) -> Stage:
    """Train one LoRA on base users of all tasks; without base users the model is taken as it is."""
    files = {name: hash_file(people_file(recipe.sources[name], BASE_USERS)) for name, some in users.items() if some}
    settings = recipe.adaptation
    prompts = {name: get_task(name).version for name in files}
    lessons = _lessons_stage(space, recipe, files, prompts, users) if files else None

    def work(folder: Path) -> dict[str, Any]:
        losses: list[float] = []
        if lessons is not None:
            rows = [Lesson(*row) for row in json.loads((lessons[1] / "lessons.json").read_bytes())]
            encoded = encode_lessons(base, rows, settings)
            space.say(f"base: {len(encoded)} lessons, {sum(len(one.ids) for _, one in encoded):,} tokens")
            weights = [settings.label_weight if get_task(name).labels else 1.0 for name, _ in encoded]
            tell = throttled(space.say)
            left = space.time_left()

            def told(step: int, of: int, loss: float) -> None:
                tell(lambda: f"base: step {step} of {of}, {loss:.2f} nats a token, {clock(left(step, of))} left")

            delta, losses = adapt(base, [one for _, one in encoded], weights, settings, folder, told)
            delta.save(folder / DELTA)
            (folder / CHECKPOINT).unlink(missing_ok=True)
        if recipe.base == opened.NAME:
            write_json(folder / REFERENCE, {"base": opened.NAME, "sha256": opened.SHA256})
        else:
            _save_merged(base, folder)
        return {"lessons": lessons[2] if lessons else {}, "losses": losses}

    inputs = {
        "base": recipe.base,
        "lessons": lessons[0] if lessons else "",
        "adaptation": settings if files else None,
    }
    return space.stage("base", inputs, work)


def _lessons_stage(
    space: Workspace,
    recipe: Recipe,
    files: Mapping[str, str],
    prompts: Mapping[str, int],
    users: Mapping[str, Sequence[User]],
) -> Stage:
    """Write what the base model learns from; profiles of base users are written here, by a model where one is named."""
    settings = recipe.adaptation

    def work(folder: Path) -> dict[str, int]:
        profiles = _writer(recipe, space)
        lessons = [
            lesson
            for name, some in users.items()
            if some
            for lesson in base_lessons(get_task(name), some, settings, profiles)
        ]
        write_json(folder / "lessons.json", [list(asdict(lesson).values()) for lesson in lessons])
        return {name: sum(lesson.task == name for lesson in lessons) for name in files}

    inputs = {
        "users": files,
        "prompts": prompts,
        "shown": (settings.with_history, settings.with_profile, settings.lessons, settings.seed),
        "writer": recipe.writer,
    }
    return space.stage("lessons", inputs, work)


def _writer(recipe: Recipe, space: Workspace) -> Profiles:
    """What describes base users for their lessons: the instruct model of the recipe, or counting."""
    if not recipe.writer:
        return lambda task, histories: [statistics(task, history) for history in histories]
    from perpcs.pool.profile_writer import ModelWriter

    model = ModelWriter.load(recipe.writer)
    tell = throttled(space.say)

    def write(task: Task, histories: Sequence[tuple[Item, ...]]) -> list[str]:
        return model.write_all(
            task, histories, lambda done: tell(lambda: f"profiles {task.name}: {done} of {len(histories)} written")
        )

    return write


def _save_merged(base: BaseModel, folder: Path) -> None:
    """Save a model in Hugging Face format with the update of the folder merged into it."""
    delta = folder / DELTA
    if delta.exists():
        merge(base, load_file(delta))
        delta.unlink()
    save_plain(base, folder)
