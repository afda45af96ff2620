"""How likely a text is (negative log-likelihood of targets, probabilities of a task's labels), and what a batch of
texts says of pieces: how much each would help each item, and what the layers read meanwhile.

    gains        g_ips = - d loss_i / d w_ps at w = 0     one forward and one backward pass give it for every piece
    inputs       v_ip  = mean over the target tokens of item i of what position p reads

Both are of the base model. No gradient of any weight matrix is computed, and the pieces of all sharers lie on one
basis, so the first costs little more than a forward and a backward pass of the base model, the second only a forward
one.

From prompts and answers to token ids, with the range of the target tokens kept.

For a pair (x, y) the model reads x y; the input positions |x|..|x|+|y|-1 (counted from 1) are where it predicts the
tokens of y, so those are the target positions of gates, prototypes and losses alike. The end-of-text token counts as
the last token of y. Free text has an empty x: every token is a target.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, Pieces, Updates, adapted, repeat_rows, take_rows

# ---- token ids -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoded:
    """Token ids of one pair. Input positions ``start``..``end`` (Python slice) predict the target tokens."""

    ids: tuple[int, ...]
    start: int
    end: int
    cut: bool = False
    """Whether the beginning was cut to fit the model."""

    @property
    def targets(self) -> tuple[int, ...]:
        return self.ids[self.start + 1 : self.end + 1]


def encode_pair(tokenizer: Any, prompt: str, target: str, max_tokens: int) -> Encoded:
    """Encode prompt + target as one text and find where the target begins.

    A text longer than ``max_tokens`` loses the beginning of its prompt; a target that alone is too long loses its end.
    """
    eos = tokenizer.eos_token_id
    ids, spans = open_ended(tokenizer, prompt + target)
    x = next((i for i, (begin, end) in enumerate(spans) if end > len(prompt) and end > begin), len(ids))
    head, tail = ids[:x], ids[x:] + ([eos] if eos is not None else [])
    cut = len(head) + len(tail) > max_tokens
    if cut:
        tail = tail[: max_tokens - min(len(head), 1)]
        room = max_tokens - len(tail)
        head = head[:1] + head[len(head) - room + 1 :] if room > 1 else head[-1:]  # the first token may be BOS: keep it
    ids = head + tail
    start = max(len(head) - 1, 0)
    return Encoded(tuple(ids), start, max(len(ids) - 1, start), cut)


def encode_prompt(tokenizer: Any, prompt: str, max_tokens: int, room: int) -> list[int]:
    """Token ids of a prompt, cut at its beginning so that ``room`` new tokens still fit."""
    ids, _ = open_ended(tokenizer, prompt)
    keep = max(max_tokens - room, 2)
    return ids if len(ids) <= keep else ids[:1] + ids[len(ids) - keep + 1 :]


def open_ended(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of a text that goes on, and the (begin, end) of each in the text.

    What the tokenizer puts in front stays (a BOS, a [CLS]); what it puts behind goes (an end of text, a [SEP]).
    """
    coded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    added = coded["special_tokens_mask"]
    if all(added):  # an empty text: what is in front of another one
        front = tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"].index(0)
        return list(coded["input_ids"][:front]), list(coded["offset_mapping"][:front])
    end = max(i for i, is_added in enumerate(added) if not is_added) + 1
    return list(coded["input_ids"][:end]), list(coded["offset_mapping"][:end])


