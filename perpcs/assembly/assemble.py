"""Assembling a person: a router turns their history into weights, and a record stores the result.

Which of a person's own words a piece fits: the score of one piece at one position, token by token.

    history item --> base layers, with the pieces this person has --> position p: v_t of every target token
                                                                                      |
                                             score_t = what v_t adds to the item's score of the piece

Scores are those of the person's own router where it scores tokens (gate, prototype, arrow), and there the mean of an
item's token scores (their sum where the router sums) is the score that the item chose by. Routers that use the loss, or
no model, score no tokens: the prototype with default options is used instead. A score belongs to the token that is
predicted: v_t is the input at the place that predicts it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perpcs.assembly.activations import likeness
from perpcs.assembly.explain import END, ItemTokens, TokenScores
from perpcs.assembly.record import Assembly, rounded
from perpcs.assembly.router import ByActivations, History, Router, Step
from perpcs.assembly.routers import PRESETS, flat_options, make_router
from perpcs.assembly.routers.prototype import Prototype
from perpcs.errors import PerpcsError, unknown
from perpcs.model.base import BaseModel
from perpcs.model.basis import Updates, people
from perpcs.model.likelihood import Encoded, encode_pair, length_batches, pad_right
from perpcs.pool.select import share_mask
from perpcs.pool.store import Pool, TaskPieces
from perpcs.schema import LONGEST_NAME
from perpcs.tasks import Item, Task

# ---- a person --------------------------------------------------------------------------------------------------------


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
    weights, own = rounded(chosen.weights), np.zeros(0, np.float16) if chosen.own is None else chosen.own
    if not (np.isfinite(weights).all() and np.isfinite(own).all()):
        raise PerpcsError("The weights grew beyond all numbers.", "Use a smaller learning rate, or another router.")
    return Assembly(
        weights=weights,
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
        own=own,
        extra=chosen.extra,
    )


def restricted(pool: Pool, task: str, pieces: TaskPieces, options: Router) -> TaskPieces:
    """The pieces that the options allow: a share of each sharer's, and none of the excluded sharers'.

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


# ---- a person's own words --------------------------------------------------------------------------------------------


class _Reached(Exception):
    """Raised by the adapter at the requested position to end the pass."""


def scoring_router(assembly: Assembly) -> tuple[ByActivations, bool]:
    """The router that scores tokens, and whether it replaces the person's own."""
    if assembly.decided_by == "votes":
        own = make_router(**assembly.router)
        if isinstance(own, ByActivations):
            return own, False
    return Prototype(), True


@torch.no_grad()
def token_scores(
    base: BaseModel,
    pool: Pool,
    task: Task,
    items: Sequence[Item],
    assembly: Assembly,
    position: int,
    sharer: int,
    which: Sequence[int],
    *,
    batch_tokens: int = 8192,
) -> TokenScores:
    """Score one piece at every target token of some items, in one forward pass that ends at the position.

    Args:
        items: the whole history that the person was assembled from.
        which: indices of the items to score; each reads alone, so the others change nothing.

    Raises:
        PerpcsError: when the history is not the one that the person was assembled from, or the router cannot score.
    """
    if len(items) != assembly.n_items:
        raise PerpcsError(
            f"This history has {len(items)} items, and the person was assembled from {assembly.n_items}.",
            "Assemble the person again from this history.",
        )
    router, stands_in = scoring_router(assembly)
    shared = pool.pieces(task.name, base.device, base.dtype)
    pieces = restricted(pool, task.name, shared, make_router(**assembly.router))
    keys = router.keys(pieces)[position]
    pairs = [task.pair(items[index]) for index in which]
    encoded = [encode_pair(base.tokenizer, *pair, base.max_tokens) for pair in pairs]
    found: dict[int, Tensor] = {}
    for rows in length_batches([len(item.ids) for item in encoded], batch_tokens):
        ids = pad_right([encoded[row].ids for row in rows], base.pad, base.device)
        before = _as_assembled(base, pieces, assembly, [which[row] for row in rows], stands_in)

        def look(p: int, x: Tensor, rows: list[int] = rows, before: Any = before) -> Updates:
            if p < position:
                return before(p, x)
            for at, row in enumerate(rows):
                found[row] = router.token_scores(x[at, encoded[row].start : encoded[row].end], keys, sharer)
            raise _Reached

        try:
            base.hidden(ids, look)
        except _Reached:
            continue
    texts = [target_texts(base.tokenizer, *pair, item) for pair, item in zip(pairs, encoded, strict=True)]
    return TokenScores(
        router.name,
        stands_in,
        tuple(ItemTokens(index, texts[row], tuple(found[row].float().tolist())) for row, index in enumerate(which)),
    )


def _as_assembled(base: BaseModel, pieces: Any, assembly: Assembly, which: Sequence[int], stands_in: bool) -> Any:
    """The adapter that layers before the position read with: each item's own choices, as when the person was
    assembled; the person's finished weights where items chose nothing.
    """
    if stands_in:
        weights = torch.from_numpy(np.array(assembly.weights, dtype=np.float32))[None]
        return people(pieces.pieces, weights.to(base.device, base.dtype))
    index = torch.from_numpy(np.maximum(assembly.choices[list(which)], 0).astype(np.int64)).to(base.device)
    votes = torch.from_numpy(assembly.votes[list(which)].astype(np.float32)).to(base.device, base.dtype)
    return lambda p, x: pieces.pieces.gathered(p, index[:, p], votes[:, p])


def target_texts(tokenizer: Any, prompt: str, target: str, encoded: Encoded) -> tuple[str, ...]:
    """The text of each of an item's target tokens; joined, they are the target (a cut one is shorter)."""
    whole = prompt + target
    spans = tokenizer(whole, return_offsets_mapping=True)["offset_mapping"]
    first = next((i for i, (begin, end) in enumerate(spans) if end > len(prompt) and end > begin), len(spans))
    texts, at = [], len(prompt)
    for begin, end in spans[first:]:
        if end > begin:  # a letter of several bytes may have several tokens: the first of them shows it
            texts.append(whole[max(begin, at) : max(end, at)])
            at = max(end, at)
    texts.append(END)
    return tuple(texts[int(first == 0) :][: encoded.end - encoded.start])  # without a BOS nothing predicts the first
