"""Training pieces and gates of many sharers at once, equal to training them one by one.

Every row of a batch belongs to one sharer and carries that sharer's own A and B through the shared layer. The loss is
the sum over sharers of each one's own mean over target tokens, and the optimiser keeps moments, step count and rate a
sharer, so no number of one sharer depends on who else is in the batch. Masters are float32.

Distilled gates: gates that predict from activations which pieces lower the loss.

A gate as published is trained on its owner's own tokens, so it learns when its piece helps its owner, not whether it
helps anybody else. A distilled gate is fitted on items of people who share nothing (the paper has none of this). With v
the mean input of an item's target tokens at a position, and gain_s how much that item's loss falls with the weight of
piece s (model/likelihood.py),

    h_s = argmin_h  mean over items ( h . z - (gain_s - mean gain_s) )^2 + ridge |h|^2      z = (v - mean v) / spread v

and h_s / spread v is the gate: for each position one system of n equations, the same for all sharers. Assembling costs
the same as with any gate, one forward pass without a gradient.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load_file, save
from torch import Tensor

from perpcs.errors import PerpcsError
from perpcs.files import write_atomic
from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, Pieces, Scalings, Update, keeping, own_update, watch_attention
from perpcs.model.likelihood import (
    Encoded,
    item_gains,
    length_batches,
    open_ended,
    pad_right,
    target_inputs,
    target_nll,
)
from perpcs.pool.manifest import Manifest
from perpcs.schema import Count, Kind, Rate, Record, Size, as_record, piece_shape

# ---- pieces and gates ------------------------------------------------------------------------------------------------


Repeats = Annotated[int, Field(ge=1, le=10_000)]


@dataclass(frozen=True)
class PieceSettings(Record):
    """How a sharer's LoRA is trained. The rate is high beside the paper's because the base model is small."""

    kind: Kind = "lora"
    """Low-rank products; scaling vectors of a layer's output, which have rank 1; bottleneck adapters after a layer; or
    prefixes of the attention before it."""
    rank: Size = 4
    """Or the width of a bottleneck, or the tokens of a prefix."""
    alpha: Rate = 8.0
    epochs: Repeats = 4
    batch: Repeats = 4
    rate: Rate = 4e-3
    shared_init: bool = True
    """All sharers start from the same A, so that their pieces live in similar subspaces."""
    seed: Count = 0

    def __post_init__(self) -> None:
        if self.kind == "ia3" and (self.rank, self.alpha) != (1, 1.0):
            raise PerpcsError(f"An (IA)3 piece cannot have rank {self.rank} and alpha {self.alpha}.", "Use 1 for both.")
        if self.kind in ("adapter", "prefix") and self.alpha != self.rank:
            raise PerpcsError(
                f"A piece of kind {self.kind} cannot have rank {self.rank} and alpha {self.alpha}.",
                "Use the same number for both: nothing scales it.",
            )


@dataclass(frozen=True)
class GateSettings(Record):
    """How gates are trained after the pieces, which stay frozen (section 2.4)."""

    steps: Repeats = 40
    batch: Repeats = 6
    rate: Rate = 1e-2
    seed: Count = 0


def settings_of(manifest: Manifest, task: str) -> tuple[PieceSettings, GateSettings]:
    """How this pool's pieces and gates of a task were trained; what the manifest does not say has the usual value.

    Raises:
        PerpcsError: when the manifest says what cannot be.
    """
    said, called = manifest.task(task).training, "What the manifest says of its training"
    own = {"rank": manifest.rank, "alpha": manifest.alpha, "kind": manifest.kind}
    pieces, gates = (
        {name: value for name, value in (said.get(part) or {}).items() if name in kind.__dataclass_fields__}
        for part, kind in (("pieces", PieceSettings), ("gates", GateSettings))
    )
    return (
        as_record(pieces | own, PieceSettings, called, "Take another pool."),
        as_record(gates, GateSettings, called, "Take another pool."),
    )


@dataclass(frozen=True)
class TrainedPieces:
    """P positions, S sharers."""

    A: list[Tensor]
    """Per position (S, r, n)."""
    B: list[Tensor]
    """Per position (S, d, r)."""
    losses: list[list[float]]
    """Per sharer: nats per target token of the base model (on ``BASE_ITEMS`` items), then of each epoch as it was
    trained."""


_ANY_TEXT = "This is how I write, and these are the words that I like to use most of all, whatever it is about."
"""Prefixes start from its first tokens."""
ATTENTION_OUTPUTS = ("o_proj", "out_proj", "dense", "c_proj")
"""Names of the layer that reads what attention gives."""
BASE_ITEMS = 10
"""The base model's loss on a sharer is that on about so many items, spread over the history."""
GROUP = 10
"""Sharers trained together."""
PASS_TOKENS = 2048
"""Padded tokens of one pass in training: larger passes are no faster on two cores and need more memory."""
Progress = Callable[[int, int], None]
Losses = Callable[[int, int, list[float]], None]


