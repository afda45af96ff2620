"""Checkpoints of an evaluation: the people of slow methods, each in one file beside the result.

    OUT.people/HASH.safetensors    weights (P, S), or A and B of a LoRA at every position; no text

Preparing people takes most of an evaluation's time. A run that was stopped prepares nobody twice; one that has ended
deletes the folder. The hash covers all that decides the numbers, so a file of other settings is never found.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from perpcs.files import hash_bytes, json_bytes, write_atomic
from perpcs.model.basis import OwnPiece
from perpcs.personalizers import methods as registry
from perpcs.personalizers.methods import Person, Prepared, Setting

_SLOW = ("perpcs", "oppu")
_GROUP = 4
"""People prepared together: training some at once is faster, and a stopped run loses no more than these."""


@dataclass(frozen=True)
class Checkpoints:
    """The prepared people of one evaluation."""

    folder: Path
    about: Mapping[str, Any]
    """What decides the numbers besides method and person, in JSON types."""

    def prepare(self, setting: Setting, people: Sequence[Person], method: str) -> list[Prepared]:
        """As ``personalizers.methods.prepare``, but each person of a slow method is kept, and read back if kept."""
        parts = registry.parse(method).parts
        if len(parts) > 1 or parts[0][0].name not in _SLOW:
            return registry.prepare(setting, people, method)
        paths = [self._path(person, method) for person in people]
        found = [_read(path, setting, method) for path in paths]
        missing = [index for index, one in enumerate(found) if one is None]
        for at in range(0, len(missing), _GROUP):
            group = missing[at : at + _GROUP]
            made = registry.prepare(setting, [people[index] for index in group], method)
            for index, prepared in zip(group, made, strict=True):
                write_atomic(paths[index], _bytes(prepared))
                found[index] = prepared
        return [one for one in found if one is not None]

    def clear(self) -> None:
        """Delete all files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, person: Person, method: str) -> Path:
        items = [asdict(item) for item in person.history]
        return self.folder / f"{hash_bytes(json_bytes([dict(self.about), method, person.id, items]))}.safetensors"


def _bytes(prepared: Prepared) -> bytes:
    tensors = {} if prepared.weights is None else {"weights": torch.from_numpy(prepared.weights)}
    facts: dict[str, Any] = {"bytes": prepared.other_bytes, "seconds": prepared.seconds}
    if prepared.own is not None:
        facts |= {"scale": prepared.own.scale, "kind": prepared.own.kind, "positions": len(prepared.own.A)}
        for p, (a, bt) in enumerate(zip(prepared.own.A, prepared.own.Bt, strict=True)):
            tensors |= {f"{p}.A": a.contiguous().cpu(), f"{p}.Bt": bt.contiguous().cpu()}
    return save(tensors, {"facts": json.dumps(facts)})


def _read(path: Path, setting: Setting, method: str) -> Prepared | None:
    """The person in a file, or None if there is none that can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        own = None
        if "positions" in facts:
            rows = range(facts["positions"])
            A, Bt = ([tensors[f"{p}.{side}"] for p in rows] for side in ("A", "Bt"))
            own = OwnPiece(A, Bt, facts["scale"], facts["kind"])
        return Prepared(
            setting.task,
            method=method,
            weights=tensors["weights"].numpy() if "weights" in tensors else None,
            own=own,
            other_bytes=facts["bytes"],
            seconds=facts["seconds"],
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
