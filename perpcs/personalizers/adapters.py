"""Methods that adapt the model's weights; prompts hold the query alone.

    Per-Pcs, PEFT retrieval, controls    weights (P, S) of the pool's pieces; one byte is stored per weight
    P2P (Profile-to-PEFT)                a LoRA that the hypernetwork writes from a profile, stored as half floats
    OPPU (Tan et al., 2024)              a LoRA trained on the person's history alone, stored as half floats

``oppu`` trains with the settings of the pool's sharers. ``oppu:best`` searches rate and steps inside the history:

1. Hold out the newest fifth of the items, at most 20. Below 5 items, train as ``oppu`` does.
2. Train three LoRAs side by side on the rest, on the same batches: at a third of the sharers' rate, at their rate, and
   at three times their rate. Train for 8 epochs or 160 steps, whichever is more; the rate falls linearly to 0.
3. Measure the held-out loss before the first step and 16 times during training. Stop when no rate has improved it for 5
   measurements.
4. Train a new LoRA at the best rate on all items, on the same schedule, up to the best step. If no step improved the
   held-out loss, keep the base model.

A name that shows history or a profile (``oppu+rag:1``) trains on such prompts too, built from strictly earlier items.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from perpcs.assembly.assemble import assemble
from perpcs.assembly.descent import own_piece
from perpcs.assembly.record import Assembly
from perpcs.assembly.router import Router
from perpcs.assembly.routers import PRESETS, flat_options, make_router, same_routing
from perpcs.data.prompts import retrieve
from perpcs.errors import PerpcsError
from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, OwnPiece, own_update
from perpcs.model.likelihood import Encoded, encode_pair
from perpcs.personalizers.methods import Call, Person, Prepared, Progress, Setting, Shown, Watch
from perpcs.pool.hypernet import Hypernet
from perpcs.pool.select import VERSION, embed_profiles
from perpcs.pool.store import Pool
from perpcs.pool.train import (
    Losses,
    PieceSettings,
    TrainedPieces,
    descend,
    epoch_batches,
    initial_pieces,
    mean_nll,
    settings_of,
    train_pieces,
)
from perpcs.tasks import Item, Task

# ---- pieces ----------------------------------------------------------------------------------------------------------


def per_pcs(call: Call) -> list[Prepared]:
    """Assemble each person by a router with its default options, or by a preset. Without a detail, reuse the person's
    assembly if there is one.

    Raises:
        PerpcsError: if there is neither an assembly nor a history.
    """
    named = PRESETS[call.detail or "default"] if call.detail in ("", *PRESETS) else make_router(call.detail)
    return [
        _carried(call, person.assembly)
        if person.assembly is not None and (not call.detail or _is_of(person.assembly, named))
        else _assembled(call, person, named)
        for person in call.people
    ]


def retrieved(call: Call) -> list[Prepared]:
    """PEFT retrieval: all pieces of the k sharers with the most similar histories, weighted by similarity."""
    options = make_router("retrieval", k=int(call.detail))
    return [_assembled(call, person, options) for person in call.people]


def uniform(call: Call) -> list[Prepared]:
    """A control: every shared piece has the same weight."""
    return [_assembled(call, person, make_router("uniform")) for person in call.people]


def drawn(call: Call) -> list[Prepared]:
    """A control: k random pieces at each position."""
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
    """Whether an assembly was made with exactly these options."""
    return same_routing(assembly.router, flat_options(options))


# ---- Profile-to-PEFT -------------------------------------------------------------------------------------------------


def p2p(call: Call) -> list[Prepared]:
    """A LoRA for each person from their profile; controls use somebody else's profile or a random embedding.

    Raises:
        PerpcsError: if the pool has no hypernetwork, or a history is missing.
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
    """The history of the next person in the list, which wraps around."""
    ids = [id for id, _ in call.setting.strangers]
    after = ids.index(person.id) + 1 if person.id in ids else 0
    others = [*call.setting.strangers[after:], *call.setting.strangers[:after]]
    for id, history in others:
        if id != person.id and history:
            return history
    raise PerpcsError("The control needs someone else's history, but there is none.", "Use another method.")


def hypernet_of(pool: Pool) -> Hypernet:
    """The pool's hypernetwork.

    Raises:
        PerpcsError: if there is none, or if it was trained on another version of the profiles.
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
    """Embedded profiles, the input of the hypernetwork: (people, width).

    Raises:
        PerpcsError: if a history is empty.
    """
    if not all(histories):
        raise PerpcsError("There is no history to write a profile from.", "Give at least one item.")
    return embed_profiles(task, histories, pool.task(task.name).encoder)


def random_profiles(net: Hypernet, count: int, seed: int = 0) -> Tensor:
    """A control: random embeddings with the mean and spread of real ones, (count, width)."""
    generator = torch.Generator().manual_seed(seed)
    return net.mean + net.spread * torch.randn(count, len(net.mean), generator=generator)


@torch.no_grad()
def write_factors(net: Hypernet, profiles: Tensor) -> list[OwnPiece]:
    """A LoRA per person from profiles (people, width)."""
    A, B = net(profiles)
    scale = net.shape.scale
    return [OwnPiece([a[row] for a in A], [b[row].T for b in B], scale) for row in range(len(profiles))]


def lora_bytes(own: OwnPiece) -> int:
    """Bytes of a LoRA as half floats."""
    return 2 * sum(a.numel() + b.numel() for a, b in zip(own.A, own.Bt, strict=True))


# ---- OPPU ------------------------------------------------------------------------------------------------------------


RATES = (1 / 3, 1.0, 3.0)
"""Learning rates of the search, as multiples of the sharers' rate."""
PASSES, STEPS = 8, 160
"""The search trains for so many epochs or so many steps, whichever is more."""
LOOKS, PATIENCE = 16, 5
"""How often the held-out loss is measured, and after how many measurements without progress training stops."""
FEWEST, MOST_HELD_OUT = 5, 20


