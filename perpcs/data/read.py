"""What a person pasted or uploaded, read for a task: choose the parser by the content, then collect the rows.

    zip, XLSX       opened; of an archive the files that are exports, or else all that can be read
    an export       its reader in exports/, whatever the name
    JSON            if it opens and decodes as JSON
    a table         if a line names known fields, or the name ends in .csv or .tsv, or most lines have a tab
    lines of text   if it is none of these and not structured in another way; such a text is refused by its name

The name's ending is a hint and no more: a .csv that holds JSON is read as JSON, and a note says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal

from perpcs.data.archives import is_zip, open_zip, sheets_of
from perpcs.data.clean import Limits, Reading, Row, count, decode, in_time, is_binary, prepare, without_markup
from perpcs.data.collect import collect, fitting, guess_rows
from perpcs.data.exports import recognise
from perpcs.data.exports.given import REPLY, Given, left_out_note, refuse_structured
from perpcs.data.fields import person_of
from perpcs.data.parse_json import choose_name, is_json_lines, json_rows, looks_like_json, users_named
from perpcs.data.parse_tables import ARROW, find_header, find_layout, line_rows, pair_rows, table_rows, widest
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
MISSING = frozenset(("nan", "null", "none", "<na>", "nat", "n/a", "#n/a"))
"""What programs write where a cell is empty."""


@dataclass(frozen=True)
class Parsed:
    """Rows that no task has looked at yet."""

    rows: Iterable[Row]
    notes: tuple[str, ...]
    user_id: str | None = None
    people: tuple[str, ...] = ()
    """Whose rows there were to choose from."""
    export: bool = False


@dataclass(frozen=True)
class Look:
    """What can be told of a text or a file before it is read for a task."""

    people: tuple[str, ...] = ()
    """Ids or names to choose from; none where it is one person's own history."""
    asks: bool = False
    """Whether the person must say which name is theirs, as in a chat; else any may be looked at."""
    guess: tuple[Task, str] | None = None
    """The task that fits best, with one sentence on why."""
    replies: int = 0
    """Posts that answer somebody's, which may be left out."""
    fits: tuple[Task, ...] = ()
    """All tasks for which most rows can be read."""


Opened = dict[tuple[str, str | bytes], tuple[Given, tuple[str, ...]]]
"""Texts by their names and content, with what was noted when they were opened. Given to each look and reading of one
run of a page, it has them open a text once; whoever makes it drops it with the run.
"""


@in_time
def read_pasted(
    text: str,
    task: Task,
    limits: Limits = NORMAL,
    user_id: str | None = None,
    replies: bool = True,
    opened: Opened | None = None,
) -> Reading:
    """The items of a pasted text: pairs ``input => output`` or with a tab, whole lines for free-text tasks, JSON, a
    table, or an export of a site.

    Raises:
        PerpcsError: for an empty or too large text, broken JSON, another task's items, or when no line can be read.
    """
    _check_size(len(text.encode("utf-8", "surrogatepass")), limits, "text")
    if is_binary(text):
        raise PerpcsError("The text is not readable: it is full of control characters.", "Paste plain text.")
    given, notes = _open("", text, opened)
    if not given.text.strip():
        raise PerpcsError("There is no text.", "Paste at least one item.")
    parsed = _without_replies(parse(given, task, user_id), replies)
    return collect(parsed.rows, task, limits, (*notes, *parsed.notes))


def read_upload(
    name: str,
    data: bytes,
    task: Task,
    limits: Limits = NORMAL,
    user_id: str | None = None,
    replies: bool = True,
    opened: Opened | None = None,
) -> Reading:
    """The items of an uploaded file: text, a table, JSON, a workbook, an export or a zip of them, or the history of one
    user in a LaMP or Per-Pcs file.

    Raises:
        PerpcsError: for a file that is empty, too large, no text, or broken; for another task's items; for several
            people without ``user_id`` or an unknown one; and when no row can be read.
    """
    return read_named(name, data, task, limits, user_id, replies, opened)[1]


@in_time
def read_named(
    name: str,
    data: bytes,
    task: Task,
    limits: Limits,
    user_id: str | None = None,
    replies: bool = True,
    opened: Opened | None = None,
) -> tuple[str | None, Reading]:
    """``read_upload`` with the id of the user whose history it is, where the file names its users."""
    _check_size(len(data), limits, "file")
    parsed = _without_replies(_parse_bytes(name, data, task, user_id, opened), replies)
    return parsed.user_id, collect(parsed.rows, task, limits, parsed.notes)


