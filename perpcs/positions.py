"""A position: one adapted linear layer of a base model. Known to the model, the pool and every record."""

from dataclasses import dataclass
from typing import Literal, get_args

from perpcs.schema import Count, Name, Record, Size


@dataclass(frozen=True)
class Position(Record):
    """One adapted linear layer: n inputs, d outputs."""

    layer: Count
    module: Name
    path: Name
    """Dotted name of the module inside the base model."""
    n: Size
    d: Size

    @property
    def label(self) -> str:
        return f"layer {self.layer}, {self.module}"


Kind = Literal["lora", "ia3", "adapter", "prefix"]
PIECE_KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a piece may be: a low-rank product, a scaling vector of the layer's output, a bottleneck adapter after the
layer, or a prefix of the attention before it."""
MODULES_OF = {"adapter": ("o_proj", "down_proj"), "prefix": ("o_proj",)}
"""Where pieces of a kind stand where nothing else is said; the others stand at the attention projections."""


def piece_shape(kind: str, rank: int, position: Position, keys: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Shapes of A and B of one piece.

    Args:
        rank: of a low-rank product, width of a bottleneck, tokens of a prefix.
        keys: numbers of one token's keys; only prefixes need them.
    """
    n, d = position.n, position.d
    return {
        "lora": ((rank, n), (d, rank)),
        "ia3": ((0, n), (d, rank)),
        "adapter": ((rank, d), (d, rank)),
        "prefix": ((rank, keys), (keys, rank)),
    }[kind]
