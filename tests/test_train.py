"""Laws of training: many sharers at once are each one alone, and nothing moves that should not."""

import hashlib
import math

import pytest
import torch
from helpers import GATES, IDS, histories
from tiny import load_tiny, plain_model, random_ids

from perpcs.model.basis import Pieces, adapted, fixed, people
from perpcs.pool import train
from perpcs.pool.train import (
    GateSettings,
    PieceSettings,
    SharerAdam,
    TrainedPieces,
    collect_prototypes,
    train_gates,
    train_pieces,
)

PIECES = PieceSettings(rank=2, alpha=4.0, epochs=2, batch=2, rate=1e-2)


def flat(trained):
    return [*trained.A, *trained.B]


def close(one, two, tolerance=1e-5):
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


def checksum(*groups):
    digest = hashlib.sha256()
    for group in groups:
        for tensor in group:
            digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def base(model_folder):
    return load_tiny(model_folder("llama"))


@pytest.fixture(scope="module")
def trained(base):
    return train_pieces(base, histories(base), IDS, PIECES)


@pytest.fixture(scope="module")
def gates(base, trained):
    return train_gates(base, trained, histories(base), IDS, PIECES, GATES)


# ---- the optimiser --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_one_sharers_adam_is_torchs(kind):
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(1, 3, 4, generator=generator, dtype=kind), torch.randn(1, 5, generator=generator, dtype=kind)]
    ours = [tensor.clone() for tensor in start]
    theirs = [tensor.clone().requires_grad_() for tensor in start]
    optimiser, reference = SharerAdam(ours), torch.optim.Adam(theirs, lr=0.0, betas=(0.9, 0.999), eps=1e-8)
    for step in range(30):
        rate = 0.05 * (1 - step / 30)
        for mine, other in zip(ours, theirs, strict=True):
            gradient = torch.randn(mine.shape, generator=generator, dtype=kind) * 10 ** (step % 4 - 2)
            mine.grad, other.grad = gradient.clone(), gradient.clone()
        optimiser.step(torch.tensor([rate], dtype=kind))
        reference.param_groups[0]["lr"] = rate
        reference.step()
    close(ours, [other.detach() for other in theirs], 1e-5 if kind == torch.float32 else 1e-12)
    assert all(mine.grad is None for mine in ours)


def test_a_sharer_that_rests_keeps_values_moments_and_step_count():
    """Sharer 1 rests every other step; it ends where it would have with its own steps alone."""
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    gradients = [torch.randn(2, 3, generator=generator, dtype=torch.float64) for _ in range(8)]
    both, alone = start.clone(), start[1:].clone()
    optimiser, single = SharerAdam([both]), SharerAdam([alone])
    for step, gradient in enumerate(gradients):
        rests = step % 2 == 1
        both.grad = gradient.clone()
        before = both[1].clone()
        optimiser.step(torch.tensor([0.1, 0.0 if rests else 0.2], dtype=torch.float64))
        if rests:
            assert torch.equal(both[1], before)
        else:
            alone.grad = gradient[1:].clone()
            single.step(torch.tensor([0.2], dtype=torch.float64))
    torch.testing.assert_close(both[1:], alone, atol=1e-14, rtol=1e-14)


# ---- pieces ---------------------------------------------------------------------------------------------------------


def test_training_many_sharers_at_once_is_training_them_one_by_one(base, trained):
    for s, (history, id) in enumerate(zip(histories(base), IDS, strict=True)):
        alone = train_pieces(base, [history], [id], PIECES)
        close([tensor[s : s + 1] for tensor in flat(trained)], flat(alone))
        assert alone.losses[0] == pytest.approx(trained.losses[s], abs=2e-4)


@pytest.mark.parametrize("group", [1, 2])
def test_the_size_of_a_group_does_not_matter(group, base, trained):
    groups = []
    told = train_pieces(base, histories(base), IDS, PIECES, group=group, on_progress=lambda *at: groups.append(at))
    assert groups[-1][0] == groups[-1][1] > 1
    close(flat(told), flat(trained))
    for mine, theirs in zip(told.losses, trained.losses, strict=True):
        assert mine == pytest.approx(theirs, abs=2e-4)


def test_a_killed_training_goes_on_after_the_last_group_that_was_done(base, tmp_path):
    class Killed(Exception):
        pass

    def kill(done, of):
        if done == 2:
            raise Killed

    whole = train_pieces(base, histories(base), IDS, PIECES, group=1)
    with pytest.raises(Killed):
        train_pieces(base, histories(base), IDS, PIECES, group=1, folder=tmp_path, on_progress=kill)
    groups = []
    again = train_pieces(
        base, histories(base), IDS, PIECES, group=1, folder=tmp_path, on_progress=lambda *at: groups.append(at)
    )
    assert groups == [(3, 3)], "what was done is not done again"
    assert all(map(torch.equal, flat(again), flat(whole)))
    assert again.losses == whole.losses


