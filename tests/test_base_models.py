"""Loading base models: every family's positions, damaged folders, and a from-scratch training that resumes exactly."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny import FAMILIES, TEXTS, random_ids, save_tiny, tiny_tokenizer

from perpcs.errors import PerpcsError
from perpcs.model.base import choose_device, load_base, wrap
from perpcs.model.basis import AdaptedLinear, adapted
from perpcs.model.muon import Muon, orthogonal
from perpcs.model.text import Lesson
from perpcs.model.tokenizer import train_tokenizer
from perpcs.model.train_base import (
    _PAD,
    CHECKPOINT,
    BaseSettings,
    _schedule,
    _Texts,
    new_model,
    train_base,
)

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


# ---- a base model from scratch --------------------------------------------------------------------------------------

LESSONS = [
    Lesson(f"Article: {a} {b} in the town Headline:", f" {b} {a}") for a in TEXTS[1].split() for b in TEXTS[2].split()
]
HELD = {"some": LESSONS[::9], "others": LESSONS[4::9]}
TAUGHT = [lesson for at, lesson in enumerate(LESSONS) if at % 9 not in (0, 4)]
SMALL = BaseSettings(
    width=16, layers=1, heads=2, feed_forward=16, vocabulary=300, max_tokens=64, steps=9, batch_tokens=1200, warmup=2,
    cooldown=4, evaluate_every=4,
)  # fmt: skip


class Killed(Exception):
    pass


def kill_at(step):
    def on_progress(at):
        if at["step"] == step:
            raise Killed

    return on_progress


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """(folder, curve, tokenizer) of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    tokenizer = train_tokenizer(TEXTS, SMALL.vocabulary)
    return folder, train_base(TAUGHT, HELD, tokenizer, SMALL, folder), tokenizer


