"""Profile-to-PEFT: a network that writes a person's LoRA from their profile, every position in one call.

For user u, layer l and module m (arXiv 2510.16282, whose trunk is Text-to-LoRA's), D = width, H = hidden:

    z_u = LN(Linear(e_u))  D/2      z_l = LN(Embedding)  D/4      z_m = LN(Embedding)  D/4      x = [z_u; z_l; z_m]
    mixer       x -> SiLU Linear(4D, D) SiLU Linear(D, 4D) x
    2 blocks    x -> x + SiLU Linear(4D, D) SiLU Linear(D, 4D) LN x
    last        x -> SiLU Linear(4D, H) SiLU Linear(D, 4D) LN x
    head_m      x -> A (r, n) and B (d, r), one linear layer; its weight starts at zero, its bias at [Kaiming, 0]

So before training B is zero and everybody has the base model, to the bit. One thing differs from the paper: profiles of
one task read much alike, so e_u is centred and scaled by the mean and the spread of the profiles that the network was
trained on, which are stored with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from perpcs.errors import PerpcsError
from perpcs.model.basis import Adapter, Factors
from perpcs.pool.tensors import Form
from perpcs.pool.train import PieceSettings, initial_A
from perpcs.positions import Position
from perpcs.schema import Rate, Record, Size

_WIDER = 4
_BLOCKS = 2


@dataclass(frozen=True)
class HypernetShape(Record):
    """What a network's size depends on, beside the positions."""

    profile: Size
    """Width of a profile's embedding."""
    width: Size = 96
    """D; divisible by 4."""
    hidden: Size = 48
    """H, what the heads read. Most numbers are in the heads: H r (n + d) a module."""
    rank: Size = 4
    alpha: Rate = 8.0

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def __post_init__(self) -> None:
        if self.width < 4 or self.width % 4 or min(self.profile, self.hidden, self.rank) < 1:
            raise PerpcsError(
                f"A hypernetwork of width {self.width}, hidden width {self.hidden} and rank {self.rank}?",
                "Use a width that 4 divides, and sizes of at least 1.",
            )


