"""Completing a finished pool with what only its engine can tell; ``stored.py`` reads it.

examples      example people are assembled, and some of their questions answered
recognised    how well the gates recognise each sharer's own pieces
sampled       portraits of sharers, with one input answered by the base model and with all of their pieces

Answering from a terminal: the person, the progress of training, and a table of the answers with their costs.
"""

import contextlib
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perpcs.assembly.record import Assembly
from perpcs.assembly.router import Router
from perpcs.assembly.routers import make_router
from perpcs.data import read_history_file
from perpcs.errors import PerpcsError
from perpcs.files import write_json
from perpcs.personalizers.methods import Person, Prepared, Progress
from perpcs.pool.manifest import Example
from perpcs.pool.portraits import Portraits, portray, store_portraits
from perpcs.pool.profile_writer import ModelWriter
from perpcs.serve.answer import Answer, marks_of
from perpcs.serve.engine import Engine
from perpcs.serve.stored import answers_path, assembly_path, recognised_path
from perpcs.tasks import Item, Query, Task, get_task

# ---- a finished pool -------------------------------------------------------------------------------------------------


Say = Callable[[str], None]
QUERIES = 2
"""How many of an example person's held-out queries have stored answers."""
SHARED = 3
"""How many people's first query is answered by everybody's model too."""
STORED = ("base", "random-history", "rag", "rag:4", "pag", "retrieval", "perpcs", "perpcs:paper", "p2p", "oppu")
"""Methods whose answers are stored; methods that need something the pool lacks are skipped."""
_ROWS = 16
"""Sharers whose answers are written in one batch."""


def complete_examples(
    engine: Engine, options: Router | None = None, tasks: Collection[str] = (), say: Say = lambda line: None
) -> int:
    """Assemble every example person of a pool, answer their first queries by several methods, store both; how many
    people.

    Args:
        tasks: only those of these tasks; () = all.
        say: told of every person who is done.
    """
    folder, count = engine.pool.folder, 0
    for part in engine.pool.manifest.tasks:
        if tasks and part.task not in tasks:
            continue
        task = get_task(part.task)
        answers: dict[str, Any] = {}
        models: dict[str, Prepared] = {}
        for example in engine.pool.examples(part.task):
            person = engine.assemble(task, example.history, options=options, user=example.id)
            person.save(assembly_path(folder, part.task, example.id))
            ready = _prepared(engine, task, example, person)
            models |= {"base": ready[0], example.id: next(one for one in ready if one.method == "perpcs")}
            queries = example.queries[:QUERIES]
            *_, final = engine.answer_rows(task, [(one, query) for query in queries for one in ready])
            answers[example.id] = {
                query.id: {
                    answer.method: asdict(replace(answer, first_token_seconds=None, seconds=0.0))  # of the whole batch
                    for answer in final[at * len(ready) : (at + 1) * len(ready)]
                }
                for at, query in enumerate(queries)
            }
            count += 1
            say(f"{part.task}: {example.name or example.id} assembled and answered for")
        shared = [_by_everybody(engine, task, models, example) for example in engine.pool.examples(part.task)[:SHARED]]
        shared.sort(key=lambda row: -len({row["base"], *row["texts"].values()}))  # the most different answers first
        write_json(
            answers_path(folder, part.task), {"pool_hash": engine.pool.hash, "answers": answers, "shared": shared}
        )
    return count


def _by_everybody(engine: Engine, task: Task, models: Mapping[str, Prepared], asker: Example) -> dict[str, Any]:
    """One person's first query, answered by the base model and by every example person's model."""
    query = asker.queries[0]
    *_, final = engine.answer_rows(task, [(model, query) for model in models.values()])
    texts = dict(zip(models, (answer.text for answer in final), strict=True))
    return {"person": asker.id, "query": query.id, "base": texts.pop("base"), "texts": texts}


def _prepared(engine: Engine, task: Task, example: Example, assembly: Assembly) -> list[Prepared]:
    found = []
    for name in STORED:
        with contextlib.suppress(PerpcsError):  # a pool without embeddings, nobody else to draw history from
            found.append(engine.prepare(task, name, example.history, user=example.id, assembly=assembly))
    return found


def recognised(engine: Engine, task: Task, histories: Mapping[str, Sequence[Item]]) -> np.ndarray:
    """The probability that the gates give each sharer's own piece on the sharer's own items, (S, P).

    The softmax over all shared pieces, mean over items; an even share would be 1 / S. A piece that is not shared has 0.

    Args:
        histories: every sharer's items, by the sharer's id.
    """
    options = make_router("gate", selector="all")
    names = [sharer.id for sharer in engine.pool.sharers(task.name)]
    return np.stack(
        [
            engine.assemble(task, histories[name], options=options, user=name).weights[:, number]
            for number, name in enumerate(names)
        ]
    )


def store_recognised(engine: Engine, task: Task, histories: Mapping[str, Sequence[Item]]) -> None:
    """Write how well each sharer is recognised: the sharers' texts are there only while a pool is built."""
    rows = np.round(recognised(engine, task, histories).astype(np.float64), 4).tolist()
    write_json(recognised_path(engine.pool.folder, task.name), {"pool_hash": engine.pool.hash, "recognised": rows})


def store_sampled(engine: Engine, task: Task, histories: Mapping[str, Sequence[Item]]) -> None:
    """Write the portraits of a task's sharers, with samples where there is an example person to ask for.

    Args:
        histories: items of all candidates by id.
    """
    task = engine.pool.labelled(task)
    ids = [sharer.id for sharer in engine.pool.sharers(task.name)]
    portraits = portray(task, histories, ids)
    examples = engine.pool.examples(task.name)
    if not examples or not examples[0].queries:
        store_portraits(engine.pool, task.name, Portraits(sharers=portraits))
        return
    query = examples[0].queries[0]
    base, *answers = full_weight_answers(engine, task, query, [None, *range(len(ids))])
    found = {id: replace(portraits[id], answer=answer) for id, answer in zip(ids, answers, strict=True)}
    store_portraits(engine.pool, task.name, Portraits(query.x, base, found))


def full_weight_answers(engine: Engine, task: Task, query: Query, sharers: Sequence[int | None]) -> list[str]:
    """Greedy answers to one query, each with all shared pieces of one sharer at weight 1; None = the base model."""
    shared = engine.pool.mask(task.name)  # (P, S)
    rows = []
    for number in sharers:
        weights = np.zeros(shared.shape, dtype=np.float32)
        if number is not None:
            weights[:, number] = shared[:, number]
        rows.append((Prepared(task, method="perpcs", weights=weights), query))
    found: list[str] = []
    for at in range(0, len(rows), _ROWS):
        *_, last = engine.answer_rows(task, rows[at : at + _ROWS])
        found += [answer.text for answer in last]
    return found


# ---- a terminal ------------------------------------------------------------------------------------------------------


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
