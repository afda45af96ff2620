"""A pool from people's data in LaMP or Per-Pcs layout and any Hugging Face causal LM.

    DATA/TASK/base_users.json           adapt the base model; optional
    DATA/TASK/sharer_candidates.json    the sharers are chosen from these people

As in the paper (section 2.2) the base model learns the tasks from base users alone: a LoRA, merged into its weights.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from perpcs.data import read_users
from perpcs.data.others import with_others
from perpcs.errors import PerpcsError
from perpcs.files import hash_file
from perpcs.model.base import load_base
from perpcs.model.text import encode_pair
from perpcs.pool.adapt import Shares, base_lessons
from perpcs.pool.build import Settings, TaskPeople, finish, open_target
from perpcs.pool.stages import Workspace, throttled
from perpcs.pool.train import PieceSettings, TrainedPieces, train_pieces
from perpcs.quiet import quiet_transformers
from perpcs.tasks import get_task


@dataclass(frozen=True)
class DataRecipe:
    """A pool from data."""

    name: str
    base: str
    """Hugging Face name or folder of a causal LM."""
    data: Path
    tasks: tuple[str, ...]
    sharers: int
    licence: str
    adaptation: PieceSettings = field(default_factory=lambda: PieceSettings(rank=8, epochs=1, rate=3e-4))
    """The LoRA that adapts the base model."""
    with_history: float = 0.4
    """Share of base lessons whose prompt carries retrieved items."""
    with_profile: float = 0.15
    """Share of base lessons whose prompt carries a profile."""
    settings: Settings = field(default_factory=Settings)


def build_from_data(space: Workspace, recipe: DataRecipe, final: Path) -> list[TaskPeople]:
    """Build the pool folder ``final``.

    Returns:
        Of whom it was made, task by task.

    Raises:
        PerpcsError: when a file is missing or malformed, or the base model cannot be loaded.
    """
    if not recipe.tasks:
        raise PerpcsError("No task was named.", "Name at least one, for example --task LaMP_4.")
    people: list[TaskPeople] = []
    sources = {}
    for name in recipe.tasks:
        task, folder = get_task(name), recipe.data / name
        candidates = folder / "sharer_candidates.json"
        adapters = folder / "base_users.json"
        users = with_others(task, read_users(candidates, task))
        base_users = with_others(task, read_users(adapters, task)) if adapters.exists() else []
        sources[name] = base_users
        key = {"candidates": hash_file(candidates), "task": name}
        people.append(TaskPeople(task, [user.id for user in base_users], users, recipe.sharers, key))
    base_key, base_folder, result = _adapt_stage(space, recipe, sources)
    finish(
        space,
        open_target(space, recipe.name, base_folder),
        base_key,
        people,
        recipe.settings,
        final,
        name=recipe.name,
        title=recipe.name,
        licence=recipe.licence,
        users={
            "base": {part.task.name: len(part.base_ids) for part in people},
            "candidates": {part.task.name: len(part.candidates) for part in people},
        },
        card={"base": {"from": recipe.base, "adaptation": asdict(recipe.adaptation), **result}},
    )
    return people


def _adapt_stage(space: Workspace, recipe: DataRecipe, users: dict[str, Any]) -> tuple[str, Path, Any]:
    """Train one LoRA on all base users' pairs and merge it; without base users the model is taken as it is."""
    files = {name: hash_file(recipe.data / name / "base_users.json") for name, some in users.items() if some}
    inputs = {
        "base": recipe.base,
        "users": files,
        "adaptation": recipe.adaptation if files else None,
        "shown": (recipe.with_history, recipe.with_profile),
    }

    def work(folder: Path) -> dict[str, Any]:
        quiet_transformers()
        tell = throttled(space.say)
        base = load_base(recipe.base)
        pairs = [
            (lesson.prompt, lesson.target)
            for name, some in users.items()
            for lesson in base_lessons(get_task(name), some, Shares(recipe.with_history, recipe.with_profile))
        ]
        losses: list[float] = []
        if pairs:
            encoded = [encode_pair(base.tokenizer, x, y, base.max_tokens) for x, y in pairs]
            trained = train_pieces(
                base,
                [encoded],
                ["base users"],
                recipe.adaptation,
                on_step=lambda step, of: tell(lambda: f"base: step {step} of {of}"),
            )
            losses = trained.losses[0]
            merge(base, trained, recipe.adaptation.alpha / recipe.adaptation.rank)
        unwrap(base)
        base.model.to("cpu").save_pretrained(folder)
        base.tokenizer.save_pretrained(folder)
        return {"pairs": len(pairs), "losses": losses}

    return space.stage("base", inputs, work)


@torch.no_grad()
def merge(base: Any, trained: TrainedPieces, scale: float) -> None:
    """Add the first sharer's update to the base model's weights: W + s B A."""
    for p, position in enumerate(base.positions):
        linear = base.model.get_submodule(position.path).base
        update = (scale * trained.B[p][0] @ trained.A[p][0]).to(linear.weight)
        linear.weight += update if isinstance(linear, torch.nn.Linear) else update.T  # Conv1D keeps (inputs, outputs)


def unwrap(base: Any) -> None:
    """Put the plain linear layers back, so that the model saves under its own names."""
    for position in base.positions:
        parent, _, child = position.path.rpartition(".")
        setattr(base.model.get_submodule(parent), child, base.model.get_submodule(position.path).base)