def test_the_order_of_sharers_does_not_matter(base, trained):
    order = [2, 0, 1]
    own = histories(base)
    found = train_pieces(base, [own[s] for s in order], [IDS[s] for s in order], PIECES)
    close(flat(found), [tensor[order] for tensor in flat(trained)])


def test_a_sharers_pieces_come_from_their_own_items_alone(base, trained):
    other = histories(base)
    other[1] = other[2][3:]
    found = train_pieces(base, other, IDS, PIECES)
    for mine, theirs in zip(flat(found), flat(trained), strict=True):
        torch.testing.assert_close(mine[[0, 2]], theirs[[0, 2]], atol=1e-5, rtol=1e-5)
        assert not torch.allclose(mine[1], theirs[1], atol=1e-3)


def test_a_sharers_training_is_a_plain_lora_with_torchs_adam(base, trained, model_folder):
    """Written without our layer: merged weights, autograd through a model our code never touched, torch's Adam."""
    s, history = 2, histories(base)[2]
    model = plain_model(model_folder("llama")).requires_grad_(False)
    A = [train.initial_A(IDS[s], p.path, p.n, PIECES).requires_grad_() for p in base.positions]
    B = [torch.zeros(p.d, PIECES.rank).requires_grad_() for p in base.positions]
    optimiser = torch.optim.Adam([*A, *B], lr=0.0)
    batches = train.epoch_batches(history, IDS[s], PIECES.batch, PIECES.epochs, PIECES.seed)
    assert len(batches) == 2 * math.ceil(len(history) / 2)
    for step, batch in enumerate(batches):
        weights = {
            f"{p.path}.weight": model.get_submodule(p.path).weight + 2.0 * (B[i] @ A[i])  # alpha / rank = 2
            for i, p in enumerate(base.positions)
        }
        total = count = 0
        for item in batch:
            out = torch.func.functional_call(model, weights, kwargs={"input_ids": torch.tensor([item.ids])})
            log_probs = torch.log_softmax(out.logits[0], -1)
            for at in range(item.start, item.end):
                total, count = total - log_probs[at, item.ids[at + 1]], count + 1
        (total / count).backward()
        optimiser.param_groups[0]["lr"] = PIECES.rate * (1 - step / len(batches))
        optimiser.step()
        optimiser.zero_grad()
    close([a[s] for a in trained.A], [a.detach() for a in A], 1e-4)
    close([b[s] for b in trained.B], [b.detach() for b in B], 1e-4)


def test_every_epoch_reads_every_item_once_in_a_new_order(base):
    history = histories(base)[2]
    batches = train.epoch_batches(history, "cleo", 2, 3, 0)
    epochs = [[item for batch in batches[at : at + 3] for item in batch] for at in (0, 3, 6)]
    assert len(batches) == 9
    assert all(sorted(epoch, key=lambda i: i.ids) == sorted(history, key=lambda i: i.ids) for epoch in epochs)
    assert len({tuple(item.ids for item in epoch) for epoch in epochs}) > 1
    assert batches == train.epoch_batches(history, "cleo", 2, 3, 0)
    assert batches != train.epoch_batches(history, "ada", 2, 3, 0)


def test_training_lowers_every_sharers_loss_and_tells_it(base, trained):
    for losses in trained.losses:
        assert len(losses) == 1 + PIECES.epochs
        assert losses[-1] < losses[0]
    item = histories(base)[0][0]
    pieces = Pieces(trained.A, trained.B, PIECES.alpha / PIECES.rank).to("cpu", torch.float64)
    own = torch.zeros(1, len(base.positions), len(IDS), dtype=torch.float64)
    own[:, :, 0] = 1
    with torch.no_grad():
        before, count = train.target_nll(base, [item])
        after, _ = train.target_nll(base, [item], people(pieces, own))
    assert (before / count).item() == pytest.approx(trained.losses[0][0], abs=1e-3)
    assert after < before


def test_sharers_start_from_the_same_A_only_when_asked(base):
    path, n = base.positions[0].path, base.positions[0].n
    own = PieceSettings(shared_init=False)
    assert torch.equal(train.initial_A("ada", path, n, PIECES), train.initial_A("bruno", path, n, PIECES))
    assert not torch.equal(train.initial_A("ada", path, n, own), train.initial_A("bruno", path, n, own))
    other = train.initial_A("ada", base.positions[1].path, n, PIECES)
    assert not torch.equal(train.initial_A("ada", path, n, PIECES), other)


# ---- gates and prototypes -------------------------------------------------------------------------------------------


