"""Texts read once, and label probabilities for many people in one batch.

    [ what is asked, the text ]  [ question, "Answer:" ]  -->  probabilities of the labels' words
      read once, for everybody     read by each person

A person's module stands in the layers from a first one on and acts on the tokens after the text, so keys and values of
the text are the same for everybody: they are computed once, kept, and read by every module (perpcs/model/basis.py).
Below the first layer all tokens are the same for everybody and are kept too. With ``whole`` a module acts on every
token of the prompt, as peft's do; it costs ten times as much.

A soft prompt enters between text and question, at the first layer (late prompt tuning, arXiv 2210.11292; at layer 0 it
is prompt tuning itself). A head reads the last hidden states of the question. Everything else is an adapter.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from perpcs.errors import PerpcsError
from perpcs.files import hash_bytes
from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, Text, adapted, given, keeping, watch_attention
from perpcs.model.likelihood import length_batches, open_ended, pad_right
from perpcs.peftu.tasks import PeftTask

TEXT_TOKENS = 128
"""The newest tokens of a text that are read."""
PASS_TOKENS = 4096


@dataclass(frozen=True)
class Rows:
    """What the b rows of a batch carry beside the base model. Nothing = the base model."""

    adapter: Adapter | None = None
    soft: Tensor | None = None
    """Tokens read before the question, (b, m, width)."""
    head: Callable[[Tensor, Tensor], Tensor] | None = None
    """(last hidden states of the question (b, t, width), its lengths (b,)) -> label logits (b, labels)."""


BASE = Rows()


@dataclass(frozen=True)
class Prompted:
    """One prompt as it is kept: T tokens read by the base model alone, and t that a person's module reads."""

    text: dict[int, tuple[Tensor, Tensor]]
    """Keys and values of the T tokens, (k, T, size), by layer."""
    length: int
    """T."""
    hidden: Tensor
    """The t tokens as they enter the first layer, (t, width)."""
    final: Tensor
    """The t tokens' last hidden states by the base model, (t, width)."""


