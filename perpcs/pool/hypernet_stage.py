"""The stages that look at profiles: whom their clusters would make sharers, and the network of Profile-to-PEFT."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from perpcs.files import write_atomic
from perpcs.model.base import BaseModel
from perpcs.pool.hypernet import hypernet_bytes
from perpcs.pool.hypernet_train import (
    CHECKPOINT,
    HypernetSettings,
    Learned,
    Split,
    learned_people,
    split_people,
    train_hypernet,
)
from perpcs.pool.profiles import VERSION, embed_profiles, point_histories
from perpcs.pool.select import most_active
from perpcs.pool.stages import Stage, Workspace
from perpcs.pool.store import HYPERNET
from perpcs.pool.task_stages import Choice
from perpcs.tasks import Task, User

_PROFILES = "profiles.safetensors"


def profiles_stage(
    space: Workspace, task: Task, candidates: Sequence[User], people_key: Any, encoder: str
) -> Stage[Any]:
    """Embed the profiles that candidates had at a few points of their histories."""

    def work(folder: Path) -> dict[str, int]:
        histories = point_histories([user.history for user in candidates])
        found = embed_profiles(task, histories, encoder)
        write_atomic(folder / _PROFILES, save({"profiles": found}))
        return {"profiles": len(histories), "width": found.shape[1]}

    inputs = {"encoder": encoder, "people": people_key, "version": (task.version, VERSION)}
    return space.stage(f"profiles-{task.name}", inputs, work)


@dataclass(frozen=True)
class ProfileChoice:
    """Whom clusters of profiles would have made sharers."""

    chosen: list[int]
    """Candidates, counted from 0."""


def profile_choice_stage(
    space: Workspace, task: Task, candidates: Sequence[User], people_key: Any, encoder: str, count: int, seed: int
) -> Stage[ProfileChoice]:
    """Whom clusters of profiles would have made sharers (paper, section 5): a map can show them beside those who are.

    Fewer than there are sharers where profiles are too much alike.
    """

    def work(folder: Path) -> ProfileChoice:
        profiles = embed_profiles(task, [user.history for user in candidates], encoder).numpy()
        sizes = [len(user.history) for user in candidates]
        _, chosen = most_active(profiles, sizes, count, seed)
        return ProfileChoice(sorted(chosen))

    inputs = {
        "encoder": encoder,
        "people": people_key,
        "version": (task.version, VERSION),
        "count": count,
        "seed": seed,
    }
    return space.stage(f"profile-choice-{task.name}", inputs, work, ProfileChoice)


@dataclass(frozen=True)
class Learners:
    """One task's people, with the stages that tell of them."""

    task: Task
    candidates: Sequence[User]
    profiles: Stage[Any]
    choice: Stage[Choice]


def hypernet_stage(
    space: Workspace, base: BaseModel, base_key: str, groups: Sequence[Learners], settings: HypernetSettings
) -> Stage[Any]:
    """Train one network for all tasks; the result is what the manifest says of it."""

    def work(folder: Path) -> dict[str, Any]:
        people: list[Learned] = []
        split = Split([])
        for group in groups:
            found = load_file(group.profiles.folder / _PROFILES)["profiles"]
            own = split_people(group.choice.result.clusters, settings.held_out, settings.seed)
            split = split.beside(own, len(people))
            people += learned_people(base, group.task, group.candidates, found)
        net, facts = train_hypernet(base, people, split, settings, folder, space.steps("hypernet"))
        write_atomic(folder / HYPERNET, hypernet_bytes(net))
        (folder / CHECKPOINT).unlink(missing_ok=True)
        return {"shape": asdict(net.shape), "settings": asdict(settings), "profile_version": VERSION, **facts}

    inputs = {
        "base": base_key,
        "learners": [(group.profiles.key, group.choice.key) for group in groups],
        "positions": [position.path for position in base.positions],
        "settings": settings,
        "kept": "best",
    }
    return space.stage("hypernet", inputs, work)
