"""Laws of selectors, of routers that are there to be beaten, and of what is left out."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import CLOSE, SHARP, TASK, encode, np_close, some_shared
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny import ITEMS, SHARERS, random_task_pieces, route

from perpcs.assembly.activations import amplified, gumbel, select
from perpcs.assembly.assemble import assemble, restricted
from perpcs.assembly.record import Assembly, rounded
from perpcs.assembly.router import Selecting, Step, item_shares
from perpcs.assembly.routers import applies, changed, flat_options, make_router, option_arguments, router_options
from perpcs.cli import build_parser
from perpcs.errors import PerpcsError
from perpcs.files import hash_file, write_json
from perpcs.pool.manifest import read_json
from perpcs.pool.select import share_mask
from perpcs.pool.store import EMBEDDINGS, Pool

EVERYBODY = torch.ones(6, dtype=torch.bool)


def softmax(values, temperature):
    powers = [math.exp(value / temperature) for value in values]
    return [power / sum(powers) for power in powers]


# ---- selectors ------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    scores=st.lists(st.integers(-3, 3), min_size=6, max_size=6),
    shared=st.lists(st.booleans(), min_size=6, max_size=6),
    p=st.floats(0.05, 0.999),
    temperature=st.floats(0.1, 5),
    attention=st.booleans(),
)
def test_top_p_keeps_the_fewest_that_hold_the_share(scores, shared, p, temperature, attention):
    options = Selecting(selector="top_p", p=p, temperature=temperature, attention=attention)
    table = torch.tensor([scores], dtype=torch.float64)
    index, weight = select(table, torch.tensor(shared), options)
    assert index.shape == weight.shape == (1, 6)
    order = sorted((s for s in range(6) if shared[s]), key=lambda s: (-scores[s], s))
    kept, held = [], 0.0
    for s, share in zip(order, softmax([scores[s] for s in order], temperature) if order else [], strict=True):
        if held < p - 1e-12:
            kept.append(s)
        held += share
    expected = softmax([scores[s] if attention else 0 for s in kept], temperature) if kept else []
    found = dict(zip(index[0].tolist(), weight[0].tolist(), strict=True))
    assert {s for s, w in found.items() if w > 0} == set(kept)
    for s, w in zip(kept, expected, strict=True):
        assert found[s] == pytest.approx(w, abs=1e-9)


def test_all_is_a_softmax_over_every_shared_piece():
    scores, shared = torch.tensor([[3.0, 1.0, 2.0, 0.0]]), torch.tensor([True, True, False, True])
    index, weight = select(scores, shared, Selecting(selector="all", k=1, temperature=2.0))
    assert index[0, :3].tolist() == [0, 1, 3]
    torch.testing.assert_close(weight[0], torch.tensor([*softmax([3, 1, 0], 2.0), 0.0]))


def test_without_attention_the_kept_pieces_weigh_alike():
    scores = torch.tensor([[0.0, 5.0, 1.0, 4.0, 2.0, 3.0]])
    index, weight = select(scores, EVERYBODY, Selecting(k=3, attention=False))
    assert index.tolist() == [[1, 3, 5]]
    torch.testing.assert_close(weight, torch.full((1, 3), 1 / 3))


def test_samples_come_as_often_as_the_softmax_says_and_are_never_the_same_twice():
    scores = torch.tensor([[0.0, 1.0, 2.0, 0.5, -1.0, 1.5]], dtype=torch.float64)
    options = Selecting(selector="sample", k=1, temperature=0.7, seed=4)
    noise = gumbel(options, (20_000, 6))
    index, weight = select(scores.expand(20_000, -1), EVERYBODY, options, noise)
    shares = torch.bincount(index[:, 0], minlength=6) / 20_000
    expected = torch.tensor(softmax(scores[0].tolist(), 0.7))
    torch.testing.assert_close(shares, expected, atol=0.012, rtol=0)
    assert (weight == 1).all()
    index, weight = select(scores.expand(500, -1), EVERYBODY, replace(options, k=4), noise[:500])
    assert all(len(set(row)) == 4 for row in index.tolist())
    torch.testing.assert_close(weight.sum(1), torch.ones(500, dtype=torch.float64))


def test_sampling_is_seeded_and_does_not_depend_on_the_batch(tiny_base):
    base = tiny_base("llama")
    task, encoded = random_task_pieces(base, some_shared(base)), encode(base)
    options = replace(SHARP, selector="sample", k=2, temperature=0.5)
    whole = route(base, task, encoded, options)
    for batch_tokens in (1, 90):
        found = route(base, task, encoded, options, batch_tokens=batch_tokens)
        assert np.array_equal(found.index, whole.index)
        np.testing.assert_allclose(found.weights, whole.weights, **np_close(1e-10))
    assert not np.array_equal(route(base, task, encoded, replace(options, seed=1)).index, whole.index)


@pytest.mark.parametrize("selector", ["top_p", "all"])
def test_wide_selectors_leave_a_record_whose_votes_make_its_weights(selector, tiny_base):
    base = tiny_base("llama")
    task, encoded = random_task_pieces(base, some_shared(base)), encode(base)
    found = route(base, task, encoded, replace(SHARP, selector=selector, temperature=1.0))
    assert found.index.shape == (len(ITEMS), len(base.positions), SHARERS)
    np.testing.assert_allclose(record(found, base).item_weights().mean(axis=0), found.weights, atol=2e-3)


def record(found, base, **router):
    return Assembly(
        weights=found.weights.astype(np.float32),
        scores=found.scores.astype(np.float32),
        choices=found.index,
        votes=found.votes,
        task="LaMP_4",
        positions=tuple(position.label for position in base.positions),
        sharers=tuple(f"s{s}" for s in range(SHARERS)),
        pool="tiny",
        pool_hash="0",
        router={**flat_options(SHARP), **router},
    )


# ---- arrow ----------------------------------------------------------------------------------------------------------


def test_an_arrow_points_where_the_piece_amplifies_most(tiny_base):
    base = tiny_base("llama")
    task = random_task_pieces(base)
    for p in range(len(base.positions)):
        found = amplified(task.pieces, p)
        for s in range(SHARERS):
            update = task.pieces.Bt[p][s].mT @ task.pieces.A[p][s]
            top = torch.linalg.svd(update).Vh[0]
            assert abs(float(found[s] @ top)) == pytest.approx(1.0, abs=1e-9)
            stretched = (update @ found[s]).norm()
            torch.testing.assert_close(stretched, torch.linalg.matrix_norm(update, 2), **CLOSE)


def test_an_arrow_scores_by_size_alone_token_by_token(tiny_base):
    base = tiny_base("llama")
    task = random_task_pieces(base, some_shared(base))
    options = changed(SHARP, router="arrow")
    key = options.keys(task)[0]
    x = torch.randn(1, 4, base.positions[0].n, dtype=torch.float64)
    mask = torch.tensor([[0, 1, 0, 1]])
    found = options.item_scores(x, key, mask)
    tokens = torch.nn.functional.normalize(x[0, [1, 3]], dim=1)
    torch.testing.assert_close(found[0], (tokens @ key.rows.T).abs().mean(0), **CLOSE)
    x[0, 3] *= -5
    torch.testing.assert_close(options.item_scores(x, key, mask), found, **CLOSE)


# ---- controls and PEFT retrieval ------------------------------------------------------------------------------------


def test_uniform_takes_every_shared_piece_alike_and_nobody_votes(tiny_base):
    base = tiny_base("llama")
    mask = some_shared(base)
    found = route(base, random_task_pieces(base, mask), encode(base), make_router(router="uniform"))
    expected = mask.double() / mask.sum(1, keepdim=True).clamp(min=1)
    np.testing.assert_allclose(found.weights, expected, atol=1e-6)
    assert found.index.shape == (len(ITEMS), len(base.positions), 0)


def test_random_pieces_are_k_shared_ones_drawn_anew_for_every_history(tiny_base):
    base = tiny_base("llama")
    mask = some_shared(base)
    task, options = random_task_pieces(base, mask), make_router(router="random", k=2)
    one = route(base, task, encode(base), options).weights
    assert np.array_equal(one, route(base, task, encode(base), options).weights)
    assert not one[~mask.numpy()].any()
    for p, row in enumerate(one):
        count = min(2, int(mask[p].sum()))
        assert sorted(row[row > 0].tolist()) == pytest.approx([1 / count] * count if count else [])
    assert not np.array_equal(one, route(base, task, encode(base, ITEMS[:3]), options).weights)
    other = replace(options, seed=3)
    assert not np.array_equal(one, route(base, task, encode(base), other).weights)


@pytest.fixture
def pool_with_embeddings(tiny_pool_folder, tmp_path, monkeypatch):
    """A tiny pool whose sharers' embeddings are axes, and an encoder that says how much of each axis a text has."""
    folder = tmp_path / "pool"
    shutil.copytree(tiny_pool_folder, folder)
    save_file({"sharers": 3.0 * torch.eye(SHARERS)}, folder / "LaMP_4" / EMBEDDINGS)
    manifest = read_json(folder / "manifest.json")
    (part,) = [part for part in manifest["tasks"] if part["task"] == "LaMP_4"]
    part["encoder"] = "by hand"
    part["files"][EMBEDDINGS] = hash_file(folder / "LaMP_4" / EMBEDDINGS)
    write_json(folder / "manifest.json", manifest)
    monkeypatch.setattr(
        "perpcs.assembly.activations.embed_users", lambda histories, encoder: torch.tensor([[0.0, 3.0, 0.0, 4.0, 0.0]])
    )
    return Pool(folder)


