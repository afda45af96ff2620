"""Routing by activations: the gates of the paper, and alternatives to them.

    history item i --> base layers --> position p: score target tokens -> top k -> softmax = w_ip
                                            |                                        |
                                            +-- y = W v + sum_s w_ips B_s A_s v  <---+--> later positions see it
    the person: W_u[p] = mean over items of w_ip                                       (P, S)

At each position, for each history item: the target tokens' input activations v_t are compared with every piece's key
(its gate g_s, or its owner's mean activation), and token scores are reduced to one score an item and piece:

    score_s = reduce_t  norm(g_s) . norm(v_t)               cosine, or layer norm with the product divided by sqrt(n)

Arrow needs no training and no text of the owner: its key is the input that the piece amplifies most, the top right
singular vector of B_s A_s, whose sign means nothing, so score_s = mean_t |key_s . v_t / |v_t||.

Then a selector keeps some pieces and weights them by softmax(score / temperature); the paper divides its summed cosines
by sqrt(n) too. Centring subtracts from keys and activations what all sharers have in common, which would otherwise
decide every choice.

Each item chooses for itself, so the result does not depend on batch size, order or padding. There is no head, no
cache, and nothing after the last position: that position's adapter ends the pass.

How scores become weights (a selector keeps some pieces and weights them by softmax(score / temperature)), and what
routers do that never run the model: whole sharers by the likeness of their histories, and two controls.

    retrieval   PEFT retrieval: cosine of the person's and the sharers' embeddings, the same choice at every position
    uniform     every shared piece alike                random     k pieces at each position, drawn for each history

Per-Pcs must beat all three; otherwise choosing layer by layer is useless.
"""

import contextlib
import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from perpcs.assembly.router import ByActivations, History, Keys, Routed, Scoring, Selecting, item_shares
from perpcs.errors import PerpcsError
from perpcs.model.basis import Bottlenecks, Pieces, PrefixPieces, Scalings, Update
from perpcs.model.likelihood import pad_right, target_mask
from perpcs.pool.select import embed_users
from perpcs.pool.store import Pool, TaskPieces
from perpcs.tasks import Item

# ---- selectors -------------------------------------------------------------------------------------------------------


def width(options: Selecting, sharers: int) -> int:
    """How many pieces an item may keep at a position, K."""
    return min(options.k, sharers) if options.selector in ("top_k", "sample") else sharers


def gumbel(options: Selecting, shape: Sequence[int]) -> Tensor | None:
    """Noise to sample with, of the given shape (..., S); None where nothing is sampled.

    The k largest of logits plus Gumbel noise are k draws from their softmax without replacement.
    """
    if options.selector != "sample":
        return None
    draws = torch.rand(*shape, generator=torch.Generator().manual_seed(options.seed), dtype=torch.float64)
    return -(-draws.clamp(min=1e-12).log()).log()


def select(
    scores: Annotated[Tensor, "b S"],
    shared: Annotated[Tensor, "S"],
    options: Selecting,
    noise: Annotated[Tensor, "b S"] | None = None,
    *,
    scale: float = 1.0,
) -> tuple[Annotated[Tensor, "b K"], Annotated[Tensor, "b K"]]:
    """The pieces that every item keeps, best first, and their weights: scores (b, S), shared (S,) -> index, weight
    (b, K).

    A weight is 0 where fewer than K pieces are kept at this position. Equal scores keep the order of the sharers.

    Args:
        noise: (b, S), what ``gumbel`` drew for these items.
        scale: multiplies the temperature; sqrt(n) in the paper.
    """
    K = width(options, scores.shape[1])
    sharpness = options.temperature * scale
    barred = scores.masked_fill(~shared, -torch.inf)
    ranked = barred if noise is None else barred / sharpness + noise.to(scores)
    index = ranked.sort(dim=1, descending=True, stable=True).indices[:, :K]
    best = barred.gather(1, index)
    kept = best > -torch.inf
    logits = torch.where(kept, best, -1e30) / sharpness  # finite, so that nothing shared gives no NaN
    if options.selector == "top_p":
        share = torch.softmax(logits, dim=1)
        kept &= share.cumsum(1) - share < options.p
    if not options.attention:
        logits = torch.zeros_like(logits)
    weight = torch.softmax(logits.masked_fill(~kept, -1e30), dim=1)
    return index, weight.masked_fill(~kept, 0.0)


# ---- without the model -----------------------------------------------------------------------------------------------


def likeness(pool: Pool, task: str, items: Sequence[Item]) -> Annotated[Tensor, "S"]:
    """Cosine between the embedding of a history and of each sharer's: float32 (S,).

    Raises:
        PerpcsError: when the pool stores no embeddings of its sharers.
    """
    sharers = pool.embeddings(task)
    if sharers is None:
        raise PerpcsError(
            f"The pool stores no embeddings of the sharers of {task}.", "Build the pool again, or take another router."
        )
    person = embed_users([items], pool.task(task).encoder)[0]
    return F.normalize(sharers, dim=1) @ F.normalize(person, dim=0)


