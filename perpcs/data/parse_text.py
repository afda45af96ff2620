"""Lines of text to rows: one item a line, ``input => output`` or two parts with a tab between them."""

from collections.abc import Iterator

from perpcs.data.fields import x_noun, y_noun
from perpcs.data.limits import Row
from perpcs.tasks import Task

ARROW = "=>"


def pair_rows(text: str, task: Task | None = None) -> Iterator[Row]:
    """One row per line that is not blank; one that is not two parts is a text if the task has no y, else a problem."""
    x, y = (x_noun(task), y_noun(task)) if task else ("input", "answer")
    for number, line in _lines(text):
        parts = _split(line)
        if len(parts) == 2:
            yield Row(number, line, {"x": parts[0], "y": parts[1]})
        elif task is not None and task.y_field is None:
            yield Row(number, line, {"x": line})
        elif len(parts) < 2:
            wrong = f"The line has no {ARROW!r} and no tab between {x} and {y}."
            yield Row(number, line, problem=(wrong, f"Write the {x}, then {ARROW}, then the {y}, all on one line."))
        else:
            between = repr(ARROW) if ARROW in line else "tab"
            wrong = f"The line has more than one {between}, so it is not clear where the {y} begins."
            yield Row(number, line, problem=(wrong, f"Keep only the one between {x} and {y}."))


def line_rows(text: str) -> Iterator[Row]:
    """One row per line that is not blank, the whole line as x."""
    for number, line in _lines(text):
        yield Row(number, line, {"x": line})


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _split(line: str) -> list[str]:
    """The parts of a line. Both parts may be empty around an arrow; the task says what is missing."""
    if ARROW in line:
        return [part.strip() for part in line.split(ARROW)]
    return [part.strip() for part in line.split("\t") if part.strip()]
