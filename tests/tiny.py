"""Tiny random models of every family and a tiny random pool, all float64, so that laws can be checked to 1e-10.

Models are saved in Hugging Face format and come back through ``load_base``, as a person's own model would. Two layers,
width 32; grouped-query attention where the family has it. transformers computes RMS norms in float32 whatever the
model's dtype; ``exact`` replaces them by their float64 twins, or rounding would hide behind every tolerance.
"""

import zlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tiny_model import train_tokenizer
from torch import Tensor, nn

from perpcs.assembly.router import History
from perpcs.files import hash_file, write_json
from perpcs.model.base import BaseModel, load_base
from perpcs.model.basis import Pieces
from perpcs.pool.manifest import Manifest, Sharer, TaskPool, write_manifest
from perpcs.pool.store import PIECES, TaskPieces, base_hash, write_pieces
from perpcs.schema import MODULES_OF
from perpcs.tasks import Item, get_task

FAMILIES = ("llama", "qwen2", "mistral", "gemma", "gpt2", "gpt_neox")
SHARERS, RANK, ALPHA = 5, 2, 3.0
KEYS = 16
"""Numbers of one token's keys in the Llama: two heads of eight."""
TEXTS = (
    "### User Instruction:\nWrite a headline for this article.\nArticle: the harbour Headline: Boats return at dawn",
    "Choose the tag that fits this film. Description: a robot learns to dream Tag: sci-fi",
    "Council votes on the new bridge. Bakery wins a prize! Why did the lights go out?",
)
ITEMS = (
    Item("The council voted on the bridge after a long night.", "Bridge wins"),
    Item("Boats came back.", "Harbour wakes up late, again and again and again"),
    Item("A fire in the bakery on Mill Lane was put out by neighbours with buckets of milk.", "Milk stops fire"),
    Item("Rain.", "Wet"),
    Item("The school choir sang in the square until the bells rang out for the evening.", "Choir sings on"),
    Item("Nobody knows who moved the statue.", "Who moved it?"),
)
"""Items of LaMP_4 with prompts and targets of many lengths."""


