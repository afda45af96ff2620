"""The shared-basis layer: many people's low-rank updates in one batch, without state on the model.

For every position p and every row b of a batch (rows may belong to different people):

    y = W x + s * B_all ( (A_all x) * (w_b repeated r times) )      A_all (S*r, n)   B_all (d, S*r)   w_b (S,)

    x (b, t, n) --+-- W --------------------------------------------+-- y (b, t, d)
                  |                                                  |
                  +-- A (q, n) -- h (b, t, q) -- * c_b (q) -- B (d, q)

It is exact, because the mean over items of sum_s w_is B_s A_s is sum_s (mean_i w_is) B_s A_s: a person is P x S numbers
and never a merged matrix. w = 0 is the base model bit for bit.

What a row adds at a position is an ``Update``: low-rank ``Factors``, a ``Scaling`` of the layer's output, a
``Bottleneck`` after it, or ``Prefixes`` of the attention before it; or a list of them, for a person who has a piece of
their own beside those of others. What decides it is an *adapter*: any function (position, x) -> Update, list or None.
Fixed weights of people, a router that looks at x first, a sharer in training and a gate in training are all such
functions, so there is one layer. The adapter is an argument of a call: ``adapted`` binds it for the calls made inside a
``with`` block of the calling thread (a context variable), and nothing is ever set on the shared model.

(IA)3 pieces are one scaling vector a sharer and position in place of a low-rank product (arXiv 2205.05638):

    y = (W x) * (1 + sum_s w_s V_s)          V_s (d,): how far the sharer's scaling vector is from 1

Mixing is as exact as with LoRA: the mean over items of scalings is the scaling of the mean. On disk and in training a
piece is an A without rows and a B with one column, V, so that everything around it is the same.

Attention whose latest inputs can be read, and that can reuse the keys and values of a text read before.

transformers calls an attention function by its name. The one here computes what torch's does, in float32 or more, and

    last_attention()    queries and keys of the latest call of this thread: prefixes need the share of the softmax
    keeping(kept)       within the block, keys and values of every layer are kept: a text, read
    given(text)         within the block, every layer reads a kept text before the tokens of the call

Nothing is set on a model but the function's name (``watch_attention``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

# ---- attention that is watched ---------------------------------------------------------------------------------------


NAME = "float32_on_cpu"
"""The function's name in transformers."""


@dataclass(frozen=True)
class Seen:
    """One call of attention: heads h, t queries, T keys of k heads."""

    q: Tensor
    """(b, h, t, size), positions applied."""
    k: Tensor
    """(b, k, T, size)."""
    mask: Tensor | None
    """(b or 1, 1, t, T): what is added to scores, or True where a key is read; None = causal."""
    scale: float

    def log_total(self) -> Annotated[Tensor, "b h t"]:
        """Log of the softmax's denominator, (b, h, t)."""
        wide = torch.promote_types(self.q.dtype, torch.float32)
        b, h, t, size = self.q.shape
        q = self.q.to(wide).reshape(b, self.k.shape[1], -1, size)  # the queries that share a key's head lie together
        scores = (q @ self.k.to(wide).mT * self.scale).view(b, h, t, -1)
        mask = self.mask
        if mask is None:
            columns = scores.shape[-1]
            mask = torch.ones(t, columns, dtype=torch.bool, device=q.device).tril(columns - t)
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask.to(wide)
        return scores.logsumexp(-1)


@dataclass(frozen=True)
class Text:
    """Texts that were read before, one a row, padded to T tokens."""

    layers: Mapping[int, tuple[Tensor, Tensor]]
    """Keys and values (b, k, T, size) by layer."""
    mask: Tensor
    """(b, 1, t, T + t): what each token of the call reads, True or False."""


_LAST: ContextVar[Seen | None] = ContextVar("perpcs_last_attention", default=None)
_KEPT: ContextVar[dict[int, tuple[Tensor, Tensor]] | None] = ContextVar("perpcs_kept_text", default=None)
_GIVEN: ContextVar[Text | None] = ContextVar("perpcs_given_text", default=None)


def last_attention() -> Seen:
    """The latest call of attention in this thread.

    Raises:
        RuntimeError: when the model's attention is not watched.
    """
    seen = _LAST.get()
    if seen is None:
        raise RuntimeError("The model's attention is not watched; call watch_attention.")
    return seen


