"""Every family of base models: all its attention projections, exact updates, answers that padding does not change; and
what is refused, because pieces would be wrong there.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import merge, random_pieces, save_tiny, tiny_config, tiny_tokenizer

from perpcs.cli import main
from perpcs.data.smalltown import make_people, release_fields
from perpcs.errors import PerpcsError
from perpcs.files import write_json
from perpcs.model.base import choose_layers, load_base, save_plain, wrap
from perpcs.model.basis import adapted, people
from perpcs.model.decode import decode, text_of
from perpcs.model.likelihood import encode_pair, encode_prompt, label_likelihoods
from perpcs.pool.manifest import read_manifest
from perpcs.pool.store import Pool

sys.path.append(str(Path(__file__).resolve().parents[1]))
from benchmarks import families  # the configurations that the table in docs is made from

LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj")
PROJECTIONS = {
    **dict.fromkeys(("gptj", "gpt_neo", "opt"), ("q_proj", "k_proj", "v_proj", "out_proj")),
    "phi": ("q_proj", "k_proj", "v_proj", "dense"),
    "phi3": ("qkv_proj", "o_proj"),
    **dict.fromkeys(("gpt2", "gpt_bigcode"), ("c_attn", "c_proj")),
    **dict.fromkeys(("gpt_neox", "bloom", "falcon", "falcon_alibi"), ("query_key_value", "dense")),
    "mpt": ("Wqkv", "out_proj"),
    "codegen": ("qkv_proj", "out_proj"),
}
"""Those of families that are not built like Llama."""


# ---- families --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_is_adapted_whole_and_exactly(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    families.save_family(family, tmp_path)
    base = load_base(tmp_path, device="cpu", dtype="float32")
    expected = [(layer, name) for layer in (0, 1) for name in PROJECTIONS.get(family, LLAMA)]
    assert [(position.layer, position.module) for position in base.positions] == expected
    assert all("attn" in position.path or "attention" in position.path for position in base.positions)
    pieces = random_pieces(base, sharers=2).to("cpu", torch.float32)
    weights = torch.tensor([[0.5, -1.0]]).expand(len(base.positions), -1)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    for p, position in enumerate(base.positions):
        merge(plain, position.path, weights[p], pieces.scale, pieces.A[p], pieces.Bt[p].mT)
    ids = torch.randint(3, 200, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), adapted(people(pieces, weights[None])):
        ours = base.model(input_ids=ids).logits
    with torch.no_grad():
        merged = plain(input_ids=ids).logits
        largest = merged.abs().max()
        assert (base.model(input_ids=ids).logits - ours).abs().max() > 1e-2 * largest
    assert (ours - merged).abs().max() < 1e-5 * largest
    assert families.padding(base) < 1e-4


@pytest.mark.parametrize("family", ["opt", "phi3", "mpt"])
def test_a_family_goes_the_whole_way_to_peft(family: str, tmp_path: Path) -> None:
    row = families.try_family(family, tmp_path)
    assert families.passed(row) == "yes", row


def test_the_table_of_families_is_the_one_in_the_docs(tmp_path: Path) -> None:
    page = families.DOCS.read_text("utf-8")
    assert all(f"| {name} | `" in page for name, _, _ in families.FAMILIES.values())
    copy = tmp_path / "page.md"
    copy.write_text(page, "utf-8")
    families.write_docs(["| x |"], copy)
    kept = copy.read_text("utf-8")
    assert f"{families.BEGIN}\n| x |\n{families.END}\n" in kept
    assert kept.startswith(page.partition(families.BEGIN)[0])
    assert kept.endswith(page.partition(families.END)[2])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["h.0.self_attn.q_proj", "h.0.self_attn.kv_proj", "h.0.self_attn.o_proj"], "only part is known.*kv_proj"),
        ([f"h.0.attn.{name}" for name in (*LLAMA, "gate_proj")], "only part is known.*gate_proj"),
        ([*(f"h.0.attn.{name}" for name in LLAMA), "h.1.attn.q_proj", "h.1.mlp.up"], "only part is known"),
        ([*(f"h.0.attn.{name}" for name in LLAMA), "h.1.mlp.up"], "only part is known.*mlp.up"),
        (["h.0.mlp.up", "h.0.mlp.down"], "none is known.*mlp.up, mlp.down"),
        ([], "none is known"),
    ],
)
def test_part_of_the_projections_is_an_error_that_shows_the_layers(names: list[str], said: str) -> None:
    with pytest.raises(PerpcsError, match=said):
        choose_layers(names)


def test_modules_may_be_named_as_groups() -> None:
    attention = [f"h.{layer}.attn.{name}" for layer in (0, 1) for name in LLAMA]
    mlp = [f"h.{layer}.mlp.{name}" for layer in (0, 1) for name in ("up", "down")]
    names = sorted([*attention, *mlp, "h.0.mlp.router", "lm_head"])
    assert sorted(choose_layers(names, ["attention"])) == sorted(attention)
    assert sorted(choose_layers(names, ["mlp"])) == sorted(mlp)
    assert choose_layers(names, ["all"]) == sorted([*attention, *mlp])
    assert choose_layers(names, ["mlp.up", "q_proj"]) == sorted(n for n in names if n.endswith(("mlp.up", "q_proj")))
    with pytest.raises(PerpcsError, match="no linear layers named wq"):
        choose_layers(names, ["q_proj", "wq"])


def test_layers_that_are_given_all_rows_as_one_list_are_not_adapted(tmp_path: Path) -> None:
    families.save_family("opt", tmp_path)
    with pytest.raises(PerpcsError, match="no linear layers named mlp"):
        load_base(tmp_path, device="cpu", modules=["mlp"])


@pytest.mark.parametrize("family", ["Mamba", "Rwkv", "Jamba", "Lfm2"])
def test_recurrent_models_are_refused(family: str) -> None:
    import transformers as hf

    size: dict[str, Any] = {"vocab_size": 330, "hidden_size": 16, "num_hidden_layers": 2}
    if family == "Rwkv":
        size["attention_hidden_size"] = 16
    if family in ("Jamba", "Lfm2"):
        size |= {"intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2}
    if family == "Jamba":
        size |= {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1}
    if family == "Lfm2":
        size |= {"layer_types": ["conv", "full_attention"]}
    model = hf.AutoModelForCausalLM.from_config(getattr(hf, f"{family}Config")(**size, pad_token_id=2))
    with pytest.raises(PerpcsError, match="recurrent layers"):
        wrap(model, tiny_tokenizer())


@pytest.mark.parametrize("family", ["Bert", "OpenAIGPT"])
def test_a_model_that_reads_ahead_or_keeps_no_cache_is_refused(family: str) -> None:
    import transformers as hf

    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    if family == "OpenAIGPT":
        size = {"n_embd": 16, "n_layer": 1, "n_head": 2}
    model = hf.AutoModelForCausalLM.from_config(getattr(hf, f"{family}Config")(vocab_size=330, **size))
    with pytest.raises(PerpcsError, match="cannot decode token by token"):
        wrap(model, tiny_tokenizer(), modules=["dense", "c_attn"])


# ---- tokenizers ------------------------------------------------------------------------------------------------------


def folder_with(tmp_path: Path, tokenizer: Any, **config: Any) -> Path:
    """A tiny Llama with another tokenizer and config."""
    save_tiny("llama", tmp_path)
    tokenizer.save_pretrained(tmp_path)
    change(tmp_path / "config.json", config)
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    return tmp_path


def change(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def made_tokenizer(template: str = "$A", **special: str) -> Any:
    """The tiny tokenizer with other special tokens, and a template that puts some of them around a text."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    raw = type(tiny_tokenizer().backend_tokenizer).from_str(tiny_tokenizer().backend_tokenizer.to_str())
    ids = [(name, raw.token_to_id(name)) for name in ("<|begin|>", "<|end|>", "<|pad|>") if name in template]
    raw.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
    return PreTrainedTokenizerFast(tokenizer_object=raw, **special)


