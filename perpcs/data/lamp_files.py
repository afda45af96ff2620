"""Files of users on disk, for the command line: strict, since a pool or a result is built on them.

    Per-Pcs release   a list of {"user_id", "profile": [...], "query": [{"id", "input", "gold"}]}
    LaMP              NAME_questions.json, a list of {"id", "input", "profile": [...]}, and beside it
                      NAME_outputs.json, {"task": ..., "golds": [{"id", "output"}]}

In both layouts the profile is what was written before the queries, oldest first.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from perpcs.data.clean import clean_field, decode, prepare
from perpcs.data.collect import wrong_task
from perpcs.data.fields import to_item
from perpcs.data.json_scan import Found, read_document
from perpcs.data.limits import Limits, Reading, Row
from perpcs.data.parse_json import in_date_order, iter_users, json_values, profile, user_name
from perpcs.data.read import read_named
from perpcs.data.task_fit import named_task
from perpcs.errors import PerpcsError
from perpcs.tasks import Item, Query, Task, User

FILE_LIMITS = Limits(max_bytes=2_000_000_000)
"""A file of users may be large; one user's history has the limits of an upload."""
_WHOLE = Limits(max_chars_per_field=10**9)


def read_users(path: Path, task: Task, outputs: Path | None = None) -> list[User]:
    """The users of a file in the Per-Pcs release layout or LaMP's, each with history and queries.

    LaMP's answers are read from ``outputs``, or from the sibling ``*_outputs.json`` of a ``*_questions.json`` if there
    is one; without answers the queries have no gold.

    Raises:
        PerpcsError: for a file that cannot be read, another task's users, or a malformed user (naming user and item).
    """
    _, values = json_values(_read_text(path))
    users = list(iter_users(values))
    if not users:
        raise PerpcsError(f"{path} holds no users.", "Give a file with at least one.")
    golds = _read_golds(outputs or _sibling(path), task) if any("query" not in user.value for user in users) else None
    read = [_read_user(user, task, golds) for user in users]
    seen: set[str] = set()
    for user in read:
        if user.id in seen:
            raise PerpcsError(f"{path} holds user {user.id!r} twice.", "Give every user an id of their own.")
        seen.add(user.id)
    return read


def read_history_file(
    path: Path,
    task: Task,
    user_id: str | None = None,
    limits: Limits = FILE_LIMITS,
) -> tuple[str, Reading]:
    """One person's history from disk, and what to call them.

    The file is their own, in any form that can be uploaded, and named by ``user_id`` or the file's name; or it holds
    several users, of whom ``user_id`` chooses one.

    Raises:
        PerpcsError: as ``read_upload``, and for a path that is missing, a directory, or cannot be read.
    """
    name, reading = read_named(path.name, _read_bytes(path), task, limits, user_id)
    return name or user_id or path.stem, reading


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise PerpcsError(f"{path} is a directory.", "Give a file.")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PerpcsError(f"There is no file {path}.", "Check the path.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "the path is not valid"
        raise PerpcsError(f"{path} cannot be read: {reason}.", "Check the path and its permissions.") from None


def _read_text(path: Path) -> str:
    try:
        return prepare(decode(_read_bytes(path))[0])[0]
    except PerpcsError as error:
        raise PerpcsError(f"{path}: {error.wrong}" if str(path) not in error.wrong else error.wrong, error.do) from None


def _sibling(path: Path) -> Path | None:
    if not path.name.endswith("_questions.json"):
        return None
    beside = path.with_name(path.name.removesuffix("_questions.json") + "_outputs.json")
    return beside if beside.exists() else None


def _read_golds(path: Path | None, task: Task) -> dict[str, str] | None:
    """Question id to answer from a LaMP outputs file."""
    if path is None:
        return None
    value = read_document(_read_text(path)).value
    if not isinstance(value, dict) or not isinstance(value.get("golds"), list):
        raise PerpcsError(f"{path} is not a LaMP outputs file.", 'It must hold {"task": ..., "golds": [...]}.')
    named = value.get("task")
    # LaMP's news categorisation was once called LaMP_2, and its files still say so.
    if isinstance(named, str) and named not in (task.name, task.name.removesuffix("N")):
        raise PerpcsError(
            f"{path} holds the answers of {named}, not of {task.name}.", "Give the file of the same task."
        )
    golds = {}
    for number, gold in enumerate(value["golds"], start=1):
        if not isinstance(gold, dict) or not isinstance(gold.get("id"), str) or not isinstance(gold.get("output"), str):
            raise PerpcsError(f"{path}: answer {number} has no 'id' and 'output'.", "Give every answer both.")
        golds[gold["id"]] = clean_field(gold["output"])
    return golds


def _read_user(user: Found, task: Task, golds: dict[str, str] | None) -> User:
    name = user_name(user.value)
    if not name:
        raise PerpcsError(f"Line {user.line}: the user has no 'user_id' and no 'id'.", "Give every user an id.")
    elements = in_date_order(profile(user))
    history = tuple(_read_history_item(found, n, name, elements, task) for n, found in enumerate(elements, start=1))
    return User(id=name, history=history, queries=_read_queries(user.value, name, task, golds))


def _read_history_item(found: Found, number: int, user: str, elements: list[Found], task: Task) -> Item:
    fields = found.value
    item_id = fields.get("id", "") if isinstance(fields, dict) else ""
    place = f"User {user!r}, item {number}" + (f" (id {item_id})" if item_id else "") + f", line {found.line}"
    if not isinstance(fields, dict):
        raise PerpcsError(f"{place}: this is not an object with fields.", "Write {'field': 'text', ...} for each item.")
    try:
        return to_item(fields, task, _WHOLE)[0]
    except PerpcsError as error:
        rows = [Row(each.line, "", each.value) for each in elements if isinstance(each.value, dict)]
        other = named_task(rows)
        if other and other[0].name != task.name:
            raise wrong_task(task, *other) from None
        raise PerpcsError(f"{place}: {error.wrong}", error.do) from None


def _read_queries(user: dict[str, Any], name: str, task: Task, golds: dict[str, str] | None) -> tuple[Query, ...]:
    if "query" not in user:
        if "input" not in user:
            return ()
        question = {"id": name, "input": user["input"]}
        if golds is not None:
            if name not in golds:
                raise PerpcsError(
                    f"Question {name!r} has no answer in the outputs file.", "Give the file it belongs to."
                )
            question["gold"] = golds[name]
        return (_read_query(question, 1, name, task),)
    if not isinstance(user["query"], list):
        raise PerpcsError(f"User {name!r}: 'query' is not a list.", "Write a list of {'id', 'input', 'gold'}.")
    return tuple(_read_query(query, number, name, task) for number, query in enumerate(user["query"], start=1))


def _read_query(query: Any, number: int, user: str, task: Task) -> Query:
    place = f"User {user!r}, query {number}"
    if not isinstance(query, dict) or not isinstance(query.get("input"), str):
        raise PerpcsError(f"{place}: there is no 'input' text.", "Give every query an 'input'.")
    gold, query_id = query.get("gold"), query.get("id")
    if gold is not None and not isinstance(gold, str):
        raise PerpcsError(f"{place}: 'gold' is not text.", "Give one text, or leave it out.")
    try:
        answer = None if gold is None else task.read_answer(clean_field(gold))
        read = task.read_query(clean_field(query["input"]), gold=answer)
    except PerpcsError as error:
        raise PerpcsError(f"{place}: {error.wrong}", error.do) from None
    return replace(read, id=query_id if isinstance(query_id, str) else "")