def by_scores(history: History, scores: np.ndarray | Tensor, options: Selecting) -> Routed:
    """Weights from scores (P, S) that no pass of the model made. No item votes: the choice does not depend on single
    items.
    """
    scores = torch.as_tensor(scores)
    N, P, S = history.shape
    noise = gumbel(options, (1, P, S))
    weights = torch.zeros(P, S, dtype=scores.dtype)
    for p, mask in enumerate(history.pieces.mask.cpu()):
        drawn = None if noise is None else noise[:, 0]  # whole sharers: the same draw at every position
        picked, weight = select(scores[p : p + 1], mask, options, drawn)
        weights[p].scatter_(0, picked[0], weight[0])
    history.tell(0, 1, weights.float().numpy())
    nobody = np.zeros((N, P, 0))
    return Routed(weights.numpy(), scores.numpy(), nobody.astype(np.int16), nobody.astype(np.float16))


class _PassEnds(Exception):
    """Raised by the last position's adapter to end the pass."""


@torch.no_grad()
def route_by_activations(history: History, router: ByActivations) -> Routed:
    """Run the assembly pass over a history. N items, P positions, S sharers, k choices."""
    base, task, encoded = history.base, history.pieces, history.items
    N, P, S = history.shape
    K = width(router, S)
    shares = item_shares(N, router.half_life)
    noise = gumbel(router, (N, P, S))
    kind = torch.float64 if base.dtype == torch.float64 else torch.float32
    keys = router.keys(task)
    weights = torch.zeros(P, S, dtype=kind)
    totals = torch.zeros(P, S, dtype=kind)
    index = np.full((N, P, K), -1, dtype=np.int16)
    votes = np.zeros((N, P, K), dtype=np.float16)
    batches = history.batches()
    read = np.zeros((P, 1), dtype=np.float32)  # share of the items read so far
    for number, rows in enumerate(batches):
        part = [encoded[row] for row in rows]
        ids = pad_right([item.ids for item in part], base.pad, base.device)
        mask = target_mask(part, ids.shape[1], base.device)

        def choose(p: int, x: Tensor, mask: Tensor = mask, rows: list[int] = rows, number: int = number) -> Update:
            scores = router.item_scores(x, keys[p], mask)
            drawn = None if noise is None else noise[rows, p]
            picked, weight = select(scores, task.mask[p], router, drawn, scale=router.scale(x.shape[-1]))
            dense = torch.zeros_like(scores).scatter_(1, picked, weight)
            count = torch.from_numpy(shares[rows])
            weights[p] += count.to(kind) @ dense.to("cpu", kind)
            totals[p] += count.to(kind) @ scores.to("cpu", kind)
            index[rows, p] = torch.where(weight > 0, picked, -1).cpu().numpy()
            votes[rows, p] = weight.float().cpu().numpy()
            read[p] += float(count.sum())
            if history.on_position:
                history.tell(number, len(batches), weights.float().numpy() / np.maximum(read, 1e-12), p)
            if p == P - 1:
                raise _PassEnds
            return task.pieces.gathered(p, picked, weight)

        with contextlib.suppress(_PassEnds):
            base.hidden(ids, choose)
    return Routed(weights.numpy(), totals.numpy(), index, votes)


# ---- gates and prototypes --------------------------------------------------------------------------------------------


def scored_keys(task: TaskPieces, vectors: Sequence[Tensor], options: Scoring, *, dual: bool) -> list[Keys]:
    """The keys of every position, from a vector (S, n) of each piece. Pieces that are not shared count for nothing.

    Args:
        dual: the vectors are gates, dual to activations: where these are divided by a spread, gates are multiplied.
    """
    keys = []
    for p, mask in enumerate(task.mask):
        kind = torch.promote_types(task.prototypes[p].dtype, torch.float32)
        shared = mask.to(kind)[:, None]
        count = shared.sum().clamp(min=1)
        prototypes = task.prototypes[p].to(kind)
        rows = vectors[p].to(kind)
        centre = spread = None
        if options.centre:
            rows = rows - (rows * shared).sum(0) / count
            centre = (prototypes * shared).sum(0) / count
        if options.standardise:
            mean = (prototypes * shared).sum(0) / count
            spread = (((prototypes - mean).square() * shared).sum(0) / count).sqrt().clamp(min=1e-6)
            rows = rows * spread if dual else rows / spread
        keys.append(Keys(normalise(rows * shared, options), centre, spread))
    return keys


def normalise(rows: Annotated[Tensor, "... n"], options: Scoring) -> Annotated[Tensor, "... n"]:
    """Rows (..., n) to unit length, or to mean 0 and variance 1."""
    if options.normalise == "cosine":
        return F.normalize(rows, dim=-1)
    return F.layer_norm(rows, rows.shape[-1:])


