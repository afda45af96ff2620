"""A tiny Llama that tests train themselves: a byte-level BPE, and a hundred steps on base users' pairs."""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from perpcs.data import read_users
from perpcs.data.lamp_files import with_others
from perpcs.model.likelihood import encode_pair, pad_right
from perpcs.tasks import get_task

BOS, EOS, PAD = "<|begin|>", "<|end|>", "<|pad|>"
STEPS, BATCH_TOKENS = 100, 1500


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """A byte-level BPE with at most ``vocabulary`` tokens that puts a BOS in front of every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[BOS, EOS, PAD],
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    raw.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=BOS, eos_token=EOS, pad_token=PAD)


def train_tiny_base(data: Path, tasks: Sequence[str], folder: Path) -> Path:
    """Train on the items of ``data``/TASK/base_users.json and save in Hugging Face format; the same at every call."""
    from transformers import LlamaConfig, LlamaForCausalLM

    pairs = [
        task.pair(item)
        for task in map(get_task, tasks)
        for user in with_others(task, read_users(data / task.name / "base_users.json", task))
        for item in user.history
    ]
    tokenizer = train_tokenizer((prompt + target for prompt, target in pairs), 1600)
    encoded = [encode_pair(tokenizer, *pair, 512) for pair in pairs]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    draw = random.Random(0)
    for step in range(STEPS):
        rows, room = [], BATCH_TOKENS
        while room > 0:
            rows.append(draw.choice(encoded))
            room -= len(rows[-1].ids)
        ids = pad_right([row.ids for row in rows], 2, "cpu")
        labels = torch.full_like(ids, -100)
        for row, one in enumerate(rows):
            labels[row, one.start + 1 : one.end + 1] = ids[row, one.start + 1 : one.end + 1]
        optimiser.param_groups[0]["lr"] = 4e-3 * min(1, (step + 1) / 10, (STEPS - step) / 50)
        model(input_ids=ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
