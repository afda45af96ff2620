"""JSON with line numbers: where each element of a document starts, and which documents are JSON at all.

Numbers stay the text they were written as (no digit limit, no rounding) and NaN is a missing value, since every field
we read is text in the end. A document is decoded whole, which proves it, and then walked by offsets.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from perpcs.data.limits import MAX_LINES
from perpcs.errors import PerpcsError

_DECODER = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=lambda _: None)
_SPACE = re.compile(r"[ \t\n]*")
_BETWEEN = re.compile(r"[ \t\n,:]*")
MAX_DEPTH = 4
"""How deep in a JSON document the list of a person's items may lie."""
_OPENING = re.compile(r'\s*(?:\{\s*["}]|\[\s*[\[{"\]])')


class LineIndex:
    """The 1-based line of an offset."""

    def __init__(self, text: str, first: int = 1) -> None:
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._first = first

    def __call__(self, offset: int) -> int:
        return self._first + bisect_left(self._breaks, offset)


@dataclass(frozen=True)
class Found:
    """A decoded value and where it was."""

    value: Any
    text: str
    """The document, or the line of a JSONL file."""
    start: int
    """Offset of the value in ``text``."""
    line_of: LineIndex

    @property
    def line(self) -> int:
        return self.line_of(self.start)

    @property
    def raw(self) -> str:
        return self.text[self.start : self.start + 300]

    def elements(self) -> Iterator["Found"]:
        """The elements of this array, in order."""
        pos, left = _skip(_SPACE, self.text, self.start + 1), MAX_LINES
        while self.text[pos] != "]":
            left -= 1
            if left < 0:
                raise PerpcsError(f"A list in it has more than {MAX_LINES:,} entries.", "Give the newest of them.")
            value, end = _decode_again(self.text, pos)
            yield Found(value, self.text, pos, self.line_of)
            pos = _skip(_BETWEEN, self.text, end)

    def members(self) -> Iterator[tuple[str, "Found"]]:
        """The keys and values of this object, in order."""
        pos = _skip(_SPACE, self.text, self.start + 1)
        while self.text[pos] != "}":
            key, end = _decode_again(self.text, pos)
            pos = _skip(_BETWEEN, self.text, end)
            value, end = _decode_again(self.text, pos)
            yield key, Found(value, self.text, pos, self.line_of)
            pos = _skip(_BETWEEN, self.text, end)

    def member(self, name: str) -> "Found | None":
        """The value of a key of this object: the last one, as in every JSON reader."""
        found = None
        for key, value in self.members():
            if key == name:
                found = value
        return found


def items_of(document: Found, depth: int = MAX_DEPTH) -> list[Found]:
    """The elements of a document that is a list, or of the list of objects below it that holds the most text."""
    while not isinstance(document.value, list):
        if not isinstance(document.value, dict) or not depth:
            return []
        best = max(document.value, key=lambda name: _most_text(document.value[name], depth - 1), default="")
        inner = document.member(best) if best and _most_text(document.value[best], depth - 1) else None
        if inner is None:
            return []
        document, depth = inner, depth - 1
    return list(document.elements())


def _most_text(value: Any, depth: int) -> int:
    """How much text the fullest list of objects holds, of a value and what lies below it."""
    if isinstance(value, list):
        return sum(1 + _text_in(each, 3) for each in value if isinstance(each, dict))
    if not isinstance(value, dict) or not depth:
        return 0
    return max((_most_text(each, depth - 1) for each in value.values()), default=0)


def _text_in(value: Any, depth: int) -> int:
    if isinstance(value, str):
        return len(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(_text_in(each, depth - 1) for each in inner) if depth else 0


def looks_like_json(text: str) -> bool:
    """Whether the text opens as a JSON array or object would; ``[1] a title`` and ``{braces}`` do not."""
    return _OPENING.match(text) is not None


def read_document(text: str) -> Found:
    """The one value of a JSON document.

    Raises:
        PerpcsError: with line and column, when it is not JSON or nested too deeply.
    """
    start = _skip(_SPACE, text, 0)
    index = LineIndex(text)
    value, end, problem = _decode(text, start)
    rest = _skip(_SPACE, text, end)
    if not problem and rest < len(text):
        problem, end = "there is more text after the end", rest
    if problem:
        column = end - (text.rfind("\n", 0, end) + 1) + 1
        raise PerpcsError(
            f"The JSON breaks at line {index(end)}, column {column}: {problem}.",
            "Mend that place, or save the file again as JSON.",
        )
    return Found(value, text, start, index)


def read_lines(text: str) -> Iterator["Found | tuple[int, str, str]"]:
    """The values of a JSONL text, one a line; for a line that is no JSON its number, text and what is wrong."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        start = _skip(_SPACE, line, 0)
        value, end, problem = _decode(line, start)
        if not problem and line[end:].strip(" \t"):
            problem = "there is more text after the end"
        yield (number, line, problem) if problem else Found(value, line, start, LineIndex("", first=number))


def is_json_lines(text: str) -> bool:
    """Whether at least half of the first lines are whole JSON objects or arrays."""
    head = [line for line in text.split("\n", 200)[:200] if line.strip()][:20]
    whole = sum(1 for found in read_lines("\n".join(head)) if isinstance(found, Found) and _is_container(found.value))
    return len(head) > 0 and whole * 2 >= len(head)


def _is_container(value: Any) -> bool:
    return isinstance(value, dict | list)


def _decode(text: str, start: int) -> tuple[Any, int, str]:
    """(value, end, "") or (None, offset of the problem, what it is)."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return None, error.pos, error.msg[0].lower() + error.msg[1:]
    except RecursionError:
        return None, start, "it is nested too deeply"
    return value, end, ""


def _decode_again(text: str, start: int) -> tuple[Any, int]:
    """A part of a document that decodes as a whole. Deeper in the stack it may still be nested too deeply."""
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError:
        raise PerpcsError("The JSON is nested too deeply.", "Give a list of items with text fields.") from None


def _skip(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start
