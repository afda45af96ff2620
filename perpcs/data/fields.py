"""From the names people give their fields to the fields of a task, and from there to an item.

A file may call an article ``text``, ``article`` or ``body``. LaMP's own names come first; the others are used only
where LaMP's are absent. Names that LaMP uses for another task are no synonyms: ``abstract`` is never a news article.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from perpcs.data.clean import clean_field
from perpcs.data.limits import Limits
from perpcs.errors import PerpcsError
from perpcs.tasks import TASKS, Item, Task

GENERIC_X = ("x", "input", "source", "prompt", "question")
GENERIC_Y = ("y", "output", "target", "answer", "label", "gold", "response", "completion")
X_NAMES = {
    "LaMP_1": ("paper title", "paper"),
    "LaMP_2": ("plot", "overview", "synopsis", "movie", "text"),
    "LaMP_2N": ("article", "body", "content"),
    "LaMP_3": ("review", "review text", "review body", "comment"),
    "LaMP_4": ("article", "body", "content", "story"),
    "LaMP_5": ("summary", "paper abstract"),
    "LaMP_7": ("tweet", "full text", "post", "message", "content"),
}
Y_NAMES = {
    "LaMP_1": ("cites", "cited", "cited paper", "reference"),
    "LaMP_2": ("genre",),
    "LaMP_2N": ("section", "topic", "class"),
    "LaMP_3": ("rating", "stars", "star rating", "overall"),
    "LaMP_4": ("headline", "subject"),
    "LaMP_5": ("paper title", "heading"),
}
_ABOUT = {"id", "date", "time", "created at", "timestamp", "author", "user", "user id", "url", "link"}
_ALL_X = {*GENERIC_X, *(name for names in X_NAMES.values() for name in names)}
_ALL_Y = {*GENERIC_Y, *(name for names in Y_NAMES.values() for name in names)}
_LAMP_X = {name for task in TASKS.values() for name in task.x_fields}
_LAMP_Y = {task.y_field for task in TASKS.values() if task.y_field}


def plain(name: str) -> str:
    """A field name without case, and with one space for any run of spaces, dashes and underscores."""
    return re.sub(r"[\s_\-]+", " ", name[:80]).strip().lower()


def x_noun(task: Task) -> str:
    """What the task calls its input: ``article``."""
    return task.input_label.rstrip(":").lower()


def y_noun(task: Task) -> str:
    """What the task calls its answer: ``headline``."""
    return task.answer_label.rstrip(":").lower()


def field_names(task: Task) -> str:
    """The task's own fields as they stand in a sentence: ``'text' and 'title'``."""
    return " and ".join(repr(name) for name in (task.x_fields[0], task.y_field) if name)


def is_header(cells: Iterable[str]) -> bool:
    """Whether a table's first record names fields of some task rather than being an item."""
    names = [name for name in map(plain, cells) if name]
    if any(len(name) > 40 for name in names):
        return False
    known = set(names)
    has_x, has_y = bool(known & (_ALL_X | _LAMP_X)), bool(known & (_ALL_Y | _LAMP_Y))
    if len(names) == 1:
        return bool(known & {"text", *X_NAMES["LaMP_7"]})
    return bool(known & _LAMP_X) or (has_x and (has_y or bool(known & _ABOUT)))


def lamp_fields(fields: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """The fields under the names that LaMP gives them; only those that the task reads, and the id."""
    given: dict[str, Any] = {}
    for name, value in fields.items():
        if value is not None and value != "":
            given.setdefault(plain(name), value)
    found = {name: given[name] for name in task.x_fields if name in given}
    if not found:
        synonyms = (*X_NAMES.get(task.name, ()), *GENERIC_X)
        found = next(({task.x_fields[0]: given[name]} for name in synonyms if name in given), {})
    if task.y_field:
        for name in (task.y_field, *Y_NAMES.get(task.name, ()), *GENERIC_Y):
            if name in given:
                found[task.y_field] = given[name]
                break
    for name in ("id", "other") if task.history_instruction else ("id",):
        if isinstance(given.get(name), str):
            found[name] = given[name]
    return found


def to_item(fields: Mapping[str, Any], task: Task, limits: Limits) -> tuple[Item, int]:
    """The item, and how many of its fields were cut to the limit.

    Raises:
        PerpcsError: when a field is missing, is no text, or the answer is not one of the task's labels.
    """
    found = lamp_fields(fields, task)
    cut = 0
    for name, value in found.items():
        if not isinstance(value, str):
            kind = {bool: "true or false", list: "a list", dict: "an object"}.get(type(value), "something else")
            raise PerpcsError(f"The field {name!r} holds {kind}, not text.", "Give it one text.")
        text = clean_field(value)
        if name == task.y_field and task.kind == "rating":
            text = re.sub(r"\.0+$", "", text)  # spreadsheets write 4.0
        if len(text) > limits.max_chars_per_field:
            text = text[: limits.max_chars_per_field].rstrip()
            cut += name != "id"
        found[name] = text
    return task.read_item(found), cut
