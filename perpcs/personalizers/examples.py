"""What the app shows before any model has run: example people's assemblies and some answers, and how well each
sharer's own pieces are recognised.

    pools/NAME/TASK/examples/ID.json    the person's assembly, as the person could save it
    pools/NAME/TASK/answers.json        answers: {person: {query: {method: fields of an Answer}}}
                                        shared: [{person, query, base, texts: {person: answer}}], texts only
    pools/NAME/TASK/recognised.json     for each sharer and position, see ``recognised``

All name the pool's hash, so they are made by the finished pool and are not part of its manifest.
"""

import contextlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perpcs.assembly.record import Assembly
from perpcs.assembly.routers import make_router
from perpcs.assembly.routers.router import Router
from perpcs.errors import PerpcsError
from perpcs.files import write_json
from perpcs.personalizers.answer import Answer
from perpcs.personalizers.method import Prepared
from perpcs.pool.manifest import Example
from perpcs.pool.store import Pool
from perpcs.tasks import Item, Task, get_task

if TYPE_CHECKING:
    from perpcs.personalizers.engine import Engine

Say = Callable[[str], None]
QUERIES = 2
"""How many of an example person's held-out queries have stored answers."""
SHARED = 3
"""How many people's first query is answered by everybody's model too."""
STORED = ("base", "random-history", "rag", "rag:4", "pag", "retrieval", "perpcs", "perpcs:paper", "p2p", "oppu")
"""Methods whose answers are stored; one that a pool lacks something for is passed over."""


def complete_examples(
    engine: "Engine", options: Router | None = None, tasks: Collection[str] = (), say: Say = lambda line: None
) -> int:
    """Assemble every example person of a pool, answer their first queries by several methods, store both; how many
    people.

    Args:
        tasks: only those of these tasks; () = all.
        say: told of every person who is done.
    """
    folder, count = engine.pool.folder, 0
    for part in engine.manifest.tasks:
        if tasks and part.task not in tasks:
            continue
        task = get_task(part.task)
        answers: dict[str, Any] = {}
        models: dict[str, Prepared] = {}
        for example in engine.examples(part.task):
            person = engine.assemble(task, example.history, options=options, user=example.id)
            person.save(assembly_path(folder, part.task, example.id))
            ready = _prepared(engine, task, example, person)
            models |= {"base": ready[0], example.id: next(one for one in ready if one.method == "perpcs")}
            queries = example.queries[:QUERIES]
            *_, final = engine.answer_rows(task, [(one, query) for query in queries for one in ready])
            answers[example.id] = {
                query.id: {answer.method: asdict(answer) for answer in final[at * len(ready) : (at + 1) * len(ready)]}
                for at, query in enumerate(queries)
            }
            count += 1
            say(f"{part.task}: {example.name or example.id} assembled and answered for")
        shared = [_by_everybody(engine, task, models, example) for example in engine.examples(part.task)[:SHARED]]
        shared.sort(key=lambda row: -len({row["base"], *row["texts"].values()}))  # the most different answers first
        write_json(
            answers_path(folder, part.task), {"pool_hash": engine.pool_hash, "answers": answers, "shared": shared}
        )
    return count


def _by_everybody(engine: "Engine", task: Task, models: Mapping[str, Prepared], asker: Example) -> dict[str, Any]:
    """One person's first query, answered by the base model and by every example person's model."""
    query = asker.queries[0]
    *_, final = engine.answer_rows(task, [(model, query) for model in models.values()])
    texts = dict(zip(models, (answer.text for answer in final), strict=True))
    return {"person": asker.id, "query": query.id, "base": texts.pop("base"), "texts": texts}


def _prepared(engine: "Engine", task: Task, example: Example, assembly: Assembly) -> list[Prepared]:
    found = []
    for name in STORED:
        with contextlib.suppress(PerpcsError):  # a pool without embeddings, nobody else to draw history from
            found.append(engine.prepare(task, name, example.history, user=example.id, assembly=assembly))
    return found


def recognised(engine: "Engine", task: Task, histories: Mapping[str, Sequence[Item]]) -> np.ndarray:
    """The probability that the gates give each sharer's own piece on the sharer's own items, (S, P).

    The softmax over all shared pieces, mean over items; an even share would be 1 / S. A piece that is not shared has 0.

    Args:
        histories: every sharer's items, by the sharer's id.
    """
    options = make_router("gate", selector="all")
    names = [sharer.id for sharer in engine.sharers(task.name)]
    return np.stack(
        [
            engine.assemble(task, histories[name], options=options, user=name).weights[:, number]
            for number, name in enumerate(names)
        ]
    )


def store_recognised(engine: "Engine", task: Task, histories: Mapping[str, Sequence[Item]]) -> None:
    """Write how well each sharer is recognised: the sharers' texts are there only while a pool is built."""
    rows = np.round(recognised(engine, task, histories).astype(np.float64), 4).tolist()
    write_json(recognised_path(engine.pool.folder, task.name), {"pool_hash": engine.pool_hash, "recognised": rows})


def recognised_path(folder: Path, task: str) -> Path:
    """Where the probabilities of sharers' own pieces lie."""
    return folder / task / "recognised.json"


def stored_recognised(pool: Pool, task: str) -> np.ndarray | None:
    """What ``store_recognised`` wrote, (S, P); None where there is none for this pool."""
    try:
        stored = json.loads(recognised_path(pool.folder, task).read_bytes())
        found = np.asarray(stored["recognised"], dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    fits = found.shape == (len(pool.sharers(task)), len(pool.manifest.positions)) and np.isfinite(found).all()
    return found if fits and stored["pool_hash"] == pool.hash else None


def assembly_path(folder: Path, task: str, id: str) -> Path:
    """Where an example person's assembly lies."""
    return folder / task / "examples" / f"{id}.json"


def answers_path(folder: Path, task: str) -> Path:
    """Where the stored answers of a task's example people lie."""
    return folder / task / "answers.json"


def example_assembly(pool: Pool, task: str, id: str) -> Assembly:
    """An example person's stored assembly.

    Raises:
        PerpcsError: when it is not there or damaged.
    """
    return Assembly.load(assembly_path(pool.folder, task, id))


@dataclass(frozen=True)
class Shared:
    """One query that the models of all example people answered."""

    asker: str
    """Id of the person whose query it is."""
    query: str
    base: str
    """The base model's answer."""
    texts: dict[str, str]
    """Of every example person, by id."""


def shared_answers(pool: Pool, task: str) -> tuple[Shared, ...]:
    """Queries that everybody's model answered when the pool was completed; none where this pool stores none."""
    try:
        stored = json.loads(answers_path(pool.folder, task).read_bytes())
        if stored["pool_hash"] != pool.hash:
            return ()
        return tuple(
            Shared(
                str(row["person"]), str(row["query"]), str(row["base"]), {k: str(v) for k, v in row["texts"].items()}
            )
            for row in stored.get("shared", ())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()


def example_answers(pool: Pool, task: str, id: str, query: str) -> dict[str, Answer]:
    """Stored answers to one query of an example person, by method; empty where there are none for this pool."""
    path = answers_path(pool.folder, task)
    try:
        stored = json.loads(path.read_bytes())
        if stored["pool_hash"] != pool.hash:
            return {}
        rows: dict[str, Any] = stored["answers"].get(id, {}).get(query, {})
        return {
            method: Answer(**{**row, "retrieved": tuple(Item(**item) for item in row["retrieved"])})
            for method, row in rows.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # stored answers are a convenience: the app asks the model instead
