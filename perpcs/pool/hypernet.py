"""Profile-to-PEFT: a network that writes a person's LoRA from their profile, every position in one call.

For user u, layer l and module m (arXiv 2510.16282, whose trunk is Text-to-LoRA's), D = width, H = hidden:

    z_u = LN(Linear(e_u))  D/2      z_l = LN(Embedding)  D/4      z_m = LN(Embedding)  D/4      x = [z_u; z_l; z_m]
    mixer       x -> SiLU Linear(4D, D) SiLU Linear(D, 4D) x
    2 blocks    x -> x + SiLU Linear(4D, D) SiLU Linear(D, 4D) LN x
    last        x -> SiLU Linear(4D, H) SiLU Linear(D, 4D) LN x
    head_m      x -> A (r, n) and B (d, r), one linear layer; its weight starts at zero, its bias at [Kaiming, 0]

So before training B is zero and everybody has the base model, to the bit. One thing differs from the paper: profiles of
one task read much alike, so e_u is centred and scaled by the mean and the spread of the profiles that the network was
trained on, which are stored with it.

It is trained end to end: what it writes from a profile must make the person's next words likelier.

The base model stays as it is. One network serves all tasks, as in the paper: a batch mixes people of every task, as
many of each. All rows of a person carry the A and B that one call wrote from that person's profile, through the layer
that everything goes through. A pair is only ever learned with a profile of strictly earlier items, or the network would
learn to repeat what it was told.

Two groups are held out, to tell what it does for people it has not seen: some of the people, and all people of some
clusters. The network that does best for both is kept, so these people influence how long it is trained and cannot be
used to judge it. Every step depends on the seed and its number alone, so a killed run goes on exactly where it was.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from perpcs.errors import PerpcsError
from perpcs.files import write_atomic
from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, Factors
from perpcs.model.likelihood import Encoded, encode_pair, length_batches, pad_right, target_nll, target_places
from perpcs.pool.select import profile_points
from perpcs.pool.train import PieceSettings, initial_A
from perpcs.schema import Position, Rate, Record, Size
from perpcs.tasks import Task, User

# ---- the network -----------------------------------------------------------------------------------------------------


Form = tuple[str, tuple[int, ...]]
"""Number format as safetensors calls it (F32, F16, I8), and shape."""
_WIDER = 4
_BLOCKS = 2


@dataclass(frozen=True)
class HypernetShape(Record):
    """What a network's size depends on, beside the positions."""

    profile: Size
    """Width of a profile's embedding."""
    width: Size = 96
    """D; divisible by 4."""
    hidden: Size = 48
    """H, what the heads read. Most numbers are in the heads: H r (n + d) a module."""
    rank: Size = 4
    alpha: Rate = 8.0

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def __post_init__(self) -> None:
        if self.width < 4 or self.width % 4 or min(self.profile, self.hidden, self.rank) < 1:
            raise PerpcsError(
                f"A hypernetwork of width {self.width}, hidden width {self.hidden} and rank {self.rank} is not "
                "possible.",
                "Use a width that 4 divides, and sizes of at least 1.",
            )