def pad_right(rows: Sequence[Sequence[int]], pad: int, device: torch.device | str) -> Annotated[Tensor, "b t"]:
    """Rows of ids as one tensor (b, t), padded after their end."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *([pad] * (longest - len(row)))] for row in rows], device=device)


def target_places(
    batch: Sequence[Encoded], device: torch.device | str
) -> tuple[Annotated[Tensor, "m"], Annotated[Tensor, "m"]]:
    """(rows, columns) of every target position of a batch, row by row: two tensors of length m."""
    rows = [row for row, item in enumerate(batch) for _ in range(item.start, item.end)]
    columns = [column for item in batch for column in range(item.start, item.end)]
    return torch.tensor(rows, device=device), torch.tensor(columns, device=device)


def target_mask(batch: Sequence[Encoded], length: int, device: torch.device | str) -> Annotated[Tensor, "b t"]:
    """1 at target positions, 0 elsewhere: float (b, t)."""
    at = torch.arange(length, device=device)
    start = torch.tensor([item.start for item in batch], device=device)[:, None]
    end = torch.tensor([item.end for item in batch], device=device)[:, None]
    return ((at >= start) & (at < end)).float()


def length_batches(lengths: Sequence[int], max_tokens: int, max_rows: int = 64) -> list[list[int]]:
    """Indices grouped so that texts of similar length share a batch of at most ``max_tokens`` padded tokens."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        current = batches[-1] if batches else None
        if current and len(current) < max_rows and (len(current) + 1) * lengths[index] <= max_tokens:
            current.append(index)
        else:
            batches.append([index])
    return batches


# ---- likelihood ------------------------------------------------------------------------------------------------------


def target_nll(
    base: BaseModel, batch: Sequence[Encoded], adapter: Adapter | None = None
) -> tuple[Annotated[Tensor, "b"], Annotated[Tensor, "b"]]:
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
) -> Annotated[Tensor, "b labels"]:
    """Log-probability of each label as the whole answer, normalised over the labels: (b, labels).

    Args:
        updates: what each position adds for the rows of the batch, or None for the base model.
    """
    return torch.log_softmax(label_likelihoods(base, prompts, labels, updates), dim=1)


def label_tokens(base: BaseModel, labels: Sequence[str]) -> list[list[int]]:
    """Ids of each label as a whole answer, the end of the text included."""
    eos = [base.eos] if base.eos is not None else []
    return [[*_continuation(base, label), *eos] for label in labels]


_MOST_REPEATED = 16_384


@torch.no_grad()
def label_likelihoods(
    base: BaseModel, prompts: Sequence[str], labels: Sequence[str], updates: Sequence[Updates] | None = None
) -> Annotated[Tensor, "b labels"]:
    """Log-likelihood of each label as the whole answer, nats: (b, labels).

    The prompt is read once; its cache is then repeated for every label, so 15 labels cost little more than one. So many
    rows are scored at once as hold ``_MOST_REPEATED`` tokens then: the memory does not grow with the batch.

    Args:
        updates: as in ``label_log_probs``.
    """
    answers = label_tokens(base, labels)
    longest = max(len(answer) for answer in answers)
    rows = [encode_prompt(base.tokenizer, prompt, base.max_tokens, longest) for prompt in prompts]
    size = max(1, _MOST_REPEATED // (len(labels) * (max(map(len, rows)) + longest)))
    found = []
    for at in range(0, len(rows), size):
        part = slice(at, at + size)
        some = None if updates is None else [take_rows(of_one, part) for of_one in updates]
        found.append(_likelihoods(base, rows[part], answers, some))
    return torch.cat(found)


def _likelihoods(
    base: BaseModel, rows: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], updates: Sequence[Updates] | None
) -> Annotated[Tensor, "b labels"]:
    ids, mask = pad_left(rows, base)
    times, longest = len(answers), max(len(answer) for answer in answers)
    with adapted(None if updates is None else lambda p, x: updates[p]):
        prompt_out = base.model(
            input_ids=ids, attention_mask=mask, position_ids=positions_of(mask), use_cache=True, logits_to_keep=1
        )
    cache = prompt_out.past_key_values
    cache.batch_repeat_interleave(times)
    answer_ids = pad_right(answers, base.pad, base.device)
    real = torch.tensor([[1] * len(a) + [0] * (longest - len(a)) for a in answers], device=base.device)
    answer_ids, real = answer_ids.repeat(len(rows), 1), real.repeat(len(rows), 1)
    log_probs = torch.log_softmax(prompt_out.logits[:, -1:].double(), -1).repeat_interleave(times, 0)
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


