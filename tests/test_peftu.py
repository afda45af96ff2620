"""PEFT-U: its files, its methods, people trained together, people assembled from others, and the experiment."""

import json
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import TEXTS, load_tiny, plain_model, random_ids, save_tiny
from tiny_model import train_tokenizer
from torch import nn

from perpcs.errors import PerpcsError
from perpcs.model.basis import adapted, watch_attention
from perpcs.peftu import assembled
from perpcs.peftu.experiment import Settings, TaskRun, run_peftu
from perpcs.peftu.modules import METHODS, at_positions, shape_of
from perpcs.peftu.scorer import Rows, Scorer
from perpcs.peftu.tasks import (
    PUBLISHED_TASKS,
    TASKS,
    Judged,
    Reader,
    Town,
    divide,
    get_peft_task,
    judged,
    read_readers,
    town_readers,
)
from perpcs.peftu.training import Own, TrainSettings, best_share, label_probs, losses, named, scores, train_people
from perpcs.schema import PIECE_KINDS

TOWN = get_peft_task("smalltown")
CLOSE = {"atol": 1e-9, "rtol": 1e-9}
SMALL = Town(people=6, reviews=40, each=20)
TRAINING = TrainSettings(epochs=2, batch=4)


@lru_cache(maxsize=1)
def readers():
    return town_readers(SMALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny Llama of four layers' worth of laws, whose tokenizer has a token for each label of the town's task."""
    folder = save_tiny("llama", tmp_path_factory.mktemp("peftu"))
    words = " ".join(TOWN.words.values())
    train_tokenizer([*TEXTS, *[f" {words}"] * 40], 320).save_pretrained(folder)
    return folder


@pytest.fixture
def base(folder):
    return load_tiny(folder, modules=("all",))


def scorer_of(base, first_layer=1, **more):
    scorer = Scorer(base, TOWN, first_layer, text_tokens=24, **more)
    scorer.read([one.text for reader in readers() for one in (*reader.train, *reader.val, *reader.test)])
    return scorer


def parameters_of(method, shape, size, people, seed=0):
    """Random parameters of people, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(people, *part.shape, generator=generator, dtype=torch.float64)
        * (2 if method.name == "prefix" else 0.3)
        for part in method.start(shape, size)
    ]


# ---- files ---------------------------------------------------------------------------------------------------------

GOOD = {"7": {"train": {"a": {"text": "x", "label": ["joy", "anger"]}}, "val": {}, "test": {}}}


def written(tmp_path, data):
    path = tmp_path / "studemo.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_a_file_is_read_with_labels_in_the_tasks_order(tmp_path):
    (reader,) = read_readers(written(tmp_path, GOOD), TASKS["studemo"])
    assert reader == Reader("7", (Judged("x", ("anger", "joy")),), (), ())


def entry(**change):
    return {"7": {"train": {"a": {"text": "x", "label": ["joy"]} | change}}}


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        ("{", "not a JSON file"),
        ({}, "no people"),
        ([1], "no people"),
        ({"7": {"train": {}, "dev": {}}}, "the parts train, val and test"),
        ({"7": {"test": {}}}, "the parts train, val and test"),
        ({"7": {"train": [1]}}, "not a mapping"),
        (entry(label="joy"), "labels that StudEmo does not know"),
        (entry(label=[]), "labels that StudEmo does not know"),
        (entry(label=["envy"]), "labels that StudEmo does not know"),
        (entry(label=["joy", "joy"]), "has 2 labels"),
        (entry(text=" "), "exactly a text and a list of labels"),
        (entry(more=1), "exactly a text and a list of labels"),
        ({"7": GOOD["7"] | {"test": GOOD["7"]["train"]}}, "same text in two parts"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path, data, wrong):
    with pytest.raises(PerpcsError, match=wrong):
        read_readers(written(tmp_path, data), TASKS["studemo"])


