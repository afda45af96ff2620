"""JSON and JSONL to rows: lists of items, and the two layouts in which files hold several users.

    items             [{"text": ..., "title": ...}, ...], [[x, y], ...], ["text", ...], one object, or one object a line
    Per-Pcs release   [{"user_id", "profile": [items], "query": [{"id", "input", "gold"}]}, ...]
    LaMP questions    [{"id", "input", "profile": [items]}, ...]

From a file of users one user is chosen and only the profile becomes rows.

JSON with line numbers: where each element of a document starts, and which documents are JSON at all.

Numbers stay the text they were written as (no digit limit, no rounding) and NaN is a missing value, since every field
we read is text in the end. A document is decoded whole, which proves it, and then walked by offsets.
"""

import difflib
import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from perpcs.data.clean import MAX_LINES, Row, clean_field, count
from perpcs.data.fields import date_of, in_order
from perpcs.errors import PerpcsError
from perpcs.tasks import asked_task, no_emails

# ---- scanning --------------------------------------------------------------------------------------------------------


_DECODER = json.JSONDecoder(
    strict=False,
    parse_int=str,
    parse_float=str,
    parse_constant=lambda _: None,
    object_hook=lambda each: each,  # other threads have their turn whenever this is called
)
MAX_PARTS = 2_000_000
"""Commas and opening brackets of a document that a visitor gives."""
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


def check_parts(text: str) -> None:
    """Refuse JSON of too many parts before it is decoded: beside a text of its length they take minutes.

    Raises:
        PerpcsError: for more than ``MAX_PARTS`` commas and opening brackets.
    """
    if text[:100].lstrip()[:1] in ("[", "{") and sum(map(text.count, ",[{")) > MAX_PARTS:
        raise PerpcsError(f"The JSON has more than {MAX_PARTS:,} parts.", "Give the part with your newest items.")


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


# ---- rows ------------------------------------------------------------------------------------------------------------


_LISTS = ("profile", "history", "items", "data")


@dataclass(frozen=True)
class JsonRows:
    """What a JSON text holds for one person."""

    rows: Iterable[Row]
    notes: tuple[str, ...]
    user_id: str | None = None
    """The id of the chosen user where the file names users."""


Values: TypeAlias = tuple[bool, Sequence["Found | tuple[int, str, str]"]]
"""What ``json_values`` gives."""


def json_rows(told: Values, user_id: str | None = None, first_user: bool = False) -> JsonRows:
    """The rows of a JSON or JSONL text's values; of several users the one of that id, or the first if ``first_user``.

    Raises:
        PerpcsError: for a file of answers only, several users without a choice, or an unknown user.
    """
    as_lines, values = told
    users = [found for found in values if isinstance(found, Found) and is_user(found.value)]
    if users:
        if asked_task(input_of(users[0].value)) == "LaMP_6":
            raise no_emails()
        names = tuple(dict.fromkeys(user_name(user.value) for user in users))
        name = names[0] if first_user else choose_name(names, user_id, "user")
        elements = shared_profile([user for user in users if user_name(user.value) == name])
        of = f", one of {count(len(names), 'user')} in the file" if len(names) > 1 else ""
        notes = [f"Read the history of user {_short(name)!r}{of}."]
        starts = [found.start for found in elements]
        if starts != sorted(starts):
            notes.append("Sorted by date, oldest first.")
        return JsonRows(map(_row, elements), tuple(notes), name)
    note = "Read as JSON, one item a line." if as_lines else "Read as JSON."
    return JsonRows((_row(found) for found in values), (note,))


def json_values(text: str, document: Found | None = None) -> Values:
    """(whether it is JSONL, the elements of the document or its lines, broken lines among them).

    Args:
        document: the text decoded, where it has been.

    Raises:
        PerpcsError: for broken JSON, or a LaMP outputs file.
    """
    try:
        document = document or read_document(text)
    except PerpcsError:
        if is_json_lines(text):
            return True, list(read_lines(text))
        raise
    value = document.value
    if isinstance(value, dict) and "golds" in value:
        raise PerpcsError(
            "This is a LaMP outputs file: it holds answers but no history.",
            "Give the questions file that belongs to it.",
        )
    if isinstance(value, dict) and not is_user(value):
        inner = next((document.member(name) for name in _LISTS if isinstance(value.get(name), list)), None)
        return False, list(inner.elements()) if inner else items_of(document) or [document]
    if isinstance(value, list):
        return False, list(document.elements())
    return False, [document]


def users_named(told: Values) -> tuple[str, ...]:
    """The ids of the users in a file of users, in order; empty for any other JSON."""
    users = (found.value for found in told[1] if isinstance(found, Found) and is_user(found.value))
    return tuple(dict.fromkeys(map(user_name, users)))


