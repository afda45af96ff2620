"""Loading a base model: any Hugging Face causal LM, by name or folder, frozen, with its positions found and wrapped.

Weights are read from safetensors only and code of a repository is never run. Device and dtype are chosen with the
reason kept, because the app shows it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perpcs.errors import PerpcsError
from perpcs.model.basis import AdaptedLinear, Adapter, adapted
from perpcs.positions import Position
from perpcs.quiet import quiet_transformers

# Attention projections by family: Llama-like, GPT-2 (fused, Conv1D), GPT-NeoX (fused). The first set that fits is used.
_ATTENTION_MODULES = (
    ("q_proj", "k_proj", "v_proj", "o_proj"),
    ("attn.c_attn", "attn.c_proj"),
    ("attention.query_key_value", "attention.dense"),
)


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

    @property
    def eos(self) -> int | None:
        return self.tokenizer.eos_token_id

    @property
    def pad(self) -> int:
        """Any id does: padding is masked or after the text, so it never changes a result."""
        return next(id for id in (self.tokenizer.pad_token_id, self.eos, 0) if id is not None)

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
        half = chosen.type == "cuda" and torch.cuda.is_bf16_supported()
        return chosen, torch.bfloat16 if half else torch.float32, why
    return chosen, getattr(torch, dtype), why


def load_base(
    name: str | Path, *, device: str = "auto", dtype: str = "auto", modules: Iterable[str] | None = None
) -> BaseModel:
    """Load a causal LM by Hugging Face name or local folder.

    Args:
        modules: endings of the module names to adapt; None = the attention projections of the model's family.

    Raises:
        PerpcsError: when it cannot be found, is not in safetensors format, or has no such modules.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    folder = Path(name)
    weight_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0
    where, kind, why = choose_device(device, dtype, weight_bytes)
    options: dict[str, Any] = {"trust_remote_code": False}
    if folder.is_dir():
        options["local_files_only"] = True
    try:
        # A person's text that spells out a special token, such as <|end|>, is text and never that token.
        tokenizer = AutoTokenizer.from_pretrained(str(name), split_special_tokens=True, **options)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(name), dtype=kind, use_safetensors=True, output_loading_info=True, **options
        )
        model, report = loaded
    except Exception as error:  # damaged files make transformers, tokenizers and safetensors raise anything at all
        raise PerpcsError(
            f"The base model {str(name)!r} cannot be loaded ({type(error).__name__}).",
            "Give the name of a Hugging Face causal LM or a folder with config.json, tokenizer and *.safetensors.",
        ) from error
    if report["missing_keys"]:  # transformers would fill them with random numbers
        raise PerpcsError(
            f"The weights of {str(name)!r} lack {min(report['missing_keys'])}.",
            "Give a causal LM whose weight files fit its config.json.",
        )
    if not tokenizer.is_fast:  # positions of target tokens come from its offsets
        raise PerpcsError(f"The tokenizer of {str(name)!r} has no tokenizer.json.", "Save it as a fast tokenizer.")
    return wrap(model.to(where), tokenizer, modules=modules, why=why)


def wrap(model: Any, tokenizer: Any, *, modules: Iterable[str] | None = None, why: str = "It was given.") -> BaseModel:
    """Freeze a model and wrap its positions. The model object is changed and must not be wrapped twice.

    Raises:
        PerpcsError: when no module fits.
    """
    model.eval().requires_grad_(False)
    names = _find_modules(model, tuple(modules) if modules else None)
    order: list[str] = []
    handles = [
        model.get_submodule(name).register_forward_pre_hook(lambda module, args, name=name: order.append(name))
        for name in names
    ]
    device = next(model.parameters()).device
    probe = torch.zeros(1, 2, dtype=torch.long, device=device)
    with torch.no_grad():  # one tiny pass tells the order in which positions are reached, and how the head works
        hidden = model.base_model(input_ids=probe, use_cache=False)[0]
        for handle in handles:
            handle.remove()
        head = model.get_output_embeddings()
        plain = head is not None and torch.equal(head(hidden), model(input_ids=probe, use_cache=False).logits)
    positions = []
    for index, name in enumerate(dict.fromkeys(order)):
        linear = model.get_submodule(name)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, AdaptedLinear(linear, index))
        n, d = _shape(linear)
        layer = re.search(r"\.(\d+)\.", name)
        positions.append(Position(layer=int(layer.group(1)) if layer else 0, module=child, path=name, n=n, d=d))
    model.eval()  # the wrappers too
    config = model.config
    longest = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 2048
    dtype = next(model.parameters()).dtype
    return BaseModel(model, tokenizer, tuple(positions), device, dtype, why, int(longest), plain)


def _find_modules(model: nn.Module, asked: tuple[str, ...] | None) -> list[str]:
    linear = [name for name, module in model.named_modules() if _is_linear(module)]
    for wanted in (asked,) if asked else _ATTENTION_MODULES:
        found = [name for name in linear if any(name == end or name.endswith("." + end) for end in wanted)]
        if found:
            return found
    endings = sorted({name.rpartition(".")[2] for name in linear})
    raise PerpcsError(
        f"The base model has no linear layers named {', '.join(asked) if asked else 'like attention projections'}.",
        f"Give module names of this model, for example: {', '.join(endings[:8])}.",
    )


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _shape(linear: Any) -> tuple[int, int]:
    """(inputs, outputs); Conv1D keeps its weight as (inputs, outputs)."""
    if isinstance(linear, nn.Linear):
        return linear.in_features, linear.out_features
    return tuple(linear.weight.shape)