class Hypernet(nn.Module):
    """The network for the positions of one base model. Weights depend on the seed alone.

    Positions of one module and of one shape share a head and a module embedding.
    """

    mean: Tensor
    """What profiles are centred on (profile)."""
    spread: Tensor

    def __init__(self, positions: Sequence[Position], shape: HypernetShape, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        kinds = list(dict.fromkeys((p.module, p.n, p.d) for p in positions))
        layers = list(dict.fromkeys(p.layer for p in positions))
        self.sizes = [(n, d) for _, n, d in kinds]
        self.layer_of = [layers.index(p.layer) for p in positions]
        self.kind_of = [kinds.index((p.module, p.n, p.d)) for p in positions]
        width, wide = shape.width, _WIDER * shape.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.user = nn.Sequential(nn.Linear(shape.profile, width // 2), nn.LayerNorm(width // 2))
            self.layer = nn.Sequential(nn.Embedding(len(layers), width // 4), nn.LayerNorm(width // 4))
            self.module = nn.Sequential(nn.Embedding(len(kinds), width // 4), nn.LayerNorm(width // 4))
            self.mixer = nn.ModuleList([nn.Linear(width, wide), nn.Linear(wide, width)])
            self.blocks = nn.ModuleList(
                nn.ModuleList([nn.LayerNorm(width), nn.Linear(width, wide), nn.Linear(wide, width)])
                for _ in range(_BLOCKS)
            )
            self.last = nn.ModuleList([nn.LayerNorm(width), nn.Linear(width, wide), nn.Linear(wide, shape.hidden)])
            for part in self.modules():
                if isinstance(part, nn.Linear):  # else what tells people apart has faded before the heads read it
                    nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
                    nn.init.zeros_(part.bias)
            heads = [nn.Linear(shape.hidden, shape.rank * (n + d)) for n, d in self.sizes]
        for head, (module, n, d) in zip(heads, kinds, strict=True):
            if head.bias.is_meta:  # only the shapes are asked for
                break
            A = initial_A("", module, n, PieceSettings(rank=shape.rank, seed=seed))
            nn.init.zeros_(head.weight)
            with torch.no_grad():
                head.bias.copy_(torch.cat([A.flatten(), torch.zeros(d * shape.rank)]))
        self.heads = nn.ModuleList(heads)
        self.register_buffer("mean", torch.zeros(shape.profile))
        self.register_buffer("spread", torch.ones(shape.profile))

    def centre_on(self, profiles: Tensor) -> None:
        """Remember mean and spread of training profiles (people, profile), number by number."""
        self.mean.copy_(profiles.mean(0))
        self.spread.copy_(profiles.std(0, correction=0).clamp(min=1e-3))

    def forward(
        self, profiles: Tensor, drop: float = 0.0, generator: torch.Generator | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Factors of every position for a batch of people: per position A (b, r, n) and B (b, d, r).

        Args:
            profiles: embeddings (b, profile).
            drop: share of numbers dropped behind every nonlinearity, drawn from the generator; in training only.
        """

        def lit(x: Tensor) -> Tensor:
            x = F.silu(x)
            if not drop:
                return x
            return x * (torch.rand(x.shape, generator=generator).to(x) >= drop) / (1 - drop)

        def through(part: Any, x: Tensor) -> Tensor:
            norm, out, back = part
            return lit(back(lit(out(norm(x)))))

        b, count = len(profiles), len(self.kind_of)
        device = profiles.device
        z_u = self.user((profiles - self.mean) / self.spread)[:, None].expand(-1, count, -1)
        z_l = self.layer(torch.tensor(self.layer_of, device=device)).expand(b, -1, -1)
        z_m = self.module(torch.tensor(self.kind_of, device=device)).expand(b, -1, -1)
        x = torch.cat([z_u, z_l, z_m], dim=2)  # (b, P, D)
        x = lit(self.mixer[1](lit(self.mixer[0](x))))
        for block in self.blocks:
            x = x + through(block, x)
        x = through(self.last, x)  # (b, P, H)
        A: list[Tensor] = [x] * count
        B: list[Tensor] = [x] * count
        for kind, (n, d) in enumerate(self.sizes):
            own = [p for p in range(count) if self.kind_of[p] == kind]
            flat = self.heads[kind](x[:, own])  # (b, own, r (n + d))
            for index, p in enumerate(own):
                first, second = flat[:, index].split([self.shape.rank * n, self.shape.rank * d], dim=1)
                A[p], B[p] = first.view(b, self.shape.rank, n), second.view(b, d, self.shape.rank)
        return A, B


def rows_adapter(A: Sequence[Tensor], B: Sequence[Tensor], owner: Tensor, scale: float) -> Adapter:
    """The adapter of a batch whose row b belongs to person owner[b]: A, B per position and person, (people, r, n) and
    (people, d, r).
    """
    c = torch.full((1, 1, A[0].shape[1]), scale, device=owner.device, dtype=A[0].dtype)
    return lambda p, x: Factors(A[p][owner], B[p].mT[owner], c)


def hypernet_bytes(net: Hypernet) -> bytes:
    """A network as safetensors of half floats."""
    return save({name: value.detach().half().contiguous() for name, value in net.state_dict().items()})


def hypernet_forms(positions: Sequence[Position], shape: HypernetShape) -> dict[str, Form]:
    """What the file of such a network holds, told without making one."""
    with torch.device("meta"):
        net = Hypernet(positions, shape)
    return {name: ("F16", tuple(tensor.shape)) for name, tensor in net.state_dict().items()}


def read_hypernet(tensors: Mapping[str, Tensor], positions: Sequence[Position], shape: HypernetShape) -> Hypernet:
    """The network of these tensors, which have the forms of ``hypernet_forms``; float32."""
    net = Hypernet(positions, shape)
    net.load_state_dict({name: value.float() for name, value in tensors.items()})
    return net.requires_grad_(False)
