"""Becoming a sharer: one person's pieces, trained as the pool's were, added to a copy of the pool, taken out again.

    items --train_person--> Trained --leaving--> Leaving --add--> a copy of the pool --remove--> the copy without them
                            in memory            what leaves: tensors and one record of numbers, never text

A contribution to a fresh copy that is taken out again leaves the pieces' files as they were, byte by byte, because rows
are put side by side and never computed with.

Copies of a pool that visitors may change: written whole or not at all, one change after the other.

    root/NAME/             the copy, valid at every moment
    root/.NAME.lock        held while it is changed, by any process
    root/.NAME.new-…       the next state, until it is found valid and takes the copy's place (perpcs/files.py)
    root/.NAME.old         the state before, between two renames

A pool that is no copy is never written to: what may be changed says so in its manifest (``users.contributed``). Files
that do not change are linked, not copied, where the disk allows it; they are only ever replaced, never written into.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import load_file, save
from torch import Tensor

from perpcs.errors import PerpcsError
from perpcs.files import (
    cannot_write,
    hash_bytes,
    hash_file,
    json_bytes,
    new_beside,
    put_in_place,
    recover,
    regular_files,
    write_atomic,
    write_json,
)
from perpcs.model.base import BaseModel
from perpcs.model.basis import Pieces, make_pieces
from perpcs.model.likelihood import encode_pair
from perpcs.pool.manifest import ALLOWED, Manifest, Sharer, contributed, mapping, read_json, read_manifest
from perpcs.pool.select import embed_users, share_mask
from perpcs.pool.store import EMBEDDINGS, PIECES, Pool, packed, unpacked
from perpcs.pool.train import (
    TrainedPieces,
    collect_prototypes,
    gates_of_another,
    settings_of,
    train_gates,
    train_pieces,
)
from perpcs.pool.validate import validate
from perpcs.schema import Position
from perpcs.tasks import Item, Task

# ---- copies of a pool ------------------------------------------------------------------------------------------------


Finish = Callable[[Path, Path], None]
"""(the pool that was copied, the next state): writes what only a later layer knows, before the copy is checked."""


def new_name(pool: str) -> str:
    """A folder's name for a copy of this pool: letters, digits and hyphens, and six random digits."""
    plain = re.sub(r"[^a-z0-9]+", "-", pool.lower()).strip("-")[:40]
    return f"{re.sub(r'-[0-9a-f]{6}$', '', plain) or 'pool'}-{secrets.token_hex(3)}"


def is_copy(folder: Path) -> bool:
    """Whether a folder holds a copy that may be changed."""
    try:
        return isinstance(read_manifest(folder).users.get("contributed"), dict)
    except PerpcsError:
        return False


def changed(source: Path, target: Path, work: Callable[[Path], None], finish: Finish | None = None) -> Pool:
    """Change the copy ``target``, or make it from ``source`` and change that; it is valid before anybody sees it.

    Args:
        work: writes the change into the folder it is given, manifest last.
        finish: called after it with the pool that was copied and the folder.

    Raises:
        PerpcsError: when target is no copy, the outcome is no valid pool, or the disk says no. The target is then as it
            was.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            recover(target)
            _sweep(target)
            if target.exists() and not is_copy(target):
                raise PerpcsError(
                    f"{target} exists but is not a copy of a pool.", "Name a folder that does not exist yet."
                )
            origin = target if target.exists() else Path(source)
            staging = new_beside(target)
            try:
                _copy(origin, staging, target.name)
                work(staging)
                if finish:
                    finish(origin, staging)
                for _ in validate(staging):
                    pass
                put_in_place(staging, target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise cannot_write(f"the copy {target.name}", error) from error
    return Pool(target)


def recover_all(root: Path) -> None:
    """Recover every copy in a folder; copies that are being changed are skipped."""
    for old in root.glob(".*.old"):
        target = root / old.name.removeprefix(".").removesuffix(".old")
        with contextlib.suppress(OSError), _locked(target, wait=False):
            recover(target)


def _copy(origin: Path, staging: Path, name: str) -> None:
    """The pool's files in a new folder, under a new name; other files are left out."""
    manifest = read_json(origin / "manifest.json")
    for file in regular_files(origin):
        inside = file.relative_to(origin)
        hidden = any(part.startswith(".") for part in inside.parts)
        if file.suffix in ALLOWED and not hidden:
            (staging / inside).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, staging / inside)
            except OSError:  # another disk, or one without links
                shutil.copyfile(file, staging / inside)
    if not isinstance(mapping(manifest.get("users")).get("contributed"), dict):
        manifest["card"] = {**mapping(manifest.get("card")), "copy_of": str(manifest["name"])}
        manifest["users"] = {**mapping(manifest.get("users")), "contributed": {}}
        manifest["title"] = f"{manifest['title']}, a copy"
    manifest["name"] = name
    write_json(staging / "manifest.json", manifest)