def answers(base: Any) -> list[str]:
    """Two answers of a batch, as text: that they come is what is tested."""
    prompts = [encode_prompt(base.tokenizer, text, 200, 4) for text in ("A bell.", "The council voted. Headline:")]
    *_, last = decode(base, prompts, max_new_tokens=4, one_line=True)
    return [text_of(base, ids) for ids in last]


def test_a_padding_token_beyond_the_embedding_is_not_used(tmp_path: Path) -> None:
    tokenizer = made_tokenizer(eos_token="<|end|>")
    tokenizer.add_special_tokens({"pad_token": "<|more|>"})
    base = load_base(folder_with(tmp_path, tokenizer), device="cpu")
    assert tokenizer.pad_token_id >= len(base.model.get_input_embeddings().weight)
    assert base.pad == base.eos == 1
    assert len(answers(base)) == 2
    assert label_likelihoods(base, ["A.", "A longer one."], ["a", "b c"]).isfinite().all()


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    tokenizer = made_tokenizer(eos_token="<|end|>")
    tokenizer.add_tokens([f"word{n}" for n in range(9)])
    with pytest.raises(PerpcsError, match=r"writes token \d+, and the base model's embedding has \d+ rows"):
        load_base(folder_with(tmp_path, tokenizer), device="cpu")


