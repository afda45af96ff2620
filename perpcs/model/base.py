"""Loading a base model: any Hugging Face causal LM, by name or folder, frozen, with its positions found and wrapped.

Weights are read from safetensors only and code of a repository is never run. Device and dtype are chosen with the
reason kept, because the app shows it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perpcs.errors import PerpcsError
from perpcs.model import opened
from perpcs.model.attention import watch_attention
from perpcs.model.basis import AdaptedLinear, Adapter, adapted
from perpcs.model.families import (
    PROBE,
    choose_layers,
    layer_of,
    layer_shape,
    reached_layers,
    refuse_ahead,
    refuse_recurrent,
)
from perpcs.model.opened import ends_of, fit_tokenizer, open_model
from perpcs.positions import Position
from perpcs.quiet import quiet_transformers


@dataclass
class BaseModel:
    """A frozen causal LM with AdaptedLinear at its positions."""

    model: Any
    """The Hugging Face model; its adapted layers are wrapped in place."""
    tokenizer: Any
    positions: tuple[Position, ...]
    """In the order a forward pass reaches them."""
    device: torch.device
    dtype: torch.dtype
    why: str
    """Why this device and dtype, in one sentence."""
    max_tokens: int
    """Longest input the model was made for."""
    plain_head: bool
    """Whether logits are just head(hidden); else the whole model is asked."""
    ends: frozenset[int]
    """Ids at which an answer ends."""

    @property
    def eos(self) -> int | None:
        """The token that ends a text in training; None where neither the tokenizer nor the config has one."""
        return self.tokenizer.eos_token_id

    @property
    def pad(self) -> int:
        """Any id of the embedding does: padding is masked or after the text, so it never changes a result."""
        rows = len(self.model.get_input_embeddings().weight)
        return next(id for id in (self.tokenizer.pad_token_id, self.eos, 0) if id is not None and id < rows)

    def hidden(self, ids: Tensor, adapter: Adapter | None = None) -> Tensor:
        """Last hidden states (b, t, n) of right-padded ids (b, t); no head, no cache.

        Causal attention looks only back, so padding on the right needs no mask.
        """
        with adapted(adapter):
            return self.model.base_model(input_ids=ids, use_cache=False)[0]

    def logits(self, ids: Tensor, where: tuple[Tensor, Tensor], adapter: Adapter | None = None) -> Tensor:
        """Logits (m, vocabulary) at the m places ``where`` = (rows, columns) of right-padded ids (b, t)."""
        if self.plain_head:
            return self.model.get_output_embeddings()(self.hidden(ids, adapter)[where])
        with adapted(adapter):
            return self.model(input_ids=ids, use_cache=False).logits[where]


def choose_device(
    device: str = "auto", dtype: str = "auto", weight_bytes: int = 0
) -> tuple[torch.device, torch.dtype, str]:
    """Device, dtype and the reason for both.

    Raises:
        PerpcsError: when the asked device or dtype is not there.
    """
    if dtype not in ("auto", "float32", "float64", "bfloat16", "float16"):
        raise PerpcsError(f"Unknown dtype {dtype!r}.", "Use auto, float32, bfloat16, float16 or float64.")
    if device == "auto":
        if torch.cuda.is_available():
            free, _ = torch.cuda.mem_get_info()
            if weight_bytes * 1.3 < free:
                device, why = "cuda", f"A GPU was found: {torch.cuda.get_device_name()}."
            else:
                device, why = "cpu", f"The GPU has {free >> 20} MiB free, too little for the base model."
        elif torch.backends.mps.is_available():
            device, why = "mps", "An Apple GPU was found."
        else:
            device, why = "cpu", "No GPU was found."
    else:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise PerpcsError("No CUDA GPU was found.", "Use --device cpu or --device auto.")
        why = "It was asked for."
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise PerpcsError(f"Unknown device {device!r}.", "Use auto, cpu, cuda or mps.") from error
    if dtype == "auto":
        if chosen.type == "cpu":
            half = weight_bytes >= _LARGE and rounds_fast()
            why += " bfloat16 is faster on this CPU." if half else ""
        else:
            half = chosen.type == "cuda" and torch.cuda.is_bf16_supported()
        return chosen, torch.bfloat16 if half else torch.float32, why
    return chosen, getattr(torch, dtype), why


def load_base(
    name: str | Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    modules: Iterable[str] | None = None,
    first_layer: int = 0,
) -> BaseModel:
    """Load a causal LM: a Hugging Face name, a folder, a PEFT folder, a GGUF file, or the shipped base's name.

    Args:
        modules: endings of the module names to adapt, or ``attention``, ``mlp``, ``all``; None = the attention
            projections of the model's family.
        first_layer: positions below this layer are left alone.

    Raises:
        PerpcsError: when it cannot be found, is not in safetensors format, or has no such modules.
    """
    quiet_transformers()
    name = opened.shipped_folder() if str(name) == opened.NAME else name
    folder = Path(name)
    weight_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0
    where, kind, why = choose_device(device, dtype, weight_bytes)
    model, tokenizer = open_model(name, kind)
    if where.type == "cpu" and kind == torch.bfloat16:
        watch_attention(model)
    return wrap(model.to(where), tokenizer, modules=modules, first_layer=first_layer, why=why)


_LARGE = 64_000_000
"""Bytes of weights from which bfloat16 is faster on a CPU that has it (results/bench_dtype.json)."""


def rounds_fast() -> bool:
    """Whether this CPU has bfloat16 products; without them they are a hundred times slower than float32."""
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16") or known.get("bf16"))


def wrap(
    model: Any,
    tokenizer: Any,
    *,
    modules: Iterable[str] | None = None,
    first_layer: int = 0,
    why: str = "It was given.",
) -> BaseModel:
    """Freeze a model and wrap its positions. The model object is changed and must not be wrapped twice.

    Raises:
        PerpcsError: when no module fits, or the tokenizer does not fit the model.
    """
    refuse_recurrent(model)
    fit_tokenizer(tokenizer, model)
    model.eval().requires_grad_(False)
    if any(isinstance(module, AdaptedLinear) for module in model.modules()):
        raise PerpcsError("The base model is wrapped already.", "Load it anew.")
    with torch.no_grad():  # one tiny pass tells the order in which positions are reached, and how the head works
        reached, hidden = reached_layers(model)
        refuse_ahead(model, hidden)
        head = model.get_output_embeddings()
        plain = (
            head is not None
            and hidden.shape[-1] == layer_shape(head)[0]
            and torch.equal(head(hidden), model(input_ids=PROBE.to(hidden.device), use_cache=False).logits)
        )
    names = [name for name in choose_layers(reached, tuple(modules or ())) if layer_of(name) >= first_layer]
    if not names:
        raise PerpcsError(f"The base model has no layer {first_layer}.", "Name a lower first layer.")
    positions = []
    for index, name in enumerate(names):
        linear = model.get_submodule(name)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, AdaptedLinear(linear, index))
        n, d = layer_shape(linear)
        positions.append(Position(layer=layer_of(name), module=child, path=name, n=n, d=d))
    model.eval()  # the wrappers too
    longest = next((v for v in (getattr(model.config, name, None) for name in _LONGEST) if v), 2048)
    first = next(model.parameters())
    ends = ends_of(tokenizer, model)
    return BaseModel(model, tokenizer, tuple(positions), first.device, first.dtype, why, int(longest), plain, ends)


_LONGEST = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
"""What configs call the longest input."""


def linear_layers(base: BaseModel) -> list[str]:
    """Dotted names of all linear layers of a wrapped model that could be adapted."""
    wrapped = {f"{position.path}.base": position.path for position in base.positions}
    return [wrapped.get(name, name) for name in reached_layers(base.model)[0]]


@torch.no_grad()
def merge(base: BaseModel, tensors: Mapping[str, Tensor]) -> None:
    """Add the update that a ``Delta`` saved to the base model's weights, in place and in float32.

    Raises:
        KeyError: when a module of the update is not in the model.
    """
    for path in sorted({name.rpartition(".")[0] for name in tensors}):
        linear = base.model.get_submodule(path)
        linear = getattr(linear, "base", linear)
        update = tensors[f"{path}.B"].float() @ tensors[f"{path}.A"].float()
        if not isinstance(linear, torch.nn.Linear):
            update = update.T  # Conv1D keeps (inputs, outputs)
        linear.weight.copy_((linear.weight.float() + update.to(linear.weight.device)).to(linear.weight.dtype))


def save_plain(base: BaseModel, folder: Path) -> None:
    """Write a base model in Hugging Face format under its own names, its adaptation merged; ``base`` stays as it is."""
    wrapped = {f"{position.path}.base": position.path for position in base.positions}
    tensors = {}
    for name, tensor in base.model.state_dict().items():
        path, _, kind = name.rpartition(".")
        tensors[f"{wrapped.get(path, path)}.{kind}"] = tensor.cpu()
    base.model.save_pretrained(folder, state_dict=tensors)
    base.tokenizer.save_pretrained(folder)
