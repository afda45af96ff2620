"""A byte a weight: what comes back, and that it answers like what was kept of it."""

import numpy as np
import pytest
import torch
from tiny import ITEMS, route

from perpcs.assembly.assemble import assemble
from perpcs.assembly.quantise import pack_weights, quantised_size, rounded, unpack_weights
from perpcs.assembly.routers import make_router
from perpcs.assembly.routers.fit import settled
from perpcs.model.basis import people
from perpcs.model.likelihood import target_nll
from perpcs.model.text import encode_pair
from perpcs.pool.store import Pool
from perpcs.tasks import get_task

TASK = get_task("LaMP_4")


@pytest.mark.parametrize("low", [0.0, -0.4])
@pytest.mark.parametrize("size", [1e-3, 1.0, 40.0])
def test_weights_come_back_within_half_a_step(low, size):
    weights = size * np.random.default_rng(0).uniform(low, 1, (16, 40)).astype(np.float32)
    weights[3] = 0
    raw = pack_weights(weights)
    assert len(raw) == quantised_size(weights.size) == 642
    back = unpack_weights(raw, weights.shape)
    step = np.abs(weights).max() / (127 if low else 255)
    assert np.abs(back - weights).max() <= 0.51 * step + 1e-3 * size
    assert (back[3] == 0).all(), "what was not chosen stays out"
    np.testing.assert_array_equal(rounded(back), back)
    assert pack_weights(back) == raw


@pytest.mark.parametrize("weights", [np.zeros((2, 3)), np.full((2, 3), 1e-12), np.zeros((0, 3))])
def test_no_weight_is_the_base_model(weights):
    np.testing.assert_array_equal(rounded(weights), np.zeros_like(weights))


@pytest.mark.parametrize("router", ["gate", "fit"])
def test_a_record_holds_what_a_byte_a_weight_gives_back(router, tiny_pool_folder):
    pool = Pool(tiny_pool_folder)
    base = pool.base("cpu", "float64")
    options = settled(make_router(router=router, steps=8), texts=TASK.kind == "text")
    person = assemble(base, pool, TASK, ITEMS, options=options)
    np.testing.assert_array_equal(rounded(person.weights), person.weights)
    encoded = [encode_pair(base.tokenizer, *TASK.pair(item), base.max_tokens) for item in ITEMS]
    pieces = pool.pieces("LaMP_4", base.device, base.dtype)
    exact = route(base, pieces, encoded, options).weights

    def nll(weights):
        with torch.no_grad():
            w = torch.from_numpy(weights).to(base.dtype)[None].expand(len(encoded), -1, -1)
            total, counts = target_nll(base, encoded, people(pieces.pieces, w))
        return float(total.sum() / counts.sum())

    without = nll(np.zeros_like(exact))
    assert abs(nll(person.weights) - nll(exact)) < 0.02 * abs(nll(exact) - without)