@in_time
def _look_at(given: str | bytes, name: str, user_id: str | None, opened: Opened | None) -> Look:
    if isinstance(given, bytes):
        parsed = _parse_bytes(name, given, None, user_id, opened)
    else:
        text = _open(name, given, opened)[0]
        parsed = parse(text, None, user_id) if text.text.strip() else Parsed((), ())
    rows = list(parsed.rows)
    replies = sum(bool(row.fields.get(REPLY)) for row in rows)
    guess, fits = guess_rows(rows[:GUESS_ROWS]), fitting(rows[:GUESS_ROWS])
    if guess is None and parsed.export and fits:
        guess = fits[-1], "It is text that you wrote, without an answer to each."
    return Look(parsed.people, parsed.export and len(parsed.people) > 1, guess, replies, fits)


def look(given: str | bytes, name: str = "", user_id: str | None = None, opened: Opened | None = None) -> Look:
    """Whose history it may be and which tasks it fits. Never raises: ``read_upload`` says what is wrong with a file."""
    try:
        return _look_at(given, name, user_id, opened)
    except PerpcsError:
        return Look()


def guess_task(given: str | bytes, name: str = "") -> tuple[Task, str] | None:
    """The task that a pasted text or an uploaded file's bytes fit best, with one sentence on why; None if unclear.

    Never raises: what cannot be read fits no task. Of a file of users the first is looked at.
    """
    return look(given, name).guess


def user_ids(given: str | bytes, name: str = "") -> tuple[str, ...]:
    """The ids or names in a file or text of several people, to choose from; none where it is one person's own history.

    Never raises: ``read_upload`` says what is wrong with a file.
    """
    return look(given, name).people


def _without_replies(parsed: Parsed, replies: bool) -> Parsed:
    """The rows without posts that answer somebody's, unless they are wanted."""
    if replies:
        return parsed
    rows = list(parsed.rows)
    kept = [row for row in rows if not row.fields.get(REPLY)]
    return replace(parsed, rows=kept, notes=(*parsed.notes, f"Left out: {count(len(rows) - len(kept), 'answer')}."))


def _parse_bytes(
    name: str, data: bytes, task: Task | None, user_id: str | None, opened: Opened | None = None
) -> Parsed:
    if is_zip(data):
        kind, members = open_zip(data)
        if kind == "workbook":
            return parse(Given("", name, sheets=sheets_of(data)), task, user_id)
        return _parse_members([(member.name, member.data) for member in members], task, user_id)
    given, notes = _open(name, data, opened)
    if not given.text.strip():
        raise PerpcsError("The file is empty.", "Choose a file with at least one item in it.")
    parsed = parse(given, task, user_id)
    return replace(parsed, notes=(*notes, *parsed.notes))


def _open(name: str, content: str | bytes, opened: Opened | None) -> tuple[Given, tuple[str, ...]]:
    """A text made safe to read, with notes on what that changed."""
    if opened is not None and (name, content) in opened:
        return opened[name, content]
    text, encoding_notes = decode(content) if isinstance(content, bytes) else (content, ())
    text, notes = prepare(text)
    found = Given(text, name, content if isinstance(content, bytes) else b""), (*encoding_notes, *notes)
    if opened is not None:
        opened[name, content] = found
    return found


def _parse_members(members: list[tuple[str, bytes]], task: Task | None, user_id: str | None) -> Parsed:
    """The rows of the files in an archive: of the exports among them, or else of all that can be read."""
    found: list[tuple[str, Parsed]] = []
    first_error: PerpcsError | None = None
    for name, data in sorted(members):
        try:
            parsed = _parse_bytes(name, data, None, user_id) if not is_zip(data) or name.endswith(".xlsx") else None
            rows = list(parsed.rows) if parsed else []
        except PerpcsError as error:
            first_error = first_error or error
            continue
        if parsed and rows and (parsed.export or guess_rows(rows[:GUESS_ROWS])):
            found.append((name, replace(parsed, rows=rows)))
    exports = [(name, parsed) for name, parsed in found if parsed.export] or found
    if not exports:
        raise PerpcsError(
            f"No file of the archive can be read as a history{f': {first_error.wrong}' if first_error else '.'}",
            "Give the one file with what you wrote: text, CSV, JSON or an export.",
        )
    names = ", ".join(PurePath(name).name for name, _ in exports[:5]) + (" and more" if len(exports) > 5 else "")
    notes = [f"Read from the archive: {names}.", *(note for _, parsed in exports for note in parsed.notes)]
    people = tuple(dict.fromkeys(person for _, parsed in exports for person in parsed.people))
    rows = [row for _, parsed in exports for row in parsed.rows]
    if len(people) > 1 and user_id not in people:
        chosen = choose_name(people, user_id) if task else people[0]
        rows = [row for row in rows if row.person in ("", chosen)]
    return Parsed(rows, tuple(dict.fromkeys(notes)), user_id if user_id in people else None, people, export=True)


