"""Requests that wait for the model at the same time share a batch, and nobody's answer changes by it."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from perpcs.personalizers.methods import Prepared
from perpcs.serve.engine import Engine
from perpcs.serve.queue import MOST_ROWS, Batches, Queue
from perpcs.tasks import Query, get_task


class Counting:
    """Begins batches whose row r says r, r, r, ... for ``length`` steps."""

    def __init__(self, length: int = 3, fails_at: int | None = None) -> None:
        self.begun: list[list[int]] = []
        self.steps = 0
        self.length, self.fails_at = length, fails_at

    def __call__(self, rows: Sequence[int]) -> Iterator[list[list[int]]]:
        self.begun.append(list(rows))
        return self._steps(list(rows))

    def _steps(self, rows: list[int]) -> Iterator[list[list[int]]]:
        for step in range(1, self.length + 1):
            if step == self.fails_at:
                raise ValueError("no more memory")
            self.steps += 1
            yield [[row] * step for row in rows]


def ask_all(queue: Queue, asks: Sequence[object]) -> None:
    """Run every callable in a thread of its own; all of them wait before the first gets its turn."""
    threads = [threading.Thread(target=ask) for ask in asks]
    with queue.turn():
        for count, thread in enumerate(threads, start=2):
            thread.start()
            while queue.waiting < count:
                pass
    for thread in threads:
        thread.join()


def answered(
    batches: Batches[int, int], rows: Sequence[int], begin: Counting, kind: str = "a"
) -> list[list[list[int]]]:
    return [now for now, _ in batches.answer(kind, rows, begin)]


def test_requests_that_wait_together_share_every_step() -> None:
    queue, begin, found = Queue(), Counting(), {}
    batches: Batches[int, int] = Batches(queue)

    def ask(rows: tuple[int, ...]) -> None:
        found[rows] = answered(batches, rows, begin)

    ask_all(queue, [lambda rows=rows: ask(rows) for rows in ((1, 2), (3,), (4, 5))])
    assert begin.begun == [[1, 2, 3, 4, 5]]
    assert begin.steps == begin.length, "one step serves all"
    for rows, snapshots in found.items():
        assert snapshots[-1] == [[row] * 3 for row in rows]
    assert queue.waiting == 0


def test_a_batch_that_has_begun_takes_nobody_in() -> None:
    queue, begin = Queue(), Counting()
    batches: Batches[int, int] = Batches(queue)
    first = batches.answer("a", [1], begin)
    assert next(first)[0] == [[1]]
    assert answered(batches, [2], begin) == [[[2]], [[2, 2]], [[2, 2, 2]]]
    assert [now for now, _ in first] == [[[1, 1]], [[1, 1, 1]]]
    assert begin.begun == [[1], [2]]


def test_other_kinds_and_too_many_rows_make_other_batches() -> None:
    queue, begin = Queue(), Counting()
    batches: Batches[int, int] = Batches(queue)
    many = list(range(MOST_ROWS - 1))
    asks = [("a", many), ("b", [100]), ("a", [101]), ("a", [102])]
    ask_all(queue, [lambda kind=kind, rows=rows: answered(batches, rows, begin, kind) for kind, rows in asks])
    assert sorted(map(len, begin.begun)) == [1, 1, MOST_ROWS]
    assert [*many, 101] in begin.begun


def test_who_leaves_stops_nobody_and_drives_nothing_on() -> None:
    queue, begin = Queue(), Counting(length=50)
    batches: Batches[int, int] = Batches(queue)
    one, other = batches.answer("a", [1], begin), batches.answer("a", [2], begin)
    seen: dict[int, list[list[int]]] = {}

    def work(who: int, steps: Iterator[tuple[list[list[int]], float]], most: int) -> None:
        for count, (now, _) in enumerate(steps, start=1):
            seen[who] = now
            if count == most:
                break
        steps.close()  # type: ignore[attr-defined]

    ask_all(queue, [lambda: work(1, one, 1), lambda: work(2, other, 1000)])
    assert begin.begun == [[1, 2]] or begin.begun == [[2, 1]]
    assert len(seen[1][0]) < 50
    assert seen[2] == [[2] * 50]
    leaves = batches.answer("a", [3], begin)
    next(leaves)
    before = begin.steps
    leaves.close()  # type: ignore[attr-defined]
    assert begin.steps == before
    assert queue.waiting == 0


def test_what_goes_wrong_is_told_to_everybody() -> None:
    queue, begin, heard = Queue(), Counting(fails_at=2), []
    batches: Batches[int, int] = Batches(queue)

    def ask(row: int) -> None:
        with pytest.raises(ValueError, match="no more memory"):
            answered(batches, [row], begin)
        heard.append(row)

    ask_all(queue, [lambda row=row: ask(row) for row in range(3)])
    assert sorted(heard) == [0, 1, 2]
    assert queue.waiting == 0


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_sixteen_people_who_ask_at_once_get_the_tokens_they_get_alone(tiny_town: Path, temperature: float) -> None:
    """In float64, with weights strong enough to differ, other lengths and other seeds; all in one batch."""
    engine, task = Engine.open(tiny_town, "cpu", "float64"), get_task("LaMP_4")
    example = engine.pool.examples(task.name)[0]
    record = engine.stored.assembly(task.name, example.id)
    random = np.random.default_rng(1)
    people = [
        Prepared(method="perpcs", task=task, weights=random.normal(0, 2, record.weights.shape).astype(np.float32))
        for _ in range(16)
    ]

    def answer(who: int) -> str:
        query = Query(x=example.history[who % 5].x)
        how = {"max_new_tokens": 4 + who, "temperature": temperature, "seed": who}
        *_, (last,) = engine.answer_rows(task, [(people[who], query)], **how)
        assert last.done
        assert last.tokens <= 4 + who
        return last.text

    alone = [answer(who) for who in range(16)]
    assert len(set(alone)) > 8, "people must differ, or a mix-up would not be seen"
    begun: list[int] = []
    inner = engine._batches._join

    def joined(kind: object, rows: Sequence[object]) -> object:
        batch, at = inner(kind, rows)
        begun.append(id(batch))
        return batch, at

    engine._batches._join = joined  # type: ignore[method-assign, assignment]
    together: dict[int, str] = {}
    ask_all(engine.queue, [lambda who=who: together.__setitem__(who, answer(who)) for who in range(16)])
    assert [together[who] for who in range(16)] == alone
    assert len(set(begun)) == 1