@contextlib.contextmanager
def _locked(target: Path, wait: bool = True) -> Iterator[None]:
    """Hold the copy's lock; OSError where it is taken and nobody wants to wait. A killed process lets go of it."""
    with FileLock(target.with_name(f".{target.name}.lock"), timeout=-1 if wait else 0):
        yield


def _sweep(held: Path) -> None:
    """Delete what killed changes left behind beside a copy whose lock is held: next states that nobody is writing."""
    for left in held.parent.glob(".*.new-*"):
        target = held.with_name(left.name.removeprefix(".").rpartition(".new-")[0])
        with contextlib.suppress(OSError), contextlib.nullcontext() if target == held else _locked(target, wait=False):
            shutil.rmtree(left, ignore_errors=True)


# ---- contributions ---------------------------------------------------------------------------------------------------


MIN_ITEMS = 10
"""With fewer items, pieces memorise the items instead of learning a style; the paper's released code asks for more than
10 of a sharer."""
STEPS = ("pieces", "gates", "prototypes", "place")
_NEAREST = 3  # sharers that a newcomer's place on the map is the mean of
GUEST = "guest-"
"""Prefix of the ids of contributed sharers."""

Say = Callable[[str, int, int], None]
"""Called with the name of a step, how much of it is done, and the total. An exception raised in it ends the training.
"""


# ---- training ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """One person's pieces, all of them, before anything is shared. In memory only."""

    task: str
    id: str
    items: int
    pieces: TrainedPieces
    """Per position A (1, r, n), B (1, d, r)."""
    gates: list[Tensor]
    """Per position (1, n)."""
    prototypes: list[Tensor]
    """Per position (1, n)."""
    embedding: Tensor | None
    """Float16 (width), where the pool keeps embeddings."""
    base_hash: str
    """Hash of the base model that they were trained on."""


def new_code() -> str:
    """A secret that lets its holder take a contribution back; the id that the pool shows follows from it."""
    return secrets.token_hex(8)


def id_of(code: str) -> str:
    """The sharer's id that belongs to a revocation code; an id stays as it is."""
    code = code.strip()
    return code if code.startswith(GUEST) else GUEST + hashlib.sha256(f"perpcs/{code}".encode()).hexdigest()[:8]


def check_items(items: Sequence[Item]) -> None:
    """Refuse a history that is too short to share.

    Raises:
        PerpcsError: naming how many items are missing.
    """
    if len(items) < MIN_ITEMS:
        raise PerpcsError(
            f"Sharing needs at least {MIN_ITEMS} items; you have {len(items)}.", f"Add {MIN_ITEMS - len(items)}."
        )


def train_person(base: BaseModel, pool: Pool, task: Task, items: Sequence[Item], id: str, say: Say) -> Trained:
    """Train one person's pieces and gates on the pool's base model, with the pool's own settings.

    Raises:
        PerpcsError: when there are too few items, or the pool has no sharers for the task.
    """
    check_items(items)
    piece_settings, gate_settings = settings_of(pool.manifest, task.name)
    history = [[encode_pair(base.tokenizer, *task.pair(item), base.max_tokens) for item in items]]
    say("pieces", 0, 1)
    pieces = train_pieces(base, history, [id], piece_settings, on_step=lambda done, of: say("pieces", done, of))
    gates = train_gates(
        base,
        pieces,
        history,
        [id],
        piece_settings,
        gate_settings,
        on_step=lambda done, of: say("gates", done, of),
    )
    say("prototypes", 0, 1)
    prototypes = collect_prototypes(base, history)
    say("place", 0, 1)
    encoder, embedding = pool.task(task.name).encoder, None
    if pool.embeddings(task.name) is not None:
        embedding = embed_users([items], encoder)[0].half() if encoder else embed_users([items])[0].half()
    return Trained(task.name, id, len(items), pieces, gates, prototypes, embedding, pool.manifest.base_hash)


# ---- what leaves ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One tensor of what leaves."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    sha256: str

    @property
    def position(self) -> int | None:
        """Number of the position that it belongs to; None of the embedding."""
        _, *number = self.name.split(".")
        return int(number[0]) if number else None


@dataclass(frozen=True)
class Leaving:
    """Everything a person shares: the tensors of their pieces, and one record of numbers."""

    task: str
    sharer: Sharer
    tensors: dict[str, Tensor]
    """``A.p`` (r, n), ``B.p`` (d, r), ``gate.p`` and ``prototype.p`` (n) of each shared position p, as the pool packs
    them (store.py); ``embedding``."""
    base_hash: str

    def data(self) -> bytes:
        """The tensors as one safetensors file."""
        return save(self.tensors)

    def record(self) -> bytes:
        """The sharer's record, as it will stand in sharers.json."""
        return json_bytes(asdict(self.sharer))

    def parts(self) -> list[Part]:
        """What each tensor is, in the order of the positions."""
        return [
            Part(name, tuple(t.shape), str(t.dtype).removeprefix("torch."), t.numel() * t.element_size(), _sha(t))
            for name, t in self.tensors.items()
        ]


