"""Attention that can be asked what it saw, and that can be given a text read before.

transformers calls an attention function by its name. The one here computes what torch's does, in float32 or more, and

    last_attention()    queries and keys of the latest call of this thread: prefixes need the share of the softmax
    keeping(kept)       within the block, keys and values of every layer are kept: a text, read
    given(text)         within the block, every layer reads a kept text before the tokens of the call

Nothing is set on a model but the function's name (``watch_attention``).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NAME = "float32_on_cpu"
"""What transformers knows the function by."""


@dataclass(frozen=True)
class Seen:
    """One call of attention: heads h, t queries, T keys of k heads."""

    q: Tensor
    """(b, h, t, size), positions applied."""
    k: Tensor
    """(b, k, T, size)."""
    mask: Tensor | None
    """(b or 1, 1, t, T): what is added to scores, or True where a key is read; None = causal."""
    scale: float

    def log_total(self) -> Tensor:
        """Log of the softmax's denominator, (b, h, t)."""
        wide = torch.promote_types(self.q.dtype, torch.float32)
        b, h, t, size = self.q.shape
        q = self.q.to(wide).reshape(b, self.k.shape[1], -1, size)  # the queries that share a key's head lie together
        scores = (q @ self.k.to(wide).mT * self.scale).view(b, h, t, -1)
        mask = self.mask
        if mask is None:
            columns = scores.shape[-1]
            mask = torch.ones(t, columns, dtype=torch.bool, device=q.device).tril(columns - t)
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask.to(wide)
        return scores.logsumexp(-1)


@dataclass(frozen=True)
class Text:
    """Texts that were read before, one a row, padded to T tokens."""

    layers: Mapping[int, tuple[Tensor, Tensor]]
    """Keys and values (b, k, T, size) by layer."""
    mask: Tensor
    """(b, 1, t, T + t): what each token of the call reads, True or False."""


_LAST: ContextVar[Seen | None] = ContextVar("perpcs_last_attention", default=None)
_KEPT: ContextVar[dict[int, tuple[Tensor, Tensor]] | None] = ContextVar("perpcs_kept_text", default=None)
_GIVEN: ContextVar[Text | None] = ContextVar("perpcs_given_text", default=None)


def last_attention() -> Seen:
    """The latest call of attention in this thread.

    Raises:
        RuntimeError: when the model's attention is not watched.
    """
    seen = _LAST.get()
    if seen is None:
        raise RuntimeError("The model's attention is not watched; call watch_attention.")
    return seen


@contextmanager
def keeping(kept: dict[int, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Within the block, every layer's keys and values are put into ``kept``."""
    token = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(token)


@contextmanager
def given(text: Text | None) -> Iterator[None]:
    """Within the block, the tokens of a call stand after a text that was read before."""
    token = _GIVEN.set(text)
    try:
        yield
    finally:
        _GIVEN.reset(token)


def watch_attention(model: Any) -> None:
    """Let a Hugging Face model compute attention here.

    In float32 whatever it is given: torch's backward pass of attention on a CPU takes up to three times as long in
    bfloat16. The results are as near or nearer.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def _attention(module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, **options: Any) -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    wide = torch.promote_types(q.dtype, torch.float32)
    kept, text = _KEPT.get(), _GIVEN.get()
    if kept is not None:
        kept[module.layer_idx] = (k, v)
    if text is not None and module.layer_idx in text.layers:
        before = text.layers[module.layer_idx]
        k, v = (torch.cat([old.to(new.dtype), new], dim=2) for old, new in zip(before, (k, v), strict=True))
        mask = text.mask
    scale = options.get("scaling")
    _LAST.set(Seen(q, k, mask, q.shape[-1] ** -0.5 if scale is None else float(scale)))
    out, weights = sdpa_attention_forward(module, q.to(wide), k.to(wide), v.to(wide), mask, **options)
    return out.to(v.dtype), weights
