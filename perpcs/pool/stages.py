"""The stages of a build: what makes any stage resumable, the stages of one task (what each is made of, what it does,
what it gives to those after it), and those that look at profiles.

Each artefact lies in a folder whose name holds a hash of everything it was made from.

A stage is done when its ``done.json`` is there, and that file is written last. A killed build is started again with
the same command and goes on after the last stage that was done; changed settings change the key, so nothing stale is
ever used.

What a stage makes depends on its inputs and not on what ran before it in the process, or a resumed build would end with
other bytes: every stage starts with the same number of threads and the same global random states.
"""

import contextlib
import json
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, overload

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save
from torch import Tensor

from perpcs.errors import PerpcsError
from perpcs.files import DISK_ERRORS, cannot_write, hash_bytes, sweep, write_atomic
from perpcs.model.base import BaseModel
from perpcs.model.basis import make_pieces
from perpcs.model.likelihood import Encoded, encode_pair
from perpcs.pool.hypernet import (
    CHECKPOINT,
    HypernetSettings,
    Learned,
    Split,
    hypernet_bytes,
    learned_people,
    split_people,
    train_hypernet,
)
from perpcs.pool.manifest import Stored
from perpcs.pool.select import (
    MINILM,
    VERSION,
    choose_sharers,
    embed_profiles,
    embed_users,
    most_active,
    point_histories,
)
from perpcs.pool.store import HYPERNET, rounded
from perpcs.pool.train import (
    DistilSettings,
    GateSettings,
    PieceSettings,
    TrainedPieces,
    collect_prototypes,
    distil_gates,
    drawn_items,
    train_gates,
    train_pieces,
)
from perpcs.tasks import Task, User

# ---- any stage -------------------------------------------------------------------------------------------------------


Say = Callable[[str], None]
T = TypeVar("T")


class Stage(NamedTuple, Generic[T]):
    """A stage that is done."""

    key: str
    """Its name and a hash over its inputs."""
    folder: Path
    """Where its files lie."""
    result: T
    """What its work returned, read back from JSON."""


class Workspace:
    """The working folder of one build."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder = folder
        self.say = say
        self._threads = torch.get_num_threads()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other builds out of the folder: two would write the same files.

        Raises:
            PerpcsError: when another one is at work in it, or it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise PerpcsError(
                f"Another build is at work in {self.folder}.", "Wait for it, or name another folder with --work."
            ) from error

    @contextlib.contextmanager
    def _alike(self, key: str) -> Iterator[None]:
        """Run a stage as the first of a process would run. UMAP starts numba's threads, and torch then splits its sums
        over as many, which gives other last bits.
        """
        seed = int(hash_bytes(key.encode())[:8], 16)
        torch.set_num_threads(self._threads)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(self._threads)

    def key(self, name: str, inputs: Any) -> str:
        """Name of a stage's folder: its name and twelve hex digits over its inputs."""
        return f"{name}-{hash_bytes(json.dumps(_plain(inputs), sort_keys=True).encode())[:12]}"

    @overload
    def stage(self, name: str, inputs: Any, work: Callable[[Path], T], kind: type[T]) -> Stage[T]: ...

    @overload
    def stage(self, name: str, inputs: Any, work: Callable[[Path], Any], kind: None = None) -> Stage[Any]: ...

    def stage(self, name: str, inputs: Any, work: Callable[[Path], Any], kind: type | None = None) -> Stage[Any]:
        """Run ``work(folder)`` unless it is done.

        Args:
            inputs: everything that the outcome depends on.
            kind: the dataclass that ``work`` returns; None where it returns what JSON can hold.
        """
        key = self.key(name, inputs)
        folder = self.folder / key
        done = folder / "done.json"
        if done.exists():
            self.say(f"{name}: done before")
            return Stage(key, folder, _result(done, kind))
        began = time.monotonic()
        self.say(f"{name}: started")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder, young=0)
            with self._alike(key):
                result = work(folder)
        except OSError as error:  # a file that another program writes, such as transformers
            if error.errno not in DISK_ERRORS:
                raise
            raise cannot_write(folder, error) from error
        seconds = time.monotonic() - began
        note = {"inputs": _plain(inputs), "seconds": round(seconds, 1), "result": _plain(result)}
        write_atomic(done, (json.dumps(note, indent=1) + "\n").encode())
        self.say(f"{name}: done in {seconds:.0f} s")
        return Stage(key, folder, _result(done, kind))

    def time_left(self) -> Callable[[int, int], float]:
        """An estimate of the seconds left, from how fast steps went since the first that is told of."""
        began: list[tuple[float, int]] = []

        def left(step: int, of: int) -> float:
            began.append((time.monotonic(), step)) if not began else None
            since, first = began[0]
            return (time.monotonic() - since) / max(step - first, 1) * (of - step)

        return left

    def steps(self, doing: str) -> Callable[[int, int], None]:
        """One line of progress with the time left, at most every few seconds."""
        tell, left = throttled(self.say), self.time_left()
        return lambda step, of: tell(lambda: f"{doing}: step {step} of {of}, {clock(left(step, of))} left")

    def forget(self) -> None:
        """Delete every artefact."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _result(done: Path, kind: type | None) -> Any:
    found = json.loads(done.read_bytes())["result"]
    return found if kind is None else kind(**found)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def throttled(say: Say, seconds: float = 5.0) -> Callable[[Callable[[], str]], None]:
    """A progress line at most every so many seconds; the text is made only when it is said."""
    last = [0.0]

    def tell(text: Callable[[], str]) -> None:
        now = time.monotonic()
        if now - last[0] >= seconds:
            last[0] = now
            say(text())

    return tell


def clock(seconds: float) -> str:
    """Seconds as a person reads them: ``42 s``, ``7 min``, ``1 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


# ---- of one task -----------------------------------------------------------------------------------------------------


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


# ---- profiles and their network --------------------------------------------------------------------------------------


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
