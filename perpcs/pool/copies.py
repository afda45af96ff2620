"""Copies of a pool that visitors may change: written whole or not at all, one change after the other.

    root/NAME/             the copy, valid at every moment
    root/.NAME.lock        held while it is changed, by any process
    root/.NAME.new-…       the next state, until it is found valid and takes the copy's place
    root/.NAME.old         the state before, between two renames; put back when a killed change left nothing else

A pool that is no copy is never written to: what may be changed says so in its manifest (``users.contributed``). Files
that do not change are linked, not copied, where the disk allows it; they are only ever replaced, never written into.
"""

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from perpcs.errors import PerpcsError
from perpcs.files import write_json
from perpcs.pool.manifest import mapping, read_json, read_manifest
from perpcs.pool.store import Pool
from perpcs.pool.validate import ALLOWED, validate

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
                raise PerpcsError(f"{target} is there and is no copy of a pool.", "Name a folder that is not there.")
            origin = target if target.exists() else Path(source)
            staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.new-"))
            try:
                _copy(origin, staging, target.name)
                work(staging)
                if finish:
                    finish(origin, staging)
                for _ in validate(staging):
                    pass
                os.chmod(staging, 0o755)
                _swap(staging, target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise PerpcsError(
            f"The copy {target.name} cannot be written: {error.strerror}.", "Choose a folder you may write to."
        ) from error
    return Pool(target)


def recover(target: Path) -> None:
    """Put the state before back where a change was killed between its two renames."""
    old = _old(target)
    if old.exists() and not target.exists():
        old.rename(target)


def recover_all(root: Path) -> None:
    """The same for every copy in a folder; waits for no change that is under way."""
    for old in root.glob(".*.old"):
        target = root / old.name.removeprefix(".").removesuffix(".old")
        with contextlib.suppress(OSError), _locked(target, wait=False):
            recover(target)


def _copy(origin: Path, staging: Path, name: str) -> None:
    """The pool's files in a new folder, under a new name; nothing that no pool needs comes along."""
    manifest = read_json(origin / "manifest.json")
    for file in sorted(origin.rglob("*")):
        inside = file.relative_to(origin)
        hidden = any(part.startswith(".") for part in inside.parts)
        if file.is_file() and not file.is_symlink() and file.suffix in ALLOWED and not hidden:
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


def _swap(staging: Path, target: Path) -> None:
    old = _old(target)
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


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
