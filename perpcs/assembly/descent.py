"""Routing by the loss instead of the activations: `gradient` and `fit`; `newton` has a file of its own.

    gradient    g_ips = - d loss_i / d w_ps at w = 0     one forward and one backward pass give it for every piece
    fit         w <- max(0, w - rate * Adam(d (loss of a few items + shrink / T * sum w^2) / d w))   a few steps, from 0

T is the number of target tokens in the history and the loss a mean over tokens: the pull towards the base model is the
same for everybody and matters less the more somebody wrote. Only w moves: no gradient of any weight matrix is computed.
Both see the pieces of all sharers on one basis, so a pass costs little more than one of the base model. Neither is in
the paper; docs/RESULTS.md has their results.

``fit+own`` adds a person's own rank-1 piece, trained on top of the pieces of others: a few KB beside the weights.

The sharers' pieces cannot express what no sharer does. The own piece learns the rest, while the fitted weights stay
fixed. In a record it is one flat array of half floats: A (n) then B (d), position by position.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Protocol

import numpy as np
import torch
from torch import Tensor

from perpcs.assembly.activations import gumbel, select
from perpcs.assembly.router import History, Routed, Selecting, item_shares
from perpcs.errors import PerpcsError
from perpcs.model.base import BaseModel
from perpcs.model.basis import Factors, OwnPiece, Update, as_list
from perpcs.model.likelihood import Encoded, item_gains, no_gains, on_one_basis, target_nll
from perpcs.pool.store import TaskPieces
from perpcs.pool.train import PieceSettings, initial_A
from perpcs.schema import Position

# ---- weights ---------------------------------------------------------------------------------------------------------


_BATCH = 8
"""Items of one step of the fit."""
_SURE = 20.0
"""Standard errors that count as 1 beside a temperature: then the default temperature suits gates and gradients."""
_BETAS = (0.9, 0.99)
_TINY = 1e-12
_NAMED = 3
"""Pieces that a record names of an item where the router keeps no k best."""


class FitOptions(Protocol):
    """The options of a fit; the router `fit` documents them."""

    @property
    def steps(self) -> int: ...

    @property
    def rate(self) -> float: ...

    @property
    def shrink(self) -> float: ...

    @property
    def signed(self) -> str: ...

    @property
    def least(self) -> float: ...

    @property
    def half_life(self) -> int: ...


def surest_pieces(history: History, options: Selecting, half_life: int) -> Routed:
    """The router `gradient`: a softmax over the k pieces of a position whose mean gain is most certain."""
    N, P, S = history.shape
    passes, weights = len(history.batches()), np.zeros((P, S))
    gains = item_gradients(
        *(history.base, history.pieces, history.items),
        batch_tokens=history.batch_tokens,
        on_batch=lambda number: history.tell(number, passes + 1, weights),
    )
    shares, noise = item_shares(N, half_life), gumbel(options, (1, P, S))
    for p, mask in enumerate(history.pieces.mask.cpu()):
        scores = torch.from_numpy(sureness(gains[:, p], shares))[None]
        picked, weight = select(scores, mask, options, None if noise is None else noise[:, p])
        weights[p, picked[0].numpy()] = weight[0].numpy()
    history.tell(passes, passes + 1, weights)
    return Routed(weights, gains.mean(axis=0), *named_pieces(gains, options.k))


def fit_history(history: History, options: FitOptions, of: int | None = None) -> Routed:
    """The router `fit`.

    Args:
        options: with ``signed`` decided (``settled``).
        of: steps of the whole work, where more follow than those of the fit.
    """
    weights, gains = fit_weights(
        *(history.base, history.pieces, history.items, options),
        on_step=lambda step, now: history.tell(step, of or options.steps, now),
    )
    return Routed(weights, gains.mean(axis=0), *named_pieces(gains))


def named_pieces(
    gains: Annotated[np.ndarray, "N P S"], k: int = _NAMED
) -> tuple[Annotated[np.ndarray, "N P k"], Annotated[np.ndarray, "N P k"]]:
    """For each item the k pieces with the largest gains, (N, P, k), and their shares of the sum of these gains."""
    k = min(k, gains.shape[2])
    index = np.argsort(-gains, axis=2, kind="stable")[:, :, :k]
    gain = np.maximum(np.take_along_axis(gains, index, axis=2), 0)
    share = gain / np.maximum(gain.sum(axis=2, keepdims=True), 1e-12)
    return np.where(gain > 0, index, -1).astype(np.int16), share.astype(np.float16)


def item_gradients(
    base: BaseModel,
    task: TaskPieces,
    encoded: Sequence[Encoded],
    *,
    batch_tokens: int = 8192,
    on_batch: Callable[[int], None] | None = None,
) -> np.ndarray:
    """``item_gains``, and 0 for a piece that is not shared: (N, P, S), larger = helps more."""
    gains = item_gains(base, task.pieces, encoded, batch_tokens=batch_tokens, on_batch=on_batch)
    return gains * task.mask.cpu().numpy()


def sureness(gains: Annotated[np.ndarray, "N S"], shares: Annotated[np.ndarray, "N"]) -> Annotated[np.ndarray, "S"]:
    """How certain it is that each piece helps: gains of a position's pieces (N, S) -> (S,), the mean gain in units of
    ``_SURE`` standard errors over the items.

    Args:
        shares: how much each item counts, (N,), adding up to 1.

    One made-up item, on which no piece helps and pieces differ as much as their means do, keeps one item alone from
    being certain.
    """
    mean, n = shares @ gains, 1 / float((shares**2).sum())
    around = shares @ (gains - mean) ** 2
    error = np.sqrt((around * n + (mean**2).mean()) / n / n)
    return mean / np.maximum(error, 1e-12) / _SURE


@torch.enable_grad()
def fit_weights(
    base: BaseModel,
    task: TaskPieces,
    encoded: Sequence[Encoded],
    options: FitOptions,
    on_step: Callable[[int, np.ndarray], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights after a few steps of descent on them alone, each over a few items.

    Every row of a batch has the weights as a leaf of its own, so that the step also tells what each item asked for.

    Args:
        options: with ``signed`` decided (``settled``): only "always" lets a weight fall below 0.
        on_step: called with the number of the step and the weights after it.

    Returns:
        Weights (P, S), and for each item (N, P, S) how much its loss would have fallen with the weight of each piece
        when it was first read; 0 for an item that no step came to.
    """
    P, S = len(base.positions), task.pieces.sharers
    kind = torch.promote_types(base.dtype, torch.float32)  # moments of a bfloat16 leaf would not add up
    mask = task.mask.to(base.device, kind)
    kept = mask
    w = torch.zeros(P, S, device=base.device, dtype=kind, requires_grad=True)
    optimiser = torch.optim.Adam([w], lr=options.rate, betas=_BETAS)
    batches = fit_batches(len(encoded), options.steps)
    gains = no_gains(base, len(encoded), S)
    counts_for = torch.from_numpy(item_shares(len(encoded), options.half_life) * len(encoded))
    counts_for = counts_for.to(base.device, kind)
    pull = 2 * pull_of(encoded, options)
    read: set[int] = set()
    for step, rows in enumerate(batches):
        optimiser.param_groups[0]["lr"] = options.rate * (1 - step / options.steps)
        row_weights = w.detach().expand(len(rows), -1, -1).clone().requires_grad_()
        nll, counts = target_nll(base, [encoded[row] for row in rows], on_one_basis(task.pieces, row_weights))
        counts = counts * counts_for[rows]
        total = counts.sum().clamp(min=_TINY)  # with a half-life, old items may count nothing
        (slopes,) = torch.autograd.grad((nll * counts_for[rows]).sum() / total, row_weights)
        slopes = slopes * mask
        w.grad = slopes.sum(0) + pull * w.detach()
        optimiser.step()
        with torch.no_grad():
            if options.signed != "always":
                w.clamp_(min=0)
            elif step + 1 == options.steps // 2:
                size = w.abs()
                kept = kept * (size >= options.least * size.amax(dim=1, keepdim=True))
            w.mul_(kept)  # the optimiser's momentum would carry a piece on that is left out
        shares = (counts / total).clamp(min=_TINY)[:, None, None]
        batch_gains = (-slopes / shares).cpu().numpy()
        for place, row in enumerate(rows):
            if row not in read:
                read.add(row)
                gains[row] = batch_gains[place]
        if on_step:
            on_step(step, w.detach().cpu().numpy())
    return w.detach().cpu().numpy(), gains


