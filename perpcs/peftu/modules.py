"""The small modules that are trained for one person, a class each, and their registry. A further one is a class and a
word in ``METHODS``.

    start(shape, size)                      one person's parameters before training, the same for everybody
    rows(shape, size, parameters, owner)    what each row carries: parameters (people, ...), row b belongs to owner[b]

People are trained together in batches; the first axis of every parameter is the person, and no number of one person
depends on another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from perpcs.model.base import BaseModel
from perpcs.model.basis import Bottleneck, Factors, Prefixes, Scaling, Update
from perpcs.peftu.scorer import Rows, Scorer
from perpcs.schema import Position

# ---- what a method is ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """What parameters are made for."""

    base: BaseModel
    first_layer: int
    labels: int
    start_tokens: Tensor
    """Tokens as they enter the first layer, (t, width), from which soft prompts start."""
    start_text: dict[int, tuple[Tensor, Tensor]]
    """Keys and values of some tokens, (k, t, size), by layer, from which prefixes start."""

    @property
    def width(self) -> int:
        return self.start_tokens.shape[1]

    @property
    def positions(self) -> list[tuple[int, Position]]:
        """Number and position of the layers that may be adapted."""
        return [(p, one) for p, one in enumerate(self.base.positions) if one.layer >= self.first_layer]

    def named(self, *modules: str) -> list[tuple[int, Position]]:
        """Those of some modules."""
        return [(p, one) for p, one in self.positions if one.module in modules]


class Method(Protocol):
    """A way to adapt the model to one person. ``METHODS`` lists them."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def says(self) -> str:
        """Where it sits and what it trains, in one sentence."""

    @property
    def size_means(self) -> str: ...

    @property
    def default(self) -> int:
        """Its size as usual."""

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rates that are searched."""

    def matched(self, shape: Shape, budget: int) -> int:
        """The size whose number of trained parameters is nearest to a budget."""

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        """One person's parameters before training, float32."""

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        """What each row carries."""

    def count(self, shape: Shape, size: int) -> int:
        """Numbers that are trained."""

    def kept(self, shape: Shape, size: int) -> int:
        """Numbers that are kept of a person after training."""


class InPieces(Method, Protocol):
    """A method whose modules are cut into pieces, so that other people's can be mixed."""

    def places(self, shape: Shape) -> list[int]:
        """The P positions of its pieces."""

    def mixed(self, shape: Shape, size: int, parameters: Sequence[Tensor], weights: Tensor) -> Rows:
        """What rows with weights (b, P, S) of S people's pieces carry; 0 is the base model."""


class Sized:
    """What most methods share: the size is found by counting, and everything trained is kept."""

    largest: ClassVar[int] = 512

    def count(self: Any, shape: Shape, size: int) -> int:
        return sum(part.numel() for part in self.start(shape, size))

    def matched(self: Any, shape: Shape, budget: int) -> int:
        low, high = 1, self.largest
        while low < high:  # the count rises with the size
            middle = (low + high) // 2
            low, high = (low, middle) if self.count(shape, middle) >= budget else (middle + 1, high)
        return min((max(low - 1, 1), low), key=lambda size: abs(self.count(shape, size) - budget))

    def kept(self: Any, shape: Shape, size: int) -> int:
        return self.count(shape, size)


def at_positions(updates: dict[int, Update]) -> Rows:
    """Rows with an update at some positions."""
    return Rows(adapter=lambda p, x: updates.get(p))


def generator(seed: int, name: str) -> torch.Generator:
    """A private source of random numbers."""
    return torch.Generator().manual_seed(seed * 1_000_003 + sum(ord(c) * 31**i for i, c in enumerate(name)) % 999_983)


def cycled(tokens: Tensor, count: int) -> Tensor:
    """The first ``count`` of tokens (t, ...) repeated without end."""
    return tokens[torch.arange(count) % len(tokens)]


def shape_of(scorer: Scorer) -> Shape:
    """The shape of a scorer's model; soft prompts and prefixes start from what the task asks."""
    asked = scorer.asked()
    return Shape(scorer.base, scorer.first_layer, len(scorer.task.words), asked.hidden, asked.text)


# ---- LoRA ------------------------------------------------------------------------------------------------------------


LORA_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj")
LORA_SCALE = 2.0
"""alpha / r."""


class LoRA(Sized):
    name = "lora"
    title = "LoRA"
    says = "A low-rank product beside the query, key, value and output projections of each layer."
    size_means = "rank"
    default = 8
    rates = (3e-3, 1e-2, 3e-2)

    def places(self, shape: Shape) -> list[int]:
        return [p for p, _ in shape.named(*LORA_MODULES)]

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        parts = []
        for _, position in shape.named(*LORA_MODULES):
            bound = 1 / math.sqrt(position.n)  # Kaiming-uniform, as peft draws it
            A = (torch.rand(size, position.n, generator=generator(0, position.path)) * 2 - 1) * bound
            parts += [A, torch.zeros(size, position.d)]
        return parts

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        c = torch.full((1, 1, size), LORA_SCALE, device=parameters[0].device)
        return at_positions(
            {
                p: Factors(parameters[2 * i][owner], parameters[2 * i + 1][owner], c)
                for i, p in enumerate(self.places(shape))
            }
        )

    def mixed(self, shape: Shape, size: int, parameters: Sequence[Tensor], weights: Tensor) -> Rows:
        columns = LORA_SCALE * weights.repeat_interleave(size, 2)
        return at_positions(
            {
                p: Factors(parameters[2 * i].flatten(0, 1), parameters[2 * i + 1].flatten(0, 1), columns[:, i, None])
                for i, p in enumerate(self.places(shape))
            }
        )


