"""Laws of the routers that look at the loss: exact gradients, an order that does not matter, a loss that falls."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import ITEMS, SHARERS, load_tiny, merged_model, random_task_pieces, route, save_tiny, write_tiny_pool

from perpcs.assembly.assemble import assemble
from perpcs.assembly.descent import fit_weights, item_gradients, pull_of, sureness
from perpcs.assembly.record import Assembly, rounded
from perpcs.assembly.routers import make_router
from perpcs.assembly.routers.fit import settled
from perpcs.errors import PerpcsError
from perpcs.model.likelihood import encode_pair, on_one_basis, target_nll
from perpcs.pool.store import Pool
from perpcs.tasks import get_task

TASK = get_task("LaMP_4")
FIT = make_router(router="fit", steps=12)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def folder(request, tmp_path_factory):
    return save_tiny(request.param, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def base(folder):
    return load_tiny(folder)


def encode(base, items=ITEMS):
    return [encode_pair(base.tokenizer, *TASK.pair(item), base.max_tokens) for item in items]


def mean_loss(base, task, encoded, weights):
    with torch.no_grad():
        nll, counts = target_nll(
            base, encoded, on_one_basis(task.pieces, torch.from_numpy(weights).to(base.dtype)[None])
        )
    return float(nll.sum() / counts.sum())


def test_weights_on_one_basis_are_the_merged_model(base, folder):
    task = random_task_pieces(base)
    weights = torch.linspace(-0.5, 0.9, len(base.positions) * SHARERS, dtype=torch.float64).view(-1, SHARERS)
    plain = merged_model(folder, base, task.pieces, weights)
    item = encode(base)[0]
    ids = torch.tensor([item.ids])
    log_probs = torch.log_softmax(plain(ids).logits[0, item.start : item.end], -1)
    expected = -log_probs.detach()[range(item.end - item.start), torch.tensor(item.targets)].sum()
    nll, _ = target_nll(base, [item], on_one_basis(task.pieces, weights[None]))
    assert float(nll[0].detach()) == pytest.approx(float(expected), rel=1e-9)


def test_a_gradient_is_what_a_small_step_changes(base):
    task, encoded = random_task_pieces(base), encode(base)[:3]
    gains = item_gradients(base, task, encoded)
    assert gains.shape == (3, len(base.positions), SHARERS)
    step = 1e-5
    for i, p, s in ((0, 0, 1), (1, 3, 4), (2, len(base.positions) - 1, 0)):
        weights = np.zeros((len(base.positions), SHARERS))
        weights[p, s] = step
        up, down = (mean_loss(base, task, [encoded[i]], sign * weights) for sign in (1, -1))
        assert gains[i, p, s] == pytest.approx(-(up - down) / (2 * step), rel=1e-4, abs=1e-7)


def test_an_items_gradient_does_not_depend_on_its_neighbours(base):
    task, encoded = random_task_pieces(base), encode(base)
    together = item_gradients(base, task, encoded)
    alone = np.concatenate([item_gradients(base, task, [item]) for item in encoded])
    turned = item_gradients(base, task, encoded[::-1], batch_tokens=100)[::-1]
    np.testing.assert_allclose(together, alone, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(together, turned, rtol=1e-8, atol=1e-10)


def test_fitting_lowers_the_loss_and_moves_nothing_else(base):
    task, encoded = random_task_pieces(base), encode(base)
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    weights, _ = fit_weights(base, task, encoded, FIT)
    assert mean_loss(base, task, encoded, weights) < mean_loss(base, task, encoded, np.zeros_like(weights)) - 0.1
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())
    assert all(parameter.grad is None for parameter in base.model.parameters())
    np.testing.assert_array_equal(weights, fit_weights(base, task, encoded, FIT)[0])


def test_items_too_old_to_count_leave_the_weights_finite(base):
    task, encoded = random_task_pieces(base), encode(base) * 80
    weights, gains = fit_weights(base, task, encoded, replace(FIT, half_life=1))
    assert np.isfinite(weights).all()
    assert np.isfinite(gains).all()


def test_shrinkage_pulls_towards_the_base_model(base):
    task, encoded = random_task_pieces(base), encode(base)
    sizes = [
        np.square(fit_weights(base, task, encoded, replace(FIT, shrink=shrink))[0]).sum()
        for shrink in (0.0, 10.0, 1000.0)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_longer_history_is_pulled_less(base):
    """The same items written three times over speak three times as loudly against the base model."""
    task, encoded = random_task_pieces(base), encode(base)
    assert pull_of(encoded * 3, FIT) == pytest.approx(pull_of(encoded, FIT) / 3)
    strong = replace(FIT, shrink=300.0)
    once, thrice = (fit_weights(base, task, items, strong)[0] for items in (encoded, encoded * 3))
    assert np.square(thrice).sum() > np.square(once).sum()


def test_unsigned_weights_never_fall_below_zero(base):
    task, encoded = random_task_pieces(base), encode(base)
    assert fit_weights(base, task, encoded, replace(FIT, signed="always"))[0].min() < 0
    assert fit_weights(base, task, encoded, replace(FIT, signed="never"))[0].min() == 0


def test_weights_may_fall_below_zero_where_answers_are_texts():
    options = make_router("fit")
    assert (settled(options, texts=True).signed, settled(options, texts=False).signed) == ("always", "never")
    for said in ("always", "never"):
        told = make_router("fit", signed=said)
        assert settled(told, texts=True) == settled(told, texts=False) == told


def test_small_weights_are_left_out_half_way_and_stay_out(base):
    task, encoded, seen = random_task_pieces(base), encode(base), []
    options = replace(FIT, steps=8, signed="always", least=0.6)
    weights, gains = fit_weights(base, task, encoded, options, on_step=lambda step, now: seen.append(now.copy()))
    before = np.abs(fit_weights(base, task, encoded, replace(options, least=0.0), on_step=None)[0])
    assert (before > 0).all(), "nothing is left out unless asked"
    size = np.abs(seen[3])
    held = size > 0
    assert held.any(axis=1).all()
    assert not held.all()
    assert (size[held] >= 0.6 * np.broadcast_to(size.max(axis=1, keepdims=True), size.shape)[held] - 1e-12).all()
    assert all(((now != 0) <= held).all() for now in seen[4:])
    assert not weights[~held].any()
    assert np.abs(gains).sum(axis=0).all(), "items still say what a piece that was left out would do for them"


def test_the_first_step_tells_each_items_gradient(base):
    task, encoded = random_task_pieces(base), encode(base)
    _, gains = fit_weights(base, task, encoded, replace(FIT, steps=1))
    np.testing.assert_allclose(gains, item_gradients(base, task, encoded), rtol=1e-8, atol=1e-10)


def test_items_that_no_step_comes_to_ask_for_nothing(base):
    task, encoded = random_task_pieces(base), encode(base) * 3
    _, gains = fit_weights(base, task, encoded, replace(FIT, steps=1))
    assert (np.abs(gains).sum(axis=(1, 2)) > 0).sum() == 8


@pytest.mark.parametrize("router", ["gradient", "fit"])
def test_a_piece_that_is_not_shared_gets_nothing(base, router):
    mask = torch.ones(len(base.positions), SHARERS, dtype=torch.bool)
    mask[1, 2] = mask[3] = False
    found = route(base, random_task_pieces(base, mask), encode(base), make_router(router=router, steps=3))
    assert found.weights[1, 2] == 0
    assert not found.weights[3].any()
    assert found.weights[0].any()
    assert not (found.index[:, 1] == 2).any()
    assert (found.index[:, 3] == -1).all()


def test_the_gradient_router_takes_the_k_pieces_whose_mean_gradient_is_surest(base):
    """A mean is as sure as it is large beside its standard error, with one made-up item of no gain among the others."""
    task, encoded = random_task_pieces(base), encode(base)
    found = route(base, task, encoded, make_router(router="gradient", k=2))
    gains = item_gradients(base, task, encoded)
    n, mean = len(gains), gains.mean(axis=0)
    for p in range(len(base.positions)):
        spread = (n * gains[:, p].var(axis=0) + (mean[p] ** 2).mean()) / n
        assert set(np.flatnonzero(found.weights[p])) == set(np.argsort(-mean[p] / np.sqrt(spread / n))[:2])
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)


@pytest.mark.parametrize("router", ["gradient", "fit"])
def test_a_person_is_assembled_saved_and_loaded(router, tmp_path):
    pool = Pool(write_tiny_pool(tmp_path / "pool"))
    base = pool.base("cpu", "float64")
    steps = []
    options = make_router(router=router, steps=4)
    person = assemble(base, pool, TASK, ITEMS, options=options, on_position=steps.append)
    assert person.router["router"] == router
    assert not person.additive
    np.testing.assert_array_equal(rounded(steps[-1].weights), person.weights)
    assert [step.batch for step in steps] == list(range(steps[-1].batches))
    assert Assembly.from_json(person.to_json()).to_json() == person.to_json()


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"steps": 1.5}, {"rate": 0.0}, {"shrink": -1.0}, {"signed": "no"}, {"least": 1.0}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(PerpcsError):
        make_router(router="fit", **wrong)


def test_sureness_is_a_mean_in_standard_errors():
    """More items of the same kind make it surer, scatter makes it less sure, and one item alone is no certainty."""
    random = np.random.default_rng(0)
    gains = random.normal([0.5, 0.5, 0.0, -0.5], [0.1, 2.0, 1.0, 0.1], (400, 4))
    even = np.full(400, 1 / 400)
    found = sureness(gains, even)
    errors = gains.std(0) / 20
    np.testing.assert_allclose(found * 20, gains.mean(0) / errors, rtol=0.02)
    assert found[0] > found[1] > found[2] > found[3]
    few = sureness(gains[:25], np.full(25, 1 / 25))
    assert found[0] / few[0] == pytest.approx(4, rel=0.3)
    alone = sureness(gains[:1], np.ones(1))
    assert np.abs(alone * 20).max() < 4
    np.testing.assert_allclose(sureness(np.zeros((3, 4)), np.full(3, 1 / 3)), 0)
    last = np.r_[np.zeros(399), 1.0]
    np.testing.assert_allclose(sureness(gains, last), sureness(gains[-1:], np.ones(1)))


def test_a_person_who_writes_texts_has_weights_below_zero_and_one_who_labels_has_none(tmp_path):
    pool = Pool(write_tiny_pool(tmp_path / "pool"))
    base = pool.base("cpu", "float64")
    found = {
        said: assemble(base, pool, TASK, ITEMS, options=make_router(router="fit", steps=6, signed=said)).weights.min()
        for said in ("texts", "always", "never")
    }
    assert get_task(TASK.name).kind == "text"
    assert found["texts"] == found["always"] < 0 == found["never"]
    labels = replace(TASK, kind="label", labels=("a", "b"))
    assert assemble(base, pool, labels, ITEMS, options=make_router(router="fit", steps=6)).weights.min() == 0


@pytest.mark.parametrize("router", ["newton", "gradient", "fit", "fit+own", "gate", "prototype", "arrow"])
def test_every_router_runs_on_a_base_in_bfloat16(router, tmp_path):
    folder = write_tiny_pool(tmp_path / "pool")
    pool = Pool(folder)
    options = make_router(router=router, steps=6, least=0.0)
    exact, rough = (
        assemble(pool.base("cpu", dtype), pool, TASK, ITEMS, options=options) for dtype in ("float64", "bfloat16")
    )
    assert np.isfinite(rough.weights.astype(np.float64)).all()
    if router in ("fit", "fit+own"):  # continuous in the numbers, unlike a choice of k pieces
        one, other = (made.weights.astype(np.float64).ravel() for made in (rough, exact))
        assert one @ other > 0.97 * np.linalg.norm(one) * np.linalg.norm(other)
    assert rough.own.size == exact.own.size
