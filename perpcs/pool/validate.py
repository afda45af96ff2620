"""Checking a pool as a stranger would: hashes, shapes, numbers, people, sizes. Nothing in it is trusted or run.

Whether the base model fits into memory is checked before it is loaded, so that the process is not killed.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from perpcs.errors import PerpcsError
from perpcs.files import hash_file, regular_files
from perpcs.model.base import choose_device
from perpcs.pool.manifest import ALLOWED, read_manifest
from perpcs.pool.store import Pool
from perpcs.pool.train import settings_of
from perpcs.tasks import get_task

# ---- the folder ------------------------------------------------------------------------------------------------------


_AGAIN = "Fetch or build the pool again."


def validate(folder: Path) -> Iterator[str]:
    """Check a pool and yield one line for everything that holds.

    Raises:
        PerpcsError: at the first thing that does not hold.
    """
    pool = Pool(folder)
    files = regular_files(pool.folder)
    for file in files:
        if file.suffix not in ALLOWED:
            raise PerpcsError(
                f"The pool holds {file.relative_to(pool.folder)}, which no pool needs.", "Delete that file."
            )
    yield f"{pool.manifest.name}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB in {len(files)} files"
    if not pool.manifest.licence:
        raise PerpcsError("The manifest names no licence.", "Add under which licence the pieces are shared.")
    base = pool.base("cpu", "float32")
    parameters = sum(p.numel() for p in base.model.parameters())
    if not all(torch.isfinite(p).all() for p in base.model.parameters()):
        raise PerpcsError("The base model holds a number that is not finite.", _AGAIN)
    yield f"base model: {parameters / 1e6:.1f} M parameters, {len(base.positions)} positions, hash fits"
    for part in pool.manifest.tasks:
        yield _validate_task(pool, part.task)
    if pool.hypernet is not None:
        size = sum(p.numel() for p in pool.hypernet.parameters())
        yield f"P2P: a network of {size / 1e6:.1f} M parameters, hash fits"


def _validate_task(pool: Pool, name: str) -> str:
    part = pool.task(name)
    task = get_task(name)
    for file, sha in part.files.items():
        path = pool.folder / name / file
        if not path.is_file() or hash_file(path) != sha:
            raise PerpcsError(f"{name}/{file} is missing or altered: its hash does not match the manifest.", _AGAIN)
    if part.task_version != task.version:
        raise PerpcsError(f"The pool was made for version {part.task_version} of {name}.", "Build the pool again.")
    settings_of(pool.manifest, name)
    tensors = pool.pieces(name, "cpu", torch.float32)
    if not tensors.mask.any(dim=0).all():
        raise PerpcsError(f"A sharer of {name} shares nothing.", _AGAIN)
    for p, shared in enumerate(tensors.mask):
        if tensors.pieces.Bt[p][~shared].any():
            raise PerpcsError(f"{name} holds a piece that its sharer does not share.", _AGAIN)
    pool.embeddings(name)
    pool.candidates(name)
    sharers = [sharer.id for sharer in pool.sharers(name)]
    if len(sharers) != part.sharers or len(set(sharers)) != len(sharers):
        raise PerpcsError(f"{name}/sharers.json does not list {part.sharers} different sharers.", _AGAIN)
    both = set(sharers) & {example.id for example in pool.examples(name)}
    if both:
        raise PerpcsError(f"{sorted(both)[0]!r} is a sharer and an example person of {name}.", _AGAIN)
    return (
        f"{name}: {len(sharers)} sharers, {int(tensors.mask.sum())} pieces, {len(pool.examples(name))} example people, "
        "hashes fit, all numbers finite"
    )


# ---- memory ----------------------------------------------------------------------------------------------------------


_ROOM = 1.3
"""What loading and a forward pass need, as a multiple of the weights."""


def check_fits(folder: Path, device: str = "auto") -> None:
    """Refuse a pool whose base model needs more memory than is free where it would run.

    A base model that is only named, not in the pool, is not looked at.

    Raises:
        PerpcsError: with what it needs and what is there.
    """
    manifest = read_manifest(folder)
    if not manifest.base_hash:
        return
    count, stored = parameters(folder / manifest.base)
    where, dtype, _ = choose_device(device, "auto", stored)  # the same choice as when it is loaded
    if where.type != "cpu":
        return
    needs, free = _ROOM * count * dtype.itemsize, free_memory()
    if free is not None and needs > free:
        raise PerpcsError(
            f"The base model of the pool {manifest.name!r} needs about {needs / 1e9:.1f} GB of memory, and this "
            f"computer has {free / 1e9:.1f} GB free.",
            "Choose another pool, or open this one on a larger computer.",
        )


def parameters(folder: Path) -> tuple[int, int]:
    """Numbers in a model's safetensors files, and the files' bytes; (0, 0) where they cannot be read."""
    count = size = 0
    try:
        for file in sorted(folder.glob("*.safetensors")):
            size += file.stat().st_size
            with safe_open(file, "pt") as tensors:
                count += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    except (SafetensorError, OSError):
        return 0, 0  # loading will say what is wrong with them
    return count, size


def free_memory() -> int | None:
    """Bytes that programs may still take; None where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None
