"""A base model from scratch: a small Llama with its own byte-level BPE, saved in Hugging Face format.

Only base users' texts are seen. Answers are predicted, those of history items shown in a prompt too, and of all else a
share, because a model that has never read must also learn to read. Training is resumable: a checkpoint holds weights,
optimiser moments and the step, and the batches of step i depend on the seed and i alone, so a killed run continues
exactly where it was.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch.nn import functional as F

from perpcs.errors import PerpcsError
from perpcs.files import write_atomic
from perpcs.model.muon import Muon
from perpcs.model.rounding import attend_whole, rounds_fast
from perpcs.model.text import Lesson
from perpcs.quiet import quiet_transformers

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class BaseSettings:
    """Size and training of a from-scratch base model."""

    width: int = 256
    layers: int = 4
    heads: int = 8
    feed_forward: int = 768
    vocabulary: int = 3072
    max_tokens: int = 512
    steps: int = 4000
    batch_tokens: int = 3072
    """Padded tokens of a step."""
    rate: float = 3e-3
    warmup: int = 100
    cooldown: int = 1600
    """Over the last so many steps the rate falls in a straight line."""
    left: float = 0.0
    """What share of it is left at the end, where that is more than a hundredth."""
    weight_decay: float = 0.01
    prompt_loss: float = 0.1
    """Share of the tokens that are only read which are predicted too: who has never read must learn to read."""
    predicted: float = 0.4
    """Room for predictions, as a share of a batch's tokens."""
    evaluate_every: int = 200
    still: bool = False
    """Whether the embedding stays as it is."""
    compiled: bool = False
    """Compile the training step where there is a C++ compiler. Faster from a few hundred steps on."""
    seed: int = 0