@pytest.mark.parametrize("stops", [(1,), (5,), (3, 8), (5, 5)])
def test_a_killed_base_training_goes_on_to_the_same_weights_bit_for_bit(stops, whole_run, tmp_path):
    folder, curve, tokenizer = whole_run
    for stop in stops:
        with pytest.raises(Killed):
            train_base(TAUGHT, HELD, tokenizer, SMALL, tmp_path, kill_at(stop), save_every=0)
        assert not (tmp_path / "model.safetensors").exists()
    steps = []
    resumed = train_base(TAUGHT, HELD, tokenizer, SMALL, tmp_path, lambda at: steps.append(at["step"]), save_every=0)
    assert steps == list(range(stops[-1], SMALL.steps + 1))  # went on where the last checkpoint was, not from the start
    assert (tmp_path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert resumed == curve
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize("left", [0.0, 0.35])
def test_a_rate_falls_in_a_straight_line_to_what_is_left(left):
    settings = replace(SMALL, steps=8, warmup=2, cooldown=4, left=left)
    shares = [_schedule(step, settings) for step in range(8)]
    assert shares[:5] == [0.5, *[1.0] * 4]
    falls = [before - after for before, after in pairwise(shares[4:])]
    assert falls == pytest.approx([(1 - left) / 4] * 3)
    assert _schedule(8, settings) == pytest.approx(max(0.01, left))


def test_a_trained_base_loads_and_its_loss_falls(whole_run):
    folder, curve, _ = whole_run
    base = load_base(folder, device="cpu")
    assert len(base.positions) == 4
    assert base.max_tokens == SMALL.max_tokens
    held = [point["held_out"] for point in curve["curve"]]
    assert len(held) == 3
    assert held[-1] < held[0]


def test_base_training_follows_its_seed(whole_run, tmp_path):
    folder, _, tokenizer = whole_run
    train_base(TAUGHT, HELD, tokenizer, replace(SMALL, seed=1), tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() != (folder / "model.safetensors").read_bytes()
    first = new_model(tokenizer, SMALL).state_dict()
    torch.manual_seed(5)  # whatever the caller drew before
    assert all(torch.equal(value, first[name]) for name, value in new_model(tokenizer, SMALL).state_dict().items())


@pytest.mark.parametrize("count", [2, 20])
def test_a_base_is_trained_on_fewer_lessons_than_fill_a_batch(count, tmp_path):
    found = train_base(TAUGHT[:count], {}, train_tokenizer(TEXTS, SMALL.vocabulary), replace(SMALL, steps=2), tmp_path)
    assert found["lessons"] == count


def test_one_lesson_is_refused(tmp_path):
    with pytest.raises(PerpcsError, match="1 texts"):
        train_base(TAUGHT[:1], {}, train_tokenizer(TEXTS, SMALL.vocabulary), SMALL, tmp_path)


def flagged(lesson, max_tokens=64):
    """The tokens that are answered, as text."""
    tokenizer = train_tokenizer(TEXTS, SMALL.vocabulary)
    texts = _Texts([lesson], tokenizer, replace(SMALL, max_tokens=max_tokens))
    ids, flags = texts.batch(np.array([0]), 64, tokenizer.pad_token_id)
    return tokenizer.decode(torch.roll(ids, -1)[flags > 0]), int(texts.lengths[0]), flags[0]


def test_answers_of_shown_items_are_learned_too():
    prompt = "Article: the boats Headline: Boats win\nArticle: a robot Headline:"
    begin = prompt.index(" Boats win")
    both = Lesson(prompt, " Robot dreams", ((begin, begin + len(" Boats win")),))
    assert flagged(both)[0] == " Boats win Robot dreams<|end|>"
    assert flagged(Lesson(prompt, " Robot dreams"))[0] == " Robot dreams<|end|>"


def test_notes_count_once_beside_a_label_that_counts_more():
    prompt, target = "Article: the boats {a robot} Headline:", " Boats<|end|> Notes: robot"
    note, behind = prompt.index(" {a"), len(prompt) + len(" Boats<|end|>")
    asides = ((note, note + len(" {a robot}")), (behind, len(prompt) + len(target)))
    tokenizer = train_tokenizer(TEXTS, SMALL.vocabulary)
    texts = _Texts([Lesson(prompt, target, (), 7, asides)], tokenizer, SMALL)
    ids, flags = texts.batch(np.array([0]), 64, tokenizer.pad_token_id)
    following = torch.roll(ids, -1)
    assert tokenizer.decode(following[flags == 7]) == " Boats<|end|>"
    assert tokenizer.decode(following[flags == 1]) == " {a robot} Notes: robot<|end|>"


def test_a_lesson_that_is_too_long_loses_its_beginning():
    text, length, flags = flagged(Lesson("Article: " + "the boats " * 30 + "Headline:", " Robot dreams"), 24)
    assert (text, length) == (" Robot dreams<|end|>", 24)
    assert (flags[23:] == _PAD).all()  # nothing is predicted from the last token on


def test_every_batch_has_its_shape_and_an_epoch_repeats_nobody():
    texts = _Texts(LESSONS, train_tokenizer(TEXTS, SMALL.vocabulary), SMALL)
    settings = replace(SMALL, batch_tokens=192)
    plan = texts.plan(settings, 0)
    rows = np.concatenate([some for some, _ in plan])
    assert len(set(rows.tolist())) == len(rows) > 0.9 * len(LESSONS)
    assert {len(some) * length for some, length in plan} == {192}
    assert all(texts.lengths[some].max() <= length for some, length in plan)
    assert [some.tolist() for some, _ in texts.plan(settings, 1)] != [some.tolist() for some, _ in plan]


def test_a_compiled_step_learns_the_same(tmp_path):
    """Whether the step is compiled or not is about speed alone."""
    tokenizer = train_tokenizer(TEXTS, SMALL.vocabulary)
    one, two = (
        train_base(TAUGHT, HELD, tokenizer, replace(SMALL, compiled=compiled), tmp_path / str(compiled))["curve"][-1]
        for compiled in (False, True)
    )
    assert one["held_out"] == pytest.approx(two["held_out"], rel=0.01)


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


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_muon_makes_updates_orthogonal_and_moves_as_torchs_own_does(shape):
    torch.manual_seed(0)
    start, gradients = torch.randn(2, *shape), torch.randn(4, 2, *shape)
    assert (torch.linalg.svdvals(orthogonal(gradients[0])) - 1).abs().max() < 0.35
    moved = []
    for kind, extra in ((Muon, {}), (torch.optim.Muon, {"adjust_lr_fn": "match_rms_adamw"})):
        matrices = [torch.nn.Parameter(one.clone()) for one in start]
        optimiser = kind(matrices, lr=0.02, weight_decay=0.1, **extra)
        for step in gradients:
            for matrix, gradient in zip(matrices, step, strict=True):
                matrix.grad = gradient.clone()
            optimiser.step()
        moved.append(torch.stack([matrix.detach() for matrix in matrices]) - start)
    assert (moved[0] - moved[1]).norm() / moved[1].norm() < 0.03  # torch's rounds to bfloat16 inside


def test_base_training_goes_on_from_a_model(whole_run, tmp_path):
    folder, before, tokenizer = whole_run
    still = replace(SMALL, rate=1e-6)
    new, on = (
        train_base(TAUGHT, HELD, tokenizer, still, tmp_path / str(start is None), start=start)["curve"][-1]["held_out"]
        for start in (None, folder)
    )
    assert abs(on - before["curve"][-1]["held_out"]) < 0.01
    assert new - on > 0.1
