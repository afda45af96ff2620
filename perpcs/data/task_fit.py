"""Which task rows fit: by the names of their fields, by their answers, by their length; in that order.

The tasks are tried from the most particular to the most general, since news categories come with headlines and
most tasks have a text. A guess by names or answers only stands when the task can read at least half of the rows.
"""

import re
from collections.abc import Sequence
from statistics import median

from perpcs.data.fields import PLAIN_NAMES, TWEET_NAMES, lamp_fields, plain, to_item, x_names, y_names
from perpcs.data.limits import Limits, Row
from perpcs.errors import PerpcsError
from perpcs.tasks import TASKS, Task

_ANSWERED = [TASKS[name] for name in ("LaMP_1", "LaMP_2", "LaMP_2N", "LaMP_3", "LaMP_5", "LaMP_4")]
_ABSTRACT_CHARS = (
    400  # of the real sharers' texts, 95% of the abstracts are longer than 496, of the summaries below 155
)
_ALIKE = 0.3
"""Likeness from which both sides are one text; real headlines and titles have less than 0.1 with what they head."""
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


def fitting(rows: Sequence[Row]) -> tuple[Task, ...]:
    """Every task for which at least half of the rows can be read: what a person may choose among."""
    sample = _sample(rows)
    return tuple(task for task in TASKS.values() if sample and readable(sample, task) * 2 >= len(sample))


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


def likeness(one: str, other: str) -> float:
    """The share of words that two texts have in common, of those of the longer: near 0 for a text and its headline."""
    first, second = (set(re.findall(r"\w+", text.lower())) for text in (one, other))
    return len(first & second) / max(len(first), len(second), 1)


def _sample(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows[:_SAMPLE] if row.fields]


def _by_names(rows: Sequence[Row]) -> tuple[Task, str] | None:
    named = named_task(rows)
    if named and named[0].labels:
        return named
    names = {plain(name) for row in rows for name in row.fields}
    # Answers that are labels say more than LaMP's own names do: reviews with stars may carry a title too.
    for task in sorted(_ANSWERED, key=lambda each: not each.labels):
        if named and not task.labels:
            return named
        x = next((name for name in x_names(task) if name in names), None)
        y = next((name for name in y_names(task) if name in names), None)
        if x and y and readable(rows, task) * 2 >= len(rows):
            return task, f"The rows have {x!r} and {y!r}."
    before, after = (next((name for name in known if name in names), None) for known in (PLAIN_NAMES, TWEET_NAMES))
    if before and after and "tweet" in after:
        return TASKS["LaMP_7"], f"The rows have {before!r} and {after!r}."
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
    titled = [(pair["text"], pair["title"]) for pair in pairs if isinstance(pair.get("title"), str)]
    if len(titled) * 2 > len(pairs) and median(likeness(*pair) for pair in titled) >= _ALIKE:
        return TASKS["LaMP_7"], "The two sides of most pairs say the same in other words."
    size = f"half of them longer than {length:,.0f} characters"
    if not sum(isinstance(pair.get("title"), str) for pair in pairs) * 2 > len(pairs):
        return (TASKS["LaMP_7"], "The rows are short texts without an answer.") if length <= _ABSTRACT_CHARS else None
    if length > _ABSTRACT_CHARS:
        return TASKS["LaMP_5"], f"The rows are long texts, each with a title; {size}."
    return TASKS["LaMP_4"], f"The rows are short texts, each with a title; {size}."
