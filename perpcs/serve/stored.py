"""What the app shows before any model has run: example people's assemblies and some answers, and how well each
sharer's own pieces are recognised.

    pools/NAME/TASK/examples/ID.json    the person's assembly, as the person could save it
    pools/NAME/TASK/answers.json        answers: {person: {query: {method: fields of an Answer}}}
                                        shared: [{person, query, base, texts: {person: answer}}], texts only
    pools/NAME/TASK/recognised.json     for each sharer and position, see ``complete.recognised``

All name the pool's hash, so they are made by the finished pool (complete.py) and are not part of its manifest.
They are a convenience: where one is missing, damaged or of another pool, the app asks the model instead.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from perpcs.assembly.record import Assembly
from perpcs.errors import PerpcsError
from perpcs.pool.portraits import Portraits, stored_portraits
from perpcs.pool.store import Pool
from perpcs.schema import Name, Record, Text, read_record
from perpcs.serve.answer import Answer

_File = TypeVar("_File", "_Answers", "_Recognised")


@dataclass(frozen=True)
class Shared:
    """One query that the models of all example people answered."""

    asker: str
    """Id of the person whose query it is."""
    query: str
    base: str
    """The base model's answer."""
    texts: dict[str, str]
    """Of every example person, by id."""


@dataclass(frozen=True)
class Stored:
    """The stored examples of a pool; no model is run."""

    pool: Pool

    def assembly(self, task: str, id: str) -> Assembly:
        """An example person's assembly.

        Raises:
            PerpcsError: when it is not there or damaged.
        """
        return Assembly.load(assembly_path(self.pool.folder, task, id))

    def answers(self, task: str, id: str, query: str) -> dict[str, Answer]:
        """Answers to one query of an example person, by method; empty where there are none for this pool."""
        return self._answers(task).answers.get(id, {}).get(query, {})

    def shared(self, task: str) -> tuple[Shared, ...]:
        """Queries that everybody's model answered; none where this pool stores none."""
        return tuple(Shared(row.person, row.query, row.base, row.texts) for row in self._answers(task).shared)

    def recognised(self, task: str) -> np.ndarray | None:
        """How probable the gates find each sharer's own piece on the sharer's own text, (S, P); None where that is not
        stored for this pool.
        """
        stored = self._of_this_pool(recognised_path(self.pool.folder, task), _Recognised)
        if stored is None:
            return None
        rows, sharers = stored.recognised, len(self.pool.sharers(task))
        fits = len(rows) == sharers and all(len(row) == len(self.pool.manifest.positions) for row in rows)
        return np.asarray(rows, dtype=np.float64) if fits else None

    def portraits(self, task: str) -> Portraits:
        """Who each sharer is in a few words; empty portraits where none are stored for this pool."""
        return stored_portraits(self.pool, task)

    def _answers(self, task: str) -> "_Answers":
        """The file of answers; empty where it is not there or of another pool."""
        return self._of_this_pool(answers_path(self.pool.folder, task), _Answers) or _Answers(self.pool.hash)

    def _of_this_pool(self, path: Path, kind: type[_File]) -> _File | None:
        """A stored file; None where it is missing, damaged or of another pool."""
        try:
            found = read_record(path, kind, path.name, "")
        except PerpcsError:
            return None
        return found if found.pool_hash == self.pool.hash else None


@dataclass(frozen=True)
class _SharedRow(Record):
    person: Name
    query: Name
    base: Text
    texts: dict[Name, Text]


@dataclass(frozen=True)
class _Answers(Record):
    """answers.json."""

    pool_hash: Name
    answers: dict[Name, dict[Name, dict[Name, Answer]]] = field(default_factory=dict)
    shared: tuple[_SharedRow, ...] = ()


@dataclass(frozen=True)
class _Recognised(Record):
    """recognised.json."""

    pool_hash: Name
    recognised: tuple[tuple[float, ...], ...]


def assembly_path(folder: Path, task: str, id: str) -> Path:
    """Where an example person's assembly lies."""
    return folder / task / "examples" / f"{id}.json"


def answers_path(folder: Path, task: str) -> Path:
    """Where the stored answers of a task's example people lie."""
    return folder / task / "answers.json"


def recognised_path(folder: Path, task: str) -> Path:
    """Where the probabilities of sharers' own pieces lie."""
    return folder / task / "recognised.json"
