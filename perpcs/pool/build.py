"""Building a pool, stage by stage; every stage is resumable (stages.py).

    1 base      train a base model from scratch, or take one that exists     4 pieces   train all sharers' pieces at
    once 2 embed     embed the candidates                                         5 gates    train gates, collect
    prototypes 3 choose    k-means, most active of each cluster, 2-D map                6 write    masks, pool folder,
    manifest

Example people and their assemblies are made last (examples.py), because they need the finished pool.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from perpcs.errors import PerpcsError
from perpcs.files import hash_file, write_atomic
from perpcs.model.base import BaseModel, load_base
from perpcs.model.text import encode_pair
from perpcs.pool.embed import MINILM, embed_users
from perpcs.pool.manifest import Manifest, Sharer, TaskPool, write_json, write_manifest
from perpcs.pool.select import choose_sharers, share_mask
from perpcs.pool.stages import Say, Workspace, throttled
from perpcs.pool.store import PIECES, base_hash, write_pieces
from perpcs.pool.train import GateSettings, PieceSettings, TrainedPieces, collect_prototypes, train_gates, train_pieces
from perpcs.tasks import Task, User

_PACKAGES = ("torch", "transformers", "scikit-learn", "umap-learn", "numpy", "safetensors")


def embed_stage(space: Workspace, task: Task, candidates: Sequence[User], key: Any) -> tuple[str, Path, Any]:
    """Embed candidates with MiniLM."""

    def work(folder: Path) -> dict[str, int]:
        embeddings = embed_users([user.history for user in candidates])
        write_atomic(folder / "embeddings.safetensors", save({"embeddings": embeddings}))
        return {"candidates": len(candidates), "width": embeddings.shape[1]}

    return space.stage(f"embed-{task.name}", {"encoder": MINILM, "people": key, "v": task.version}, work)


def choose_stage(
    space: Workspace, task: Task, candidates: Sequence[User], embed: tuple[str, Path, Any], count: int, seed: int
) -> tuple[str, Path, Any]:
    """Choose sharers; the result names them with cluster, terms and place on the map."""
    embed_key, embed_folder, _ = embed

    def work(folder: Path) -> dict[str, Any]:
        embeddings = load_file(embed_folder / "embeddings.safetensors")["embeddings"].numpy()
        selection = choose_sharers(embeddings, [user.history for user in candidates], count, seed)
        return {
            "chosen": selection.chosen,
            "clusters": selection.clusters,
            "xy": np.round(selection.xy, 4).tolist(),
            "terms": [list(terms) for terms in selection.terms],
        }

    return space.stage(f"choose-{task.name}", {"embed": embed_key, "count": count, "seed": seed}, work)


def pieces_stage(
    space: Workspace,
    base: BaseModel,
    base_key: str,
    task: Task,
    sharers: Sequence[User],
    choose_key: str,
    s: PieceSettings,
) -> tuple[str, Path, Any]:
    """Train the pieces of all sharers."""

    def work(folder: Path) -> dict[str, Any]:
        tell = throttled(space.say)
        trained = train_pieces(
            base,
            encode_histories(base, task, sharers),
            [user.id for user in sharers],
            s,
            on_progress=lambda done, of: tell(lambda: f"pieces {task.name}: {done} of {of} groups"),
        )
        tensors = {f"A.{p}": a for p, a in enumerate(trained.A)} | {f"B.{p}": b for p, b in enumerate(trained.B)}
        write_atomic(folder / "pieces.safetensors", save({name: t.contiguous() for name, t in tensors.items()}))
        return {"losses": trained.losses}

    return space.stage(f"pieces-{task.name}", {"base": base_key, "choose": choose_key, "pieces": s}, work)


def gates_stage(
    space: Workspace,
    base: BaseModel,
    task: Task,
    sharers: Sequence[User],
    pieces: tuple[str, Path, Any],
    piece_settings: PieceSettings,
    settings: GateSettings,
) -> tuple[str, Path, Any]:
    """Train gates and collect prototypes."""
    pieces_key, pieces_folder, pieces_result = pieces

    def work(folder: Path) -> dict[str, Any]:
        tell = throttled(space.say)
        trained = read_trained(pieces_folder, pieces_result["losses"])
        histories = encode_histories(base, task, sharers)
        gates = train_gates(
            base,
            trained,
            histories,
            [user.id for user in sharers],
            piece_settings,
            settings,
            on_progress=lambda done, of: tell(lambda: f"gates {task.name}: {done} of {of} groups"),
        )
        prototypes = collect_prototypes(base, histories)
        tensors = {f"gate.{p}": g for p, g in enumerate(gates)} | {
            f"prototype.{p}": c for p, c in enumerate(prototypes)
        }
        write_atomic(folder / "gates.safetensors", save(tensors))
        return {"steps": settings.steps}

    return space.stage(f"gates-{task.name}", {"pieces": pieces_key, "gates": settings}, work)


def encode_histories(base: BaseModel, task: Task, users: Sequence[User]) -> list[list[Any]]:
    """Every user's items as encoded (prompt, target) pairs."""
    return [[encode_pair(base.tokenizer, *task.pair(item), base.max_tokens) for item in user.history] for user in users]


