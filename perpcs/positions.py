"""A position: one adapted linear layer of a base model. Known to the model, the pool and every record."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """One adapted linear layer: n inputs, d outputs."""

    layer: int
    module: str
    path: str
    """Dotted name of the module inside the base model."""
    n: int
    d: int

    @property
    def label(self) -> str:
        return f"layer {self.layer}, {self.module}"


PIECE_KINDS = ("lora", "ia3")
"""What a piece may be: a low-rank product, or a scaling vector of the layer's output."""