class _Enough(Exception):
    """Raised to end training; the parameters stay as they are."""


class Log:
    """Reports losses as they come and keeps them as curves."""

    def __init__(self, watch: Watch | None) -> None:
        self.watch = watch
        self.curves: dict[str, list[tuple[int, float]]] = {}

    def tell(self, doing: str, step: int, steps: int, **losses: float) -> None:
        """Record the losses of a step by name (underscores become spaces) and report them."""
        named = {name.replace("_", " "): loss for name, loss in losses.items() if not math.isnan(loss)}
        for name, loss in named.items():
            self.curves.setdefault(name, []).append((step, round(loss, 5)))
        if self.watch:
            self.watch(Progress(doing, step, steps, named))


def oppu(call: Call) -> list[Prepared]:
    """One LoRA per person: r (n + d) half floats at every position.

    Raises:
        PerpcsError: if there is no history to train on.
    """
    for person in call.people:
        if not person.history:
            raise PerpcsError(
                "OPPU trains on the history's text, but a saved model holds none.", "Give the history again."
            )
    setting = call.setting
    settings = sharers_settings(setting)
    if call.detail == "best":
        return [_searched(call, person, settings) for person in call.people]
    began = time.perf_counter()
    histories = [training_pairs(setting, person.history, call.shown) for person in call.people]
    log = Log(call.watch)

    def on_loss(step: int, steps: int, losses: list[float]) -> None:
        log.tell("training a LoRA", step, steps, training=losses[0] if len(call.people) == 1 else math.nan)

    trained = train_pieces(setting.base, histories, [person.id for person in call.people], settings, on_loss=on_loss)
    seconds = (time.perf_counter() - began) / len(call.people)
    says = f"Trained for {settings.epochs} passes at rate {settings.rate:g}."
    return [_prepared(setting.task, own, seconds, log, says) for own in whole_loras(trained, settings)]


def whole_loras(trained: TrainedPieces, settings: PieceSettings) -> list[OwnPiece]:
    """Trained pieces as one update per person."""
    scale = settings.alpha / settings.rank
    kind = own_kind(settings)
    return [
        OwnPiece([a[i] for a in trained.A], [b[i].mT for b in trained.B], scale, kind) for i in range(len(trained.A[0]))
    ]


def own_kind(settings: PieceSettings) -> str:
    """The kind of an own piece; empty if its shapes tell it."""
    return settings.kind if settings.kind in ("adapter", "prefix") else ""


def sharers_settings(setting: Setting) -> PieceSettings:
    """How the pool's sharers were trained, or the defaults if the manifest does not say."""
    return settings_of(setting.pool.manifest, setting.task.name)[0]


def training_pairs(setting: Setting, history: Sequence[Item], shown: Shown) -> list[Encoded]:
    """A history as encoded (prompt, target) pairs; prompts show what ``shown`` says, of strictly earlier items.

    The profile is rewritten each time the history doubles, so that a language model writes few of them.
    """
    task, pairs, profiles = setting.task, [], {0: ""}
    for index, item in enumerate(history):
        earlier = history[:index]
        found = retrieve(task.as_query(item).sought, earlier, shown.items)
        upto = 2 ** int(math.log2(index)) if shown.profile and index else 0
        if upto not in profiles:
            profiles[upto] = setting.writer(task, history[:upto])
        text = task.pair(item, history=found, profile=profiles[upto])
        pairs.append(encode_pair(setting.base.tokenizer, *text, setting.base.max_tokens))
    return pairs


def _prepared(task: Task, own: OwnPiece | None, seconds: float, log: Log, says: str) -> Prepared:
    size = 0 if own is None else 2 * sum(a.numel() + b.numel() for a, b in zip(own.A, own.Bt, strict=True))
    curve = {name: tuple(points) for name, points in log.curves.items()}
    return Prepared(task, own=own, other_bytes=size, seconds=seconds, curve=curve, says=says)


# ---- the search ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """The result of the search."""

    rate: float
    passes: float
    """Where on the schedule, in epochs."""
    loss: float
    """Held-out loss there, nats per target token."""
    base_loss: float