def test_without_an_end_of_text_everything_still_works(tmp_path: Path) -> None:
    base = load_base(folder_with(tmp_path, made_tokenizer(), eos_token_id=None), device="cpu")
    assert base.eos is None
    assert not base.ends
    encoded = encode_pair(base.tokenizer, "Headline:", " Boats", 200)
    assert encoded.targets == tuple(base.tokenizer(" Boats")["input_ids"])
    assert len(answers(base)) == 2
    assert label_likelihoods(base, ["A."], ["a", "b c"]).isfinite().all()


@pytest.mark.parametrize("ends", [1, [1, 2]])
def test_an_end_of_text_that_only_the_config_knows(ends: Any, tmp_path: Path) -> None:
    base = load_base(folder_with(tmp_path, made_tokenizer(), eos_token_id=ends), device="cpu")
    assert base.eos == 1
    assert encode_pair(base.tokenizer, "a", " b", 200).targets[-1] == 1
    save_plain(base, tmp_path / "again")
    assert load_base(tmp_path / "again", device="cpu").eos == 1, "what is stored knows it too"


def test_a_turn_may_end_an_answer_too(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, made_tokenizer(eos_token="<|end|>", pad_token="<|pad|>"))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 2, 77]}))
    base = load_base(folder, device="cpu")
    assert base.eos == 1
    assert base.ends == {1, 2}, "77 is an ordinary token"


def test_what_a_template_puts_behind_a_text_is_left_out(tmp_path: Path) -> None:
    tokenizer = made_tokenizer("<|begin|> $A <|pad|>", cls_token="<|begin|>", sep_token="<|pad|>")
    base = load_base(folder_with(tmp_path, tokenizer, eos_token_id=None), device="cpu")
    assert base.tokenizer("a")["input_ids"][-1] == 2
    assert base.eos == 2, "the separator ends a text"
    prompt = encode_prompt(base.tokenizer, "Headline:", 200, 4)
    assert (prompt[0], 2 in prompt) == (0, False)
    pair = encode_pair(base.tokenizer, "Headline:", " Boats", 200)
    assert pair.ids[: len(prompt)] == tuple(prompt)
    assert pair.targets == (*base.tokenizer(" Boats", add_special_tokens=False)["input_ids"], 2)
    assert encode_prompt(base.tokenizer, "", 200, 4) == [0]
    assert encode_pair(base.tokenizer, "", "", 200).ids == (0, 2)


# ---- forms -----------------------------------------------------------------------------------------------------------


