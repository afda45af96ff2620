"""What follows from a record without the model: against hand-made cases, and against doing it the long way."""

import time

import numpy as np
import pytest
import torch
from helpers import large, made
from tiny import ITEMS, load_tiny, random_task_pieces, save_tiny, write_tiny_pool

from perpcs.assembly.assemble import assemble
from perpcs.assembly.explain import (
    OVER_USED,
    agreement,
    changes,
    item_influence,
    most_kept,
    moved,
    shares,
    usage,
    with_k,
    without_positions,
)
from perpcs.assembly.export import update_norms
from perpcs.assembly.routers import make_router
from perpcs.pool.store import Pool
from perpcs.tasks import get_task

HAND = made(
    choices=[[[0, 1], [2, 3]], [[0, 2], [2, -1]]],  # two items, two positions, two pieces
    votes=[[[0.75, 0.25], [0.5, 0.5]], [[0.5, 0.5], [1.0, 0.0]]],
)


# ---- two tables -----------------------------------------------------------------------------------------------------


def test_moved_by_hand():
    before = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0, 0], [0.2, 0, 0], [0.3, 0, 0]])
    after = np.array([[0.0, 1, 0], [1.0, 0, 0], [0, 0, 0], [0, 0, 0], [0.6, 0, 0]])
    # another piece altogether; half of it; nothing on either side; all gone; the same mix, only more of it
    assert moved(before, after).tolist() == [1.0, 0.5, 0.0, 1.0, 0.0]
    assert agreement(before, after).tolist() == [0.0, 0.5, 1.0, 0.0, 1.0]


def test_moving_is_a_distance():
    random = np.random.default_rng(1)
    a, b, c = random.random((3, 6, 9))
    assert moved(a, a).max() == 0
    assert moved(a, b) == pytest.approx(moved(b, a))
    assert (moved(a, c) <= moved(a, b) + moved(b, c) + 1e-12).all()


def test_a_piece_that_is_taken_away_is_not_the_piece_that_is_added():
    assert moved(np.array([[0.5, 0]]), np.array([[-0.5, 0]])).tolist() == [1.0]


def test_shares_add_up_to_one_where_there_is_weight():
    found = shares(np.array([[1.0, -3.0], [0, 0]]))
    assert found.tolist() == [[0.25, 0.75], [0, 0]]


def test_changes_are_the_largest_differences_and_nothing_else():
    before, after = np.array([[0.1, 0.2], [0.3, 0.0]]), np.array([[0.1, 0.0], [0.35, 0.0]])
    found = changes(before, after)
    assert [(c.position, c.sharer) for c in found] == [(0, 1), (1, 0)]
    assert (found[0].before, found[0].after) == (0.2, 0.0)
    assert len(changes(before, after, count=1)) == 1


# ---- what if --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half_life", [0, 3])
def test_influence_is_what_leaving_an_item_out_moves(half_life):
    record = large(items=7, positions=5, sharers=6, half_life=half_life)
    long_way = [moved(record.weights, record.without_item(i)).mean() for i in range(record.n_items)]
    assert item_influence(record) == pytest.approx(long_way, abs=1e-6)


def test_influence_by_hand():
    # without item 0, position 0 goes from (.625, .125, .25) to (.5, 0, .5), position 1 from (.75, .25) to (1, 0)
    assert item_influence(HAND)[0] == pytest.approx((0.25 + 0.25) / 2)
    assert item_influence(made([[[0]]], [[[1.0]]])).tolist() == [1.0]  # all that there was


def test_influence_is_refused_where_weights_are_no_mean():
    with pytest.raises(ValueError, match="not the mean"):
        item_influence(made([[[0]]], [[[1.0]]], router="fit"))


def test_a_layer_left_out_is_the_base_model_there_and_nothing_else_changes():
    less = without_positions(HAND, [1])
    assert not less.weights[1].any()
    assert (less.weights[0] == HAND.weights[0]).all()
    assert HAND.weights[1].any()