def _sha(tensor: Tensor) -> str:
    return hash_bytes(tensor.contiguous().numpy().tobytes())


def chosen(
    positions: Sequence[Position],
    id: str,
    *,
    ratio: float = 1.0,
    seed: int = 0,
    layers: Collection[int] | None = None,
    modules: Collection[str] | None = None,
) -> np.ndarray:
    """Which pieces are shared, bool (P,): of the wanted layers and modules (None = all) the share that a seed draws.

    Raises:
        PerpcsError: when the ratio is not within 0..1, or nothing is chosen.
    """
    wanted = [
        p
        for p, position in enumerate(positions)
        if (layers is None or position.layer in layers) and (modules is None or position.module in modules)
    ]
    if not wanted:
        raise PerpcsError("No piece is chosen.", "Choose at least one layer and one module.")
    drawn = share_mask([positions[p].path for p in wanted], [id], ratio, seed)[:, 0]
    mask = np.zeros(len(positions), dtype=bool)
    mask[np.array(wanted)[drawn]] = True
    return mask


def leaving(trained: Trained, pool: Pool, mask: np.ndarray) -> Leaving:
    """What leaves if these pieces are shared, in the precision that the pool stores.

    Raises:
        PerpcsError: when no piece is shared, or the training ended in numbers that are not finite.
    """
    if not mask.any():
        raise PerpcsError("No piece is chosen.", "Choose at least one layer and one module.")
    named = {"A": trained.pieces.A, "B": trained.pieces.B, "gate": trained.gates, "prototype": trained.prototypes}
    tensors: dict[str, Tensor] = {}
    for p in np.flatnonzero(mask).tolist():
        for name, rows in named.items():
            if rows[p].numel():  # an (IA)3 piece has no A
                tensors |= packed(f"{name}.{p}", rows[p][0].detach().cpu(), pool.manifest.dtype)
    if trained.embedding is not None:
        tensors["embedding"] = trained.embedding
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise PerpcsError(
            "The training diverged: some numbers are not finite.", "Try again with more or different items."
        )
    cluster, terms, xy = _place(trained, pool)
    loss = tuple(trained.pieces.losses[0])
    sharer = Sharer(id=trained.id, items=trained.items, cluster=cluster, terms=terms, xy=xy, loss=loss)
    return Leaving(trained.task, sharer, tensors, trained.base_hash)


def _place(trained: Trained, pool: Pool) -> tuple[int, tuple[str, ...], tuple[float, float]]:
    """Cluster, its words and a place on the map: the nearest sharer's, and the mean place of the three nearest.

    No word of the person is among them: the words are those that the pool already shows of that sharer's cluster.
    """
    sharers, rows = pool.sharers(trained.task), pool.embeddings(trained.task)
    if trained.embedding is None or rows is None:
        return -1, (), (0.0, 0.0)
    alike = torch.cosine_similarity(rows, trained.embedding.float()[None], dim=1)
    near = alike.argsort(descending=True)[:_NEAREST].tolist()
    x, y = np.mean([sharers[s].xy for s in near], axis=0).round(4).tolist()
    return sharers[near[0]].cluster, sharers[near[0]].terms, (x, y)


# ---- into a copy and out of it -------------------------------------------------------------------------------------


