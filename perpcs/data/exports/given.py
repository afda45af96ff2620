"""What a person gave, opened once in each form that a reader of exports asks for: text, JSON, table.

A reader is a function from ``Given`` to ``History``, or to None where the text is none of its kind.

Beside it the readers of plain structure: data frames as JSON, in each orientation that pandas writes, and what is
refused by its name because its lines are no items (each kind is told by how a text opens, not by its name's ending;
endings count only for files of source text).

records, table   a list of objects, alone or under "data"     (read as any list of objects)
columns          {"text": {"0": ..., "1": ...}, "title": {...}}
list             {"text": [..., ...], "title": [...]}
index            {"0": {"text": ..., "title": ...}, "1": {...}}
split, tight     {"columns": ["text", "title"], "index": [...], "data": [[..., ...], ...]}
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import PurePath
from typing import Any

from perpcs.data.clean import Row, check_lines, without_markup
from perpcs.data.fields import is_header, plain
from perpcs.data.parse_json import (
    Found,
    Values,
    check_parts,
    is_json_lines,
    items_of,
    json_values,
    looks_like_json,
    read_document,
)
from perpcs.data.parse_tables import Grid, find_header, table_rows, text_grids
from perpcs.errors import PerpcsError

# ---- what was given --------------------------------------------------------------------------------------------------


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


_HEAD, _HEAD_LINES = 1_000_000, 1_000


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
        check_parts(text)
        self.text = text

    @cached_property
    def head(self) -> str:
        """The first lines, without space before them: enough to tell what the text is, however long it is."""
        return "\n".join(self.text.lstrip()[:_HEAD].split("\n", _HEAD_LINES)[:_HEAD_LINES])

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
        return [each for each in self.values[1] if isinstance(each, Found) and isinstance(each.value, dict)]

    @cached_property
    def values(self) -> Values:
        """All that the JSON document or the lines of JSONL hold.

        Raises:
            PerpcsError: as ``json_values``.
        """
        return json_values(self.text, self.document)

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


def of_json(*marks: str) -> Callable[[Reader], Reader]:
    """A reader that sees only scripts that assign JSON, and JSON in whose text one of ``marks`` stands; no marks = all.

    Every file that a reader knows has one of its marks. To search a text is much quicker than to look at each object.
    """

    def decorate(read: Reader) -> Reader:
        @wraps(read)
        def only_json(given: Given) -> History | None:
            marked = given.is_json and (not marks or any(mark in given.text for mark in marks))
            return read(given) if given.script or marked else None

        return only_json

    return decorate


def of_table(*headers: tuple[str, ...]) -> Callable[[Callable[[Iterator[Row]], History | None]], Reader]:
    """A reader that sees only the rows of tables whose header has all the (plain) names of one of ``headers``."""

    def decorate(read: Callable[[Iterator[Row]], History | None]) -> Reader:
        @wraps(read)
        def only_tables(given: Given) -> History | None:
            table = next((rows for names in headers if (rows := given.table(*names)) is not None), None)
            return None if table is None else read(table)

        return only_tables

    return decorate


def of_text(opens: Callable[[str], object]) -> Callable[[Reader], Reader]:
    """A reader that sees only texts in whose head ``opens`` finds something."""

    def decorate(read: Reader) -> Reader:
        @wraps(read)
        def only_texts(given: Given) -> History | None:
            return read(given) if opens(given.head) else None

        return only_texts

    return decorate


# ---- data frames -----------------------------------------------------------------------------------------------------


@of_json()
def data_frame(given: Given) -> History | None:
    """The rows of a frame whose columns name fields that we know."""
    document = given.document
    if document is None or not isinstance(document.value, dict):
        return None
    for rows in (_split(document), _columns(document), _index(document)):
        if rows is not None:
            return History("a data frame", rows)
    return None


def _split(document: Found) -> Iterator[Row] | None:
    names, data = document.value.get("columns"), document.member("data")
    if not isinstance(names, list) or data is None or not isinstance(data.value, list):
        return None
    return (
        _row(each, dict(zip(map(str, names), each.value, strict=False)))
        for each in data.elements()
        if isinstance(each.value, list)
    )


def _columns(document: Found) -> Iterator[Row] | None:
    columns = {name: value for name, value in document.value.items() if isinstance(value, dict | list) and value}
    if not columns or not is_header(columns) or len({type(value) for value in columns.values()}) > 1:
        return None
    by_place = {
        name: value if isinstance(value, dict) else {str(n): each for n, each in enumerate(value)}
        for name, value in columns.items()
    }
    if any(isinstance(cell, dict | list) for cell in next(iter(by_place.values())).values()):
        return None
    first = next(found for name, found in document.members() if name in columns)
    places = (
        list(first.members())
        if isinstance(first.value, dict)
        else [(str(number), found) for number, found in enumerate(first.elements())]
    )
    return (_row(found, {name: column.get(place) for name, column in by_place.items()}) for place, found in places)


def _index(document: Found) -> Iterator[Row] | None:
    values = list(document.value.values())
    if not values or not all(isinstance(value, dict) and value for value in values) or not is_header(values[0]):
        return None
    if any(plain(name) in ("text", "title", "data", "items") for name in document.value):
        return None
    return (_row(found, found.value) for _, found in document.members())


def _row(found: Found, fields: dict[str, Any]) -> Row:
    return row_of(
        found, {name: without_markup(value) if isinstance(value, str) else value for name, value in fields.items()}
    )


# ---- no known export -------------------------------------------------------------------------------------------------


_AS_TABLE = "Export it as CSV or JSON, or paste the texts themselves, one a line."
_OWN = "Paste your own messages, one a line."
_KINDS = (  # how it opens, what it is, what to give instead
    (r"<!doctype html|<html\b|<head\b|<body\b", "a web page (HTML)", "Choose JSON instead of HTML when you export."),
    (r"<opml\b", "a list of feeds (OPML)", "Give the feed of your own site."),
    (r"<(?:kml|gpx|svg|plist|smses)\b", "XML of another kind", _AS_TABLE),
    (r"BEGIN:VCARD", "an address book (vCard)", "Give what you wrote instead."),
    (r"BEGIN:VCALENDAR", "a calendar (iCalendar)", "Give what you wrote instead."),
    (
        r"\[LINE\] |(?=[^\n]*(?:KakaoTalk|카카오톡))[^\n]*+\n(?:Date Saved|저장한 날짜)",
        "a chat of LINE or KakaoTalk",
        _OWN,
    ),
    (r"TY  - ", "references in RIS", "Export them as BibTeX or CSL-JSON."),
    (r"%0 \w|PMID- ?\d", "references in EndNote's or PubMed's format", "Export them as BibTeX or CSL-JSON."),
    (r"\{\\rtf", "rich text (RTF)", "Save it as plain text."),
    (r"\\documentclass|\\begin\{", "LaTeX", "Give its bibliography as BibTeX, or the texts themselves."),
    (r"WEBVTT|1\n\d\d:\d\d:\d\d[,.]\d{3} -->", "subtitles", "Give what you wrote yourself."),
    (r"%PDF", "a PDF", "Save it as text."),
    (r"-----BEGIN [A-Z ]+-----", "a key, a certificate or encrypted text", "Give what you wrote instead."),
    (r"(?:--[^\n]*\n|\s++)*+(?:CREATE TABLE|INSERT INTO|DROP TABLE|BEGIN TRANSACTION|PRAGMA )", "SQL", _AS_TABLE),
    (r"diff --git |--- \S+\n\+\+\+ ", "a patch", "Give what you wrote instead."),
    (r"#!|<\?php|import \w+\n|from [\w.]+ import ", "a program", "Give what you wrote instead."),
    (r"@(?:comment|string|preamble)\s*[{(]", "BibTeX without entries", "Export entries with their abstracts."),
    (r"---[ \t]*+\n[\w\" -]++:[ \t\n]", "YAML", _AS_TABLE),
    (r"\[[\w. -]+\]\n[\w. -]++[ \t]*+=", "a settings file", "Give what you wrote instead."),
)
_OPENINGS = [(re.compile(pattern, re.IGNORECASE), kind, do) for pattern, kind, do in _KINDS]
_XML = re.compile(r"(?:<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE[^>]*>|\s++)*+<([A-Za-z][\w:.-]*)(?=[\s/>])[^<>]*>", re.DOTALL)
_YAML = re.compile(r"(?:- )?[\w\"'-]+:(?: .*)?$|\s+- |\s{2,}[\w\"'-]+:(?: |$)")
_ENDINGS = {
    **dict.fromkeys((".yaml", ".yml"), "YAML"),
    **dict.fromkeys((".html", ".htm", ".xhtml", ".mhtml"), "a web page (HTML)"),
    **dict.fromkeys((".toml", ".ini", ".cfg", ".conf", ".env", ".plist"), "a settings file"),
    **dict.fromkeys((".py", ".js", ".ts", ".c", ".cpp", ".java", ".rs", ".go", ".sh", ".php", ".css"), "a program"),
    ".sql": "SQL",
    ".tex": "LaTeX",
    ".xml": "XML",
    ".rtf": "rich text (RTF)",
    ".srt": "subtitles",
    ".ics": "a calendar",
    ".vcf": "an address book (vCard)",
    ".ris": "references in RIS",
    ".log": "a log",
    ".ipynb": "a notebook",
    ".bib": "BibTeX without entries",
    ".mbox": "an mbox file without mail that can be read",
    ".eml": "a mail file that cannot be read",
}


def refuse_structured(given: Given) -> None:
    """Raise for a text that is structured and none of the exports that are read.

    Raises:
        PerpcsError: with the kind's name and what to export instead.
    """
    text = given.text.lstrip()
    for pattern, kind, do in _OPENINGS:
        if pattern.match(text):
            raise PerpcsError(f"This is {kind}, which is not supported.", do)
    if (root := _XML.match(text)) and _closes(text, root[1]):
        raise PerpcsError(f"This is XML (<{root[1][:40]}>) of an unsupported kind.", _AS_TABLE)
    if given.script:
        raise PerpcsError(f"This is a script that sets {given.script[:40]!r}, not a history.", _AS_TABLE)
    if (
        given.share(_YAML) == 1.0
        and text.count("\n") > 3
        and "\n" in text
        and re.search(r"^[ \t]+\S|^- ", text, re.MULTILINE)
    ):
        raise PerpcsError("This is YAML, which is not supported.", _AS_TABLE)
    ending = PurePath(given.name).suffix.lower()
    if ending in _ENDINGS:
        raise PerpcsError(f"This is {_ENDINGS[ending]}, which is not supported.", _AS_TABLE)


def _closes(text: str, root: str) -> bool:
    """Whether the text ends as the element that opens it does: then it is markup, not a line that begins with <3."""
    return text.rstrip().endswith((f"</{root}>", "/>")) or f"</{root}>" in text
