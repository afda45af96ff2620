"""What a reading may hold and what it gives back: Limits, Row, BadRow, Reading.

A file or a paste is first cut into ``Row`` records (one per thing that should become an item, with the physical line on
which it starts), and then each row becomes an item, a ``BadRow``, or is past the limit. Nothing else can happen to it:

    len(items) + len(bad) + cut == rows given
"""

import ctypes
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from perpcs.errors import PerpcsError
from perpcs.tasks import Item

P = ParamSpec("P")
T = TypeVar("T")
EXCERPT_CHARS = 60
MAX_MEMBERS = 20_000
"""Files in an archive; archives with more are refused."""
MAX_ARCHIVE_BYTES = 100_000_000
"""What the readable files of an archive may unpack to, together."""
MAX_CELLS = 2_000_000
"""Cells of a workbook."""
MAX_LINES = 300_000
"""Lines of a text that are not empty, and entries of a JSON list: more are refused before they are looked at."""
MAX_SECONDS = 20.0
"""A reading that takes longer is ended: other visitors share the server."""


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


class _TooLong(BaseException):
    """Not an Exception, so that no parser mistakes it for something wrong in the file."""


def in_time(read: Callable[P, T]) -> Callable[P, T]:
    """Have a function that reads what a person gave end after ``MAX_SECONDS``, whichever parser it is in then.

    A second thread raises an exception in the reading one, which Python lets happen between any two instructions, again
    and again until the function is left. One call into C must be short by itself.

    Raises:
        PerpcsError: when the time is over.
    """

    @wraps(read)
    def timed(*args: P.args, **kwargs: P.kwargs) -> T:
        reading, done = ctypes.c_ulong(threading.get_ident()), threading.Event()

        def watch() -> None:
            wait = MAX_SECONDS
            while not done.wait(wait):
                ctypes.pythonapi.PyThreadState_SetAsyncExc(reading, ctypes.py_object(_TooLong))
                wait = 0.5

        watcher = threading.Thread(target=watch, name="reading-clock", daemon=True)
        watcher.start()

        def stop() -> None:
            done.set()
            watcher.join()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(reading, None)  # what was raised and has not happened yet

        try:
            try:
                return read(*args, **kwargs)
            finally:
                stop()
        except _TooLong:
            stop()
            raise PerpcsError("It takes too long to read.", "Give the part with your newest items.") from None

    return timed


def check_lines(text: str) -> None:
    """Refuse a text of too many lines before anything looks at each.

    Raises:
        PerpcsError: for more than ``MAX_LINES`` lines that are not empty.
    """
    if text.count("\n") - text.count("\n\n") > MAX_LINES:
        raise PerpcsError(f"It has more than {MAX_LINES:,} lines.", "Give the part with your newest items.")


def count(n: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def excerpt(text: str, chars: int = EXCERPT_CHARS) -> str:
    """The text on one line, at most ``chars`` long."""
    flat = " ".join(text[: 4 * chars].split())
    whole = len(text) <= 4 * chars and len(flat) <= chars
    return flat if whole else flat[: chars - 1] + "…"