def test_one_label_a_text_where_the_task_allows_one(tmp_path):
    data = {"7": {"train": {"a": {"text": "x", "label": ["bad", "good"]}}}}
    with pytest.raises(PerpcsError, match="allows one label"):
        read_readers(written(tmp_path, data), TOWN)
    with pytest.raises(PerpcsError, match=r"There is no studemo\.json"):
        read_readers(tmp_path / "nowhere" / "studemo.json", TASKS["studemo"])


def test_the_thirteen_tasks_have_labels_words_and_a_question():
    assert len(PUBLISHED_TASKS) == 13
    for task in TASKS.values():
        assert len(set(task.words.values())) == len(task.labels) > 1
        assert task.after().endswith("Answer:")
    with pytest.raises(PerpcsError, match="Did you mean studemo"):
        get_peft_task("studem")


def test_nobody_is_measured_and_searched_on_and_nobody_trains_on_a_measured_text():
    division = divide(readers(), measured=3, search=2, train=9, val=2, test=2, fewest=3)
    assert len({one.id for one in division.everybody}) == 5
    tested = {one.text for reader in division.measured for one in reader.test}
    for reader in division.everybody:
        assert not tested & {one.text for one in (*reader.train, *reader.val)}
        assert len(reader.train) <= 9
    assert division.dropped > 0  # the town's people judge the same reviews
    more = divide(readers(), measured=4, search=2, train=9, val=2, test=2, fewest=3)
    assert [one.id for one in more.search] == [one.id for one in division.search]
    with pytest.raises(PerpcsError, match="Only 0 people"):
        divide(readers(), measured=3, search=2, train=99, val=2, test=2, fewest=99)


def test_who_has_too_few_texts_left_is_not_measured():
    """All that one person would be validated on is what others are tested on."""
    shared = tuple(Judged(f"shared {n}", ("a",)) for n in range(3))

    def reader(name, val):
        own = [Judged(f"{name} {n}", ("a",)) for n in range(9)]
        return Reader(name, tuple(own[:6]), val or tuple(own[6:8]), shared)

    people = [reader(str(n), shared[:2] if n == 0 else ()) for n in range(8)]
    division = divide(people, measured=5, search=3, train=6, val=2, test=3, fewest=3)
    assert "0" not in {one.id for one in division.everybody}
    assert all(one.val for one in division.everybody)


def test_the_towns_people_judge_the_same_review_differently_and_mostly_by_their_traits():
    said, right = {}, []
    for reader in town_readers():
        for one in (*reader.train, *reader.val, *reader.test):
            said.setdefault(one.text, set()).update(one.labels)
        right += [one.labels == (true,) for one, true in zip(reader.test, reader.truth, strict=True)]
    assert np.mean([len(labels) > 1 for labels in said.values()]) > 0.4
    assert 0.85 < np.mean(right) < 0.95
    assert [judged(points) for points in range(1, 6)] == ["bad", "bad", "fair", "good", "good"]


# ---- what is measured ----------------------------------------------------------------------------------------------


