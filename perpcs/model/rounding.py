"""Where training a base model rounds to bfloat16: in products, where hardware has them, but for attention on a CPU."""

from typing import Any

import torch

_WHOLE = "float32_on_cpu"


def rounds_fast(device: str) -> bool:
    """Whether the hardware has bfloat16 products; without them they are a hundred times slower than float32."""
    known = torch.cpu.get_capabilities() if device == "cpu" else {}
    return device != "cpu" or bool(known.get("avx512_bf16") or known.get("amx_bf16") or known.get("bf16"))


def attend_whole(model: Any) -> None:
    """Let a Hugging Face model's attention compute in float32 whatever it is given, in place.

    torch's backward pass of attention on a CPU takes up to three times as long in bfloat16, and was the largest part of
    a step. The results are as near or nearer.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(_WHOLE, _attention)
    AttentionMaskInterface.register(_WHOLE, sdpa_mask)
    model.set_attn_implementation(_WHOLE)


def _attention(module: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any, **options: Any) -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    with torch.autocast(q.device.type, enabled=False):
        out, weights = sdpa_attention_forward(module, q.float(), k.float(), v.float(), mask, **options)
    return out.to(v.dtype), weights
