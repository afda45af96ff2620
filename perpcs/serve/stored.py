"""What the app shows before any model has run: example people's assemblies and some answers, and how well each
sharer's own pieces are recognised.

    pools/NAME/TASK/examples/ID.json    the person's assembly, as the person could save it
    pools/NAME/TASK/answers.json        answers: {person: {query: {method: fields of an Answer}}}
                                        shared: [{person, query, base, texts: {person: answer}}], texts only
    pools/NAME/TASK/recognised.json     for each sharer and position, see ``complete.recognised``

All name the pool's hash, so they are made by the finished pool (complete.py) and are not part of its manifest.
They are a convenience: where one is missing, damaged or of another pool, the app asks the model instead.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perpcs.assembly.record import Assembly
from perpcs.pool.portraits import Portraits, stored_portraits
from perpcs.pool.store import Pool
from perpcs.serve.answer import Answer
from perpcs.tasks import Item


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
        try:
            rows: dict[str, Any] = self._answers(task).get("answers", {}).get(id, {}).get(query, {})
            return {
                method: Answer(**{**row, "retrieved": tuple(Item(**item) for item in row["retrieved"])})
                for method, row in rows.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            return {}

    def shared(self, task: str) -> tuple[Shared, ...]:
        """Queries that everybody's model answered; none where this pool stores none."""
        try:
            return tuple(
                Shared(
                    *(str(row["person"]), str(row["query"]), str(row["base"])),
                    texts={id: str(text) for id, text in row["texts"].items()},
                )
                for row in self._answers(task).get("shared", ())
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return ()

    def recognised(self, task: str) -> np.ndarray | None:
        """How probable the gates find each sharer's own piece on the sharer's own text, (S, P); None where that is not
        stored for this pool.
        """
        try:
            stored = json.loads(recognised_path(self.pool.folder, task).read_bytes())
            found = np.asarray(stored["recognised"], dtype=np.float64)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        shape = (len(self.pool.sharers(task)), len(self.pool.manifest.positions))
        fits = found.shape == shape and np.isfinite(found).all()
        return found if fits and stored["pool_hash"] == self.pool.hash else None

    def portraits(self, task: str) -> Portraits:
        """Who each sharer is in a few words; empty portraits where none are stored for this pool."""
        return stored_portraits(self.pool, task)

    def _answers(self, task: str) -> dict[str, Any]:
        """The file of answers; empty where it is not there or of another pool."""
        try:
            stored = json.loads(answers_path(self.pool.folder, task).read_bytes())
            return stored if stored["pool_hash"] == self.pool.hash else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def assembly_path(folder: Path, task: str, id: str) -> Path:
    """Where an example person's assembly lies."""
    return folder / task / "examples" / f"{id}.json"


def answers_path(folder: Path, task: str) -> Path:
    """Where the stored answers of a task's example people lie."""
    return folder / task / "answers.json"


def recognised_path(folder: Path, task: str) -> Path:
    """Where the probabilities of sharers' own pieces lie."""
    return folder / task / "recognised.json"
