"""A base model from scratch: a small Llama with its own byte-level BPE, saved in Hugging Face format.

Only base users' texts are seen. The loss counts target tokens fully and prompt tokens a little, because a model that
has never read must also learn to read. Training is resumable: a checkpoint holds weights, optimiser moments and the
step, and the batches of step i depend on the seed and i alone, so a killed run continues exactly where it was.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
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
from perpcs.model.text import Encoded, encode_pair
from perpcs.quiet import quiet_transformers

BOS, EOS, PAD = "<|begin|>", "<|end|>", "<|pad|>"
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
    rate: float = 1.5e-3
    warmup: int = 200
    horizon: int = 5600
    """The rate follows half a cosine that would end at this step ..."""
    cooldown: int = 850
    """... and leaves it for a straight line down to a twentieth over the last so many steps."""
    weight_decay: float = 0.01
    prompt_loss: float = 0.1
    """Weight of prompt tokens in the loss; target tokens weigh 1."""
    held_out: int = 256
    """Pairs kept out of training to follow the loss."""
    evaluate_every: int = 200
    seed: int = 0


def train_tokenizer(texts: Iterable[str], settings: BaseSettings) -> Any:
    """A byte-level BPE trained on ``texts``: any string can be read, unknown words fall into pieces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    raw.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=BOS, eos_token=EOS, pad_token=PAD)


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


class _Pairs:
    """Encoded pairs as flat arrays: millions of tokens in little memory."""

    def __init__(self, encoded: Sequence[Encoded]) -> None:
        self.lengths = np.array([len(item.ids) for item in encoded])
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self.ids = np.concatenate([np.array(item.ids, dtype=np.int32) for item in encoded])
        self.starts = np.array([item.start for item in encoded])

    def batch(self, rows: np.ndarray, pad: int, prompt_loss: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids (b, t) and the loss weight of predicting each next token (b, t - 1)."""
        longest = int(self.lengths[rows].max())
        ids = np.full((len(rows), longest), pad, dtype=np.int64)
        weight = np.zeros((len(rows), longest - 1), dtype=np.float32)
        for row, index in enumerate(rows):
            length, start = int(self.lengths[index]), int(self.starts[index])
            ids[row, :length] = self.ids[self.offsets[index] : self.offsets[index] + length]
            weight[row, :start] = prompt_loss
            weight[row, start : length - 1] = 1.0
        return torch.from_numpy(ids), torch.from_numpy(weight)

    def plan(self, rows: np.ndarray, settings: BaseSettings, epoch: int) -> list[np.ndarray]:
        """Batches of one epoch: shuffled, then grouped by like length, then shuffled again."""
        random = np.random.default_rng([settings.seed, epoch])
        rows = rows[np.argsort(self.lengths[rows] + random.random(len(rows)) * 12, kind="stable")]
        batches, at = [], 0
        while at < len(rows):
            size = max(1, settings.batch_tokens // int(self.lengths[rows[at]] + 12))
            batches.append(rows[at : at + size])
            at += size
        random.shuffle(batches)
        return batches


def train_base(
    pairs: Sequence[tuple[str, str]],
    tokenizer: Any,
    settings: BaseSettings,
    folder: Path,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    save_every: float = 60.0,
) -> dict[str, Any]:
    """Train a base model on (prompt, target) pairs and save it to ``folder`` in Hugging Face format.

    Args:
        on_progress: told step, steps, loss, held-out loss (nats per target token) and seconds left.
        save_every: seconds between checkpoints.

    Returns:
        The curve: settings, tokens seen, and a list of {step, loss, held_out}.

    Raises:
        PerpcsError: when there are fewer than two pairs.
    """
    if len(pairs) < 2:
        raise PerpcsError(f"There are {len(pairs)} texts to train a base model on.", "Give at least two.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoded = [encode_pair(tokenizer, x, y, settings.max_tokens) for x, y in pairs]
    data = _Pairs(encoded)
    order = np.random.default_rng(settings.seed).permutation(len(encoded))
    held_out = min(settings.held_out, len(order) // 2)
    held, rows = order[:held_out], order[held_out:]
    model = new_model(tokenizer, settings).to(device)
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decay, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98), fused=True)
    curve: list[dict[str, float]] = []
    step, running = _resume(folder, model, optimiser, curve)
    began, begun_at, saved = time.monotonic(), step, time.monotonic()
    epoch, plan, passed = 0, data.plan(rows, settings, 0), 0
    while step < settings.steps:
        while step - passed >= len(plan):
            passed += len(plan)
            epoch += 1
            plan = data.plan(rows, settings, epoch)
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * _schedule(step, settings)
        loss = _loss(model, data.batch(plan[step - passed], tokenizer.pad_token_id, settings.prompt_loss), device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        running = loss.item() if not running else 0.98 * running + 0.02 * loss.item()
        step += 1
        if step % settings.evaluate_every == 0 or step == settings.steps:
            held_loss = _held_out(model, data, held, tokenizer.pad_token_id, device)
            curve.append({"step": step, "loss": round(running, 4), "held_out": round(held_loss, 4)})
        if on_progress:
            left = (time.monotonic() - began) / (step - begun_at) * (settings.steps - step)
            last = curve[-1]["held_out"] if curve else float("nan")
            on_progress({"step": step, "steps": settings.steps, "loss": running, "held_out": last, "left": left})
        if time.monotonic() - saved > save_every and step < settings.steps:
            _checkpoint(folder, model, optimiser, curve, step, running)
            saved = time.monotonic()
    quiet_transformers()
    folder.mkdir(parents=True, exist_ok=True)
    model.to("cpu").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return {"settings": asdict(settings), "pairs": len(rows), "tokens": int(data.lengths.sum()), "curve": curve}


def _schedule(step: int, settings: BaseSettings) -> float:
    """Linear warm-up, half a cosine towards the horizon, then a straight line down to a twentieth of the rate."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    leave = settings.steps - settings.cooldown
    done = (min(step, leave) - settings.warmup) / max(1, settings.horizon - settings.warmup)
    on_cosine = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0)))
    if step <= leave:
        return on_cosine
    return on_cosine + (0.05 - on_cosine) * (step - leave) / settings.cooldown


