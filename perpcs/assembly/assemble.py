"""Assembling a person: one forward pass over the history, choosing pieces position by position (paper section 2.5).

    history item i --> base layers --> position p: score target tokens -> top k -> softmax = w_ip
                                            |                                        |
                                            +-- y = W v + sum_s w_ips B_s A_s v  <---+--> later positions see it
    the person: W_u[p] = mean over items of w_ip                                       (P, S)

Each item chooses for itself, so the result does not depend on batch size, order or padding. There is no head, no
cache, and nothing after the last position: that position's adapter ends the pass.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perpcs.assembly.blind import blind_scores, likeness
from perpcs.assembly.descent import fit_batches, fit_weights, item_gradients, sureness
from perpcs.assembly.kept import rounded
from perpcs.assembly.newton import UNTRIED, newton_step, solve
from perpcs.assembly.newton import Step as NewtonStep
from perpcs.assembly.options import BLIND, BY_LOSS, FITS, RouterOptions, settled
from perpcs.assembly.own import train_own
from perpcs.assembly.record import Assembly, item_shares
from perpcs.assembly.routers import gumbel, item_scores, routing_keys, select, width
from perpcs.errors import PerpcsError, unknown
from perpcs.model.base import BaseModel
from perpcs.model.basis import Update
from perpcs.model.gains import batches_of_gains, no_gains
from perpcs.model.text import Encoded, encode_pair, length_batches, pad_right, target_mask
from perpcs.pool.select import share_mask
from perpcs.pool.store import Pool, TaskPieces
from perpcs.tasks import Item, Task


@dataclass(frozen=True)
class Step:
    """Told after every position of every batch."""

    position: int
    positions: int
    batch: int
    batches: int
    weights: np.ndarray
    """Mean weights over the items read so far, (P, S); zeros at positions not reached yet."""
    seconds: float


class _PassEnds(Exception):
    """Raised by the last position's adapter: nothing after it is needed."""


def assemble(
    base: BaseModel,
    pool: Pool,
    task: Task,
    items: Sequence[Item],
    *,
    options: RouterOptions | None = None,
    user: str = "me",
    on_position: Callable[[Step], None] | None = None,
    batch_tokens: int = 8192,
) -> Assembly:
    """Assemble a person from their history.

    Args:
        on_position: called after every position in the calling thread; an exception raised in it ends the work.
        batch_tokens: padded tokens of one forward pass; it changes speed and memory, never the result.

    Raises:
        PerpcsError: when there are no items, the pool has no sharers for the task or lacks what the router needs, or
            the options leave no piece.
    """
    if not items:
        raise PerpcsError("The history is empty.", "Give at least one item.")
    options = options or RouterOptions()
    pieces = restricted(pool, task.name, pool.pieces(task.name, base.device, base.dtype), options)
    began = time.perf_counter()
    encoded = [encode_pair(base.tokenizer, *task.pair(item), base.max_tokens) for item in items]
    alike = likeness(pool, task.name, items) if options.router == "retrieval" else None
    run, decided = weigher(options, alike), settled(options, texts=task.kind == "text")
    chosen = run(base, pieces, encoded, decided, on_position=on_position, batch_tokens=batch_tokens, began=began)
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
        router={**asdict(options), "without": list(options.without)},  # as JSON gives it back
        tokens=sum(len(item.ids) for item in encoded),
        seconds=round(time.perf_counter() - began, 4),
        cut_items=sum(item.cut for item in encoded),
        user=user,
        own=np.zeros(0, np.float16) if chosen.own is None else chosen.own,
        extra=chosen.extra,
    )


@dataclass(frozen=True)
class Routed:
    """What a history chose, before it becomes a record; in float64 where the model is."""

    weights: np.ndarray
    scores: np.ndarray
    index: np.ndarray
    votes: np.ndarray
    own: np.ndarray | None = None
    """The person's own piece as a record holds it."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What else a router found, as a record holds it."""


def restricted(pool: Pool, task: str, pieces: TaskPieces, options: RouterOptions) -> TaskPieces:
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


def weigher(options: RouterOptions, alike: Tensor | None = None) -> Callable[..., Routed]:
    """What finds weights by the router that the options name; all are called alike.

    Args:
        alike: likeness of the sharers (S,), which PEFT retrieval goes by.
    """
    if options.router in BLIND:
        return partial(look_away, alike=alike)
    return descend if options.router in BY_LOSS else route


