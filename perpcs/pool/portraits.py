"""Who a sharer is, in a few words: telling words, habits of writing or answering, and a sample of what their pieces do.

    pools/NAME/TASK/portraits.json    {pool_hash, input, base, sharers: {id: {name, words, habits, answer}}}

Portraits are made when a pool is finished, because only then are the sharers' texts there. They hold counts put into
words, single words that several people use, and answers to an invented input; no text of a sharer.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perpcs.errors import PerpcsError
from perpcs.files import write_json
from perpcs.schema import Name, Record, Text, read_record
from perpcs.tasks import Item, Task
from perpcs.tasks.task import Habits, own_texts

if TYPE_CHECKING:  # figures read portraits, and load no torch
    from perpcs.pool.store import Pool

LEAST_PEOPLE = 3
"""Words that fewer people use are left out: they might identify someone."""
_WORD = re.compile(r"[a-z][a-z'-]{3,}")
_SHORT = {
    "every word with a capital": "Title Case",
    "capital letters": "ALL CAPS",
    "a word in capital letters": "a SHOUTED word",
    "1 to 3 words": "very short",
    "4 to 6 words": "short",
    "14 to 20 words": "long",
    "over 20 words": "very long",
    "a full stop": "full stops",
    "an exclamation mark": "exclamation marks",
    "a question mark": "questions",
    "an ellipsis": "trailing dots",
    "a number": "opens with numbers",
    "a quotation": "opens with quotations",
    "how, why or what": "how and why",
    "an article": "opens with the or a",
    "I or we": "I and we",
    "a call to the reader": "calls to the reader",
    "a verb in -ing": "opens with -ing",
    "a colon": "colons",
    "a question": "questions",
    "a dash": "dashes",
}
"""Values of traits as a column of the map names them; the others by their own names."""
_MOST_HABITS, _MOST_WORDS = 3, 3


@dataclass(frozen=True)
class Portrait(Record):
    """One sharer."""

    name: Name = ""
    """A few words, such as ``markets, Title Case``; empty where nothing is known."""
    words: tuple[Name, ...] = ()
    """What they write about, most telling first."""
    habits: tuple[Name, ...] = ()
    """How they write or answer, most visible first."""
    answer: Text = ""
    """What the base model with all their pieces at weight 1 answers to ``Portraits.input``."""


@dataclass(frozen=True)
class Portraits:
    """A task's sharers."""

    input: str = ""
    """An invented input that every sharer's pieces answered."""
    base: str = ""
    """The base model's answer to it."""
    sharers: Mapping[str, Portrait] = field(default_factory=dict)

    def of(self, id: str) -> Portrait:
        """A sharer's portrait; an empty one for somebody who came later."""
        return self.sharers.get(id, Portrait())


def portray(task: Task, histories: Mapping[str, Sequence[Item]], sharers: Sequence[str]) -> dict[str, Portrait]:
    """Portraits without answers.

    Args:
        histories: items of all candidates by id; words are telling if a sharer uses them more than these people do.
        sharers: ids of those to portray.
    """
    used = {id: Counter(word for item in items for word in _words(item)) for id, items in histories.items()}
    people = Counter(word for words in used.values() for word in words)
    style = {id: Habits.of(own_texts(task, items)) for id, items in histories.items()}
    found = {}
    for id in sharers:
        telling = {
            word: count * log(len(histories) / people[word])
            for word, count in used[id].items()
            if count > 1 and people[word] >= LEAST_PEOPLE
        }
        words = _unlike(sorted(telling, key=lambda word: (-telling[word], word)))
        others = [habits for other, habits in style.items() if other != id]
        written = [_SHORT.get(value, value) for _, value, _ in style[id].visible(others)]
        habits = list(dict.fromkeys((*_answers(task, histories[id]), *written)))[:_MOST_HABITS]
        # where answers are labels, they say more of somebody than the words of what they were given
        first = [] if task.labels and habits else words[: 1 if habits else 2]
        found[id] = Portrait(", ".join((*first, *habits[:2])), tuple(words), tuple(habits))
    return found


def _words(item: Item) -> set[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    found = _WORD.findall(f"{item.x} {item.y or ''}".lower())
    return {word.removesuffix("'s").rstrip("-'") for word in found} - ENGLISH_STOP_WORDS


def _unlike(words: Sequence[str]) -> list[str]:
    """The first few words that are not forms of an earlier one."""
    found: list[str] = []
    for word in words:
        if not any(word[:5] == other[:5] for other in found):
            found.append(word)
    return found[:_MOST_WORDS]


def _answers(task: Task, items: Sequence[Item]) -> tuple[str, ...]:
    """How somebody answers where answers are labels: the mean of ratings, the two labels chosen most."""
    given = [item.y for item in items if item.y in task.labels]
    if not given:
        return ()
    if task.kind == "rating":
        return (f"{sum(map(int, given)) / len(given):.1f} stars on average",)
    return tuple(label for label, _ in Counter(given).most_common(2))


def portraits_path(folder: Path, task: str) -> Path:
    """Where a task's portraits lie."""
    return folder / task / "portraits.json"


def store_portraits(pool: "Pool", task: str, portraits: Portraits) -> None:
    """Write a task's portraits into its pool."""
    rows = {id: asdict(one) for id, one in portraits.sharers.items()}
    known: dict[str, Any] = {"pool_hash": pool.hash, "input": portraits.input, "base": portraits.base, "sharers": rows}
    write_json(portraits_path(pool.folder, task), known)


def stored_portraits(pool: "Pool", task: str) -> Portraits:
    """A task's portraits; empty ones where this pool has none, so that sharers go by their numbers."""
    path = portraits_path(pool.folder, task)
    return _read(path, path.stat().st_mtime_ns if path.exists() else 0, pool.hash)


@lru_cache(maxsize=64)
def _read(path: Path, written: int, pool_hash: str) -> Portraits:
    """The file as it was at a time, so that it is read once."""
    try:
        found = read_record(path, _Stored, path.name, "")
    except PerpcsError:
        return Portraits()
    return Portraits(found.input, found.base, found.sharers) if found.pool_hash == pool_hash else Portraits()


@dataclass(frozen=True)
class _Stored(Record):
    """portraits.json."""

    pool_hash: Name
    input: Text
    base: Text
    sharers: dict[Name, Portrait]