def input_of(user: dict[str, Any]) -> str:
    """The first question of a user in either layout; "" where there is none."""
    queries = user.get("query")
    first = queries[0] if isinstance(queries, list) and queries else user
    given = first.get("input") if isinstance(first, dict) else None
    return given if isinstance(given, str) else ""


def is_user(value: Any) -> bool:
    """Whether a JSON value is a person with a profile, in either layout."""
    return isinstance(value, dict) and isinstance(value.get("profile"), list)


def user_name(user: dict[str, Any]) -> str:
    """The user's id; where LaMP's files name no user, a user is known by the id of the question."""
    name = user.get("user_id") if user.get("user_id") is not None else user.get("id")
    return clean_field(name) if isinstance(name, str) else ""


def profile(user: Found) -> list[Found]:
    """The elements of a user's profile with their places, oldest first where they have dates."""
    found = user.member("profile")
    return in_date_order(list(found.elements()) if found else [])


def shared_profile(user: Sequence[Found]) -> list[Found]:
    """What lies before every question of one user: the items that all their profiles hold.

    LaMP's time-based files repeat a user with each question, and the profile of a later one holds the earlier ones.
    """
    profiles = [profile(question) for question in user]
    if len(profiles) == 1:
        return profiles[0]
    keys = [{_item_key(item) for item in items} for items in profiles]
    shared = set.intersection(*keys)
    return [item for item in min(profiles, key=len) if _item_key(item) in shared]


def _item_key(item: Found) -> str:
    named = item.value.get("id") if isinstance(item.value, dict) else None
    return named if isinstance(named, str) and named else json.dumps(item.value, sort_keys=True)


def in_date_order(elements: list[Found]) -> list[Found]:
    """Oldest first, where at least half of the elements have dates; as they are otherwise."""
    order = in_order([date_of(each.value) if isinstance(each.value, dict) else None for each in elements])
    return elements if order is None else [elements[place] for place in order]


def choose_name(names: Sequence[str], wanted: str | None, noun: str = "name") -> str:
    """The name that was wanted, or the only one.

    Raises:
        PerpcsError: when there are several and none is wanted, or none is the wanted one (with the nearest).
    """
    if wanted is None:
        if len(names) == 1:
            return names[0]
        do = "Choose one by its id." if noun == "user" else "Say which of them is you."
        raise PerpcsError(f"The file holds {count(len(names), noun)}: {_some(names)}.", do)
    if wanted in names:
        return wanted
    near = difflib.get_close_matches(wanted[:60], [name[:60] for name in names], n=3)
    hint = f"Did you mean {' or '.join(repr(_short(name)) for name in near)}? " if near else ""
    raise PerpcsError(
        f"The file has no {noun} {_short(wanted)!r}.",
        f"{hint}It holds {count(len(names), noun)}: {_some(names)}.",
    )


def _row(found: "Found | tuple[int, str, str]") -> Row:
    """A row from an element: an object has named fields, a pair is x and y, a text alone is x."""
    if isinstance(found, tuple):
        line, raw, wrong = found
        return Row(line, raw, problem=(f"The line is not JSON: {wrong}.", "Write one whole object on each line."))
    value = found.value
    if isinstance(value, dict) and value:
        return Row(found.line, found.raw, value)
    if isinstance(value, str) and found.text[found.start] == '"':  # numbers are text here too, and no item
        return Row(found.line, found.raw, {"x": value})
    if isinstance(value, list) and len(value) == 2:
        return Row(found.line, found.raw, {"x": value[0], "y": value[1]})
    problem = ("The element is not an object with fields.", 'Write {"field": "text", ...} for each item.')
    return Row(found.line, found.raw, problem=problem)


def iter_users(values: Iterable["Found | tuple[int, str, str]"]) -> Iterator[Found]:
    """The elements of a file of users, all of which must be users.

    Raises:
        PerpcsError: naming the line of the first that is not.
    """
    for found in values:
        if isinstance(found, tuple) or not is_user(found.value):
            line = found[0] if isinstance(found, tuple) else found.line
            raise PerpcsError(
                f"Line {line}: this is not a user with a 'profile' list.",
                'Write each user as {"user_id": ..., "profile": [...], "query": [...]} or in LaMP\'s questions layout.',
            )
        yield found


def _short(name: str) -> str:
    return name if len(name) <= 40 else name[:39] + "…"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(_short(name)) for name in names[:5])
    return f"{shown} and {len(names) - 5:,} more" if len(names) > 5 else shown