@torch.no_grad()
def route(
    base: BaseModel,
    task: TaskPieces,
    encoded: Sequence[Encoded],
    options: RouterOptions,
    *,
    on_position: Callable[[Step], None] | None = None,
    batch_tokens: int = 8192,
    began: float | None = None,
) -> Routed:
    """Run the assembly pass over encoded items. N items, P positions, S sharers, k choices."""
    P, S, N = len(base.positions), task.pieces.sharers, len(encoded)
    K = width(options, S)
    shares = item_shares(N, options.half_life)
    noise = gumbel(options, (N, P, S))
    kind = torch.float64 if base.dtype == torch.float64 else torch.float32
    keys = routing_keys(task, options)
    weights = torch.zeros(P, S, dtype=kind)
    totals = torch.zeros(P, S, dtype=kind)
    index = np.full((N, P, K), -1, dtype=np.int16)
    votes = np.zeros((N, P, K), dtype=np.float16)
    began = time.perf_counter() if began is None else began
    batches = length_batches([len(item.ids) for item in encoded], batch_tokens)
    read = np.zeros((P, 1), dtype=np.float32)  # share of the items read so far
    for number, rows in enumerate(batches):
        part = [encoded[row] for row in rows]
        ids = pad_right([item.ids for item in part], base.pad, base.device)
        mask = target_mask(part, ids.shape[1], base.device)

        def choose(p: int, x: Tensor, mask: Tensor = mask, rows: list[int] = rows, number: int = number) -> Update:
            scores = item_scores(x, keys[p], mask, options)
            drawn = None if noise is None else noise[rows, p]
            picked, weight = select(scores, task.mask[p], x.shape[-1], options, drawn)
            dense = torch.zeros_like(scores).scatter_(1, picked, weight)
            count = torch.from_numpy(shares[rows])
            weights[p] += count.to(kind) @ dense.to("cpu", kind)
            totals[p] += count.to(kind) @ scores.to("cpu", kind)
            index[rows, p] = torch.where(weight > 0, picked, -1).cpu().numpy()
            votes[rows, p] = weight.float().cpu().numpy()
            read[p] += float(count.sum())
            if on_position:
                now = weights.float().numpy() / np.maximum(read, 1e-12)
                on_position(Step(p, P, number, len(batches), now, time.perf_counter() - began))
            if p == P - 1:
                raise _PassEnds
            return task.pieces.gathered(p, picked, weight)

        with contextlib.suppress(_PassEnds):
            base.hidden(ids, choose)
    return Routed(weights.numpy(), totals.numpy(), index, votes)


def look_away(
    base: BaseModel,
    task: TaskPieces,
    encoded: Sequence[Encoded],
    options: RouterOptions,
    *,
    alike: Tensor | None = None,
    on_position: Callable[[Step], None] | None = None,
    batch_tokens: int = 8192,
    began: float | None = None,
) -> Routed:
    """Weights without a pass of the model. No item votes: the choice is the same whatever was written where."""
    del batch_tokens
    began = time.perf_counter() if began is None else began
    P, S, N = len(base.positions), task.pieces.sharers, len(encoded)
    if options.router in ("uniform", "random"):
        options = replace(options, selector="all" if options.router == "uniform" else "top_k", attention=False)
    scores = blind_scores(options, P, S, encoded, alike)
    noise = gumbel(options, (1, P, S))
    weights = torch.zeros(P, S, dtype=scores.dtype)
    for p, mask in enumerate(task.mask.cpu()):
        drawn = None if noise is None else noise[:, 0]  # whole sharers: the same draw at every position
        picked, weight = select(scores[p : p + 1], mask, base.positions[p].n, options, drawn)
        weights[p].scatter_(0, picked[0], weight[0])
    if on_position:
        on_position(Step(P - 1, P, 0, 1, weights.float().numpy(), time.perf_counter() - began))
    nobody = np.zeros((N, P, 0))
    return Routed(weights.numpy(), scores.numpy(), nobody.astype(np.int16), nobody.astype(np.float16))


