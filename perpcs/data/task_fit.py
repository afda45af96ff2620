"""Which task rows fit: by the names of their fields, by their answers, by their length; in that order.

The tasks are tried from the most particular to the most general, since news categories come with headlines and
most tasks have a text. A guess by names or answers only stands when the task can read at least half of the rows.
"""

from collections.abc import Sequence
from statistics import median

from perpcs.data.fields import X_NAMES, Y_NAMES, lamp_fields, plain, to_item
from perpcs.data.limits import Limits, Row
from perpcs.errors import PerpcsError
from perpcs.tasks import TASKS, Task

_ANSWERED = [TASKS[name] for name in ("LaMP_1", "LaMP_2", "LaMP_2N", "LaMP_3", "LaMP_5", "LaMP_4")]
_ABSTRACT_CHARS = (
    400  # of the real sharers' texts, 95% of the abstracts are longer than 496, of the summaries below 155
)
_SAMPLE = 200


def guess_rows(rows: Sequence[Row]) -> tuple[Task, str] | None:
    """The task that the rows fit best and a sentence on why, or None."""
    sample = _sample(rows)
    return certain_task(sample) or _by_shape(sample) if sample else None


def certain_task(rows: Sequence[Row]) -> tuple[Task, str] | None:
    """``guess_rows`` on good grounds only: names and answers, not length."""
    sample = _sample(rows)
    return _by_names(sample) or _by_answers(sample) if sample else None


def named_task(rows: Sequence[Row]) -> tuple[Task, str] | None:
    """The task whose own LaMP field names the rows carry, or None; synonyms do not count."""
    sample = _sample(rows)
    names = {plain(name) for row in sample for name in row.fields}
    for task in _ANSWERED:
        x = next((name for name in task.x_fields if name in names), None)
        if x and task.y_field in names and readable(sample, task) * 2 >= len(sample):
            return task, f"The rows have {x!r} and {task.y_field!r}."
    return None


def readable(rows: Sequence[Row], task: Task) -> int:
    """How many rows the task can read, with an answer where the task has one."""
    good = 0
    for row in rows:
        try:
            item, _ = to_item(row.fields, task, Limits())
        except PerpcsError:
            continue
        good += item.y is not None or task.y_field is None
    return good


def _sample(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows[:_SAMPLE] if row.fields]


def _by_names(rows: Sequence[Row]) -> tuple[Task, str] | None:
    if found := named_task(rows):
        return found
    names = {plain(name) for row in rows for name in row.fields}
    for task in _ANSWERED:
        x = next((name for name in (*task.x_fields, *X_NAMES.get(task.name, ())) if name in names), None)
        y = next((name for name in (task.y_field or "", *Y_NAMES.get(task.name, ())) if name in names), None)
        if x and y and readable(rows, task) * 2 >= len(rows):
            return task, f"The rows have {x!r} and {y!r}."
    return None


def _by_answers(rows: Sequence[Row]) -> tuple[Task, str] | None:
    labelled = [task for task in _ANSWERED if task.labels and not task.history_instruction]
    scores = [(readable(rows, task), task) for task in labelled]
    best, task = max(scores, key=lambda pair: pair[0])
    if best * 2 <= len(rows) or sum(score == best for score, _ in scores) > 1:
        return None
    return task, f"{best} of {len(rows)} answers are labels of {task.title.lower()}."


def _by_shape(rows: Sequence[Row]) -> tuple[Task, str] | None:
    """Generic x and y: long inputs with an answer are abstracts, shorter ones articles; texts alone are tweets."""
    pairs = [{**lamp_fields(row.fields, TASKS["LaMP_7"]), **lamp_fields(row.fields, TASKS["LaMP_4"])} for row in rows]
    pairs = [pair for pair in pairs if isinstance(pair.get("text"), str)]
    if len(pairs) * 2 < len(rows):
        return None
    length = median(len(pair["text"]) for pair in pairs)
    size = f"half of them longer than {length:,.0f} characters"
    if not sum(isinstance(pair.get("title"), str) for pair in pairs) * 2 > len(pairs):
        return (TASKS["LaMP_7"], "The rows are short texts without an answer.") if length <= _ABSTRACT_CHARS else None
    if length > _ABSTRACT_CHARS:
        return TASKS["LaMP_5"], f"The rows are long texts, each with a title; {size}."
    return TASKS["LaMP_4"], f"The rows are short texts, each with a title; {size}."