class _Run(NamedTuple):
    """Several LoRAs of one person, trained side by side."""

    parameters: list[Tensor]
    """A (runs, r, n) and B (runs, d, r), position by position."""
    settings: PieceSettings
    base: BaseModel

    def adapter(self, owner: Tensor) -> Adapter:
        s, c = self.settings, self.settings.alpha / self.settings.rank
        scale = torch.full((1, 1, s.rank), c, device=self.base.device)
        return lambda p, x: own_update(
            s.kind, self.parameters[2 * p][owner], self.parameters[2 * p + 1].mT[owner], scale
        )

    def alone(self, run: int) -> Adapter:
        """The LoRA of one run, for batches of any size."""
        return lambda p, x: self.adapter(torch.full((len(x),), run, device=x.device))(p, x)

    def piece(self, run: int) -> OwnPiece:
        tensors = [parameter[run].detach().cpu() for parameter in self.parameters]
        scale = self.settings.alpha / self.settings.rank
        return OwnPiece(tensors[0::2], [b.mT.contiguous() for b in tensors[1::2]], scale, own_kind(self.settings))


def _start(base: BaseModel, settings: PieceSettings, runs: int, id: str) -> _Run:
    parameters = []
    for pair in initial_pieces(base, id, settings):
        for tensor in pair:
            parameters.append(tensor.expand(runs, -1, -1).clone().to(base.device).requires_grad_())
    return _Run(parameters, settings, base)


def _searched(call: Call, person: Person, settings: PieceSettings) -> Prepared:
    began = time.perf_counter()
    setting, log = call.setting, Log(call.watch)
    pairs = training_pairs(setting, person.history, call.shown)
    if len(pairs) < FEWEST:
        short = replace(call, detail="", people=[person])
        return replace(oppu(short)[0], says="Too few items to hold any out: trained as the sharers were.")
    found = search(setting.base, pairs, person.id, settings, log)
    seconds = time.perf_counter() - began
    told = f"held-out loss {found.base_loss:.3f} before, {found.loss:.3f} after"
    if not found.passes:
        return _prepared(setting.task, None, seconds, log, f"No step helped ({told}): the base model stays.")
    own = _train_to(setting.base, pairs, person.id, settings, found, log)
    says = f"Best of {len(RATES)} rates: {found.rate:.2g}, stopped after {found.passes:.2g} passes; {told}."
    return _prepared(setting.task, own, time.perf_counter() - began, log, says)


def search(base: BaseModel, pairs: Sequence[Encoded], id: str, settings: PieceSettings, log: Log) -> Found:
    """The rate and number of epochs with the lowest held-out loss; steps 1 to 3 at the top of the file."""
    held = max(1, min(len(pairs) // 5, MOST_HELD_OUT))
    train, test = pairs[:-held], pairs[-held:]
    run = _start(base, settings, len(RATES), id)
    rates = [settings.rate * factor for factor in RATES]
    batches = _schedule(train, id, settings)
    steps, a_pass = len(batches), math.ceil(len(train) / settings.batch)
    looks = {round(steps * look / LOOKS) for look in range(1, LOOKS + 1)}
    before = mean_nll(base, test)
    best, since = Found(settings.rate, 0.0, before, before), 0
    log.tell("searching rate and steps", 0, steps, held_out=before)

    def on_loss(step: int, of: int, losses: list[float]) -> None:
        nonlocal best, since
        found = math.nan
        if step in looks:
            now = [mean_nll(base, test, run.alone(index)) for index in range(len(rates))]
            found = min(now)
            since += 1
            if found < best.loss:
                best, since = Found(rates[now.index(found)], step / a_pass, found, before), 0
        log.tell("searching rate and steps", step, of, training=min(losses), held_out=found)
        if since == PATIENCE:
            raise _Enough

    _descend(base, run, [batches] * len(rates), rates, on_loss)
    return best


def _train_to(
    base: BaseModel, pairs: Sequence[Encoded], id: str, settings: PieceSettings, found: Found, log: Log
) -> OwnPiece:
    run = _start(base, settings, 1, id)
    batches = _schedule(pairs, id, settings)
    last = min(len(batches), max(1, round(found.passes * math.ceil(len(pairs) / settings.batch))))

    def on_loss(step: int, of: int, losses: list[float]) -> None:
        log.tell("training on all items", step, last, all_items=losses[0])
        if step == last:
            raise _Enough

    _descend(base, run, [batches], [found.rate], on_loss)
    return run.piece(0)


def _schedule(pairs: Sequence[Encoded], id: str, settings: PieceSettings) -> list[list[Encoded]]:
    a_pass = math.ceil(len(pairs) / settings.batch)
    passes = max(PASSES, math.ceil(STEPS / a_pass))
    return epoch_batches(pairs, id, settings.batch, passes, settings.seed)


def _descend(
    base: BaseModel, run: _Run, batches: list[list[list[Encoded]]], rates: Sequence[float], on_loss: Losses
) -> None:
    try:
        descend(base, run.parameters, batches, run.adapter, rates, epochs=1, on_loss=on_loss)
    except _Enough:
        return
