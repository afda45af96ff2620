"""From rows to a Reading: every row becomes an item, a bad row with a reason, or is counted as past the limit.

Which task rows fit: by the names of their fields, by their answers, by their length; in that order.

The tasks are tried from the most particular to the most general, since news categories come with headlines and
most tasks have a text. A guess by names or answers only stands when the task can read at least half of the rows.
"""

import re
from collections.abc import Iterable, Sequence
from statistics import median

from perpcs.data.clean import BadRow, Limits, Reading, Row, count, excerpt
from perpcs.data.fields import (
    NAMES_OF_X,
    NAMES_OF_Y,
    PLAIN_NAMES,
    TWEET_NAMES,
    date_of,
    field_names,
    in_order,
    is_between,
    lamp_fields,
    plain,
    to_item,
)
from perpcs.errors import PerpcsError
from perpcs.tasks import TASKS, Item, Task

# ---- which task ------------------------------------------------------------------------------------------------------


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
        x = next((name for name in NAMES_OF_X[task.name] if name in names), None)
        y = next((name for name in NAMES_OF_Y[task.name] if name in names), None)
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


# ---- rows to items ---------------------------------------------------------------------------------------------------


_REPOST = re.compile(r"RT @\w{1,30}:")


def collect(rows: Iterable[Row], task: Task, limits: Limits, notes: Sequence[str] = ()) -> Reading:
    """Read the rows for a task.

    Raises:
        PerpcsError: when there is no row, no good row (with the first reason), or the rows are those of another task.
    """
    rows, said = _newest(list(rows), limits)
    items: list[Item] = []
    lines: list[int] = []
    bad: list[BadRow] = []
    looked_at: list[Row] = []
    shortened: list[int] = []
    rounded = 0
    cut = max(0, len(rows) - limits.max_rows)
    for row in rows[cut:]:
        looked_at.append(row)
        try:
            if row.problem:
                raise PerpcsError(*row.problem)
            item, cut_fields = to_item(row.fields, task, limits)
            if task.y_field is None and _REPOST.match(item.x):
                raise PerpcsError("It repeats somebody else's post.", "Leave reposts out.")
        except PerpcsError as error:
            bad.append(BadRow(row.line, error.wrong, error.do, excerpt(row.raw)))
            continue
        items.append(item)
        lines.append(row.line)
        rounded += task.kind == "rating" and _was_between(row, task)
        if cut_fields:
            shortened.append(row.line)
    _refuse_wrong_task(looked_at, items, task)
    if not items:
        _refuse_empty(bad, looked_at)
    said = [*notes, *said]
    if rounded:
        said.append(f"{count(rounded, 'rating')} between two stars rounded up: LaMP's ratings are whole.")
    if shortened:
        said.append(_say_shortened(shortened, limits))
    if hint := _other_task(looked_at, items, task):
        said.append(hint)
    fits = tuple(other.name for other in fitting(looked_at))
    return Reading(tuple(items), tuple(bad), tuple(said), tuple(lines), cut, fits)


def _newest(rows: list[Row], limits: Limits) -> tuple[list[Row], list[str]]:
    """The rows from the oldest to the newest, and what is to be said of that and of the limit."""
    said = []
    order = in_order([date_of(row.fields) for row in rows])
    if order is not None and order != list(range(len(rows))):
        rows = [rows[place] for place in order]
        said.append("Sorted by date, oldest first.")
    if len(rows) > limits.max_rows:
        why = "the newest" if order is not None else "assumed to be the newest because no dates were found"
        said.append(f"Only the last {limits.max_rows:,} of {count(len(rows), 'row')} are kept, {why}.")
    return rows, said


def _was_between(row: Row, task: Task) -> bool:
    score = lamp_fields(row.fields, task).get(task.y_field or "")
    return isinstance(score, str) and is_between(score)


def wrong_task(task: Task, other: Task, why: str) -> PerpcsError:
    """The error for rows of ``other`` given where ``task`` was chosen."""
    return PerpcsError(
        f"This looks like {other.name} ({other.title.lower()}), not {task.name} ({task.title.lower()}): "
        f"{why[0].lower()}{why[1:]}",
        f"Choose {other.title.lower()} as the task, or give items with {field_names(task)}.",
    )


def _refuse_wrong_task(rows: Sequence[Row], items: Sequence[Item], task: Task) -> None:
    # Citation histories may lack what they cite, so a file of headlines, read for its titles alone, would pass.
    titles_only = bool(items) and task.y_field is not None and all(item.y is None for item in items)
    if items and not titles_only:
        return
    found = named_task(rows) if titles_only else certain_task(rows)
    if found and found[0].name != task.name and not (titles_only and _is_citation_profile(rows, task)):
        raise wrong_task(task, *found)


def _is_citation_profile(rows: Sequence[Row], task: Task) -> bool:
    """LaMP's own citation profiles hold title and abstract, as the profiles of scholarly titles do."""
    return bool(task.history_instruction) and all(name in row.fields for row in rows for name in task.x_fields)


def _refuse_empty(bad: Sequence[BadRow], rows: Sequence[Row]) -> None:
    if not bad:
        raise PerpcsError("There is no item in it.", "Give at least one item.")
    first = bad[0]
    which = "The only row" if len(bad) == 1 else f"None of {count(len(bad), 'row')}"
    fate = "cannot be read" if len(bad) == 1 else "can be read; the first"
    names = [name for name in dict.fromkeys(name for row in rows[:50] for name in row.fields) if name not in ("x", "y")]
    seen = f" Its fields are {', '.join(repr(name[:40]) for name in names[:12])}." if names else ""
    raise PerpcsError(f"{which} {fate}, line {first.line}: {first.reason}{seen}", first.do)


def _other_task(rows: Sequence[Row], items: Sequence[Item], task: Task) -> str:
    """A hint where the rows can be read but fit another task better: by its own field names, or by most answers."""
    found = named_task(rows) or (certain_task(rows) if len(items) * 2 < len(rows) else None)
    if found is None or found[0].name == task.name or _is_citation_profile(rows, task):
        return ""
    return f"It would also fit {found[0].name} ({found[0].title.lower()}): {found[1][0].lower()}{found[1][1:]}"


def _say_shortened(lines: Sequence[int], limits: Limits) -> str:
    places = ", ".join(str(line) for line in lines[:5]) + (" and more" if len(lines) > 5 else "")
    where = "line" if len(lines) == 1 else "lines"
    return (
        f"{count(len(lines), 'item')} had a field longer than {limits.max_chars_per_field:,} characters, "
        f"cut to that length ({where} {places})."
    )
