"""What a person pasted or uploaded, read for a task: choose the parser by the content, then collect the rows.

The name's ending is a hint and no more: a .csv that holds JSON is read as JSON, and a note says so.

    pasted, .txt    JSON if it opens as JSON does; a table if it has a known header or most lines have a tab; else lines
    .csv, .tsv      JSON if it opens and decodes as JSON; lines if most hold "=>"; else a table
    .json, .jsonl   JSON if it opens with a bracket or brace; else as pasted
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import Literal

from perpcs.data.clean import decode, is_binary, prepare
from perpcs.data.collect import collect
from perpcs.data.json_scan import is_json_lines, looks_like_json, read_document
from perpcs.data.limits import Limits, Reading, Row
from perpcs.data.parse_json import json_rows, users_named
from perpcs.data.parse_tables import find_header, find_layout, table_rows
from perpcs.data.parse_text import ARROW, line_rows, pair_rows
from perpcs.data.task_fit import guess_rows
from perpcs.errors import PerpcsError
from perpcs.tasks import Task

Kind = Literal["json", "table", "text"]
_ENDINGS: dict[str, Kind] = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "table",
    ".tsv": "table",
    ".tab": "table",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
}
GUESS_ROWS = 200
NORMAL = Limits()
_KIND_NAMES = {"json": "JSON", "table": "a table", "text": "lines of text"}


@dataclass(frozen=True)
class Parsed:
    """Rows that no task has looked at yet."""

    rows: Iterable[Row]
    notes: tuple[str, ...]
    user_id: str | None = None


def read_pasted(
    text: str,
    task: Task,
    limits: Limits = NORMAL,
    user_id: str | None = None,
) -> Reading:
    """The items of a pasted text: pairs ``input => output`` or with a tab, whole lines for free-text tasks, or JSON.

    Raises:
        PerpcsError: for an empty or too large text, broken JSON, another task's items, or when no line can be read.
    """
    _check_size(len(text.encode("utf-8", "surrogatepass")), limits, "text")
    if is_binary(text):
        raise PerpcsError("The text is not readable: it is full of control characters.", "Paste plain text.")
    text, notes = prepare(text)
    if not text.strip():
        raise PerpcsError("There is no text.", "Paste at least one item.")
    parsed = parse(text, task, user_id=user_id)
    return collect(parsed.rows, task, limits, (*notes, *parsed.notes))


def read_upload(
    name: str,
    data: bytes,
    task: Task,
    limits: Limits = NORMAL,
    user_id: str | None = None,
) -> Reading:
    """The items of an uploaded txt, csv, tsv, json or jsonl file, or the history of one user in a LaMP or Per-Pcs file.

    Raises:
        PerpcsError: for a file that is empty, too large, no text, or broken; for another task's items; for several
            users without ``user_id`` or an unknown one; and when no row can be read.
    """
    return read_named(name, data, task, limits, user_id)[1]


def read_named(
    name: str, data: bytes, task: Task, limits: Limits, user_id: str | None = None
) -> tuple[str | None, Reading]:
    """``read_upload`` with the id of the user whose history it is, where the file names its users."""
    _check_size(len(data), limits, "file")
    text, encoding_notes = decode(data)
    text, notes = prepare(text)
    if not text.strip():
        raise PerpcsError("The file is empty.", "Choose a file with at least one item in it.")
    parsed = parse(text, task, name, user_id)
    return parsed.user_id, collect(parsed.rows, task, limits, (*encoding_notes, *notes, *parsed.notes))


def guess_task(given: str | bytes) -> tuple[Task, str] | None:
    """The task that a pasted text or an uploaded file's bytes fit best, with one sentence on why; None if unclear.

    Never raises: what cannot be read fits no task. Of a file of users the first is looked at.
    """
    try:
        text = prepare(given if isinstance(given, str) else decode(given)[0])[0]
        return guess_rows(list(islice(parse(text, None).rows, GUESS_ROWS)))
    except PerpcsError:
        return None


def user_ids(given: str | bytes) -> tuple[str, ...]:
    """The ids in a file or text of several users, to choose from; none where it is one person's own history.

    Never raises: ``read_upload`` says what is wrong with a file.
    """
    try:
        text = prepare(given if isinstance(given, str) else decode(given)[0])[0]
        return users_named(text) if looks_like_json(text) else ()
    except PerpcsError:
        return ()


def parse(text: str, task: Task | None, name: str = "", user_id: str | None = None) -> Parsed:
    """Cut a prepared text into rows. Without a task nothing is asked of the person: of several users the first counts.

    Raises:
        PerpcsError: for broken JSON, a table that needs a header, and as ``choose_user`` does.
    """
    ending = PurePath(name).suffix.lower()
    told = _ENDINGS.get(ending)
    kind = _kind(text, task, told)
    notes = () if told in (None, "text", kind) else (f"The name ends in {ending}, but it holds {_KIND_NAMES[kind]}.",)
    if kind == "json":
        found = json_rows(text, user_id, first_user=task is None)
        return Parsed(found.rows, (*notes, *found.notes), found.user_id)
    if kind == "table":
        layout = find_layout(text, task, prefer="\t" if ending in (".tsv", ".tab") or _has_tabs(text) else ",")
        return Parsed(table_rows(text, layout, task), (*notes, layout.note(task)))
    # Without a task, arrows and tabs are what tells pairs from free text.
    pairs = task.y_field is not None if task else _share(text, ARROW) >= 0.5 or _has_tabs(text)
    rows = pair_rows(text, task) if pairs else line_rows(text)
    return Parsed(rows, (*notes, "Read as one item a line."))


def _kind(text: str, task: Task | None, told: Kind | None) -> Kind:
    if told == "json" and text.lstrip()[:1] in ("[", "{"):
        return "json"
    if looks_like_json(text) and (_decodes(text) or not (told == "table" or _is_pair(text))):
        return "json"
    if told == "table":
        return "text" if _share(text, ARROW) > 0.5 and not find_header(text) else "table"
    if find_header(text):
        return "table"
    pairs = task is None or task.y_field is not None
    return "table" if pairs and _has_tabs(text) else "text"


def _decodes(text: str) -> bool:
    try:
        read_document(text)
    except PerpcsError:
        return is_json_lines(text)
    return True


def _is_pair(text: str) -> bool:
    """Whether the first line is a pair that only opens like JSON: ``["Never again", she said] => ...``."""
    first = text.strip().split("\n", 1)[0]
    return ARROW in first or "\t" in first


def _has_tabs(text: str) -> bool:
    """Whether the text was copied from a spreadsheet: at least half of the lines have a tab, none an arrow."""
    return _share(text, "\t") >= 0.5 and ARROW not in text


def _share(text: str, mark: str) -> float:
    """The share of the first lines that hold the mark."""
    head = [line for line in text.split("\n", 100)[:100] if line.strip()]
    return sum(mark in line.strip() for line in head) / len(head) if head else 0.0


def _check_size(size: int, limits: Limits, noun: str) -> None:
    if size > limits.max_bytes:
        raise PerpcsError(
            f"The {noun} has {size / 1e6:,.1f} MB; at most {limits.max_bytes / 1e6:,.1f} MB are read.",
            f"Give a part of it, for example {limits.max_rows:,} items.",
        )