def _loss(model: Any, batch: tuple[torch.Tensor, torch.Tensor], device: str) -> torch.Tensor:
    ids, weight = (tensor.to(device) for tensor in batch)
    with torch.autocast(device, dtype=torch.bfloat16):
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (losses * weight.flatten()).sum() / weight.sum()


@torch.no_grad()
def _held_out(model: Any, data: _Pairs, rows: np.ndarray, pad: int, device: str) -> float:
    model.eval()
    total = count = 0.0
    for part in np.array_split(rows[np.argsort(data.lengths[rows])], max(1, len(rows) // 32)):
        ids, weight = data.batch(part, pad, 0.0)
        total += float(_loss(model, (ids, weight), device)) * float(weight.sum())
        count += float(weight.sum())
    model.train()
    return total / count


def _checkpoint(
    folder: Path, model: Any, optimiser: Any, curve: list[dict[str, float]], step: int, running: float
) -> None:
    """Weights, moments and the step in one safetensors file, so that a kill leaves the old one or the new one."""
    tensors = {f"model.{name}": value.detach().contiguous().clone() for name, value in model.named_parameters()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{key}": value.clone() for key, value in state.items()}
    note = json.dumps({"step": step, "curve": curve, "running": running})
    write_atomic(folder / CHECKPOINT, save(tensors, metadata={"note": note}))


def _resume(folder: Path, model: Any, optimiser: Any, curve: list[dict[str, float]]) -> tuple[int, float]:
    """Load a checkpoint into model, optimiser and curve; the step to go on from and the running loss, 0 where there is
    none.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return 0, 0.0
    state: dict[int, dict[str, torch.Tensor]] = {}
    with safe_open(path, "pt") as file, torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(file.get_tensor(f"model.{name}"))
        for name in file.keys():  # noqa: SIM118 - a safe_open handle is no dict
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = file.get_tensor(name)
        note = json.loads(file.metadata()["note"])
    whole = optimiser.state_dict()
    whole["state"] = state
    optimiser.load_state_dict(whole)
    curve.extend(note["curve"])
    return int(note["step"]), float(note.get("running", 0.0))
