"""Batched decoding: rows of any people and any prompts, one snapshot a token, seeded, stoppable at every token.

A small model sometimes repeats its last words until the end, or forms a non-word from its tokens. Two rules prevent
both, the same for every row: no run of a few tokens is written twice, and a row may have a check of its words. When a
word that the check refuses is complete, the row goes back to the token of it that was the least certain and writes the
next likely token there. What the prompt says may be repeated.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, adapted
from perpcs.model.likelihood import pad_left, positions_of

WordCheck = Callable[[str], bool]
"""Whether the last word of a text, which is complete, must not be written."""
_RETRIES = 16
"""How often a row may go back; after that its words stay."""


def decode(
    base: BaseModel,
    prompts: Sequence[Sequence[int]],
    adapter: Adapter | None = None,
    *,
    max_new_tokens: int | Sequence[int],
    temperature: float = 0.0,
    seed: int | Sequence[int] = 0,
    no_repeat: int = 4,
    one_line: bool = False,
    checks: Sequence[WordCheck | None] = (),
) -> Iterator[list[list[int]]]:
    """Yield the new token ids of every row after each step, end-of-text excluded.

    Every row draws from its own generator, so a row's answer does not depend on its neighbours. A snapshot that equals
    the one before it has ended. Close the iterator to stop.

    Args:
        prompts: token ids of each row's prompt.
        max_new_tokens: of every row, or of each.
        temperature: 0 = greedy.
        seed: of every row, or of each.
        no_repeat: a token that would complete so many new tokens that the row has written before, in that order, is
            not chosen; 0 = any token may be.
        one_line: end a row at the line break that would follow its text: answers have one line, and what comes after
            it would be the headings of a prompt.
        checks: of each row, which words it may not write; () = any.
    """
    ids, mask = pad_left(prompts, base)
    rooms = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    seeds = [seed] * len(prompts) if isinstance(seed, int) else seed
    rows = [
        _Row(room, torch.Generator(device="cpu").manual_seed(one), check, open=room > 0)
        for room, one, check in zip(rooms, seeds, checks or [None] * len(prompts), strict=True)
    ]
    lengths = mask.sum(dim=1)
    cache = None
    step_ids, position_ids = ids, positions_of(mask)
    while any(row.open for row in rows):
        with torch.no_grad(), adapted(adapter):  # closed before each yield: a generator must not hold a context open
            out = base.model(
                input_ids=step_ids,
                attention_mask=mask,
                position_ids=position_ids,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        cache = out.past_key_values
        logits = out.logits[:, -1]
        for row, row_logits in zip(rows, logits, strict=True):
            if no_repeat and row.open:
                row_logits[row.followed(no_repeat)] = -torch.inf
        chosen = _choose(logits, temperature, [row.generator for row in rows])
        for number, row in enumerate(rows):
            if row.open:
                token, dropped = row.take(base, int(chosen[number]), logits[number], mask.shape[1], temperature)
                chosen[number] = token
                mask[number, dropped] = 0
                row.open = token not in base.ends and not (one_line and _ends_line(base, row.answer, token))
                if row.open:
                    row.answer.append(token)
                    row.open = len(row.answer) < row.room
        yield [list(row.answer) for row in rows]
        step_ids = chosen[:, None]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        written = torch.tensor([max(len(row.answer), 1) for row in rows], device=base.device)
        position_ids = (lengths + written - 1)[:, None]


@dataclass
class _Row:
    """What one row has written."""

    room: int
    generator: torch.Generator
    check: WordCheck | None
    open: bool
    answer: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    """Where each token of the answer stands in the cache."""
    word: list[Tensor] = field(default_factory=list)
    """Logits from which the tokens of the last word were chosen; only with a check."""
    retries: int = 0

    def followed(self, no_repeat: int) -> list[int]:
        """Tokens that would complete a run of ``no_repeat`` that is there already."""
        ahead = no_repeat - 1
        last = self.answer[len(self.answer) - ahead :]
        if len(last) < ahead:
            return []
        runs = range(len(self.answer) - ahead)
        return [self.answer[at + ahead] for at in runs if self.answer[at : at + ahead] == last]

    def take(
        self, base: BaseModel, token: int, logits: Tensor, column: int, temperature: float
    ) -> tuple[int, list[int]]:
        """The token that is written next, and the columns of the cache that are void because the row went back.

        Args:
            column: where the next token will stand in the cache.
        """
        dropped: list[int] = []
        while self.check is not None:
            begins = _begins_word(base, token)
            refused = begins and self.word and self.retries < _RETRIES and self.check(text_of(base, self.answer))
            if not refused:
                self.word = [*([] if begins else self.word), logits.clone()]
                break
            self.retries += 1
            start = len(self.answer) - len(self.word)
            doubt = [_doubt(row, self.answer[start + at]) for at, row in enumerate(self.word)]
            at = max(range(len(doubt)), key=doubt.__getitem__)
            logits, self.word = self.word[at], self.word[:at]
            logits[self.answer[start + at]] = -torch.inf
            dropped += self.columns[start + at :]
            self.answer, self.columns = self.answer[: start + at], self.columns[: start + at]
            token = int(_choose(logits[None], temperature, [self.generator]))
        self.columns.append(column)
        return token, dropped


def _doubt(logits: Tensor, token: int) -> float:
    """How close the most likely other token comes to the one that was chosen, in nats; larger = nearer."""
    best = logits.topk(2)
    other = best.values[1] if int(best.indices[0]) == token else best.values[0]
    return float(other - logits[token])


def _begins_word(base: BaseModel, token: int) -> bool:
    """Whether a token ends the word before it: it starts with a space or a mark, or ends the text."""
    if token in base.ends:
        return True
    piece = base.tokenizer.convert_ids_to_tokens(token)
    return not piece or piece[0] in "Ġ▁Ċ" or not (piece[0].isalnum() or piece[0] in "'’-")


def _ends_line(base: BaseModel, answer: Sequence[int], token: int) -> bool:
    """Whether a token breaks the line behind some text."""
    return "\n" in base.tokenizer.decode([token]) and bool(text_of(base, answer))


def _choose(logits: Tensor, temperature: float, generators: Sequence[torch.Generator]) -> Tensor:
    if temperature <= 0:
        return logits.argmax(dim=-1)
    shares = torch.softmax(logits.cpu().double() / temperature, dim=-1)  # doubles: rounding picks no token
    drawn = [torch.multinomial(row, 1, generator=generator) for row, generator in zip(shares, generators, strict=True)]
    return torch.cat(drawn).to(logits.device)


def text_of(base: BaseModel, ids: Sequence[int]) -> str:
    """The text of new token ids alone: nothing of the prompt can leak into it."""
    return base.tokenizer.decode(ids, skip_special_tokens=True).strip()
