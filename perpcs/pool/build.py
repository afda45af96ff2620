"""Building a pool, stage by stage; every stage is resumable (stages.py).

    1 base      adapt the base model to the tasks (adapt.py)
    2 embed     embed the candidates                           4 pieces   train all sharers' pieces at once
    3 choose    k-means, most active of each cluster, map      5 gates    train gates, collect prototypes
    6 distil    gates from people who share nothing            7 profiles embed profiles along candidates' histories
    8 write     share masks, the task's folder                 9 hypernet for all tasks: writes a LoRA from a profile

6, 7 and 9 run where the settings ask for them; whom clusters of profiles would choose is always noted.

Where people come from is another file's matter (from_data.py). Pieces are rounded as the pool stores them before
anything is made of them: what is stored is what was measured.

Example people are assembled afterwards (personalizers/examples.py), because that needs the finished pool.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from perpcs.data import labels_of
from perpcs.files import hash_file, write_atomic, write_json
from perpcs.model.base import BaseModel
from perpcs.model.ia3 import make_pieces
from perpcs.model.text import Encoded, encode_pair
from perpcs.pool.distil import DistilSettings, distil_gates, drawn_items
from perpcs.pool.embed import MINILM, embed_users
from perpcs.pool.hypernet_stage import Learners, hypernet_stage, profile_choice_stage, profiles_stage
from perpcs.pool.hypernet_train import HypernetSettings
from perpcs.pool.manifest import Manifest, Sharer, TaskPool, write_manifest
from perpcs.pool.select import check_disjoint, choose_sharers, share_mask
from perpcs.pool.stages import Stage, Workspace
from perpcs.pool.store import EMBEDDINGS, HYPERNET, MAP, PIECES, rounded, write_pieces
from perpcs.pool.target import Target, versions
from perpcs.pool.train import GateSettings, PieceSettings, TrainedPieces, collect_prototypes, train_gates, train_pieces
from perpcs.tasks import Task, User


@dataclass(frozen=True)
class TaskPeople:
    """One task's people, each in one group only."""

    task: Task
    base_users: Sequence[User]
    """Whom the base model learned from; they share nothing."""
    candidates: Sequence[User]
    sharers: int
    key: Any
    """What the candidates were made from: changes whenever they do."""
    examples: Sequence[dict[str, Any]] = ()
    """Example people in the Per-Pcs release layout, with ``description`` and ``traits``."""
    origin: str = ""
    """Who the sharers are, in a sentence."""


@dataclass(frozen=True)
class Settings:
    """How a pool is made of its people."""

    pieces: PieceSettings = field(default_factory=PieceSettings)
    gates: GateSettings = field(default_factory=GateSettings)
    distil: DistilSettings | None = None
    """How gates are distilled from candidates who share no piece; None for a pool without such gates."""
    encoder: str = MINILM
    share_ratio: float = 1.0
    """Share of a sharer's pieces that are in the pool."""
    share_seed: int = 11
    select_seed: int = 7
    dtype: str = "float16"
    """How pieces are stored: ``float32``, ``float16``, or ``int8`` with a scale a row."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Learning rates of pieces of tasks that have their own."""
    newest: int = 0
    """Pieces and gates learn from so many of a sharer's newest items; 0 = all."""
    sharer_tokens: int = 0
    """And from so many tokens of them; 0 = all."""
    hypernet: HypernetSettings | None = None
    """How the network of Profile-to-PEFT is trained; None for a pool without one. It learns from all candidates, those
    too who share no piece, so it is only made where that is asked for."""

    def of_task(self, task: str) -> "Settings":
        """The settings of one task."""
        return replace(self, pieces=replace(self.pieces, rate=self.rates.get(task, self.pieces.rate)), rates={})


