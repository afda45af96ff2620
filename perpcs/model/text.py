"""From prompts and answers to token ids, with the range of the target tokens kept.

For a pair (x, y) the model reads x y; the input positions |x|..|x|+|y|-1 (counted from 1) are where it predicts the
tokens of y, so those are the target positions of gates, prototypes and losses alike. The end-of-text token counts as
the last token of y. Free text has an empty x: every token is a target.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


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


def pad_right(rows: Sequence[Sequence[int]], pad: int, device: torch.device | str) -> Tensor:
    """Rows of ids as one tensor (b, t), padded after their end."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *([pad] * (longest - len(row)))] for row in rows], device=device)


def target_places(batch: Sequence[Encoded], device: torch.device | str) -> tuple[Tensor, Tensor]:
    """(rows, columns) of every target position of a batch, row by row: two tensors of length m."""
    rows = [row for row, item in enumerate(batch) for _ in range(item.start, item.end)]
    columns = [column for item in batch for column in range(item.start, item.end)]
    return torch.tensor(rows, device=device), torch.tensor(columns, device=device)


def target_mask(batch: Sequence[Encoded], length: int, device: torch.device | str) -> Tensor:
    """1 at target positions, 0 elsewhere: float (b, t)."""
    at = torch.arange(length, device=device)
    start = torch.tensor([item.start for item in batch], device=device)[:, None]
    end = torch.tensor([item.end for item in batch], device=device)[:, None]
    return ((at >= start) & (at < end)).float()


def length_batches(lengths: Sequence[int], max_tokens: int, max_rows: int = 64) -> list[list[int]]:
    """Indices grouped so that texts of like length share a batch of at most ``max_tokens`` padded tokens."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        current = batches[-1] if batches else None
        if current and len(current) < max_rows and (len(current) + 1) * lengths[index] <= max_tokens:
            current.append(index)
        else:
            batches.append([index])
    return batches
