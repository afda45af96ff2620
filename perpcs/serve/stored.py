"""What the app shows before any model has run: example people's assemblies and some answers, and how well each
sharer's own pieces are recognised.

    pools/NAME/TASK/examples/ID.json    the person's assembly, as the person could save it
    pools/NAME/TASK/answers.json        answers: {person: {query: {method: fields of an Answer}}}
                                        shared: [{person, query, base, texts: {person: answer}}], texts only
    pools/NAME/TASK/recognised.json     for each sharer and position, see ``complete.recognised``

All name the pool's hash, so they are made by the finished pool (complete.py) and are not part of its manifest.
They are a convenience: where one is missing, damaged or of another pool, the app asks the model instead.

Example people's stored assemblies and answers name the hash of the pool they were made with. When somebody joins a
copy, they move there without the newcomer, who is named among the sharers left out; when somebody leaves, what
they held goes to the others. Both are true of the new pool and need no model (assembly/record.py). Answers are kept
where the weights stayed as they were.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from perpcs.assembly.record import Assembly, migrated
from perpcs.errors import PerpcsError
from perpcs.files import write_json
from perpcs.pool.contribute import Leaving, add, remove
from perpcs.pool.manifest import mapping
from perpcs.pool.portraits import Portraits, stored_portraits
from perpcs.pool.store import Pool
from perpcs.schema import Name, Record, Text, read_record
from perpcs.serve.answer import Answer

# ---- what is stored --------------------------------------------------------------------------------------------------


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


# ---- when somebody joins or leaves -----------------------------------------------------------------------------------


def share(source: Path, given: Leaving, target: Path, last: Callable[[], None] = lambda: None) -> Pool:
    """Add a sharer to a copy of a pool; see ``perpcs.pool.contribute.add``.

    Args:
        last: called when all is written and nobody can see it yet; an exception raised in it leaves the target as it
            was.
    """

    def finish(origin: Path, staging: Path) -> None:
        _migrate_examples(origin, staging)
        last()

    return add(source, given, target, finish)


def revoke(target: Path, id: str) -> Pool:
    """Take a sharer back out of a copy; see ``perpcs.pool.contribute.remove``."""
    return remove(target, id, _migrate_examples)


def migrated_to(pool: Pool, assembly: Assembly) -> Assembly:
    """A person of an earlier state of this pool as a person of this one.

    Raises:
        PerpcsError: when the pool has no sharers for the person's task, or other positions.
    """
    if tuple(position.label for position in pool.manifest.positions) != assembly.positions:
        raise PerpcsError("This model belongs to another base model.", "Open the pool it was assembled from.")
    ids = [sharer.id for sharer in pool.sharers(assembly.task)]
    if not set(ids) & set(assembly.sharers):
        raise PerpcsError("This pool has none of this model's sharers.", "Open the pool it was assembled from.")
    return migrated(assembly, ids, pool.manifest.name, pool.hash)


def _migrate_examples(origin: Path, folder: Path) -> None:
    """Move the example people to a pool's next state; what does not fit the pool it lay in is dropped."""
    before, after = Pool(origin), Pool(folder)
    for part in after.manifest.tasks:
        same = set()
        for file in sorted((folder / part.task / "examples").glob("*.json")):
            try:
                old = Assembly.load(file)
                new = migrated_to(after, old) if old.pool_hash == before.hash else None
            except PerpcsError:
                new = None
            file.unlink()  # it may be a link to the other pool's file
            if new is not None:
                new.save(file)
                stays = [new.sharers.index(id) for id in old.sharers if id in new.sharers]
                kept = [old.sharers.index(new.sharers[s]) for s in stays]
                if np.array_equal(new.weights[:, stays], old.weights[:, kept]):
                    same.add(file.stem)
        _migrate_answers(before, after, part.task, same)


def _migrate_answers(before: Pool, after: Pool, task: str, same: set[str]) -> None:
    path = answers_path(after.folder, task)
    try:
        stored = json.loads(path.read_bytes())
        fits = stored["pool_hash"] == before.hash
        answers = {id: rows for id, rows in mapping(stored["answers"]).items() if id in same} if fits else {}
    except (OSError, ValueError, KeyError, TypeError):
        answers = {}
    path.unlink(missing_ok=True)
    if answers:
        write_json(path, {"pool_hash": after.hash, "answers": answers})