def build_tasks(
    space: Workspace, base: BaseModel, base_key: str, people: Sequence[TaskPeople], settings: Settings, target: Path
) -> tuple[tuple[TaskPool, ...], dict[str, Any]]:
    """Stages 2 to 9, written below ``target``: what the manifest says of the tasks, and of P2P's network."""
    tasks, learners, whole = [], [], settings
    for part in people:
        settings = whole.of_task(part.task.name)
        check_disjoint(
            {
                "base users": [user.id for user in part.base_users],
                "sharer candidates": [user.id for user in part.candidates],
                "example people": [row["user_id"] for row in part.examples],
            }
        )
        embed = embed_stage(space, part, settings)
        choose = choose_stage(space, part, embed, settings)
        sharers = [part.candidates[i] for i in choose[2]["chosen"]]
        pieces = pieces_stage(space, base, base_key, part.task, sharers, choose[0], settings)
        gates = gates_stage(space, base, part.task, sharers, pieces, settings)
        others = [user for i, user in enumerate(part.candidates) if i not in set(choose[2]["chosen"])]
        others += [user for user in part.base_users if len(user.history) > 1]  # candidates alone may be too few
        distilled = None
        if settings.distil is not None and len(others) > 1:
            distilled = distil_stage(space, base, part.task, others, pieces, settings.pieces, settings.distil)
        if settings.hypernet is not None:
            profiles = profiles_stage(space, part.task, part.candidates, part.key, settings.encoder)
            learners.append(Learners(part.task, part.candidates, profiles, choose))
        by_profile = profile_choice_stage(
            space, part.task, part.candidates, part.key, settings.encoder, part.sharers, settings.select_seed
        )[2]["chosen"]
        if part.examples:
            write_json(target / part.task.name / "examples.json", list(part.examples))
        tasks.append(write_task(target, base, part, embed, choose[2], pieces, gates, settings, distilled, by_profile))
    if whole.hypernet is None:
        return tuple(tasks), {}
    hypernet = hypernet_stage(space, base, base_key, learners, whole.hypernet)
    write_atomic(target / HYPERNET, (hypernet[1] / HYPERNET).read_bytes())
    return tuple(tasks), {**hypernet[2], "sha256": hash_file(target / HYPERNET)}


PROTOTYPE_ITEMS = 12
"""Items that a prototype is the mean of, about, spread over the history."""


def embed_stage(space: Workspace, part: TaskPeople, settings: Settings) -> Stage:
    """Embed candidates by their history."""

    def work(folder: Path) -> dict[str, int]:
        embeddings = embed_users([user.history for user in part.candidates], settings.encoder)
        write_atomic(folder / "embeddings.safetensors", save({"embeddings": embeddings}))
        return {"candidates": len(part.candidates), "width": embeddings.shape[1]}

    inputs = {"encoder": settings.encoder, "people": part.key, "version": part.task.version}
    return space.stage(f"embed-{part.task.name}", inputs, work)


def choose_stage(space: Workspace, part: TaskPeople, embed: Stage, settings: Settings) -> Stage:
    """Choose sharers; the result names them with cluster, terms and place on the map."""
    embed_key, embed_folder, _ = embed

    def work(folder: Path) -> dict[str, Any]:
        embeddings = load_file(embed_folder / "embeddings.safetensors")["embeddings"].numpy()
        histories = [user.history for user in part.candidates]
        selection = choose_sharers(embeddings, histories, part.sharers, settings.select_seed)
        return {
            "chosen": selection.chosen,
            "clusters": selection.clusters,
            "xy": np.round(selection.xy, 4).tolist(),
            "terms": [list(terms) for terms in selection.terms],
        }

    inputs = {"embed": embed_key, "count": part.sharers, "seed": settings.select_seed}
    return space.stage(f"choose-{part.task.name}", inputs, work)


