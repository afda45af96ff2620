"""One engine, many people: answers are each person's own, whatever shares the batch or the server."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perpcs.assembly.record import Assembly
from perpcs.errors import PerpcsError
from perpcs.pool.manifest import Example
from perpcs.serve.answer import Answer
from perpcs.serve.engine import Engine
from perpcs.serve.queue import Queue
from perpcs.tasks import Item, Query, get_task


@pytest.fixture(scope="module")
def engine(tiny_town: Path) -> Engine:
    return Engine.open(tiny_town, "cpu", "float64")


def last(snapshots: Iterator[tuple[Answer, ...]]) -> tuple[Answer, ...]:
    *_, answers = snapshots
    return answers


def ask(
    engine: Engine, example: Example, methods: Sequence[str], task: str = "LaMP_4", **more: object
) -> tuple[Answer, ...]:
    assembly = engine.stored.assembly(task, example.id)
    snapshots = engine.answer(
        get_task(task), example.queries[0], methods, history=example.history, assembly=assembly, **more
    )
    return last(snapshots)


def test_all_methods_in_one_batch_answer_as_each_alone(engine: Engine) -> None:
    example = engine.pool.examples("LaMP_4")[0]
    names = ["base", "random-history", "rag:2", "pag:1", "retrieval", "perpcs", "oppu", "perpcs+rag", "wrong:perpcs"]
    together = ask(engine, example, names, max_new_tokens=12)
    for name, answer in zip(names, together, strict=True):
        assert answer.method == name
        alone = ask(engine, example, [name], max_new_tokens=12)[0]
        assert (alone.text, alone.tokens) == (answer.text, answer.tokens)
        assert answer.done


def test_a_person_without_weight_gets_the_base_models_answer(engine: Engine) -> None:
    example = engine.pool.examples("LaMP_4")[0]
    record = engine.stored.assembly("LaMP_4", example.id)
    nobody = replace(record, weights=np.zeros_like(record.weights))
    base, empty = last(
        engine.answer(get_task("LaMP_4"), example.queries[0], ["base", "perpcs"], assembly=nobody, max_new_tokens=12)
    )
    assert base.text == empty.text


def test_strong_weights_change_the_answer(engine: Engine) -> None:
    """The control of the test above: weights do reach the model."""
    example = engine.pool.examples("LaMP_4")[0]
    record = engine.stored.assembly("LaMP_4", example.id)
    strong = replace(record, weights=record.weights * 40)
    base, changed = last(
        engine.answer(get_task("LaMP_4"), example.queries[0], ["base", "perpcs"], assembly=strong, max_new_tokens=12)
    )
    assert base.text != changed.text


def test_sampling_is_seeded_and_the_same_for_every_column(engine: Engine) -> None:
    example = engine.pool.examples("LaMP_4")[0]
    one = ask(engine, example, ["base", "base"], max_new_tokens=10, temperature=1.0, seed=5)
    again = ask(engine, example, ["base"], max_new_tokens=10, temperature=1.0, seed=5)
    other = ask(engine, example, ["base"], max_new_tokens=10, temperature=1.0, seed=6)
    assert one[0].text == one[1].text == again[0].text
    assert other[0].text != again[0].text


def test_labels_have_probabilities_and_an_invalid_answer_stays_invalid(engine: Engine) -> None:
    example = engine.pool.examples("LaMP_2")[0]
    answers = ask(engine, example, ["base", "perpcs"], task="LaMP_2")
    for answer in answers:
        assert set(answer.labels) == set(get_task("LaMP_2").labels)
        assert sum(answer.labels.values()) == pytest.approx(1)
        assert answer.valid == (answer.text in get_task("LaMP_2").labels)


def test_rag_shows_an_item_of_the_history_and_says_that_text_leaves(engine: Engine) -> None:
    example = engine.pool.examples("LaMP_4")[0]
    base, rag, perpcs = ask(engine, example, ["base", "rag", "perpcs"], max_new_tokens=2)
    assert rag.text_leaves
    assert rag.retrieved[0] in example.history
    assert rag.retrieved[0].x in rag.prompt
    assert not base.text_leaves
    assert not perpcs.text_leaves
    assert perpcs.prompt == base.prompt
    assert perpcs.bytes_stored < rag.bytes_stored


def test_closing_an_answer_gives_the_turn_back(engine: Engine) -> None:
    example = engine.pool.examples("LaMP_4")[0]
    snapshots = engine.answer(get_task("LaMP_4"), example.queries[0], ["base"])
    next(snapshots)
    snapshots.close()  # type: ignore[attr-defined]
    assert engine.queue.waiting == 0
    assert ask(engine, example, ["base"], max_new_tokens=2)[0].done


def test_stopping_an_assembly_gives_the_turn_back(engine: Engine) -> None:
    def stop(step: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.assemble(get_task("LaMP_4"), engine.pool.examples("LaMP_4")[0].history, on_position=stop)
    assert engine.queue.waiting == 0


def test_twenty_people_at_once_get_their_own_answers(engine: Engine) -> None:
    """Threads of different people, with weights strong enough to differ, against single runs."""
    task = get_task("LaMP_2")
    example = engine.pool.examples(task.name)[0]
    record = engine.stored.assembly(task.name, example.id)
    random = np.random.default_rng(0)
    people = [replace(record, weights=random.normal(0, 3, record.weights.shape).astype(np.float32)) for _ in range(20)]

    def answer(person: Assembly) -> list[float]:
        """Probabilities of all labels, a fingerprint of the person's weights."""
        answers = last(engine.answer(task, example.queries[0], ["perpcs"], assembly=person, max_new_tokens=4))
        return list(answers[0].labels.values())

    alone = np.array([answer(person) for person in people])
    apart = np.abs(alone[:, None] - alone[None]).max(-1) + np.eye(len(people))
    assert apart.min() > 1e-4, "no two people may be alike, or a mix-up would not be seen"
    together = np.zeros_like(alone)

    def work(index: int) -> None:
        together[index] = answer(people[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(people))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(together, alone, atol=1e-9)


def test_the_wrong_person_is_another_example_with_their_own_assembly(engine: Engine) -> None:
    task = get_task("LaMP_4")
    one, other = engine.pool.examples(task.name)
    mine, theirs = (engine.stored.assembly(task.name, example.id) for example in (one, other))
    for asks, gets in (((one, mine), theirs), ((other, theirs), mine)):
        example, record = asks
        wrong = engine.prepare(task, "wrong:perpcs", example.history, user=example.id, assembly=record)
        assert wrong.method == "wrong:perpcs"
        np.testing.assert_array_equal(wrong.weights, gets.weights)
    stranger = engine.prepare(task, "wrong:rag", [Item("a", "b")])
    assert stranger.prompt(Query("c")).retrieved[0] in one.history


def test_what_is_prepared_serves_many_queries(engine: Engine) -> None:
    task, example = get_task("LaMP_4"), engine.pool.examples("LaMP_4")[0]
    ready = engine.prepare(task, "oppu+rag:1", example.history, user=example.id)
    asked = [(ready, query) for query in example.queries[:3]]
    together = last(engine.answer_rows(task, asked, max_new_tokens=8))
    for row, answer in zip(asked, together, strict=True):
        assert last(engine.answer_rows(task, [row], max_new_tokens=8))[0].text == answer.text
        assert answer.retrieved[0] in example.history
    assert ready.own is not None
    assert ready.curve["training"]


def test_a_person_of_another_pool_is_refused(engine: Engine) -> None:
    record = engine.stored.assembly("LaMP_4", engine.pool.examples("LaMP_4")[0].id)
    with pytest.raises(PerpcsError, match="was assembled from the pool 'elsewhere'"):
        engine.check(replace(record, pool="elsewhere", pool_hash="0" * 64))


def test_methods_say_what_they_lack(engine: Engine) -> None:
    task, query = get_task("LaMP_4"), Query(x="A dog ran.")
    with pytest.raises(PerpcsError, match="Did you mean perpcs"):
        engine.answer(task, query, ["percps"])
    with pytest.raises(PerpcsError, match="No model has been assembled"):
        engine.answer(task, query, ["perpcs"])
    with pytest.raises(PerpcsError, match="need the history"):
        engine.answer(task, query, ["rag"])


def test_a_stored_example_is_what_the_engine_assembles(tiny_town: Path) -> None:
    engine = Engine.open(tiny_town, "cpu", "float32")
    example = engine.pool.examples("LaMP_2")[0]
    stored = engine.stored.assembly("LaMP_2", example.id)
    again = engine.assemble(get_task("LaMP_2"), example.history, user=example.id)
    assert stored.sharers == again.sharers
    np.testing.assert_allclose(stored.weights, again.weights, atol=1e-4)
    engine.check(stored)


def test_turns_are_served_in_the_order_of_arrival() -> None:
    queue, order, threads = Queue(), [], []
    with queue.turn():
        for index in range(5):

            def work(index: int = index) -> None:
                with queue.turn():
                    order.append(index)

            thread = threading.Thread(target=work)
            thread.start()
            while queue.waiting < index + 2:
                pass
            threads.append(thread)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]
    assert queue.waiting == 0


def test_long_work_lets_others_go_first_between_its_steps() -> None:
    queue, order = Queue(), []

    def short() -> None:
        with queue.turn():
            order.append("short")

    thread = threading.Thread(target=short)
    with queue.turn() as turn:
        turn.pass_on()  # nobody waits: it goes on at once
        thread.start()
        while queue.waiting < 2:
            pass
        assert queue.ahead(thread.ident) == 1
        order.append("one step")
        turn.pass_on()
        order.append("another")
    thread.join()
    assert order == ["one step", "short", "another"]
    assert queue.waiting == 0
    assert turn.waited > 0
