"""Profile-to-PEFT: the pool's hypernetwork writes a person's LoRA from a profile of their history, in one call.

Nothing is trained and the base model does not run. A row carries its own A and B of every position (``OwnPiece``); the
prompt is the bare one. What is kept is the LoRA, as half floats.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perpcs.errors import PerpcsError
from perpcs.model.basis import OwnPiece
from perpcs.pool.hypernet import Hypernet
from perpcs.pool.profiles import VERSION, embed_profiles
from perpcs.pool.store import Pool
from perpcs.tasks import Item, Task


@dataclass(frozen=True)
class WrittenLora:
    """A LoRA that a hypernetwork wrote."""

    own: OwnPiece
    """Its factors, float32 on the CPU; ``basis.own_updates`` makes a batch of such rows."""
    seconds: float
    """From history to factors."""
    bytes: int
    """Of the factors as half floats."""


def write_lora(pool: Pool, task: Task, history: Sequence[Item]) -> WrittenLora:
    """History -> profile -> embedding -> A and B of every position.

    Raises:
        PerpcsError: when the pool has no network for the task, or there is no history.
    """
    net = hypernet_of(pool, task)
    began = time.perf_counter()
    (own,) = write_factors(net, profiles_of(pool, task, [history]))
    return WrittenLora(own, time.perf_counter() - began, lora_bytes(own))


def hypernet_of(pool: Pool, task: Task) -> Hypernet:
    """The pool's network for a task.

    Raises:
        PerpcsError: when there is none, or one that was trained on profiles of another wording.
    """
    net = pool.hypernet(task.name)
    if net is None:
        raise PerpcsError(
            f"The pool has no network that writes adapters for {task.name}.",
            "Use another method, or build the pool again with one.",
        )
    if pool.task(task.name).hypernet.get("profile_version") != VERSION:
        raise PerpcsError("The pool's network was trained on profiles of another wording.", "Build the pool again.")
    return net


def profiles_of(pool: Pool, task: Task, histories: Sequence[Sequence[Item]]) -> Tensor:
    """What the network reads of people: (people, width).

    Raises:
        PerpcsError: for somebody without a history.
    """
    if not all(histories):
        raise PerpcsError("There is no history to write a profile of.", "Give at least one item.")
    return embed_profiles(task, histories, pool.task(task.name).encoder)


def random_profiles(net: Hypernet, count: int, seed: int = 0) -> Tensor:
    """The control without a person: embeddings drawn with the mean and the spread of real ones, (count, width)."""
    generator = torch.Generator().manual_seed(seed)
    return net.mean + net.spread * torch.randn(count, len(net.mean), generator=generator)


@torch.no_grad()
def write_factors(net: Hypernet, profiles: Tensor) -> list[OwnPiece]:
    """The LoRA of each of several people, from their profiles (people, width)."""
    A, B = net(profiles)
    scale = net.shape.scale
    return [OwnPiece([a[row] for a in A], [b[row].T for b in B], scale) for row in range(len(profiles))]


def lora_bytes(own: OwnPiece) -> int:
    """Bytes of a LoRA as half floats."""
    return 2 * sum(a.numel() + b.numel() for a, b in zip(own.A, own.Bt, strict=True))
