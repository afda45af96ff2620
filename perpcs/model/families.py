"""Which linear layers of a base model are adapted: the attention projections of its family, or what was asked for.

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
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perpcs.errors import PerpcsError
from perpcs.positions import Position

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
    """Make sure that a model writes one token after the other.

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
            f"{type(model).__name__} does not write one token after the other with a cache of what it has read.",
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
