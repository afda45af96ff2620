"""Stage 1 of a pool from seeds: tokenizer and base model, trained on base users only.

What a model learns before its last lessons (to read, to look, to see what fits, to choose, to recall, to find, to see
taste, and all of it at once) are stages of their own, each with a key over what it was made from: a build that was
killed does none of them again, nor one with other settings for what follows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from perpcs.model.apart import label_tokens, set_apart
from perpcs.model.text import Lesson
from perpcs.model.tokenizer import train_tokenizer
from perpcs.model.train_base import BaseSettings, read_model, train_base
from perpcs.pool.adapt import Shares
from perpcs.pool.lessons import (
    BY_TASTE,
    CHOOSING,
    FINDING,
    FITTING,
    LOOKING,
    RECALLING,
    choice_lessons,
    held_out_lessons,
    last_lessons,
    looking_lessons,
    reading_lessons,
    taste_lessons,
    town_lessons,
)
from perpcs.pool.recipe import Recipe
from perpcs.pool.stages import Workspace, clock, throttled
from perpcs.tasks import get_task

_TOKENIZER_PAIRS = 20_000
TOWN_VERSION = 4
"""Raise it when the town's texts change: everything made from them is then made anew."""
_AFTER_READING: dict[str, tuple[Shares, Callable[[Recipe, Shares], list[Lesson]]]] = {
    "looking": (LOOKING, looking_lessons),
    "fitting": (FITTING, choice_lessons),
    "choosing": (CHOOSING, choice_lessons),
    "recalling": (RECALLING, choice_lessons),
    "finding": (FINDING, choice_lessons),
    "taste": (BY_TASTE, taste_lessons),
}
"""What a model that can read learns before all lessons at once, in this order: the name of its steps in a recipe,
what its lessons show, and who writes them.
"""
_FIRST_RATE, _MIXED_RATE = 3e-3, 2e-3
"""The rate of all of them, and that of all lessons at once. What the former teach is found at a high rate only, and
kept only at a lower one.
"""
_MIXED_LEFT = 0.354
"""What share of its rate is left at the end of all lessons at once, since the last ones follow."""
_WARMUP = 200


