"""What is measured of how somebody writes, and what sets them apart."""

import pytest

from perpcs.figures.answers import likeness_html, likeness_title, traits_of
from perpcs.tasks import TASKS, Item
from perpcs.tasks.task import TRAITS, Habits, own_texts, style_match, style_of


@pytest.mark.parametrize(
    ("text", "trait", "value"),
    [
        ("why rivers bend", "casing", "lower case"),
        ("STOP THE CLOCKS", "casing", "capital letters"),
        ("Seven Ways to Cook an Egg", "casing", "every word with a capital"),
        ("Fans STORM the pitch", "casing", "a word in capital letters"),
        ("Council votes on bridge", "casing", "sentence case"),
        ("123 !!", "casing", "no casing"),
        ("Paris", "casing", "sentence case"),
        ("why rivers bend", "opens with", "how, why or what"),
        ("12 things", "opens with", "a number"),
        ("“No,” says the mayor", "opens with", "a quotation"),
        ("Learning to rank", "opens with", "a verb in -ing"),
        ("Sing along", "opens with", "another word"),
        ("On sparsity", "opens with", "on, toward or for"),
        ("", "opens with", "another word"),
        ("Is it over?", "ends with", "a question mark"),
        ("He said “stop.”", "ends with", "a full stop"),
        ("and then...", "ends with", "an ellipsis"),
        ("great day! 🎉", "ends with", "an exclamation mark"),
        ("rain", "ends with", "no end mark"),
        ("BERT: a survey", "inside", "a colon"),
        ("good day 🎉", "extras", "emoji"),
        ("good #day", "extras", "hashtags"),
        ("C# and @home", "extras", "mentions"),
        ("one two three four five six seven", "length", "7 to 9 words"),
        ("word " * 30, "length", "over 20 words"),
    ],
)
def test_each_trait_is_read_from_the_text(text, trait, value):
    assert style_of(text)[trait] == value


def test_an_answer_is_as_alike_as_traits_agree():
    assert style_match("why dogs bark", "why cats purr") == 1
    assert style_match("Why Dogs Bark", "why cats purr") == pytest.approx(1 - 1 / len(TRAITS))


def test_what_sets_a_person_apart_comes_first_and_plain_habits_never():
    listing = Habits.of(f"{n} Ways To Cook An Egg" for n in range(3, 9))
    plain = Habits.of(["Council votes on bridge", "Mayor opens school"])
    assert [trait for trait, *_ in listing.visible()] == ["opens with", "casing", "length"]
    titled = Habits.of(["The Mayor Opens School", "A Bridge For The Town"])
    assert listing.visible([titled, plain])[0] == ("opens with", "a number", 1.0), "others write in this casing too"
    assert all(trait == "length" for trait, *_ in plain.visible())
    assert Habits.of([]).visible() == []
    assert Habits.of([]).usual("casing") == ("", 0.0)


def test_only_what_a_person_wrote_themselves_is_measured():
    item = Item(x="given", y="made")
    assert own_texts(TASKS["LaMP_4"], [item]) == ["made"]
    assert own_texts(TASKS["LaMP_7"], [Item(x="a tweet")]) == ["a tweet"]
    assert own_texts(TASKS["LaMP_3"], [item]) == ["given"]
    assert own_texts(TASKS["LaMP_2"], [item]) == []


def test_the_table_says_who_keeps_the_most_visible_trait():
    habits = Habits.of(["why rain falls", "why cats purr"])
    answers = {"Base": "Why Dogs Bark", "Ours": "why dogs bark"}
    title = likeness_title("Ada", habits, answers)
    assert title == "Ada’s most visible trait, lower case (100 % of 2 items): Ours has it, Base lacks it"
    assert likeness_title("Ada", habits, {"Base": "Dogs"}).endswith("no answer has it")
    assert likeness_title("Ada", habits, {"Ours": "dogs"}).endswith("every answer has it")
    html = likeness_html("Ada", habits, answers, gold="why dogs <b>bark</b>")
    count = len(traits_of(habits))
    assert f"<b>{count} of {count}</b>" in html
    assert f"<b>{count - 1} of {count}</b>" in html
    assert "<b>bark" not in html