def test_peft_retrieval_takes_the_same_whole_sharers_at_every_position(pool_with_embeddings):
    pool = pool_with_embeddings
    base = pool.base("cpu", "float64")
    person = assemble(base, pool, TASK, ITEMS, options=make_router(router="retrieval", k=2, temperature=0.5))
    expected = np.zeros(SHARERS)
    expected[[3, 1]] = softmax([0.8, 0.6], 0.5)
    expected = rounded(np.tile(expected, (len(base.positions), 1)))
    np.testing.assert_allclose(person.weights, expected, atol=1e-6)
    np.testing.assert_allclose(person.scores[0], [0, 0.6, 0, 0.8, 0], atol=1e-6)
    assert not person.additive
    assert person.decided_by == "router"
    assert Assembly.from_json(person.to_json()).choices.shape == (len(ITEMS), len(base.positions), 0)


def test_a_pool_without_embeddings_cannot_be_searched(tiny_pool_folder):
    pool = Pool(tiny_pool_folder)
    with pytest.raises(PerpcsError, match="stores no embeddings"):
        assemble(pool.base("cpu", "float64"), pool, TASK, ITEMS, options=make_router(router="retrieval"))


def test_routers_that_look_away_run_no_model(tiny_pool_folder, monkeypatch):
    pool = Pool(tiny_pool_folder)
    base = pool.base("cpu", "float64")
    monkeypatch.setattr(type(base), "hidden", lambda *args: pytest.fail("the model was run"))
    steps: list[Step] = []
    person = assemble(
        base, pool, TASK, ITEMS, options=make_router(router="random"), on_position=lambda step: steps.append(step)
    )
    np.testing.assert_array_equal(rounded(steps[-1].weights), person.weights)