def save_adapter(folder: Path, base: Path, **changes: Any) -> Any:
    """A random LoRA of peft's own for a tiny Llama, and the model with it merged."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64)
    made: Any = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    made.save_pretrained(folder)
    change(folder / "adapter_config.json", {"base_model_name_or_path": str(base), **changes})
    return made.eval()


def test_a_peft_folder_is_merged_on_its_base(tmp_path: Path) -> None:
    save_tiny("llama", tmp_path / "base")
    reference = save_adapter(tmp_path / "adapter", tmp_path / "base")
    base = load_base(tmp_path / "adapter", device="cpu", dtype="float64")
    assert [position.module for position in base.positions[:4]] == list(LLAMA)
    ids = torch.randint(3, 200, (1, 8))
    with torch.no_grad():
        torch.testing.assert_close(base.model(input_ids=ids).logits, reference(input_ids=ids).logits)
    change(tmp_path / "adapter" / "adapter_config.json", {"base_model_name_or_path": "../base"})
    load_base(tmp_path / "adapter", device="cpu")  # a path from the adapter's own folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_model_name_or_path": "no/such"}, "its base model 'no/such' cannot be loaded"),
        ({"base_model_name_or_path": None}, "does not say which base model"),
        ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING, which cannot be merged"),
        ({"target_modules": ["nothing"]}, "does not fit its base model"),
    ],
)
def test_a_peft_folder_that_cannot_be_merged_is_refused(changes: Any, said: str, tmp_path: Path) -> None:
    save_tiny("llama", tmp_path / "base")
    save_adapter(tmp_path / "adapter", tmp_path / "base", **changes)
    with pytest.raises(PerpcsError, match=said):
        load_base(tmp_path / "adapter", device="cpu")


def test_pickled_weights_of_an_adapter_are_not_read(tmp_path: Path) -> None:
    save_tiny("llama", tmp_path / "base")
    save_adapter(tmp_path / "adapter", tmp_path / "base")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(PerpcsError, match="other files of weights are not read"):
        load_base(tmp_path / "adapter", device="cpu")


def write_gguf(path: Path, folder: Path) -> None:
    """A tiny Llama as GGUF, in float32: its tensors under llama.cpp's names, its BPE as lists."""
    import gguf
    from safetensors.torch import load_file

    config: Any = tiny_config("llama")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    model = json.loads(tiny_tokenizer().backend_tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(model["vocab"], key=model["vocab"].get))
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_token_types([3 if id < 3 else 1 for id in range(len(model["vocab"]))])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(2)
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v"}
    names |= {"self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up"}
    names |= {"mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for name, tensor in load_file(folder / "model.safetensors").items():
        stem = name.removesuffix(".weight")
        if stem in whole:
            out = whole[stem]
        else:
            _, _, layer, inner = stem.split(".", 3)
            out = f"blk.{layer}.{names[inner]}"
            heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
            if inner in heads:  # llama.cpp keeps rotary pairs side by side
                rows, columns = tensor.shape
                tensor = tensor.view(heads[inner], 2, rows // heads[inner] // 2, columns).transpose(1, 2)
                tensor = tensor.reshape(rows, columns)
        writer.add_tensor(f"{out}.weight", tensor.float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_read_and_saved_as_a_plain_model(tmp_path: Path) -> None:
    plain = load_base(save_tiny("llama", tmp_path / "plain"), device="cpu")
    (tmp_path / "gguf").mkdir()
    file = tmp_path / "gguf" / "tiny.gguf"
    write_gguf(file, tmp_path / "plain")
    ids = torch.randint(3, 200, (1, 8))
    for where in (file, file.parent):
        base = load_base(where, device="cpu")
        with torch.no_grad():
            torch.testing.assert_close(base.model(input_ids=ids).logits, plain.model(input_ids=ids).logits)
        assert base.eos == 1
        assert [position.path for position in base.positions] == [position.path for position in plain.positions]
    save_plain(base, tmp_path / "again")
    again = load_base(tmp_path / "again", device="cpu")
    with torch.no_grad():
        assert torch.equal(again.model(input_ids=ids).logits, base.model(input_ids=ids).logits)
    (file.parent / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(PerpcsError, match="holds 2 GGUF files"):
        load_base(file.parent, device="cpu")
    with pytest.raises(PerpcsError, match="cannot be loaded"):
        load_base(file.parent / "other.gguf", device="cpu")


# ---- builds ----------------------------------------------------------------------------------------------------------


def build(tmp_path: Path, base: Path, candidates: int, *more: str) -> int:
    data = tmp_path / "data" / "LaMP_4"
    people = make_people("LaMP_4", seed=3, count=candidates, split="candidate", history=(4, 5))
    write_json(data / "sharer_candidates.json", [release_fields(person) for person in people])
    where = ["--base", str(base), "--data", str(data.parent), "--task", "LaMP_4"]
    small = ["--rank", "1", "--epochs", "1", "--gate-steps", "1"]
    return main(
        ["build", "mine", *where, *small, *more, "--out", str(tmp_path / "pool"), "--work", str(tmp_path / "work")]
    )


@pytest.mark.parametrize("candidates", [2, 3])
def test_two_or_three_candidates_build_a_pool(candidates: int, tmp_path: Path, model_folder: Any, capsys: Any) -> None:
    modules = ("--modules", "v_proj", "mlp", "--first-layer", "1")
    assert build(tmp_path, model_folder("llama"), candidates, *modules) == 0
    pool = Pool(tmp_path / "pool")
    assert len(pool.sharers("LaMP_4")) == candidates
    assert len(pool.candidates("LaMP_4").xy) == candidates
    sentence = "v_proj, gate_proj, up_proj, down_proj of layer 1, 4 linear layers"
    assert f"adapted: {sentence}" in capsys.readouterr().out
    manifest = read_manifest(tmp_path / "pool")
    assert manifest.card["base"]["adapted"] == sentence
    assert [position.module for position in manifest.positions] == ["v_proj", "gate_proj", "up_proj", "down_proj"]


def test_what_cannot_become_a_pool_is_refused_before_any_work(tmp_path: Path, model_folder: Any, capsys: Any) -> None:
    for candidates, more, said in (
        (1, (), "has 1 sharer candidates"),
        (3, ("--modules", "wq"), "no linear layers named wq"),
        (3, ("--first-layer", "9"), "no layer 9"),
    ):
        assert build(tmp_path, model_folder("llama"), candidates, *more) == 1
        assert said in capsys.readouterr().err
        assert not list((tmp_path / "work").rglob("*.safetensors"))
