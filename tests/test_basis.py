"""Laws of the shared-basis layer: y = W x + sum_s w_s * scale * B_s A_s x, and nothing is ever left behind."""

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import FAMILIES, SHARERS, merged_model, random_ids, random_pieces, random_weights
from torch import nn

from perpcs.model.basis import _ADAPTER, AdaptedLinear, Factors, Pieces, adapted, fixed, people, repeat_rows

# ---- one layer -----------------------------------------------------------------------------------------------------


def added(x: torch.Tensor, factors: Factors) -> torch.Tensor:
    """What factors add for x: neither the layer nor its output y changes it."""
    return factors.added(x, x.new_empty(*x.shape[:2], factors.Bt.shape[-1]), nn.Identity())


def conv1d(n, d):
    from transformers.pytorch_utils import Conv1D

    layer = Conv1D(d, n)
    nn.init.normal_(layer.bias)
    return layer


LINEARS = {"linear": lambda n, d: nn.Linear(n, d), "no bias": lambda n, d: nn.Linear(n, d, bias=False), "conv": conv1d}


def one_position(n, d, sharers, rank, seed=0):
    """(pieces of one position, A (S, r, n), B (S, d, r), scale)."""
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(sharers, rank, n, generator=generator, dtype=torch.float64)
    B = torch.randn(sharers, d, rank, generator=generator, dtype=torch.float64)
    return Pieces([A], [B], 1.7), A, B, 1.7


def naive(linear, x, w, A, B, scale):
    """The one equation, a row, a token and a sharer at a time."""
    y = linear(x).clone()
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            for s in range(len(A)):
                y[b, t] += w[b, s] * scale * (B[s] @ (A[s] @ x[b, t]))
    return y


def call(layer, x, factors):
    with torch.no_grad(), adapted(fixed([factors])):
        return layer(x)


sizes = st.integers(1, 7)


@pytest.mark.parametrize("kind", LINEARS)
@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 4),
    tokens=st.integers(1, 4),
    n=sizes,
    d=sizes,
    sharers=sizes,
    rank=st.integers(1, 3),
    data=st.data(),
)
def test_the_layer_is_the_one_equation_for_different_people_in_one_batch(kind, rows, tokens, n, d, sharers, rank, data):
    pieces, A, B, scale = one_position(n, d, sharers, rank, seed=data.draw(st.integers(0, 99)))
    number = st.floats(-3, 3, allow_subnormal=False) | st.just(0.0)
    w = torch.tensor(
        data.draw(st.lists(number, min_size=rows * sharers, max_size=rows * sharers)), dtype=torch.float64
    ).view(rows, sharers)
    linear = LINEARS[kind](n, d).double().requires_grad_(False)
    x = torch.randn(rows, tokens, n, dtype=torch.float64)
    layer = AdaptedLinear(linear, 0)
    expected = naive(linear, x, w, A, B, scale)
    torch.testing.assert_close(call(layer, x, pieces.shared(0, w)), expected, atol=1e-10, rtol=1e-10)
    everyone = torch.arange(sharers).expand(rows, -1)
    order = torch.stack([torch.randperm(sharers) for _ in range(rows)])
    for index in (everyone, order):  # gathered columns, in any order of the sharers
        factors = pieces.gathered(0, index, w.gather(1, index))
        torch.testing.assert_close(call(layer, x, factors), expected, atol=1e-10, rtol=1e-10)


def test_gathered_rows_use_their_own_sharers():
    pieces, A, B, scale = one_position(5, 4, 6, 2)
    index = torch.tensor([[4, 1], [0, 4], [3, 3]])
    w = torch.tensor([[0.3, -1.0], [2.0, 0.0], [0.5, 0.25]], dtype=torch.float64)
    dense = torch.zeros(3, 6, dtype=torch.float64).scatter_add_(1, index, w)
    linear = nn.Linear(5, 4).double().requires_grad_(False)
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    found = call(AdaptedLinear(linear, 0), x, pieces.gathered(0, index, w))
    torch.testing.assert_close(found, naive(linear, x, dense, A, B, scale), atol=1e-10, rtol=1e-10)


def test_rows_may_carry_their_own_factors_and_coefficients_may_differ_by_token():
    b, t, n, d, q = 3, 4, 5, 6, 2
    A, Bt = torch.randn(b, q, n, dtype=torch.float64), torch.randn(b, q, d, dtype=torch.float64)
    c = torch.randn(b, t, q, dtype=torch.float64)
    x = torch.randn(b, t, n, dtype=torch.float64)
    found = added(x, Factors(A, Bt, c))
    for row in range(b):
        for token in range(t):
            expected = Bt[row].T @ torch.diag(c[row, token]) @ A[row] @ x[row, token]
            torch.testing.assert_close(found[row, token], expected, atol=1e-10, rtol=1e-10)
    shared = added(x, Factors(A[0], Bt[0], c[:, :1]))
    own = added(x, Factors(A[:1].expand(b, -1, -1), Bt[:1].expand(b, -1, -1), c[:, :1].expand(-1, t, -1)))
    torch.testing.assert_close(shared, own, atol=1e-12, rtol=1e-12)