def read_trained(folder: Path, losses: list[list[float]]) -> TrainedPieces:
    """The trained pieces of a stage's folder, float32."""
    tensors = load_file(folder / "pieces.safetensors")
    count = len(tensors) // 2
    return TrainedPieces([tensors[f"A.{p}"] for p in range(count)], [tensors[f"B.{p}"] for p in range(count)], losses)


def write_task(
    target: Path,
    base: BaseModel,
    task: Task,
    sharers: Sequence[User],
    choose: dict[str, Any],
    pieces: tuple[str, Path, Any],
    gates: tuple[str, Path, Any],
    *,
    ratio: float,
    share_seed: int,
    dtype: str,
    settings: tuple[PieceSettings, GateSettings],
) -> TaskPool:
    """Write one task's folder of a pool and say what the manifest holds of it."""
    ids = [user.id for user in sharers]
    mask = torch.from_numpy(share_mask([position.path for position in base.positions], ids, ratio, share_seed))
    trained = read_trained(pieces[1], pieces[2]["losses"])
    found = load_file(gates[1] / "gates.safetensors")
    count = len(base.positions)
    keys = [[found[f"{name}.{p}"] for p in range(count)] for name in ("gate", "prototype")]
    write_pieces(target / task.name / PIECES, trained.A, trained.B, keys[0], keys[1], mask, dtype)
    rows = [
        Sharer(
            id=user.id,
            items=len(user.history),
            cluster=choose["clusters"][candidate],
            terms=tuple(choose["terms"][choose["clusters"][candidate]]),
            xy=tuple(choose["xy"][candidate]),
            loss=tuple(pieces[2]["losses"][s]),
        )
        for s, (user, candidate) in enumerate(zip(sharers, choose["chosen"], strict=True))
    ]
    write_json(target / task.name / "sharers.json", [asdict(row) for row in rows])
    return TaskPool(
        task=task.name,
        task_version=task.version,
        sharers=len(sharers),
        candidates=len(choose["clusters"]),
        selection="most active person of each history cluster",
        share_ratio=ratio,
        share_seed=share_seed,
        files={name: hash_file(target / task.name / name) for name in (PIECES, "sharers.json")},
        training={"pieces": asdict(settings[0]), "gates": asdict(settings[1])},
    )


def check_disjoint(groups: dict[str, Sequence[str]]) -> None:
    """Base users, sharers and targets have nobody in common.

    Raises:
        PerpcsError: naming one person who is in two groups.
    """
    seen: dict[str, str] = {}
    for group, ids in groups.items():
        for id in ids:
            if seen.setdefault(id, group) != group:
                raise PerpcsError(
                    f"User {id!r} is among {seen[id]} and among {group}.", "Give every person to one group."
                )


def finish(target: Path, manifest: Manifest, final: Path, say: Say) -> None:
    """Write the manifest and put the finished folder in place of an older one."""
    write_manifest(target, manifest)
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        final.rename(old)
    target.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    say(f"pool written: {sum(f.stat().st_size for f in final.rglob('*') if f.is_file()) / 1e6:.1f} MB")


def versions() -> dict[str, str]:
    """Versions of what numbers depend on."""
    return {name: version(name) for name in _PACKAGES}


def copy_base(folder: Path, target: Path, dtype: str = "float16") -> tuple[BaseModel, str]:
    """Copy a base model's files into the pool with weights rounded to ``dtype``, and load it from there in float32.

    Pieces are trained on the rounded model, so nothing of what the pool says of itself is about another one.
    """
    target.mkdir(parents=True, exist_ok=True)
    kind = getattr(torch, dtype)
    for file in folder.iterdir():
        if file.name == "model.safetensors":
            rounded = {name: tensor.to(kind) for name, tensor in load_file(file).items()}
            write_atomic(target / file.name, save(rounded, metadata={"format": "pt"}))
        elif file.suffix in (".json", ".txt", ".model") and file.name != "done.json":
            shutil.copyfile(file, target / file.name)
    return load_base(target, device="cpu", dtype="float32"), base_hash(target)
