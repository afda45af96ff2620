"""Profile-to-PEFT: the pool's hypernetwork writes a person's LoRA from a profile of their history, in one call.

Nothing is trained and the base model does not run. A row carries its own A and B of every position (``OwnPiece``); the
prompt is the bare one. What is kept is the LoRA, as half floats.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from perpcs.errors import PerpcsError
from perpcs.model.basis import OwnPiece
from perpcs.personalizers.method import Call, Person, Prepared
from perpcs.pool.hypernet import Hypernet
from perpcs.pool.profiles import VERSION, embed_profiles
from perpcs.pool.store import Pool
from perpcs.tasks import Item, Task


def p2p(call: Call) -> list[Prepared]:
    """A LoRA for each person from their profile; as controls, from somebody else's or from a drawn embedding.

    Raises:
        PerpcsError: when the pool has no network, or there is no history, or nobody else's.
    """
    setting = call.setting
    net = hypernet_of(setting.pool)
    if call.detail == "random":
        profiles = random_profiles(net, len(call.people))
    else:
        read = [_next_stranger(call, person) if call.detail else person.history for person in call.people]
        profiles = profiles_of(setting.pool, setting.task, read)
    return [Prepared(setting.task, own=own, other_bytes=lora_bytes(own)) for own in write_factors(net, profiles)]


def _next_stranger(call: Call, person: Person) -> Sequence[Item]:
    """The history of whoever stands behind a person, and behind the last one of the first."""
    ids = [id for id, _ in call.setting.strangers]
    after = ids.index(person.id) + 1 if person.id in ids else 0
    others = [*call.setting.strangers[after:], *call.setting.strangers[:after]]
    for id, history in others:
        if id != person.id and history:
            return history
    raise PerpcsError("The control needs someone else's history, but there is none.", "Use another method.")


def hypernet_of(pool: Pool) -> Hypernet:
    """The pool's network.

    Raises:
        PerpcsError: when there is none, or one that was trained on profiles of another wording.
    """
    net = pool.hypernet
    if net is None:
        raise PerpcsError(
            "The pool has no network that writes adapters.", "Use another method, or build the pool again with one."
        )
    if pool.manifest.hypernet.get("profile_version") != VERSION:
        raise PerpcsError("The pool's network was trained on another version of the profiles.", "Build the pool again.")
    return net


def profiles_of(pool: Pool, task: Task, histories: Sequence[Sequence[Item]]) -> Tensor:
    """What the network reads of people: (people, width).

    Raises:
        PerpcsError: for somebody without a history.
    """
    if not all(histories):
        raise PerpcsError("There is no history to write a profile from.", "Give at least one item.")
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
