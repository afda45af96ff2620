"""Stage 1 of a pool from seeds: tokenizer and base model, trained on base users only."""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from perpcs.model.apart import label_tokens, set_apart
from perpcs.model.text import Lesson
from perpcs.model.tokenizer import train_tokenizer
from perpcs.model.train_base import BaseSettings, train_base
from perpcs.pool.lessons import held_out_lessons, looking_lessons, reading_lessons, town_lessons
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
        "reading": recipe.reading,
        "looking": recipe.looking,
    }

    def work(folder: Path) -> dict[str, Any]:
        space.say("base: writing lessons")
        pairs, held = town_lessons(recipe), held_out_lessons(recipe)
        tokenizer = _tokenizer(recipe, pairs)
        tell = throttled(space.say)

        def train(what: str, lessons: Sequence[Lesson], settings: BaseSettings, to: Path, **options: Any) -> Any:
            def progress(at: dict[str, Any]) -> None:
                held_out = "" if math.isnan(at["held_out"]) else f", held out {at['held_out']:.3f}"
                tell(
                    lambda: (
                        f"base, {what}: step {at['step']} of {at['steps']}, loss {at['loss']:.3f}{held_out}, "
                        f"{clock(at['left'])} left"
                    )
                )

            groups = {} if what == "looking" else held
            return train_base(lessons, groups, tokenizer, settings, to, progress, **options)

        start = recipe.start
        if recipe.reading:
            start = folder / "reading"
            settings = replace(recipe.base, steps=recipe.reading, cooldown=-(-recipe.reading // 8))
            if not _is_trained(start):
                train("reading", reading_lessons(recipe), settings, start)
        if recipe.looking:
            start = _looked(recipe, start, tokenizer, folder / "looking", train)
        if recipe.last_lessons:
            first = round((1 - LAST_PART) * recipe.base.steps)
            train("all lessons", pairs, recipe.base, folder, start=start, stop=first)
            pairs = town_lessons(replace(recipe, lessons=recipe.last_lessons))
        curve = train("all lessons", pairs, recipe.base, folder, start=start)
        for part in ("reading", "looking"):
            shutil.rmtree(folder / part, ignore_errors=True)
        return {**curve, "reading": recipe.reading, "looking": recipe.looking}

    return space.stage("base", inputs, work)


def _tokenizer(recipe: Recipe, lessons: Sequence[Lesson]) -> Any:
    if recipe.start:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(recipe.start)
    step = max(1, len(lessons) // _TOKENIZER_PAIRS)
    return train_tokenizer((lesson.prompt + lesson.target for lesson in lessons[::step]), recipe.base.vocabulary)


def _looked(recipe: Recipe, start: Path | None, tokenizer: Any, folder: Path, train: Callable[..., Any]) -> Path:
    """The folder of a model that has learned to look at what a prompt shows; where a build was killed it goes on."""
    looked = folder / "looked"
    if not _is_trained(looked):
        settings = replace(recipe.base, steps=recipe.looking, warmup=20, cooldown=recipe.looking // 8 + 1, still=True)
        apart = _labels_apart(recipe, start, tokenizer, folder / "start") if start else None
        train("looking", looking_lessons(recipe), settings, looked, start=apart)
    return looked


def _is_trained(folder: Path) -> bool:
    return (folder / "model.safetensors").exists()


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
