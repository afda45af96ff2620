"""Assembling a person: a router turns their history into weights, and a record keeps what came of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from perpcs.assembly.model_free import likeness
from perpcs.assembly.quantise import rounded
from perpcs.assembly.record import Assembly
from perpcs.assembly.router import History, Router, Step
from perpcs.assembly.routers import PRESETS, flat_options
from perpcs.errors import PerpcsError, unknown
from perpcs.model.base import BaseModel
from perpcs.model.text import encode_pair
from perpcs.pool.select import share_mask
from perpcs.pool.store import Pool, TaskPieces
from perpcs.schema import LONGEST_NAME
from perpcs.tasks import Item, Task


def assemble(
    base: BaseModel,
    pool: Pool,
    task: Task,
    items: Sequence[Item],
    *,
    options: Router | None = None,
    user: str = "me",
    on_position: Callable[[Step], None] | None = None,
    batch_tokens: int = 8192,
) -> Assembly:
    """Assemble a person from their history.

    Args:
        options: the router with its options; None = the default.
        on_position: called after every position in the calling thread; an exception raised in it ends the work.
        batch_tokens: padded tokens of one forward pass; it changes speed and memory, never the result.

    Raises:
        PerpcsError: when there are no items, the pool has no sharers for the task or lacks what the router needs, or
            the options leave no piece.
    """
    if not items:
        raise PerpcsError("The history is empty.", "Give at least one item.")
    if len(user) > LONGEST_NAME or user != user.encode("utf-8", "replace").decode():
        raise PerpcsError(f"The name {user[:20]!r} cannot be saved.", f"Use {LONGEST_NAME} characters at most.")
    options = options or PRESETS["default"]
    pieces = restricted(pool, task.name, pool.pieces(task.name, base.device, base.dtype), options)
    began = time.perf_counter()
    encoded = [encode_pair(base.tokenizer, *task.pair(item), base.max_tokens) for item in items]
    chosen = options.route(
        History(
            base,
            pieces,
            encoded,
            texts=task.kind == "text",
            likeness=partial(likeness, pool, task.name, items),
            batch_tokens=batch_tokens,
            on_position=on_position,
            began=began,
        )
    )
    return Assembly(
        weights=rounded(chosen.weights),
        scores=chosen.scores.astype(np.float32),
        choices=chosen.index,
        votes=chosen.votes,
        task=task.name,
        positions=tuple(position.label for position in base.positions),
        sharers=tuple(sharer.id for sharer in pool.sharers(task.name)),
        pool=pool.manifest.name,
        pool_hash=pool.hash,
        router=flat_options(options),
        tokens=sum(len(item.ids) for item in encoded),
        seconds=round(time.perf_counter() - began, 4),
        cut_items=sum(item.cut for item in encoded),
        user=user,
        own=np.zeros(0, np.float16) if chosen.own is None else chosen.own,
        extra=chosen.extra,
    )


def restricted(pool: Pool, task: str, pieces: TaskPieces, options: Router) -> TaskPieces:
    """The pieces that the options leave: a share of every sharer's, and nothing of the sharers left out.

    Raises:
        PerpcsError: when a sharer is unknown, or nothing is left.
    """
    if options.share_ratio == 1 and not options.without:
        return pieces
    ids = [sharer.id for sharer in pool.sharers(task)]
    for id in options.without:
        if id not in ids:
            raise unknown("sharer", id, ids)
    paths = [position.path for position in pool.manifest.positions]
    allowed = share_mask(paths, ids, options.share_ratio, options.seed)
    allowed[:, [ids.index(id) for id in options.without]] = False
    mask = pieces.mask & torch.from_numpy(allowed).to(pieces.mask.device)
    if not mask.any():
        raise PerpcsError("No piece is left to choose from.", "Leave fewer sharers out.")
    return replace(pieces, mask=mask)