def test_gate_training_moves_nothing_but_gates(base, trained, gates):
    state = list(base.model.state_dict().values())
    before = checksum(state, flat(trained))
    train_gates(base, trained, histories(base), IDS, PIECES, GATES)
    assert checksum(state, flat(trained)) == before
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in base.model.parameters())
    assert all(not tensor.requires_grad for tensor in flat(trained))
    for gate, position in zip(gates, base.positions, strict=True):
        assert gate.shape == (3, position.n)
        assert (gate.abs().amax(1) > 0).all()


def test_piece_training_leaves_the_base_untouched(base):
    state = list(base.model.state_dict().values())
    before = checksum(state)
    train_pieces(base, histories(base)[:1], IDS[:1], PIECES)
    assert checksum(state) == before
    assert all(parameter.grad is None for parameter in base.model.parameters())


def test_training_many_gates_at_once_is_training_them_one_by_one(base, trained, gates):
    for s, (history, id) in enumerate(zip(histories(base), IDS, strict=True)):
        own = TrainedPieces([a[s : s + 1] for a in trained.A], [b[s : s + 1] for b in trained.B], [[]])
        alone = train_gates(base, own, [history], [id], PIECES, GATES)
        close([gate[s : s + 1] for gate in gates], alone)
    close(train_gates(base, trained, histories(base), IDS, PIECES, GATES, group=1), gates)


def caught_adapter(base, trained, monkeypatch, settings=GATES):
    """(parameters, adapter for an owner of each row) as gate training makes them, before the first step."""
    caught = []

    def catch(base, parameters, batches, adapter, rate, **options):
        caught.append((parameters, adapter, batches))
        return []

    monkeypatch.setattr(train, "descend", catch)
    train_gates(base, trained, histories(base), IDS, PIECES, settings)
    return caught[0]


def test_a_gate_starts_at_zero_and_so_at_half_the_lora(base, trained, monkeypatch):
    parameters, adapter, _ = caught_adapter(base, trained, monkeypatch)
    assert not any(parameter.any() for parameter in parameters)
    pieces = Pieces(trained.A, trained.B, PIECES.alpha / PIECES.rank).to("cpu", torch.float64)
    half = 0.5 * torch.eye(3, dtype=torch.float64)[:, None].expand(-1, len(base.positions), -1)
    ids = random_ids(base, 3, 10)
    with torch.no_grad():
        expected = base.hidden(ids, people(pieces, half))
        torch.testing.assert_close(base.hidden(ids, adapter(torch.arange(3))), expected, atol=1e-10, rtol=1e-10)
        assert not torch.allclose(base.hidden(ids), expected, atol=1e-3)


def test_a_gate_opens_token_by_token(base, trained, monkeypatch):
    """z = W v + s B A v sigmoid(g . v) of section 2.4, at one position."""
    parameters, adapter, _ = caught_adapter(base, trained, monkeypatch)
    p, position = 2, base.positions[2]
    x = torch.randn(2, 4, position.n, dtype=torch.float64)
    owner = torch.tensor([2, 0])
    with torch.no_grad():
        parameters[p].copy_(torch.randn(3, position.n))
        factors = adapter(owner)(p, x)
        linear = base.model.get_submodule(position.path)
        with adapted(fixed([factors] * len(base.positions))):
            found = linear(x)
        for row, s in enumerate(owner.tolist()):
            for t in range(4):
                v = x[row, t]
                gate = torch.sigmoid(parameters[p][s].double() @ v)
                update = trained.B[p][s].double() @ trained.A[p][s].double() @ v * 2.0 * gate
                torch.testing.assert_close(found[row, t], linear.base(v) + update, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 5, 8])
def test_every_sharer_gets_the_steps_asked_for(steps, base, trained, monkeypatch):
    batches = caught_adapter(base, trained, monkeypatch, GateSettings(steps=steps, batch=2))[2]
    assert [len(own) for own in batches] == [steps] * 3


def test_a_prototype_is_the_mean_input_of_the_targets_on_the_plain_model(base, model_folder):
    found = collect_prototypes(base, histories(base))
    model = plain_model(model_folder("llama"))
    sums = [torch.zeros(3, p.n, dtype=torch.float64) for p in base.positions]
    counts = torch.zeros(3)
    for s, history in enumerate(histories(base)):
        for item in history:
            handles = []
            for i, position in enumerate(base.positions):

                def hook(module, args, total=sums[i][s], item=item):
                    total += args[0][0, item.start : item.end].sum(0)

                handles.append(model.get_submodule(position.path).register_forward_pre_hook(hook))
            with torch.no_grad():
                model(input_ids=torch.tensor([item.ids]))
            for handle in handles:
                handle.remove()
            counts[s] += item.end - item.start
    for mine, total in zip(found, sums, strict=True):
        torch.testing.assert_close(mine.double(), total / counts[:, None], atol=1e-5, rtol=1e-5)
