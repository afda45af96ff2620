"""Task adaptation (section 2.2): what the base model learns from base users, and the LoRA that learns it.

A history item or a profile that stands in a prompt must help, or RAG and PAG are no honest baselines; so a share of the
prompts carry what BM25 retrieves from the writer's strictly earlier history, and a share a profile of it. Base users'
queries are learned from too: where the history is free text, only they show what is asked.

The update of all positions is one low-rank product each, kept as such on disk (a few MB) and merged when the model is
opened (model/base.py). Batches hold texts of like length; masters are float32 whatever the model computes in.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from perpcs.data.bm25 import retrieve
from perpcs.files import write_atomic
from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, Factors
from perpcs.model.likelihood import target_nll
from perpcs.model.text import Encoded, encode_pair, length_batches
from perpcs.tasks import Item, Query, Task, User

RETRIEVED = (1, 1, 2, 4)
"""How many items a prompt with history carries: one of these, equally likely."""
FEWEST_TO_DESCRIBE = 4
"""Items below which a profile says next to nothing."""
CHECKPOINT = "checkpoint.safetensors"
_EVERY = 180.0  # seconds between checkpoints


@dataclass(frozen=True)
class AdaptSettings:
    """How the base model is adapted."""

    rank: int = 16
    alpha: float = 32.0
    rate: float = 1e-3
    warmup: int = 15
    """Steps in which the rate rises; then it falls linearly to zero."""
    batch_tokens: int = 1536
    """Padded tokens of a step."""
    lessons: int = 1500
    """At most so many lessons a task, drawn evenly over its base users."""
    tokens: int = 80_000
    """At most so many tokens a task: tasks with long texts get fewer lessons."""
    longest: int = 400
    """Lessons of more tokens are left out."""
    with_history: float = 0.4
    """Share of lessons whose prompt carries retrieved, strictly earlier items."""
    with_profile: float = 0.08
    """Share of lessons whose prompt carries a profile of strictly earlier items, where there are enough of them."""
    label_weight: float = 4.0
    """How much a token of a label counts beside one of a text: a label has few, and one of these decides."""
    seed: int = 0


@dataclass(frozen=True)
class Lesson:
    """One text to learn from."""

    task: str
    prompt: str
    target: str


Profiles = Callable[[Task, Sequence[tuple[Item, ...]]], list[str]]
"""Writes one line about each of several histories."""


def base_lessons(task: Task, users: Sequence[User], settings: AdaptSettings, profiles: Profiles) -> list[Lesson]:
    """Lessons of one task, at most ``settings.lessons``, in an order drawn from the seed.

    Items of one user are spread over the order, so that a cut keeps as many people as it can.
    """
    rng = random.Random(f"{settings.seed}/{task.name}")
    places = [(user, index) for user in users for index in range(len(user.history) + len(user.queries))]
    rng.shuffle(places)
    seen: dict[str, int] = {}
    rank = {}
    for user, index in places:
        seen[user.id] = rank[user.id, index] = seen.get(user.id, 0) + 1
    places.sort(key=lambda place: rank[place[0].id, place[1]])
    drawn = [(place, rng.random() < settings.with_history, rng.random()) for place in places]
    chosen = [one for one in drawn if _asked(*one[0]) is not None][: settings.lessons]
    told = {
        place: user.history[:index]
        for place, ((user, index), _, draw) in enumerate(chosen)
        if draw < settings.with_profile and min(index, len(user.history)) >= FEWEST_TO_DESCRIBE
    }
    lines = dict(zip(told, profiles(task, list(told.values())), strict=True))
    lessons = []
    for place, ((user, index), shows, _) in enumerate(chosen):
        earlier = user.history[:index]
        item = user.history[index] if index < len(user.history) else None
        query = task.as_query(item) if item else user.queries[index - len(user.history)]
        k = rng.choice(RETRIEVED)
        shown = retrieve(query.sought, earlier, k) if shows and earlier else []
        if item is not None and item.y is None:
            lessons.append(Lesson(task.name, *task.pair(item)))
        elif item is not None:
            lessons.append(Lesson(task.name, *task.pair(item, history=shown, profile=lines.get(place, ""))))
        else:
            lessons.append(Lesson(task.name, task.prompt(query, shown, lines.get(place, "")), f" {query.gold}"))
    return lessons


def _asked(user: User, index: int) -> Item | Query | None:
    """The item or query at a place; None where a query has no answer to learn."""
    if index < len(user.history):
        return user.history[index]
    query = user.queries[index - len(user.history)]
    return query if query.gold is not None else None


@dataclass(frozen=True)
class Delta:
    """A low-rank update of every position: W + s B A."""

    A: list[Tensor]
    """Per position (r, n)."""
    B: list[Tensor]
    """Per position (d, r)."""
    scale: float
    paths: tuple[str, ...]
    """Module names of the positions."""

    def save(self, path: Path) -> None:
        """Write it as half floats."""
        named = {f"{path}.A": a for path, a in zip(self.paths, self.A, strict=True)}
        named |= {f"{path}.B": b * self.scale for path, b in zip(self.paths, self.B, strict=True)}
        write_atomic(path, save({name: tensor.half().contiguous() for name, tensor in named.items()}))


def encode_lessons(base: BaseModel, lessons: Sequence[Lesson], settings: AdaptSettings) -> list[tuple[str, Encoded]]:
    """Task and token ids of the lessons that fit, up to ``settings.tokens`` of each task."""
    left: dict[str, int] = {}
    kept = []
    for lesson in lessons:
        one = encode_pair(base.tokenizer, lesson.prompt, lesson.target, base.max_tokens)
        room = left.setdefault(lesson.task, settings.tokens)
        if len(one.ids) <= min(settings.longest, room):
            left[lesson.task] = room - len(one.ids)
            kept.append((lesson.task, one))
    return kept


def adapt(
    base: BaseModel,
    encoded: Sequence[Encoded],
    weights: Sequence[float],
    settings: AdaptSettings,
    folder: Path | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
) -> tuple[Delta, list[float]]:
    """Train one LoRA on all lessons, once through.

    Args:
        weights: how much a target token of each lesson counts.
        folder: where a checkpoint is kept, so that a killed run goes on where it was.
        on_step: told the step, how many there are, and the loss (weighted nats a target token).

    Returns:
        The update, and the loss of every step.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    parameters: list[Tensor] = []
    for position in base.positions:
        bound = position.n**-0.5
        A = (torch.rand(settings.rank, position.n, generator=generator) * 2 - 1) * bound
        parameters += [A.to(base.device).requires_grad_()]
        parameters += [torch.zeros(settings.rank, position.d, device=base.device).requires_grad_()]
    batches = length_batches([len(one.ids) for one in encoded], settings.batch_tokens)
    random.Random(settings.seed).shuffle(batches)
    optimiser = torch.optim.AdamW(parameters, lr=settings.rate, betas=(0.9, 0.99), weight_decay=0.0)
    c = torch.full((1, 1, settings.rank), settings.alpha / settings.rank, device=base.device)
    adapter: Adapter = lambda p, x: Factors(parameters[2 * p], parameters[2 * p + 1], c)  # noqa: E731
    losses = _resume(folder, parameters, optimiser)
    saved = time.monotonic()
    for step in range(len(losses), len(batches)):
        rate = min(1.0, (step + 1) / settings.warmup) * (1 - step / len(batches))
        optimiser.param_groups[0]["lr"] = settings.rate * rate
        nll, counts = target_nll(base, [encoded[row] for row in batches[step]], adapter)
        count = torch.tensor([weights[row] for row in batches[step]], device=nll.device)
        loss = (nll * count).sum() / (counts * count).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(round(float(loss.detach()), 4))
        if folder is not None and time.monotonic() - saved > _EVERY:
            _keep(folder, parameters, optimiser, losses)
            saved = time.monotonic()
        if on_step:
            on_step(step + 1, len(batches), losses[-1])
    done = [parameter.detach().cpu() for parameter in parameters]
    paths = tuple(position.path for position in base.positions)
    return Delta(done[0::2], [b.T for b in done[1::2]], settings.alpha / settings.rank, paths), losses


def _keep(folder: Path, parameters: Sequence[Tensor], optimiser: torch.optim.AdamW, losses: Sequence[float]) -> None:
    tensors = {"losses": torch.tensor(losses)}
    for number, parameter in enumerate(parameters):
        state = optimiser.state[parameter]
        tensors |= {f"{number}.{key}": state[key] for key in ("exp_avg", "exp_avg_sq", "step")}
        tensors[f"{number}"] = parameter.detach()
    write_atomic(folder / CHECKPOINT, save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}))


def _resume(folder: Path | None, parameters: Sequence[Tensor], optimiser: torch.optim.AdamW) -> list[float]:
    if folder is None or not (folder / CHECKPOINT).exists():
        return []
    read = load_file(folder / CHECKPOINT)
    for number, parameter in enumerate(parameters):
        parameter.data.copy_(read[f"{number}"])
        optimiser.state[parameter] = {key: read[f"{number}.{key}"] for key in ("exp_avg", "exp_avg_sq", "step")}
    return [round(loss, 4) for loss in read["losses"].tolist()]
