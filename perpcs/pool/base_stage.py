"""Stage 1 of a pool from seeds: tokenizer and base model, trained on base users only."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from perpcs.model.apart import label_tokens, set_apart
from perpcs.model.text import Lesson
from perpcs.model.tokenizer import train_tokenizer
from perpcs.model.train_base import train_base
from perpcs.pool.lessons import held_out_lessons, looking_lessons, town_lessons
from perpcs.pool.recipe import LAST_PART, Recipe
from perpcs.pool.stages import Workspace, clock, throttled
from perpcs.pool.store import base_hash
from perpcs.quiet import quiet_transformers
from perpcs.tasks import get_task

_TOKENIZER_PAIRS = 20_000
TOWN_VERSION = 4
"""Raise it when the town's texts change: everything made from them is then made anew."""


def base_stage(space: Workspace, recipe: Recipe) -> tuple[str, Path, Any]:
    """Train the base model of a recipe; (key, folder, training curve)."""
    inputs = {
        "town": TOWN_VERSION,
        "town_seed": recipe.town_seed,
        "tasks": [(t.task, get_task(t.task).version, t.base_users) for t in recipe.tasks],
        "base": recipe.base,
        "start": base_hash(recipe.start) if recipe.start else None,
        "lessons": recipe.lessons,
        "last_lessons": recipe.last_lessons,
        "looking": recipe.looking,
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

        start = _looked(recipe, tokenizer, folder / "looking", progress) if recipe.looking else recipe.start
        held = held_out_lessons(recipe)
        if recipe.last_lessons:
            first = round((1 - LAST_PART) * recipe.base.steps)
            train_base(pairs, held, tokenizer, recipe.base, folder, progress, start=start, stop=first)
            pairs = town_lessons(replace(recipe, lessons=recipe.last_lessons))
        curve = train_base(pairs, held, tokenizer, recipe.base, folder, progress, start=start)
        shutil.rmtree(folder / "looking", ignore_errors=True)
        return {**curve, "looking": recipe.looking}

    return space.stage("base", inputs, work)


def _tokenizer(recipe: Recipe, lessons: Sequence[Lesson]) -> Any:
    if recipe.start:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(recipe.start)
    step = max(1, len(lessons) // _TOKENIZER_PAIRS)
    return train_tokenizer((lesson.prompt + lesson.target for lesson in lessons[::step]), recipe.base.vocabulary)


def _looked(recipe: Recipe, tokenizer: Any, folder: Path, progress: Callable[[dict[str, Any]], None]) -> Path:
    """The folder of a model that has learned to look at what a prompt shows; where a build was killed it goes on."""
    settings = replace(recipe.base, steps=recipe.looking, warmup=20, cooldown=100, still=True)
    start = _labels_apart(recipe, recipe.start, tokenizer, folder / "start") if recipe.start else None
    looked = folder / "looked"
    if not (looked / "model.safetensors").exists():
        train_base(looking_lessons(recipe), {}, tokenizer, settings, looked, progress, start=start)
    return _halfway(start, looked, folder / "halfway") if start else looked


def _halfway(start: Path, looked: Path, folder: Path) -> Path:
    """A model in ``folder`` with weights halfway between another's and those that came of it.

    Who does nothing but look forgets how texts go on. Halfway, a model still knows most of both.
    """
    with torch.no_grad():
        model, other = (_read(one) for one in (start, looked))
        for mine, its in zip(model.parameters(), other.parameters(), strict=True):
            mine.lerp_(its, 0.5)
    model.save_pretrained(folder)
    return folder


def _labels_apart(recipe: Recipe, start: Path, tokenizer: Any, folder: Path) -> Path:
    """A copy in ``folder`` of the model to start from, with the tokens of labels set apart."""
    model = _read(start)
    for part in recipe.tasks:
        set_apart(model, label_tokens(tokenizer, get_task(part.task).labels))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _read(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    quiet_transformers()
    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32", use_safetensors=True)
