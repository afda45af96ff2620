"""Laws of (IA)3 pieces: everything that holds for low-rank pieces, behind the same record."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import GATES, IDS, SHARP, TASK, encode, histories, np_close
from tiny import FAMILIES, ITEMS, SHARERS, load_tiny, plain_model, random_ids, random_weights, route, write_tiny_pool

from perpcs.assembly.assemble import assemble
from perpcs.assembly.export import CONFIG, TENSORS
from perpcs.assembly.routers import changed, make_router
from perpcs.errors import PerpcsError
from perpcs.files import write_json
from perpcs.model.basis import Scaling, Scalings, adapted, people
from perpcs.model.likelihood import target_nll
from perpcs.pool.manifest import read_json, read_manifest
from perpcs.pool.store import Pool
from perpcs.pool.train import PieceSettings, train_gates, train_pieces
from perpcs.pool.validate import validate
from perpcs.serve.engine import Engine

IA3 = PieceSettings(kind="ia3", rank=1, alpha=1.0, epochs=2, batch=2, rate=2e-2)
CLOSE = {"atol": 1e-9, "rtol": 1e-9}


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def opened(request, tmp_path_factory):
    """(pool, its base model in float64)."""
    folder = tmp_path_factory.mktemp("ia3") / "pool"
    write_tiny_pool(folder, family=request.param, tasks=("LaMP_4",), rank=1, kind="ia3")
    pool = Pool(folder)
    return pool, load_tiny(folder / "base")


def scaled_model(folder, base, weights, pieces):
    """A model that our code never touched, whose layers' rows are multiplied by 1 + sum_s w_s V_s."""
    model = plain_model(folder)
    for p, position in enumerate(base.positions):
        layer = model.get_submodule(position.path)
        times = 1 + weights[p] @ pieces.Bt[p][:, 0]
        layer.weight.data *= times if type(layer).__name__ == "Conv1D" else times[:, None]
        if layer.bias is not None:
            layer.bias.data *= times
    return model


def test_people_of_one_batch_are_their_own_scaled_models(opened):
    pool, base = opened
    pieces = pool.pieces("LaMP_4", "cpu", torch.float64).pieces
    assert isinstance(pieces, Scalings)
    assert (pieces.rank, pieces.sharers) == (1, SHARERS)
    weights, ids = random_weights(base, 3), random_ids(base, 3, 7)
    weights[1] = 0
    with torch.no_grad(), adapted(people(pieces, weights)):
        found = base.model(input_ids=ids).logits
    for b in range(3):
        model = scaled_model(pool.folder / "base", base, weights[b], pieces)
        torch.testing.assert_close(found[b], model(input_ids=ids[b : b + 1]).logits[0], **CLOSE)


def test_gathered_pieces_are_shared_pieces_with_zeros(opened):
    pool, base = opened
    pieces = pool.pieces("LaMP_4", "cpu", torch.float64).pieces
    index, w = torch.tensor([[3, 0], [1, 4]]), torch.tensor([[0.5, 0.25], [1.0, -0.5]], dtype=torch.float64)
    dense = torch.zeros(2, SHARERS, dtype=torch.float64).scatter_(1, index, w)
    y = torch.randn(2, 3, base.positions[0].d, dtype=torch.float64)
    expected = pieces.shared(0, dense).added(y, y, None)
    for found in (pieces.gathered(0, index, w), pieces.whole(0, dense)):
        assert isinstance(found, Scaling)
        torch.testing.assert_close(found.added(y, y, None), expected, **CLOSE)
    assert pieces.shared(0, torch.zeros(2, SHARERS)) is None


@pytest.mark.parametrize("router", ["gate", "prototype", "gradient", "fit", "fit+own", "uniform", "random"])
def test_every_router_assembles_from_them(router, opened):
    pool, base = opened
    task, encoded = pool.pieces("LaMP_4", "cpu", torch.float64), encode(base)
    options = changed(SHARP, router=router, steps=6)
    found = route(base, task, encoded, options)
    assert np.isfinite(found.weights).all()
    assert found.weights.any()
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
    with pytest.raises(PerpcsError, match="scaling vectors"):
        assemble(base, pool, TASK, ITEMS, options=make_router(router="arrow"))