def test_sharers_that_no_row_uses_are_dropped_and_change_nothing():
    pieces, A, B, scale = one_position(5, 4, 6, 2)
    w = torch.zeros(3, 6, dtype=torch.float64)
    w[0, 1], w[2, 4] = 0.5, -2.0
    factors = pieces.shared(0, w)
    assert factors.A.shape[0] == factors.Bt.shape[0] == factors.c.shape[-1] == 2 * 2  # two sharers of rank two
    linear = nn.Linear(5, 4).double().requires_grad_(False)
    x = torch.randn(3, 2, 5, dtype=torch.float64)
    found = call(AdaptedLinear(linear, 0), x, factors)
    torch.testing.assert_close(found, naive(linear, x, w, A, B, scale), atol=1e-10, rtol=1e-10)
    assert torch.equal(found[1], linear(x)[1])  # the row without weights is the base, bit for bit
    assert pieces.shared(0, torch.zeros(3, 6, dtype=torch.float64)) is None


def test_repeated_rows_get_the_factors_of_their_row():
    b, q = 2, 3
    x = torch.randn(b, 4, 5, dtype=torch.float64)
    own = Factors(torch.randn(b, q, 5).double(), torch.randn(b, q, 6).double(), torch.randn(b, 1, q).double())
    one = Factors(own.A[0], own.Bt[0], own.c)
    same = Factors(own.A[0], own.Bt[0], own.c[:1])  # one row of coefficients for all
    for factors in (own, one, same):
        once = added(x, factors).repeat_interleave(3, 0)
        (repeated,) = repeat_rows(factors, 3)
        again = added(x.repeat_interleave(3, 0), repeated)
        torch.testing.assert_close(again, once, atol=1e-12, rtol=1e-12)
    assert repeat_rows(None, 3) == []


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_factors_follow_the_dtype_of_the_activations(kind):
    """float32 masters beside a model in half precision: the sum stays in the model's dtype."""
    pieces, _, _, _ = one_position(8, 6, 3, 2)
    layer = AdaptedLinear(nn.Linear(8, 6).to(kind).requires_grad_(False), 0)
    x = torch.randn(2, 3, 8).to(kind)
    w = torch.rand(2, 3)
    low = call(layer, x, pieces.to("cpu", torch.float32).shared(0, w))
    assert low.dtype == kind
    high = call(AdaptedLinear(layer.base.double(), 0), x.double(), pieces.shared(0, w.double()))
    torch.testing.assert_close(low.double(), high, atol=0.3, rtol=0.05)


def test_gradients_reach_the_weights():
    """What fit and gradient routers need: d loss / d w of every piece, by finite differences."""
    pieces, _, _, _ = one_position(5, 4, 3, 2)
    layer = AdaptedLinear(nn.Linear(5, 4).double().requires_grad_(False), 0)
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    w = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)

    def loss(w):
        with adapted(fixed([pieces.shared(0, w)])):
            return layer(x).square().sum()

    assert torch.autograd.gradcheck(loss, (w,))


