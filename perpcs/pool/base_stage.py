"""Stage 1 of a pool from seeds: tokenizer and base model, trained on base users only."""

from pathlib import Path
from typing import Any

from perpcs.data.smalltown import make_people
from perpcs.model.train_base import train_base, train_tokenizer
from perpcs.pool.adapt import base_pairs
from perpcs.pool.recipe import Recipe
from perpcs.pool.stages import Workspace, clock, throttled
from perpcs.tasks import get_task

_TOKENIZER_PAIRS = 20_000
TOWN_VERSION = 1
"""Raise it when the town's texts change: everything made from them is then made anew."""


def base_stage(space: Workspace, recipe: Recipe) -> tuple[str, Path, Any]:
    """Train the base model of a recipe; (key, folder, training curve)."""
    inputs = {
        "town": TOWN_VERSION,
        "town_seed": recipe.town_seed,
        "tasks": [(t.task, get_task(t.task).version, t.base_users) for t in recipe.tasks],
        "base": recipe.base,
        "with_history": recipe.with_history,
    }

    def work(folder: Path) -> dict[str, Any]:
        pairs = []
        for part in recipe.tasks:
            people = make_people(part.task, seed=recipe.town_seed, count=part.base_users, split="base")
            pairs += base_pairs(
                get_task(part.task), [person.user for person in people], with_history=recipe.with_history
            )
        step = max(1, len(pairs) // _TOKENIZER_PAIRS)
        tokenizer = train_tokenizer((x + y for x, y in pairs[::step]), recipe.base)
        tell = throttled(space.say)

        def progress(at: dict[str, Any]) -> None:
            tell(
                lambda: (
                    f"base: step {at['step']} of {at['steps']}, loss {at['loss']:.3f}, "
                    f"held out {at['held_out']:.3f}, {clock(at['left'])} left"
                )
            )

        return train_base(pairs, tokenizer, recipe.base, folder, progress)

    return space.stage("base", inputs, work)
