"""PEFT-U's files, read strictly, and the division of their people.

    {user: {"train" | "val" | "test": {id: {"text": str, "label": [str, ...]}}}}

Whoever is measured is not among those on whom rates are searched. Nobody is trained on a text on which somebody else is
measured: in the benchmark's files the same text may be one person's training text and another's test text.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from perpcs.errors import PerpcsError
from perpcs.peftu.tasks import PeftTask

SPLITS = ("train", "val", "test")
_SHAPE = 'Give a file {user: {"train" | "val" | "test": {id: {"text": ..., "label": [...]}}}}.'


@dataclass(frozen=True)
class Judged:
    """A text and how one person judged it."""

    text: str
    labels: tuple[str, ...]
    """In the task's order; several where the task allows it."""


@dataclass(frozen=True)
class Reader:
    """One person of a file."""

    id: str
    train: tuple[Judged, ...]
    val: tuple[Judged, ...]
    test: tuple[Judged, ...]
    truth: tuple[str, ...] = ()
    """Of each test text, what the person's traits say; empty where nobody knows."""


def read_readers(path: Path, task: PeftTask) -> list[Reader]:
    """The people of a task's file, in its order.

    Raises:
        PerpcsError: when the file is missing, is not JSON, or has another shape or other labels than the task.
    """
    try:
        data = json.loads(Path(path).read_bytes())
    except FileNotFoundError as error:
        raise PerpcsError(
            f"There is no {Path(path).name}.", f"Name a folder that holds it with --data; {task.title} needs it."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise PerpcsError(f"{Path(path).name} is not a JSON file.", _SHAPE) from error
    if not isinstance(data, dict) or not data:
        raise PerpcsError(f"{Path(path).name} holds no people.", _SHAPE)
    return [_reader(Path(path).name, str(id), person, task) for id, person in data.items()]


def _reader(file: str, id: str, person: Any, task: PeftTask) -> Reader:
    if not isinstance(person, dict) or set(person) - set(SPLITS) or "train" not in person:
        raise PerpcsError(f"{file}: user {id!r} does not have the parts train, val and test.", _SHAPE)
    parts = {split: _judged(f"{file}: user {id!r}, {split}", person.get(split, {}), task) for split in SPLITS}
    seen: set[str] = set()
    for split in SPLITS:
        again = seen & {one.text for one in parts[split]}
        if again:
            raise PerpcsError(
                f"{file}: user {id!r} has the same text in two parts.", "Put each text of a person into one part."
            )
        seen |= {one.text for one in parts[split]}
    return Reader(id, parts["train"], parts["val"], parts["test"])


def _judged(where: str, part: Any, task: PeftTask) -> tuple[Judged, ...]:
    if not isinstance(part, dict):
        raise PerpcsError(f"{where} is not a mapping of ids to texts.", _SHAPE)
    found = []
    for id, one in part.items():
        fits = isinstance(one, dict) and set(one) == {"text", "label"} and isinstance(one["text"], str)
        if not fits or not one["text"].strip():
            raise PerpcsError(f"{where}, id {id!r} does not have exactly a text and a list of labels.", _SHAPE)
        labels = one["label"]
        if not isinstance(labels, list) or not labels or any(label not in task.words for label in labels):
            raise PerpcsError(
                f"{where}, id {id!r} has labels that {task.title} does not know.",
                f"Its labels are {', '.join(task.labels)}.",
            )
        if len(set(labels)) != len(labels) or (len(labels) > 1 and not task.several):
            raise PerpcsError(
                f"{where}, id {id!r} has {len(labels)} labels.",
                "Name each label once." if task.several else f"{task.title} allows one label a text.",
            )
        found.append(Judged(one["text"], tuple(label for label in task.labels if label in labels)))
    return tuple(found)


@dataclass(frozen=True)
class Division:
    """The people of a task in their parts, cut to a stated size."""

    measured: tuple[Reader, ...]
    """Whose test texts are scored."""
    search: tuple[Reader, ...]
    """On whom rates and thresholds are searched; never scored."""
    dropped: int
    """Training and validation texts left out because somebody else is measured on them."""

    @property
    def everybody(self) -> tuple[Reader, ...]:
        return (*self.measured, *self.search)


def divide(
    readers: Sequence[Reader],
    *,
    measured: int,
    search: int,
    train: int,
    val: int,
    test: int,
    fewest: int = 12,
    seed: int = 0,
) -> Division:
    """Draw who is measured and who is searched on, and at most so many texts of each part of each.

    Args:
        fewest: people with fewer training texts left are passed over.

    Raises:
        PerpcsError: when there are too few people for both.
    """
    order = np.random.default_rng(seed).permutation(len(readers))
    drawn = [_cut(readers[i], train, val, test, seed + 1 + int(i)) for i in order]
    # The search people come first, so that asking for more measured people does not change them.
    chosen = [one for one in drawn if len(one.train) >= min(fewest, train) and one.val and one.test]
    if len(chosen) < search + 2:
        raise PerpcsError(
            f"Only {len(chosen)} people have {fewest} training texts or more, and texts to test.",
            "Give a file with more people.",
        )
    some, tested = chosen[:search], chosen[search : search + measured]
    texts = {one.text for person in tested for one in person.test}
    before = sum(len(one.train) + len(one.val) for one in (*some, *tested))
    some, tested = [_without(one, texts) for one in some], [_without(one, texts) for one in tested]
    after = sum(len(one.train) + len(one.val) for one in (*some, *tested))
    return Division(tuple(tested), tuple(some), before - after)


def _cut(reader: Reader, train: int, val: int, test: int, seed: int) -> Reader:
    random = np.random.default_rng(seed)
    parts: dict[str, Any] = {}
    for split, most in (("train", train), ("val", val), ("test", test)):
        all_of_it = getattr(reader, split)
        kept = sorted(random.permutation(len(all_of_it))[:most].tolist())
        parts[split] = tuple(all_of_it[i] for i in kept)
        if split == "test" and reader.truth:
            parts["truth"] = tuple(reader.truth[i] for i in kept)
    return replace(reader, **parts)


def _without(reader: Reader, texts: set[str]) -> Reader:
    """The person without training and validation texts among ``texts``; their own test texts are in neither."""
    return replace(
        reader,
        train=tuple(one for one in reader.train if one.text not in texts),
        val=tuple(one for one in reader.val if one.text not in texts),
    )
