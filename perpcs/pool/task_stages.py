"""The stages of one task: what each is made of, what it does, and what it gives to those after it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save
from torch import Tensor

from perpcs.files import write_atomic
from perpcs.model.base import BaseModel
from perpcs.model.basis import make_pieces
from perpcs.model.text import Encoded, encode_pair
from perpcs.pool.distil import DistilSettings, distil_gates, drawn_items
from perpcs.pool.embed import MINILM, embed_users
from perpcs.pool.hypernet_train import HypernetSettings
from perpcs.pool.manifest import Stored
from perpcs.pool.select import choose_sharers
from perpcs.pool.stages import Stage, Workspace
from perpcs.pool.store import rounded
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
    dtype: Stored = "float16"
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


@dataclass(frozen=True)
class Choice:
    """Who shares. Candidates are counted from 0."""

    chosen: list[int]
    clusters: list[int]
    """Of every candidate."""
    xy: list[list[float]]
    """Place of every candidate on the map."""
    terms: list[list[str]]
    """Words that set each cluster apart."""


@dataclass(frozen=True)
class Losses:
    """How training went."""

    losses: list[list[float]]
    """Of each sharer, pass by pass."""


PROTOTYPE_ITEMS = 12
"""Items that a prototype is the mean of, about, spread over the history."""


def embed_stage(space: Workspace, part: TaskPeople, settings: Settings) -> Stage[Any]:
    """Embed candidates by their history."""

    def work(folder: Path) -> dict[str, int]:
        embeddings = embed_users([user.history for user in part.candidates], settings.encoder)
        write_atomic(folder / "embeddings.safetensors", save({"embeddings": embeddings}))
        return {"candidates": len(part.candidates), "width": embeddings.shape[1]}

    inputs = {"encoder": settings.encoder, "people": part.key, "version": part.task.version}
    return space.stage(f"embed-{part.task.name}", inputs, work)


def choose_stage(space: Workspace, part: TaskPeople, embed: Stage[Any], settings: Settings) -> Stage[Choice]:
    """Choose sharers, with cluster, terms and place on the map."""

    def work(folder: Path) -> Choice:
        embeddings = read_embeddings(embed).numpy()
        histories = [user.history for user in part.candidates]
        selection = choose_sharers(embeddings, histories, part.sharers, settings.select_seed)
        return Choice(
            chosen=selection.chosen,
            clusters=selection.clusters,
            xy=np.round(selection.xy, 4).tolist(),
            terms=[list(terms) for terms in selection.terms],
        )

    inputs = {"embed": embed.key, "count": part.sharers, "seed": settings.select_seed}
    return space.stage(f"choose-{part.task.name}", inputs, work, Choice)


def pieces_stage(
    space: Workspace,
    base: BaseModel,
    base_key: str,
    task: Task,
    sharers: Sequence[User],
    choose_key: str,
    settings: Settings,
) -> Stage[Losses]:
    """Train the pieces of all sharers; they come out as the pool stores them."""

    def work(folder: Path) -> Losses:
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
        return Losses(trained.losses)

    inputs = {"base": base_key, "choose": choose_key} | what_is_learned(base, settings)
    return space.stage(f"pieces-{task.name}", inputs, work, Losses)


def gates_stage(
    space: Workspace, base: BaseModel, task: Task, sharers: Sequence[User], pieces: Stage[Losses], settings: Settings
) -> Stage[Any]:
    """Train gates and collect prototypes."""

    def work(folder: Path) -> dict[str, Any]:
        trained = read_trained(pieces)
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

    return space.stage(f"gates-{task.name}", {"pieces": pieces.key, "gates": settings.gates}, work)


def distil_stage(
    space: Workspace,
    base: BaseModel,
    task: Task,
    others: Sequence[User],
    pieces: Stage[Losses],
    piece_settings: PieceSettings,
    settings: DistilSettings,
) -> Stage[Any]:
    """Distil gates from items of candidates who share nothing."""

    def work(folder: Path) -> dict[str, int]:
        trained = read_trained(pieces)
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

    inputs = {"pieces": pieces.key, "others": [user.id for user in others], "distil": settings}
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


# ---- what a stage wrote, for those after it --------------------------------------------------------------------------


def read_embeddings(embed: Stage[Any]) -> Tensor:
    """The candidates' embeddings, (candidates, width)."""
    return load_file(embed.folder / "embeddings.safetensors")["embeddings"]


def read_trained(pieces: Stage[Losses]) -> TrainedPieces:
    """The trained pieces, float32."""
    tensors = load_file(pieces.folder / "pieces.safetensors")
    return TrainedPieces(_by_position(tensors, "A"), _by_position(tensors, "B"), pieces.result.losses)


def read_keys(gates: Stage[Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Gates and prototypes, each per position (S, n)."""
    tensors = load_file(gates.folder / "gates.safetensors")
    return _by_position(tensors, "gate"), _by_position(tensors, "prototype")


def read_distilled(distilled: Stage[Any]) -> list[Tensor]:
    """Distilled gates, per position (S, n)."""
    return _by_position(load_file(distilled.folder / "distilled.safetensors"), "distilled")


def _by_position(tensors: Mapping[str, Tensor], name: str) -> list[Tensor]:
    return [tensors[f"{name}.{p}"] for p in range(sum(key.startswith(f"{name}.") for key in tensors))]