def pull_of(encoded: Sequence[Encoded], options: FitOptions) -> float:
    """The factor of the squared weights beside a mean loss over target tokens."""
    return options.shrink / sum(len(one.targets) for one in encoded)


def fit_batches(count: int, steps: int) -> list[list[int]]:
    """The items of every step: shuffled passes over all of them, the same at every call, no item twice in a step."""
    random = np.random.default_rng(0)
    order: list[int] = []
    while len(order) < steps * _BATCH:
        order.extend(random.permutation(count).tolist())
    return [list(dict.fromkeys(order[at * _BATCH : (at + 1) * _BATCH])) for at in range(steps)]


# ---- an own piece ----------------------------------------------------------------------------------------------------


def own_piece(own: np.ndarray, positions: Sequence[Position]) -> OwnPiece | None:
    """The piece that a record holds (``Assembly.own``), rank 1; None where it holds none.

    Raises:
        PerpcsError: when it does not fit the positions.
    """
    if not own.size:
        return None
    if own.size != sum(position.n + position.d for position in positions):
        raise PerpcsError("The person's own piece does not fit the pool's layers.", "Assemble the person again.")
    flat, at = torch.from_numpy(own.astype(np.float32)), 0
    A, Bt = [], []
    for position in positions:
        A.append(flat[at : at + position.n][None])
        Bt.append(flat[at + position.n : at + position.n + position.d][None])
        at += position.n + position.d
    return OwnPiece(A, Bt)


