"""Where training rounds: not in attention on a CPU, and nowhere that a result would show it."""

import pytest
import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from perpcs.model.muon import Muon
from perpcs.model.rounding import attend_whole


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    )


def test_whole_attention_is_the_same_attention(model):
    ids = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        before = model(ids).logits
        attend_whole(model)
        torch.testing.assert_close(model(ids).logits, before)


@pytest.mark.parametrize("whole", [True, False])
def test_attention_is_not_rounded_where_products_are(model, whole, monkeypatch):
    if whole:
        attend_whole(model)
    seen = []
    real = F.scaled_dot_product_attention

    def spied(q, k, v, **options):
        out = real(q, k, v, **options)
        seen.append(out.dtype)
        return out

    monkeypatch.setattr(F, "scaled_dot_product_attention", spied)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(torch.arange(24).reshape(2, 12)).logits
    logits.float().sum().backward()
    assert seen == [torch.float32 if whole else torch.bfloat16] * 2
    assert logits.dtype == torch.bfloat16
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_saved_model_does_not_say_how_it_was_trained(model, tmp_path):
    attend_whole(model)
    model.save_pretrained(tmp_path)
    assert "float32_on_cpu" not in (tmp_path / "config.json").read_text()
    again = LlamaForCausalLM.from_pretrained(tmp_path)
    assert again.config._attn_implementation == "sdpa"


def test_rounded_muon_goes_the_same_way():
    torch.manual_seed(0)
    start, gradient = torch.randn(2, 12, 20), torch.randn(2, 12, 20)
    moved = []
    for rounded in (False, True):
        matrices = [torch.nn.Parameter(one.clone()) for one in start]
        optimiser = Muon(matrices, lr=0.02, rounded=rounded)
        for matrix, own in zip(matrices, gradient, strict=True):
            matrix.grad = own.clone()
        optimiser.step()
        assert all(matrix.dtype == torch.float32 for matrix in matrices)
        moved.append(torch.stack([matrix.detach() for matrix in matrices]) - start)
    assert not torch.equal(*moved)
    assert (moved[0] - moved[1]).norm() / moved[0].norm() < 0.06
