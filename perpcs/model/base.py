"""Loading a base model: any Hugging Face causal LM, by name or folder, frozen, with its positions found and wrapped.

Weights are read from safetensors only and code of a repository is never run. Device and dtype are chosen with the
reason kept, because the app shows it.

Which linear layers of a base model are adapted: the attention projections of its family, or what was asked for.

An attention block is told by the linear layers that lie in it. Only whole sets are taken: half of a family's
projections would be another method than the paper's, and nobody would notice.

    q_proj k_proj v_proj o_proj      Llama, Qwen, Gemma, Mistral, StableLM, Cohere, OLMo, SmolLM, Granite, StarCoder 2
    q_proj k_proj v_proj out_proj    OPT, GPT-J, GPT-Neo, XGLM, BioGPT
    q_proj k_proj v_proj dense       Phi
    qkv_proj o_proj                  Phi-3, Phi-4
    qkv_proj out_proj                CodeGen
    c_attn c_proj                    GPT-2 (Conv1D), GPT-BigCode
    query_key_value dense            GPT-NeoX, Pythia, BLOOM, Falcon, Persimmon
    Wqkv out_proj                    MPT
    Wq Wk Wv dense                   CTRL
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perpcs.errors import PerpcsError, quiet_transformers
from perpcs.model import opened
from perpcs.model.basis import AdaptedLinear, Adapter, adapted, watch_attention
from perpcs.model.opened import ends_of, fit_tokenizer, open_model
from perpcs.schema import Position

# ---- positions of a family -------------------------------------------------------------------------------------------


_SETS = (
    ("q_proj", "k_proj", "v_proj", "o_proj"),
    ("q_proj", "k_proj", "v_proj", "out_proj"),
    ("q_proj", "k_proj", "v_proj", "dense"),
    ("qkv_proj", "o_proj"),
    ("qkv_proj", "out_proj"),
    ("c_attn", "c_proj"),
    ("query_key_value", "dense"),
    ("Wqkv", "out_proj"),
    ("Wq", "Wk", "Wv", "dense"),
)
ATTENTION, MLP, ALL = "attention", "mlp", "all"
"""Words that may stand for the names of modules."""
_RECURRENT = re.compile(r"mamba|rwkv|xlstm|mlstm|recurrent|deltanet|kimidelta|shortconv|lightningattention", re.I)


def refuse_recurrent(model: nn.Module) -> None:
    """Make sure that a model is a transformer.

    Raises:
        PerpcsError: when layers of it are a state-space model or another recurrence, alone or beside attention.
    """
    found = next((type(m).__name__ for m in model.modules() if _RECURRENT.search(type(m).__name__)), None)
    if found:
        raise PerpcsError(
            f"The base model has recurrent layers ({found}), and pieces are made for transformers.",
            "Choose a causal LM with attention in every layer, such as a Llama, Qwen, Gemma or GPT-2.",
        )


@torch.no_grad()
def reached_layers(model: Any) -> tuple[list[str], Tensor]:
    """Linear layers in the order in which a forward pass reaches them, and the last hidden states of that pass.

    The pass reads ``PROBE``. What it does not reach (a vision tower, the language head) cannot be adapted, nor can a
    layer that returns something else than W x (the router of a mixture of experts) or that is given the tokens of all
    rows as one list (OPT's mlp): an update would not know whose they are.
    """
    order: list[str] = []

    def note(name: str, module: Any, args: tuple[Any, ...], out: Any) -> None:
        n, d = layer_shape(module)
        if isinstance(out, Tensor) and out.shape == (*PROBE.shape, d) and args and args[0].shape == (*PROBE.shape, n):
            order.append(name)

    handles = [
        module.register_forward_hook(lambda module, args, out, name=name: note(name, module, args, out))
        for name, module in model.named_modules()
        if _is_linear(module)
    ]
    try:
        hidden = model.base_model(input_ids=PROBE.to(next(model.parameters()).device), use_cache=False)[0]
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(order)), hidden


@torch.no_grad()
def refuse_ahead(model: Any, hidden: Tensor) -> None:
    """Make sure that a model is autoregressive.

    Args:
        hidden: its last hidden states of ``PROBE``.

    Raises:
        PerpcsError: when a token depends on what follows it, or the model keeps no cache of what it has read.
    """
    cache = None
    if torch.allclose(hidden[0, 0], hidden[1, 0], rtol=1e-3, atol=1e-3, equal_nan=True):
        read = model(input_ids=PROBE[:, :1].to(hidden.device), use_cache=True)
        cache = getattr(read, "past_key_values", None)
    if not hasattr(cache, "batch_repeat_interleave"):
        raise PerpcsError(
            f"{type(model).__name__} cannot decode token by token with a key-value cache.",
            "Choose a causal LM with a key-value cache, such as a Llama, Qwen, Gemma or GPT-2.",
        )


PROBE = torch.tensor([[0, 0], [0, 1]])
"""Two texts that differ in the second token."""


def choose_layers(names: Sequence[str], asked: Sequence[str] = ()) -> list[str]:
    """The linear layers to adapt, in the given order.

    Args:
        names: dotted names of all linear layers that a forward pass reaches.
        asked: endings of names, or ``attention``, ``mlp`` (all others of the decoder's layers), ``all``; none = the
            attention projections.

    Raises:
        PerpcsError: when nothing has one of the names, or not all attention projections are known.
    """
    wanted: set[str] = set()
    for end in asked or (ATTENTION,):
        if end in (ATTENTION, MLP, ALL):
            attention = set(_attention(names))
            others = {name for name in names if _numbered(name) and name not in attention and not _routes(name)}
            found = {ATTENTION: attention, MLP: others, ALL: attention | others}[end]
        else:
            found = {name for name in names if name == end or name.endswith("." + end)}
        if not found:
            raise PerpcsError(
                f"The base model has no linear layers named {end}.", f"Choose from its linear layers: {_shown(names)}."
            )
        wanted |= found
    return [name for name in names if name in wanted]


def _attention(names: Sequence[str]) -> list[str]:
    """The attention projections, all of them or an error."""
    blocks: dict[str, list[str]] = {}
    for name in names:
        parent, _, child = name.rpartition(".")
        if re.search(r"attn|attention", parent.rpartition(".")[2], re.I):
            blocks.setdefault(parent, []).append(child)
    known = [block for block, children in blocks.items() if any(set(one) == set(children) for one in _SETS)]
    covered = {layer_of(block) for block in known}
    whole = covered >= {layer_of(name) for name in names if _numbered(name)} and len(known) == len(blocks)
    if not known or not whole:
        known_part = "only part" if blocks else "none"
        raise PerpcsError(
            f"Of this base model's attention projections {known_part} is known.",
            f"Name the layers to adapt with --modules; its linear layers: {_shown(names)}.",
        )
    return [f"{block}.{child}" for block in known for child in blocks[block]]


def _shown(names: Sequence[str]) -> str:
    """Linear layers of one decoder layer, as they may be asked for."""
    inner = [re.sub(r"^.*?\.\d+\.", "", name) for name in names if _numbered(name)]
    return ", ".join(list(dict.fromkeys(inner))[:16]) or ", ".join(names[:16]) or "none"


def _numbered(name: str) -> bool:
    return re.search(r"\.\d+\.", name) is not None


def _routes(name: str) -> bool:
    """Whether a linear layer chooses experts: it adds nothing to what is written."""
    return name.rpartition(".")[2] in ("gate", "router", "shared_expert_gate")


def layer_of(path: str) -> int:
    """The decoder layer's number in a dotted name; 0 where there is none."""
    layer = re.search(r"\.(\d+)\.", path)
    return int(layer.group(1)) if layer else 0


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def layer_shape(linear: Any) -> tuple[int, int]:
    """(inputs, outputs); Conv1D keeps its weight as (inputs, outputs)."""
    if isinstance(linear, nn.Linear):
        return linear.in_features, linear.out_features
    return tuple(linear.weight.shape)


def adapted_sentence(positions: Sequence[Position]) -> str:
    """What is adapted, for people: modules, layers and how many of them."""
    modules = list(dict.fromkeys(position.module for position in positions))
    layers = sorted({position.layer for position in positions})
    where = f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]} to {layers[-1]}"
    return f"{', '.join(modules)} of {where}, {len(positions)} linear layers"


# ---- loading ---------------------------------------------------------------------------------------------------------


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
"""Bytes of weights from which bfloat16 is faster on a CPU that has it (results/speed/dtype.json)."""


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
