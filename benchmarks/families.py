"""Does a family of base models work? Each is built tiny and random, offline, and goes the whole way of a pool.

    build --- assemble --- answer --- export --- load in plain peft --- the same logits?

The table goes between the marks of docs/MODELS.md. Weights are random: it says what runs and is exact, and nothing of
how well a family writes.

python -m benchmarks.families [FAMILY ...]
"""

import argparse
import contextlib
import io
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.common import ROOT, print_table
from perpcs.cli import main as perpcs
from perpcs.data.smalltown import make_people, release_fields
from perpcs.files import write_atomic, write_json

DOCS = ROOT / "docs" / "MODELS.md"
BEGIN, END = "<!-- families: begin -->", "<!-- families: end -->"
TASK = "LaMP_4"
TOLERANCE = 1e-4
"""Largest difference of float32 logits, beside the largest logit."""

_IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 4}
_LONG = {**_SIZE, "max_position_embeddings": 512}
_GROUPED = {**_LONG, "num_key_value_heads": 2}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
_LOCAL: dict[str, Any] = {
    "attention_types": [[["global", "local"], 1]],
    "window_size": 64,
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
}
_OPT = {**_LONG, "ffn_dim": 48, "word_embed_proj_dim": 32}
_BLOOM = {"hidden_size": 32, "n_layer": 2, "n_head": 4}
_MPT = {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 512, "expansion_ratio": 2}
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("Llama, SmolLM, SmolLM2", "Llama", _GROUPED),
    "smollm3": ("SmolLM3", "SmolLM3", _GROUPED),
    "qwen2": ("Qwen2, Qwen2.5", "Qwen2", _GROUPED),
    "qwen3": ("Qwen3", "Qwen3", {**_GROUPED, "head_dim": 8}),
    "gemma": ("Gemma", "Gemma", {**_GROUPED, "head_dim": 8}),
    "gemma2": ("Gemma 2", "Gemma2", {**_GROUPED, "head_dim": 8}),
    "gemma3": ("Gemma 3, text", "Gemma3Text", {**_GROUPED, "head_dim": 8}),
    "mistral": ("Mistral", "Mistral", {**_GROUPED, "sliding_window": 64}),
    "phi": ("Phi-1, Phi-2", "Phi", _LONG),
    "phi3": ("Phi-3, Phi-4", "Phi3", _GROUPED),
    "gpt2": ("GPT-2", "GPT2", _GPT2),
    "gpt_bigcode": ("GPT-BigCode", "GPTBigCode", _GPT2),
    "gptj": ("GPT-J", "GPTJ", {**_GPT2, "rotary_dim": 4}),
    "gpt_neo": ("GPT-Neo", "GPTNeo", _LOCAL),
    "gpt_neox": ("GPT-NeoX, Pythia", "GPTNeoX", _LONG),
    "opt": ("OPT", "OPT", _OPT),
    "bloom": ("BLOOM", "Bloom", _BLOOM),
    "falcon": ("Falcon, rotary", "Falcon", _SIZE),
    "falcon_alibi": ("Falcon, ALiBi", "Falcon", {**_SIZE, "alibi": True}),
    "mpt": ("MPT", "Mpt", _MPT),
    "codegen": ("CodeGen", "CodeGen", {**_GPT2, "rotary_dim": 4}),
    "stablelm": ("StableLM", "StableLm", _GROUPED),
    "cohere": ("Cohere Command R", "Cohere", _GROUPED),
    "olmo": ("OLMo", "Olmo", _GROUPED),
    "olmo2": ("OLMo 2", "Olmo2", _GROUPED),
    "starcoder2": ("StarCoder 2", "Starcoder2", _GROUPED),
    "granite": ("Granite", "Granite", _GROUPED),
}
"""Family -> what it is called, the transformers configuration, and what makes it tiny."""