# ---- (IA)3 -----------------------------------------------------------------------------------------------------------


IA3_MODULES = ("k_proj", "v_proj", "up_proj")
"""To scale what up_proj gives is to scale what down_proj reads: the inner layer of a gated MLP is their product."""


class IA3(Sized):
    name = "ia3"
    title = "(IA)³"
    says = "Scaling vectors on keys, values and the inner layer of each MLP."
    size_means = "has one size"
    default = 1
    rates = (1e-2, 3e-2, 1e-1)
    largest = 1

    def places(self, shape: Shape) -> list[int]:
        return [p for p, _ in shape.named(*IA3_MODULES)]

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        del size
        return [torch.zeros(1, position.d) for _, position in shape.named(*IA3_MODULES)]

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        del size
        c = torch.ones(1, 1, 1)
        return at_positions({p: Scaling(own[owner], c) for p, own in zip(self.places(shape), parameters, strict=True)})

    def mixed(self, shape: Shape, size: int, parameters: Sequence[Tensor], weights: Tensor) -> Rows:
        del size
        return at_positions(
            {
                p: Scaling(own[:, 0], weights[:, i, None])
                for i, (p, own) in enumerate(zip(self.places(shape), parameters, strict=True))
            }
        )


# ---- adapter ---------------------------------------------------------------------------------------------------------


ADAPTER_MODULES = ("o_proj", "down_proj")


class Adapter(Sized):
    name = "adapter"
    title = "Adapter"
    says = "A bottleneck of two matrices with a GELU between them, after the attention and after the MLP of each layer."
    size_means = "width of the bottleneck; the default is a sixteenth of the layer's"
    default = 36
    rates = (1e-3, 3e-3, 1e-2)

    def places(self, shape: Shape) -> list[int]:
        return [p for p, _ in shape.named(*ADAPTER_MODULES)]

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        parts = []
        for _, position in shape.named(*ADAPTER_MODULES):
            bound = 1 / math.sqrt(position.d)
            A = (torch.rand(size, position.d, generator=generator(0, position.path)) * 2 - 1) * bound
            parts += [A, torch.zeros(size, position.d)]
        return parts

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        c = torch.ones(1, 1, size)
        return at_positions(
            {
                p: Bottleneck(parameters[2 * i][owner], parameters[2 * i + 1][owner], c)
                for i, p in enumerate(self.places(shape))
            }
        )

    def mixed(self, shape: Shape, size: int, parameters: Sequence[Tensor], weights: Tensor) -> Rows:
        columns = weights.repeat_interleave(size, 2)
        return at_positions(
            {
                p: Bottleneck(parameters[2 * i].flatten(0, 1), parameters[2 * i + 1].flatten(0, 1), columns[:, i, None])
                for i, p in enumerate(self.places(shape))
            }
        )


# ---- prefix ----------------------------------------------------------------------------------------------------------


class Prefix(Sized):
    name = "prefix"
    title = "Prefix tuning"
    says = "Keys and values of tokens that every word attends to, in the attention of each layer."
    size_means = "tokens"
    default = 20
    rates = (1e-2, 3e-2, 1e-1)

    def places(self, shape: Shape) -> list[int]:
        return [p for p, _ in shape.named("o_proj")]

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        parts = []
        for _, position in shape.named("o_proj"):
            for part in shape.start_text[position.layer]:
                parts.append(cycled(part.transpose(0, 1).flatten(1).float().cpu(), size).clone())
        return parts

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        del size
        c = torch.ones(1, 1, 1)
        return at_positions(
            {
                p: Prefixes(parameters[2 * i][owner], parameters[2 * i + 1][owner], c)
                for i, p in enumerate(self.places(shape))
            }
        )

    def mixed(self, shape: Shape, size: int, parameters: Sequence[Tensor], weights: Tensor) -> Rows:
        del size
        return at_positions(
            {
                p: Prefixes(parameters[2 * i].flatten(0, 1), parameters[2 * i + 1].flatten(0, 1), weights[:, i, None])
                for i, p in enumerate(self.places(shape))
            }
        )


# ---- P-tuning --------------------------------------------------------------------------------------------------------


INNER = 64
"""Width of the LSTM at the default size."""


