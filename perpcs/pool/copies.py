"""Copies of a pool that visitors may change: written whole or not at all, one change after the other.

    root/NAME/             the copy, valid at every moment
    root/.NAME.lock        held while it is changed, by any process
    root/.NAME.new-…       the next state, until it is found valid and takes the copy's place (perpcs/files.py)
    root/.NAME.old         the state before, between two renames

A pool that is no copy is never written to: what may be changed says so in its manifest (``users.contributed``). Files
that do not change are linked, not copied, where the disk allows it; they are only ever replaced, never written into.
"""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from perpcs.errors import PerpcsError
from perpcs.files import cannot_write, new_beside, put_in_place, recover, regular_files, write_json
from perpcs.pool.manifest import ALLOWED, mapping, read_json, read_manifest
from perpcs.pool.store import Pool
from perpcs.pool.validate import validate

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
    """The same for every copy in a folder; waits for no change that is under way."""
    for old in root.glob(".*.old"):
        target = root / old.name.removeprefix(".").removesuffix(".old")
        with contextlib.suppress(OSError), _locked(target, wait=False):
            recover(target)


def _copy(origin: Path, staging: Path, name: str) -> None:
    """The pool's files in a new folder, under a new name; nothing that no pool needs comes along."""
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
