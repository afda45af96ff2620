"""Writing and opening a pool on disk. Only safetensors and JSON are read; a hash that does not fit is a clear error.

Reading safetensors that a stranger may have made: their header first, and nothing of a size that it does not have.

A header says the name, form and shape of every tensor and cannot claim more bytes than the file holds; so what passes
``expect`` takes no more memory than the file, however large the shapes are that a manifest names.
"""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from perpcs.errors import PerpcsError
from perpcs.files import hash_bytes, hash_file, read_regular, write_atomic
from perpcs.model import opened
from perpcs.model.base import BaseModel, load_base, merge
from perpcs.model.basis import Pieces, make_pieces, watch_attention
from perpcs.pool.hypernet import Form, Hypernet, HypernetShape, hypernet_forms, read_hypernet
from perpcs.pool.manifest import (
    ALLOWED,
    Candidates,
    Example,
    Manifest,
    Sharer,
    TaskPool,
    contributed,
    only_sharers,
    read_candidates,
    read_examples,
    read_json,
    read_manifest,
    read_sharers,
)
from perpcs.schema import as_record, piece_shape
from perpcs.tasks import Task

# ---- tensors of strangers --------------------------------------------------------------------------------------------


_FETCH_AGAIN = "Fetch or build the pool again."
_SHOWN = 80


def header(path: Path, called: str) -> dict[str, Form]:
    """Form and shape of every tensor of a file; none of them is read.

    Raises:
        PerpcsError: when it is no safetensors file.
    """
    try:
        with safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - the handle is no dict
            return {name: (str(one.get_dtype()), tuple(one.get_shape())) for name, one in slices.items()}
    except (SafetensorError, OSError) as error:
        raise PerpcsError(f"{called} is damaged.", _FETCH_AGAIN) from error


def expect(path: Path, called: str, wanted: Mapping[str, Form]) -> None:
    """Make sure that a file holds these tensors and no others.

    Raises:
        PerpcsError: naming the first that is not as wanted.
    """
    found = header(path, called)
    for name, form in wanted.items():
        if found.get(name) != form:
            has = f"has {_said(found[name])} at {name}" if name in found else f"has no {name}"
            raise PerpcsError(f"{called} {has}, and {_said(form)} belongs there.", _FETCH_AGAIN)
    if strange := sorted(set(found) - set(wanted)):
        raise PerpcsError(f"{called} holds {strange[0][:_SHOWN]!r}, which no pool needs.", _FETCH_AGAIN)


def _said(form: Form) -> str:
    return f"{form[0]} {' x '.join(map(str, form[1]))}"[:_SHOWN]


def read_finite(path: Path, called: str) -> dict[str, Tensor]:
    """All tensors of a file whose header was found right.

    Raises:
        PerpcsError: when a number is not finite, or the file is damaged.
    """
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise PerpcsError(f"{called} is damaged.", _FETCH_AGAIN) from error
    for name, tensor in found.items():
        if not is_finite(tensor):
            raise PerpcsError(f"{called} holds a number that is not finite, in {name[:_SHOWN]}.", _FETCH_AGAIN)
    return found


def is_finite(tensor: Tensor) -> bool:
    """Whether every number is finite."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def numbers(forms: Mapping[str, Form]) -> int:
    """How many numbers there are in all tensors together."""
    return sum(math.prod(shape) for _, shape in forms.values())


# ---- the pool --------------------------------------------------------------------------------------------------------


PIECES, EMBEDDINGS, MAP = "pieces.safetensors", "embeddings.safetensors", "map.json"
HYPERNET = "hypernet.safetensors"
REFERENCE, DELTA = "base.json", "delta.safetensors"
"""In base/: which shipped base the pool stands on, and the low-rank update that adapts it to the tasks."""
_TENSORS = ("A", "B", "gate", "prototype")
"""What every piece has: a low-rank product or a vector, and what it is chosen by."""
_AGAIN = "Fetch or build the pool again."
_CONFIG_BYTES = 1_000_000


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
    """Gates of the kind that train.py distils, per position (S, n); None where the pool has none."""


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
    """Write one task's pieces; pieces that are not shared are written as zeros, so they never leave their owner."""
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
        path, called = self._check_file(task, EMBEDDINGS), f"{task}/{EMBEDDINGS}"
        form, shape = header(path, called).get("sharers", ("", ()))
        if form not in ("F16", "F32") or len(shape) != 2 or shape[0] != self.task(task).sharers:
            raise PerpcsError(f"{called} does not hold one embedding a sharer.", _AGAIN)
        expect(path, called, {"sharers": (form, shape)})
        return read_finite(path, called)["sharers"].float()

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
        shape = as_record(facts.get("shape"), HypernetShape, "What the manifest says of its hypernetwork", _AGAIN)
        expect(path, HYPERNET, hypernet_forms(self.manifest.positions, shape))
        return read_hypernet(read_finite(path, HYPERNET), self.manifest.positions, shape)

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
                raise PerpcsError(
                    "The pool's base model has been altered: its hash does not match the manifest.", _AGAIN
                )
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
            path = self._check_pieces(task)
            with safe_open(path, "np") as file:
                self._masks[task] = file.get_tensor("mask").astype(bool)
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
        path = self._check_pieces(task)
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
        except (SafetensorError, OSError) as error:
            raise PerpcsError(f"{task}/{PIECES} is damaged.", _AGAIN) from error
        if not all(is_finite(rows) for of_name in read.values() for rows in of_name):
            raise PerpcsError(f"{task}/{PIECES} holds a number that is not finite.", _AGAIN)
        pieces = make_pieces(self.manifest.kind, read["A"], read["B"], self.manifest.scale)
        return TaskPieces(pieces, read["gate"], read["prototype"], mask, read.get("distilled"))

    def _check_pieces(self, task: str) -> Path:
        """The path of a task's pieces, once its header is found to hold the shapes that the manifest says."""
        path, called = self._check_file(task, PIECES), f"{task}/{PIECES}"
        distilled = "distilled.0" in header(path, called)
        expect(path, called, piece_forms(self.manifest, self.task(task).sharers, distilled))
        return path

    def _check_file(self, task: str, name: str) -> Path:
        """The path of a task's file, once its hash is found to be the manifest's."""
        path = self.folder / task / name
        _check_hash(path, f"{task}/{name}", self.task(task).files.get(name))
        return path


