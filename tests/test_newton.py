"""Laws of the router `newton`: the small solve is the large one, order and batches do not matter, masks hold."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import ITEMS, SHARERS, load_tiny, random_task_pieces, route, save_tiny

from perpcs.assembly.newton import (
    DAMPINGS,
    FARTHEST,
    best_length,
    choose_damping,
    item_losses,
    kept_out,
    left_out,
    newton_step,
    read_gains,
    solve,
    sureness,
)
from perpcs.assembly.router import item_shares
from perpcs.assembly.routers import make_router
from perpcs.model.likelihood import encode_pair
from perpcs.tasks import get_task

TASK = get_task("LaMP_4")
NEWTON = make_router(router="newton")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_tiny(save_tiny("llama", tmp_path_factory.mktemp("base")))


ALIKE = ITEMS[:2] * 4
"""A history that repeats itself: what helps one fold helps the other."""


def encode(base, items=ITEMS):
    return [encode_pair(base.tokenizer, *TASK.pair(item), base.max_tokens) for item in items]


def gains_of(base, task, encoded):
    return read_gains(base, task, encoded, 8192, lambda number, weights: None)


def drawn_gains(items=7, size=40, seed=0):
    return np.random.default_rng(seed).normal(size=(items, size))


@pytest.mark.parametrize("damping", [0.1, 1.0, 10.0])
def test_the_solve_over_items_is_the_dense_ridge_solve(damping):
    gains = drawn_gains()
    ridge = damping * (gains**2).sum(1).mean()
    dense = np.linalg.solve(gains.T @ gains + ridge * np.eye(gains.shape[1]), gains.sum(0))
    assert solve(gains, damping) == pytest.approx(dense, rel=1e-9)


def test_an_item_that_counts_twice_is_an_item_that_stands_there_twice():
    gains = drawn_gains(4)
    twice = np.concatenate([gains, gains[:1]])
    ridge = 0.7
    counted = solve(gains, ridge, np.array([2.0, 1, 1, 1]))
    # lambda is in units of the mean of K's diagonal, so the two are compared at the same ridge.
    root = np.sqrt(np.array([2.0, 1, 1, 1]) / 1.25)
    same = ridge * float(((gains * root[:, None]) ** 2).sum(1).mean()) * 1.25
    assert counted == pytest.approx(solve(twice, same / float((twice**2).sum(1).mean())), rel=1e-9)


def test_leaving_an_item_out_in_closed_form_is_leaving_it_out():
    gains = drawn_gains()
    ridge = 0.5 * (gains**2).sum(1).mean()
    for i in range(len(gains)):
        rest = np.delete(gains, i, axis=0)
        w = np.linalg.solve(rest.T @ rest + ridge * np.eye(gains.shape[1]), rest.sum(0))
        assert left_out(gains, 0.5)[i] == pytest.approx(float(gains[i] @ w), rel=1e-8)


def test_damping_is_strong_where_items_have_nothing_in_common_and_weak_where_they_agree():
    alike = np.ones((8, 1)) * drawn_gains(1) + 0.01 * drawn_gains(8, seed=1)
    assert choose_damping(alike) == DAMPINGS[0]
    against = alike * np.array([[1.0], [-1.0]] * 4)
    assert choose_damping(against) == DAMPINGS[-1]


def test_the_length_is_where_the_parabola_is_lowest_and_none_where_it_rises():
    counts = np.full(2, 0.5)
    assert best_length(np.array([1.0, 1.0]), np.array([1.0, 1.0]), counts) == pytest.approx(0.5)
    assert best_length(np.array([-1.0, 0.5]), np.array([1.0, 1.0]), counts) == 0
    assert best_length(np.array([1.0, 1.0]), np.array([-1.0, -1.0]), counts) == FARTHEST
    assert [kept_out(n) for n in (1, 4, 5, 9, 10, 40)] == [0, 0, 1, 1, 2, 8]


def test_a_fall_on_which_items_agree_is_sure_and_one_of_noise_is_not():
    counts = np.full(8, 1 / 8)
    assert sureness(np.full(8, 0.3), counts) == 1
    assert sureness(np.array([1.0, -1.0] * 4), counts) == 0
    assert sureness(np.full(8, -0.3), counts) == 0
    drawn = 0.5 + np.random.default_rng(0).normal(size=8)
    error = drawn.std(ddof=1) / 8**0.5
    assert sureness(drawn, counts) == pytest.approx(1 - (error / drawn.mean()) ** 2)
    assert sureness(drawn[:1], np.ones(1)) == 0
    # Counts of any scale; an item that counts nothing is not there.
    assert sureness(np.append(drawn, 99.0), np.append(np.full(8, 3.0), 0.0)) == pytest.approx(sureness(drawn, counts))


def test_batches_and_padding_do_not_matter(base):
    task, encoded = random_task_pieces(base), encode(base, ALIKE)
    whole = route(base, task, encoded, NEWTON)
    apart = route(base, task, encoded, NEWTON, batch_tokens=1)
    assert np.abs(whole.weights).max() > 0
    assert apart.weights == pytest.approx(whole.weights, rel=1e-7, abs=1e-12)
    assert apart.extra == whole.extra


def test_the_order_of_the_items_does_not_change_the_solve(base):
    task, encoded = random_task_pieces(base), encode(base)
    gains = gains_of(base, task, encoded)[0].reshape(len(encoded), -1)
    turned = gains_of(base, task, encoded[::-1])[0].reshape(len(encoded), -1)
    assert solve(turned, 1.0) == pytest.approx(solve(gains, 1.0), rel=1e-7)


def test_a_piece_that_nobody_shares_gets_nothing(base):
    mask = torch.ones(len(base.positions), SHARERS, dtype=torch.bool)
    mask[:, 2] = False
    mask[1] = False
    found = route(base, random_task_pieces(base, mask), encode(base, ALIKE), NEWTON)
    assert (found.weights[~mask.numpy()] == 0).all()
    assert (found.weights[mask.numpy()] != 0).any()


def test_the_check_compares_the_newest_items_with_weights_from_the_older_ones(base):
    task, encoded = random_task_pieces(base), encode(base)
    gains, losses = gains_of(base, task, encoded)
    shares = item_shares(len(encoded), 0)
    found = newton_step(base, task, encoded, gains, losses, shares)
    assert found.check is not None
    assert found.check.before == pytest.approx(losses[-1:])
    older = found.length * solve(gains[:-1].reshape(len(encoded) - 1, -1), found.damping)
    after = item_losses(base, task, encoded, [len(encoded) - 1], older.reshape(1, *gains.shape[1:]))
    assert found.check.after == pytest.approx(after, rel=1e-9)
    # Whatever the newest item says, neither lambda nor eta hears of it.
    changed = gains.copy()
    changed[-1] *= -3
    other = newton_step(base, task, encoded, changed, losses, shares)
    assert (other.damping, other.length) == (found.damping, found.length)


def test_one_item_is_enough(base):
    found = route(base, random_task_pieces(base), encode(base)[:1], NEWTON)
    assert np.abs(found.weights).max() > 0
    assert "check" not in found.extra


# ---- the start -------------------------------------------------------------------------------------------------------

GATE = make_router(router="gate", gates="distilled")
FROM_BASE = make_router(router="newton", start="base")


def share_of_gates(base, task, encoded):
    """How surely the choice of the gates for all items but the last two makes these likelier."""
    gates = route(base, task, encoded[:-2], GATE).weights
    at_base, there = (item_losses(base, task, encoded[-2:], range(2), np.stack([w, w])) for w in (0 * gates, gates))
    return sureness(at_base - there, np.full(2, 0.5))


def gated_pieces(base, encoded, mask=None, helps=True):
    """Pieces with distilled gates, whose choice helps the last two items, or does not."""
    for seed in range(40):
        task = random_task_pieces(base, mask, seed=seed)
        task = replace(task, distilled=[-gate for gate in task.gates])
        task.pieces.scale /= 20  # large random pieces only do harm
        if (share_of_gates(base, task, encoded) > 0) == helps:
            return task
    raise AssertionError("no such pieces")


def test_a_step_from_the_gates_is_their_weights_shrunk_and_a_step_of_the_loss_there(base):
    encoded = encode(base)[:4]  # none is kept out
    task = gated_pieces(base, encoded)
    share = share_of_gates(base, task, encoded)
    start = share * route(base, task, encoded, GATE).weights
    gains, losses = read_gains(base, task, encoded, 8192, lambda number, weights: None, start)
    assert losses == pytest.approx(item_losses(base, task, encoded, range(4), start[None].repeat(4, 0)), rel=1e-9)
    assert gains[0, 1, 2] == pytest.approx(slope_at(base, task, encoded[:1], start, 1, 2), rel=1e-5)
    found = route(base, task, encoded, NEWTON)
    assert found.extra["gates"] == pytest.approx(share, abs=2e-3)  # votes are half floats
    length = found.extra["length"]  # of four digits
    step = length * solve(gains.reshape(4, -1), found.extra["damping"], np.full(4, 1 / 4)).reshape(start.shape)
    assert found.weights == pytest.approx(start + step, rel=5e-3, abs=5e-3 * np.abs(start).max())


def slope_at(base, task, encoded, weights, p, s, by=1e-5):
    """- d loss / d w by a central difference."""
    pair = np.stack([weights, weights])
    pair[:, p, s] += (by, -by)
    up, down = item_losses(base, task, encoded * 2, range(2), pair)
    return (down - up) / (2 * by)


@pytest.mark.parametrize("helps", [True, False])
def test_it_starts_from_the_gates_only_if_their_choice_by_earlier_items_makes_later_ones_likelier(base, helps):
    encoded = encode(base, ALIKE)
    task = gated_pieces(base, encoded[:-1], helps=helps)  # the newest item only checks
    found, at_base = (route(base, task, encoded, router) for router in (NEWTON, FROM_BASE))
    assert (found.extra["gates"] > 0) == helps
    assert at_base.extra["gates"] == 0
    assert np.allclose(found.weights, at_base.weights) != helps


def test_too_few_items_to_try_the_gates_start_from_the_base_model(base):
    encoded = encode(base)[:3]
    assert route(base, gated_pieces(base, encoded), encoded, NEWTON).extra["gates"] == 0


def test_without_distilled_gates_the_step_begins_at_the_base_model(base):
    encoded, plain = encode(base, ALIKE), random_task_pieces(base)
    found, at_base = (route(base, plain, encoded, router) for router in (NEWTON, FROM_BASE))
    assert found.extra["gates"] == 0
    assert found.weights == pytest.approx(at_base.weights)


def test_from_the_gates_too_batches_do_not_matter_and_masks_hold(base):
    mask = torch.ones(len(base.positions), SHARERS, dtype=torch.bool)
    mask[:, 2] = False
    encoded = encode(base, ALIKE)
    task = gated_pieces(base, encoded[:-1], mask)
    whole = route(base, task, encoded, NEWTON)
    apart = route(base, task, encoded, NEWTON, batch_tokens=1)
    assert whole.extra["gates"] > 0
    assert apart.weights == pytest.approx(whole.weights, rel=1e-6, abs=1e-9)
    assert (whole.weights[~mask.numpy()] == 0).all()


def test_the_check_of_a_step_from_the_gates_compares_the_base_model_with_what_the_older_items_alone_give(base):
    encoded = encode(base)
    task = gated_pieces(base, encoded[:-1])
    found = route(base, task, encoded, NEWTON).extra
    share = share_of_gates(base, task, encoded[:-1])
    assert share > 0
    at_base = item_losses(base, task, encoded, [5], np.zeros((1, len(base.positions), SHARERS)))
    assert found["check"]["before"] == pytest.approx(at_base, abs=1e-4)
    start = share * route(base, task, encoded, GATE).weights
    gains, _ = read_gains(base, task, encoded, 8192, lambda number, weights: None, start)
    step = found["length"] * solve(gains[:5].reshape(5, -1), found["damping"], np.full(5, 1 / 6))
    older = share * route(base, task, encoded[:-1], GATE).weights + step.reshape(start.shape)
    assert found["check"]["after"] == pytest.approx(item_losses(base, task, encoded, [5], older[None]), abs=2e-3)