def pad_left(
    rows: Sequence[Sequence[int]], base: BaseModel
) -> tuple[Annotated[Tensor, "b t"], Annotated[Tensor, "b t"]]:
    """Rows of ids (b, t) padded before their beginning, and the mask of real tokens: how decoding wants them."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[*([base.pad] * (longest - len(row))), *row] for row in rows], device=base.device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=base.device)
    return ids, mask


def positions_of(mask: Annotated[Tensor, "b t"]) -> Annotated[Tensor, "b t"]:
    """Position ids that count real tokens only: (b, t)."""
    return (mask.cumsum(1) - 1).clamp(min=0)


# ---- gains -----------------------------------------------------------------------------------------------------------


def on_one_basis(pieces: Pieces, w: Annotated[Tensor, "b P S"]) -> Adapter:
    """The adapter of rows with weights w (b, P, S) through which gradients flow to w; b = 1 serves every row."""
    return lambda p, x: pieces.whole(p, w[:, p])


def batches_of_gains(
    base: BaseModel,
    pieces: Pieces,
    encoded: Sequence[Encoded],
    start: np.ndarray | None = None,
    *,
    batch_tokens: int = 8192,
) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """How much each item's loss (nats per target token) falls with the weight of each piece, and that loss, batch by
    batch.

    Args:
        start: the weights (P, S) at which both are measured; None = 0, the base model.
        batch_tokens: padded tokens of one pass; it changes speed and memory, never the result.

    Yields:
        Numbers of the items of a batch, their gains (items, P, S), larger = helps more, and their losses (items,).
    """
    P, S = len(base.positions), pieces.sharers
    kind = torch.promote_types(base.dtype, torch.float32)
    for rows in length_batches([len(item.ids) for item in encoded], batch_tokens):
        with torch.enable_grad():  # closed before the yield: a generator must not hold a mode open
            at = torch.zeros(P, S) if start is None else torch.from_numpy(start)
            w = at.to(base.device, kind).repeat(len(rows), 1, 1).requires_grad_()
            nll, counts = target_nll(base, [encoded[row] for row in rows], on_one_basis(pieces, w))
            mean = nll / counts.clamp(min=1)
            (gradient,) = torch.autograd.grad(mean.sum(), w)
        yield rows, (-gradient).cpu().numpy(), mean.detach().cpu().numpy()


def item_gains(
    base: BaseModel,
    pieces: Pieces,
    encoded: Sequence[Encoded],
    *,
    batch_tokens: int = 8192,
    on_batch: Callable[[int], None] | None = None,
) -> Annotated[np.ndarray, "N P S"]:
    """The gains of ``batches_of_gains``: (N, P, S).

    Args:
        on_batch: called with the number of the finished batch.
    """
    out = no_gains(base, len(encoded), pieces.sharers)
    for number, (rows, gains, _) in enumerate(batches_of_gains(base, pieces, encoded, batch_tokens=batch_tokens)):
        out[rows] = gains
        if on_batch:
            on_batch(number)
    return out


def no_gains(base: BaseModel, items: int, sharers: int) -> Annotated[np.ndarray, "N P S"]:
    """Zeros (N, P, S), in float64 where the model is."""
    kind = np.float64 if base.dtype == torch.float64 else np.float32
    return np.zeros((items, len(base.positions), sharers), dtype=kind)


@torch.no_grad()
def target_inputs(base: BaseModel, encoded: Sequence[Encoded], *, batch_tokens: int = 8192) -> list[Tensor]:
    """The mean over an item's target tokens of what every position reads in the base model: per position (N, n), on
    the CPU in float32 or more.
    """
    kind = torch.promote_types(base.dtype, torch.float32)
    means = [torch.zeros(len(encoded), position.n, dtype=kind) for position in base.positions]
    for rows in length_batches([len(item.ids) for item in encoded], batch_tokens):
        part = [encoded[row] for row in rows]
        ids = pad_right([item.ids for item in part], base.pad, base.device)
        mask = target_mask(part, ids.shape[1], base.device).to(kind)
        share = mask / mask.sum(1, keepdim=True).clamp(min=1)

        def take(p: int, x: Tensor, share: Tensor = share, rows: list[int] = rows) -> None:
            means[p][rows] = torch.einsum("bt,btn->bn", share, x.to(kind)).cpu()

        base.hidden(ids, take)
    return means
