"""Building a pool, stage by stage; every stage is resumable (stages.py).

    1 base      adapt the base model to the tasks (from_data.py)
    2 embed     embed the candidates                           4 pieces   train all sharers' pieces at once
    3 choose    k-means, most active of each cluster, map      5 gates    train gates, collect prototypes
    6 distil    gates from people who share nothing            7 profiles embed profiles along candidates' histories
    8 write     share masks, the task's folder                 9 hypernet for all tasks: writes a LoRA from a profile

6, 7 and 9 run where the settings ask for them; whom clusters of profiles would choose is always noted.

Where people come from is defined in from_data.py. Pieces are rounded as the pool stores them before anything is made of
them: what is stored is what was measured.

Example people are assembled afterwards (serve/complete.py), because that needs the finished pool.

A pool's folder gets its base model first and everything else after.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from perpcs.data import labels_of
from perpcs.files import cannot_write, hash_file, put_in_place, recover, write_atomic, write_json
from perpcs.model.base import BaseModel
from perpcs.pool.manifest import Manifest, Sharer, TaskPool, write_manifest
from perpcs.pool.select import check_disjoint, share_mask
from perpcs.pool.stages import (
    Choice,
    Learners,
    Losses,
    Settings,
    Stage,
    TaskPeople,
    Workspace,
    choose_stage,
    distil_stage,
    embed_stage,
    gates_stage,
    hypernet_stage,
    pieces_stage,
    profile_choice_stage,
    profiles_stage,
    read_distilled,
    read_embeddings,
    read_keys,
    read_trained,
)
from perpcs.pool.store import (
    DELTA,
    EMBEDDINGS,
    HYPERNET,
    MAP,
    PIECES,
    REFERENCE,
    base_hash,
    load_stored_base,
    write_pieces,
)
from perpcs.pool.train import prefix_start

# ---- the folder ------------------------------------------------------------------------------------------------------


_PACKAGES = ("torch", "transformers", "scikit-learn", "umap-learn", "numpy", "safetensors")


@dataclass(frozen=True)
class Target:
    """The folder that a pool is written to, its base model already in it."""

    folder: Path
    base: BaseModel
    base_hash: str


def open_target(
    space: Workspace, name: str, base_folder: Path, modules: Sequence[str] = (), first_layer: int = 0
) -> Target:
    """A new folder in the workspace with a copy of the base model, or of what stands for it."""
    folder = space.folder / f"out-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    return Target(folder, *copy_base(base_folder, folder / "base", modules=modules, first_layer=first_layer))


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    return {name: version(name) for name in _PACKAGES}


def copy_base(
    folder: Path, target: Path, dtype: str = "float16", modules: Sequence[str] = (), first_layer: int = 0
) -> tuple[BaseModel, str]:
    """Copy a base model's files into the pool and load it from there.

    A whole model's weights are rounded to ``dtype``. Pieces are trained on what was copied, so everything in the
    manifest describes the stored model.
    """
    target.mkdir(parents=True, exist_ok=True)
    kind = getattr(torch, dtype)
    for file in folder.iterdir():
        if file.suffix == ".safetensors" and file.name.startswith("model"):  # large models come in several files
            rounded_weights = {name: tensor.to(kind) for name, tensor in load_file(file).items()}
            write_atomic(target / file.name, save(rounded_weights, metadata={"format": "pt"}))
        elif file.name in (DELTA, REFERENCE) or (
            file.suffix in (".json", ".txt", ".model") and file.name not in ("done.json", "lessons.json")
        ):
            shutil.copyfile(file, target / file.name)
    return load_stored_base(target, modules=modules, first_layer=first_layer), base_hash(target)


# ---- the build -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BuiltTask:
    """What the stages of one task gave."""

    people: TaskPeople
    settings: Settings
    embed: Stage[Any]
    choice: Stage[Choice]
    pieces: Stage[Losses]
    gates: Stage[Any]
    distilled: Stage[Any] | None
    """None where no gates are distilled."""
    by_profile: Sequence[int]
    """The candidates that clusters of profiles would have chosen."""


def build_tasks(
    space: Workspace, target: Target, base_key: str, people: Sequence[TaskPeople], settings: Settings
) -> tuple[tuple[TaskPool, ...], dict[str, Any]]:
    """Stages 2 to 9, written below the target: what the manifest says of the tasks, and of P2P's network."""
    tasks, learners = [], []
    for part in people:
        check_disjoint(
            {
                "base users": [user.id for user in part.base_users],
                "sharer candidates": [user.id for user in part.candidates],
                "example people": [row["user_id"] for row in part.examples],
            }
        )
        built = build_task(space, target.base, base_key, part, settings.of_task(part.task.name))
        if settings.hypernet is not None:
            profiles = profiles_stage(space, part.task, part.candidates, part.key, settings.encoder)
            learners.append(Learners(part.task, part.candidates, profiles, built.choice))
        tasks.append(write_task(target, built))
    if settings.hypernet is None:
        return tuple(tasks), {}
    hypernet = hypernet_stage(space, target.base, base_key, learners, settings.hypernet)
    file = target.folder / HYPERNET
    write_atomic(file, (hypernet.folder / HYPERNET).read_bytes())
    return tuple(tasks), {**hypernet.result, "sha256": hash_file(file)}


