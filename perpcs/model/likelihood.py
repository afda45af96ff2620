"""How likely a text is: negative log-likelihood of targets, and probabilities of a task's labels."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, Updates, adapted, repeat_rows
from perpcs.model.text import Encoded, encode_prompt, pad_right, target_places


def target_nll(base: BaseModel, batch: Sequence[Encoded], adapter: Adapter | None = None) -> tuple[Tensor, Tensor]:
    """Summed negative log-likelihood (nats) and number of target tokens of each row: two float tensors (b,).

    Differentiable with respect to whatever the adapter holds.
    """
    ids = pad_right([item.ids for item in batch], base.pad, base.device)
    rows, columns = target_places(batch, base.device)
    logits = base.logits(ids, (rows, columns), adapter)
    losses = F.cross_entropy(
        logits.float() if logits.dtype != torch.float64 else logits, ids[rows, columns + 1], reduction="none"
    )
    total = torch.zeros(len(batch), dtype=losses.dtype, device=base.device).index_add(0, rows, losses)
    counts = torch.tensor([item.end - item.start for item in batch], dtype=losses.dtype, device=base.device)
    return total, counts


def label_log_probs(
    base: BaseModel, prompts: Sequence[str], labels: Sequence[str], updates: Sequence[Updates] | None = None
) -> Tensor:
    """Log-probability of each label as the whole answer, normalised over the labels: (b, labels).

    Args:
        updates: what each position adds for the rows of the batch, or None for the base model.
    """
    return torch.log_softmax(label_likelihoods(base, prompts, labels, updates), dim=1)


def label_tokens(base: BaseModel, labels: Sequence[str]) -> list[list[int]]:
    """Ids of each label as a whole answer, the end of the text included."""
    eos = [base.eos] if base.eos is not None else []
    return [[*_continuation(base, label), *eos] for label in labels]


@torch.no_grad()
def label_likelihoods(
    base: BaseModel, prompts: Sequence[str], labels: Sequence[str], updates: Sequence[Updates] | None = None
) -> Tensor:
    """Log-likelihood of each label as the whole answer, nats: (b, labels).

    The prompt is read once; its cache is then repeated for every label, so 15 labels cost little more than one.

    Args:
        updates: as in ``label_log_probs``.
    """
    answers = label_tokens(base, labels)
    longest = max(len(answer) for answer in answers)
    rows = [encode_prompt(base.tokenizer, prompt, base.max_tokens, longest) for prompt in prompts]
    ids, mask = pad_left(rows, base)
    times = len(labels)
    with adapted(None if updates is None else lambda p, x: updates[p]):
        first = base.model(
            input_ids=ids, attention_mask=mask, position_ids=positions_of(mask), use_cache=True, logits_to_keep=1
        )
    cache = first.past_key_values
    cache.batch_repeat_interleave(times)
    answer_ids = pad_right(answers, base.pad, base.device)
    real = torch.tensor([[1] * len(a) + [0] * (longest - len(a)) for a in answers], device=base.device)
    answer_ids, real = answer_ids.repeat(len(rows), 1), real.repeat(len(rows), 1)
    log_probs = torch.log_softmax(first.logits[:, -1:].repeat_interleave(times, 0).double(), -1)
    if longest > 1:
        full = torch.cat([mask.repeat_interleave(times, 0), real[:, :-1]], dim=1)
        repeated = None if updates is None else [repeat_rows(some, times) for some in updates]
        with adapted(None if repeated is None else lambda p, x: repeated[p]):
            rest = base.model(
                input_ids=answer_ids[:, :-1],
                attention_mask=full,
                position_ids=positions_of(full)[:, -(longest - 1) :],
                past_key_values=cache,
                use_cache=True,
            ).logits
        log_probs = torch.cat([log_probs, torch.log_softmax(rest.double(), -1)], dim=1)
    chosen = log_probs.gather(2, answer_ids[:, :, None])[:, :, 0] * real
    return chosen.sum(1).view(len(rows), times)


def _continuation(base: BaseModel, label: str) -> list[int]:
    """Ids of a label as it follows a prompt, found as in training: from the tokens of the joint text."""
    stem = ":"
    coded = base.tokenizer(f"{stem} {label}", return_offsets_mapping=True, add_special_tokens=False)
    return [id for id, span in zip(coded["input_ids"], coded["offset_mapping"], strict=True) if span[1] > len(stem)]


def pad_left(rows: Sequence[Sequence[int]], base: BaseModel) -> tuple[Tensor, Tensor]:
    """Rows of ids (b, t) padded before their beginning, and the mask of real tokens: how decoding wants them."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[*([base.pad] * (longest - len(row))), *row] for row in rows], device=base.device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=base.device)
    return ids, mask


def positions_of(mask: Tensor) -> Tensor:
    """Position ids that count real tokens only: (b, t)."""
    return (mask.cumsum(1) - 1).clamp(min=0)