def shifted(v: Annotated[Tensor, "... n"], keys: Keys) -> Annotated[Tensor, "... n"]:
    """Activations (..., n) as the keys are: centred, and divided by the spread."""
    v = v if keys.centre is None else v - keys.centre
    return v if keys.spread is None else v / keys.spread


def key_scores(
    x: Annotated[Tensor, "b t n"], keys: Keys, mask: Annotated[Tensor, "b t"], options: Scoring
) -> Annotated[Tensor, "b S"]:
    """Scores of every piece for every item: activations x (b, t, n), target mask (b, t) -> (b, S)."""
    rows, columns = mask.nonzero(as_tuple=True)
    v = x[rows, columns].to(keys.rows.dtype)  # the m target tokens alone, (m, n): most of a text is prompt
    if options.reduce != "pooled":
        v = normalise(shifted(v, keys), options)
    # The product is linear in v, so tokens are reduced before it: b x S products of length n, not m x S.
    reduced = v.new_zeros(len(x), v.shape[1]).index_add(0, rows, v)
    if options.reduce != "sum":
        reduced = reduced / (mask != 0).sum(1, keepdim=True).clamp(min=1)
    if options.reduce == "pooled":
        reduced = normalise(shifted(reduced, keys), options)
    scores = reduced @ keys.rows.T
    return scores / math.sqrt(x.shape[-1]) if options.normalise == "layernorm" else scores


def key_token_scores(v: Annotated[Tensor, "m n"], keys: Keys, sharer: int, options: Scoring) -> Annotated[Tensor, "m"]:
    """What each of an item's target tokens v (m, n) adds to the item's score of one piece, (m,).

    The item's score is their sum where the router sums, else their mean; a pooled score is split by what each token
    brings to the mean activation.
    """
    v, key = v.to(keys.rows.dtype), keys.rows[sharer]
    v = shifted(v, keys)
    if options.reduce != "pooled":
        scores = normalise(v, options) @ key
    elif options.normalise == "cosine":
        scores = v @ key / v.mean(0).norm().clamp(min=1e-12)
    else:  # layer norm: less each one's own mean, over the spread of their mean activation
        pooled = v.mean(0)
        spread = (pooled.var(unbiased=False) + 1e-5).sqrt()
        scores = (v - v.mean(1, keepdim=True)) @ key / spread
    return scores / v.shape[-1] ** 0.5 if options.normalise == "layernorm" else scores


# ---- arrow -----------------------------------------------------------------------------------------------------------


def arrow_keys(task: TaskPieces) -> list[Keys]:
    """The input that each piece amplifies most, at every position.

    Raises:
        PerpcsError: when the pieces are no low-rank products.
    """
    other = {Scalings: "scaling vectors", Bottlenecks: "bottleneck adapters", PrefixPieces: "prefixes"}
    if type(task.pieces) in other:
        raise PerpcsError(
            f"Arrow looks at low-rank pieces, and this pool's are {other[type(task.pieces)]}.", "Take another router."
        )
    return [Keys(amplified(task.pieces, p) * mask[:, None]) for p, mask in enumerate(task.mask)]


def amplified(pieces: Pieces, position: int) -> Annotated[Tensor, "S n"]:
    """The unit input that every piece amplifies most, the top right singular vector of B A: (S, n).

    A^T = Q R gives B A = (B R^T) Q^T, so only matrices of the rank's width are decomposed.
    """
    kind = torch.promote_types(pieces.A[position].dtype, torch.float32)
    q, r = torch.linalg.qr(pieces.A[position].to(kind).mT)  # (S, n, r), (S, r, r)
    small = pieces.Bt[position].to(kind).mT @ r.mT  # (S, d, r)
    top = torch.linalg.svd(small, full_matrices=False).Vh[:, 0]  # (S, r)
    return (q @ top[:, :, None])[:, :, 0]


def arrow_scores(x: Annotated[Tensor, "b t n"], keys: Keys, mask: Annotated[Tensor, "b t"]) -> Annotated[Tensor, "b S"]:
    """Scores of every piece for every item, as ``key_scores``: the mean size of the cosine with its key."""
    rows, columns = mask.nonzero(as_tuple=True)
    v = x[rows, columns].to(keys.rows.dtype)
    size = (F.normalize(v, dim=-1) @ keys.rows.T).abs()
    total = size.new_zeros(len(x), size.shape[1]).index_add(0, rows, size)
    return total / (mask != 0).sum(1, keepdim=True).clamp(min=1)


def arrow_token_scores(v: Annotated[Tensor, "m n"], keys: Keys, sharer: int) -> Annotated[Tensor, "m"]:
    """Of each of an item's target tokens v (m, n) what its score of one piece is the mean of, (m,)."""
    return (F.normalize(v.to(keys.rows.dtype), dim=-1) @ keys.rows[sharer]).abs()