def descend(
    base: BaseModel,
    task: TaskPieces,
    encoded: Sequence[Encoded],
    options: RouterOptions,
    *,
    on_position: Callable[[Step], None] | None = None,
    batch_tokens: int = 8192,
    began: float | None = None,
) -> Routed:
    """Weights by the loss. Votes are each item's own gradients: the weights are not their mean.

    With ``gradient`` the k pieces whose mean gradient is surest to help share a position by softmax (``sureness``);
    with ``newton`` and ``fit`` every piece has the weight that the descent gives it.
    """
    began = time.perf_counter() if began is None else began
    P, S = len(base.positions), task.pieces.sharers

    def tell(number: int, of: int, weights: np.ndarray) -> None:
        if on_position:
            seconds = time.perf_counter() - (began or 0.0)
            on_position(Step(P - 1, P, number, of, weights.astype(np.float32), seconds))

    own_piece: np.ndarray | None = None
    extra: dict[str, Any] = {}
    if options.router == "newton":
        shares = item_shares(len(encoded), options.half_life)
        passes = len(length_batches([len(item.ids) for item in encoded], batch_tokens))
        of = 3 * passes + 1  # reading, trying, checking; the last two take about as many passes again
        gains, losses = read_gains(base, task, encoded, batch_tokens, lambda at, now: tell(at, of, now))
        found = newton_step(
            base,
            task,
            encoded,
            gains,
            losses,
            shares,
            batch_tokens=batch_tokens,
            on_pass=lambda at, now: tell(min(passes + at, of - 2), of, now),
        )
        weights, extra = found.weights, newton_record(found)
        tell(of - 1, of, weights)
    elif options.router in FITS:
        steps = options.steps * (1 + (options.router == "fit+own"))
        weights, gains = fit_weights(base, task, encoded, options, on_step=lambda step, now: tell(step, steps, now))
        if steps > options.steps:
            batches = fit_batches(len(encoded), options.steps)
            own_piece = train_own(
                base, task, encoded, weights, options, batches, lambda step: tell(options.steps + step, steps, weights)
            )
    else:
        passes = len(length_batches([len(item.ids) for item in encoded], batch_tokens))
        weights = np.zeros((P, S))
        gains = item_gradients(
            base, task, encoded, batch_tokens=batch_tokens, on_batch=lambda at: tell(at, passes + 1, weights)
        )
        own = replace(options, sqrt_n=False)
        shares = item_shares(len(encoded), options.half_life)
        noise = gumbel(options, (1, P, S))
        for p, mask in enumerate(task.mask.cpu()):
            scores = torch.from_numpy(sureness(gains[:, p], shares))[None]
            picked, weight = select(scores, mask, base.positions[p].n, own, None if noise is None else noise[:, p])
            weights[p, picked[0].numpy()] = weight[0].numpy()
        tell(passes, passes + 1, weights)
    index, votes = _own_choices(gains, options)
    return Routed(weights, gains.mean(axis=0), index, votes, own_piece, extra)


def read_gains(
    base: BaseModel,
    task: TaskPieces,
    encoded: Sequence[Encoded],
    batch_tokens: int,
    tell: Callable[[int, np.ndarray], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Gains (N, P, S), 0 for a piece that is not shared, and losses (N,) of the base model.

    Args:
        tell: told after every batch its number, and the weights that the items read so far ask for.
    """
    P, S, N = len(base.positions), task.pieces.sharers, len(encoded)
    gains, losses, mask = no_gains(base, N, S), np.zeros(N), task.mask.cpu().numpy()
    read: list[int] = []
    batches = batches_of_gains(base, task.pieces, encoded, batch_tokens=batch_tokens)
    for number, (rows, own, loss) in enumerate(batches):
        gains[rows], losses[rows] = own * mask, loss
        read += rows
        damping, length = UNTRIED
        tell(number, (length * solve(gains[read].reshape(len(read), P * S), damping)).reshape(P, S))
    return gains, losses


def newton_record(step: NewtonStep) -> dict[str, Any]:
    """What a record keeps of a Newton step beside its weights."""
    kept: dict[str, Any] = {"damping": step.damping, "length": round(step.length, 4)}
    if step.check is not None:
        rows = (step.check.before, step.check.after)
        kept["check"] = {name: np.round(row, 4).tolist() for name, row in zip(("before", "after"), rows, strict=True)}
    return kept


def _own_choices(gains: np.ndarray, options: RouterOptions) -> tuple[np.ndarray, np.ndarray]:
    """Of each item the k pieces that would help it most, (N, P, k), and their shares of what these help it."""
    k = min(options.k, gains.shape[2])
    index = np.argsort(-gains, axis=2, kind="stable")[:, :, :k]
    gain = np.maximum(np.take_along_axis(gains, index, axis=2), 0)
    share = gain / np.maximum(gain.sum(axis=2, keepdims=True), 1e-12)
    return np.where(gain > 0, index, -1).astype(np.int16), share.astype(np.float16)
