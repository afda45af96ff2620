"""Reading files that a stranger may have made, writing files and folders whole or not at all, and hashing them.

    .NAME.XXXXXXXX.perpcs-tmp   a file that is being written, beside its place; locked by whoever writes it
    .NAME.new-XXXXXXXX          a folder that is being written, beside its place
    .NAME.old                   the folder before, between two renames; put back where a kill left nothing else

What a killed run left behind is swept by the next one that writes there.
"""

import contextlib
import errno
import glob
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from perpcs.errors import PerpcsError

try:
    import fcntl
except ImportError:  # Windows, which deletes no file that somebody has open
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = ".perpcs-tmp"
_YOUNG = 5.0  # seconds within which a file may not be locked yet
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_ERRORS = (*_FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG, errno.ENOTDIR)
"""What a disk says when it cannot take or give a file, through no fault of the program."""


def cannot_write(path: Path | str, error: OSError) -> PerpcsError:
    """The sentence for a disk that takes no file."""
    full = error.errno in _FULL
    do = "Free some space there and run it again." if full else "Choose a folder you may write to."
    return PerpcsError(f"Cannot write {path}: {error.strerror or error}.", do)


# ---- reading -------------------------------------------------------------------------------------------------------


def plain_name(name: str) -> bool:
    """Whether a name can be that of a file or folder and of nothing else: no path, nothing hidden, not endless."""
    return 0 < len(name) <= 120 and name.isprintable() and name[0] != "." and not set(name) & set('/\\:"<>|?*')


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file; a link, a pipe or a device is never opened for reading.

    Raises:
        FileNotFoundError: when nothing is there.
        OSError: when it cannot be read, is no regular file, or is larger than ``most`` bytes.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if state.st_size > most:
            raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
        return file.read(most)


def regular_files(folder: Path) -> list[Path]:
    """All files below a folder, sorted.

    Raises:
        PerpcsError: at a link, a pipe or a device: a folder that was handed over holds none.
    """
    found = []
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                kind = "a link" if stat.S_ISLNK(mode) else "no file"
                raise PerpcsError(f"{path.relative_to(folder)} in {folder} is {kind}.", "Delete it, or copy the file.")
        found += [Path(place, name) for name in files]
    return sorted(found)


# ---- files ---------------------------------------------------------------------------------------------------------


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to a temporary name beside ``path``, flush it to the disk, rename it.

    Raises:
        PerpcsError: when the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    write_together(path.parent, {path.name: data})


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files that only mean something together. None appears before all are on the disk; the last one makes the
    others count, so an older one of its name is gone while these are put in place.

    Raises:
        PerpcsError: when the folder cannot be written, or the disk is full.
    """
    folder = Path(folder)
    written: list[tuple[Path, Path]] = []
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            for name, data in files.items():
                file, temporary = held.enter_context(_temporary(folder / name))
                written.append((temporary, folder / name))
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(temporary, 0o644)
                if fcntl is None:
                    file.close()
            if len(written) > 1:
                written[-1][1].unlink(missing_ok=True)
            for temporary, place in written:
                os.replace(temporary, place)
        except OSError as error:
            raise cannot_write(folder / next(iter(files)), error) from error


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A new file beside ``path`` that no sweep takes for a left one while it is open; deleted if it is still there."""
    handle, name = tempfile.mkstemp(_TEMPORARY, f".{path.name[:60]}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield file, Path(name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def sweep(folder: Path, young: float = _YOUNG) -> None:
    """Delete the temporary files of killed runs: those that nobody holds, and that are older than so many seconds."""
    for left in folder.glob(f".*{_TEMPORARY}"):
        with contextlib.suppress(OSError), open(left, "rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(file.fileno()).st_mtime >= young:
                left.unlink()


def try_writing(path: Path) -> None:
    """Make sure, before hours of work, that a file or folder can be written at ``path``; leaves nothing there.

    Raises:
        PerpcsError: when it cannot.
    """
    path = Path(path)
    if path.is_dir() and not os.access(path, os.W_OK):
        raise cannot_write(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    missing = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path) as (file, _):
            file.write(b"-")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # somebody else wrote there meanwhile
            for parent in missing:
                parent.rmdir()


# ---- folders -------------------------------------------------------------------------------------------------------


def new_beside(place: Path) -> Path:
    """An empty folder beside ``place``, for what will take its place; what killed runs left of that kind is deleted.

    Raises:
        OSError: when there can be none.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    for left in place.parent.glob(f".{glob.escape(place.name)}.new-*"):
        shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.new-"))
    made.chmod(0o755)
    return made


def put_in_place(made: Path, place: Path) -> None:
    """Give a finished folder its place, instead of an older folder. It may lie on another file system: then it is
    copied beside its place first. A kill at any moment leaves the old folder, the new one, or what ``recover`` mends.

    Raises:
        OSError: when the disk says no; the older folder is then where it was.
    """
    beside = made
    if made.parent.resolve() != place.parent.resolve():
        beside = new_beside(place)
        beside.rmdir()
        try:
            made.rename(beside)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            try:
                for file in regular_files(made):
                    _copy_flushed(file, beside / file.relative_to(made))
            except OSError:
                shutil.rmtree(beside, ignore_errors=True)
                raise
            shutil.rmtree(made, ignore_errors=True)
    old = _old(place)
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    try:
        beside.rename(place)
    except OSError:
        recover(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover(place: Path) -> None:
    """Put the folder before back where a change was killed between its two renames."""
    old = _old(place)
    if old.exists() and not place.exists():
        old.rename(place)


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def _copy_flushed(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with open(target, "rb+") as file:
        os.fsync(file.fileno())


# ---- JSON, archives, hashes ----------------------------------------------------------------------------------------


def json_bytes(value: Any) -> bytes:
    """A JSON-able value as readable JSON."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON-able value as readable JSON, whole or not at all."""
    write_atomic(path, json_bytes(value))


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Files as one zip archive; equal files give equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def hash_bytes(data: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes in hex, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
