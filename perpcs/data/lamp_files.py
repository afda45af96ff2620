"""Files of users on disk, for the command line: strict, since a pool or a result is built on them.

    Per-Pcs, OPPU   a list of {"user_id", "profile": [...], "query": [{"id", "input", "gold"}]}; OPPU keeps the golds
                    apart in NAME_label.json, in LaMP's form
    LaMP            NAME_questions.json, a list of {"id", "input", "profile": [...]} with "user_id" in the time-based
                    split, and beside it NAME_outputs.json, {"task": ..., "golds": [{"id", "output"}]}; or both merged,
                    with "output" beside "input"

Golds belong to questions by the questions' ids. In all layouts the profile is what was written before the queries,
oldest first; of several questions of one user it is what lies before all of them.

Citations without the reference that was passed over: LaMP's histories name only what was cited.

A query shows two references, one of them cited by somebody else. To learn from a history in the same form, each of its
items gets such a second reference: one that another person of the same file cited and this person never did.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from perpcs.data.clean import Limits, Reading, Row, clean_field, decode, prepare
from perpcs.data.collect import named_task, wrong_task
from perpcs.data.fields import lamp_fields, to_item, whole_stars
from perpcs.data.parse_json import Found, input_of, iter_users, json_values, read_document, shared_profile, user_name
from perpcs.data.read import read_named
from perpcs.errors import PerpcsError
from perpcs.tasks import FOLDERS, TASKS, Item, Query, Task, User, asked_task, no_emails

# ---- files -----------------------------------------------------------------------------------------------------------


BASE_USERS, CANDIDATES, TARGETS = "base_users.json", "sharer_candidates.json", "target_users.json"
_RELEASED = {
    BASE_USERS: ("user_base_LLM.json", "user_others.json"),
    CANDIDATES: ("user_anchor_candidate.json",),
    TARGETS: ("test_100/user_test_100.json", "user_test_100.json", "user_top_100_history.json"),
}
"""What the releases of Per-Pcs and OPPU call these files."""
MAX_LABELS = 60
"""More different answers than this are no set of labels."""
_TASKS_NAMED = {"LaMP_2": ("LaMP_2", "LaMP_2N"), "LaMP_2M": ("LaMP_2",)}
"""Which tasks an outputs file may mean: movies and news were both published as LaMP_2."""
FILE_LIMITS = Limits(max_bytes=2_000_000_000)
"""A file of users may be large; one user's history has the limits of an upload."""
_WHOLE = Limits(max_chars_per_field=10**9)


def read_users(path: Path, task: Task, outputs: Path | None = None) -> list[User]:
    """The users of a file in the layout of LaMP, OPPU or Per-Pcs, each with history and queries.

    Answers that the file itself does not hold are read from ``outputs``, or from the file that lies beside it under
    LaMP's or OPPU's name for it; without answers the queries have no gold. Where the labels are not the task's and the
    task may have others, they are taken as they are: ``labels_of`` tells them.

    Raises:
        PerpcsError: for a file that cannot be read, another task's users, or a malformed user (naming user and item).
    """
    _, values = json_values(_read_text(path))
    entries = list(iter_users(values))
    if not entries:
        raise PerpcsError(f"{path} holds no users.", "Give a file with at least one.")
    _refuse_other_questions(entries, task)
    found = outputs or next((beside for beside in _siblings(path) if beside.exists()), None)
    golds = (
        _read_golds(found, task) if found and (outputs or any(_lacks_golds(user.value) for user in entries)) else None
    )
    task = _with_own_labels(task, entries, golds)
    people: dict[str, list[Found]] = {}
    for user in entries:
        name = user_name(user.value)
        if not name:
            raise PerpcsError(f"Line {user.line}: the user has no 'user_id' and no 'id'.", "Give every user an id.")
        if name in people and ("query" in user.value or user.value.get("user_id") is None):
            raise PerpcsError(f"{path} holds user {name!r} twice.", "Give every user an id of their own.")
        people.setdefault(name, []).append(user)
    return [_read_user(name, own, task, golds) for name, own in people.items()]


