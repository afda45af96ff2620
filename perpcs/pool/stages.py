"""Resumable stages: each artefact lies in a folder whose name holds a hash of everything it was made from.

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
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, overload

import numpy as np
import torch
from filelock import FileLock, Timeout

from perpcs.errors import PerpcsError
from perpcs.files import DISK_ERRORS, cannot_write, hash_bytes, sweep, write_atomic

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
