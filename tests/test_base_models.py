"""Loading base models: every family's positions, and folders that cannot be used."""

import json
import shutil

import pytest
import torch
from tiny import FAMILIES, random_ids, save_tiny, tiny_tokenizer

from perpcs.errors import PerpcsError
from perpcs.model.base import choose_device, load_base, wrap
from perpcs.model.basis import AdaptedLinear, adapted

MODULES = {"gpt2": ("c_attn", "c_proj"), "gpt_neox": ("query_key_value", "dense")}

# ---- positions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_are_the_attention_projections_in_the_order_a_pass_reaches_them(family, tiny_base):
    base = tiny_base(family)
    expected = [
        (layer, name) for layer in (0, 1) for name in MODULES.get(family, ("q_proj", "k_proj", "v_proj", "o_proj"))
    ]
    assert [(position.layer, position.module) for position in base.positions] == expected
    reached = []

    def adapter(position, x):
        reached.append(position)
        assert x.shape == (2, 5, base.positions[position].n)

    ids = random_ids(base, 2, 5)
    with torch.no_grad(), adapted(adapter):
        base.model(input_ids=ids)
    assert reached == list(range(len(base.positions)))
    for index, position in enumerate(base.positions):
        layer = base.model.get_submodule(position.path)
        assert isinstance(layer, AdaptedLinear)
        assert layer.position == index
        assert layer(torch.zeros(1, 1, position.n, dtype=torch.float64)).shape == (1, 1, position.d)


def test_a_loaded_model_is_frozen_and_in_evaluation_mode(tiny_base):
    for family in FAMILIES:
        model = tiny_base(family).model
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_at_places_are_the_whole_models_logits_there(family, tiny_base):
    base = tiny_base(family)
    ids = random_ids(base, 3, 12)
    where = torch.tensor([0, 2, 2, 1]), torch.tensor([11, 0, 7, 3])
    with torch.no_grad():
        whole = base.model(input_ids=ids).logits
        assert base.plain_head
        torch.testing.assert_close(base.logits(ids, where), whole[where], atol=1e-12, rtol=1e-12)


def test_a_head_that_does_more_than_multiply_is_found_and_asked_whole(tmp_path):
    from transformers import CohereConfig, CohereForCausalLM

    config = CohereConfig(
        vocab_size=len(tiny_tokenizer()), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, intermediate_size=16, logit_scale=0.1, pad_token_id=2,
    )  # fmt: skip
    base = wrap(CohereForCausalLM(config).double(), tiny_tokenizer())
    assert not base.plain_head
    ids = random_ids(base, 2, 6)
    where = torch.tensor([0, 1]), torch.tensor([5, 2])
    with torch.no_grad():
        assert torch.equal(base.logits(ids, where), base.model(input_ids=ids).logits[where])


def test_other_modules_can_be_adapted_by_name(model_folder):
    base = load_base(model_folder("llama"), device="cpu", modules=["down_proj", "self_attn.v_proj"])
    assert [position.module for position in base.positions] == ["v_proj", "down_proj"] * 2
    assert {position.path for position in base.positions} >= {"model.layers.0.mlp.down_proj"}
    with pytest.raises(PerpcsError, match=r"no linear layers named wq.*q_proj"):
        load_base(model_folder("llama"), device="cpu", modules=["wq"])


def test_a_model_is_not_wrapped_twice(model_folder):
    base = load_base(model_folder("llama"), device="cpu")
    with pytest.raises(PerpcsError):
        wrap(base.model, base.tokenizer)


def test_text_that_spells_out_special_tokens_is_text(tiny_base):
    tokenizer = tiny_base("llama").tokenizer
    ids = tokenizer("a <|end|> b <|begin|> <|pad|>")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert not set(ids[1:]) & {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    assert tokenizer.decode(ids[1:]) == "a <|end|> b <|begin|> <|pad|>"


# ---- folders and settings that cannot be used -----------------------------------------------------------------------


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change_config(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def to_pickle(folder):
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


DAMAGES = {
    "half the weights": lambda folder: halve(folder / "model.safetensors"),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "pickled weights": to_pickle,
    "half the config": lambda folder: halve(folder / "config.json"),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "config is a list": lambda folder: (folder / "config.json").write_text("[1]"),
    "another width": change_config(hidden_size=64),
    "a word for a width": change_config(hidden_size="wide"),
    "no heads": change_config(num_attention_heads=0),
    "more layers than weights": change_config(num_hidden_layers=3),
    "an unknown type": change_config(model_type="perpcs"),
    "code to run": change_config(model_type="evil", auto_map={"AutoModelForCausalLM": "evil.Model"}),
    "an encoder": change_config(model_type="bert"),
    "half the tokenizer": lambda folder: halve(folder / "tokenizer.json"),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "tokenizer without a model": lambda folder: (folder / "tokenizer.json").write_text('{"model": {"type": "BPE"}}'),
    "tokenizer settings are a list": lambda folder: (folder / "tokenizer_config.json").write_text("[1]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_an_error_that_names_it(damage, model_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model_folder("llama"), folder)
    DAMAGES[damage](folder)
    with pytest.raises(PerpcsError, match="model"):
        load_base(folder, device="cpu")


@pytest.mark.parametrize("name", ["/no/such/folder", "no-such-model", "nobody/nothing"])
def test_a_missing_model_is_an_error_that_names_it(name):
    with pytest.raises(PerpcsError, match=name):
        load_base(name, device="cpu")


def test_device_and_dtype_are_chosen_with_a_reason_or_refused():
    device, dtype, why = choose_device("cpu", "auto")
    assert (device.type, dtype, why) == ("cpu", torch.float32, "It was asked for.")
    assert choose_device("cpu", "bfloat16")[1] == torch.bfloat16
    assert choose_device()[2]
    for bad in ({"device": "abacus"}, {"dtype": "int8"}, {"dtype": "load"}):
        with pytest.raises(PerpcsError):
            choose_device(**bad)
    if not torch.cuda.is_available():
        with pytest.raises(PerpcsError, match="No CUDA GPU"):
            choose_device("cuda")


def test_saved_families_come_back_as_they_were(tmp_path):
    """The builder itself: what is saved is what load_base gives."""
    from safetensors.torch import load_file

    save_tiny("qwen2", tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    base = load_base(tmp_path, device="cpu", dtype="float64")
    for name, value in base.model.state_dict().items():
        plain = name.replace(".base.", ".")
        if plain != "lm_head.weight":  # tied
            assert torch.equal(value, saved[plain]), name
