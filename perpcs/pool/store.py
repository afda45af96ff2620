"""Writing and opening a pool on disk. Only safetensors and JSON are read; a hash that does not fit is a clear error."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from perpcs.errors import PerpcsError
from perpcs.files import hash_bytes, hash_file, write_atomic
from perpcs.model import opened
from perpcs.model.attention import watch_attention
from perpcs.model.base import BaseModel, load_base, merge
from perpcs.model.basis import Pieces, make_pieces
from perpcs.pool.candidates import Candidates, only_sharers, read_candidates
from perpcs.pool.hypernet import Hypernet, HypernetShape, read_hypernet
from perpcs.pool.manifest import (
    Example,
    Manifest,
    Sharer,
    TaskPool,
    contributed,
    read_examples,
    read_json,
    read_manifest,
    read_sharers,
)
from perpcs.positions import piece_shape
from perpcs.tasks import Task

PIECES, EMBEDDINGS, MAP = "pieces.safetensors", "embeddings.safetensors", "map.json"
HYPERNET = "hypernet.safetensors"
REFERENCE, DELTA = "base.json", "delta.safetensors"
"""In base/: which shipped base the pool stands on, and the low-rank update that adapts it to the tasks."""
_TENSORS = ("A", "B", "gate", "prototype")
"""What every piece has: a low-rank product or a vector, and what it is chosen by."""
_AGAIN = "Fetch or build the pool again."


@dataclass(frozen=True)
class TaskPieces:
    """One task's pieces in memory. P positions, S sharers."""

    pieces: Pieces
    gates: list[Tensor]
    """Per position (S, n)."""
    prototypes: list[Tensor]
    """Per position (S, n)."""
    mask: Tensor
    """Which pieces are shared, bool (P, S)."""
    distilled: list[Tensor] | None = None
    """Gates of the kind that distil.py makes, per position (S, n); None where the pool has none."""


def write_pieces(
    path: Path,
    A: list[Tensor],
    B: list[Tensor],
    gates: list[Tensor],
    prototypes: list[Tensor],
    mask: Tensor,
    dtype: str,
    distilled: list[Tensor] | None = None,
) -> None:
    """Write one task's pieces; pieces that are not shared are written as zeros, so they leave their owner nowhere."""
    tensors: dict[str, Tensor] = {"mask": mask.to(torch.uint8)}
    for p in range(len(A)):
        shared = mask[p]
        named = {"A": A[p], "B": B[p], "gate": gates[p], "prototype": prototypes[p]}
        for name, rows in (named | ({"distilled": distilled[p]} if distilled else {})).items():
            keep = shared.view(-1, *([1] * (rows.dim() - 1)))
            tensors |= packed(f"{name}.{p}", rows * keep, dtype)
    write_atomic(path, save(tensors))


def packed(name: str, rows: Tensor, dtype: str) -> dict[str, Tensor]:
    """A tensor under its name as it is stored; int8 has a scale for each of its last rows beside it.

    The vectors of a rank lie along the rows of A (S, r, n) and the columns of B (S, d, r), so B is stored transposed.
    """
    if dtype != "int8":
        return {name: rows.to(getattr(torch, dtype)).contiguous()}
    rows = rows.float()
    rows = rows.mT if name.startswith("B.") else rows
    scale = (rows.abs().amax(-1, keepdim=True) / 127).clamp(min=1e-12)
    whole = (rows / scale).round().clamp(-127, 127).to(torch.int8)
    return {name: whole.contiguous(), f"{name}.scale": scale.contiguous()}


def unpacked(read: Callable[[str], Tensor], there: Container[str], name: str) -> Tensor:
    """What ``packed`` stored under a name, in float32 where it was int8."""
    rows = read(name)
    if f"{name}.scale" not in there:
        return rows
    rows = rows.float() * read(f"{name}.scale").float()
    return rows.mT if name.startswith("B.") else rows


def rounded(rows: Sequence[Tensor], dtype: str) -> list[Tensor]:
    """A's (S, r, n) or B's (S, d, r) as they come back from a pool stored like that, float32."""
    found = []
    for one in rows:
        name = "A.0" if one.shape[1] <= one.shape[2] else "B.0"
        kept = packed(name, one, dtype)
        found.append(unpacked(kept.__getitem__, kept, name).float().contiguous())
    return found