def build_task(space: Workspace, base: BaseModel, base_key: str, part: TaskPeople, settings: Settings) -> BuiltTask:
    """Stages 2 to 6 of one task, and whom clusters of profiles would have chosen."""
    embed = embed_stage(space, part, settings)
    choice = choose_stage(space, part, embed, settings)
    sharers = [part.candidates[i] for i in choice.result.chosen]
    pieces = pieces_stage(space, base, base_key, part.task, sharers, choice.key, settings)
    gates = gates_stage(space, base, part.task, sharers, pieces, settings)
    others = [user for i, user in enumerate(part.candidates) if i not in set(choice.result.chosen)]
    others += [user for user in part.base_users if len(user.history) > 1]  # candidates alone may be too few
    distilled = None
    if settings.distil is not None and len(others) > 1:
        distilled = distil_stage(space, base, part.task, others, pieces, settings.pieces, settings.distil)
    profile_choice = profile_choice_stage(
        space, part.task, part.candidates, part.key, settings.encoder, part.sharers, settings.select_seed
    )
    return BuiltTask(part, settings, embed, choice, pieces, gates, distilled, profile_choice.result.chosen)


def write_task(target: Target, built: BuiltTask) -> TaskPool:
    """Write one task's folder of a pool; returns its part of the manifest."""
    part, settings, choice = built.people, built.settings, built.choice.result
    task, folder = part.task, target.folder / part.task.name
    if part.examples:
        write_json(folder / "examples.json", list(part.examples))
    sharers = [part.candidates[i] for i in choice.chosen]
    paths = [position.path for position in target.base.positions]
    mask = torch.from_numpy(share_mask(paths, [user.id for user in sharers], settings.share_ratio, settings.share_seed))
    trained, (gates, prototypes) = read_trained(built.pieces), read_keys(built.gates)
    distilled = None if built.distilled is None else read_distilled(built.distilled)
    write_pieces(folder / PIECES, trained.A, trained.B, gates, prototypes, mask, settings.dtype, distilled)
    rows = [
        Sharer(
            id=user.id,
            items=len(user.history),
            cluster=choice.clusters[candidate],
            terms=tuple(choice.terms[choice.clusters[candidate]]),
            xy=(choice.xy[candidate][0], choice.xy[candidate][1]),
            loss=tuple(losses),
        )
        for user, candidate, losses in zip(sharers, choice.chosen, trained.losses, strict=True)
    ]
    write_json(folder / "sharers.json", [asdict(row) for row in rows])
    write_atomic(folder / EMBEDDINGS, save({"sharers": read_embeddings(built.embed)[choice.chosen].half()}))
    activity = [len(user.history) for user in part.candidates]
    places = {"xy": choice.xy, "clusters": choice.clusters, "items": activity, "by_profile": list(built.by_profile)}
    write_json(folder / MAP, places)
    return TaskPool(
        task=task.name,
        task_version=task.version,
        sharers=len(sharers),
        candidates=len(choice.clusters),
        selection="most active person of each history cluster",
        share_ratio=settings.share_ratio,
        share_seed=settings.share_seed,
        files={
            name: hash_file(folder / name)
            for name in (PIECES, EMBEDDINGS, MAP, "sharers.json", "examples.json")
            if (folder / name).exists()
        },
        training={
            "pieces": asdict(settings.pieces),
            "gates": asdict(settings.gates),
            "distil": asdict(settings.distil) if distilled is not None and settings.distil is not None else None,
        },
        encoder=settings.encoder,
        origin=part.origin,
        labels=labels_of(task, [*part.base_users, *part.candidates]) if task.other_labels else (),
    )


def finish(
    space: Workspace,
    target: Target,
    base_key: str,
    people: Sequence[TaskPeople],
    settings: Settings,
    final: Path,
    **facts: Any,
) -> None:
    """Build every task into the target, write the manifest, and put the folder in place of an older one.

    Args:
        facts: what only the caller knows: name, title, licence, users, card.
    """
    tasks, hypernet = build_tasks(space, target, base_key, people, settings)
    manifest = Manifest(
        base="base",
        base_hash=target.base_hash,
        rank=settings.pieces.rank,
        alpha=settings.pieces.alpha,
        kind=settings.pieces.kind,
        keys=len(prefix_start(target.base, 1)[0][1]) if settings.pieces.kind == "prefix" else 0,
        dtype=settings.dtype,
        positions=target.base.positions,
        tasks=tasks,
        hypernet=hypernet,
        created_with=versions(),
        **facts,
    )
    write_manifest(target.folder, manifest)
    recover(final)
    try:
        put_in_place(target.folder, final)
    except OSError as error:  # the stages are kept: the same command needs no work but this
        raise cannot_write(final, error) from error
    space.say(f"pool written: {sum(f.stat().st_size for f in final.rglob('*') if f.is_file()) / 1e6:.1f} MB")