def pieces_stage(
    space: Workspace,
    base: BaseModel,
    base_key: str,
    task: Task,
    sharers: Sequence[User],
    choose_key: str,
    settings: Settings,
) -> Stage:
    """Train the pieces of all sharers; they come out as the pool stores them."""

    def work(folder: Path) -> dict[str, Any]:
        histories = encode_histories(base, task, sharers, settings)
        tokens = sum(len(item.ids) for history in histories for item in history)
        space.say(f"pieces {task.name}: {len(sharers)} sharers, {tokens:,} tokens a pass")
        trained = train_pieces(
            base,
            histories,
            [user.id for user in sharers],
            settings.pieces,
            on_step=space.steps(f"pieces {task.name}"),
            folder=folder,
        )
        trained = TrainedPieces(rounded(trained.A, settings.dtype), rounded(trained.B, settings.dtype), trained.losses)
        tensors = {f"A.{p}": a for p, a in enumerate(trained.A)} | {f"B.{p}": b for p, b in enumerate(trained.B)}
        write_atomic(folder / "pieces.safetensors", save({name: t.contiguous() for name, t in tensors.items()}))
        for group in folder.glob("group-*.safetensors"):  # all of them are in the file of pieces now
            group.unlink()
        return {"losses": trained.losses}

    return space.stage(
        f"pieces-{task.name}", {"base": base_key, "choose": choose_key} | what_is_learned(base, settings), work
    )


