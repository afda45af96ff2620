"""Laws of assembling: each item chooses for itself, at every position, on activations that are already personal.

The references here are written from the paper's formulas (section 2.5), an item, a token and a sharer at a time, on
models that our code never touched.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import (
    FAMILIES,
    ITEMS,
    RANK,
    SHARERS,
    load_tiny,
    merge,
    plain_model,
    random_ids,
    random_task_pieces,
)

from perpcs.assembly.assemble import assemble, route
from perpcs.assembly.kept import rounded
from perpcs.assembly.options import PRESETS, RouterOptions, router_options
from perpcs.assembly.routers import item_scores, routing_keys, select
from perpcs.errors import PerpcsError
from perpcs.model.basis import _ADAPTER
from perpcs.model.text import Encoded, encode_pair
from perpcs.pool.store import Pool
from perpcs.tasks import get_task

TASK = get_task("LaMP_4")
CLOSE = {"atol": 1e-10, "rtol": 1e-10}
SHARP = RouterOptions(
    router="gate", normalise="layernorm", centre=True, standardise=False, reduce="mean", temperature=0.1
)
"""Weights far from uniform, so that what chooses them is seen."""


def encode(base, items=ITEMS):
    return [encode_pair(base.tokenizer, *TASK.pair(item), base.max_tokens) for item in items]


def some_shared(base, seed=0):
    """A share mask with positions of no, one, two and all shared pieces."""
    mask = torch.rand(len(base.positions), SHARERS, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[0] = torch.tensor([True, True, True, True, True])
    mask[1] = torch.tensor([False, False, True, False, False])
    mask[2] = False
    mask[3] = torch.tensor([True, False, False, False, True])
    return mask


# ---- the paper, naively ---------------------------------------------------------------------------------------------


def dot(u, v):
    return sum(a * b for a, b in zip(u.tolist(), v.tolist(), strict=True))


def cosine(u, v):
    lengths = math.sqrt(dot(u, u)) * math.sqrt(dot(v, v))
    return dot(u, v) / lengths if lengths else 0.0


def standard(v):
    """Layer norm without weights."""
    mean = sum(v.tolist()) / len(v)
    variance = sum((x - mean) ** 2 for x in v.tolist()) / len(v)
    return (v - mean) / math.sqrt(variance + 1e-5)


# Each: score of piece s at position p from its owner's keys and the activations of the target tokens.


def paper_score(task, p, s, tokens):
    """Cosine of gate and activation, summed over the target tokens; the softmax divides by sqrt(n)."""
    return sum(cosine(task.gates[p][s], v) for v in tokens)


def reference_score(task, p, s, tokens):
    """Layer-normed gate and activation, product over sqrt(n), mean over the target tokens."""
    gate = standard(task.gates[p][s])
    return sum(dot(gate, standard(v)) / math.sqrt(len(v)) for v in tokens) / len(tokens)


def mean_of_shared(task, p, rows):
    shared = [row for s, row in enumerate(rows) if task.mask[p, s]]
    return sum(shared) / len(shared)


def centred_score(task, p, s, tokens):
    """Cosine of gate and mean activation, less the shared gates' and the shared prototypes' mean."""
    gate = task.gates[p][s] - mean_of_shared(task, p, task.gates[p])
    return cosine(gate, sum(tokens) / len(tokens) - mean_of_shared(task, p, task.prototypes[p]))


def standardised_score(task, p, s, tokens):
    """Cosine of prototype and mean activation, both centred and divided by the spread over shared prototypes."""
    mean = mean_of_shared(task, p, task.prototypes[p])
    spread = mean_of_shared(task, p, [(row - mean) ** 2 for row in task.prototypes[p]]).sqrt().clamp(min=1e-6)
    return cosine((task.prototypes[p][s] - mean) / spread, (sum(tokens) / len(tokens) - mean) / spread)


NAIVE = {
    "paper": (replace(PRESETS["paper"], temperature=0.05), paper_score, math.sqrt),
    "reference_code": (replace(PRESETS["reference_code"], temperature=0.2), reference_score, lambda n: 1.0),
    "centred": (
        RouterOptions(router="gate", normalise="cosine", centre=True, standardise=False, reduce="pooled", sqrt_n=False),
        centred_score,
        lambda n: 1.0,
    ),
    "standardised": (
        RouterOptions(router="prototype", normalise="cosine", centre=True, standardise=True, reduce="pooled"),
        standardised_score,
        lambda n: 1.0,
    ),
}
"""Options, the same score written naively, and what the softmax divides by. The published presets give nearly uniform
weights; a low temperature makes later positions depend on them.
"""


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


def np_close(tolerance):
    return {"atol": tolerance, "rtol": tolerance}


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
    task, encoded, options = random_task_pieces(base, some_shared(base)), encode(base), replace(PRESETS[preset], k=2)
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


# ---- selection ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_pieces_that_are_not_shared_are_never_chosen(preset, tiny_base):
    base = tiny_base("llama")
    mask = some_shared(base)
    found = route(base, random_task_pieces(base, mask), encode(base), replace(PRESETS[preset], k=3))
    hidden = ~mask.numpy()
    assert not found.weights[hidden].any()
    assert not found.scores[hidden].any()
    np.testing.assert_allclose(found.weights.sum(1), mask.any(1).double(), atol=1e-12)
    for i in range(len(ITEMS)):
        for p in range(len(base.positions)):
            chosen = found.index[i, p]
            real = chosen[chosen >= 0]
            assert mask[p, torch.tensor(real, dtype=torch.long)].all()
            assert len(set(real.tolist())) == len(real) == min(3, int(mask[p].sum()))
            assert ((found.votes[i, p] > 0) == (chosen >= 0)).all()


def test_k_beyond_the_shared_pieces_takes_them_all(tiny_base):
    base = tiny_base("llama")
    mask = some_shared(base)
    found = route(base, random_task_pieces(base, mask), encode(base), replace(SHARP, k=50))
    assert found.index.shape == (len(ITEMS), len(base.positions), SHARERS)
    assert np.array_equal(found.weights > 0, mask.numpy())
    assert np.array_equal((found.index >= 0).sum(2), np.tile(mask.sum(1), (len(ITEMS), 1)))


def test_what_a_hidden_piece_holds_does_not_matter(tiny_base):
    """Not its gate, not through the pool's mean gate, not its matrices."""
    base = tiny_base("llama")
    mask, encoded = some_shared(base), encode(base)
    task, other = random_task_pieces(base, mask), random_task_pieces(base, mask, seed=9)
    for p in range(len(base.positions)):
        for mine, theirs in (
            (task.gates[p], other.gates[p]),
            (task.prototypes[p], other.prototypes[p]),
            (task.pieces.A[p], other.pieces.A[p]),
            (task.pieces.Bt[p], other.pieces.Bt[p]),
        ):
            theirs[mask[p]] = mine[mask[p]]
    for options in (SHARP, replace(SHARP, router="prototype"), *(rule[0] for rule in NAIVE.values())):
        one, two = route(base, task, encoded, options), route(base, other, encoded, options)
        np.testing.assert_allclose(one.weights, two.weights, **np_close(1e-10))
        np.testing.assert_allclose(one.scores, two.scores, **np_close(1e-10))