class Hypernet(nn.Module):
    """The network for the positions of one base model. Weights depend on the seed alone.

    Positions of one module and of one shape share a head and a module embedding.
    """

    mean: Tensor
    """What profiles are centred on (profile)."""
    spread: Tensor

    def __init__(self, positions: Sequence[Position], shape: HypernetShape, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        kinds = list(dict.fromkeys((p.module, p.n, p.d) for p in positions))
        layers = list(dict.fromkeys(p.layer for p in positions))
        self.sizes = [(n, d) for _, n, d in kinds]
        self.layer_of = [layers.index(p.layer) for p in positions]
        self.kind_of = [kinds.index((p.module, p.n, p.d)) for p in positions]
        width, wide = shape.width, _WIDER * shape.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.user = nn.Sequential(nn.Linear(shape.profile, width // 2), nn.LayerNorm(width // 2))
            self.layer = nn.Sequential(nn.Embedding(len(layers), width // 4), nn.LayerNorm(width // 4))
            self.module = nn.Sequential(nn.Embedding(len(kinds), width // 4), nn.LayerNorm(width // 4))
            self.mixer = nn.ModuleList([nn.Linear(width, wide), nn.Linear(wide, width)])
            self.blocks = nn.ModuleList(
                nn.ModuleList([nn.LayerNorm(width), nn.Linear(width, wide), nn.Linear(wide, width)])
                for _ in range(_BLOCKS)
            )
            self.last = nn.ModuleList([nn.LayerNorm(width), nn.Linear(width, wide), nn.Linear(wide, shape.hidden)])
            for part in self.modules():
                if isinstance(part, nn.Linear):  # else what tells people apart has faded before the heads read it
                    nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
                    nn.init.zeros_(part.bias)
            heads = [nn.Linear(shape.hidden, shape.rank * (n + d)) for n, d in self.sizes]
        for head, (module, n, d) in zip(heads, kinds, strict=True):
            if head.bias.is_meta:  # only the shapes are asked for
                break
            A = initial_A("", module, n, PieceSettings(rank=shape.rank, seed=seed))
            nn.init.zeros_(head.weight)
            with torch.no_grad():
                head.bias.copy_(torch.cat([A.flatten(), torch.zeros(d * shape.rank)]))
        self.heads = nn.ModuleList(heads)
        self.register_buffer("mean", torch.zeros(shape.profile))
        self.register_buffer("spread", torch.ones(shape.profile))

    def centre_on(self, profiles: Tensor) -> None:
        """Remember mean and spread of training profiles (people, profile), number by number."""
        self.mean.copy_(profiles.mean(0))
        self.spread.copy_(profiles.std(0, correction=0).clamp(min=1e-3))

    def forward(
        self, profiles: Tensor, drop: float = 0.0, generator: torch.Generator | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Factors of every position for a batch of people: per position A (b, r, n) and B (b, d, r).

        Args:
            profiles: embeddings (b, profile).
            drop: share of numbers dropped behind every nonlinearity, drawn from the generator; in training only.
        """

        def lit(x: Tensor) -> Tensor:
            x = F.silu(x)
            if not drop:
                return x
            return x * (torch.rand(x.shape, generator=generator).to(x) >= drop) / (1 - drop)

        def through(part: Any, x: Tensor) -> Tensor:
            norm, out, back = part
            return lit(back(lit(out(norm(x)))))

        b, count = len(profiles), len(self.kind_of)
        device = profiles.device
        z_u = self.user((profiles - self.mean) / self.spread)[:, None].expand(-1, count, -1)
        z_l = self.layer(torch.tensor(self.layer_of, device=device)).expand(b, -1, -1)
        z_m = self.module(torch.tensor(self.kind_of, device=device)).expand(b, -1, -1)
        x = torch.cat([z_u, z_l, z_m], dim=2)  # (b, P, D)
        x = lit(self.mixer[1](lit(self.mixer[0](x))))
        for block in self.blocks:
            x = x + through(block, x)
        x = through(self.last, x)  # (b, P, H)
        A: list[Tensor] = [x] * count
        B: list[Tensor] = [x] * count
        for kind, (n, d) in enumerate(self.sizes):
            own = [p for p in range(count) if self.kind_of[p] == kind]
            flat = self.heads[kind](x[:, own])  # (b, own, r (n + d))
            for index, p in enumerate(own):
                first, second = flat[:, index].split([self.shape.rank * n, self.shape.rank * d], dim=1)
                A[p], B[p] = first.view(b, self.shape.rank, n), second.view(b, d, self.shape.rank)
        return A, B


def rows_adapter(A: Sequence[Tensor], B: Sequence[Tensor], owner: Tensor, scale: float) -> Adapter:
    """The adapter of a batch whose row b belongs to person owner[b]: A, B per position and person, (people, r, n) and
    (people, d, r).
    """
    c = torch.full((1, 1, A[0].shape[1]), scale, device=owner.device, dtype=A[0].dtype)
    return lambda p, x: Factors(A[p][owner], B[p].mT[owner], c)


def hypernet_bytes(net: Hypernet) -> bytes:
    """A network as safetensors of half floats."""
    return save({name: value.detach().half().contiguous() for name, value in net.state_dict().items()})


def hypernet_forms(positions: Sequence[Position], shape: HypernetShape) -> dict[str, Form]:
    """What the file of such a network holds, told without making one."""
    with torch.device("meta"):
        net = Hypernet(positions, shape)
    return {name: ("F16", tuple(tensor.shape)) for name, tensor in net.state_dict().items()}


def read_hypernet(tensors: Mapping[str, Tensor], positions: Sequence[Position], shape: HypernetShape) -> Hypernet:
    """The network of these tensors, which have the forms of ``hypernet_forms``; float32."""
    net = Hypernet(positions, shape)
    net.load_state_dict({name: value.float() for name, value in tensors.items()})
    return net.requires_grad_(False)


# ---- its training ----------------------------------------------------------------------------------------------------


CHECKPOINT = "checkpoint.safetensors"
Weights = dict[str, Tensor]
GROUPS = ("people", "clusters")
"""What is held out: some people, and whole clusters."""
_FEWEST_PEOPLE = 4
_HELD_OUT_PAIRS = 2
"""Newest pairs of everybody held out whose loss is followed."""
_TOKENS = 4096
"""Padded tokens of one pass; it changes speed and memory, never the result."""


@dataclass(frozen=True)
class HypernetSettings:
    """How a hypernetwork is made. Sizes are in ``HypernetShape``."""

    width: int = 96
    hidden: int = 48
    rank: int = 4
    alpha: float = 8.0
    steps: int = 300
    people: int = 8
    """People a batch."""
    pairs: int = 3
    """Pairs of each of them."""
    rate: float = 2e-3
    """At its highest: it rises over the first ``warmup`` of the steps and falls linearly to 0."""
    warmup: float = 0.2
    smoothing: float = 0.0
    """Share of the label that is spread over the vocabulary. The paper's 0.1 costs likelihood, which is measured."""
    penalty: float = 1e-3
    """Weight of mean A^2 + mean B^2, averaged over positions."""
    dropout: float = 0.05
    decay: float = 1e-2
    clip: float = 1.0
    held_out: float = 0.1
    """Share of people, and again of clusters, that are held out."""
    evaluate_every: int = 100
    seed: int = 0

    def shape(self, profile: int) -> HypernetShape:
        """The network's shape for profiles of a width."""
        return HypernetShape(profile, self.width, self.hidden, self.rank, self.alpha)


@dataclass(frozen=True)
class Learned:
    """One person: their pairs, and the profiles that were taken along their history."""

    pairs: list[Encoded]
    """Items, oldest first, then queries."""
    before: list[int]
    """How many of the profiles were taken of strictly earlier items, pair by pair; it never falls."""
    profiles: Tensor
    """(points, width)."""
    task: str = ""


@dataclass(frozen=True)
class Split:
    """Who is learned from and who is held out. People are counted from 0."""

    train: list[int]
    people: list[int] = field(default_factory=list)
    clusters: list[int] = field(default_factory=list)

    def beside(self, other: "Split", before: int) -> "Split":
        """This and another group of people who come after ``before`` others."""
        moved = [[person + before for person in getattr(other, name)] for name in ("train", *GROUPS)]
        return Split(self.train + moved[0], self.people + moved[1], self.clusters + moved[2])


def learned_people(base: BaseModel, task: Task, users: Sequence[User], profiles: Tensor) -> list[Learned]:
    """Everybody's pairs with what was known before each.

    Args:
        profiles: of the points of every history, one after the other (``profiles.point_histories``).
    """
    people, at = [], 0
    for user in users:
        points = profile_points(len(user.history))
        asked = [query for query in user.queries if query.gold is not None]
        texts = [task.pair(item) for item in user.history]
        texts += [(task.prompt(query), f" {query.gold}") for query in asked]
        earlier = [*range(len(user.history)), *[len(user.history)] * len(asked)]
        people.append(
            Learned(
                [encode_pair(base.tokenizer, *pair, base.max_tokens) for pair in texts],
                [sum(point <= index for point in points) for index in earlier],
                profiles[at : at + len(points)],
                task.name,
            )
        )
        at += len(points)
    return people


def split_people(clusters: Sequence[int], share: float, seed: int = 0) -> Split:
    """Hold out whole clusters, then people of the others: of each a share, at least one.

    Raises:
        PerpcsError: when there are too few people to learn from.
    """
    random = np.random.default_rng(seed)
    known = sorted(set(clusters))
    away = set(random.permutation(known)[: max(1, round(share * len(known)))].tolist())
    inside = [person for person, cluster in enumerate(clusters) if cluster not in away]
    order = random.permutation(inside).tolist()
    count = max(1, round(share * len(inside)))
    if len(order) - count < _FEWEST_PEOPLE:
        raise PerpcsError(
            f"A hypernetwork cannot be trained on {len(clusters)} people, some of them held out.",
            "Bring more sharer candidates, or build without it.",
        )
    outside = [person for person, cluster in enumerate(clusters) if cluster in away]
    return Split(sorted(order[count:]), sorted(order[:count]), outside)


def train_hypernet(
    base: BaseModel,
    people: Sequence[Learned],
    split: Split,
    settings: HypernetSettings,
    folder: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Hypernet, dict[str, Any]]:
    """Train a network; checkpoints lie in ``folder`` until it is done.

    Returns:
        The network, rounded to half floats as it will be stored, and what is known of it: the step that was ``kept``
        (of those followed the best one, the first apart), ``curve`` (a list of {step, loss, people, clusters}; losses
        in nats per target token, ``loss`` a running mean of the training loss without the penalty), and for each task
        how many people were learned from and ``held_out``, and ``final``: for each group held out its loss with the
        ``base`` model, with ``own`` profiles and with ``shuffled`` ones, those of the next person of the group.
    """
    ready = [person for person in split.train if people[person].before[-1]]
    if not ready:
        raise PerpcsError("Nobody's history is long enough to learn from.", "Bring people with at least five items.")
    shape = settings.shape(people[0].profiles.shape[1])
    net = Hypernet(base.positions, shape, settings.seed).to(base.device)
    net.centre_on(torch.cat([people[person].profiles for person in ready]).to(base.device))
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=settings.decay)
    best: Weights = {}
    state = _resume(folder, net, optimiser, best) or {"step": 0, "running": 0.0, "curve": []}
    if not state["curve"]:
        state["curve"].append({"step": 0, "loss": None, **_followed(base, net, people, split)})
    for step in range(state["step"], settings.steps):
        share = min((step + 1) / max(1, settings.warmup * settings.steps), 1.0)
        share = min(share, (settings.steps - step) / max(1, (1 - settings.warmup) * settings.steps))
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * share
        loss = _learn(base, net, _drawn(people, ready, settings, step), settings, step)
        torch.nn.utils.clip_grad_norm_(net.parameters(), settings.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        state["running"] = loss if not step else 0.95 * state["running"] + 0.05 * loss
        state["step"] = step + 1
        if (step + 1) % settings.evaluate_every == 0 or step + 1 == settings.steps:
            found = {"step": step + 1, "loss": round(state["running"], 4), **_followed(base, net, people, split)}
            state["curve"].append(found)
            if _best_step(state["curve"]) == step + 1:
                best = {name: value.detach().clone() for name, value in net.state_dict().items()}
            _checkpoint(folder, net, optimiser, state, best)
        if on_progress:
            on_progress(step + 1, settings.steps)
    net.load_state_dict(best)
    net = read_hypernet(load(hypernet_bytes(net)), base.positions, shape).to(base.device)
    facts = {
        "kept": _best_step(state["curve"]),
        "parameters": sum(p.numel() for p in net.parameters()),
        "curve": state["curve"],
        "tasks": {
            task: _of_task(base, net, people, ready, split, task) for task in dict.fromkeys(p.task for p in people)
        },
    }
    return net, facts


def _of_task(
    base: BaseModel, net: Hypernet, people: Sequence[Learned], ready: Sequence[int], split: Split, task: str
) -> dict[str, Any]:
    """What is known of one task: how many people learned, how many were held out, and their losses."""
    held = {group: [person for person in getattr(split, group) if people[person].task == task] for group in GROUPS}
    return {
        "people": sum(people[person].task == task for person in ready),
        "held_out": {group: len(who) for group, who in held.items()},
        "final": {group: _compared(base, net, people, who) for group, who in held.items()},
    }


def _best_step(curve: Sequence[Mapping[str, Any]]) -> int:
    """The step, not the first, at which those held out lost least, on the mean of their groups; the latest such."""

    def rank(at: Mapping[str, Any]) -> tuple[float, int]:
        held = [at[group] for group in GROUPS if at[group] is not None]
        return sum(held) / max(1, len(held)), -at["step"]

    return int(min((at for at in curve if at["step"]), key=rank)["step"])


Row = tuple[int, Encoded]
"""(place of the person in the batch, pair)"""


def _drawn(
    people: Sequence[Learned], ready: Sequence[int], settings: HypernetSettings, step: int
) -> tuple[Tensor, list[Row]]:
    """The batch of a step: profiles (b, width), one a person, and rows whose pairs all come after their profile.

    Tasks take turns in giving a person.
    """
    random = np.random.default_rng([settings.seed, step])
    waiting: dict[str, list[int]] = {}
    for person in random.permutation(ready).tolist():
        waiting.setdefault(people[person].task, []).append(person)
    turns = sorted((turn, at, person) for at, own in enumerate(waiting.values()) for turn, person in enumerate(own))
    profiles, rows = [], []
    for place, (_, _, person) in enumerate(turns[: settings.people]):
        own = people[person]
        point = random.integers(own.before[-1])
        first = next(index for index, known in enumerate(own.before) if known > point)
        later = random.permutation(np.arange(first, len(own.pairs)))[: settings.pairs]
        profiles.append(own.profiles[point])
        rows += [(place, own.pairs[index]) for index in later]
    return torch.stack(profiles), rows


def _learn(
    base: BaseModel,
    net: Hypernet,
    drawn: tuple[Tensor, list[Row]],
    settings: HypernetSettings,
    step: int,
) -> float:
    """Add a batch's gradient to the network's parameters; returns its loss without the penalty.

    Each pair counts as the mean over its tokens, and all pairs alike. Rows of similar length pass through the model
    together; what the factors collect goes back through the network once.
    """
    profiles, rows = drawn
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    A, B = net(profiles.to(base.device), settings.dropout, generator)
    leaves = [factor.detach().requires_grad_() for factor in (*A, *B)]
    total = 0.0
    for part in length_batches([len(item.ids) for _, item in rows], _TOKENS):
        items = [rows[row][1] for row in part]
        owner = torch.tensor([rows[row][0] for row in part], device=base.device)
        ids = pad_right([item.ids for item in items], base.pad, base.device)
        at, columns = target_places(items, base.device)
        adapter = rows_adapter(leaves[: len(A)], leaves[len(A) :], owner, net.shape.scale)
        logits = base.logits(ids, (at, columns), adapter)
        losses = F.cross_entropy(
            logits.float(), ids[at, columns + 1], reduction="none", label_smoothing=settings.smoothing
        )
        counts = torch.tensor([item.end - item.start for item in items], device=base.device)
        loss = (losses / counts[at]).sum() / len(rows)
        loss.backward()
        total += loss.item()
    size = torch.stack([a.square().mean() + b.square().mean() for a, b in zip(A, B, strict=True)]).mean()
    torch.autograd.backward([settings.penalty * size, *A, *B], [None, *(leaf.grad for leaf in leaves)])
    return total


def _followed(base: BaseModel, net: Hypernet, people: Sequence[Learned], split: Split) -> dict[str, float | None]:
    """Loss of every group held out."""
    return {group: _held_out(base, net, people, getattr(split, group)) for group in GROUPS}


def _compared(base: BaseModel, net: Hypernet, people: Sequence[Learned], who: Sequence[int]) -> dict[str, float | None]:
    """Loss of a group held out: as everybody has it, with own profiles, and with those of the next person."""
    return {
        "base": _held_out(base, None, people, who),
        "own": _held_out(base, net, people, who),
        "shuffled": _held_out(base, net, people, who, shift=1) if len(who) > 1 else None,
    }


@torch.no_grad()
def _held_out(
    base: BaseModel, net: Hypernet | None, people: Sequence[Learned], who: Sequence[int], shift: int = 0
) -> float | None:
    """Nats per target token of the newest pairs, each with the longest profile that is strictly earlier; None where
    nobody has one. With a shift, the profile is that of the person so many places later in ``who``.
    """
    who = [person for person in who if people[person].before[-1]]
    rows = [
        (place, item, known)
        for place, person in enumerate(who)
        for item, known in list(zip(people[person].pairs, people[person].before, strict=True))[-_HELD_OUT_PAIRS:]
        if known
    ]
    total = count = 0.0
    for batch in length_batches([len(item.ids) for _, item, _ in rows], _TOKENS):
        part = [rows[row] for row in batch]
        adapter: Adapter | None = None
        if net is not None:
            lent = [people[who[(place + shift) % len(who)]].profiles for place, _, _ in part]
            known = [own[min(index, len(own)) - 1] for own, (_, _, index) in zip(lent, part, strict=True)]
            A, B = net(torch.stack(known).to(base.device))
            adapter = rows_adapter(A, B, torch.arange(len(part), device=base.device), net.shape.scale)
        nll, tokens = target_nll(base, [item for _, item, _ in part], adapter)
        total, count = total + float(nll.sum()), count + float(tokens.sum())
    return round(total / count, 4) if count else None


def _checkpoint(
    folder: Path, net: Hypernet, optimiser: torch.optim.Optimizer, state: dict[str, Any], best: Weights
) -> None:
    """Weights, moments, the best weights so far and the step in one file, so that a kill leaves the old one or the new
    one.
    """
    tensors = {f"net.{name}": value.detach().contiguous().clone() for name, value in net.state_dict().items()}
    tensors |= {f"best.{name}": value.contiguous().clone() for name, value in best.items()}
    for index, own in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{key}": value.clone() for key, value in own.items()}
    write_atomic(folder / CHECKPOINT, save(tensors, metadata={"note": json.dumps(state)}))


def _resume(folder: Path, net: Hypernet, optimiser: torch.optim.Optimizer, best: Weights) -> dict[str, Any] | None:
    """Load a checkpoint into network, optimiser and the best weights; what it says, or None where there is none."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    weights: Weights = {}
    moments: dict[int, dict[str, Tensor]] = {}
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - a safe_open handle is no dict
            kind, _, rest = name.partition(".")
            if kind == "optimiser":
                index, key = rest.split(".")
                moments.setdefault(int(index), {})[key] = file.get_tensor(name)
            else:
                (best if kind == "best" else weights)[rest] = file.get_tensor(name)
        note: dict[str, Any] = json.loads(file.metadata()["note"])
    net.load_state_dict(weights)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    return note