# ---- recent items, shares, revocation -------------------------------------------------------------------------------


def test_an_item_counts_half_after_its_half_life():
    shares = item_shares(7, 3)
    assert shares.sum() == pytest.approx(1)
    assert shares[3] / shares[6] == pytest.approx(0.5)
    assert shares[0] / shares[6] == pytest.approx(0.25)
    assert item_shares(4, 0).tolist() == [0.25] * 4
    assert item_shares(0, 2).shape == (0,)
    assert item_shares(100_000, 1)[-1] == pytest.approx(0.5)


def test_recent_items_count_more_whoever_routes(tiny_base):
    base = tiny_base("llama")
    task, encoded = random_task_pieces(base), encode(base)
    options = replace(SHARP, half_life=2)
    found, shares = route(base, task, encoded, options, batch_tokens=90), item_shares(len(encoded), 2)
    alone = [route(base, task, [item], SHARP) for item in encoded]
    np.testing.assert_allclose(
        found.weights, sum(share * one.weights for share, one in zip(shares, alone, strict=True)), **np_close(1e-9)
    )
    person = record(found, base, half_life=2)
    expected = item_shares(len(encoded) - 1, 2) @ np.delete(person.item_weights().reshape(len(encoded), -1), 1, axis=0)
    np.testing.assert_allclose(person.without_item(1).ravel(), expected, atol=1e-6)
    # The same as an item repeated: a fit whose items count 1 : 2 is that of a history with the newer one twice.
    fit = make_router(router="fit", steps=3, shrink=0.0)
    drifted = route(base, task, encoded[:2], replace(fit, half_life=1)).weights
    doubled = route(base, task, [encoded[0], encoded[1], encoded[1]], fit).weights
    np.testing.assert_allclose(drifted, doubled, **np_close(1e-9))