# ---- whole models --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_zero_weights_are_the_base_model_bit_for_bit(family, tiny_base, model_folder):
    from tiny import plain_model

    base = tiny_base(family)
    ids = random_ids(base, 3, 30)
    with torch.no_grad():
        plain = plain_model(model_folder(family))(input_ids=ids).logits
        assert torch.equal(base.model(input_ids=ids).logits, plain)  # wrapped, no adapter
        pieces, P = random_pieces(base), len(base.positions)
        zero = torch.zeros(3, P, SHARERS, dtype=torch.float64)
        with adapted(people(pieces, zero)):
            assert torch.equal(base.model(input_ids=ids).logits, plain)
        some = random_weights(base, 3)
        some[1] = 0  # a person without weights beside people with weights
        with adapted(people(pieces, some)):
            mixed = base.model(input_ids=ids).logits
        assert torch.equal(mixed[1], plain[1])
        assert not torch.allclose(mixed[0], plain[0], atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mixed_batch_is_every_person_alone_with_merged_weights(family, tiny_base, model_folder):
    """W + sum_s w_s scale B_s A_s merged into a model that our code never touched."""
    base = tiny_base(family)
    pieces, weights, ids = random_pieces(base), random_weights(base, 3), random_ids(base, 3, 30)
    with torch.no_grad(), adapted(people(pieces, weights)):
        batch = base.model(input_ids=ids).logits
    for row in range(3):
        model = merged_model(model_folder(family), base, pieces, weights[row])
        with torch.no_grad():
            alone = model(input_ids=ids[row : row + 1]).logits[0]
        torch.testing.assert_close(batch[row], alone, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_peft_merge_of_the_same_pieces_gives_the_same_logits(family, tiny_base, model_folder):
    """peft's own exact merge (combination_type="cat") of one adapter a sharer; weights differ by position and sharer.

    One weight a sharer goes to peft; what differs by position is scaled into that position's B.
    """
    from peft import LoraConfig, get_peft_model
    from tiny import ALPHA, RANK, plain_model

    base = tiny_base(family)
    pieces, ids = random_pieces(base), random_ids(base, 1, 30)
    whole = torch.tensor([0.7, 0.1, 1.3, 0.4, 0.9], dtype=torch.float64)
    by_position = random_weights(base, 1)[0]
    targets = [position.path for position in base.positions]
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, fan_in_fan_out=family == "gpt2")
    model = get_peft_model(plain_model(model_folder(family)), config, adapter_name="s0")
    for s in range(1, SHARERS):
        model.add_adapter(f"s{s}", config)
    model.double()
    for p, path in enumerate(targets):
        layer = model.base_model.model.get_submodule(path)
        for s in range(SHARERS):
            layer.lora_A[f"s{s}"].weight.data.copy_(pieces.A[p][s])
            layer.lora_B[f"s{s}"].weight.data.copy_(pieces.Bt[p][s].T * by_position[p, s])
    names = [f"s{s}" for s in range(SHARERS)]
    model.add_weighted_adapter(names, whole.tolist(), "mix", combination_type="cat")
    model.set_adapter("mix")
    model.double().eval()
    with torch.no_grad():
        merged = model(input_ids=ids).logits
        with adapted(people(pieces, (by_position * whole)[None])):
            ours = base.model(input_ids=ids).logits
        plain = base.model(input_ids=ids).logits
    torch.testing.assert_close(ours, merged, atol=1e-8, rtol=1e-8)
    assert not torch.allclose(ours, plain, atol=1e-2)


def test_an_adapter_leaves_nothing_behind(tiny_base):
    base = tiny_base("llama")
    ids = random_ids(base, 2, 12)
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    with torch.no_grad():
        plain = base.hidden(ids)
        base.hidden(ids, people(random_pieces(base), random_weights(base, 2)))
        assert torch.equal(base.hidden(ids), plain)

        def broken(position, x):
            if position == 3:
                raise RuntimeError("stop")

        with pytest.raises(RuntimeError, match="stop"):
            base.hidden(ids, broken)
        assert _ADAPTER.get() is None
        assert torch.equal(base.hidden(ids), plain)
    after = base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_bindings_nest_and_come_back():
    first, second = fixed([None]), fixed([None])
    with adapted(first):
        with adapted(second):
            assert _ADAPTER.get() is second
        assert _ADAPTER.get() is first
        with adapted(None):
            assert _ADAPTER.get() is None
    assert _ADAPTER.get() is None


def test_threads_with_different_adapters_at_once_get_their_own_results(tiny_base):
    """All threads are made to stand inside the same forward pass at every position before any goes on.

    Another person's weights would be a thousandth away or more; threads may sum in another order.
    """
    base = tiny_base("llama")
    ids, pieces = random_ids(base, 1, 9), random_pieces(base)
    adapters = [None, *(people(pieces, random_weights(base, 1, seed=seed)) for seed in range(3))]
    with torch.no_grad():
        expected = [base.hidden(ids, adapter) for adapter in adapters]
    assert not torch.allclose(expected[1], expected[2], atol=1e-3)
    barrier = threading.Barrier(len(adapters), timeout=30)
    found = [[] for _ in adapters]

    def waiting(adapter):
        def inner(position, x):
            barrier.wait()
            return None if adapter is None else adapter(position, x)

        return inner

    def work(number):
        for _ in range(5):
            with torch.no_grad():
                found[number].append(base.hidden(ids, waiting(adapters[number])))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(adapters))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own, right in zip(found, expected, strict=True):
        assert len(own) == 5
        for result in own:
            torch.testing.assert_close(result, right, rtol=0, atol=1e-9)


def test_a_thread_started_inside_a_binding_sees_the_plain_model():
    seen = []
    with adapted(fixed([None])):
        thread = threading.Thread(target=lambda: seen.append(_ADAPTER.get()))
        thread.start()
        thread.join()
    assert seen == [None]