def add(source: Path, given: Leaving, target: Path, finish: Finish | None = None) -> Pool:
    """Add a sharer to the copy ``target``; where there is none yet, to a new copy of the pool ``source``.

    Args:
        finish: see ``changed``.

    Raises:
        PerpcsError: when target is a pool that is no copy, when the pieces do not fit it, or it cannot be written.
    """

    def work(staging: Path) -> None:
        pool = Pool(staging)
        pool.mask(given.task)  # the shapes are those of the manifest, before anything is made beside them
        part, raw = pool.task(given.task), _Raw(staging, given.task)
        if given.base_hash != pool.manifest.base_hash:
            raise PerpcsError("These pieces were trained on another base model.", "Train them again on this pool.")
        if given.sharer.id in {row["id"] for row in raw.sharers}:
            raise PerpcsError(f"The pool already has a sharer {given.sharer.id}.", "Take it back first.")
        count = len(pool.manifest.positions)
        shared = torch.tensor([f"B.{p}" in given.tensors for p in range(count)])
        for name in [name for name in raw.pieces if name != "mask" and not name.startswith("distilled.")]:
            rows = raw.pieces[name]
            new = given.tensors.get(name, torch.zeros(rows.shape[1:], dtype=rows.dtype))
            if new.shape != rows.shape[1:] or new.dtype != rows.dtype:
                raise PerpcsError("These pieces have another shape than the pool's.", "Train them again on this pool.")
            raw.pieces[name] = torch.cat([rows, new[None]])
        if "distilled.0" in raw.pieces:
            known = [raw.unpacked(f"distilled.{p}") for p in range(count)]
            before, newcomer = (raw.as_pieces(pool.manifest, of) for of in (slice(-1), slice(-1, None)))
            for p, row in enumerate(gates_of_another(before, known, newcomer)):
                for name, new in packed(f"distilled.{p}", row * shared[p], pool.manifest.dtype).items():
                    raw.pieces[name] = torch.cat([raw.pieces[name], new])
        raw.pieces["mask"] = torch.cat([raw.pieces["mask"], shared.to(torch.uint8)[:, None]], dim=1)
        if raw.embeddings is not None:
            if "embedding" not in given.tensors:
                raise PerpcsError("The pool keeps embeddings and these pieces have none.", "Train them again here.")
            raw.embeddings = torch.cat([raw.embeddings, given.tensors["embedding"].to(raw.embeddings.dtype)[None]])
        raw.sharers.append(asdict(given.sharer))
        raw.write(part.sharers + 1, lambda ids: [*ids, given.sharer.id])

    return changed(source, target, work, finish)


def remove(target: Path, id: str, finish: Finish | None = None) -> Pool:
    """Take a contributed sharer's pieces, embedding and record out of a copy. ``id`` may be their revocation code.

    Raises:
        PerpcsError: when nobody of that id contributed to this pool, or it cannot be written.
    """
    wanted = id_of(id)

    def work(staging: Path) -> None:
        pool = Pool(staging)
        task = next((task for task, ids in contributed(pool.manifest).items() if wanted in ids), None)
        if task is None:
            raise PerpcsError(f"Nobody with the id {wanted} contributed to this pool.", "Check the code and the pool.")
        pool.mask(task)
        part, raw = pool.task(task), _Raw(staging, task)
        place = next((at for at, sharer in enumerate(pool.sharers(task)) if sharer.id == wanted), None)
        if place is None:
            raise PerpcsError(f"{wanted} is no longer among the sharers of {task}.", "Check the code and the pool.")
        keep = torch.tensor([s for s in range(part.sharers) if s != place])
        raw.pieces = {name: rows[:, keep] if name == "mask" else rows[keep] for name, rows in raw.pieces.items()}
        raw.embeddings = None if raw.embeddings is None else raw.embeddings[keep]
        del raw.sharers[place]
        raw.write(part.sharers - 1, lambda ids: [one for one in ids if one != wanted])

    return changed(target, target, work, finish)


class _Raw:
    """One task's files of a pool as they are stored: nothing is converted, so that what stays keeps its bytes."""

    def __init__(self, folder: Path, task: str) -> None:
        self.folder, self.task = folder, task
        self.pieces = load_file(folder / task / PIECES)
        stored = folder / task / EMBEDDINGS
        self.embeddings = load_file(stored)["sharers"] if stored.exists() else None
        self.sharers: list[dict[str, Any]] = read_json(folder / task / "sharers.json")

    def unpacked(self, name: str) -> Tensor:
        """A tensor as numbers that can be computed with."""
        return unpacked(self.pieces.__getitem__, self.pieces, name)

    def as_pieces(self, manifest: Manifest, of: slice) -> Pieces:
        """The pieces of some sharers."""
        A, B = ([self.unpacked(f"{name}.{p}")[of] for p in range(len(manifest.positions))] for name in "AB")
        return make_pieces(manifest.kind, A, B, manifest.scale)

    def write(self, sharers: int, ids: Callable[[list[str]], list[str]]) -> None:
        """Write the files, and the manifest with their hashes and who contributed."""
        place = self.folder / self.task
        write_atomic(place / PIECES, save({name: rows.contiguous() for name, rows in self.pieces.items()}))
        if self.embeddings is not None:
            write_atomic(place / EMBEDDINGS, save({"sharers": self.embeddings.contiguous()}))
        write_json(place / "sharers.json", self.sharers)
        manifest = read_json(self.folder / "manifest.json")
        part = next(part for part in manifest["tasks"] if part["task"] == self.task)
        part["sharers"] = sharers
        part["files"] = {name: hash_file(place / name) for name in part["files"]}
        given = manifest["users"].setdefault("contributed", {})
        given[self.task] = ids(list(given.get(self.task, ())))
        write_json(self.folder / "manifest.json", manifest)