@lru_cache(maxsize=2)
def tiny_tokenizer(bos: bool = True) -> Any:
    """A byte-level BPE of about 320 ids, with or without a BOS token in front of every text."""
    from tokenizers import processors

    tokenizer = train_tokenizer(TEXTS, 320)
    if not bos:
        tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def tiny_config(family: str) -> Any:
    """A two-layer configuration of the family."""
    import transformers as hf

    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    size = {"vocab_size": len(tiny_tokenizer()), "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
    match family:
        case "llama":
            return hf.LlamaConfig(**size, **heads, **special)
        case "qwen2":
            return hf.Qwen2Config(**size, **heads, **special, tie_word_embeddings=True)
        case "mistral":
            return hf.MistralConfig(**size, **heads, **special, head_dim=8, sliding_window=24)
        case "gemma":
            return hf.GemmaConfig(**size, **heads, **special, head_dim=16)
        case "gpt2":
            return hf.GPT2Config(
                vocab_size=size["vocab_size"],
                n_embd=32,
                n_layer=2,
                n_head=4,
                n_positions=256,
                **special,
                attn_pdrop=0.3,  # dropout must be off whatever the configuration says
            )
        case "gpt_neox":
            heads.pop("num_key_value_heads")
            return hf.GPTNeoXConfig(**size, **heads, **special)
    raise ValueError(family)


def save_tiny(family: str, folder: Path, seed: int = 0) -> Path:
    """Write a random model of the family and its tokenizer; weights are large enough for attention to matter."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(tiny_config(family), dtype=torch.float64)
        for parameter in model.parameters():
            spread = 0.3 if parameter.dim() > 1 else 0.1
            parameter.data += spread * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tiny_tokenizer(bos=family != "gpt2").save_pretrained(folder)  # GPT-2 puts no BOS in front of a text
    return folder


def load_tiny(folder: Path, **options: Any) -> BaseModel:
    """The saved model as ``load_base`` gives it, in true float64."""
    base = load_base(folder, device="cpu", dtype="float64", **options)
    exact(base.model)
    return base


def plain_model(folder: Path) -> Any:
    """The saved model as transformers gives it, in true float64: never touched by our code."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    exact(model)
    return model


def merged_model(folder: Path, base: BaseModel, pieces: Pieces, weights: Tensor) -> Any:
    """A plain model with a person's pieces, weights (P, S), merged into its matrices one after the other."""
    model = plain_model(folder)
    for p, position in enumerate(base.positions):
        merge(model, position.path, weights[p], pieces.scale, pieces.A[p], pieces.Bt[p].mT)
    return model


def merge(model: Any, path: str, weights: Tensor, scale: float, A: Tensor, B: Tensor) -> None:
    """W += sum_s w_s * scale * B_s A_s at one module: weights (S,), A (S, r, n), B (S, d, r)."""
    module = model.get_submodule(path)
    for s, weight in enumerate(weights):
        update = weight * scale * (B[s] @ A[s])
        module.weight.data += update if isinstance(module, nn.Linear) else update.T  # Conv1D keeps (inputs, outputs)


class _ExactRMSNorm(nn.Module):
    def __init__(self, weight: Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(weight.double(), requires_grad=False), eps

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def exact(model: nn.Module) -> None:
    """Replace RMS norms, which transformers computes in float32, by float64 ones."""
    for name, module in list(model.named_modules()):
        if type(module).__name__.endswith("RMSNorm"):
            parent, _, child = name.rpartition(".")
            gemma = type(module).__name__.startswith("Gemma")
            weight = module.weight.detach() + 1 if gemma else module.weight.detach()
            eps = module.eps if gemma else module.variance_epsilon
            setattr(model.get_submodule(parent), child, _ExactRMSNorm(weight, eps).eval())


def random_pieces(base: BaseModel, sharers: int = SHARERS, rank: int = RANK, seed: int = 0) -> Pieces:
    """Pieces strong enough to change what later positions see."""
    A, B = _random_AB(base, sharers, rank, seed)
    return Pieces(A, B, ALPHA / rank)


def random_task_pieces(base: BaseModel, mask: Tensor | None = None, seed: int = 0) -> TaskPieces:
    """Pieces, gates and prototypes in memory."""
    vectors = [_normal(seed, f"{name}{p.path}", SHARERS, p.n) for name in ("gate", "proto") for p in base.positions]
    half = len(base.positions)
    mask = torch.ones(half, SHARERS, dtype=torch.bool) if mask is None else mask
    return TaskPieces(random_pieces(base, seed=seed), vectors[:half], vectors[half:], mask)


def random_weights(base: BaseModel, rows: int, sharers: int = SHARERS, seed: int = 0) -> Tensor:
    """Weights (rows, P, S), different for every row; a third of them are zero."""
    weights = _normal(seed, "weights", rows, len(base.positions), sharers)
    return weights * (_normal(seed, "zeros", *weights.shape) > -0.4)


def random_ids(base: BaseModel, rows: int, length: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, len(base.tokenizer), (rows, length), generator=generator)


def _random_AB(base: BaseModel, sharers: int, rank: int, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    A = [_normal(seed, f"A{p.path}", sharers, rank, p.n) / p.n**0.5 for p in base.positions]
    B = [_normal(seed, f"B{p.path}", sharers, p.d, rank) * 0.5 for p in base.positions]
    return A, B


def _normal(seed: int, name: str, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def write_tiny_pool(
    folder: Path,
    *,
    family: str = "llama",
    tasks: Sequence[str] = ("LaMP_4", "LaMP_2"),
    sharers: int = SHARERS,
    rank: int = RANK,
    mask: Tensor | None = None,
    dtype: str = "float32",
    seed: int = 0,
    kind: str = "lora",
) -> Path:
    """Write a whole random pool: a tiny base model, pieces, gates, prototypes, sharers and manifest. (IA)3 pieces have
    rank 1 and no A.

    Opens with ``Pool(folder)``; ``pool.base("cpu", "float64")`` gives its base model.
    """
    base = load_base(
        save_tiny(family, folder / "base", seed), device="cpu", dtype="float64", modules=MODULES_OF.get(kind)
    )
    shared = torch.ones(len(base.positions), sharers, dtype=torch.bool) if mask is None else mask
    parts = []
    for number, name in enumerate(tasks):
        A, B = _random_AB(base, sharers, rank, seed + number)
        if kind == "ia3":
            A = [a[:, :0] for a in A]
        if kind in ("adapter", "prefix"):
            width = [p.d if kind == "adapter" else KEYS for p in base.positions]
            A = [_normal(seed, f"A{p.path}", sharers, rank, w) for p, w in zip(base.positions, width, strict=True)]
            if kind == "prefix":
                B = [_normal(seed, f"B{p.path}", sharers, KEYS, rank) for p in base.positions]
        keys = [
            [_normal(seed + number, f"{kind}{p.path}", sharers, p.n) for p in base.positions]
            for kind in ("gate", "proto")
        ]
        write_pieces(folder / name / PIECES, A, B, keys[0], keys[1], shared, dtype)
        rows = [
            Sharer(id=f"s{s}", items=10 + s, cluster=s, terms=("harbour", "boats"), xy=(0.1 * s, -0.1 * s), loss=(2.0,))
            for s in range(sharers)
        ]
        write_json(folder / name / "sharers.json", [asdict(row) for row in rows])
        files = {file: hash_file(folder / name / file) for file in (PIECES, "sharers.json")}
        parts.append(
            TaskPool(
                task=name,
                task_version=get_task(name).version,
                sharers=sharers,
                candidates=sharers,
                selection="random",
                share_ratio=1.0,
                share_seed=0,
                files=files,
            )
        )
    manifest = Manifest(
        name="tiny",
        title="Tiny",
        base="base",
        base_hash=base_hash(folder / "base"),
        rank=rank,
        alpha={"lora": ALPHA, "ia3": 1.0}.get(kind, float(rank)),
        kind=kind,
        keys=KEYS if kind == "prefix" else 0,
        dtype=dtype,
        positions=base.positions,
        tasks=tuple(parts),
        licence="test",
        users={},
    )
    write_manifest(folder, manifest)
    return folder


def route(base, pieces, encoded, router, **more):
    """What a router makes of encoded items."""
    return router.route(History(base, pieces, encoded, **more))