def gates_stage(
    space: Workspace, base: BaseModel, task: Task, sharers: Sequence[User], pieces: Stage, settings: Settings
) -> Stage:
    """Train gates and collect prototypes."""
    pieces_key, pieces_folder, pieces_result = pieces

    def work(folder: Path) -> dict[str, Any]:
        trained = read_trained(pieces_folder, pieces_result["losses"])
        histories = encode_histories(base, task, sharers, settings)
        gates = train_gates(
            base,
            trained,
            histories,
            [user.id for user in sharers],
            settings.pieces,
            settings.gates,
            on_step=space.steps(f"gates {task.name}"),
        )
        prototypes = collect_prototypes(base, [own[:: max(1, len(own) // PROTOTYPE_ITEMS)] for own in histories])
        tensors = {f"gate.{p}": g for p, g in enumerate(gates)} | {
            f"prototype.{p}": c for p, c in enumerate(prototypes)
        }
        write_atomic(folder / "gates.safetensors", save(tensors))
        return {"steps": settings.gates.steps}

    return space.stage(f"gates-{task.name}", {"pieces": pieces_key, "gates": settings.gates}, work)


def distil_stage(
    space: Workspace,
    base: BaseModel,
    task: Task,
    others: Sequence[User],
    pieces: Stage,
    piece_settings: PieceSettings,
    settings: DistilSettings,
) -> Stage:
    """Distil gates from items of candidates who share nothing."""
    pieces_key, pieces_folder, pieces_result = pieces

    def work(folder: Path) -> dict[str, int]:
        trained = read_trained(pieces_folder, pieces_result["losses"])
        items = drawn_items(encode_histories(base, task, others), settings)
        gates = distil_gates(
            base,
            make_pieces(piece_settings.kind, trained.A, trained.B, piece_settings.alpha / piece_settings.rank),
            items,
            settings.ridge,
            on_progress=space.steps(f"distilled gates {task.name}"),
        )
        write_atomic(folder / "distilled.safetensors", save({f"distilled.{p}": g for p, g in enumerate(gates)}))
        return {"items": len(items)}

    inputs = {"pieces": pieces_key, "others": [user.id for user in others], "distil": settings}
    return space.stage(f"distil-{task.name}", inputs, work)


def encode_histories(
    base: BaseModel, task: Task, users: Sequence[User], settings: Settings | None = None
) -> list[list[Encoded]]:
    """Every user's items as encoded (prompt, target) pairs, cut to the newest that the settings allow."""
    return [
        newest(
            [encode_pair(base.tokenizer, *task.pair(item), base.max_tokens) for item in user.history],
            settings or Settings(),
        )
        for user in users
    ]


def newest(history: list[Encoded], settings: Settings) -> list[Encoded]:
    """The newest items within ``settings.newest`` and ``settings.sharer_tokens``, one at least, oldest first."""
    kept = history[-settings.newest :] if settings.newest else history
    left, room = len(kept), settings.sharer_tokens or sum(len(item.ids) for item in kept)
    while left and room - len(kept[left - 1].ids) >= 0:
        left -= 1
        room -= len(kept[left].ids)
    return kept[min(left, len(kept) - 1) :]


def what_is_learned(base: BaseModel, settings: Settings) -> dict[str, Any]:
    """What decides the pieces of given people beside the base model: their settings, places and form."""
    return {
        "pieces": settings.pieces,
        "items": (settings.newest, settings.sharer_tokens),
        "positions": [position.path for position in base.positions],
        "stored": settings.dtype,
    }


def read_trained(folder: Path, losses: list[list[float]]) -> TrainedPieces:
    """The trained pieces of a stage's folder, float32."""
    tensors = load_file(folder / "pieces.safetensors")
    count = len(tensors) // 2
    return TrainedPieces([tensors[f"A.{p}"] for p in range(count)], [tensors[f"B.{p}"] for p in range(count)], losses)


def write_task(
    target: Path,
    base: BaseModel,
    part: TaskPeople,
    embed: Stage,
    choose: dict[str, Any],
    pieces: Stage,
    gates: Stage,
    settings: Settings,
    distilled: Stage | None = None,
    by_profile: Sequence[int] = (),
) -> TaskPool:
    """Write one task's folder of a pool and say what the manifest holds of it."""
    task, sharers = part.task, [part.candidates[i] for i in choose["chosen"]]
    ids = [user.id for user in sharers]
    paths = [position.path for position in base.positions]
    mask = torch.from_numpy(share_mask(paths, ids, settings.share_ratio, settings.share_seed))
    trained = read_trained(pieces[1], pieces[2]["losses"])
    found = load_file(gates[1] / "gates.safetensors")
    count = len(base.positions)
    keys = [[found[f"{name}.{p}"] for p in range(count)] for name in ("gate", "prototype")]
    also = None
    if distilled is not None:
        read = load_file(distilled[1] / "distilled.safetensors")
        also = [read[f"distilled.{p}"] for p in range(count)]
    write_pieces(target / task.name / PIECES, trained.A, trained.B, keys[0], keys[1], mask, settings.dtype, also)
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
    embeddings = load_file(embed[1] / "embeddings.safetensors")["embeddings"][choose["chosen"]]
    write_atomic(target / task.name / EMBEDDINGS, save({"sharers": embeddings.half()}))
    activity = [len(user.history) for user in part.candidates]
    places = {"xy": choose["xy"], "clusters": choose["clusters"], "items": activity, "by_profile": list(by_profile)}
    write_json(target / task.name / MAP, places)
    return TaskPool(
        task=task.name,
        task_version=task.version,
        sharers=len(sharers),
        candidates=len(choose["clusters"]),
        selection="most active person of each history cluster",
        share_ratio=settings.share_ratio,
        share_seed=settings.share_seed,
        files={
            name: hash_file(target / task.name / name)
            for name in (PIECES, EMBEDDINGS, MAP, "sharers.json", "examples.json")
            if (target / task.name / name).exists()
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
    base = target.base
    tasks, hypernet = build_tasks(space, base, base_key, people, settings, target.folder)
    manifest = Manifest(
        base="base",
        base_hash=target.base_hash,
        rank=settings.pieces.rank,
        alpha=settings.pieces.alpha,
        kind=settings.pieces.kind,
        dtype=settings.dtype,
        positions=base.positions,
        tasks=tasks,
        hypernet=hypernet,
        created_with=versions(),
        **facts,
    )
    write_manifest(target.folder, manifest)
    target.put_in_place(final)
    space.say(f"pool written: {sum(f.stat().st_size for f in final.rglob('*') if f.is_file()) / 1e6:.1f} MB")
