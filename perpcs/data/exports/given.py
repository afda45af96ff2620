"""What a person gave, opened once in each form that a reader of exports asks for: text, JSON, table.

A reader is a function from ``Given`` to ``History``, or to None where the text is none of its kind.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from perpcs.data.fields import plain
from perpcs.data.json_scan import Found, is_json_lines, items_of, looks_like_json, read_document, read_lines
from perpcs.data.limits import Row, check_lines
from perpcs.data.parse_tables import Grid, find_header, table_rows, text_grids
from perpcs.errors import PerpcsError

_ASSIGNMENT = re.compile(r"\s*(?:(?:window|var|let|const)[\s.])?[\w.$]+\s*=\s*(?=[\[{])")


REPLY = "reply"
"""The field that a row has where it answers somebody's post."""


@dataclass
class History:
    """What a reader of an export found."""

    what: str
    """The export's name in a sentence: ``an X archive``."""
    rows: Iterable[Row]
    """Rows under the names that LaMP gives their fields, and a ``date``; may be a generator that fills ``left_out``."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many of what was not taken: ``{"repost": 3}``."""
    asks: bool = False
    """Whether the person must say who they are even where they are the first named: their name is not the file's."""


class Given:
    """A text, and the bytes and the name that it came with."""

    def __init__(self, text: str, name: str = "", data: bytes = b"", sheets: tuple[Grid, ...] = ()) -> None:
        self.name = name
        self.data = data
        self.sheets = sheets
        """Of a workbook; the text is empty then."""
        self.script = ""
        """What a script assigns its JSON to: ``window.YTD.tweets.part0``."""
        assigned = _ASSIGNMENT.match(text)
        if assigned:  # spaces instead, so that lines and columns stay true
            self.script = assigned[0].split("=")[0].strip()
            text = " " * assigned.end() + text[assigned.end() :].rstrip("; \t\n")
        check_lines(text)
        self.text = text

    @cached_property
    def document(self) -> Found | None:
        """The JSON document; None for JSONL and what is no JSON."""
        if self.sheets or not looks_like_json(self.text):
            return None
        try:
            return read_document(self.text)
        except PerpcsError:
            return None

    @cached_property
    def objects(self) -> list[Found]:
        """The objects of the list that a JSON document holds, or of the lines of JSONL; one object that holds none is
        itself the list. None for other texts.
        """
        if self.document is not None:
            items = items_of(self.document) or [self.document]
            return [found for found in items if isinstance(found.value, dict)]
        if self.sheets or not looks_like_json(self.text) or not is_json_lines(self.text):
            return []
        return [each for each in read_lines(self.text) if isinstance(each, Found) and isinstance(each.value, dict)]

    @property
    def is_json(self) -> bool:
        return self.document is not None or bool(self.objects)

    @cached_property
    def grids(self) -> list[Grid]:
        """The ways of cutting it into cells."""
        return list(self.sheets) or text_grids(self.text)

    def table(self, *names: str) -> Iterator[Row] | None:
        """The rows of a table whose header has all the (plain) names, their fields under plain names; else None."""
        if self.is_json:
            return None
        layout = find_header(self.grids, names=names)
        return map(_plain_fields, table_rows(layout)) if layout else None

    def share(self, pattern: re.Pattern[str], lines: int = 200) -> float:
        """The share of the first lines that match, of those that are not blank."""
        head = [line for line in self.text.split("\n", lines)[:lines] if line.strip()]
        return sum(pattern.match(line) is not None for line in head) / len(head) if head else 0.0


def _plain_fields(row: Row) -> Row:
    fields: dict[str, Any] = {}
    for name, value in row.fields.items():
        fields.setdefault(plain(name), value.strip())
    return Row(row.line, row.raw, fields, row.problem)


def at(value: Any, *path: str) -> Any:
    """The value below a path of names, or None where one is missing."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def text_at(value: Any, *path: str) -> str:
    """The text below a path of names; "" where there is none."""
    found = at(value, *path)
    return found.strip() if isinstance(found, str) else ""


def row_of(found: Found | Row, fields: Mapping[str, Any], person: str = "") -> Row:
    """A row at the place of a JSON value or of another row, with the fields that hold something."""
    return Row(found.line, found.raw, {name: value for name, value in fields.items() if value}, person=person)


def lines_at(text: str | bytes, starts: list[int]) -> list[int]:
    """The 1-based lines of ascending offsets, in one pass."""
    lines, line, last = [], 1, 0
    for start in starts:
        line += text.count("\n", last, start) if isinstance(text, str) else text.count(b"\n", last, start)
        lines.append(line)
        last = start
    return lines


def left_out_note(left_out: Counter[str]) -> str:
    """``Left out: 2 reposts, 1 private post.``; "" where nothing was."""
    parts = []
    for what, n in left_out.items():
        head, tail = (*re.split(r"(?= (?:without|that|of|or)\b)", what, maxsplit=1), "")[:2]
        many = f"{head[:-1]}ies" if head.endswith("y") else f"{head}s"
        parts.append(f"{n:,} {head}{tail}" if n == 1 else f"{n:,} {many}{tail.replace(' that is ', ' that are ')}")
    return f"Left out: {', '.join(parts)}." if parts else ""


Reader = Callable[[Given], History | None]