def task_folder(data: Path, task: str) -> Path:
    """The folder of a task below a folder of data, under the task's name or that of a release."""
    names = [task, *(folder for folder, name in FOLDERS.items() if name == task)]
    return next((data / name for name in names if (data / name).is_dir()), data / task)


def people_file(folder: Path, kind: str) -> Path:
    """The file of a kind (``BASE_USERS``, ``CANDIDATES``, ``TARGETS``), under our name or that of a release."""
    return next((folder / name for name in (kind, *_RELEASED[kind]) if (folder / name).exists()), folder / kind)


def labels_of(task: Task, users: Iterable[User]) -> tuple[str, ...]:
    """The labels that people's histories and answers hold, for a task that may have others than LaMP's.

    The task's own, or those of other known data, where they hold all of them; else those that occur, sorted.
    """
    if not task.other_labels:
        return task.labels
    items = {item.y for user in users for item in user.history} | {q.gold for user in users for q in user.queries}
    given = {label for label in items if label is not None}
    known = next((labels for labels in (task.labels, task.other_labels) if given <= set(labels)), None)
    return known or tuple(sorted(given))


def read_history_file(
    path: Path,
    task: Task,
    user_id: str | None = None,
    limits: Limits = FILE_LIMITS,
    replies: bool = True,
) -> tuple[str, Reading]:
    """One person's history from disk, and what to call them.

    The file is their own, in any form that can be uploaded, and named by ``user_id`` or the file's name; or it holds
    several users, of whom ``user_id`` chooses one. Of an export of posts ``replies`` says whether answers count.

    Raises:
        PerpcsError: as ``read_upload``, and for a path that is missing, a directory, or cannot be read.
    """
    name, reading = read_named(path.name, _read_bytes(path), task, limits, user_id, replies)
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


def _siblings(path: Path) -> tuple[Path, ...]:
    """Where the answers to a file's questions may lie."""
    stem = path.name.removesuffix(".json")
    names = [f"{stem}_label.json", f"{stem}_labels.json", f"{stem}_outputs.json"]
    if stem.endswith("questions"):
        names.insert(0, stem.removesuffix("questions") + "outputs.json")
    return tuple(path.with_name(name) for name in names)


def _lacks_golds(user: dict[str, Any]) -> bool:
    queries = user["query"] if isinstance(user.get("query"), list) else [user] if "query" not in user else []
    return any(isinstance(query, dict) and query.get("gold", query.get("output")) is None for query in queries)


def _refuse_other_questions(users: Sequence[Found], task: Task) -> None:
    """Raise where the first question is worded as that of another task, LaMP_6 among them."""
    asked = asked_task(input_of(users[0].value))
    if asked == "LaMP_6":
        raise no_emails()
    if asked and asked != task.name:
        raise wrong_task(task, TASKS[asked], "its questions are worded so.")


def _with_own_labels(task: Task, users: Sequence[Found], golds: dict[str, str] | None) -> Task:
    """The task with the labels that the data hold, where it may have others and knows not all of them."""
    if not task.other_labels:
        return task
    given = {value.lower() for value in (golds or {}).values()}
    for user in users:
        for item in user.value["profile"]:
            label = lamp_fields(item, task).get(task.y_field or "") if isinstance(item, dict) else None
            if isinstance(label, str) and label.strip():
                given.add(clean_field(label).lower())
    if given <= {*task.labels, *task.other_labels} or not 2 <= len(given) <= MAX_LABELS:
        return task
    return replace(task, other_labels=tuple(sorted(given)))


