"""Laws of pieces that are bottleneck adapters or prefixes: what holds for low-rank pieces, behind the same record."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import GATES, IDS, SHARP, TASK, encode, histories, np_close
from tiny import ITEMS, SHARERS, load_tiny, plain_model, random_ids, random_weights, route, write_tiny_pool
from torch import nn

from perpcs.assembly.assemble import assemble
from perpcs.assembly.record import Assembly
from perpcs.assembly.routers import changed, make_router
from perpcs.errors import PerpcsError
from perpcs.model.basis import OwnPiece, adapted, fixed, own_updates, people, watch_attention
from perpcs.model.likelihood import target_nll
from perpcs.personalizers.methods import Person, Setting, prepare
from perpcs.pool.store import Pool
from perpcs.pool.train import PieceSettings, mean_nll, train_gates, train_pieces
from perpcs.pool.validate import validate
from perpcs.schema import MODULES_OF
from perpcs.serve.engine import Engine

KINDS = ("adapter", "prefix")
CLOSE = {"atol": 1e-9, "rtol": 1e-9}


@pytest.fixture(scope="module", params=KINDS)
def opened(request, tmp_path_factory):
    """(pool, its base model in float64)."""
    folder = tmp_path_factory.mktemp(request.param) / "pool"
    write_tiny_pool(folder, tasks=("LaMP_4",), kind=request.param)
    base = load_tiny(folder / "base", modules=MODULES_OF[request.param])
    watch_attention(base.model)
    return Pool(folder), base


def pieces_of(pool):
    return pool.pieces("LaMP_4", "cpu", torch.float64).pieces


def hidden(base, pieces, weights, ids):
    with torch.no_grad():
        return base.hidden(ids, people(pieces, weights))


def test_people_of_one_batch_are_each_alone_and_zero_is_the_base_model(opened):
    pool, base = opened
    pieces, ids = pieces_of(pool), random_ids(base, 4, 7)
    weights = random_weights(base, 4)
    weights[1] = 0
    found = hidden(base, pieces, weights, ids)
    with torch.no_grad():
        assert torch.equal(found[1], base.hidden(ids)[1])
    for b in range(4):
        alone = hidden(base, pieces, weights[b : b + 1], ids[b : b + 1])
        torch.testing.assert_close(found[b], alone[0], **CLOSE)
    assert (found[0] - base.hidden(ids)[0]).abs().max() > 1e-3


def test_one_weight_of_one_is_that_sharers_own_module(opened):
    pool, base = opened
    pieces, ids = pieces_of(pool), random_ids(base, 1, 6)
    weights = torch.zeros(1, len(base.positions), SHARERS, dtype=torch.float64)
    weights[:, :, 3] = 1
    found = hidden(base, pieces, weights, ids)
    plain = plain_model(pool.folder / "base")
    if pool.manifest.kind == "adapter":
        for p, position in enumerate(base.positions):
            A, Bt = pieces.A[p][3], pieces.Bt[p][3]
            plain.get_submodule(position.path).register_forward_hook(
                lambda module, args, y, A=A, Bt=Bt: y + nn.functional.gelu(y @ A.T) @ Bt
            )
        expected = plain.base_model(input_ids=ids)[0]
    else:
        from transformers import DynamicCache

        cache = DynamicCache()
        for p in range(len(base.positions)):
            K, V = (part[p][3].unflatten(1, (2, 8)).transpose(0, 1)[None] for part in (pieces.A, pieces.Bt))
            cache.update(K, V, p)
        expected = plain.base_model(
            input_ids=ids, past_key_values=cache, position_ids=torch.arange(6)[None], attention_mask=torch.ones(1, 8)
        )[0]
    torch.testing.assert_close(found, expected, **CLOSE)


def test_gathered_pieces_are_shared_pieces_with_zeros(opened):
    pool, base = opened
    pieces, ids = pieces_of(pool), random_ids(base, 2, 5)
    index, w = torch.tensor([[3, 0], [1, 4]]), torch.tensor([[0.5, 0.25], [1.0, -0.5]], dtype=torch.float64)
    dense = torch.zeros(2, SHARERS, dtype=torch.float64).scatter_(1, index, w)
    P = range(len(base.positions))
    expected = base.hidden(ids, fixed([pieces.shared(p, dense) for p in P]))
    for found in ([pieces.gathered(p, index, w) for p in P], [pieces.whole(p, dense) for p in P]):
        torch.testing.assert_close(base.hidden(ids, fixed(found)), expected, **CLOSE)
    assert pieces.shared(0, torch.zeros(2, SHARERS)) is None
    moved = pieces.to("cpu", torch.float64)
    assert type(moved) is type(pieces)
    torch.testing.assert_close(base.hidden(ids, fixed([moved.shared(p, dense) for p in P])), expected, **CLOSE)


def test_answers_are_decoded_as_a_whole_pass_reads_them(opened):
    """Token by token with a cache and padding on the left, as the engine does."""
    pool, base = opened
    pieces, weights = pieces_of(pool), random_weights(base, 2)
    ids = random_ids(base, 2, 6)
    with torch.no_grad(), adapted(people(pieces, weights)):
        whole = base.model(input_ids=ids, use_cache=False).logits[:, -1]
        first = base.model(input_ids=ids[:, :5], use_cache=True)
        then = base.model(input_ids=ids[:, 5:], past_key_values=first.past_key_values, use_cache=True).logits[:, -1]
        padded = torch.cat([torch.full((2, 3), base.pad), ids], 1)
        mask = torch.tensor([[0] * 3 + [1] * 6] * 2)
        left = base.model(
            input_ids=padded, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0), use_cache=False
        ).logits[:, -1]
    torch.testing.assert_close(then, whole, **CLOSE)
    torch.testing.assert_close(left, whole, **CLOSE)


@pytest.mark.parametrize("router", ["newton", "gate", "prototype", "gradient", "fit", "fit+own", "uniform", "random"])
def test_every_router_assembles_from_them(router, opened):
    pool, base = opened
    task, encoded = pool.pieces("LaMP_4", "cpu", torch.float64), encode(base)
    options = changed(SHARP, router=router, steps=6) if router != "newton" else make_router(router="newton")
    found = route(base, task, encoded, options)
    assert np.isfinite(found.weights).all()
    if router in ("gate", "prototype"):
        again = route(base, task, encoded, options, batch_tokens=90)
        np.testing.assert_allclose(found.weights, again.weights, **np_close(1e-9))
    if router == "fit":
        weights = torch.from_numpy(found.weights)[None].expand(len(encoded), -1, -1)
        with torch.no_grad():
            before, counts = target_nll(base, encoded)
            after, _ = target_nll(base, encoded, people(task.pieces, weights))
        assert after.sum() < before.sum() - 1e-3 * counts.sum()


def test_arrows_need_low_rank_pieces(opened):
    pool, base = opened
    with pytest.raises(PerpcsError, match=r"bottleneck adapters|prefixes"):
        assemble(base, pool, TASK, ITEMS, options=make_router(router="arrow"))


def test_a_record_of_them_is_saved_read_and_explained(opened, tmp_path):
    pool, base = opened
    person = assemble(base, pool, TASK, ITEMS, options=make_router(router="fit", steps=4))
    person.save(tmp_path / "person.json")
    again = Assembly.load(tmp_path / "person.json")
    np.testing.assert_array_equal(again.weights, person.weights)
    assert again.top_sharers() == person.top_sharers()
    engine = Engine(pool, base)
    assert (engine.update_norms(person) >= 0).all()
    assert engine.update_norms(person).any()


@pytest.mark.parametrize("kind", KINDS)
def test_sharers_trained_together_are_each_one_alone(kind, model_folder):
    base = load_tiny(model_folder("llama"), modules=MODULES_OF[kind])
    own = histories(base)
    settings = PieceSettings(kind=kind, rank=2, alpha=2.0, epochs=3, batch=2, rate=2e-2)
    together = train_pieces(base, own, IDS, settings)
    for s, id in enumerate(IDS):
        alone = train_pieces(base, [own[s]], [id], settings)
        for p in range(len(base.positions)):
            torch.testing.assert_close(together.A[p][s], alone.A[p][0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(together.B[p][s], alone.B[p][0], atol=1e-5, rtol=1e-5)
        assert together.losses[s][-1] < together.losses[s][1]  # from epoch to epoch: a prefix starts off the base model
        assert together.losses[s][0] == pytest.approx(mean_nll(base, own[s]), abs=1e-3)
    gates = train_gates(base, together, own, IDS, settings, GATES)
    assert all(gate.shape == (3, position.n) for gate, position in zip(gates, base.positions, strict=True))
    assert all(gate.abs().sum() > 0 for gate in gates)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_scales_them(kind):
    with pytest.raises(PerpcsError, match="rank 4"):
        PieceSettings(kind=kind, rank=4, alpha=8.0)


def test_a_prefix_stands_where_attention_is_read(model_folder):
    base = load_tiny(model_folder("llama"), modules=("q_proj",))
    with pytest.raises(PerpcsError, match="does not read what attention gives"):
        train_pieces(base, histories(base), IDS, PieceSettings(kind="prefix", rank=2, alpha=2.0))


def test_a_person_trained_alone_carries_their_own(opened):
    pool, base = opened
    someone = Person("ada", ITEMS)
    (made,) = prepare(Setting(base, pool, TASK), [someone], "oppu")
    ids = random_ids(base, 3, 6)
    with torch.no_grad():
        found = base.hidden(ids, fixed(own_updates([None, made.own, None], base.device, base.dtype)))
        plain = base.hidden(ids)
    torch.testing.assert_close(found[[0, 2]], plain[[0, 2]], **CLOSE)
    assert (found[1] - plain[1]).abs().max() > 1e-4
    assert made.other_bytes == pool.manifest.adapter_bytes
    lora = OwnPiece([torch.ones(1, p.n) for p in base.positions], [torch.ones(1, p.d) for p in base.positions], 0.1)
    with torch.no_grad():  # another row of the batch may carry another kind
        mixed = base.hidden(ids, fixed(own_updates([lora, made.own, None], base.device, base.dtype)))
    torch.testing.assert_close(mixed[1:], found[1:], **CLOSE)
    assert (mixed[0] - plain[0]).abs().max() > 1e-3


def test_a_pool_of_them_is_valid_and_opens_watched(opened):
    pool, base = opened
    assert any("hashes fit" in line for line in validate(pool.folder))
    again = pool.base("cpu", "float64")
    weights, ids = random_weights(base, 1), random_ids(base, 1, 4)
    assert torch.isfinite(hidden(again, pieces_of(pool), weights, ids)).all()


def test_they_are_not_exported_as_something_else(opened, tmp_path):
    pool, base = opened
    engine = Engine(pool, base)
    person = engine.assemble(TASK, ITEMS, options=make_router(router="fit", steps=2))
    with pytest.raises(PerpcsError, match="peft"):
        engine.export(replace(person, weights=person.weights), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_knows_every_kind():
    done = subprocess.run(
        (sys.executable, "-m", "perpcs.cli", "build", "--help"), capture_output=True, text=True, check=True
    )
    assert "{lora,ia3,adapter,prefix}" in done.stdout