def test_fewer_pieces_by_hand():
    one = with_k(HAND, 1)
    assert one.weights == pytest.approx(np.array([[1, 0, 0, 0], [0, 0, 1, 0]]))
    assert most_kept(HAND) == 2
    assert with_k(HAND, 2).weights == pytest.approx(HAND.weights, abs=1e-3)


def test_a_softmax_over_fewer_scores_is_the_scaled_up_softmax():
    """With ``temperature`` and k the selector's own way: the k best of one item, softmax over them."""
    scores = np.array([2.0, 1.0, 0.5])
    wide, narrow = np.exp(scores) / np.exp(scores).sum(), np.exp(scores[:2]) / np.exp(scores[:2]).sum()
    record = with_k(made([[[0, 1, 2]]], [[wide]], sharers=3), 2)
    assert record.weights[0] == pytest.approx([*narrow, 0], abs=2e-3)


def test_fewer_pieces_where_no_item_chose():
    table = [[0.5, 0.3, 0.2, 0.0]]
    shared = with_k(made([[[0]]], [[[1.0]]], router="gradient", weights=table), 2)
    assert shared.weights[0] == pytest.approx([0.625, 0.375, 0, 0])
    for router in ("fit", "fit+own", "newton"):
        cut = with_k(made([[[0]]], [[[1.0]]], router=router, weights=table), 2)
        assert cut.weights[0] == pytest.approx([0.5, 0.3, 0, 0])
        assert most_kept(cut) == 2


# ---- sharers --------------------------------------------------------------------------------------------------------


def test_usage_by_hand():
    sharers = 8
    table = np.zeros((2, sharers))
    table[0, 0], table[1, 0], table[1, 1] = 0.6, -0.2, 0.2
    found = usage([table])
    assert found.shares == pytest.approx([0.8, 0.2, *[0] * 6])
    assert found.dormant == tuple(range(2, 8))
    assert found.over_used == (0,)
    assert found.shares[1] < OVER_USED / sharers


def test_usage_of_several_people_counts_each_alike():
    small, big = np.array([[0.1, 0.0]]), np.array([[0.0, 9.0]])
    assert usage([small, big]).shares.tolist() == [0.5, 0.5]
    assert usage([np.zeros((2, 3))]).shares.tolist() == [0, 0, 0]


# ---- with the pool --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_update_norms_are_those_of_the_merged_matrix(tmp_path, kind):
    pool = Pool(write_tiny_pool(tmp_path, kind=kind, rank=1 if kind == "ia3" else 2))
    base, task = pool.base("cpu", "float64"), get_task("LaMP_4")
    person = assemble(base, pool, task, ITEMS, options=make_router(router="prototype"))
    pieces = pool.pieces("LaMP_4", "cpu", torch.float64)
    found = update_norms(base, pieces, person)
    for p, position in enumerate(base.positions):
        W = base.model.get_submodule(position.path).base.weight.double()
        w = torch.from_numpy(person.weights[p].astype(np.float64))
        if kind == "ia3":
            change = (w @ pieces.pieces.Bt[p][:, 0])[:, None] * W
        else:
            change = pieces.pieces.scale * torch.einsum("s,srd,srn->dn", w, pieces.pieces.Bt[p], pieces.pieces.A[p])
        assert found[p] == pytest.approx((change.norm() / W.norm()).item(), rel=1e-6)


def test_a_person_without_weight_has_no_update(tmp_path):
    base = load_tiny(save_tiny("llama", tmp_path))
    P, S = len(base.positions), 5
    nobody = made(np.zeros((1, P, 1)), np.zeros((1, P, 1)), sharers=S)
    assert not update_norms(base, random_task_pieces(base), nobody).any()


# ---- speed ----------------------------------------------------------------------------------------------------------


def test_a_large_map_is_explained_while_one_waits():
    """128 positions x 100 sharers, 200 items; processor time, because test machines are busy."""
    record = large()
    began = time.process_time()
    item_influence(record)
    with_k(record, 1)
    usage([record.weights])
    changes(record.weights, record.without_item(3))
    assert time.process_time() - began < 3