@settings(max_examples=150, deadline=None)
@given(
    scores=st.lists(st.lists(st.integers(-3, 3), min_size=6, max_size=6), min_size=1, max_size=3),
    shared=st.lists(st.booleans(), min_size=6, max_size=6),
    k=st.integers(1, 8),
    cosine=st.booleans(),
    temperature=st.floats(0.05, 5),
)
def test_selection_is_top_k_and_softmax(scores, shared, k, cosine, temperature):
    options = RouterOptions(k=k, temperature=temperature, sqrt_n=cosine)
    table = torch.tensor(scores, dtype=torch.float64)
    index, weight = select(table, torch.tensor(shared), 16, options)
    assert index.shape == weight.shape == (len(scores), min(k, 6))
    for row, mine in enumerate(scores):
        best = sorted((s for s in range(6) if shared[s]), key=lambda s: (-mine[s], s))[:k]
        powers = [math.exp(mine[s] / temperature / (4.0 if cosine else 1.0)) for s in best]
        assert index[row, : len(best)].tolist() == best
        expected = torch.tensor([power / sum(powers) for power in powers], dtype=torch.float64)
        torch.testing.assert_close(weight[row, : len(best)], expected, **CLOSE)
        assert not weight[row, len(best) :].any()


def test_equal_scores_keep_the_order_of_the_sharers():
    """Of many too: sorting of a few numbers is stable by chance."""
    shared = torch.arange(500) % 3 > 0
    index, weight = select(torch.zeros(2, 500), shared, 16, RouterOptions(k=4))
    assert index.tolist() == [[1, 2, 4, 5]] * 2
    torch.testing.assert_close(weight, torch.full((2, 4), 0.25))


