"""The pieces whose mean gain over the items is surest share a position: one backward pass, one choice for everybody."""

from dataclasses import dataclass

from perpcs.assembly.router import History, Recent, Routed, Selecting


@dataclass(frozen=True, kw_only=True)
class Gradient(Selecting, Recent):
    name = "gradient"
    short = "gradient"
    decided_by = "loss"

    def route(self, history: History) -> Routed:
        from perpcs.assembly.descent import surest_pieces

        return surest_pieces(history, self, self.half_life)
