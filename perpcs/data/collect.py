"""From rows to a Reading: every row becomes an item, a bad row with a reason, or is counted as past the limit."""

import re
from collections.abc import Iterable, Sequence

from perpcs.data.dates import in_order
from perpcs.data.fields import date_of, field_names, lamp_fields, to_item
from perpcs.data.limits import BadRow, Limits, Reading, Row, count, excerpt
from perpcs.data.stars import is_between
from perpcs.data.task_fit import certain_task, fitting, named_task
from perpcs.errors import PerpcsError
from perpcs.tasks import Item, Task

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
        why = "the newest" if order is not None else "as the newest, since nothing tells their dates"
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
