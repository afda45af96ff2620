"""Resumable stages: each artefact lies in a folder whose name holds a hash of everything it was made from.

A stage is done when its ``done.json`` is there, and that file is written last. A killed build is started again with
the same command and goes on after the last stage that was done; changed settings change the key, so nothing stale is
ever used.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, overload

from perpcs.files import hash_bytes, write_atomic

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
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        self.say(f"{name}: started")
        result = work(folder)
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
