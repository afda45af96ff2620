"""The ruler: measures against hand-made numbers, intervals, invalid answers, and what a result file holds."""

import json
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from perpcs.cli import main
from perpcs.data import read_users
from perpcs.errors import PerpcsError
from perpcs.evaluate import checkpoint
from perpcs.evaluate.metrics import macro_f1, paired, rouge, score_person, summary
from perpcs.evaluate.protocol import answer_all, evaluate, person_nll, prepare
from perpcs.figures.answers import shared_words
from perpcs.personalizers import methods as registry
from perpcs.pool.store import Pool
from perpcs.tasks import User, get_task
from perpcs.words import words


def test_rating_errors_are_true_mae_and_rmse_and_invalid_answers_are_left_out() -> None:
    scores = score_person(get_task("LaMP_3"), ["1", "5", "4", "great"], ["2", "3", "4", "5"])
    assert scores["mae"] == pytest.approx((1 + 2 + 0) / 3)
    assert scores["rmse"] == pytest.approx(((1 + 4 + 0) / 3) ** 0.5)
    assert scores["invalid"] == 0.25
    assert scores["accuracy"] == 0.25


def test_a_person_with_no_valid_rating_has_no_error_at_all() -> None:
    scores = score_person(get_task("LaMP_3"), ["great"], ["5"])
    assert "mae" not in scores
    assert scores["invalid"] == 1.0


def test_label_tasks_count_invalid_answers_as_wrong() -> None:
    scores = score_person(get_task("LaMP_2"), ["comedy", "funny", "action", "action"], ["comedy"] * 3 + ["action"])
    assert scores["accuracy"] == 0.5
    assert scores["invalid"] == 0.25
    assert scores["f1"] == pytest.approx((2 / 4 + 2 / 3) / 2)


def test_macro_f1_equals_scikit_learn_over_the_true_labels() -> None:
    from sklearn.metrics import f1_score

    golds = ["a", "b", "a", "c", "b", "a"]
    said = ["a", "a", "a", "c", "b", "x"]
    labels = sorted(set(golds))
    assert macro_f1(said, golds) == pytest.approx(f1_score(golds, said, labels=labels, average="macro"))
    assert macro_f1(said, golds) == pytest.approx((2 / 3 + 2 / 3 + 1) / 3), "of a, b and c; nobody is x"


def test_rouge_of_equal_strings_is_one_in_any_script() -> None:
    for text in ("Council approves bridge", "Η γέφυρα", "橋 を 渡る", "🙂🙂", "!!!", "नमस्ते दुनिया", "สวัสดี", "می‌خواهم"):
        assert rouge(text, text) == {"rouge1": pytest.approx(1), "rougeL": pytest.approx(1)}
    assert rouge("bridge approved", "approved bridge")["rougeL"] == pytest.approx(0.5)
    assert rouge("no words alike", "Council approves bridge")["rouge1"] == 0


WORDS = st.lists(st.sampled_from(["a", "b", "c", "A", "Ä", "ä", "straße", "7", "λ", "?"]), max_size=9).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS)
@example("Bridge opens at last", "At last, the bridge opens")
@example("", "a b")
@example("same", "same")
@example("x y", "a b")
@example("Ä ö", "ä")
def test_rouge_is_that_of_the_package_over_words_of_any_script(answer: str, truth: str) -> None:
    class Words:
        def tokenize(self, text: str) -> list[str]:
            return words(text)

    scores = RougeScorer(["rouge1", "rougeL"], tokenizer=Words()).score(truth, answer)
    assert rouge(answer, truth) == {name: score.fmeasure for name, score in scores.items()}


def test_scripts_without_spaces_are_compared_by_character() -> None:
    assert words("橋を渡る会") == ["橋", "を", "渡", "る", "会"]
    assert words("ร้านน้ำ") == ["ร้", "า", "น", "น้", "ำ"]
    assert rouge("渡る橋", "橋を渡る")["rougeL"] == pytest.approx(2 * 2 / 7)
    assert words("한국어 노래") == ["한국어", "노래"], "Korean puts spaces between words"
    assert words("Café") == words("Cafe\u0301") == ["café"], "NFC"
    assert words("が") == words("か\u3099")
    assert words("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"], "vowel signs belong to their letters"


def test_an_emoji_is_a_word_with_all_that_belongs_to_it() -> None:
    family, thumb, flags, key = "👩‍👩‍👧", "👍🏽", "🇫🇷🇩🇪", "1️⃣"
    assert words(f"so{thumb}good {family}☕️{flags}") == ["so", thumb, "good", family, "☕️", "🇫🇷", "🇩🇪"]
    assert words(f"{key} of 2") == [key, "of", "2"]
    assert rouge("tea 🍵", "tea ☕")["rouge1"] == pytest.approx(0.5)
    assert words("\u200f\u200d") == []


