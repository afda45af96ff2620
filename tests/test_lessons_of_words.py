"""Lessons for texts in which words are others than people wrote: ones that nobody heard, and ones in another casing."""

import random
import re
from collections import Counter
from dataclasses import replace

import pytest
from test_lessons import lessons_of, section, town_users
from test_lessons_of_looking import asked

from perpcs.data.smalltown import MAKERS
from perpcs.pool.unheard import SHARE, unheard, unheard_item, unheard_query, word
from perpcs.tasks import Item, Query, get_task

# ---- words that nobody has heard ------------------------------------------------------------------------------------


def test_words_shared_by_text_and_answer_are_replaced_alike_and_in_their_own_casing():
    x = "Alan Reed of Kennet closed the mill. KENNET mourns; the mill was old and the reed tall."
    y = "MILL at Kennet closed since Alan left"
    changed = 0
    for seed in range(200):
        new_x, new_y = unheard(random.Random(seed), x, y)
        old, new = re.findall(r"\w+", x), re.findall(r"\w+", new_x)
        said = {a.lower(): b.lower() for a, b in zip(old, new, strict=True)}
        for a, b in zip(old, new, strict=True):
            assert said[a.lower()] == b.lower()
            assert (a.isupper(), a[0].isupper()) == (b.isupper(), b[0].isupper())
            if a.lower() not in ("alan", "kennet", "closed", "mill"):
                assert a == b  # not of the answer
        for a, b in zip(re.findall(r"\w+", y), re.findall(r"\w+", new_y), strict=True):
            assert b.lower() == said.get(a.lower(), a.lower())
        changed += sum(said[name] != name for name in ("alan", "kennet", "closed", "mill"))
    assert abs(changed / 800 - SHARE) < 0.08


def test_words_of_grammar_stay_and_texts_without_shared_words_do_too():
    assert unheard(random.Random(1), "They have been there before", "they have BEEN there") == (
        "They have been there before",
        "they have BEEN there",
    )
    assert unheard(random.Random(1), "Boats won a race", "seven robots") == ("Boats won a race", "seven robots")


def test_unheard_words_are_letters_of_a_fair_length_and_seldom_come_twice():
    rng = random.Random(0)
    drawn = [word(rng) for _ in range(3000)]
    assert all(re.fullmatch(r"[a-z]{4,14}", one) for one in drawn)
    assert len(set(drawn)) > 2800


def test_items_and_queries_keep_everything_else():
    rng = random.Random(3)
    item = unheard_item(rng, Item(x="Bagels sold by Simmons", y="Simmons and Bagels", id="7"))
    assert item.id == "7"
    assert item.y != "Simmons and Bagels"
    assert unheard_item(rng, Item(x="only a text")) == Item(x="only a text")
    query = unheard_query(rng, Query(x="Bagels sold by Simmons", gold="Simmons and Bagels", id="9"))
    assert query.id == "9"
    assert query.gold != "Simmons and Bagels"
    assert unheard_query(rng, Query(x="a text")) == Query(x="a text")


@pytest.mark.parametrize("task", list(MAKERS))
def test_a_share_of_lessons_for_texts_hold_unheard_words_that_their_answers_take(task):
    kind, users = get_task(task), town_users(task, count=20)
    plain, found = (lessons_of(kind, users, with_history=0.4, unheard=share) for share in (0.0, 0.5))
    changed = [(a, b) for a, b in zip(plain, found, strict=True) if a != b]
    if kind.labels:
        assert changed == []
        return
    items = sum(item is None or item.y is not None for item in asked(users))  # what is free text is learned as it is
    assert 0.3 < len(changed) / items < 0.55  # now and then nothing is replaced
    for _, lesson in changed:
        text = section(lesson.prompt, "User Instruction") + section(lesson.prompt, "User History")
        assert len(lesson.target.split()) > 0
        assert all(lesson.prompt[a:b].strip() in text for a, b in lesson.answers)


# ---- texts in another casing ----------------------------------------------------------------------------------------


def casing_of(text):
    """What a text is written in; names with capitals inside say nothing."""
    letters = "".join(word for word in text.split() if not re.search("[a-z][A-Z]", word))
    return "capitals" if letters == letters.upper() else "small" if letters == letters.lower() else "mixed"


@pytest.mark.parametrize("task", list(MAKERS))
def test_a_share_of_texts_that_show_some_is_in_one_casing_throughout(task):
    kind, users = get_task(task), town_users(task, count=30, history=(6, 10))
    plain, found = (lessons_of(kind, users, with_history=0.5, recased=share) for share in (0.0, 0.6))
    changed = [(a, b) for a, b in zip(plain, found, strict=True) if a != b]
    if kind.labels:
        assert changed == []
        return
    counts = Counter()
    for before, lesson in changed:
        casing = casing_of(lesson.target)
        answers = [lesson.prompt[low:high] for low, high in lesson.answers]
        assert {casing, *map(casing_of, answers)} == {casing}
        assert before.prompt.lower() == lesson.prompt.lower()
        assert before.target.lower() == lesson.target.lower()
        asked_for = section(lesson.prompt, "User Instruction")
        assert asked_for
        assert section(before.prompt, "User Instruction") == asked_for
        counts[casing] += 1
    assert counts["mixed"] == 0
    assert counts["capitals"] > 1.3 * counts["small"] > 0
    shows = [lesson for lesson in plain if section(lesson.prompt, "User History")]
    assert 0.4 < len(changed) / len(shows) < 0.65  # some were so before


def test_a_name_with_capitals_inside_stays_as_it_is():
    item = Item(x="an abstract", y="Forests for Seats (QuinBase) In iOS, by hand")
    users = [replace(town_users("LaMP_5", count=1)[0], history=(item,) * 6)]
    found = {lesson.target for lesson in lessons_of(get_task("LaMP_5"), users, with_history=1.0, recased=1.0)[1:]}
    assert " FORESTS FOR SEATS (QuinBase) IN iOS, BY HAND" in found