class SharerAdam:
    """Adam over tensors whose first axis is the sharer. A sharer that has no batch in a step does not move at all."""

    def __init__(
        self, parameters: Sequence[Tensor], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self.parameters = list(parameters)
        self.betas, self.eps = betas, eps
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.steps = torch.zeros(
            self.parameters[0].shape[0], dtype=self.parameters[0].dtype, device=self.parameters[0].device
        )

    @torch.no_grad()
    def step(self, rates: Tensor) -> None:
        """One step with a rate a sharer (S,); a rate of 0 leaves that sharer, its moments too, untouched."""
        active = (rates > 0).to(self.steps)
        self.steps += active
        one, two = self.betas
        correct_one = 1 - one ** self.steps.clamp(min=1)
        correct_two = 1 - two ** self.steps.clamp(min=1)
        for p, first, second in zip(self.parameters, self.first, self.second, strict=True):
            if p.grad is None:
                continue
            shape = (-1,) + (1,) * (p.dim() - 1)
            on = active.view(shape)
            first += on * (1 - one) * (p.grad - first)
            second += on * (1 - two) * (p.grad.square() - second)
            size = (rates / correct_one).view(shape)
            p -= size * first / ((second / correct_two.view(shape)).sqrt() + self.eps)
            p.grad = None


def train_pieces(
    base: BaseModel,
    histories: Sequence[Sequence[Encoded]],
    ids: Sequence[str],
    settings: PieceSettings,
    *,
    on_progress: Progress | None = None,
    on_step: Progress | None = None,
    on_loss: Losses | None = None,
    folder: Path | None = None,
    group: int = GROUP,
) -> TrainedPieces:
    """Train one LoRA a sharer on the base model, at every position.

    Args:
        histories: each sharer's formatted items.
        ids: each sharer's id; it seeds the order of their items, and nothing else of the pool does.
        on_progress: told how many groups of sharers are done; ``on_step`` how many steps of the group.
        on_loss: as ``on_step``, with the losses of the step; see ``descend``.
        folder: where a group that is done is kept, so that a killed run goes on after it.
        group: so many sharers are trained together; it changes speed and memory, never the result.
    """
    A0, B0 = [], []
    starts = [initial_pieces(base, id, settings) for id in ids]
    for p in range(len(base.positions)):
        A0.append(torch.stack([start[p][0] for start in starts]))
        B0.append(torch.stack([start[p][1] for start in starts]))
    losses: list[list[float]] = [[] for _ in ids]
    groups = _groups(len(ids), group)
    told = _counted(on_step, [_steps(histories, members, settings.batch) * settings.epochs for members in groups])
    for done, members in enumerate(groups):
        kept = None if folder is None else folder / f"group-{done}.safetensors"
        if kept is not None and kept.exists():
            read = load_file(kept)
            for index in range(len(base.positions)):
                A0[index][members], B0[index][members] = read[f"A.{index}"], read[f"B.{index}"]
            for s, curve in zip(members, read["losses"].double().tolist(), strict=True):
                losses[s].extend(round(loss, 4) for loss in curve)
            continue
        parameters = [
            tensor[members].to(base.device).requires_grad_() for pair in zip(A0, B0, strict=True) for tensor in pair
        ]
        batches = [epoch_batches(histories[s], ids[s], settings.batch, settings.epochs, settings.seed) for s in members]

        def adapter(owner: Tensor, parameters: list[Tensor] = parameters) -> Adapter:
            c = torch.full((1, 1, settings.rank), settings.alpha / settings.rank, device=base.device)
            return lambda p, x: own_update(settings.kind, parameters[2 * p][owner], parameters[2 * p + 1].mT[owner], c)

        for s in members:
            own = histories[s]
            losses[s].append(mean_nll(base, own[:: max(1, len(own) // BASE_ITEMS)]))
        for s, curve in zip(
            members,
            descend(
                base,
                parameters,
                batches,
                adapter,
                settings.rate,
                epochs=settings.epochs,
                on_step=partial(told, done),
                on_loss=on_loss,
            ),
            strict=True,
        ):
            losses[s].extend(curve)
        for index in range(len(base.positions)):
            A0[index][members] = parameters[2 * index].detach().cpu()
            B0[index][members] = parameters[2 * index + 1].detach().cpu()
        if kept is not None:
            tensors = {
                f"{name}.{at}": rows[members]
                for name, all_rows in (("A", A0), ("B", B0))
                for at, rows in enumerate(all_rows)
            }
            curves = torch.tensor([losses[s] for s in members], dtype=torch.float64)
            write_atomic(kept, save(tensors | {"losses": curves}))
        if on_progress:
            on_progress(done + 1, len(groups))
    return TrainedPieces(A0, B0, losses)


def train_gates(
    base: BaseModel,
    pieces: TrainedPieces,
    histories: Sequence[Sequence[Encoded]],
    ids: Sequence[str],
    piece_settings: PieceSettings,
    settings: GateSettings,
    *,
    on_progress: Progress | None = None,
    on_step: Progress | None = None,
    group: int = GROUP,
) -> list[Tensor]:
    """Train a gate vector per piece: z = W v + B A v sigmoid(g.v), g from zero, all else frozen.

    Returns:
        Per position (S, n).
    """
    gates = [torch.zeros(len(ids), position.n) for position in base.positions]
    groups = _groups(len(ids), group)
    told = _counted(on_step, [settings.steps for _ in groups])
    scale = piece_settings.alpha / piece_settings.rank
    for done, members in enumerate(groups):
        parameters = [gate[members].to(base.device).requires_grad_() for gate in gates]
        A = [a[members].to(base.device) for a in pieces.A]
        Bt = [b[members].mT.contiguous().to(base.device) for b in pieces.B]
        epochs = [math.ceil(settings.steps / math.ceil(len(histories[s]) / settings.batch)) for s in members]
        batches = [
            epoch_batches(histories[s], ids[s], settings.batch, count, settings.seed + 1)[: settings.steps]
            for s, count in zip(members, epochs, strict=True)
        ]

        def adapter(
            owner: Tensor, parameters: list[Tensor] = parameters, A: list[Tensor] = A, Bt: list[Tensor] = Bt
        ) -> Adapter:
            def gated(p: int, x: Tensor) -> Update:
                open_ = torch.sigmoid(x.to(parameters[p].dtype) @ parameters[p][owner][:, :, None])  # (b, t, 1)
                c = scale * open_.expand(-1, -1, piece_settings.rank)
                return own_update(piece_settings.kind, A[p][owner], Bt[p][owner], c)

            return gated

        descend(base, parameters, batches, adapter, settings.rate, epochs=1, on_step=partial(told, done))
        for index, gate in enumerate(gates):
            gate[members] = parameters[index].detach().cpu()
        if on_progress:
            on_progress(done + 1, len(groups))
    return gates


def collect_prototypes(base: BaseModel, histories: Sequence[Sequence[Encoded]]) -> list[Tensor]:
    """Each sharer's mean target-token activation of the base model at every position: per position (S, n)."""
    prototypes = [torch.zeros(len(histories), position.n) for position in base.positions]
    for s, history in enumerate(histories):
        counts = torch.tensor([float(item.end - item.start) for item in history])
        for prototype, means in zip(prototypes, target_inputs(base, history), strict=True):
            prototype[s] = counts.to(means.dtype) @ means / counts.sum()
    return prototypes


def descend(
    base: BaseModel,
    parameters: list[Tensor],
    batches: Sequence[Sequence[Sequence[Encoded]]],
    adapter: Callable[[Tensor], Adapter],
    rate: float | Sequence[float],
    *,
    epochs: int,
    on_step: Progress | None = None,
    on_loss: Losses | None = None,
    pass_tokens: int = PASS_TOKENS,
) -> list[list[float]]:
    """Run every sharer's own batches with a rate that falls linearly to zero; mean loss a token per sharer and
    epoch.

    Args:
        rate: of the first step, for all or one a sharer.
        on_loss: as ``on_step``, and told each sharer's loss in this step, nats per target token; NaN where a sharer had
            no batch.
        pass_tokens: padded tokens of one pass through the model; it changes speed and memory, never the result.
    """
    first_rates = [rate] * len(batches) if isinstance(rate, float | int) else list(rate)
    optimiser = SharerAdam(parameters)
    totals = np.zeros((len(batches), epochs, 2))
    steps = max(len(own) for own in batches)
    for step in range(steps):
        rates = [
            first * (1 - step / len(own)) if step < len(own) else 0.0
            for first, own in zip(first_rates, batches, strict=True)
        ]
        rows = [(s, item) for s, own in enumerate(batches) if step < len(own) for item in own[step]]
        own_count = torch.zeros(len(batches), dtype=torch.promote_types(base.dtype, torch.float32), device=base.device)
        for s, item in rows:
            own_count[s] += item.end - item.start
        own_nll = torch.zeros_like(own_count)
        # Texts of like length go through the model together; gradients of a step add up to those of one large batch.
        for part in length_batches([len(item.ids) for _, item in rows], pass_tokens, max_rows=256):
            owner = torch.tensor([rows[row][0] for row in part], device=base.device)
            nll, _ = target_nll(base, [rows[row][1] for row in part], adapter(owner))
            (nll / own_count[owner].clamp(min=1)).sum().backward()
            own_nll.index_add_(0, owner, nll.detach().to(own_nll.dtype))
        optimiser.step(torch.tensor(rates, dtype=parameters[0].dtype, device=base.device))
        for s, own in enumerate(batches):
            if step < len(own):
                epoch = step * epochs // len(own)
                totals[s, epoch] += own_nll[s].item(), own_count[s].item()
        if on_step:
            on_step(step + 1, steps)
        if on_loss:
            on_loss(step + 1, steps, (own_nll / own_count).tolist())
    return [[round(float(nll / max(count, 1)), 4) for nll, count in own] for own in totals]


def _groups(sharers: int, size: int) -> list[list[int]]:
    return [list(range(at, min(at + size, sharers))) for at in range(0, sharers, size)]


def _steps(histories: Sequence[Sequence[Encoded]], group: Sequence[int], batch: int) -> int:
    """Steps of one epoch of a group: those of the sharer with the most items."""
    return max(math.ceil(len(histories[s]) / batch) for s in group)


def _counted(on_step: Progress | None, steps: Sequence[int]) -> Callable[[int, int, int], None]:
    """Reports how many steps of all groups are done after each group's step."""

    def told(group: int, step: int, of: int) -> None:
        if on_step:
            on_step(sum(steps[:group]) + step, sum(steps))

    return told


def initial_pieces(base: BaseModel, id: str, settings: PieceSettings) -> list[tuple[Tensor, Tensor]]:
    """A and B of every position before training. They change nothing, but for prefixes, which start as keys and values
    of a text's first tokens.

    Raises:
        PerpcsError: when prefixes are to stand at a layer that does not read what attention gives.
    """
    if settings.kind == "prefix":
        return prefix_start(base, settings.rank)
    found = []
    for position in base.positions:
        (rows, reads), _ = piece_shape(settings.kind, settings.rank, position, 0)
        A = initial_A(id, position.path, reads, settings) if rows else torch.zeros(0, reads)
        found.append((A, torch.zeros(position.d, settings.rank)))
    return found


@torch.no_grad()
def prefix_start(base: BaseModel, tokens: int) -> list[tuple[Tensor, Tensor]]:
    """Keys (m, kv) and values (kv, m) of the first tokens of a text, at every position, in float32.

    Raises:
        PerpcsError: as above.
    """
    watch_attention(base.model)
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    with keeping(kept):
        base.hidden(pad_right([open_ended(base.tokenizer, _ANY_TEXT)[0]], base.pad, base.device))
    found = []
    for position in base.positions:
        k, v = kept[position.layer]
        if position.module not in ATTENTION_OUTPUTS or position.n % k.shape[-1]:
            raise PerpcsError(
                f"Prefixes cannot stand at {position.module}: it does not read what attention gives.",
                f"Use --modules with the layer after attention: {', '.join(ATTENTION_OUTPUTS)}.",
            )
        K, V = (part[0].transpose(0, 1).flatten(1).float().cpu() for part in (k, v))
        which = torch.arange(tokens) % len(K)
        found.append((K[which].contiguous(), V[which].T.contiguous()))
    return found


def initial_A(id: str, path: str, n: int, settings: PieceSettings) -> Tensor:
    """Kaiming-uniform rows, as peft draws them; from the position alone when shared, else from the sharer too. None for
    (IA)3.
    """
    if settings.kind == "ia3":
        return torch.zeros(0, n)
    key = path if settings.shared_init else f"{path}/{id}"
    generator = torch.Generator().manual_seed(_seed(settings.seed, key))
    bound = 1 / math.sqrt(n)
    return (torch.rand(settings.rank, n, generator=generator) * 2 - 1) * bound


def epoch_batches(history: Sequence[Encoded], id: str, size: int, epochs: int, seed: int) -> list[list[Encoded]]:
    """A sharer's batches for all epochs, each epoch in its own seeded order."""
    batches: list[list[Encoded]] = []
    for epoch in range(epochs):
        order = np.random.default_rng(_seed(seed, f"{id}/{epoch}")).permutation(len(history))
        batches += [[history[i] for i in order[at : at + size]] for at in range(0, len(order), size)]
    return batches


@torch.no_grad()
def mean_nll(base: BaseModel, history: Sequence[Encoded], adapter: Adapter | None = None) -> float:
    """Nats per target token on a history, of the base model or with an adapter that serves any batch."""
    total = count = 0.0
    for rows in length_batches([len(item.ids) for item in history], PASS_TOKENS):
        nll, counts = target_nll(base, [history[row] for row in rows], adapter)
        total, count = total + float(nll.sum()), count + float(counts.sum())
    return round(total / count, 4)


def _seed(seed: int, key: Any) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=6).digest(), "big")


# ---- distilled gates -------------------------------------------------------------------------------------------------


_BATCH_TOKENS = 8192


@dataclass(frozen=True)
class DistilSettings:
    """How gates are distilled."""

    people: int = 200
    """At most so many people who share nothing; fewer where the pool has fewer candidates."""
    items: int = 8
    """Drawn from each one's history."""
    ridge: float = 0.3
    seed: int = 0


def drawn_items(histories: Sequence[Sequence[Encoded]], settings: DistilSettings) -> list[Encoded]:
    """The items that gates are fitted on: a few of each person, the same at every call."""
    random = np.random.default_rng(settings.seed)
    people = random.permutation(len(histories))[: settings.people]
    return [histories[u][i] for u in people for i in random.permutation(len(histories[u]))[: settings.items]]


def distil_gates(
    base: BaseModel,
    pieces: Pieces,
    items: Sequence[Encoded],
    ridge: float,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Tensor]:
    """Gates that predict gains, fitted on items of people who share nothing.

    Args:
        items: (prompt, target) pairs of many people; two at least.
        on_progress: told how many batches are done.

    Returns:
        Per position (S, n), float32; scaled so that a position's gains have a spread of 1.
    """
    batches = len(length_batches([len(item.ids) for item in items], _BATCH_TOKENS))

    def told(batch: int) -> None:
        if on_progress:
            on_progress(batch + 1, batches)

    gains = item_gains(base, pieces, items, batch_tokens=_BATCH_TOKENS, on_batch=told)
    inputs = target_inputs(base, items, batch_tokens=_BATCH_TOKENS)
    return [ridge_gates(v, torch.from_numpy(gains[:, p]), ridge).float() for p, v in enumerate(inputs)]


def ridge_gates(v: Tensor, gains: Tensor, ridge: float) -> Tensor:
    """The gates of one position: inputs v (N, n), gains (N, S) -> (S, n), in float64."""
    v, gains = v.double(), gains.double()
    spread = v.std(0, correction=0).clamp(min=1e-6)
    z = (v - v.mean(0)) / spread
    y = (gains - gains.mean(0)) / gains.std(correction=0).clamp(min=1e-12)
    system = z.T @ z / len(z) + ridge * torch.eye(z.shape[1], dtype=torch.float64)
    return torch.linalg.solve(system, z.T @ y / len(z)).T / spread


def gates_of_another(pieces: Pieces, gates: Sequence[Tensor], own: Pieces) -> list[Tensor]:
    """Distilled gates of somebody who joins a pool later, without the items that the pool's gates were fitted on.

    Gains are linear in a piece, and so are these gates. The newcomer's piece is written as the combination of the
    pool's pieces that is nearest to it, and its gate is the same combination of their gates; what no sharer does is
    left out.

    Args:
        own: the pieces of one sharer.

    Returns:
        Per position (1, n).
    """
    found = []
    for p, gate in enumerate(gates):
        gram, towards = inner_products(pieces, pieces, p), inner_products(pieces, own, p)  # (S, S), (S, 1)
        tiny = 1e-4 * gram.diagonal().mean().clamp(min=1e-12)
        share = torch.linalg.solve(gram + tiny * torch.eye(len(gram), dtype=gram.dtype), towards)
        found.append((share.T @ gate.double().cpu()).float())
    return found


def inner_products(one: Pieces, other: Pieces, position: int) -> Tensor:
    """<B_s A_s, B_t A_t> for all pairs of sharers at a position, (S, T), in float64, without a matrix being multiplied
    out; of scaling vectors their plain products.
    """
    B, C = one.Bt[position].double().cpu(), other.Bt[position].double().cpu()
    if isinstance(one, Scalings):
        return B[:, 0] @ C[:, 0].T
    A, D = one.A[position].double().cpu(), other.A[position].double().cpu()
    reads, writes = torch.einsum("sun,tvn->sutv", A, D), torch.einsum("sud,tvd->sutv", B, C)
    return (reads * writes).sum((1, 3))
