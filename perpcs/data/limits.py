"""What a reading may hold and what it gives back: Limits, Row, BadRow, Reading.

A file or a paste is first cut into ``Row`` records (one per thing that should become an item, with the physical line on
which it starts), and then each row becomes an item, a ``BadRow``, or is past the limit. Nothing else can happen to it:

    len(items) + len(bad) + cut == rows given
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perpcs.tasks import Item

EXCERPT_CHARS = 60
MAX_MEMBERS = 20_000
"""Files in an archive; archives with more are refused."""
MAX_ARCHIVE_BYTES = 100_000_000
"""What the readable files of an archive may unpack to, together."""
MAX_CELLS = 2_000_000
"""Cells of a workbook's sheet."""


@dataclass(frozen=True)
class Limits:
    """How much of what a person gives is read. What is cut is said in ``Reading.notes``, never silently."""

    max_bytes: int = 20_000_000
    """Larger files and pastes are refused: half a JSON file is no JSON file."""
    max_rows: int = 2_000
    """Of more rows the last, which are the newest, are read; the others are counted."""
    max_chars_per_field: int = 4_000
    """Longer fields are cut to this length."""


@dataclass(frozen=True)
class Row:
    """One thing that should become an item, not yet looked at."""

    line: int
    """1-based physical line on which it starts."""
    raw: str
    """The beginning of what was written there, for the excerpt."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The named fields; ``x`` and ``y`` where they had no names."""
    problem: tuple[str, str] | None = None
    """What is wrong and what to do, where the row cannot even be cut into fields."""
    person: str = ""
    """Whose text it is, where rows of several people may lie in one file."""


@dataclass(frozen=True)
class BadRow:
    """One row that was kept out."""

    line: int
    """1-based line number in what the person gave."""
    reason: str
    do: str
    excerpt: str
    """At most 60 characters of the row."""


@dataclass(frozen=True)
class Reading:
    """What was read: the good items, the rows kept out, and sentences on all that was cut or guessed."""

    items: tuple[Item, ...]
    bad: tuple[BadRow, ...] = ()
    notes: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()
    """The line number of each item, in the order of ``items``."""
    cut: int = 0
    """Rows past ``Limits.max_rows``, which were not looked at."""
    fits: tuple[str, ...] = ()
    """The names of all tasks for which most of the rows can be read."""

    def summary(self) -> str:
        """One sentence: how many items, how many rows kept out, how many cut."""
        parts = [f"{count(len(self.items), 'item')} read"]
        if self.bad:
            parts.append(f"{count(len(self.bad), 'row')} kept out")
        if self.cut:
            parts.append(f"{count(self.cut, 'row')} past the limit")
        return ", ".join(parts) + "."


def count(n: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def excerpt(text: str, chars: int = EXCERPT_CHARS) -> str:
    """The text on one line, at most ``chars`` long."""
    flat = " ".join(text[: 4 * chars].split())
    whole = len(text) <= 4 * chars and len(flat) <= chars
    return flat if whole else flat[: chars - 1] + "…"
