"""Laws of distilled gates: what they predict, what a newcomer's are, and that the router takes those it is told to."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from sklearn.linear_model import Ridge
from tiny import ITEMS, random_pieces, random_task_pieces, route, write_tiny_pool

from perpcs.assembly.descent import item_gradients
from perpcs.assembly.routers import PRESETS, make_router, router_options
from perpcs.files import hash_file, write_atomic, write_json
from perpcs.model.basis import Pieces, make_pieces
from perpcs.model.likelihood import encode_pair, item_gains, target_inputs
from perpcs.pool.contribute import Leaving, add, remove
from perpcs.pool.manifest import Sharer, read_json
from perpcs.pool.store import Pool
from perpcs.pool.train import DistilSettings, distil_gates, drawn_items, gates_of_another, inner_products, ridge_gates
from perpcs.pool.validate import validate
from perpcs.tasks import get_task

TASK = get_task("LaMP_4")


def encode(base, items=ITEMS):
    return [encode_pair(base.tokenizer, *TASK.pair(item), base.max_tokens) for item in items]


# ---- what gates are fitted on ----------------------------------------------------------------------------------------


def test_inputs_are_means_over_target_tokens_whatever_the_batch(tiny_base):
    base = tiny_base()
    encoded = encode(base)
    found, small = target_inputs(base, encoded), target_inputs(base, encoded[::-1], batch_tokens=80)
    for i, item in enumerate(encoded):
        read = {}
        base.hidden(torch.tensor([item.ids]), lambda p, x, read=read: read.update({p: x[0]}))
        for p in range(len(base.positions)):
            # the target's tokens are predicted from the places before them
            expected = read[p][item.start : item.end].mean(0)
            torch.testing.assert_close(found[p][i], expected, rtol=1e-9, atol=1e-11)
            torch.testing.assert_close(small[p][len(encoded) - 1 - i], expected, rtol=1e-9, atol=1e-11)


def test_a_gradient_is_a_gain_of_what_is_shared(tiny_base):
    base = tiny_base()
    mask = torch.ones(len(base.positions), 5, dtype=torch.bool)
    mask[1, 2] = False
    task, encoded = random_task_pieces(base, mask), encode(base)
    gains = item_gains(base, task.pieces, encoded)
    shared = item_gradients(base, task, encoded)
    assert np.abs(gains[:, 1, 2]).max() > 1e-6
    assert (shared[:, 1, 2] == 0).all()
    gains[:, 1, 2] = 0
    np.testing.assert_array_equal(gains, shared)


def test_a_gate_is_the_ridge_regression_of_gains_on_inputs():
    random = np.random.default_rng(0)
    v, gains = random.normal(2, 3, (40, 6)), random.normal(1, 2, (40, 4))
    found = ridge_gates(torch.from_numpy(v), torch.from_numpy(gains), 0.3).numpy()
    z = (v - v.mean(0)) / v.std(0)
    expected = Ridge(alpha=0.3 * 40).fit(z, (gains - gains.mean(0)) / gains.std()).coef_ / v.std(0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_what_is_linear_in_the_inputs_is_found_and_noise_is_not():
    """Gains of new people: predicted where there is something to predict; the control has none."""
    random = np.random.default_rng(1)
    v, hidden = random.normal(size=(600, 8)), random.normal(size=(8, 5))
    for gains, low, high in ((v @ hidden, 0.99, 1.0), (random.normal(size=(600, 5)), -0.2, 0.2)):
        gates = ridge_gates(torch.from_numpy(v[:400]), torch.from_numpy(gains[:400]), 0.01).numpy()
        told = np.corrcoef((v[400:] @ gates.T).ravel(), gains[400:].ravel())[0, 1]
        assert low <= told <= high


def test_all_of_it_in_one_call(tiny_base):
    base = tiny_base()
    pieces, encoded = random_pieces(base), encode(base)
    told = []
    gates = distil_gates(base, pieces, encoded, 0.3, lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1] == len(told)
    gains, inputs = item_gains(base, pieces, encoded), target_inputs(base, encoded)
    for p, position in enumerate(base.positions):
        assert gates[p].shape == (5, position.n)
        torch.testing.assert_close(gates[p], ridge_gates(inputs[p], torch.from_numpy(gains[:, p]), 0.3).float())


def test_items_are_drawn_from_many_and_the_same_each_time():
    histories = [[f"{u}.{i}" for i in range(12)] for u in range(9)]
    settings = DistilSettings(people=5, items=3)
    found = drawn_items(histories, settings)
    assert found == drawn_items(histories, settings)
    assert found != drawn_items(histories, replace(settings, seed=1))
    assert len(set(found)) == 15
    assert len({text.split(".")[0] for text in found}) == 5
    assert len(drawn_items(histories[:2], settings)) == 6, "fewer people, and that is no error"


# ---- newcomers -------------------------------------------------------------------------------------------------------


def products(pieces, p):
    """B_s A_s, flat, or the scaling vector."""
    if pieces.A[p].shape[1] == 0:
        return pieces.Bt[p][:, 0]
    return (pieces.Bt[p].mT @ pieces.A[p]).flatten(1)


@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_inner_products_are_those_of_the_whole_matrices(kind):
    torch.manual_seed(0)
    one, other = (
        make_pieces(
            kind,
            [torch.randn(s, 3 if kind == "lora" else 0, 7, dtype=torch.float64)],
            [torch.randn(s, 6, 3 if kind == "lora" else 1, dtype=torch.float64)],
            2.0,
        )
        for s in (4, 2)
    )
    torch.testing.assert_close(inner_products(one, other, 0), products(one, 0) @ products(other, 0).T)


def test_a_mixture_of_sharers_has_the_mixture_of_their_gates(tiny_base):
    base = tiny_base()
    pieces = random_pieces(base)
    gates = distil_gates(base, pieces, encode(base), 0.3)
    # 0.7 of sharer 1 less 0.2 of sharer 3, as one piece of twice the rank
    own = Pieces(
        [torch.cat([a[1:2], a[3:4]], dim=1) for a in pieces.A],
        [torch.cat([0.7 * b[1:2], -0.2 * b[3:4]], dim=1).mT for b in pieces.Bt],
        pieces.scale,
    )
    for p, found in enumerate(gates_of_another(pieces, gates, own)):
        torch.testing.assert_close(found[0], 0.7 * gates[p][1] - 0.2 * gates[p][3], rtol=1e-2, atol=1e-3)


def test_gates_of_a_mixture_are_what_they_had_been_fitted_to(tiny_base):
    """Gains are linear in a piece, so fitting the newcomer's own gains gives the same gate."""
    base = tiny_base()
    pieces, encoded = random_pieces(base), encode(base)
    own = Pieces([a[:1] for a in pieces.A], [0.5 * b[:1].mT for b in pieces.Bt], pieces.scale)
    both = item_gains(base, pieces, encoded)[:, :, 0], item_gains(base, own, encoded)[:, :, 0]
    np.testing.assert_allclose(0.5 * both[0], both[1], rtol=1e-9, atol=1e-12)