def new_model(tokenizer: Any, settings: BaseSettings) -> Any:
    """A Llama of the given size with random weights drawn from the seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=settings.feed_forward,
        max_position_embeddings=settings.max_tokens,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return LlamaForCausalLM(config)


def read_model(folder: Path) -> Any:
    """A model that was trained before, in float32."""
    from transformers import AutoModelForCausalLM

    quiet_transformers()
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)


class _Texts:
    """Encoded lessons as flat arrays: millions of tokens in little memory."""

    def __init__(self, lessons: Sequence[Lesson], tokenizer: Any, settings: BaseSettings) -> None:
        ids, flags = [], []
        for at in range(0, len(lessons), 1000):
            some = lessons[at : at + 1000]
            coded = tokenizer([lesson.prompt + lesson.target for lesson in some], return_offsets_mapping=True)
            for lesson, own, spans in zip(some, coded["input_ids"], coded["offset_mapping"], strict=True):
                own_ids, own_flags = _flagged(lesson, own, spans, tokenizer.eos_token_id, settings.max_tokens)
                ids.append(own_ids)
                flags.append(own_flags)
        self.lengths = np.array([len(own) for own in ids])
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self.ids = np.concatenate(ids)
        self.flags = np.concatenate(flags)

    def batch(self, rows: np.ndarray, length: int, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids (b, length), and what predicting each next token is worth (b, length), see ``_flagged``."""
        ids = np.full((len(rows), length), pad, dtype=np.int64)
        flags = np.full((len(rows), length), _PAD, dtype=np.int8)
        for row, index in enumerate(rows):
            own = slice(self.offsets[index], self.offsets[index] + self.lengths[index])
            ids[row, : self.lengths[index]] = self.ids[own]
            flags[row, : self.lengths[index]] = self.flags[own]
        return torch.from_numpy(ids), torch.from_numpy(flags)

    def plan(self, settings: BaseSettings, epoch: int) -> list[tuple[np.ndarray, int]]:
        """Batches of one epoch: (rows, padded length), all of ``batch_tokens`` tokens, in a shuffled order.

        Few different shapes, so that each is compiled once. What does not fill a batch goes to the next length; the
        very last rows wait for another epoch.
        """
        random = np.random.default_rng([settings.seed, epoch])
        order = random.permutation(len(self.lengths))
        lengths = _lengths(settings)
        shapes = np.searchsorted(lengths, self.lengths[order])
        batches, left = [], order[:0]
        for shape, length in enumerate(lengths):
            rows = np.concatenate([left, order[shapes == shape]])
            size = max(1, settings.batch_tokens // length)
            full = len(rows) // size * size
            batches += [(some, length) for some in rows[:full].reshape(-1, size)]
            left = rows[full:]
        if not batches:
            batches = [(left, int(self.lengths[left].max()))]
        return [batches[i] for i in random.permutation(len(batches))]


_READ, _PAD = 0, -1  # anything else is an answer's weight


def _lengths(settings: BaseSettings) -> list[int]:
    """Lengths that batches are padded to."""
    some = (64, 96, 128, 160, 192, 224, 256, 320, 384, 448)
    return [*(length for length in some if length < settings.max_tokens), settings.max_tokens]


def _flagged(
    lesson: Lesson, ids: Sequence[int], spans: Sequence[tuple[int, int]], eos: int, max_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """A lesson's ids, and for each input position the weight of an answer that the token after it belongs to, or
    whether that token is only read, or there is none.

    A text that is too long loses its beginning, behind the first token (BOS).
    """
    asked = (*lesson.answers, (len(lesson.prompt), len(lesson.prompt) + len(lesson.target)))
    whole = np.array([*ids, eos], dtype=np.int32)
    begin, end = np.array([*spans, (0, 0)]).T
    worth = np.full(len(whole), _READ, dtype=np.int8)
    worth[-1] = 1 if lesson.asides and lesson.asides[-1][1] >= asked[-1][1] else lesson.weight
    for spans_of, weight in ((asked, lesson.weight), (lesson.asides, 1)):
        for low, high in spans_of:
            worth[(end > begin) & (end > low) & (begin < high)] = weight
    if len(whole) > max_tokens:
        keep = np.r_[0, len(whole) - max_tokens + 1 : len(whole)]
        whole, worth = whole[keep], worth[keep]
    return whole, np.r_[worth[1:], np.int8(_PAD)]


def train_base(
    lessons: Sequence[Lesson],
    held: Mapping[str, Sequence[Lesson]],
    tokenizer: Any,
    settings: BaseSettings,
    folder: Path,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    save_every: float = 60.0,
    start: Path | None = None,
) -> dict[str, Any]:
    """Train a base model on lessons and save it to ``folder`` in Hugging Face format.

    Args:
        held: groups of lessons of people that ``lessons`` does not hold, whose loss is followed.
        start: a folder with a model of this tokenizer to go on from; the settings' sizes then say nothing.
        on_progress: told step, steps, loss, held-out loss (nats per target token, mean of the groups; NaN
            without any yet), seconds left.
        save_every: seconds between checkpoints.

    Returns:
        The curve: settings, tokens seen, and a list of {step, loss, held_out, groups}.

    Raises:
        PerpcsError: when there are fewer than two lessons.
    """
    if len(lessons) < 2:
        raise PerpcsError(f"There are {len(lessons)} texts to train a base model on.", "Give at least two.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = _Texts(lessons, tokenizer, settings)
    groups = {name: _Texts(some, tokenizer, settings) for name, some in held.items() if some}
    model = (read_model(start) if start else new_model(tokenizer, settings)).to(device)
    model.get_input_embeddings().weight.requires_grad_(not settings.still)
    if device == "cpu" and rounds_fast(device):
        attend_whole(model)
    optimisers = _optimisers(model, settings)
    loss_of = _compiled_loss(settings) if settings.compiled and _can_compile() else _loss
    pad = tokenizer.pad_token_id
    curve: list[dict[str, Any]] = []
    step, running = _resume(folder, model, optimisers, curve)
    began, begun_at, saved = time.monotonic(), step, time.monotonic()
    epoch, plan, passed = 0, data.plan(settings, 0), 0
    while step < settings.steps:
        while step - passed >= len(plan):
            passed += len(plan)
            epoch += 1
            plan = data.plan(settings, epoch)
        share = _schedule(step, settings)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * share
        ids, flags = data.batch(*plan[step - passed], pad)
        at, weight = _predicted(flags, step, settings)
        loss = loss_of(model, ids.to(device), at.to(device), weight.to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        running = loss.item() if not running else 0.98 * running + 0.02 * loss.item()
        step += 1
        if step % settings.evaluate_every == 0 or step == settings.steps:
            found = {name: round(_held_out(model, texts, pad, device), 4) for name, texts in groups.items()}
            mean = round(sum(found.values()) / max(1, len(found)), 4)
            curve.append({"step": step, "loss": round(running, 4), "held_out": mean, "groups": found})
        if on_progress:
            left = (time.monotonic() - began) / (step - begun_at) * (settings.steps - step)
            last = curve[-1]["held_out"] if curve and groups else float("nan")
            on_progress({"step": step, "steps": settings.steps, "loss": running, "held_out": last, "left": left})
        if step < settings.steps and time.monotonic() - saved > save_every:
            _checkpoint(folder, model, optimisers, curve, step, running)
            saved = time.monotonic()
    quiet_transformers()
    folder.mkdir(parents=True, exist_ok=True)
    model.to("cpu").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    seen = settings.steps * settings.batch_tokens
    return {"settings": asdict(settings), "lessons": len(lessons), "padded_tokens_seen": seen, "curve": curve}


def _optimisers(model: Any, settings: BaseSettings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, which it trains in fewer steps; AdamW for the embedding and the norms."""
    inner = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
    outer = [p for name, p in model.named_parameters() if (p.dim() != 2 or "embed" in name) and p.requires_grad]
    muon = Muon(
        [{"params": inner, "peak": settings.rate}],
        lr=settings.rate,
        weight_decay=settings.weight_decay,
        rounded=rounds_fast(inner[0].device.type),
    )
    adam = torch.optim.AdamW(
        [{"params": outer, "peak": settings.rate}], lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    return [muon, adam]


def _compiled_loss(settings: BaseSettings) -> Callable[..., torch.Tensor]:
    """The loss, compiled once for each shape of a batch."""
    torch._dynamo.config.recompile_limit = 2 * len(_lengths(settings))  # by default it gives up at eight
    return torch.compile(_loss, dynamic=False)


def _can_compile() -> bool:
    return torch.cuda.is_available() or any(map(shutil.which, ("g++", "c++", "clang++")))


def _schedule(step: int, settings: BaseSettings) -> float:
    """Share of the rate: linear warm-up, level, then a straight line down over the cool-down."""
    up = (step + 1) / settings.warmup
    down = settings.left + (1 - settings.left) * (settings.steps - step) / settings.cooldown
    return max(0.01, min(1.0, up, down))


def _predicted(flags: torch.Tensor, step: int, settings: BaseSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """Which input positions predict in this step, (k,) into the flattened batch, and their weights (k,).

    Answers all do, and a share of what is only read: computing logits for the rest would be the largest part of a step.
    k is the same for every batch; what is left of it has no weight.
    """
    k = int(flags.numel() * settings.predicted)
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    flat = flags.flatten()
    chance = torch.rand(len(flat), generator=generator)
    chosen = torch.where((flat > _READ) | ((flat == _READ) & (chance < settings.prompt_loss)))[0]
    if len(chosen) > k:
        chosen = chosen[torch.randperm(len(chosen), generator=generator)[:k]]
    at, weight = torch.zeros(k, dtype=torch.long), torch.zeros(k)
    at[: len(chosen)] = chosen
    weight[: len(chosen)] = flat[chosen].clamp(min=1).float()
    return at, weight


def _loss(model: Any, ids: torch.Tensor, at: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted mean of the loss of predicting the token after each of the flattened positions ``at``."""
    with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=rounds_fast(ids.device.type)):
        states = model.model(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)[at]
        logits = model.lm_head(states)
    gold = torch.roll(ids.flatten(), -1)[at]
    losses = F.cross_entropy(logits.float(), gold, reduction="none")
    return (losses * weight).sum() / weight.sum()


@torch.no_grad()
def _held_out(model: Any, data: _Texts, pad: int, device: str) -> float:
    """Nats per answer token."""
    model.eval()
    total = count = 0.0
    for rows in np.array_split(np.argsort(data.lengths), max(1, len(data.lengths) // 32)):
        ids, flags = data.batch(rows, int(data.lengths[rows].max()), pad)
        at = torch.where(flags.flatten() > _READ)[0]
        total += float(_loss(model, ids.to(device), at.to(device), torch.ones(len(at), device=device))) * len(at)
        count += len(at)
    model.train()
    return total / count


def _checkpoint(
    folder: Path,
    model: Any,
    optimisers: Sequence[torch.optim.Optimizer],
    curve: list[dict[str, Any]],
    step: int,
    running: float,
) -> None:
    """Weights, moments and the step in one safetensors file, so that a kill leaves the old one or the new one."""
    tensors = {f"model.{name}": value.detach().contiguous().clone() for name, value in model.named_parameters()}
    for which, optimiser in enumerate(optimisers):
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{which}.{index}.{key}": value.clone() for key, value in state.items()}
    note = json.dumps({"step": step, "curve": curve, "running": running})
    write_atomic(folder / CHECKPOINT, save(tensors, metadata={"note": note}))


def _resume(
    folder: Path, model: Any, optimisers: Sequence[torch.optim.Optimizer], curve: list[dict[str, Any]]
) -> tuple[int, float]:
    """Load a checkpoint into model, optimisers and curve; the step to go on from and the running loss, 0 where there is
    none.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return 0, 0.0
    states: list[dict[int, dict[str, torch.Tensor]]] = [{} for _ in optimisers]
    with safe_open(path, "pt") as file, torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(file.get_tensor(f"model.{name}"))
        for name in file.keys():  # noqa: SIM118 - a safe_open handle is no dict
            if name.startswith("optimiser."):
                _, which, index, key = name.split(".")
                states[int(which)].setdefault(int(index), {})[key] = file.get_tensor(name)
        note = json.loads(file.metadata()["note"])
    for optimiser, state in zip(optimisers, states, strict=True):
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    curve.extend(note["curve"])
    return int(note["step"]), float(note.get("running", 0.0))
