"""Completing a finished pool with what only its engine can tell; ``stored.py`` reads it.

examples      example people are assembled, and some of their questions answered
recognised    how well the gates recognise each sharer's own pieces
sampled       portraits of sharers, with one input answered by the base model and with all of their pieces
"""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from perpcs.assembly.record import Assembly
from perpcs.assembly.router import Router
from perpcs.assembly.routers import make_router
from perpcs.errors import PerpcsError
from perpcs.files import write_json
from perpcs.personalizers.methods import Prepared
from perpcs.pool.manifest import Example
from perpcs.pool.portraits import Portraits, portray, store_portraits
from perpcs.serve.engine import Engine
from perpcs.serve.stored import answers_path, assembly_path, recognised_path
from perpcs.tasks import Item, Query, Task, get_task

Say = Callable[[str], None]
QUERIES = 2
"""How many of an example person's held-out queries have stored answers."""
SHARED = 3
"""How many people's first query is answered by everybody's model too."""
STORED = ("base", "random-history", "rag", "rag:4", "pag", "retrieval", "perpcs", "perpcs:paper", "p2p", "oppu")
"""Methods whose answers are stored; one that a pool lacks something for is passed over."""
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
                query.id: {answer.method: asdict(answer) for answer in final[at * len(ready) : (at + 1) * len(ready)]}
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