class Scorer:
    """A base model that scores a task's labels.

    Args:
        base: loaded with ``modules=("all",)``; wrapped positions below ``first_layer`` may exist and are never used.
        whole: modules act on the whole prompt and not only on what follows the text.

    Raises:
        PerpcsError: when the labels' words begin with the same token, or the model's layers cannot be run alone.
    """

    def __init__(
        self, base: BaseModel, task: PeftTask, first_layer: int, *, whole: bool = False, text_tokens: int = TEXT_TOKENS
    ) -> None:
        self.base, self.task, self.first_layer, self.whole = base, task, first_layer, whole
        self.text_tokens = text_tokens
        watch_attention(base.model)
        self.lower, self.upper = _halves(base, first_layer)
        ids = [_first_token(base, word) for word in task.words.values()]
        if len(set(ids)) < len(ids):
            raise PerpcsError(
                f"Two labels of {task.title} begin with the same token of this base model.",
                "Give them other words in perpcs/peftu/tasks.py.",
            )
        self.words = base.model.get_output_embeddings().weight[ids].detach().float()
        self._front = open_ended(base.tokenizer, task.before())[0]
        self._end = base.tokenizer(task.after(), add_special_tokens=False)["input_ids"]
        self._kept: dict[tuple[str, str], Prompted] = {}
        self._stored: Mapping[str, Tensor] = {}

    @property
    def width(self) -> int:
        return self.words.shape[1]

    @property
    def layers(self) -> range:
        """Layers in which modules stand."""
        return range(self.first_layer, self.first_layer + len(self.upper.layers))

    def ids(self, text: str, shown: str = "") -> tuple[list[int], list[int]]:
        """The tokens before the question, and the question's.

        Args:
            shown: solved examples, which stand before everything.
        """
        tokenizer = self.base.tokenizer
        cut = tokenizer(text, add_special_tokens=False)["input_ids"][-self.text_tokens :]
        front = open_ended(tokenizer, shown + self.task.before())[0] if shown else self._front
        return [*front, *cut], list(self._end)

    def example(self, text: str, labels: Sequence[str], tokens: int) -> str:
        """A solved example for a prompt, its text cut to so many tokens."""
        tokenizer = self.base.tokenizer
        cut = tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"][-tokens:])
        said = ", ".join(self.task.words[label] for label in labels)
        return f"Text: {cut}{self.task.after()} {said}\n\n"

    def asked(self) -> Prompted:
        """What the task asks, read as a prompt without a text, all of it both before and after the question."""
        ids = [*self._front, *self._end]
        (found,) = self._read([(ids, [])], [(len(ids), 0)])
        return found

    def read(self, texts: Sequence[str], shown: str = "", say: Callable[[int, int], None] | None = None) -> None:
        """Read texts that are not kept yet. One pass of the whole base model each, in batches of like length."""
        new = [text for text in dict.fromkeys(texts) if (text, shown) not in self._kept]
        for text in new:
            stored = None if shown else self._from_stored(text)
            if stored is not None:
                self._kept[text, shown] = stored
        new = [text for text in new if (text, shown) not in self._kept]
        pairs = [self.ids(text, shown) for text in new]
        spans = [(0 if self.whole else len(a), 0 if self.whole else len(a)) for a, _ in pairs]
        for text, found in zip(new, self._read(pairs, spans, say), strict=True):
            self._kept[text, shown] = found

    @torch.no_grad()
    def _read(
        self,
        pairs: Sequence[tuple[list[int], list[int]]],
        spans: Sequence[tuple[int, int]],
        say: Callable[[int, int], None] | None = None,
    ) -> list[Prompted]:
        """Read prompts: where the kept text of each ends, and where the tokens begin that a module reads."""
        found: list[Prompted | None] = [None] * len(pairs)
        done = 0
        for rows in length_batches([len(a) + len(b) for a, b in pairs], PASS_TOKENS):
            kept: dict[int, tuple[Tensor, Tensor]] = {}
            ids = pad_right([[*pairs[row][0], *pairs[row][1]] for row in rows], self.base.pad, self.base.device)
            entering = self.lower(input_ids=ids, use_cache=False)[0]
            with keeping(kept):
                out = self.upper(inputs_embeds=entering, use_cache=False)[0]
            for place, row in enumerate(rows):
                (length, begin), end = spans[row], sum(map(len, pairs[row]))
                found[row] = Prompted(
                    {layer: _first(kept[layer], place, length) for layer in self.layers},
                    length,
                    _own(entering[place, begin:end]),
                    _own(out[place, begin:end]),
                )
            done += len(rows)
            if say:
                say(done, len(pairs))
        return [one for one in found if one is not None]

    def forget(self, shown: str) -> None:
        """Drop what was read after some solved examples."""
        self._kept = {key: one for key, one in self._kept.items() if key[1] != shown}

    def saved(self) -> dict[str, Tensor]:
        """What was read, as tensors by the texts' hashes; no text. ``load`` takes it back."""
        out: dict[str, Tensor] = {}
        for (text, _), one in self._kept.items():
            stem = hash_bytes(text.encode())[:24]
            out |= {f"{stem}.hidden": one.hidden, f"{stem}.final": one.final}
            for layer, (k, v) in one.text.items():
                out |= {f"{stem}.k{layer}": k, f"{stem}.v{layer}": v}
        return out

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what ``saved`` gave, for the same task, layers and settings."""
        self._stored = tensors

    def _from_stored(self, text: str) -> Prompted | None:
        stem = hash_bytes(text.encode())[:24]
        if f"{stem}.hidden" not in self._stored:
            return None
        layers = {layer: (self._stored[f"{stem}.k{layer}"], self._stored[f"{stem}.v{layer}"]) for layer in self.layers}
        length = next(iter(layers.values()))[0].shape[1]
        return Prompted(layers, length, self._stored[f"{stem}.hidden"], self._stored[f"{stem}.final"])

    def logits(self, texts: Sequence[str], rows: Rows = BASE, shown: str = "") -> Tensor:
        """Label logits (b, labels), in float32 or more; texts must have been read. Differentiable in what rows hold."""
        kept = [self._kept[text, shown] for text in texts]
        lengths = torch.tensor([len(one.hidden) for one in kept], device=self.base.device)
        if rows.head is not None:
            return rows.head(nn.utils.rnn.pad_sequence([one.final for one in kept], batch_first=True), lengths)
        last = torch.arange(len(kept), device=self.base.device), lengths - 1
        if rows.adapter is None and rows.soft is None:
            final = torch.stack([one.final[-1] for one in kept])
        else:
            hidden = nn.utils.rnn.pad_sequence([one.hidden for one in kept], batch_first=True)
            if rows.soft is not None:
                hidden = torch.cat([rows.soft.to(hidden.dtype), hidden], dim=1)
                last = last[0], last[1] + rows.soft.shape[1]
            final = self._run(kept, hidden, rows.adapter)[last]
        wide = torch.promote_types(final.dtype, torch.float32)
        return final.to(wide) @ self.words.to(wide).T

    def _run(self, kept: Sequence[Prompted], hidden: Tensor, adapter: Adapter | None) -> Tensor:
        """The upper layers on tokens (b, t, width) that stand after kept texts."""
        t, device = hidden.shape[1], hidden.device
        lengths = torch.tensor([one.length for one in kept], device=device)
        longest = int(lengths.max())
        layers = {}
        for layer in self.layers if longest else ():
            pair = []
            for part in (0, 1):
                first = kept[0].text[layer][part]
                out = first.new_zeros(len(kept), first.shape[0], longest, first.shape[2])
                for row, one in enumerate(kept):
                    out[row, :, : one.length] = one.text[layer][part]
                pair.append(out)
            layers[layer] = (pair[0], pair[1])
        before = torch.arange(longest, device=device)[None] < lengths[:, None]
        within = torch.ones(t, t, dtype=torch.bool, device=device).tril()
        mask = torch.cat([before[:, None].expand(-1, t, -1), within.expand(len(kept), -1, -1)], dim=2)[:, None]
        places = lengths[:, None] + torch.arange(t, device=device)
        with given(Text(layers, mask) if longest else None), adapted(adapter):
            return self.upper(inputs_embeds=hidden, position_ids=places, use_cache=False)[0]


def _first_token(base: BaseModel, word: str) -> int:
    """The first token of a word that follows a space."""
    return int(base.tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0])


def _halves(base: BaseModel, first_layer: int) -> tuple[Any, Any]:
    """The base model's decoder up to a layer, without the last norm, and from it on, on the same weights.

    Raises:
        PerpcsError: when its layers do not lie in a list with a norm after them.
    """
    whole = base.model.base_model
    if not (hasattr(whole, "layers") and hasattr(whole, "norm") and 0 <= first_layer < len(whole.layers)):
        raise PerpcsError(
            f"{type(whole).__name__} has no layer {first_layer} to begin with.",
            "Choose a model of the Llama kind, or a lower first layer.",
        )
    halves = []
    for some, norm in ((whole.layers[:first_layer], nn.Identity()), (whole.layers[first_layer:], whole.norm)):
        half = copy.copy(whole)
        half._modules = dict(whole._modules)
        half.layers, half.norm = nn.ModuleList(some), norm
        half.config = copy.copy(whole.config)
        half.config.num_hidden_layers = len(some)
        halves.append(half)
    return halves[0], halves[1]


def _first(pair: tuple[Tensor, Tensor], row: int, length: int) -> tuple[Tensor, Tensor]:
    """Keys and values of a row's first tokens."""
    return _own(pair[0][row, :, :length]), _own(pair[1][row, :, :length])


def _own(part: Tensor) -> Tensor:
    """A copy that holds no more than the part."""
    return part.clone(memory_format=torch.contiguous_format)
