"""A sample of what each sharer's pieces do: one input answered by the base model and with all of their pieces."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from perpcs.personalizers.method import Prepared
from perpcs.pool.portraits import Portraits, portray, store_portraits
from perpcs.serve.engine import Engine
from perpcs.tasks import Item, Query, Task

_ROWS = 16
"""Sharers whose answers are written in one batch."""


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
    shared = engine.shared(task.name)  # (P, S)
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
