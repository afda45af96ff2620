"""Laws of several updates at one layer, and of a person's own piece beside the pieces of others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import TASK, encode, np_close
from tiny import (
    ITEMS,
    RANK,
    SHARERS,
    load_tiny,
    plain_model,
    random_ids,
    random_pieces,
    random_task_pieces,
    random_weights,
    route,
    save_tiny,
)
from torch import nn

from perpcs.assembly.assemble import assemble
from perpcs.assembly.descent import own_piece
from perpcs.assembly.record import Assembly
from perpcs.assembly.routers import changed, make_router
from perpcs.errors import PerpcsError
from perpcs.model.basis import (
    AdaptedLinear,
    Factors,
    OwnPiece,
    Scaling,
    adapted,
    fixed,
    own_updates,
    repeat_rows,
    together,
)
from perpcs.model.likelihood import label_log_probs, target_nll
from perpcs.pool.store import Pool
from perpcs.serve.engine import Engine
from perpcs.tasks import Query

CLOSE = {"atol": 1e-10, "rtol": 1e-10}
BOTH = make_router(router="fit+own", steps=4, own_rate=0.02)


def doubles(*shape):
    return torch.randn(*shape, dtype=torch.float64)


# ---- the layer ------------------------------------------------------------------------------------------------------


def test_updates_of_one_layer_add_up_and_each_sees_the_plain_output():
    torch.manual_seed(0)
    base = nn.Linear(5, 4).double()
    layer, x = AdaptedLinear(base, 0), doubles(2, 3, 5)
    factors = Factors(doubles(2, 5), doubles(2, 4), doubles(2, 1, 2))
    scaling = Scaling(doubles(3, 4), doubles(2, 1, 3))
    with adapted(lambda p, x: [factors, scaling]):
        found = layer(x)
    y = base(x)
    for b in range(2):
        low = (x[b] @ factors.A.T * factors.c[b]) @ factors.Bt
        times = 1 + scaling.c[b, 0] @ scaling.V
        torch.testing.assert_close(found[b], y[b] * times + low, **CLOSE)
    with adapted(lambda p, x: []):
        assert torch.equal(layer(x), y)


@pytest.mark.parametrize("own", [True, False])
def test_scalings_are_repeated_row_by_row(own):
    torch.manual_seed(0)
    y = doubles(2, 3, 4)
    scaling = Scaling(doubles(2, 2, 4) if own else doubles(2, 4), doubles(2, 1, 2))
    once = scaling.added(y, y, None).repeat_interleave(3, 0)
    (again,) = repeat_rows(scaling, 3)
    torch.testing.assert_close(again.added(y.repeat_interleave(3, 0), y.repeat_interleave(3, 0), None), once, **CLOSE)


def test_rows_with_pieces_of_their_own_of_any_rank_stand_in_one_batch(tmp_path):
    """Each row is the model with its own piece merged, and the shared pieces beside it; a row without one is plain."""
    folder = save_tiny("llama", tmp_path / "base")
    base = load_tiny(folder)
    torch.manual_seed(1)
    owns = [
        OwnPiece([doubles(r, p.n) for p in base.positions], [doubles(r, p.d) for p in base.positions], scale)
        for r, scale in ((1, 0.5), (3, 2.0))
    ]
    rows = [owns[0], None, owns[1]]
    pieces, weights, ids = random_pieces(base), random_weights(base, 3), random_ids(base, 3, 6)
    shared = [pieces.shared(p, weights[:, p]) for p in range(len(pieces))]
    updates = together(shared, own_updates(rows, "cpu", torch.float64))
    with torch.no_grad(), adapted(fixed(updates)):
        found = base.model(input_ids=ids).logits
    for b, own in enumerate(rows):
        model = plain_model(folder)
        for p, position in enumerate(base.positions):
            change = sum(
                pieces.scale * weights[b, p, s] * (pieces.Bt[p][s].mT @ pieces.A[p][s]) for s in range(SHARERS)
            )
            if own is not None:
                change = change + own.scale * own.Bt[p].mT @ own.A[p]
            model.get_submodule(position.path).weight.data += change
        torch.testing.assert_close(found[b], model(input_ids=ids[b : b + 1]).logits[0], atol=1e-8, rtol=1e-8)
    assert own_updates([None, None], "cpu", torch.float64) == []
    assert together([], []) == []
    assert [len(at) for at in together(shared, [])] == [1] * len(pieces)


# ---- training it ----------------------------------------------------------------------------------------------------


def loss_of(base, task, encoded, found, own):
    shared = [task.pieces.shared(p, torch.from_numpy(found.weights[None, p])) for p in range(len(base.positions))]
    with torch.no_grad():
        nll, counts = target_nll(base, encoded, fixed(together(shared, own)))
    return float(nll.sum() / counts.sum())


def test_the_own_piece_lowers_the_loss_and_leaves_the_fitted_weights(tiny_base):
    base = tiny_base("llama")
    task, encoded = random_task_pieces(base), encode(base)
    fitted = route(base, task, encoded, changed(BOTH, router="fit"))
    found = route(base, task, encoded, BOTH)
    np.testing.assert_allclose(found.weights, fitted.weights, **np_close(1e-12))
    assert fitted.own is None
    assert found.own.dtype == np.float16
    assert found.own.shape == (sum(p.n + p.d for p in base.positions),)
    person = record_with(found.own)
    own = own_updates([own_piece(person.own, base.positions)] * len(encoded), "cpu", torch.float64)
    assert loss_of(base, task, encoded, found, own) < loss_of(base, task, encoded, found, []) - 1e-3
    assert np.array_equal(found.own, route(base, task, encoded, BOTH).own)
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in base.model.parameters())


def record_with(own):
    return Assembly(
        weights=np.zeros((1, 1), np.float32),
        scores=np.zeros((1, 1), np.float32),
        choices=np.zeros((0, 1, 1), np.int16),
        votes=np.zeros((0, 1, 1), np.float16),
        task="LaMP_4",
        positions=("p",),
        sharers=("s",),
        pool="tiny",
        pool_hash="",
        router={},
        own=own,
    )


def test_a_person_with_an_own_piece_is_saved_and_answers_with_it(tiny_pool_folder):
    pool = Pool(tiny_pool_folder)
    base = pool.base("cpu", "float64")
    engine = Engine(pool, base)
    steps = []
    person = assemble(base, pool, TASK, ITEMS, options=BOTH, on_position=lambda step: steps.append(step.batch))
    assert steps == list(range(2 * BOTH.steps))
    again = Assembly.from_json(person.to_json())
    assert np.array_equal(again.own, person.own)
    assert again.to_json() == person.to_json()
    assert person.kept_bytes == 2 + person.weights.size + 2 * person.own.size
    plain = replace(person, own=np.zeros(0, np.float16))
    assert '"own": {' not in plain.to_json()
    query = Query(x="Boats race in the harbour at noon.")
    likely = {}
    for name, one in (("with", person), ("without", plain)):
        *_, (answer,) = engine.answer(TASK, query, ["perpcs"], assembly=one, max_new_tokens=6)
        likely[name] = answer
    assert likely["with"].bytes_stored == person.kept_bytes
    strong = replace(person, own=(30 * person.own).astype(np.float16))
    *_, (other,) = engine.answer(TASK, query, ["perpcs"], assembly=strong, max_new_tokens=6)
    assert other.text != likely["without"].text


def test_label_probabilities_see_the_own_piece(tiny_base):
    base = tiny_base("llama")
    torch.manual_seed(3)
    own = OwnPiece([doubles(2, p.n) for p in base.positions], [doubles(2, p.d) for p in base.positions])
    updates = own_updates([None, own], "cpu", torch.float64)
    found = label_log_probs(base, ["Which?", "Which?"], ["[1]", "[2]"], updates)
    plain = label_log_probs(base, ["Which?"], ["[1]", "[2]"])
    torch.testing.assert_close(found[0], plain[0], **CLOSE)
    assert (found[1] - plain[0]).abs().max() > 1e-3


def test_an_own_piece_of_other_layers_is_an_error(tiny_base):
    with pytest.raises(PerpcsError, match="does not fit"):
        own_piece(record_with(np.zeros(7, np.float16)).own, tiny_base("llama").positions)
    assert own_piece(record_with(np.zeros(0, np.float16)).own, tiny_base("llama").positions) is None
    assert RANK > 1  # so that a rank of 1 is not the shared pieces' by chance