def test_the_prototype_router_compares_with_prototypes(tiny_base):
    base = tiny_base("llama")
    task, encoded, plain = random_task_pieces(base), encode(base), replace(SHARP, centre=False)
    by_prototype = route(base, task, encoded, replace(plain, router="prototype"))
    swapped = replace(task, gates=task.prototypes, prototypes=task.gates)
    np.testing.assert_array_equal(by_prototype.weights, route(base, swapped, encoded, plain).weights)
    assert not np.allclose(by_prototype.weights, route(base, task, encoded, plain).weights, atol=1e-3)


@pytest.mark.parametrize("rule", ["centred", "standardised"])
def test_what_all_keys_have_in_common_is_nothing_once_centred(rule, tiny_base):
    base = tiny_base("llama")
    task, encoded, options = (
        random_task_pieces(base, some_shared(base)),
        encode(base),
        replace(NAIVE[rule][0], router="gate"),
    )
    whole = route(base, task, encoded, options).weights
    # The same vector added to every gate; prototypes are left, because activations are centred on them.
    moved = replace(task, gates=[gate + 3.7 * gate[:1] for gate in task.gates])
    np.testing.assert_allclose(route(base, moved, encoded, options).weights, whole, **np_close(1e-9))
    assert not np.allclose(route(base, task, encoded, replace(options, centre=False)).weights, whole, atol=1e-3)


def test_scores_of_a_model_in_half_precision_are_kept_in_float32(tiny_base):
    base = tiny_base("llama")
    task = random_task_pieces(base)
    low = replace(task, gates=[gate.bfloat16() for gate in task.gates])
    low = replace(low, prototypes=[prototype.bfloat16() for prototype in task.prototypes])
    key = routing_keys(low, SHARP)[0]
    assert key.rows.dtype == torch.float32
    x = torch.randn(2, 5, base.positions[0].n)
    mask = torch.tensor([[0, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    found = item_scores(x.bfloat16(), key, mask, SHARP)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, item_scores(x, key, mask, SHARP), atol=0.05, rtol=0.05)


# ---- options --------------------------------------------------------------------------------------------------------


BAD_OPTIONS = (
    {"router": "gates"},
    {"normalise": "l2"},
    {"reduce": "max"},
    {"centre": "yes"},
    {"standardise": 2},
    {"sqrt_n": None},
    {"k": 0},
    {"k": 1.5},
    {"k": "3"},
    {"temperature": 0},
    {"temperature": -1.0},
    {"temperature": math.nan},
)


@pytest.mark.parametrize("bad", BAD_OPTIONS)
def test_options_out_of_range_are_refused_by_name(bad):
    ((name, value),) = bad.items()
    with pytest.raises(PerpcsError) as caught:
        RouterOptions(**bad)
    assert name in caught.value.wrong
    assert str(value) in caught.value.wrong


def test_presets_take_changes_and_keep_the_rest():
    assert router_options("paper", k=1, temperature=None) == replace(PRESETS["paper"], k=1)
    with pytest.raises(PerpcsError, match="Unknown preset 'papr'"):
        router_options("papr")


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
