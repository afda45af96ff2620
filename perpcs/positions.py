"""A position: one adapted linear layer of a base model. Known to the model, the pool and every record."""

from dataclasses import dataclass

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