def test_sharers_trained_together_are_each_one_alone(model_folder):
    base = load_tiny(model_folder("llama"))
    own = histories(base)
    together = train_pieces(base, own, IDS, IA3)
    for s, id in enumerate(IDS):
        alone = train_pieces(base, [own[s]], [id], IA3)
        for p, position in enumerate(base.positions):
            assert together.A[p].shape == (3, 0, position.n)
            assert together.B[p].shape == (3, position.d, 1)
            torch.testing.assert_close(together.B[p][s], alone.B[p][0], atol=1e-5, rtol=1e-5)
        assert together.losses[s][-1] < together.losses[s][0]
        nll, counts = target_nll(base, own[s])
        assert together.losses[s][0] == pytest.approx(float(nll.sum() / counts.sum()), abs=1e-3)
    gates = train_gates(base, together, own, IDS, IA3, GATES)
    assert all(gate.shape == (3, position.n) for gate, position in zip(gates, base.positions, strict=True))
    assert all(gate.abs().sum() > 0 for gate in gates)


def test_a_scaling_vector_has_no_other_rank():
    with pytest.raises(PerpcsError, match="rank 4"):
        PieceSettings(kind="ia3")


def test_a_pool_of_them_is_valid_and_small(opened):
    pool, base = opened
    assert any("hashes fit" in line for line in validate(pool.folder))
    assert pool.manifest.adapter_bytes == 2 * sum(position.d for position in base.positions)


def test_a_pool_of_an_unknown_kind_is_refused(opened, tmp_path):
    manifest = read_json(opened[0].folder / "manifest.json")
    write_json(tmp_path / "manifest.json", {**manifest, "kind": "houlsby"})
    with pytest.raises(PerpcsError, match="kind: Input should be 'lora', 'ia3', 'adapter' or 'prefix'"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family in ("llama", "gpt2", "gpt_neox")])
def test_an_exported_person_is_what_peft_makes_of_it(family, tmp_path):
    from peft import PeftModel

    write_tiny_pool(tmp_path / "pool", family=family, tasks=("LaMP_4",), rank=1, kind="ia3")
    pool = Pool(tmp_path / "pool")
    base = load_tiny(tmp_path / "pool" / "base")
    engine = Engine(pool, base)
    person = engine.assemble(TASK, ITEMS, options=make_router(router="fit", steps=4))
    weights = person.weights.copy()
    weights[1] = 0
    person = replace(person, weights=weights)
    made = engine.export(person, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [CONFIG, TENSORS]
    assert made.ranks == tuple(int(row.any()) for row in weights)
    assert made.bytes == sum(file.stat().st_size for file in (tmp_path / "out").iterdir())
    assert json.loads((tmp_path / "out" / CONFIG).read_text())["base_model_name_or_path"] == "base"
    loaded = PeftModel.from_pretrained(plain_model(tmp_path / "pool" / "base"), str(tmp_path / "out")).eval()
    ids = random_ids(base, 2, 6)
    pieces = pool.pieces("LaMP_4", "cpu", torch.float64).pieces
    with torch.no_grad(), adapted(people(pieces, torch.from_numpy(weights).double().expand(2, -1, -1))):
        expected = base.model(input_ids=ids).logits
    with torch.no_grad():
        torch.testing.assert_close(loaded(input_ids=ids).logits, expected, atol=1e-5, rtol=1e-5)
        assert (plain_model(tmp_path / "pool" / "base")(input_ids=ids).logits - expected).abs().max() > 1e-3
    with pytest.raises(PerpcsError, match="no rank to cut"):
        engine.export(person, tmp_path / "out", rank=2)
    with pytest.raises(PerpcsError, match="no weight"):
        engine.export(replace(person, weights=0 * weights), tmp_path / "out")
