"""Methods that train nothing for a person. Rows carry pieces of the pool (Per-Pcs by any router, PEFT retrieval, and
the controls of both), or a LoRA that the pool's hypernetwork writes from a profile of their history in one call
(Profile-to-PEFT).

The prompt is bare. Of pieces a byte is kept for each of the P x S weights, and the own piece of fit+own where there is
one; of Profile-to-PEFT the LoRA, as half floats: its row carries its own A and B of every position (``OwnPiece``).
"""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from perpcs.assembly.assemble import assemble
from perpcs.assembly.descent import own_piece
from perpcs.assembly.record import Assembly
from perpcs.assembly.router import Router
from perpcs.assembly.routers import PRESETS, flat_options, make_router, same_routing
from perpcs.errors import PerpcsError
from perpcs.model.basis import OwnPiece
from perpcs.personalizers.methods import Call, Person, Prepared, Progress
from perpcs.pool.embed import VERSION, embed_profiles
from perpcs.pool.hypernet import Hypernet
from perpcs.pool.store import Pool
from perpcs.tasks import Item, Task

# ---- pieces ----------------------------------------------------------------------------------------------------------


def per_pcs(call: Call) -> list[Prepared]:
    """Assembled by a router, the other options default, or by the preset ``paper``; without a detail, the assembly that
    there already is.

    Raises:
        PerpcsError: when there is neither an assembly nor a history.
    """
    named = PRESETS[call.detail or "default"] if call.detail in ("", *PRESETS) else make_router(call.detail)
    return [
        _carried(call, person.assembly)
        if person.assembly is not None and (not call.detail or _is_of(person.assembly, named))
        else _assembled(call, person, named)
        for person in call.people
    ]


def retrieved(call: Call) -> list[Prepared]:
    """PEFT retrieval: the k sharers of the most like histories, whole, weighted by likeness."""
    options = make_router("retrieval", k=int(call.detail))
    return [_assembled(call, person, options) for person in call.people]


def uniform(call: Call) -> list[Prepared]:
    """A control: all shared pieces alike."""
    return [_assembled(call, person, make_router("uniform")) for person in call.people]


def drawn(call: Call) -> list[Prepared]:
    """A control: k pieces drawn at each position."""
    return [_assembled(call, person, make_router("random")) for person in call.people]


def _assembled(call: Call, person: Person, options: Router) -> Prepared:
    if not person.history:
        raise PerpcsError("No model has been assembled yet.", "Give a history, assemble a model, or load a saved one.")
    began = time.perf_counter()

    def told(step: Any) -> None:
        if call.watch:
            done = step.batch * step.positions + step.position + 1
            call.watch(Progress("reading the history", done, step.batches * step.positions))

    setting = call.setting
    found = assemble(
        setting.base, setting.pool, setting.task, person.history, options=options, user=person.id, on_position=told
    )
    return _carried(call, found, time.perf_counter() - began)


def _carried(call: Call, assembly: Assembly, seconds: float | None = None) -> Prepared:
    return Prepared(
        call.setting.task,
        weights=assembly.weights,
        own=own_piece(assembly.own, call.setting.base.positions),
        other_bytes=assembly.kept_bytes,
        seconds=assembly.seconds if seconds is None else seconds,
    )


def _is_of(assembly: Assembly, options: Router) -> bool:
    """Whether a record was assembled with these very options."""
    return same_routing(assembly.router, flat_options(options))


# ---- Profile-to-PEFT -------------------------------------------------------------------------------------------------


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