class PTuning(Sized):
    """The size is the number of tokens of an LSTM encoder; a negative one is the width of an MLP with 20 tokens."""

    name = "ptuning"
    title = "P-tuning"
    says = "Vectors in front of the question, written by a small network that is trained and then left behind."
    size_means = "tokens, with an LSTM; at the matched size the inner width of an MLP, as a negative number"
    default = 20
    rates = (1e-3, 3e-3, 1e-2)

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return [part.detach().clone() for part in _encoder(size, shape.width).parameters()]

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        encoder, names = (
            _encoder(size, shape.width),
            [name for name, _ in _encoder(size, shape.width).named_parameters()],
        )
        people, place = owner.unique(return_inverse=True)
        tokens = torch.arange(_tokens(size))[None]
        soft = [
            torch.func.functional_call(
                encoder, {name: part[one] for name, part in zip(names, parameters, strict=True)}, (tokens,)
            )[0]
            for one in people.tolist()
        ]
        start = shape.start_tokens.float()
        begin = start[torch.arange(_tokens(size)) % len(start)]
        return Rows(soft=begin + torch.stack(soft)[place])

    def matched(self, shape: Shape, budget: int) -> int:
        def count(inner: int) -> int:
            return (self.default + 2 * inner + 1) * shape.width + inner * (inner + 2)

        return -min(range(1, 257), key=lambda inner: abs(count(inner) - budget))

    def kept(self, shape: Shape, size: int) -> int:
        return _tokens(size) * shape.width


def _tokens(size: int) -> int:
    return size if size > 0 else PTuning.default


@lru_cache(maxsize=512)
def _encoder(size: int, width: int) -> Any:
    """peft's network: embeddings of the tokens, an LSTM or none, and an MLP."""
    from peft import PromptEncoder, PromptEncoderConfig, PromptEncoderReparameterizationType

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PromptEncoder(
            PromptEncoderConfig(
                num_virtual_tokens=_tokens(size),
                token_dim=width,
                num_transformer_submodules=1,
                encoder_hidden_size=INNER if size > 0 else -size,
                encoder_reparameterization_type=PromptEncoderReparameterizationType("LSTM" if size > 0 else "MLP"),
                encoder_num_layers=1 if size > 0 else 2,
                encoder_dropout=0.0,
            )
        ).eval()


# ---- prompt ----------------------------------------------------------------------------------------------------------


class Prompt(Sized):
    name = "prompt"
    title = "Prompt tuning"
    says = "Vectors in front of the question, where the first adapted layer reads words."
    size_means = "tokens"
    default = 20
    rates = (3e-2, 1e-1, 3e-1)

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        return [cycled(shape.start_tokens.float().cpu(), size).clone()]

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        del shape, size
        return Rows(soft=parameters[0][owner])


# ---- head ------------------------------------------------------------------------------------------------------------


class Head(Sized):
    name = "head"
    title = "Personal head"
    says = "One more encoder layer and a classifier on top of the frozen model; no layer of the model changes."
    size_means = "width of the layer, in fours"
    default = 36
    rates = (1e-3, 3e-3, 1e-2)

    def start(self, shape: Shape, size: int) -> list[Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            parts = [part.detach().clone() for part in _network(size, shape.width, shape.labels).parameters()]
        return [*parts[:-2], torch.zeros_like(parts[-2]), torch.zeros_like(parts[-1])]

    def rows(self, shape: Shape, size: int, parameters: Sequence[Tensor], owner: Tensor) -> Rows:
        network = _network(size, shape.width, shape.labels)
        names = [name for name, _ in network.named_parameters()]

        def head(final: Tensor, lengths: Tensor) -> Tensor:
            out = final.new_zeros(len(final), shape.labels, dtype=torch.float32)
            padded = torch.arange(final.shape[1]) >= lengths[:, None]
            for one in owner.unique().tolist():
                mine = (owner == one).nonzero()[:, 0]
                own = {name: part[one] for name, part in zip(names, parameters, strict=True)}
                said = torch.func.functional_call(network, own, (final[mine].float(), lengths[mine], padded[mine]))
                out = out.index_add(0, mine, said)
            return out

        return Rows(head=head)


class _Network(nn.Module):
    def __init__(self, inner: int, width: int, labels: int) -> None:
        super().__init__()
        self.into = nn.Linear(width, inner)
        self.layer = nn.TransformerEncoderLayer(inner, 4, 4 * inner, dropout=0.0, batch_first=True, norm_first=True)
        self.out = nn.Linear(inner, labels)

    def forward(self, states: Tensor, lengths: Tensor, padded: Tensor) -> Tensor:
        read = self.layer(self.into(states), src_key_padding_mask=padded)
        return self.out(read[torch.arange(len(read)), lengths - 1])


@lru_cache(maxsize=64)
def _network(size: int, width: int, labels: int) -> _Network:
    return _Network(4 * size, width, labels)


# ---- the registry ----------------------------------------------------------------------------------------------------


METHODS: dict[str, Method] = {
    method.name: method for method in (LoRA(), IA3(), Adapter(), Prefix(), PTuning(), Prompt(), Head())
}