def piece_forms(manifest: Manifest, sharers: int, distilled: bool) -> dict[str, Form]:
    """What a task's file of pieces holds, see ``write_pieces``."""
    kind = {"float32": "F32", "float16": "F16", "int8": "I8"}[manifest.dtype]
    forms: dict[str, Form] = {"mask": ("U8", (len(manifest.positions), sharers))}
    for p, position in enumerate(manifest.positions):
        vector = (sharers, position.n)
        A, B = piece_shape(manifest.kind, manifest.rank, position, manifest.keys)
        shapes: dict[str, tuple[int, ...]] = {"A": (sharers, *A), "gate": vector, "prototype": vector}
        whole = kind == "I8"
        shapes["B"] = (sharers, *(B[::-1] if whole else B))
        for name, shape in (shapes | ({"distilled": vector} if distilled else {})).items():
            forms[f"{name}.{p}"] = (kind, shape)
            if whole:
                forms[f"{name}.{p}.scale"] = ("F32", (*shape[:-1], 1))
    return forms


def _check_hash(path: Path, called: str, expected: str | None) -> None:
    if not path.is_file():
        raise PerpcsError(f"The pool has no {called}.", _AGAIN)
    if hash_file(path) != expected:
        raise PerpcsError(f"{called} has been altered: its hash does not match the manifest.", _AGAIN)


def load_stored_base(
    folder: Path, device: str = "auto", dtype: str = "auto", modules: Sequence[str] = (), first_layer: int = 0
) -> BaseModel:
    """The base model of a pool's ``base`` folder: a whole model, or the shipped one with the folder's update merged.

    Raises:
        PerpcsError: when it is damaged, or stands on another base than the shipped one.
    """
    if not (folder / REFERENCE).exists():
        refuse_larger(folder)
        return load_base(folder, device=device, dtype=dtype, modules=modules or None, first_layer=first_layer)
    reference = read_json(folder / REFERENCE)
    if reference != {"base": opened.NAME, "sha256": opened.SHA256}:
        raise PerpcsError("The pool stands on another base model than the shipped one.", _AGAIN)
    base = load_base(opened.NAME, device=device, dtype=dtype, modules=modules or None, first_layer=first_layer)
    if (folder / DELTA).exists():
        called = "The pool's adaptation of the base model"
        expect(folder / DELTA, called, _delta_forms(base, header(folder / DELTA, called)))
        merge(base, read_finite(folder / DELTA, called))
    return base


def _delta_forms(base: BaseModel, found: Mapping[str, Form]) -> dict[str, Form]:
    """What an update of the base model's layers holds, whose ranks are those of the file."""
    forms: dict[str, Form] = {}
    sizes = {position.path: (position.n, position.d) for position in base.positions}
    for path in {name.rpartition(".")[0] for name in found}:
        if path not in sizes:
            linear = dict(base.model.named_modules()).get(path)
            if not isinstance(linear, torch.nn.Linear):
                raise PerpcsError("The pool's adaptation names a layer that the base model does not have.", _AGAIN)
            sizes[path] = (linear.in_features, linear.out_features)
        (n, d), (form, shape) = sizes[path], found.get(f"{path}.A", ("", ()))
        rank = shape[0] if shape else 0
        forms |= {f"{path}.A": (form, (rank, n)), f"{path}.B": (form, (d, rank))}
    return forms


def refuse_larger(folder: Path) -> None:
    """Make sure that a stored model is no larger than its files: transformers makes what config.json says before it
    sees that the weights are not there, and follows an adapter to wherever its base is said to lie.

    Raises:
        PerpcsError: when it is, or is no plain model.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    stray = [file.name for file in folder.iterdir() if file.suffix not in ALLOWED or file.name.startswith("adapter")]
    if stray or not (folder / "config.json").is_file():
        raise PerpcsError(f"The pool's base model is no plain model: {(*stray, 'config.json is missing')[0]}.", _AGAIN)
    files = [header(file, f"The base model's {file.name}") for file in sorted(folder.glob("*.safetensors"))]
    stored, tensors = sum(map(numbers, files)), sum(map(len, files))
    try:
        read_regular(folder / "config.json", _CONFIG_BYTES)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        if not 0 < config.get_text_config().num_hidden_layers <= tensors:
            raise ValueError("more layers than tensors")
        with torch.device("meta"):
            asked = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    except Exception as error:  # a config may make transformers raise anything at all
        raise PerpcsError("The base model's config.json describes no model that can be read.", _AGAIN) from error
    if asked > 2 * stored:  # a head that shares the embedding's weights may be counted and not be stored
        raise PerpcsError("The base model's config.json describes a larger model than its files hold.", _AGAIN)


def base_hash(folder: Path) -> str:
    """sha256 over the names and hashes of a base model's files."""
    files = sorted(f for f in folder.iterdir() if f.suffix in (".safetensors", ".json", ".txt", ".model"))
    return hash_bytes("\n".join(f"{file.name} {hash_file(file)}" for file in files).encode())