def test_several_labels_are_named_and_scored_as_sets():
    task = TASKS["studemo"]
    probs = np.full((2, 9), 0.01)
    probs[0, [0, 5]] = 0.5, 0.3  # anger, neutral
    probs[1, 3] = 0.9  # disgust is third in the order of labels, joy fourth
    joy = task.labels[3]
    assert named(task, probs, 0.5) == [{"anger", task.labels[5]}, {joy}]
    gold = [Judged("x", ("anger", "trust")), Judged("y", (joy,))]
    found = scores(task, probs, gold, 0.5)
    assert found["accuracy"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["nats"] == pytest.approx(-(0.5 * np.log(0.5) + 0.5 * np.log(0.01) + np.log(0.9)) / 2)
    person = replace(readers()[0], test=tuple(gold))
    assert best_share(task, [probs], [person]) == 0.7  # above it, neutral is not named


def test_one_label_is_the_likeliest():
    probs = np.array([[0.2, 0.3, 0.5]])
    assert named(TOWN, probs, 1.0) == [{"good"}]
    assert scores(TOWN, probs, [Judged("x", ("bad",))], 1.0) == {"accuracy": 0.0, "nats": pytest.approx(-np.log(0.2))}


# ---- the scorer ----------------------------------------------------------------------------------------------------


def test_a_text_read_once_gives_what_a_whole_pass_gives(base, folder):
    scorer, plain = scorer_of(base), plain_model(folder)
    texts = [one.text for one in readers()[0].train[:4]]
    for rows in (Rows(), Rows(adapter=lambda p, x: None)):  # kept last states; upper layers on kept keys and values
        found = scorer.logits(texts, rows)
        for text, said in zip(texts, found, strict=True):
            before, after = scorer.ids(text)
            with torch.no_grad():
                logits = plain(input_ids=torch.tensor([before + after])).logits[0, -1]
            ids = [base.tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in TOWN.words.values()]
            torch.testing.assert_close(said, logits[ids], atol=1e-6, rtol=1e-6)  # the head is kept in float32


def test_what_was_read_can_be_kept_on_disk(base):
    scorer = scorer_of(base)
    texts = [one.text for one in readers()[0].train[:3]]
    again = Scorer(base, TOWN, 1, text_tokens=24)
    again.load(scorer.saved())
    again.base = None  # nothing is read anew
    again.read(texts)
    assert all(key.count(".") == 1 and len(key.split(".")[0]) == 24 for key in scorer.saved())  # hashes, no text
    again.base = base
    assert torch.equal(again.logits(texts), scorer.logits(texts))


def test_labels_that_begin_alike_are_refused(base):
    with pytest.raises(PerpcsError, match="begin with the same token"):
        Scorer(base, replace(TOWN, words={"a": "bad", "b": "bad"}), 1)
    with pytest.raises(PerpcsError, match="no layer 9"):
        Scorer(base, TOWN, 9)


# ---- methods -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_people_trained_together_are_each_one_alone(name, base):
    method, scorer = METHODS[name], scorer_of(base)
    shape = shape_of(scorer)
    size = {"ptuning": 3, "head": 2}.get(name, 2)
    rate = method.rates[0]
    people = [Own(r.train[: 6 + 3 * i], r.val, rate * (1 + i), i) for i, r in enumerate(readers()[:3])]
    together = train_people(scorer, shape, method, size, people, TRAINING)
    assert any(together.best_epoch)
    for s, own in enumerate(people):
        alone = train_people(scorer, shape, method, size, [own], TRAINING)
        assert alone.val_loss[0] == pytest.approx(together.val_loss[s], abs=1e-5)
        for one, all_of_them in zip(alone.parameters, together.parameters, strict=True):
            torch.testing.assert_close(all_of_them[s], one[0], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_training_lowers_the_loss_and_leaves_the_base_model_alone(name, base):
    method, scorer = METHODS[name], scorer_of(base)
    shape, size = shape_of(scorer), {"head": 4}.get(name, 3)
    before = {key: value.clone() for key, value in base.model.state_dict().items()}
    rows = readers()[0].train
    people = [Own(rows, rows, rate, 0) for rate in (0.0, method.rates[1])]  # a soft prompt starts off the base model
    trained = train_people(scorer, shape, method, size, people, TrainSettings(epochs=6, batch=4))
    assert trained.val_loss[1] < trained.val_loss[0] - 0.005
    assert all(torch.equal(value, before[key]) for key, value in base.model.state_dict().items())


def test_sizes_are_matched_to_a_budget(base):
    shape = shape_of(scorer_of(base, first_layer=0))
    budget = METHODS["lora"].count(shape, 2)
    assert METHODS["lora"].matched(shape, budget) == 2
    for name in ("adapter", "prefix", "prompt", "head", "ptuning"):
        method = METHODS[name]
        size = method.matched(shape, budget)
        off = abs(method.count(shape, size) - budget)
        steps = (size - 1, size + 1)
        assert all(abs(method.count(shape, other) - budget) >= off for other in steps if other not in (0,)), name


def test_a_method_is_one_class_and_one_line(base, monkeypatch):
    """The example of docs/DESIGN.md, as it stands there."""
    text = (Path(__file__).resolve().parents[1] / "docs" / "DESIGN.md").read_text()
    (code,) = [one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Louder" in one]
    room: dict[str, object] = {}
    exec(compile(code, "docs/DESIGN.md", "exec"), room)
    monkeypatch.setitem(METHODS, "louder", room["Louder"]())  # the line
    scorer = scorer_of(base)
    shape, method = shape_of(scorer), METHODS["louder"]
    rows = readers()[0].train
    trained = train_people(scorer, shape, method, 1, [Own(rows, rows, 1e-1, 0)], TRAINING)
    assert trained.best_epoch[0] > 0


# ---- pieces of other people ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PIECE_KINDS)
def test_mixed_pieces_are_the_base_model_at_zero_one_person_at_one_and_rows_are_independent(name, base):
    method, scorer = METHODS[name], scorer_of(base)
    shape, size = shape_of(scorer), 2 if name != "ia3" else 1
    pieces = parameters_of(method, shape, size, 3)
    P = len(method.places(shape))
    texts = [one.text for one in readers()[1].train[:4]]
    w = torch.zeros(4, P, 3, dtype=torch.float64)
    w[1, :, 2] = 1
    w[2] = torch.randn(P, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = scorer.logits(texts, method.mixed(shape, size, pieces, w))
    assert torch.equal(found[0], scorer.logits(texts, Rows(adapter=lambda p, x: None))[0])
    own = scorer.logits(texts, method.rows(shape, size, pieces, torch.tensor([0, 2, 1, 0])))
    torch.testing.assert_close(found[1], own[1], **CLOSE)
    assert (found[2] - own[2]).abs().max() > 1e-3
    for row in range(4):
        alone = scorer.logits([texts[row]], method.mixed(shape, size, pieces, w[row : row + 1]))
        torch.testing.assert_close(found[row], alone[0], **CLOSE)


def test_a_person_is_never_assembled_from_their_own_module(base):
    scorer, method = scorer_of(base), METHODS["lora"]
    shape = shape_of(scorer)
    pieces = [part.float() for part in parameters_of(method, shape, 2, 4)]
    fitted = assembled.Fitted(method, 2, pieces, [0, 1, -1])
    everything = [torch.ones(3, len(method.places(shape)), 4)]
    w = fitted.weights(everything, torch.arange(3))
    assert not w[0, :, 0].any()
    assert not w[1, :, 1].any()
    assert w.sum() == (3 + 3 + 4) * len(method.places(shape))
    people = [Own(r.train, r.val, 0.1, i) for i, r in enumerate(readers()[:4])]
    gates = assembled.train_gates(scorer, shape, 2, pieces, people, steps=2)
    means = assembled.prototypes(scorer, shape, people)
    found = assembled.gate_weights(scorer, shape, pieces, gates, means, people[1].train, 1)
    assert not found[:, 1].any()
    np.testing.assert_allclose(found.sum(1), 1, atol=0.02)  # a softmax at each position, rounded to bytes


@pytest.mark.parametrize("name", PIECE_KINDS)
def test_newton_lowers_the_loss_by_what_others_learned(name, base):
    method, scorer = METHODS[name], scorer_of(base, first_layer=0)
    shape, size = shape_of(scorer), 2 if name != "ia3" else 1
    fair = [[Judged(one.text, ("fair",)) for one in reader.train] for reader in readers()[:3]]
    people = [Own(rows, rows, method.rates[1], i) for i, rows in enumerate(fair[1:])]
    pieces = train_people(scorer, shape, method, size, people, TrainSettings(epochs=3, batch=4)).parameters
    weights, step = assembled.newton_weights(scorer, shape, method, size, pieces, fair[0])
    w = torch.from_numpy(weights).float()[None].expand(len(fair[0]), -1, -1)
    with torch.no_grad():
        before = losses(scorer, fair[0]).mean()
        after = losses(scorer, fair[0], method.mixed(shape, size, pieces, w)).mean()
    assert step.length > 0
    assert after < before - 0.005


# ---- what others say a method is -----------------------------------------------------------------------------------


def test_a_prefix_is_keys_and_values_in_front_of_the_text(base, folder):
    """Against a plain model whose cache holds the prefix."""
    from transformers import DynamicCache

    watch_attention(base.model)
    method, shape = METHODS["prefix"], shape_of(scorer_of(base, first_layer=0))
    parameters = parameters_of(method, shape, 3, 2)
    ids = random_ids(base, 2, 7)
    rows = method.rows(shape, 3, parameters, torch.tensor([1, 0]))
    with torch.no_grad(), adapted(rows.adapter):
        found = base.model(input_ids=ids).logits
    plain = plain_model(folder)
    for row, person in enumerate((1, 0)):
        cache = DynamicCache()
        for layer in range(2):
            K, V = (parameters[2 * layer + part][person].unflatten(1, (2, 8)).transpose(0, 1)[None] for part in (0, 1))
            cache.update(K, V, layer)
        with torch.no_grad():
            expected = plain(
                input_ids=ids[row : row + 1],
                past_key_values=cache,
                position_ids=torch.arange(7)[None],
                attention_mask=torch.ones(1, 10, dtype=torch.long),
            ).logits
        torch.testing.assert_close(found[row], expected[0], **CLOSE)


def test_an_adapter_is_a_bottleneck_after_attention_and_mlp(base, folder):
    method, shape = METHODS["adapter"], shape_of(scorer_of(base, first_layer=0))
    parameters = parameters_of(method, shape, 3, 1)
    plain = plain_model(folder)
    for i, p in enumerate(method.places(shape)):
        A, Bt = parameters[2 * i][0], parameters[2 * i + 1][0]
        plain.get_submodule(base.positions[p].path).register_forward_hook(
            lambda module, args, y, A=A, Bt=Bt: y + nn.functional.gelu(y @ A.T) @ Bt
        )
    ids = random_ids(base, 1, 6)
    with torch.no_grad(), adapted(method.rows(shape, 3, parameters, torch.tensor([0])).adapter):
        torch.testing.assert_close(base.model(input_ids=ids).logits, plain(input_ids=ids).logits, **CLOSE)


@pytest.mark.parametrize("name", ["lora", "ia3", "prompt"])
def test_a_module_on_the_whole_prompt_is_what_peft_makes_of_it(name, base, folder):
    import peft

    scorer = scorer_of(base, first_layer=0, whole=True)
    method, shape, text = METHODS[name], shape_of(scorer), readers()[0].train[0].text
    size = method.default if name == "ia3" else 2
    parameters = parameters_of(method, shape, size, 1)
    config = {
        "lora": lambda: peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]),
        "ia3": lambda: peft.IA3Config(
            target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
        ),
        "prompt": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
    }[name]()
    model = peft.get_peft_model(plain_model(folder), config)
    state = dict(model.named_parameters())
    if name == "prompt":
        state["prompt_encoder.default.embedding.weight"].data = parameters[0][0]
    for i, p in enumerate(method.places(shape) if name != "prompt" else ()):
        stem = f"base_model.model.{base.positions[p].path}"
        if name == "lora":
            state[f"{stem}.lora_A.default.weight"].data = parameters[2 * i][0]
            state[f"{stem}.lora_B.default.weight"].data = parameters[2 * i + 1][0].T.contiguous()
        else:  # to scale what up_proj gives is to scale what down_proj reads
            key = f"{stem.replace('up_proj', 'down_proj')}.ia3_l.default"
            state[key].data = (1 + parameters[i][0]).reshape(state[key].shape)
    before, after = scorer.ids(text)
    with torch.no_grad():
        expected = model.double().eval()(input_ids=torch.tensor([before + after])).logits[0, -1]
    found = scorer.logits([text], method.rows(shape, size, parameters, torch.tensor([0])))[0]
    ids = [base.tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in TOWN.words.values()]
    torch.testing.assert_close(found, expected[ids].double(), atol=1e-5, rtol=1e-5)
    assert (found - scorer.logits([text])[0]).abs().max() > 1e-3


# ---- the experiment ------------------------------------------------------------------------------------------------


def tiny_settings(folder):
    return Settings(
        tasks=("smalltown",),
        measured=3,
        search=2,
        train=8,
        val=4,
        test=2,
        base=str(folder),
        first_layer=1,
        text_tokens=16,
        shots=1,
        shot_tokens=8,
        training=TrainSettings(epochs=1, batch=4),
        town=Town(people=6, reviews=60, each=30),
    )


def test_the_experiment_writes_numbers_and_goes_on_where_it_stopped(folder, tmp_path, monkeypatch):
    settings, out, said = tiny_settings(folder), tmp_path / "peftu.json", []
    monkeypatch.setattr(METHODS["head"], "default", 2, raising=False)

    def stopped(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TaskRun, "lora_controls", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_peftu(settings, None, tmp_path / "work", out, said.append)
    assert not json.loads(out.read_text())["complete"]
    first = [line for line in said if ": accuracy" in line]
    said.clear()
    result = run_peftu(settings, None, tmp_path / "work", out, said.append)
    assert first
    assert not set(first) & set(said)  # nothing is made twice
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert result["complete"]
    task = result["tasks"]["smalltown"]
    for name in METHODS:
        cell = task["methods"][name]
        assert cell["accuracy"]["n_users"] == 3 == len(cell["people"])
        assert {"minus_zero_shot", "minus_wrong", "minus_prior", "trained", "kept_bytes", "train_seconds"} <= set(cell)
        assert task["search"][name]["rate"] in task["search"][name]["rates"]
    for name in ("newton:lora", "fit:lora", "gate:lora", "newton:prefix-matched", "few-shot", "shuffled", "crowd"):
        assert 0 <= task["methods"][name]["accuracy"]["mean"] <= 1
    own, wrong = (load_file(tmp_path / "work" / next(iter(tmp_path.glob("work/*"))).name / "lora.safetensors"),) * 2
    assert own.keys() == wrong.keys()
    texts = [one.text for reader in town_readers(settings.town) for one in reader.train]
    assert not any(text[:20] in out.read_text() for text in texts)


def test_what_another_person_gets_is_the_next_persons_module(base):
    scorer, method = scorer_of(base), METHODS["lora"]
    shape = shape_of(scorer)
    parameters = parameters_of(method, shape, 2, 2)
    texts = [one.text for one in readers()[0].test]
    carry = lambda rows: method.rows(shape, 2, parameters, (torch.zeros(len(rows), dtype=torch.long) + 1) % 2)  # noqa: E731
    wrong = label_probs(scorer, texts, carry)
    right = label_probs(scorer, texts, lambda rows: at_positions({}))
    assert np.abs(wrong - right).max() > 1e-3
    np.testing.assert_allclose(wrong.sum(1), 1)


# ---- six readers ---------------------------------------------------------------------------------------------------


def test_six_readers_are_written_read_and_differ(folder, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from perpcs.peftu import six

    base = load_tiny(folder, modules=("v_proj", "o_proj"), first_layer=1)
    manifest = SimpleNamespace(base_hash="a" * 64, positions=base.positions)
    monkeypatch.setattr(six, "TOWN", Town(people=6, reviews=30, each=20, seed=6))
    monkeypatch.setattr(six, "TRAINING", TrainSettings(epochs=1))
    said = []
    with pytest.raises(PerpcsError, match="not personal"):
        six.make_six(base, manifest, tmp_path, said.append, least=2.0)
    assert not list(tmp_path.iterdir())
    facts = six.make_six(base, manifest, tmp_path, said.append, least=-1.0)
    assert 0 <= facts["wrong"] <= 1
    found = six.read_six(base, manifest, tmp_path)
    (text, levels), *_ = six.example_reviews(2)
    assert len(set(six.true_labels(levels))) > 1
    alone, probs = six.read_by_six(base, manifest, found, text)
    assert probs.shape == (6, 3)
    np.testing.assert_allclose(probs.sum(1), 1)
    assert np.abs(probs - alone).max() > 1e-4
    assert six.read_six(base, SimpleNamespace(base_hash="b" * 64, positions=base.positions), tmp_path) is None
    (tmp_path / six.TENSORS).write_bytes(b"x")
    with pytest.raises(PerpcsError, match="damaged"):
        six.read_six(base, manifest, tmp_path)