def parse(given: Given, task: Task | None, user_id: str | None = None) -> Parsed:
    """Cut a prepared text into rows. Without a task nothing is asked of the person: of several users the first counts.

    Raises:
        PerpcsError: for broken JSON, a table that needs a header, structured text of no known kind, and as
            ``choose_user`` does.
    """
    if given.is_json and (users := users_named(given.values)):
        found = json_rows(given.values, user_id, first_user=task is None)
        return Parsed(found.rows, (*_said_of(given.name, "json"), *found.notes), found.user_id, users)
    if (history := recognise(given)) is not None:
        rows = list(history.rows)
        notes = [f"Read as {history.what}."]
        if note := left_out_note(history.left_out):
            notes.append(note)
        if not rows:
            raise PerpcsError(
                f"It was read as {history.what}, but holds nothing that you wrote. {' '.join(notes[1:])}".strip(),
                "Give another part of the export.",
            )
        return replace(_of_one(rows, notes, task, user_id), export=True)
    if given.sheets:
        layout = find_layout(given.grids, task)
        return _of_one(map(_tidy, table_rows(layout, task)), [layout.note(task)], task, user_id)
    kind = _kind(given, task, _ENDINGS.get(PurePath(given.name).suffix.lower()))
    notes = list(_said_of(given.name, kind))
    if kind == "json":
        found = json_rows(given.values, user_id, first_user=task is None)
        return _of_one(map(_tidy, found.rows), [*notes, *found.notes], task, user_id)
    if kind == "table":
        tsv = PurePath(given.name).suffix.lower() in (".tsv", ".tab") or _has_tabs(given.text)
        layout = find_layout(sorted(given.grids, key=lambda grid: grid.delimiter != ("\t" if tsv else ",")), task)
        cells = table_rows(layout, task)
        return _of_one(map(_tidy, cells) if layout.header else cells, [*notes, layout.note(task)], task, user_id)
    # Without a task, arrows and tabs are what tells pairs from free text.
    pairs = _share(given.text, ARROW) >= 0.5 or _has_tabs(given.text, 0.5 if task is None else 0.9)
    if task is not None and task.y_field is not None:
        pairs = True
    return Parsed(pair_rows(given.text, task) if pairs else line_rows(given.text), (*notes, "Read as one item a line."))


def _said_of(name: str, kind: Kind) -> tuple[str, ...]:
    """A note where the name's ending told something else than the content."""
    ending = PurePath(name).suffix.lower()
    told = _ENDINGS.get(ending)
    return () if told in (None, "text", kind) else (f"The name ends in {ending}, but it holds {_KIND_NAMES[kind]}.",)


def _of_one(rows: Iterable[Row], notes: list[str], task: Task | None, user_id: str | None) -> Parsed:
    """The rows of the person who was chosen, where they are of several; without a task the first's.

    Raises:
        PerpcsError: for several people without a choice or with one who is not among them.
    """
    rows = list(rows)
    whose = [row.person or person_of(row.fields) for row in rows]
    people = tuple(dict.fromkeys(filter(None, whose)))
    if len(people) < 2:
        return Parsed(rows, tuple(notes))
    chosen = people[0] if task is None and user_id is None else choose_name(people, user_id)
    own = [row for row, person in zip(rows, whose, strict=True) if person == chosen]
    notes.append(f"Only what {chosen[:60]!r} wrote is read: {len(own):,} of {len(rows):,}.")
    return Parsed(own, tuple(notes), chosen, people)


def _tidy(row: Row) -> Row:
    """The row without cells that say they are empty, and without markup."""
    fields: dict[str, Any] = {}
    for name, value in row.fields.items():
        if isinstance(value, str):
            if value.strip().lower() in MISSING:
                continue
            value = without_markup(value)
        fields[name] = value
    return replace(row, fields=fields)


def _kind(given: Given, task: Task | None, told: Kind | None) -> Kind:
    text = given.text
    if told == "json" and text.lstrip()[:1] in ("[", "{"):
        return "json"
    if looks_like_json(text) and (
        given.document is not None or is_json_lines(text) or not (told == "table" or _is_pair(text))
    ):
        return "json"
    if told == "table":
        return "text" if _share(text, ARROW) > 0.5 and not find_header(given.grids) else "table"
    refuse_structured(given)
    grids = given.grids
    if find_header(grids, one_cell=text.lstrip().lower().startswith("sep=")):
        return "table"
    if ARROW not in text and widest([grid for grid in grids if grid.delimiter != ","]):
        return "table"
    pairs = task is None or task.y_field is not None
    return "table" if pairs and _has_tabs(text) else "text"


def _is_pair(text: str) -> bool:
    """Whether the first line is a pair that only opens like JSON: ``["Never again", she said] => ...``."""
    first = text.strip().split("\n", 1)[0]
    return ARROW in first or "\t" in first


def _has_tabs(text: str, share: float = 0.5) -> bool:
    """Whether the text was copied from a spreadsheet: at least that share of the lines have a tab, none an arrow."""
    return _share(text, "\t") >= share and ARROW not in text


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
