"""The folder that a pool is written to: its base model first, everything else after."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from perpcs.files import write_atomic
from perpcs.model.base import BaseModel
from perpcs.pool.stages import Workspace
from perpcs.pool.store import DELTA, REFERENCE, base_hash, load_stored_base

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
    """Versions of what numbers depend on."""
    return {name: version(name) for name in _PACKAGES}


def copy_base(
    folder: Path, target: Path, dtype: str = "float16", modules: Sequence[str] = (), first_layer: int = 0
) -> tuple[BaseModel, str]:
    """Copy a base model's files into the pool and load it from there.

    A whole model's weights are rounded to ``dtype``. Pieces are trained on what was copied, so nothing of what the pool
    says of itself is about another model.
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
