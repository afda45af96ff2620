"""Batched decoding: rows of any people and any prompts, one snapshot a token, seeded, stoppable at every token.

No row writes the same few tokens twice, so that an answer cannot run in a circle: a small model that has lost the
thread would else repeat its last words up to the end. What the prompt says may be repeated.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, adapted
from perpcs.model.likelihood import pad_left, positions_of


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
) -> Iterator[list[list[int]]]:
    """Yield the new token ids of every row after each step, end-of-text excluded.

    Every row draws from its own generator, so a row's answer does not depend on its neighbours. Close the iterator to
    stop.

    Args:
        prompts: token ids of each row's prompt.
        max_new_tokens: of every row, or of each.
        temperature: 0 = greedy.
        seed: of every row, or of each.
        no_repeat: a token that would complete so many new tokens that the row has written before, in that order, is
            not chosen; 0 = any token may be.
        one_line: end a row at the line break that would follow its text: answers have one line, and what comes after
            it would be the headings of a prompt.
    """
    ids, mask = pad_left(prompts, base)
    rooms = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    seeds = [seed] * len(prompts) if isinstance(seed, int) else seed
    generators = [torch.Generator(device="cpu").manual_seed(one) for one in seeds]
    answers: list[list[int]] = [[] for _ in prompts]
    written: list[dict[tuple[int, ...], list[int]]] = [{} for _ in prompts]  # of each row: what followed what
    open_rows = [room > 0 for room in rooms]
    cache = None
    step_ids, position_ids = ids, positions_of(mask)
    for _ in range(max(rooms, default=0)):
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
        for row, answer in enumerate(answers):
            if no_repeat and open_rows[row]:
                logits[row, written[row].get(_last(answer, no_repeat), [])] = -torch.inf
        chosen = _choose(logits, temperature, generators)
        for row, token in enumerate(chosen.tolist()):
            if open_rows[row]:
                open_rows[row] = token not in base.ends and not (one_line and _ends_line(base, answers[row], token))
                if open_rows[row]:
                    written[row].setdefault(_last(answers[row], no_repeat), []).append(token)
                    answers[row].append(token)
                    open_rows[row] = len(answers[row]) < rooms[row]
        yield [list(answer) for answer in answers]
        if not any(open_rows):
            return
        step_ids = chosen[:, None]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        position_ids = position_ids[:, -1:] + 1


def _ends_line(base: BaseModel, answer: Sequence[int], token: int) -> bool:
    """Whether a token breaks the line behind some text."""
    return "\n" in base.tokenizer.decode([token]) and bool(text_of(base, answer))


def _last(answer: Sequence[int], no_repeat: int) -> tuple[int, ...]:
    """The new tokens before the next one that make a run of ``no_repeat`` with it."""
    return tuple(answer[max(len(answer) - no_repeat + 1, 0) :])


def _choose(logits: Tensor, temperature: float, generators: Sequence[torch.Generator]) -> Tensor:
    if temperature <= 0:
        return logits.argmax(dim=-1)
    shares = torch.softmax(logits.cpu().double() / temperature, dim=-1)  # doubles: rounding picks no token
    drawn = [torch.multinomial(row, 1, generator=generator) for row, generator in zip(shares, generators, strict=True)]
    return torch.cat(drawn).to(logits.device)


def text_of(base: BaseModel, ids: Sequence[int]) -> str:
    """The text of new token ids alone: nothing of the prompt can leak into it."""
    return base.tokenizer.decode(ids, skip_special_tokens=True).strip()
