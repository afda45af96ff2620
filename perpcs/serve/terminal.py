"""Answering from a terminal: the person, the progress of training, and a table of the answers with their costs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from perpcs.assembly.record import Assembly
from perpcs.data import read_history_file
from perpcs.errors import PerpcsError
from perpcs.personalizers.methods import Person, Prepared, Progress
from perpcs.pool.profile_writer import ModelWriter
from perpcs.serve.answer import Answer
from perpcs.serve.engine import Engine
from perpcs.serve.marks import marks_of
from perpcs.tasks import Task, get_task

_HEAD = ("method", "prepare", "answer", "stored", "exposed")


class Somebody(NamedTuple):
    """The person that a command answers for."""

    task: Task
    person: Person


def somebody(user: str | None, history: str | None, task: str | None) -> Somebody:
    """A saved model, a history, or both.

    Args:
        user: file of a saved model; with ``history`` alone, which person of a file of users.
        history: file of what the person wrote.
        task: of the history, if there is no saved model.

    Raises:
        PerpcsError: when something is missing, does not match, or cannot be read.
    """
    saved = Assembly.load(Path(user)) if user and (not history or Path(user).is_file()) else None
    if saved is None and not (history and task):
        raise PerpcsError("No person was given.", "Give --user FILE, or --history FILE together with --task.")
    found = get_task(task or (saved.task if saved else ""))
    if saved and saved.task != found.name:
        raise PerpcsError(f"The saved model is for {saved.task}, not for {found.name}.", "Leave --task out.")
    if history is None:
        return Somebody(found, Person(saved.user if saved else "me", (), saved))
    name, reading = read_history_file(Path(history), found, saved.user if saved else user)
    return Somebody(found, Person(name, tuple(reading.items), saved))


def open_engine(pool: Path, device: str, writer: str | None = None) -> Engine:
    """The engine of a pool; ``writer`` names an instruct model that writes profiles."""
    engine = Engine.open(pool, device)
    if writer:
        engine.writer = ModelWriter.load(writer, device)
    return engine


def prepare(engine: Engine, who: Somebody, name: str) -> Prepared:
    """A person prepared for a method; on a terminal, training shows its progress."""

    def told(progress: Progress) -> None:
        if sys.stderr.isatty():
            losses = ", ".join(f"{of} {loss:.3f}" for of, loss in progress.losses.items())
            end = "\n" if progress.step >= progress.steps else ""
            line = f"\r\x1b[K{name}: {progress.doing}, {progress.step} of {progress.steps} {losses}"
            print(line, end=end, file=sys.stderr, flush=True)

    task, person = who
    return engine.prepare(task, name, person.history, user=person.id, assembly=person.assembly, watch=told)


def answer_table(answers: Sequence[Answer]) -> str:
    """One line per method: seconds to prepare, seconds to answer, bytes stored, whether text is exposed, the answer."""
    rows = [
        (
            one.title,
            f"{one.prepare_seconds:.2f} s",
            f"{one.seconds:.2f} s",
            f"{one.bytes_stored:,} bytes",
            "yes" if one.text_leaves else "no",
        )
        for one in answers
    ]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    said = ["answer", *map(_said, answers)]
    lines = []
    for cells, text in zip((_HEAD, *rows), said, strict=True):
        numbers = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        lines.append("  ".join([cells[0].ljust(widths[0]), *numbers, text]).rstrip())
    return "\n".join(lines)


def _said(answer: Answer) -> str:
    """The answer, followed by its warning if there is one."""
    mark = "" if answer.labels else marks_of(answer.text, [answer.prompt]).label
    mark = mark if answer.valid else "invalid answer"
    return f"{answer.text}   ({mark})" if mark else answer.text
