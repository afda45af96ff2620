"""A history that is not yet assembled: what was read, for which task, and what is wrong with it."""

from dataclasses import dataclass

from perpcs.data import Limits, Reading, guess_task, read_pasted, read_upload
from perpcs.errors import PerpcsError
from perpcs.tasks import TASKS, get_task

GUESS = "guess"
LIMITS = Limits()


@dataclass(frozen=True)
class Draft:
    """The reading of a paste or an upload. Lives in the session only."""

    size: int
    """Bytes given."""
    task: str = ""
    why: str = ""
    """Why this task, if it was guessed."""
    reading: Reading | None = None
    error: PerpcsError | None = None

    @property
    def ready(self) -> bool:
        return self.reading is not None and len(self.reading.items) > 0


def read_draft(
    given: str | tuple[str, bytes], wanted: str, known: tuple[str, ...], user_id: str | None = None
) -> Draft:
    """Read a pasted text, or an uploaded (name, bytes).

    Args:
        wanted: a task's name, or ``GUESS``.
        known: tasks that the pool has sharers for.
    """
    content = given if isinstance(given, str) else given[1]
    size = len(content.encode("utf-8", "surrogatepass")) if isinstance(content, str) else len(content)
    task, why = wanted, ""
    if wanted == GUESS:
        guess = guess_task(content) if size <= LIMITS.max_bytes else None
        if guess is None:
            task, why = known[0], "The kind of text is unclear, so the first one was used."
        else:
            task, why = guess[0].name, guess[1]
        if task not in known:
            names = ", ".join(TASKS[name].title for name in known)
            wrong = f"This looks like {TASKS[task].title.lower()}, but the pool has no sharers for it."
            return Draft(size, task, why, error=PerpcsError(wrong, f"Choose a kind of text: {names}."))
    try:
        if isinstance(given, str):
            reading = read_pasted(given, get_task(task), user_id=user_id)
        else:
            reading = read_upload(given[0], given[1], get_task(task), user_id=user_id)
    except PerpcsError as error:
        return Draft(size, task, why, error=error)
    return Draft(size, task, why, reading)


def as_lines(items: tuple, limit: int = 12) -> str:
    """Items as text that can be pasted: ``given => answer``, one per line."""
    lines = []
    for item in items[:limit]:
        x = " ".join(item.x.replace("=>", "->").split())
        lines.append(x if item.y is None else f"{x} => {item.y}")
    return "\n".join(lines)