class Pool:
    """An opened pool: manifest and small records at once, tensors when first asked for and then kept."""

    def __init__(self, folder: Path) -> None:
        """Open a pool folder.

        Raises:
            PerpcsError: when it is no pool.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise PerpcsError(
                f"There is no pool at {folder}.", "Give the folder of a pool, the one with manifest.json."
            )
        self.manifest: Manifest = read_manifest(self.folder)
        self._tasks: dict[tuple[str, str, torch.dtype], TaskPieces] = {}
        self._masks: dict[str, np.ndarray] = {}
        self._sharers: dict[str, tuple[Sharer, ...]] = {}
        self._examples: dict[str, tuple[Example, ...]] = {}
        self._embeddings: dict[str, Tensor | None] = {}
        self._candidates: dict[str, Candidates] = {}

    @cached_property
    def hash(self) -> str:
        """sha256 of manifest.json, which holds the hashes of all other files."""
        return hash_file(self.folder / "manifest.json")

    def task(self, name: str) -> TaskPool:
        return self.manifest.task(name)

    def labelled(self, task: Task) -> Task:
        """The task with the labels of the pool's people, among which an answer is chosen.

        A pool that does not tell them is older than LaMP's own labels of news and holds news posts.
        """
        return task.with_labels(self.task(task.name).labels or task.other_labels)

    def sharers(self, task: str) -> tuple[Sharer, ...]:
        """The sharers of a task, in the order of the pieces.

        Raises:
            PerpcsError: when the file is missing, altered or damaged.
        """
        if task not in self._sharers:
            self._check_file(task, "sharers.json")
            found = read_sharers(self.folder / task)
            if len(found) != self.task(task).sharers:
                raise PerpcsError(f"{task}/sharers.json does not name the sharers of the manifest.", _AGAIN)
            self._sharers[task] = found
        return self._sharers[task]

    def examples(self, task: str) -> tuple[Example, ...]:
        """The example people of a task; none where the pool has no such file.

        Raises:
            PerpcsError: when the file is altered or damaged.
        """
        if task not in self._examples:
            if "examples.json" in self.task(task).files:
                self._check_file(task, "examples.json")
            self._examples[task] = read_examples(self.folder / task)
        return self._examples[task]

    def candidates(self, task: str) -> Candidates:
        """The map of a task's candidates; of the sharers alone where the pool stores no map.

        Raises:
            PerpcsError: when the file is altered or damaged.
        """
        if task not in self._candidates:
            sharers, there = self.sharers(task), MAP in self.task(task).files
            guests = contributed(self.manifest).get(task, ())
            self._candidates[task] = (
                read_candidates(self._check_file(task, MAP), sharers, guests) if there else only_sharers(sharers)
            )
        return self._candidates[task]

    def embeddings(self, task: str) -> Tensor | None:
        """The sharers' embeddings, float32 (S, width); None where the pool stores none.

        Raises:
            PerpcsError: when the file is altered or damaged.
        """
        if task not in self._embeddings:
            self._embeddings[task] = self._read_embeddings(task) if EMBEDDINGS in self.task(task).files else None
        return self._embeddings[task]

    def _read_embeddings(self, task: str) -> Tensor:
        path = self._check_file(task, EMBEDDINGS)
        try:
            found: Tensor = load_file(path)["sharers"].float()
        except (SafetensorError, OSError, KeyError) as error:
            raise PerpcsError(f"{task}/{EMBEDDINGS} is damaged.", _AGAIN) from error
        if found.dim() != 2 or len(found) != self.task(task).sharers or not torch.isfinite(found).all():
            raise PerpcsError(f"{task}/{EMBEDDINGS} does not hold one embedding a sharer.", _AGAIN)
        return found

    @cached_property
    def hypernet(self) -> Hypernet | None:
        """The network of Profile-to-PEFT, float32 on the CPU, where a call of it takes milliseconds; None where the
        pool has none.

        Raises:
            PerpcsError: when the file is missing, altered, damaged, or not the network that the manifest describes.
        """
        facts, path = self.manifest.hypernet, self.folder / HYPERNET
        if not facts:
            return None
        _check_hash(path, HYPERNET, facts.get("sha256"))
        try:
            return read_hypernet(path.read_bytes(), self.manifest.positions, HypernetShape(**facts["shape"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise PerpcsError(f"{HYPERNET} is not the network that the manifest describes.", _AGAIN) from error

    def base(self, device: str = "auto", dtype: str = "auto") -> BaseModel:
        """Load the pool's base model and check that its positions are the pool's.

        Raises:
            PerpcsError: when it is missing, altered, or of another shape than the manifest says.
        """
        inside = self.folder / self.manifest.base
        paths = [position.path for position in self.manifest.positions]
        if self.manifest.base_hash:
            if not inside.is_dir():
                raise PerpcsError(f"The pool's base model is missing: there is no {inside}.", _AGAIN)
            if base_hash(inside) != self.manifest.base_hash:
                raise PerpcsError("The pool's base model has been altered: its hash does not fit the manifest.", _AGAIN)
            base = load_stored_base(inside, device, dtype, paths)
        else:
            base = load_base(self.manifest.base, device=device, dtype=dtype, modules=paths)
        if base.positions != self.manifest.positions:
            raise PerpcsError("The base model's layers are not those the pool was trained on.", _AGAIN)
        if self.manifest.kind == "prefix":
            watch_attention(base.model)
        return base

    def mask(self, task: str) -> np.ndarray:
        """Which pieces of a task each sharer shares, bool (P, S); read without the pieces.

        Raises:
            PerpcsError: when the file is missing, altered or damaged.
        """
        if task not in self._masks:
            try:
                with safe_open(self._check_file(task, PIECES), "np") as file:
                    self._masks[task] = file.get_tensor("mask").astype(bool)
            except (SafetensorError, OSError) as error:
                raise PerpcsError(f"{task}/{PIECES} is damaged.", _AGAIN) from error
        return self._masks[task]

    def pieces(self, task: str, device: torch.device | str, dtype: torch.dtype) -> TaskPieces:
        """One task's pieces on a device, read once.

        Raises:
            PerpcsError: when the file is missing, altered or of the wrong shape.
        """
        key = (task, str(device), dtype)
        if key not in self._tasks:
            self._tasks[key] = self._read_pieces(task, device, dtype)
        return self._tasks[key]

    def _read_pieces(self, task: str, device: torch.device | str, dtype: torch.dtype) -> TaskPieces:
        path = self._check_file(task, PIECES)
        count = len(self.manifest.positions)
        try:
            with safe_open(path, "pt") as file:
                there = set(file.keys())
                names = [*_TENSORS, *(["distilled"] if "distilled.0" in there else [])]
                read = {
                    name: [unpacked(file.get_tensor, there, f"{name}.{p}").to(device, dtype) for p in range(count)]
                    for name in names
                }
                mask = file.get_tensor("mask").bool().to(device)
        except (SafetensorError, OSError, KeyError) as error:
            raise PerpcsError(f"{task}/{PIECES} is damaged.", _AGAIN) from error
        s, r = self.task(task).sharers, self.manifest.rank
        for p, position in enumerate(self.manifest.positions):
            found = [tuple(read[name][p].shape) for name in names]
            vectors = [(s, position.n)] * (len(names) - 2)
            A, B = piece_shape(self.manifest.kind, r, position, self.manifest.keys)
            if found != [(s, *A), (s, *B), *vectors]:
                raise PerpcsError(f"{task}/{PIECES} has pieces of the wrong shape at {position.label}.", _AGAIN)
        if tuple(mask.shape) != (count, s):
            raise PerpcsError(f"{task}/{PIECES} has a share mask of the wrong shape.", _AGAIN)
        pieces = make_pieces(self.manifest.kind, read["A"], read["B"], self.manifest.scale)
        return TaskPieces(pieces, read["gate"], read["prototype"], mask, read.get("distilled"))

    def _check_file(self, task: str, name: str) -> Path:
        """The path of a task's file, once its hash is found to be the manifest's."""
        path = self.folder / task / name
        _check_hash(path, f"{task}/{name}", self.task(task).files.get(name))
        return path


def _check_hash(path: Path, called: str, expected: str | None) -> None:
    if not path.is_file():
        raise PerpcsError(f"The pool has no {called}.", _AGAIN)
    if hash_file(path) != expected:
        raise PerpcsError(f"{called} has been altered: its hash does not fit the manifest.", _AGAIN)


def load_stored_base(
    folder: Path, device: str = "auto", dtype: str = "auto", modules: Sequence[str] = (), first_layer: int = 0
) -> BaseModel:
    """The base model of a pool's ``base`` folder: a whole model, or the shipped one with the folder's update merged.

    Raises:
        PerpcsError: when it is damaged, or stands on another base than the shipped one.
    """
    if not (folder / REFERENCE).exists():
        return load_base(folder, device=device, dtype=dtype, modules=modules or None, first_layer=first_layer)
    reference = read_json(folder / REFERENCE)
    if reference != {"base": opened.NAME, "sha256": opened.SHA256}:
        raise PerpcsError("The pool stands on another base model than the shipped one.", _AGAIN)
    base = load_base(opened.NAME, device=device, dtype=dtype, modules=modules or None, first_layer=first_layer)
    if (folder / DELTA).exists():
        try:
            merge(base, load_file(folder / DELTA))
        except (SafetensorError, OSError, KeyError, AttributeError, RuntimeError) as error:
            raise PerpcsError("The pool's adaptation of the base model is damaged.", _AGAIN) from error
    return base


def base_hash(folder: Path) -> str:
    """sha256 over the names and hashes of a base model's files."""
    files = sorted(f for f in folder.iterdir() if f.suffix in (".safetensors", ".json", ".txt", ".model"))
    return hash_bytes("\n".join(f"{file.name} {hash_file(file)}" for file in files).encode())
