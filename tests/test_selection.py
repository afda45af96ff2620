"""Which pieces a router takes of those that are shared, with what weight, and which options there are for it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import CLOSE, NAIVE, SHARP, encode, np_close, some_shared
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ITEMS, SHARERS, random_task_pieces, route

from perpcs.assembly.activations import select
from perpcs.assembly.router import Selecting
from perpcs.assembly.routers import PRESETS, changed, make_router, router_options
from perpcs.errors import PerpcsError

# ---- selection ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_pieces_that_are_not_shared_are_never_chosen(preset, tiny_base):
    base = tiny_base("llama")
    mask = some_shared(base)
    found = route(base, random_task_pieces(base, mask), encode(base), changed(PRESETS[preset], router="gate", k=3))
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
    for options in (SHARP, changed(SHARP, router="prototype"), *(rule[0] for rule in NAIVE.values())):
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
    options = make_router("gate", k=k, temperature=temperature, sqrt_n=cosine)
    table = torch.tensor(scores, dtype=torch.float64)
    index, weight = select(table, torch.tensor(shared), options, scale=options.scale(16))
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
    index, weight = select(torch.zeros(2, 500), shared, Selecting(k=4))
    assert index.tolist() == [[1, 2, 4, 5]] * 2
    torch.testing.assert_close(weight, torch.full((2, 4), 0.25))


def test_the_prototype_router_compares_with_prototypes(tiny_base):
    base = tiny_base("llama")
    task, encoded, plain = random_task_pieces(base), encode(base), replace(SHARP, centre=False)
    by_prototype = route(base, task, encoded, changed(plain, router="prototype"))
    swapped = replace(task, gates=task.prototypes, prototypes=task.gates)
    np.testing.assert_array_equal(by_prototype.weights, route(base, swapped, encoded, plain).weights)
    assert not np.allclose(by_prototype.weights, route(base, task, encoded, plain).weights, atol=1e-3)


@pytest.mark.parametrize("rule", ["centred", "standardised"])
def test_what_all_keys_have_in_common_is_nothing_once_centred(rule, tiny_base):
    base = tiny_base("llama")
    task, encoded, options = (
        random_task_pieces(base, some_shared(base)),
        encode(base),
        changed(NAIVE[rule][0], router="gate"),
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
    key = SHARP.keys(low)[0]
    assert key.rows.dtype == torch.float32
    x = torch.randn(2, 5, base.positions[0].n)
    mask = torch.tensor([[0, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    found = SHARP.item_scores(x.bfloat16(), key, mask)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, SHARP.item_scores(x, key, mask), atol=0.05, rtol=0.05)


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
    {"p": 0},
    {"p": 1.2},
    {"share_ratio": 0.0},
    {"half_life": -1},
    {"selector": "best"},
    {"attention": "no"},
    {"without": "s1"},
    {"seed": -1},
    {"steps": True},
)


@pytest.mark.parametrize("bad", BAD_OPTIONS)
def test_options_out_of_range_are_refused_by_name(bad):
    ((name, value),) = bad.items()
    with pytest.raises(PerpcsError) as caught:
        make_router(**bad)
    assert name in caught.value.wrong
    assert str(value) in caught.value.wrong


def test_presets_take_changes_and_keep_the_rest():
    assert router_options("paper", k=1, temperature=None) == replace(PRESETS["paper"], k=1)
    with pytest.raises(PerpcsError, match="Unknown preset 'papr'"):
        router_options("papr")
