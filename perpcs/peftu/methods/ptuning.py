"""P-tuning (Liu et al., arXiv 2103.10385): the vectors before the question come from a small network, here peft's.

Only the vectors are kept after training.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from perpcs.peftu.method import Shape, Sized
from perpcs.peftu.scorer import Rows

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
