"""Laws of assembling: each item chooses for itself, at every position, on activations that are already personal.

The references here are written from the paper's formulas (section 2.5), an item, a token and a sharer at a time, on
models that our code never touched.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import (
    NAIVE,
    SHARP,
    TASK,
    encode,
    np_close,
    some_shared,
)
from tiny import FAMILIES, ITEMS, RANK, SHARERS, load_tiny, merge, plain_model, random_ids, random_task_pieces, route

from perpcs.assembly.assemble import assemble
from perpcs.assembly.record import rounded
from perpcs.assembly.routers import PRESETS, changed
from perpcs.errors import PerpcsError
from perpcs.model.basis import _ADAPTER
from perpcs.model.likelihood import Encoded
from perpcs.pool.store import Pool
from perpcs.tasks import get_task

# ---- the paper, naively ---------------------------------------------------------------------------------------------


# Each: score of piece s at position p from its owner's keys and the activations of the target tokens.


def naive_assembly(base, folder, task, item, score, sharpness, k):
    """One item's weights (P, S) and scores, by a model whose matrices are merged one position after the other.

    ``item`` is (prompt, target); the target range is found by tokenizing both parts on their own.
    """
    prompt, target = item
    head = base.tokenizer(prompt)["input_ids"]
    tail = base.tokenizer(target, add_special_tokens=False)["input_ids"] + [base.eos]
    targets = range(len(head) - 1, len(head) + len(tail) - 1)  # b-1 .. e-1 of the paper, which counts from 1
    model = plain_model(folder)
    P = len(base.positions)
    weights, scores = np.zeros((P, SHARERS)), np.zeros((P, SHARERS))
    for p, position in enumerate(base.positions):
        seen = []
        handle = model.get_submodule(position.path).register_forward_pre_hook(
            lambda _, args, seen=seen: seen.append(args[0])
        )
        with torch.no_grad():
            model(input_ids=torch.tensor([head + tail]))
        handle.remove()
        tokens = [seen[0][0, t] for t in targets]
        shared = [s for s in range(SHARERS) if task.mask[p, s]]
        found = {s: score(task, p, s, tokens) for s in shared}
        best = sorted(shared, key=lambda s: (-found[s], s))[:k]
        powers = {s: math.exp(found[s] / sharpness(position.n)) for s in best}
        for s in shared:
            scores[p, s] = found[s]
            weights[p, s] = powers.get(s, 0.0) / sum(powers.values())
        row = torch.from_numpy(weights[p])
        merge(model, position.path, row, task.pieces.scale, task.pieces.A[p], task.pieces.Bt[p].mT)
    return weights, scores


@pytest.mark.parametrize("rule", NAIVE)
@pytest.mark.parametrize("family", FAMILIES)
def test_assembly_is_the_papers_with_every_items_weights_merged_before_the_next_position(
    rule, family, tiny_base, model_folder
):
    base = tiny_base(family)
    task = random_task_pieces(base, some_shared(base))
    options, score, divisor = NAIVE[rule]
    options = replace(options, k=3)
    pairs = [TASK.pair(item) for item in ITEMS[:3]]
    found = route(base, task, encode(base, ITEMS[:3]), options)
    naive = [
        naive_assembly(base, model_folder(family), task, pair, score, lambda n: options.temperature * divisor(n), 3)
        for pair in pairs
    ]
    np.testing.assert_allclose(found.weights, np.mean([weights for weights, _ in naive], axis=0), **np_close(1e-9))
    np.testing.assert_allclose(found.scores, np.mean([scores for _, scores in naive], axis=0), **np_close(1e-9))
    for i, (weights, _) in enumerate(naive):
        for p in range(len(base.positions)):
            chosen = [s for s in found.index[i, p] if s >= 0]
            assert chosen == sorted(np.flatnonzero(weights[p]), key=lambda s: -weights[p, s])
            np.testing.assert_allclose(found.votes[i, p][: len(chosen)], weights[p, chosen], atol=1e-3)


def test_later_positions_see_personal_activations(tiny_base):
    """The law above would be empty if merged pieces changed nothing: without them other weights come out."""
    base = tiny_base("llama")
    task = random_task_pieces(base)
    found = route(base, task, encode(base), SHARP).weights
    nothing = replace(task, pieces=task.pieces.to("cpu", torch.float64))
    nothing.pieces.Bt = [torch.zeros_like(Bt) for Bt in nothing.pieces.Bt]
    frozen = route(base, nothing, encode(base), SHARP).weights
    np.testing.assert_allclose(found[:3], frozen[:3], atol=1e-12)  # q, k, v of the first layer see the same input
    assert np.abs(found[3:] - frozen[3:]).max() > 0.05


# ---- items are on their own -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_many_items_are_the_mean_of_assemblies_of_one_item(family, preset, tiny_base):
    base = tiny_base(family)
    task, encoded, options = (
        random_task_pieces(base, some_shared(base)),
        encode(base),
        changed(PRESETS[preset], router="gate", k=2),
    )
    whole = route(base, task, encoded, options)
    alone = [route(base, task, [item], options) for item in encoded]
    np.testing.assert_allclose(whole.weights, np.mean([one.weights for one in alone], axis=0), **np_close(1e-10))
    np.testing.assert_allclose(whole.scores, np.mean([one.scores for one in alone], axis=0), **np_close(1e-10))
    assert np.array_equal(whole.index, np.concatenate([one.index for one in alone]))
    np.testing.assert_allclose(whole.votes, np.concatenate([one.votes for one in alone]), atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_size_and_padding_do_not_matter(family, tiny_base):
    base = tiny_base(family)
    task, encoded = random_task_pieces(base), encode(base)
    assert len({len(item.ids) for item in encoded}) > 3  # a batch of all of them is padded
    whole = route(base, task, encoded, SHARP, batch_tokens=10**6)
    for batch_tokens in (1, 80, 200):
        found = route(base, task, encoded, SHARP, batch_tokens=batch_tokens)
        np.testing.assert_allclose(found.weights, whole.weights, **np_close(1e-10))
        np.testing.assert_allclose(found.scores, whole.scores, **np_close(1e-10))
        assert np.array_equal(found.index, whole.index)


def test_the_order_of_items_permutes_their_choices_alone(tiny_base):
    base = tiny_base("llama")
    task, encoded = random_task_pieces(base), encode(base)
    whole = route(base, task, encoded, SHARP)
    order = [4, 0, 5, 2, 1, 3]
    found = route(base, task, [encoded[i] for i in order], SHARP, batch_tokens=100)
    np.testing.assert_allclose(found.weights, whole.weights, **np_close(1e-10))
    np.testing.assert_allclose(found.scores, whole.scores, **np_close(1e-10))
    assert np.array_equal(found.index, whole.index[order])
    np.testing.assert_allclose(found.votes, whole.votes[order], atol=1e-3)
    assert not np.array_equal(whole.index, whole.index[order])


def test_the_same_item_twice_changes_nothing(tiny_base):
    base = tiny_base("llama")
    task, encoded = random_task_pieces(base), encode(base)
    once, twice = route(base, task, encoded, SHARP), route(base, task, encoded * 2, SHARP)
    np.testing.assert_allclose(once.weights, twice.weights, **np_close(1e-10))


@pytest.mark.parametrize("pad", [0, 1, 7])
def test_any_padding_token_does(pad, tiny_base, monkeypatch):
    base = tiny_base("gpt2")
    task, encoded = random_task_pieces(base), encode(base)
    whole = route(base, task, encoded, SHARP)
    monkeypatch.setattr(type(base), "pad", pad)
    np.testing.assert_allclose(route(base, task, encoded, SHARP).weights, whole.weights, **np_close(1e-12))


def test_only_target_tokens_are_scored(tiny_base):
    """Scores are read off the activations at input positions start..end-1, and nowhere else."""
    base = tiny_base("llama")
    task = random_task_pieces(base)
    ids = tuple(random_ids(base, 1, 12)[0].tolist())
    short, long = Encoded(ids, 3, 6), Encoded(ids[:7], 3, 6)  # what comes after the last target is not seen
    np.testing.assert_allclose(
        route(base, task, [short], SHARP).weights, route(base, task, [long], SHARP).weights, **np_close(1e-10)
    )
    other = route(base, task, [Encoded(ids, 2, 6)], SHARP)
    assert not np.allclose(other.scores, route(base, task, [short], SHARP).scores, atol=1e-4)


# ---- nothing needless, nothing left behind --------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_after_the_last_position_is_computed(family, model_folder):
    base = load_tiny(model_folder(family))
    called = []
    for name, module in base.model.named_modules():
        module.register_forward_hook(lambda module, args, out, name=name: called.append(name))
    last = base.positions[-1].path
    mlps = [name for name, _ in base.model.named_modules() if name.endswith(".mlp")]
    head = next(name for name, module in base.model.named_modules() if module is base.model.get_output_embeddings())
    assert len(mlps) == 2
    ids = torch.tensor([[5, 6, 7]])
    base.model(input_ids=ids)
    assert {last, f"{last}.base", *mlps, head} <= set(called)  # the hooks would see them
    called.clear()
    route(base, random_task_pieces(base), encode(base, ITEMS[:2]), SHARP)
    assert base.positions[-2].path in called
    assert mlps[0] in called
    assert not {last, f"{last}.base", mlps[1], head} & set(called)


def test_one_pass_a_batch(tiny_base, monkeypatch):
    base = tiny_base("llama")
    passes = []
    whole = type(base).hidden
    monkeypatch.setattr(type(base), "hidden", lambda self, *args: (passes.append(args[0].shape), whole(self, *args))[1])
    encoded = encode(base)
    route(base, random_task_pieces(base), encoded, SHARP)
    assert passes == [(len(encoded), max(len(item.ids) for item in encoded))]


def test_an_exception_in_on_position_ends_the_work_and_leaves_no_adapter(tiny_base):
    base = tiny_base("llama")
    task, encoded, ids = random_task_pieces(base), encode(base), random_ids(base, 1, 6)
    with torch.no_grad():
        plain = base.hidden(ids)
    steps = []

    def stop(step):
        steps.append(step.position)
        if step.position == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        route(base, task, encoded, SHARP, on_position=stop)
    assert steps == [0, 1, 2]
    assert _ADAPTER.get() is None
    with torch.no_grad():
        assert torch.equal(base.hidden(ids), plain)
    whole = route(base, task, encoded, SHARP)
    assert _ADAPTER.get() is None
    np.testing.assert_array_equal(whole.weights, route(base, task, encoded, SHARP).weights)


def test_assembling_keeps_no_gradients(tiny_base):
    base = tiny_base("llama")
    tracked = []
    route(
        base,
        random_task_pieces(base),
        encode(base),
        SHARP,
        on_position=lambda _: tracked.append(torch.is_grad_enabled()),
    )
    assert tracked
    assert not any(tracked)
    assert torch.is_grad_enabled()


def test_steps_tell_every_position_of_every_batch_and_end_at_the_result(tiny_base):
    base = tiny_base("llama")
    steps, P = [], len(base.positions)
    whole = route(base, random_task_pieces(base), encode(base), SHARP, on_position=steps.append, batch_tokens=80)
    batches = steps[0].batches
    assert batches > 1
    assert [(step.batch, step.position) for step in steps] == [(b, p) for b in range(batches) for p in range(P)]
    assert all(step.positions == P and step.batches == batches for step in steps)
    assert [step.seconds for step in steps] == sorted(step.seconds for step in steps)
    np.testing.assert_allclose(steps[-1].weights, whole.weights, atol=1e-6)
    first = steps[2].weights  # in the first batch, positions that are not reached yet are zero
    assert not first[3:].any()
    np.testing.assert_allclose(first[:3].sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(steps[P + 1].weights.sum(1), 1, atol=1e-6)  # means, however many items were read
    kept = [step.weights.copy() for step in steps]
    assert all(np.array_equal(step.weights, copy) for step, copy in zip(steps, kept, strict=True))


# ---- from a pool on disk to a record --------------------------------------------------------------------------------


def test_an_assembly_records_what_was_run(tiny_pool_folder):
    pool = Pool(tiny_pool_folder)
    base = pool.base("cpu", "float64")
    person = assemble(base, pool, TASK, ITEMS, options=SHARP, user="ada")
    encoded = encode(base)
    found = route(base, pool.pieces("LaMP_4", "cpu", torch.float64), encoded, SHARP)
    np.testing.assert_array_equal(person.weights, rounded(found.weights))
    np.testing.assert_array_equal(person.choices, found.index)
    assert (person.user, person.task, person.pool, person.pool_hash) == ("ada", "LaMP_4", "tiny", pool.hash)
    assert person.sharers == ("s0", "s1", "s2", "s3", "s4")
    assert person.positions[3] == "layer 0, o_proj"
    assert person.tokens == sum(len(item.ids) for item in encoded)
    assert person.router["temperature"] == 0.1
    assert person.n_items == len(ITEMS)
    assert person.cut_items == 0
    assert pool.manifest.rank == RANK


def test_items_that_were_cut_are_counted(tiny_pool_folder):
    pool = Pool(tiny_pool_folder)
    long = replace(ITEMS[0], x="word " * 400)
    person = assemble(pool.base("cpu", "float64"), pool, TASK, [long, ITEMS[1]])
    assert person.cut_items == 1


def test_no_history_and_no_task_are_errors(tiny_pool_folder):
    pool = Pool(tiny_pool_folder)
    base = pool.base("cpu", "float64")
    with pytest.raises(PerpcsError, match="history is empty"):
        assemble(base, pool, TASK, [])
    with pytest.raises(PerpcsError, match="no sharers for task 'LaMP_7'"):
        assemble(base, pool, get_task("LaMP_7"), ITEMS)