@torch.enable_grad()
def train_own(
    history: History,
    weights: np.ndarray,
    options: FitOptions,
    rate: float,
    on_step: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Train a rank-1 piece at every position beside fixed weights (P, S).

    Args:
        options: those of the fit.
        rate: learning rate of the first step; it decays to 0.
        on_step: called with the number of the step.

    Returns:
        Float16, flat: A (n) then B (d), position by position.
    """
    base, task, encoded = history.base, history.pieces, history.items
    batches = fit_batches(len(encoded), options.steps)
    settings = PieceSettings(rank=1)
    like = torch.zeros(1, device=base.device, dtype=torch.promote_types(base.dtype, torch.float32))
    A = [initial_A("", p.path, p.n, settings).to(like).requires_grad_() for p in base.positions]
    B = [like.new_zeros(1, p.d).requires_grad_() for p in base.positions]
    w = torch.from_numpy(weights)[None].to(like)
    others = [task.pieces.shared(p, w[:, p]) for p in range(len(base.positions))]
    one = like.new_ones(1, 1, 1)

    def adapter(p: int, x: Tensor) -> list[Update]:
        return [*as_list(others[p]), Factors(A[p], B[p], one)]

    count = torch.from_numpy(item_shares(len(encoded), options.half_life) * len(encoded)).to(like)
    pull = pull_of(encoded, options)
    optimiser = torch.optim.Adam([*A, *B], lr=rate, betas=(0.9, 0.99))
    for step, rows in enumerate(batches):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / len(batches))
        nll, tokens = target_nll(base, [encoded[row] for row in rows], adapter)
        loss = (nll * count[list(rows)]).sum() / (tokens * count[list(rows)]).sum().clamp(min=_TINY)
        (loss + pull * torch.stack([b.square().sum() for b in B]).sum()).backward()
        optimiser.step()
        optimiser.zero_grad()
        if on_step:
            on_step(step)
    flat = [part.detach().flatten() for pair in zip(A, B, strict=True) for part in pair]
    return torch.cat(flat).cpu().numpy().astype(np.float16)
