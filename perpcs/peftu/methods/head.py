"""A personal head: one more encoder layer over the last hidden states, and label logits from it.

The states are first brought to the layer's width, which is the size. The base model's own label logits are added, so
that it starts at the base model.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from perpcs.peftu.method import Shape, Sized
from perpcs.peftu.scorer import Rows


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