def test_a_share_ratio_and_sharers_left_out_restrict_everybody_alike(tiny_pool_folder):
    pool = Pool(tiny_pool_folder)
    base = pool.base("cpu", "float64")
    whole = pool.pieces("LaMP_4", "cpu", torch.float64)
    options = make_router(share_ratio=0.5, without=["s1"], seed=3, router="uniform")
    left = restricted(pool, "LaMP_4", whole, options)
    paths = [position.path for position in base.positions]
    expected = share_mask(paths, [f"s{s}" for s in range(SHARERS)], 0.5, 3)
    expected[:, 1] = False
    np.testing.assert_array_equal(left.mask.numpy(), expected)
    assert whole.mask.all()
    for history in (ITEMS, ITEMS[:2]):
        person = assemble(base, pool, TASK, history, options=options)
        np.testing.assert_array_equal(person.weights > 0, expected)
    with pytest.raises(PerpcsError, match="Unknown sharer 's9'"):
        restricted(pool, "LaMP_4", whole, make_router(without=("s9",)))
    with pytest.raises(PerpcsError, match="No piece is left"):
        restricted(pool, "LaMP_4", whole, make_router(without=tuple(f"s{s}" for s in range(SHARERS))))


def test_a_revoked_sharers_weight_goes_to_the_others_at_each_position(tiny_base):
    base = tiny_base("llama")
    task = random_task_pieces(base, some_shared(base))
    before = record(route(base, task, encode(base), replace(SHARP, k=2)), base)
    after = before.without_sharers(["s0", "s4", "nobody"])
    assert not after.weights[:, [0, 4]].any()
    for p in range(len(base.positions)):
        left = before.weights[p, [1, 2, 3]]
        if left.sum():
            np.testing.assert_allclose(
                after.weights[p, [1, 2, 3]], left / left.sum() * before.weights[p].sum(), rtol=1e-5
            )
        else:
            assert not after.weights[p].any()
    assert not np.isin(after.choices, [0, 4]).any()
    assert after.extra["without"] == ["s0", "s4"]
    assert after.without_sharers(["s1"]).extra["without"] == ["s0", "s1", "s4"]
    assert Assembly.from_json(after.to_json()).extra == after.extra
    np.testing.assert_array_equal(before.without_sharers([]).weights, before.weights)


# ---- options --------------------------------------------------------------------------------------------------------


def test_options_that_change_nothing_are_not_asked_for():
    def asked(**options):
        return {name for name in option_arguments() if applies(name, make_router(**options))}

    assert {"k", "steps", "rate"} & asked(router="gate") == {"k"}
    assert {"k", "p"} & asked(router="gate", selector="top_p") == {"p"}
    assert "temperature" not in asked(router="gate", attention=False)
    assert {"steps", "normalise"} & asked(router="fit") == {"steps"}
    assert {"temperature", "half_life"} & asked(router="uniform") == set()


def test_the_command_line_takes_every_option():
    line = (
        "assemble --task LaMP_4 --history h --out o --router gate --selector top_p --p 0.5 --no-attention "
        "--half-life 3 --share-ratio 0.4 --without s1 --without s2 --seed 5 --sqrt-n"
    )
    given_ = vars(build_parser().parse_args(line.split()))
    found = router_options("default", **{name: given_[name] for name in option_arguments()})
    assert (found.selector, found.p, found.attention, found.half_life) == ("top_p", 0.5, False, 3)
    assert (found.share_ratio, found.without, found.seed, found.sqrt_n) == (0.4, ("s1", "s2"), 5, True)
    assert found.k == make_router("gate").k
