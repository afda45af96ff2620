"""Every router and the network of P2P in single precision beside their float64 twins, and on one thread beside several.

A difference that rounding explains is as small as rounding; a larger one would be a bug.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import ITEMS, SHARERS, load_tiny, random_task_pieces, route, save_tiny

from perpcs.assembly.routers import ROUTERS, make_router
from perpcs.model.base import load_base
from perpcs.model.basis import Pieces
from perpcs.model.likelihood import encode_pair, target_nll
from perpcs.pool.hypernet import Hypernet, HypernetShape, rows_adapter
from perpcs.pool.train import PieceSettings, train_pieces
from perpcs.tasks import get_task

TASK = get_task("LaMP_4")
WITHIN = {"fit": 2e-3, "fit+own": 2e-3, "newton": 3e-4}
"""Of the largest weight. Adam divides a gradient by its size, so that rounding of a small one counts as much; newton
solves a system, whose condition enlarges rounding."""
USUAL = 2e-5


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The same model and pieces in float64 and in float32."""
    folder = save_tiny("llama", tmp_path_factory.mktemp("base"))
    exact = load_tiny(folder)
    task = random_task_pieces(exact)
    task = replace(task, distilled=[gate.flip(0) for gate in task.gates])
    single = replace(
        task,
        pieces=Pieces([a.float() for a in task.pieces.A], [b.mT.float() for b in task.pieces.Bt], task.pieces.scale),
        gates=[gate.float() for gate in task.gates],
        prototypes=[rows.float() for rows in task.prototypes],
        distilled=[rows.float() for rows in task.distilled],
    )
    return (exact, task), (load_base(folder, device="cpu", dtype="float32"), single)


def routed(base, task, name):
    items = ITEMS[:2] * 4 if name == "newton" else ITEMS  # where items do not agree, it keeps the base model
    encoded = [encode_pair(base.tokenizer, *TASK.pair(item), base.max_tokens) for item in items]
    alike = torch.linspace(0.1, 0.9, SHARERS)
    return route(base, task, encoded, make_router(name, steps=6), texts=True, likeness=lambda: alike)


def same(one, other, within):
    """Two outcomes of a router are the same person: the same choices, and weights within a tolerance."""
    size = float(np.abs(other.weights).max())
    assert size > 0
    np.testing.assert_allclose(one.weights, other.weights, atol=within * size)
    np.testing.assert_array_equal(one.index, other.index)
    np.testing.assert_allclose(one.votes.astype(float), other.votes.astype(float), atol=within + 1e-3)  # half floats
    if other.own is not None:
        np.testing.assert_allclose(one.own.astype(float), other.own.astype(float), atol=3e-3)


@pytest.fixture
def threads():
    """Set how many threads torch computes with; as before afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ROUTERS)
def test_a_router_in_single_precision_is_its_float64_twin(name, twins):
    exact, single = (routed(*twin, name) for twin in twins)
    same(single, exact, WITHIN.get(name, USUAL))


@pytest.mark.parametrize("name", ROUTERS)
def test_a_router_does_not_depend_on_the_number_of_threads(name, twins, threads):
    for twin, within in zip(twins, (1e-9, WITHIN.get(name, USUAL)), strict=True):
        threads(1)
        alone = routed(*twin, name)
        threads(4)
        same(routed(*twin, name), alone, within)


def test_the_network_of_p2p_is_its_float64_twin_on_any_number_of_threads(twins, threads):
    shape = HypernetShape(6, width=16, hidden=12, rank=2)
    generator = torch.Generator().manual_seed(0)
    profiles = torch.randn(3, 6, generator=generator)
    state = {
        name: 0.3 * torch.randn(value.shape, generator=generator)  # a new network has no effect, by design
        for name, value in Hypernet(twins[0][0].positions, shape).state_dict().items()
    }
    state["spread"] = state["spread"].abs() + 1
    found = []
    for (base, _), dtype in zip(twins, (torch.float64, torch.float32), strict=True):
        net = Hypernet(base.positions, shape).to(dtype)
        net.load_state_dict(state)
        for count in (1, 4):
            threads(count)
            with torch.no_grad():
                A, B = net(profiles.to(dtype))
                encoded = [encode_pair(base.tokenizer, *TASK.pair(item), base.max_tokens) for item in ITEMS[:3]]
                nll, _ = target_nll(base, encoded, rows_adapter(A, B, torch.arange(3), shape.scale))
                plain, _ = target_nll(base, encoded)
            assert (nll - plain).abs().min() > 1e-3, "it changes something"
            found.append([*(torch.cat([f.flatten() for f in factors]) for factors in (A, B)), nll])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            torch.testing.assert_close(other.double(), one, rtol=3e-5, atol=3e-5 * float(one.abs().max()))


def test_pieces_do_not_depend_on_the_number_of_threads(twins, threads):
    (base, _), _ = twins
    histories = [[encode_pair(base.tokenizer, *TASK.pair(item), base.max_tokens) for item in ITEMS]]
    trained = []
    for count in (1, 4):
        threads(count)
        trained.append(train_pieces(base, histories, ["a"], PieceSettings(rank=2, epochs=2)))
    for one, other in zip(trained[0].B, trained[1].B, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