@lru_cache(maxsize=1)
def tokenizer() -> Any:
    """A byte-level BPE of 300 ids, learned from a few sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|begin|>", "<|end|>", "<|pad|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    raw.train_from_iterator(["Write a headline for the following article.", "article: the harbour headline: "], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token=special[0], eos_token=special[1], pad_token=special[2]
    )


def save_family(family: str, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write a random two-layer model of a family with its tokenizer; weights are large enough to matter."""
    import transformers as hf

    _, name, settings = FAMILIES[family]
    made = tokenizer()
    config: Any = getattr(hf, f"{name}Config")(vocab_size=len(made), **_IDS, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = hf.AutoModelForCausalLM.from_config(config, dtype=dtype)
        for parameter in model.parameters():
            parameter.data += (0.2 if parameter.dim() > 1 else 0.05) * torch.randn_like(parameter)
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


class Row(NamedTuple):
    """What was found of one family."""

    name: str
    kind: str
    modules: str
    layers: int
    difference: float
    """Largest difference between our logits and plain peft's, beside the largest logit."""
    effect: float
    """The same between the person and the base model: how much there was to be equal about."""
    padding: float
    """Largest difference, in nats, between a label's log-probability alone and in a padded batch."""
    seconds: float


def try_family(family: str, folder: Path) -> Row:
    """Take one family the whole way in a folder of its own."""
    from perpcs.serve.engine import Engine
    from perpcs.tasks import get_task

    began = time.perf_counter()
    base, data, out = folder / "base", folder / "data", folder / "pool"
    save_family(family, base)
    write_people(data / TASK)
    where = ["--base", base, "--data", data, "--task", TASK, "--out", out, "--work", folder / "work"]
    small = ["--sharers", 2, "--rank", 2, "--epochs", 1, "--gate-steps", 2, "--rate", 2e-2, "--stored", "float32"]
    run(["build", "tiny", *where, *small])
    engine, task = Engine.open(out, "cpu", "float32"), get_task(TASK)
    person = make_people(TASK, seed=5, count=1, split="target", history=(6, 6), queries=1)[0]
    assembly = engine.assemble(task, person.history)
    prepared = engine.prepare(task, "perpcs", person.history, assembly=assembly)
    *_, _ = engine.answer_rows(task, [(prepared, person.queries[0])], max_new_tokens=6)
    # Of the pieces of a random model a person wants little; strong weights leave more to be equal about.
    weights = 2 * torch.rand(assembly.weights.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    engine.export(replace(assembly, weights=weights.numpy()), folder / "adapter")
    difference, effect = compare(engine, weights, folder / "adapter", out / "base")
    config = engine.base.model.config
    modules = list(dict.fromkeys(position.module for position in engine.base.positions))
    return Row(
        FAMILIES[family][0],
        config.model_type,
        ", ".join(modules),
        len(engine.base.positions),
        difference,
        effect,
        padding(engine.base),
        time.perf_counter() - began,
    )


def passed(row: Row) -> str:
    """Whether peft's logits are ours and not those of the base model, and padding changes nothing."""
    return "yes" if max(row.difference, row.padding) < TOLERANCE < row.effect / 10 else "NO"


def padding(base: Any) -> float:
    """How far answers depend on what else is in the batch: rows of different lengths are padded on the left."""
    from perpcs.model.likelihood import label_log_probs

    prompts, labels = ["A bell.", "Boats came back to the harbour after a long night."], ["sport", "arts & crafts"]
    alone = torch.cat([label_log_probs(base, [prompt], labels) for prompt in prompts])
    return (alone - label_log_probs(base, prompts, labels)).abs().max().item()


def write_people(folder: Path) -> None:
    """Three candidates and two base users of the small town."""
    for split, name, count in (("base", "base_users", 2), ("candidate", "sharer_candidates", 3)):
        people = make_people(TASK, seed=3, count=count, split=split, history=(4, 5))
        write_json(folder / f"{name}.json", [release_fields(person) for person in people])


def run(words: Sequence[object]) -> None:
    """One command of the program; what it prints is shown only where it fails."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = perpcs([str(word) for word in words])
    if status:
        raise SystemExit(said.getvalue())


@torch.no_grad()
def compare(engine: Any, weights: torch.Tensor, adapter: Path, base: Path) -> tuple[float, float]:
    """(difference between our logits and plain peft's, effect of the person), both beside the largest logit."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from perpcs.model.basis import adapted, people

    ids = torch.randint(3, len(tokenizer()), (2, 24), generator=torch.Generator().manual_seed(0))
    pieces = engine.pool.pieces(TASK, "cpu", torch.float32).pieces
    plain = engine.base.model(input_ids=ids).logits
    with adapted(people(pieces, weights[None])):
        ours = engine.base.model(input_ids=ids).logits
    loaded = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True), str(adapter)
    ).eval()
    theirs = loaded(input_ids=ids).logits
    largest = ours.abs().max()
    return ((ours - theirs).abs().max() / largest).item(), ((ours - plain).abs().max() / largest).item()


def table(rows: Sequence[Row]) -> list[str]:
    """The rows in Markdown."""
    lines = [
        "| family | `model_type` | adapted by default | linear layers, of two blocks | logits, ours less plain peft's "
        "| person less base | padded less alone |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | `{row.kind}` | {row.modules} | {row.layers} | {row.difference:.0e} | {row.effect:.2f} "
        f"| {row.padding:.0e} |"
        for row in rows
    ]
    return lines


def write_docs(lines: Sequence[str], path: Path = DOCS) -> None:
    """Put the table between the marks of the page."""
    before, _, rest = path.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    write_atomic(path, "\n".join([f"{before}{BEGIN}", *lines, f"{END}{after}"]).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"some of {', '.join(FAMILIES)}; default all")
    chosen = parser.parse_args().families or list(FAMILIES)
    rows: list[Row] = []
    for family in chosen:
        folder = Path(tempfile.mkdtemp(prefix="perpcs-family-"))
        try:
            rows.append(try_family(family, folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(f"{family}: {passed(rows[-1])}, {rows[-1].seconds:.1f} s", flush=True)
    print_table([("family", "modules", "layers", "difference", "effect", "padding", "exact"), *(
        (row.name, row.modules, row.layers, f"{row.difference:.0e}", f"{row.effect:.2f}", f"{row.padding:.0e}",
         passed(row)) for row in rows
    )])  # fmt: skip
    if chosen == list(FAMILIES):
        packages = ", ".join(f"{name} {version(name)}" for name in ("transformers", "peft", "torch"))
        note = (
            f"Float32 on a CPU; {packages}.",
            "Logits and person: the largest absolute difference over the largest logit. Padded: the largest difference",
            "of a label's log-probability between a prompt alone and in a batch, nats.",
        )
        write_docs([*table(rows), "", *note])
        print(f"Written to {DOCS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
