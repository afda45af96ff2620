"""Sharing and revoking with what hangs on a pool: its example people.

Example people's stored assemblies and answers name the hash of the pool they were made with. When somebody joins a
copy, they move there without the newcomer, who is named among the sharers left out; when somebody leaves, what
they held goes to the others. Both are true of the new pool and need no model (assembly/record.py). Answers are kept
where the weights stayed as they were.
"""

import json
from pathlib import Path

import numpy as np

from perpcs.assembly.record import Assembly, migrated
from perpcs.errors import PerpcsError
from perpcs.files import write_json
from perpcs.pool.contribute import Leaving, add, remove
from perpcs.pool.manifest import mapping
from perpcs.pool.store import Pool
from perpcs.serve.stored import answers_path


def share(source: Path, given: Leaving, target: Path) -> Pool:
    """Add a sharer to a copy of a pool; see ``perpcs.pool.contribute.add``."""
    return add(source, given, target, _migrate_examples)


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