def base_stage(space: Workspace, recipe: Recipe) -> tuple[str, Path, Any]:
    """Train the base model of a recipe; (key, folder, training curve)."""
    town = {
        "town": TOWN_VERSION,
        "town_seed": recipe.town_seed,
        "tasks": [(t.task, get_task(t.task).version, t.base_users) for t in recipe.tasks],
    }
    inputs = {
        **town,
        "base": recipe.base,
        "lessons": recipe.lessons,
        "reading": recipe.reading,
        **{what: [getattr(recipe, what), shares] for what, (shares, _) in _AFTER_READING.items()},
        "mixing": [recipe.mixing, recipe.mixed_lessons],
        "last": [recipe.last_lessons, [part.late_users for part in recipe.tasks]],
    }

    def work(folder: Path) -> dict[str, Any]:
        trainer = _Trainer(space, recipe, town)
        start = trainer.learn_first()
        what = "last lessons" if start else "all lessons"
        trainer.done.append(trainer.train(what, partial(last_lessons, recipe), recipe.base, folder, start))
        steps = {what: getattr(recipe, what) for what in ("reading", *_AFTER_READING, "mixing")}
        return {**_joined(trainer.done), **steps}

    return space.stage("base", inputs, work)


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The curves of parts that followed each other as one, its steps counted from the first of them on; the settings
    are those of the last. Parts during which nothing was held out have steps and no points.
    """
    points, passed = [], 0
    for part in parts:
        points += [{**point, "step": passed + point["step"]} for point in part["curve"] if point["groups"]]
        passed += part["settings"]["steps"]
    sums = {what: sum(part[what] for part in parts) for what in ("lessons", "padded_tokens_seen")}
    return {**parts[-1], **sums, "curve": points}


class _Trainer:
    """Trains a base model part by part, each on its own lessons."""

    def __init__(self, space: Workspace, recipe: Recipe, town: Mapping[str, Any]) -> None:
        self.space, self.recipe, self.town = space, recipe, town
        self.tell = throttled(space.say)
        self.done: list[dict[str, Any]] = []
        """The curve of each part so far."""
        self._held: dict[str, list[Lesson]] = {}
        self._key, self.tokenizer = self._tokenizer()

    def learn_first(self) -> Path | None:
        """The folder of a model that has learned what comes before the last lessons; None where nothing does."""
        recipe, at = self.recipe, None
        if recipe.reading:
            settings = replace(
                recipe.base,
                steps=recipe.reading,
                rate=_FIRST_RATE,
                warmup=_WARMUP,
                cooldown=-(-recipe.reading // 8),
            )
            at = self._part("reading", settings, recipe.lessons, partial(reading_lessons, recipe), at)
        choices = any(get_task(part.task).has_options for part in recipe.tasks)
        for what, (shares, write) in _AFTER_READING.items():
            steps = getattr(recipe, what)
            if steps and (choices or write is not choice_lessons):
                settings = replace(
                    recipe.base, steps=steps, rate=_FIRST_RATE, warmup=20, cooldown=steps // 8 + 1, still=True
                )
                at = self._part(what, settings, [recipe.lessons, shares], partial(write, recipe, shares), at)
        if recipe.mixing:
            settings = replace(
                recipe.base,
                steps=recipe.mixing,
                rate=_MIXED_RATE,
                warmup=_WARMUP,
                cooldown=max(1, recipe.mixing - _WARMUP),
                left=_MIXED_LEFT,
            )
            mixed = replace(recipe, lessons=recipe.mixed_lessons or recipe.lessons)
            at = self._part("mixing", settings, mixed.lessons, partial(town_lessons, mixed), at)
        return at

    def train(
        self,
        what: str,
        write: Callable[[], list[Lesson]],
        settings: BaseSettings,
        to: Path,
        start: Path | None,
    ) -> dict[str, Any]:
        """Train on lessons from a model, or from nothing, into a folder; where it was killed it goes on."""

        def progress(at: dict[str, Any]) -> None:
            held_out = "" if math.isnan(at["held_out"]) else f", held out {at['held_out']:.3f}"
            self.tell(
                lambda: (
                    f"base, {what}: step {at['step']} of {at['steps']}, loss {at['loss']:.3f}{held_out}, "
                    f"{clock(at['left'])} left"
                )
            )

        self.space.say(f"base, {what}: writing lessons")
        groups = {} if settings.still else self._followed()
        return train_base(write(), groups, self.tokenizer, settings, to, progress, start=start)

    def _part(
        self,
        what: str,
        settings: BaseSettings,
        shares: Any,
        write: Callable[[], list[Lesson]],
        start: Path | None,
    ) -> Path:
        """The folder of a model that has learned one part; what comes after it depends on it."""

        def work(folder: Path) -> dict[str, Any]:
            began = start
            if start and what == "looking":
                began = _labels_apart(self.recipe, start, self.tokenizer, folder / "apart")
            return self.train(what, write, settings, folder, began)

        inputs = {"before": self._key, "settings": settings, "shares": shares}
        self._key, folder, curve = self.space.stage(f"base-{what}", inputs, work)
        self.done.append(curve)
        return folder

    def _tokenizer(self) -> tuple[str, Any]:
        """(key, tokenizer), learned from the lessons."""
        from transformers import AutoTokenizer

        recipe = self.recipe

        def work(folder: Path) -> int:
            self.space.say("tokenizer: writing lessons")
            lessons = town_lessons(recipe)
            step = max(1, len(lessons) // _TOKENIZER_PAIRS)
            texts = (lesson.prompt + lesson.target for lesson in lessons[::step])
            tokenizer = train_tokenizer(texts, recipe.base.vocabulary)
            tokenizer.save_pretrained(folder)
            return len(tokenizer)

        inputs = {**self.town, "vocabulary": recipe.base.vocabulary, "lessons": recipe.lessons}
        key, folder, _ = self.space.stage("tokenizer", inputs, work)
        return key, AutoTokenizer.from_pretrained(folder)

    def _followed(self) -> dict[str, list[Lesson]]:
        """Lessons of people held out, whose loss is followed."""
        self._held = self._held or held_out_lessons(self.recipe)
        return self._held


def _labels_apart(recipe: Recipe, start: Path, tokenizer: Any, folder: Path) -> Path:
    """A copy in ``folder`` of the model to start from, with the tokens of labels set apart."""
    model = read_model(start)
    for part in recipe.tasks:
        set_apart(model, label_tokens(tokenizer, get_task(part.task).labels))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
