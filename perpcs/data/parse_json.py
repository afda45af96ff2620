"""JSON and JSONL to rows: lists of items, and the two layouts in which files hold several users.

    items             [{"text": ..., "title": ...}, ...], [[x, y], ...], ["text", ...], one object, or one object a line
    Per-Pcs release   [{"user_id", "profile": [items], "query": [{"id", "input", "gold"}]}, ...]
    LaMP questions    [{"id", "input", "profile": [items]}, ...]

From a file of users one user is chosen and only the profile becomes rows.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from perpcs.data.clean import clean_field
from perpcs.data.dates import in_order
from perpcs.data.fields import date_of
from perpcs.data.json_scan import Found, is_json_lines, items_of, read_document, read_lines
from perpcs.data.limits import Row, count
from perpcs.errors import PerpcsError
from perpcs.tasks import asked_task, no_emails

_LISTS = ("profile", "history", "items", "data")


@dataclass(frozen=True)
class JsonRows:
    """What a JSON text holds for one person."""

    rows: Iterable[Row]
    notes: tuple[str, ...]
    user_id: str | None = None
    """The id of the chosen user where the file names users."""


def json_rows(text: str, user_id: str | None = None, first_user: bool = False) -> JsonRows:
    """The rows of a JSON or JSONL text; of several users the one of that id, or the first if ``first_user``.

    Raises:
        PerpcsError: for broken JSON, a file of answers only, several users without a choice, or an unknown user.
    """
    as_lines, values = json_values(text)
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


def json_values(text: str) -> tuple[bool, Sequence["Found | tuple[int, str, str]"]]:
    """(whether it is JSONL, the elements of the document or its lines, broken lines among them).

    Raises:
        PerpcsError: for broken JSON, or a LaMP outputs file.
    """
    try:
        document = read_document(text)
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


def users_named(text: str) -> tuple[str, ...]:
    """The ids of the users in a file of users, in order; empty for any other JSON.

    Raises:
        PerpcsError: as ``json_values``.
    """
    values = json_values(text)[1]
    users = (found.value for found in values if isinstance(found, Found) and is_user(found.value))
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
