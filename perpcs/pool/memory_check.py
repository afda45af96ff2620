"""Whether a pool's base model fits this computer, told before it is loaded instead of by a killed process."""

import math
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open

from perpcs.errors import PerpcsError
from perpcs.model.base import choose_device
from perpcs.pool.manifest import read_manifest

_ROOM = 1.3
"""Times its weights: what loading and a forward pass take beside them."""


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
