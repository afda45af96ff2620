"""What an answer is marked for: loops, emptiness, non-words; and what is no reason for a mark."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpcs.serve.answer import looping, marks_of, unknown_words, word_check, words_of

EXAMPLES = Path(__file__).resolve().parents[1] / "assets" / "examples"
WORDS = ("seals", "return", "river", "bread", "council", "votes", "again", "slowly")


@pytest.mark.parametrize("text", ["", "   ", "...", "—!?"])
def test_an_answer_without_a_word_is_empty(text):
    found = marks_of(text)
    assert (found.empty, found.label) == (True, "empty")
    assert "empty" in found.says


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        ("i i i i i i", "i"),
        ("The cat, the cat; the cat", "the cat"),
        ("Council votes on bread and on bread and on bread and rests", "on bread and"),
        ("bread is bread and bread or bread", "bread"),
        ("So so so tired", "so"),
    ],
)
def test_a_loop_is_told_with_what_comes_again(text, loop):
    found = marks_of(text)
    assert (found.loop, found.label) == (loop, "loops")
    assert f"“{loop}”" in found.says


@pytest.mark.parametrize("text", ["Bread, bread", "The cat the cat sat", "On and on and off", "bread bread toast"])
def test_saying_something_twice_is_no_loop(text):
    assert not marks_of(text)


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), st.integers(3, 5))
def test_any_words_three_times_in_a_row_loop(words, times):
    assert looping(words * times)


@given(st.permutations(WORDS))
def test_words_that_all_differ_never_loop(words):
    assert looping(words) == ""


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("snarfle is blorping now", ("snarfle", "blorping")),
        ("Why Flon Satur Ap Why P", ("Flon", "Satur", "Ap")),
        ("a well-blorped story", ("well-blorped",)),
    ],
)
def test_what_is_no_word_is_named(text, unknown):
    found = marks_of(text)
    assert (found.unknown, found.label) == (unknown, "contains a non-word")
    assert unknown[0] in found.says


@pytest.mark.parametrize(
    "text",
    [
        "Nell's neighbours organised a colour festival in the city centre",
        "Rain on the Thames Again",
        "Zelenskyy meets Xbqz",
        "3.5bn for b2b #blorp @snarfle",
        "can't won't she's goin' state-of-the-art e-mail Q&A",
        "café naïve",
        "Subword Tokenisation for Low-Resource Treebanks",
        "vitamin d and plan b",
    ],
)
def test_names_numbers_tags_spellings_and_compounds_are_no_non_words(text):
    assert not marks_of(text)


def test_the_words_of_the_question_and_of_shown_items_are_words():
    assert marks_of("snarfle is blorping now").unknown
    assert not marks_of("snarfle is blorping now", ["A Snarfle came.", "Blorping, he said"])
    assert unknown_words(["snarfle", "quolp"], words_of(["the snarfle’s den"])) == ("quolp",)


@pytest.mark.parametrize("task", ["LaMP_4", "LaMP_5", "LaMP_7"])
def test_what_the_example_people_wrote_themselves_is_not_marked(task):
    people = json.loads((EXAMPLES / f"{task}.json").read_bytes())
    golds = [(query["gold"], query["input"]) for person in people for query in person["query"]]
    assert len(golds) >= 24
    assert [gold for gold, asked in golds if marks_of(gold, [asked])] == []


# ---- while an answer is decoded --------------------------------------------------------------------------------------


def test_a_word_that_would_be_marked_is_refused_and_others_are_not():
    check = word_check("I left my umbrella at the snarfle shop and it rained all the way home.", ["A quolp came"])
    assert check("it was blorping")
    assert check("oh well well well")
    assert not check("it was blorping outside"), "only the last word is asked about"
    for fine in ("umbrella", "the snarfle", "a Quolp", "Blorpington", "lol", "#blorping", "3.5", "don't"):
        assert not check(f"it was {fine}"), fine


def test_a_question_in_another_language_has_no_check():
    assert word_check("Gestern habe ich meinen Regenschirm beim Zahnarzt vergessen und wurde ganz nass") is None
    assert word_check("昨日は雨が降りました") is None
    assert word_check("") is not None