@contextmanager
def keeping(kept: dict[int, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Within the block, every layer's keys and values are put into ``kept``."""
    token = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(token)


@contextmanager
def given(text: Text | None) -> Iterator[None]:
    """Within the block, the tokens of a call stand after a text that was read before."""
    token = _GIVEN.set(text)
    try:
        yield
    finally:
        _GIVEN.reset(token)


def watch_attention(model: Any) -> None:
    """Let a Hugging Face model compute attention here.

    In float32 whatever it is given: torch's backward pass of attention on a CPU takes up to three times as long in
    bfloat16. The results are as near or nearer.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def _attention(module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, **options: Any) -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    wide = torch.promote_types(q.dtype, torch.float32)
    kept, text = _KEPT.get(), _GIVEN.get()
    if kept is not None:
        kept[module.layer_idx] = (k, v)
    if text is not None and module.layer_idx in text.layers:
        before = text.layers[module.layer_idx]
        k, v = (torch.cat([old.to(new.dtype), new], dim=2) for old, new in zip(before, (k, v), strict=True))
        mask = text.mask
    scale = options.get("scaling")
    _LAST.set(Seen(q, k, mask, q.shape[-1] ** -0.5 if scale is None else float(scale)))
    out, weights = sdpa_attention_forward(module, q.to(wide), k.to(wide), v.to(wide), mask, **options)
    return out.to(v.dtype), weights


# ---- the layer -------------------------------------------------------------------------------------------------------


class Factors(NamedTuple):
    """The low-rank update of a batch at one position, q columns. Shared factors serve all rows, or each row has its
    own.
    """

    A: Tensor
    """(q, n), or (b, q, n) when each row has its own."""
    Bt: Tensor
    """B transposed: (q, d), or (b, q, d)."""
    c: Tensor
    """Coefficient of each column, the scale s included: (b, 1, q), or (b, t, q) when it differs by token."""

    def added(
        self, x: Annotated[Tensor, "b t n"], y: Annotated[Tensor, "b t d"], linear: nn.Module
    ) -> Annotated[Tensor, "b t d"]:
        """What is added to the output y (b, t, d) of a linear layer for its input x (b, t, n): B ((A x) * c)."""
        del y, linear
        A, Bt, c = (tensor.to(x.dtype) for tensor in self)
        return ((x @ A.mT) * c) @ Bt


class Scaling(NamedTuple):
    """(IA)3: the layer's output times 1 + sum_q c_q V_q, number by number (arXiv 2205.05638)."""

    V: Tensor
    """(q, d), or (b, q, d) when each row has its own: how far each scaling vector is from 1."""
    c: Tensor
    """(b, 1, q), or (b, t, q)."""

    def added(
        self, x: Annotated[Tensor, "b t n"], y: Annotated[Tensor, "b t d"], linear: nn.Module
    ) -> Annotated[Tensor, "b t d"]:
        """What is added to the layer's output y (b, t, d)."""
        del x, linear
        return y * (self.c.to(y.dtype) @ self.V.to(y.dtype))


class Bottleneck(NamedTuple):
    """A bottleneck adapter after a layer: B gelu(A y), which reads the layer's output (arXiv 1902.00751)."""

    A: Tensor
    """(q, d), or (b, q, d) when each row has its own."""
    Bt: Tensor
    """B transposed: (q, d), or (b, q, d)."""
    c: Tensor
    """(b, 1, q), or (b, t, q)."""

    def added(
        self, x: Annotated[Tensor, "b t n"], y: Annotated[Tensor, "b t d"], linear: nn.Module
    ) -> Annotated[Tensor, "b t d"]:
        """What is added to the layer's output y (b, t, d)."""
        del x, linear
        A, Bt, c = (tensor.to(y.dtype) for tensor in self)
        return (nn.functional.gelu(y @ A.mT) * c) @ Bt


class Prefixes(NamedTuple):
    """Prefixes of attention, at the layer that reads what attention gives (arXiv 2101.00190).

    With a prefix s in front of the text, a head gives (1 - l) x + l p: x what it gives without, p its attention to the
    prefix alone, l the share of the prefix in the softmax. So a prefix adds l (p - x) to x, and prefixes of several
    people with weights w_s add  sum_s w_s l_s (p_s - x),  which is linear in w, is prefix tuning for one w of 1, and is
    the base model at 0. The decomposition is that of arXiv 2110.04366, section 3.1.
    """

    K: Tensor
    """Keys of m tokens each: (s m, kv), or (b, s m, kv) when each row has its own."""
    V: Tensor
    """Values, likewise."""
    c: Tensor
    """(b, 1, s), or (b, t, s)."""

    def added(
        self, x: Annotated[Tensor, "b t n"], y: Annotated[Tensor, "b t d"], linear: nn.Module
    ) -> Annotated[Tensor, "b t d"]:
        """What is added to the layer's output: the layer's weight times what the prefixes add to its input."""
        return times_weight(linear, prefix_shift(x, self)).to(y.dtype)


def prefix_shift(x: Tensor, prefixes: Prefixes) -> Tensor:
    """What prefixes add to what attention gives, x (b, t, heads size): the same shape, in float32 or more."""
    seen = last_attention()
    b, heads, t, size = seen.q.shape
    wide = torch.promote_types(seen.q.dtype, torch.float32)
    groups, people = heads // seen.k.shape[1], prefixes.c.shape[-1]
    q = seen.q.to(wide).view(b, -1, groups, t, size) * seen.scale
    K, V = (part.to(wide).unflatten(-1, (-1, size)).unflatten(-3, (people, -1)) for part in (prefixes.K, prefixes.V))
    row = "b" if K.dim() == 5 else ""
    scores = torch.einsum(f"bkgtd,{row}smkd->bkgtsm", q, K)
    inside = torch.einsum(f"bkgtsm,{row}smkd->bkgtsd", scores.softmax(-1), V)
    share = torch.sigmoid(scores.logsumexp(-1) - seen.log_total().view(b, -1, groups, t, 1))
    attention_out = x.to(wide).view(b, t, -1, groups, size).permute(0, 2, 3, 1, 4)
    weight = prefixes.c.to(wide)[:, None, None] * share
    shift = torch.einsum("bkgts,bkgtsd->bkgtd", weight, inside) - weight.sum(-1, keepdim=True) * attention_out
    return shift.permute(0, 3, 1, 2, 4).flatten(2)


Update = Factors | Scaling | Bottleneck | Prefixes
Updates = Update | list[Update] | None
Adapter = Callable[[int, Tensor], Updates]

_ADAPTER: ContextVar[Adapter | None] = ContextVar("perpcs_adapter", default=None)


@contextmanager
def adapted(adapter: Adapter | None) -> Iterator[None]:
    """Within the block, forward passes of this thread add what ``adapter`` returns at each position."""
    token = _ADAPTER.set(adapter)
    try:
        yield
    finally:
        _ADAPTER.reset(token)


def times_weight(linear: nn.Module, x: Annotated[Tensor, "b t n"]) -> Annotated[Tensor, "b t d"]:
    """x (b, t, n) times a linear layer's weight, without its bias. GPT-2's Conv1D keeps (inputs, outputs)."""
    weight = cast(Tensor, linear.weight).to(x.dtype)
    return x @ (weight.T if isinstance(linear, nn.Linear) else weight)


class AdaptedLinear(nn.Module):
    """A frozen linear layer that asks the current adapter what to add. Wraps nn.Linear and GPT-2's fused Conv1D
    alike.
    """

    def __init__(self, base: nn.Module, position: int) -> None:
        super().__init__()
        self.base = base
        self.position = position

    def forward(self, x: Tensor) -> Tensor:
        adapter = _ADAPTER.get()
        # The adapter goes first: at the last position of an assembly it ends the pass before W x is spent.
        updates = None if adapter is None else adapter(self.position, x)
        y: Tensor = self.base(x)
        out = y
        for update in as_list(updates):
            out = out + update.added(x, y, self.base)
        return out


class Pieces:
    """The pieces of S sharers at P positions, as tensors ready to be mixed.

    Args:
        A: per position (S, r, n).
        B: per position (S, d, r).
        scale: s = alpha / r.
    """

    def __init__(self, A: Sequence[Tensor], B: Sequence[Tensor], scale: float) -> None:
        self.A = [a.contiguous() for a in A]
        self.Bt = [b.mT.contiguous() for b in B]  # (S, r, d): flattening gives B_all transposed without a copy
        self.scale = scale
        self.sharers, self.rank = self.A[0].shape[:2]

    def __len__(self) -> int:
        return len(self.A)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Self:
        moved = copy(self)
        moved.A = [a.to(device, dtype) for a in self.A]
        moved.Bt = [b.to(device, dtype) for b in self.Bt]
        return moved

    def shared(self, position: int, w: Annotated[Tensor, "b S"]) -> Update | None:
        """Rows with weights w (b, S) on one basis. Only sharers that some row uses are kept; None when there are
        none.
        """
        used = (w != 0).any(dim=0).nonzero()[:, 0]
        if not len(used):
            return None
        A, Bt = self.A[position], self.Bt[position]
        if len(used) < len(A):
            A, Bt, w = A[used], Bt[used], w[:, used]
        return Factors(A.flatten(0, 1), Bt.flatten(0, 1), self._coefficients(w))

    def whole(self, position: int, w: Annotated[Tensor, "b S"]) -> Update:
        """Rows with weights w (b, S) on the basis of all sharers, weights of 0 too: gradients flow to each of them."""
        return Factors(self.A[position].flatten(0, 1), self.Bt[position].flatten(0, 1), self._coefficients(w))

    def gathered(self, position: int, index: Annotated[Tensor, "b k"], w: Annotated[Tensor, "b k"]) -> Update:
        """Row b uses its own k sharers index (b, k) with weights w (b, k): k*r columns a row instead of S*r."""
        A, Bt = self.A[position][index], self.Bt[position][index]
        return Factors(A.flatten(1, 2), Bt.flatten(1, 2), self._coefficients(w))

    def _coefficients(self, w: Tensor) -> Tensor:
        """Weights (b, s) as coefficients of their columns: (b, 1, s r)."""
        return (self.scale * w).repeat_interleave(self.rank, dim=1)[:, None]


def as_list(updates: Updates) -> list[Update]:
    """One, several or no updates as a list."""
    return [] if updates is None else updates if isinstance(updates, list) else [updates]


def fixed(updates: Sequence[Updates]) -> Adapter:
    """The adapter that adds the same at every call, one entry a position."""
    return lambda position, x: updates[position]


def people(pieces: Pieces, weights: Annotated[Tensor, "b P S"]) -> Adapter:
    """The adapter for a batch of people with weights (b, P, S), columns gathered once for all later calls."""
    return fixed([pieces.shared(p, weights[:, p]) for p in range(len(pieces))])


def repeat_rows(updates: Updates, times: int) -> list[Update]:
    """The same updates for a batch in which every row stands ``times`` times in a row."""
    return _with_rows(updates, lambda rows: rows.repeat_interleave(times, 0))


def take_rows(updates: Updates, part: slice) -> list[Update]:
    """The updates for some rows of a batch."""
    return _with_rows(updates, lambda rows: rows[part])


def _with_rows(updates: Updates, change: Callable[[Tensor], Tensor]) -> list[Update]:
    """The updates with other rows. One row of coefficients serves every row, and so do factors without rows."""
    changed: list[Update] = []
    for update in as_list(updates):
        changed.append(type(update)._make(t if t.dim() == 2 or len(t) == 1 else change(t) for t in update))
    return changed


@dataclass(frozen=True)
class OwnPiece:
    """A LoRA that belongs to one person alone, or their own (IA)3 scaling vectors. P positions; the rank may be any."""

    A: Sequence[Tensor]
    """Per position (r, n); of (IA)3 without rows."""
    Bt: Sequence[Tensor]
    """Per position (r, d); of (IA)3 the one vector V."""
    scale: float = 1.0
    kind: str = ""
    """``adapter`` or ``prefix``, whose shapes are those of ``piece_shape``; else A tells whether it is (IA)3."""


def own_updates(rows: Sequence[OwnPiece | None], device: torch.device | str, dtype: torch.dtype) -> list[Updates]:
    """What rows with pieces of their own add, one entry a position; empty where no row has one. A row without one, or
    of a lower rank, gets columns of zeros.
    """
    kinds = {row.kind for row in rows if row is not None}
    if len(kinds) > 1:
        apart = [[row if row is not None and row.kind == kind else None for row in rows] for kind in sorted(kinds)]
        return together(*(own_updates(part, device, dtype) for part in apart))
    some = [row for row in rows if row is not None]
    if not some:
        return []
    if some[0].kind:
        return _own_of_kind(some[0].kind, rows, some, device, dtype)
    like = torch.zeros(1, device=device, dtype=dtype)
    scale = like.new_tensor([[[0.0 if row is None else row.scale]] for row in rows])
    updates: list[Updates] = []
    for p in range(len(some[0].A)):
        at_position: list[Update] = []
        low = max(len(row.A[p]) for row in some)
        if low:
            A = like.new_zeros(len(rows), low, some[0].A[p].shape[1])
            Bt = like.new_zeros(len(rows), low, some[0].Bt[p].shape[1])
            for index, row in enumerate(rows):
                if row is not None and len(row.A[p]):
                    A[index, : len(row.A[p])], Bt[index, : len(row.A[p])] = row.A[p], row.Bt[p]
            at_position.append(Factors(A, Bt, scale.expand(-1, -1, low)))
        if any(not len(row.A[p]) for row in some):
            V = like.new_zeros(len(rows), 1, some[0].Bt[p].shape[1])
            for index, row in enumerate(rows):
                if row is not None and not len(row.A[p]):
                    V[index] = row.Bt[p]
            at_position.append(Scaling(V, scale))
        updates.append(at_position)
    return updates


def _own_of_kind(
    kind: str,
    rows: Sequence[OwnPiece | None],
    some: Sequence[OwnPiece],
    device: torch.device | str,
    dtype: torch.dtype,
) -> list[Updates]:
    """Own bottlenecks or prefixes of equal size; a row without one has a coefficient of 0."""
    coefficients = torch.tensor([[[0.0 if row is None else row.scale]] for row in rows], device=device, dtype=dtype)
    updates: list[Updates] = []
    for p in range(len(some[0].A)):
        A, Bt = (
            torch.stack([getattr(some[0] if row is None else row, name)[p] for row in rows]).to(device, dtype)
            for name in ("A", "Bt")
        )
        updates.append(own_update(kind, A, Bt, coefficients.expand(-1, -1, A.shape[1])))
    return updates


def together(*parts: Sequence[Updates]) -> list[Updates]:
    """Updates of several sources, position by position; a source without any is an empty sequence."""
    there = [part for part in parts if part]
    return [[update for part in there for update in as_list(part[p])] for p in range(len(there[0]) if there else 0)]


# ---- other kinds ----------------------------------------------------------------------------------------------------


class Scalings(Pieces):
    """The scaling vectors of S sharers at P positions, as ``Pieces`` are low-rank updates."""

    def __init__(self, A: Sequence[Tensor], B: Sequence[Tensor], scale: float) -> None:
        super().__init__(A, B, scale)
        self.rank = 1  # A has no rows

    def shared(self, position: int, w: Annotated[Tensor, "b S"]) -> Scaling | None:
        """Rows with weights w (b, S) on one basis; None when no sharer is used."""
        used = (w != 0).any(dim=0).nonzero()[:, 0]
        return Scaling(self.Bt[position][used, 0], self._coefficients(w[:, used])) if len(used) else None

    def whole(self, position: int, w: Annotated[Tensor, "b S"]) -> Scaling:
        """Rows with weights w (b, S) on the basis of all sharers."""
        return Scaling(self.Bt[position][:, 0], self._coefficients(w))

    def gathered(self, position: int, index: Annotated[Tensor, "b k"], w: Annotated[Tensor, "b k"]) -> Scaling:
        """Row b uses its own k sharers index (b, k) with weights w (b, k)."""
        return Scaling(self.Bt[position][index, 0], self._coefficients(w))


class Bottlenecks(Pieces):
    """The bottleneck adapters of S sharers at P positions: A (S, r, d), B (S, d, r)."""

    def shared(self, position: int, w: Annotated[Tensor, "b S"]) -> Update | None:
        found = super().shared(position, w)
        return None if found is None else Bottleneck(*found)

    def whole(self, position: int, w: Annotated[Tensor, "b S"]) -> Update:
        return Bottleneck(*super().whole(position, w))

    def gathered(self, position: int, index: Annotated[Tensor, "b k"], w: Annotated[Tensor, "b k"]) -> Update:
        return Bottleneck(*super().gathered(position, index, w))


class PrefixPieces(Pieces):
    """The prefixes of S sharers at P positions: keys A (S, m, kv), values B (S, kv, m). Each has one
    coefficient.
    """

    def shared(self, position: int, w: Annotated[Tensor, "b S"]) -> Update | None:
        found = super().shared(position, w)
        return None if found is None else Prefixes(*found)

    def whole(self, position: int, w: Annotated[Tensor, "b S"]) -> Update:
        return Prefixes(*super().whole(position, w))

    def gathered(self, position: int, index: Annotated[Tensor, "b k"], w: Annotated[Tensor, "b k"]) -> Update:
        return Prefixes(*super().gathered(position, index, w))

    def _coefficients(self, w: Tensor) -> Tensor:
        return (self.scale * w)[:, None]


def make_pieces(kind: str, A: Sequence[Tensor], B: Sequence[Tensor], scale: float) -> Pieces:
    """Pieces of a kind from per position A and B of S sharers, shaped as ``perpcs.schema.piece_shape`` says."""
    made = {"lora": Pieces, "ia3": Scalings, "adapter": Bottlenecks, "prefix": PrefixPieces}[kind]
    return made(A, B, scale)


def own_update(kind: str, A: Tensor, Bt: Tensor, c: Tensor) -> Update:
    """What rows with pieces of their own add at a position: A and Bt with an axis of rows, c (b, 1 or t, r)."""
    if kind == "ia3":
        return Scaling(Bt, c)
    if kind == "prefix":
        return Prefixes(A, Bt, c[..., :1])
    return Bottleneck(A, Bt, c) if kind == "adapter" else Factors(A, Bt, c)