# ---- in a pool -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def distilled_pool(tmp_path_factory):
    """A random pool with distilled gates in LaMP_4 and none in LaMP_2."""
    folder = write_tiny_pool(tmp_path_factory.mktemp("distilled") / "tiny", dtype="float16")
    path = folder / "LaMP_4" / "pieces.safetensors"
    tensors = load_file(path)
    generator = torch.Generator().manual_seed(0)
    for name in [name for name in tensors if name.startswith("gate.")]:
        drawn = torch.randn(tensors[name].shape, generator=generator)
        tensors[name.replace("gate", "distilled")] = drawn.half()
    write_atomic(path, save(tensors))
    manifest = read_json(folder / "manifest.json")
    manifest["tasks"][0]["files"]["pieces.safetensors"] = hash_file(path)
    write_json(folder / "manifest.json", manifest)
    return folder


def test_the_router_takes_the_gates_that_it_is_told_to(distilled_pool):
    pool = Pool(distilled_pool)
    base = pool.base("cpu", "float64")
    encoded = encode(base)
    with_, without = (pool.pieces(task, base.device, base.dtype) for task in ("LaMP_4", "LaMP_2"))
    assert without.distilled is None
    by = {gates: make_router(router="gate", gates=gates) for gates in ("distilled", "trained")}
    run = {name: route(base, with_, encoded, options).weights for name, options in by.items()}
    swapped = replace(with_, gates=with_.distilled, distilled=None)
    np.testing.assert_array_equal(run["distilled"], route(base, swapped, encoded, by["trained"]).weights)
    assert np.abs(run["distilled"] - run["trained"]).max() > 0.1
    plain = [route(base, without, encoded, options).weights for options in by.values()]
    np.testing.assert_array_equal(*plain)


def test_the_published_presets_keep_to_trained_gates():
    assert PRESETS["paper"].gates == PRESETS["reference_code"].gates == "trained"
    assert router_options("default", router="gate").gates == "distilled"


def test_a_contributor_gets_one_and_takes_it_along(distilled_pool, tmp_path):
    source = Pool(distilled_pool)
    stored = load_file(distilled_pool / "LaMP_4" / "pieces.safetensors")
    twin = {  # twice what sharer 2 shares, at every second position
        f"{name}.{p}": stored[f"{name}.{p}"][2] * (2 if name == "B" else 1)
        for p in range(0, 8, 2)
        for name in ("A", "B", "gate", "prototype")
    }
    given = Leaving("LaMP_4", Sharer("guest-1", 12, 0), twin, source.manifest.base_hash)
    add(distilled_pool, given, tmp_path / "copy")
    found = load_file(tmp_path / "copy" / "LaMP_4" / "pieces.safetensors")
    for p in range(8):
        old, new = stored[f"distilled.{p}"], found[f"distilled.{p}"]
        assert torch.equal(new[:5], old)
        expected = 2 * old[2].float() if p % 2 == 0 else torch.zeros_like(old[2], dtype=torch.float32)
        torch.testing.assert_close(new[5].float(), expected, rtol=2e-2, atol=2e-2)
    assert list(validate(tmp_path / "copy"))
    remove(tmp_path / "copy", "guest-1")
    back = tmp_path / "copy" / "LaMP_4" / "pieces.safetensors"
    assert hash_file(back) == hash_file(distilled_pool / "LaMP_4" / "pieces.safetensors")