def _read_golds(path: Path, task: Task) -> dict[str, str]:
    """Question id to answer from a LaMP outputs file."""
    value = read_document(_read_text(path)).value
    if not isinstance(value, dict) or not isinstance(value.get("golds"), list):
        raise PerpcsError(f"{path} is not a LaMP outputs file.", 'It must hold {"task": ..., "golds": [...]}.')
    named = value.get("task")
    if isinstance(named, str) and task.name not in _TASKS_NAMED.get(named, (named,)):
        raise PerpcsError(
            f"{path} holds the answers of {named}, not of {task.name}.", "Give the file of the same task."
        )
    golds = {}
    for number, gold in enumerate(value["golds"], start=1):
        if not isinstance(gold, dict) or not isinstance(gold.get("id"), str) or not isinstance(gold.get("output"), str):
            raise PerpcsError(f"{path}: answer {number} has no 'id' and 'output'.", "Give every answer both.")
        golds[gold["id"]] = clean_field(gold["output"])
    return golds


def _read_user(name: str, entries: Sequence[Found], task: Task, golds: dict[str, str] | None) -> User:
    elements = shared_profile(entries)
    history = tuple(_read_history_item(found, n, name, elements, task) for n, found in enumerate(elements, start=1))
    queries = [query for entry in entries for query in _read_queries(entry.value, name, task, golds)]
    return User(id=name, history=history, queries=tuple(queries))


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


def _read_queries(user: dict[str, Any], name: str, task: Task, golds: dict[str, str] | None) -> list[Query]:
    questions = user.get("query", [user] if "input" in user else [])
    if not isinstance(questions, list):
        raise PerpcsError(f"User {name!r}: 'query' is not a list.", "Write a list of {'id', 'input', 'gold'}.")
    return [_read_query(question, n, name, task, golds) for n, question in enumerate(questions, start=1)]


def _read_query(query: Any, number: int, user: str, task: Task, golds: dict[str, str] | None) -> Query:
    place = f"User {user!r}, query {number}"
    if not isinstance(query, dict) or not isinstance(query.get("input"), str):
        raise PerpcsError(f"{place}: there is no 'input' text.", "Give every query an 'input'.")
    gold, query_id = query.get("gold", query.get("output")), query.get("id")
    if gold is None and golds is not None:
        if query_id not in golds:
            raise PerpcsError(
                f"Question {query_id!r} has no answer in the outputs file.", "Give the file it belongs to."
            )
        gold = golds[query_id]
    if gold is not None and not isinstance(gold, str):
        raise PerpcsError(f"{place}: 'gold' is not text.", "Give one text, or leave it out.")
    try:
        answer = None if gold is None else answer_of(gold, task)
        read = task.read_query(clean_field(query["input"]), gold=answer)
    except PerpcsError as error:
        raise PerpcsError(f"{place}: {error.wrong}", error.do) from None
    return replace(read, id=clean_field(query_id) if isinstance(query_id, str) else "")


def answer_of(gold: str, task: Task) -> str:
    """A true answer as the task spells it: 4.0 is 4.

    Raises:
        PerpcsError: when it is none of the task's labels.
    """
    text = clean_field(gold)
    return task.read_answer(whole_stars(text) if task.kind == "rating" else text)


def newest(users: Sequence[User], items: int) -> list[User]:
    """The users with only the newest so many items of each history."""
    return [replace(user, history=user.history[-items:]) for user in users]


# ---- citations -------------------------------------------------------------------------------------------------------


def with_others(task: Task, users: Sequence[User], seed: int = 0) -> list[User]:
    """The users with ``other`` filled in where a citation lacks it; of other tasks, and of lone users, as they are."""
    if not task.history_instruction:
        return list(users)
    cited = [sorted({item.y for item in user.history if item.y}) for user in users]
    return [
        _complete(user, own, cited, random.Random(f"{seed}/{user.id}")) for user, own in zip(users, cited, strict=True)
    ]


def _complete(user: User, own: list[str], cited: Sequence[list[str]], rng: random.Random) -> User:
    foreign = [titles for titles in cited if set(titles) - set(own)]
    if not foreign:
        return user

    def draw() -> str:
        while True:
            title = rng.choice(rng.choice(foreign))
            if title not in own:
                return title

    items = tuple(replace(item, other=draw()) if item.y and not item.other else item for item in user.history)
    return replace(user, history=items)