@given(st.text(st.characters(codec="latin-1", exclude_categories=("Cf", "So"))))
def test_western_text_is_cut_as_it_always_was(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    found = re.findall(r"\w+", text.lower())
    assert not found or words(text) == found


@given(st.text())
def test_a_text_is_its_own_best_answer_however_it_is_composed(truth: str) -> None:
    if words(truth):
        assert rouge(truth, unicodedata.normalize("NFD", truth))["rougeL"] == pytest.approx(1)
        same, count = shared_words(truth, truth)
        assert same == count > 0


def test_intervals_hold_the_mean_and_shrink_with_people() -> None:
    few, many = summary([0.0, 1.0] * 5), summary([0.0, 1.0] * 200)
    for one in (few, many):
        assert one["low"] < one["mean"] == 0.5 < one["high"]
    assert many["high"] - many["low"] < few["high"] - few["low"]
    assert summary([0.3] * 8) == {"mean": 0.3, "low": 0.3, "high": 0.3, "n_users": 8}


def test_paired_differences_see_what_separate_intervals_hide() -> None:
    base = [0.1 * i for i in range(20)]
    better = [value - 0.05 for value in base]
    difference = paired(better, base)
    assert difference["high"] < 0
    assert summary(better)["high"] > summary(base)["low"]


def people_of(tmp_path: Path, task: str, count: int = 3) -> Path:
    assert main(["smalltown", "--seed", "5", "--users", str(count), "--out", str(tmp_path), "--task", task]) == 0
    return tmp_path / task / "target_users.json"


@pytest.mark.parametrize("task", ["LaMP_4", "LaMP_2"])
def test_the_result_file_holds_every_method_with_interval_and_no_text(
    tiny_town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    users = people_of(tmp_path, task)
    methods = "base,rag,perpcs:prototype,wrong:perpcs:prototype,oppu,wrong:oppu"
    command = ["evaluate", "--pool", str(tiny_town), "--task", task, "--users", str(users), "--methods", methods]
    assert main([*command, "--limit", "2", "--out", str(tmp_path / "out.json")]) == 0
    assert "wrong:oppu" in capsys.readouterr().out
    result = json.loads((tmp_path / "out.json").read_text())
    assert set(result["methods"]) == set(methods.split(","))
    for numbers in result["methods"].values():
        assert numbers["nll"]["low"] <= numbers["nll"]["mean"] <= numbers["nll"]["high"]
        assert numbers["nll"]["n_users"] == 2
    assert result["methods"]["oppu"]["bytes"] > result["methods"]["perpcs:prototype"]["bytes"]
    gold = json.loads(users.read_text())[0]["query"][0]["gold"]
    assert task == "LaMP_2" or gold not in (tmp_path / "out.json").read_text(), "texts only with --with-texts"


def test_oppu_learns_its_person_and_not_another(tiny_town: Path, tmp_path: Path) -> None:
    """On the history itself, which OPPU may fit: its own person's text gets likelier than by the wrong person's."""
    from perpcs.data import read_users
    from perpcs.tasks import Query

    task, pool = get_task("LaMP_4"), Pool(tiny_town)
    base = pool.base("cpu")
    users = read_users(people_of(tmp_path, "LaMP_4"), task)
    users = [User(u.id, u.history, tuple(Query(i.x, i.y, i.id) for i in u.history[:6])) for u in users]
    ready = prepare(base, pool, task, users, "oppu")
    means = []
    for shift in (0, 1):
        rows = answer_all(base, pool, task, users, ready, shift)
        means.append(sum(row["nll"] for own in rows for row in own))
    assert means[0] < means[1]


def test_what_is_shown_goes_with_what_is_carried(tiny_town: Path, tmp_path: Path) -> None:
    """``X+rag:K`` answers with the pieces of X and the prompt of RAG; the controls of PEFT retrieval cost no pass."""
    from perpcs.data import read_users

    task, pool = get_task("LaMP_4"), Pool(tiny_town)
    base = pool.base("cpu")
    users = read_users(people_of(tmp_path, "LaMP_4", 2), task)
    users = [User(u.id, u.history, u.queries[:2]) for u in users]

    def nll(method: str) -> list[float]:
        ready = prepare(base, pool, task, users, method)
        return [row["nll"] for own in answer_all(base, pool, task, users, ready) for row in own]

    alone, shown, carried = nll("base"), nll("rag:1"), nll("retrieval:1")
    assert nll("retrieval:1+rag:1") not in (alone, shown, carried)
    assert len({tuple(alone), tuple(carried), tuple(nll("retrieval:3")), tuple(nll("random"))}) == 4
    with pytest.raises(PerpcsError, match="Did you mean retrieval"):
        prepare(base, pool, task, users, "retrieval:best")


def test_what_is_measured_is_what_the_app_answers_with(tiny_town: Path, tmp_path: Path) -> None:
    """The engine's answer to a query is the evaluation's, whatever the method."""
    from perpcs.data import read_users
    from perpcs.serve.engine import Engine

    task, pool = get_task("LaMP_4"), Pool(tiny_town)
    base = pool.base("cpu", "float64")
    engine = Engine(pool, base)
    users = read_users(people_of(tmp_path, "LaMP_4", 2), task)
    users = [User(u.id, u.history[:8], u.queries[:1]) for u in users]
    for method in ("base", "rag:2", "pag:1", "retrieval", "perpcs:gate", "oppu", "oppu+rag"):
        measured = answer_all(base, pool, task, users, prepare(base, pool, task, users, method))
        for user, (row,) in zip(users, measured, strict=True):
            ready = engine.prepare(task, method, user.history, user=user.id)
            *_, (answer,) = engine.answer_rows(task, [(ready, user.queries[0])])
            assert answer.text == row["answer"], method


def test_bad_calls_are_said(tiny_town: Path) -> None:
    task, pool = get_task("LaMP_4"), Pool(tiny_town)
    base = pool.base("cpu")
    with pytest.raises(PerpcsError, match="both a history and queries"):
        evaluate(base, pool, task, [User("a", ())], ["base"])
    with pytest.raises(PerpcsError, match="Unknown method 'magic'"):
        prepare(base, pool, task, [], "magic")


def test_a_stopped_evaluation_goes_on_with_the_methods_that_are_missing(tiny_town: Path, tmp_path: Path) -> None:
    task, pool = get_task("LaMP_4"), Pool(tiny_town)
    base = pool.base("cpu")
    users = [User(u.id, u.history[:6], u.queries[:1]) for u in read_users(people_of(tmp_path, "LaMP_4", 3), task)]
    methods = ["base", "perpcs:gradient", "wrong:perpcs:gradient"]
    whole = evaluate(base, pool, task, users, methods)

    saved: list[dict] = []
    first = evaluate(
        base, pool, task, users, methods[:2], on_method=lambda result: saved.append(json.loads(json.dumps(result)))
    )
    assert [list(result["methods"]) for result in saved] == [methods[:1], methods[:2]]
    said: list[str] = []
    both = evaluate(base, pool, task, users, methods, before=saved[-1], say=said.append)
    assert not any(line.startswith("base") for line in said)
    for name in methods:
        assert both["examples"][name] == whole["examples"][name]
        assert both["methods"][name].get("nll_minus_base") == whole["methods"][name].get("nll_minus_base")
    assert both["methods"]["base"] == first["methods"]["base"]

    said.clear()
    evaluate(base, pool, task, users[:2], methods[:1], before=saved[-1], say=said.append)
    assert said, "other people are measured anew"


class _Stopped(Exception):
    """As a kill would end it."""


@pytest.mark.parametrize("method", ["perpcs:gradient", "oppu"])
def test_a_stopped_evaluation_prepares_nobody_twice(
    tiny_town: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, pool = get_task("LaMP_4"), Pool(tiny_town)
    base, kept = pool.base("cpu"), tmp_path / "out.json.people"
    users = [User(u.id, u.history[:5], u.queries[:1]) for u in read_users(people_of(tmp_path, "LaMP_4", 3), task)]
    whole = evaluate(base, pool, task, users, [method])
    monkeypatch.setattr(checkpoint, "_GROUP", 1)
    real, asked = registry.prepare, []

    def stopping(setting, people, name, watch=None):
        asked.extend(person.id for person in people)
        if len(asked) == 3:
            raise _Stopped
        return real(setting, people, name, watch)

    monkeypatch.setattr(registry, "prepare", stopping)
    with pytest.raises(_Stopped):
        evaluate(base, pool, task, users, [method], checkpoints=kept)
    assert len(list(kept.iterdir())) == 2
    assert not any(item.x.encode() in path.read_bytes() for path in kept.iterdir() for item in users[0].history)
    next(kept.iterdir()).write_bytes(b"damaged")
    again = evaluate(base, pool, task, users, [method], checkpoints=kept)
    assert len(asked) == 5, "the stopped one and the damaged one"
    assert again["examples"] == whole["examples"]
    assert again["methods"][method]["bytes"] == whole["methods"][method]["bytes"]
    assert not kept.exists(), "an evaluation that has ended keeps nobody"


def test_differences_to_the_base_do_not_depend_on_the_order_of_methods(tiny_town: Path, tmp_path: Path) -> None:
    task, pool = get_task("LaMP_4"), Pool(tiny_town)
    base = pool.base("cpu")
    users = [User(u.id, u.history[:5], u.queries[:1]) for u in read_users(people_of(tmp_path, "LaMP_4", 3), task)]
    one, other = (evaluate(base, pool, task, users, names) for names in (["uniform", "base"], ["base", "uniform"]))
    assert one["methods"]["uniform"]["nll_minus_base"] == other["methods"]["uniform"]["nll_minus_base"]


def test_answers_that_nobody_knows_are_never_scored(tiny_town: Path, tmp_path: Path) -> None:
    task, pool = get_task("LaMP_4"), Pool(tiny_town)
    base = pool.base("cpu")
    user = read_users(people_of(tmp_path, "LaMP_4", 1), task)[0]
    known, unknown = user.queries[0], replace(user.queries[1], gold=None)
    ready = prepare(base, pool, task, [user], "base")
    both = person_nll(base, pool, task, [User("a", user.history, (known, unknown))], ready)
    assert both == person_nll(base, pool, task, [User("a", user.history, (known,))], ready)
    with pytest.raises(PerpcsError, match="No query"):
        person_nll(base, pool, task, [User("a", user.history, (unknown,))], ready)
