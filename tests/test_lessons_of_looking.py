"""Lessons from which a base model learns to look at a prompt: labels that no reading gives."""

import re
from collections import Counter
from dataclasses import replace

import pytest
from test_lessons import lessons_of, section, town_users

from perpcs.data.smalltown import make_people
from perpcs.data.smalltown.citations import ELSEWHERE
from perpcs.pool.adapt import LABEL_WEIGHT
from perpcs.pool.lessons import (
    BY_TASTE,
    CHOOSING,
    FINDING,
    FITTING,
    LOOKING,
    RECALLING,
    choice_lessons,
    looking_lessons,
    reading_lessons,
    taste_lessons,
    town_lessons,
)
from perpcs.pool.recipe import TINY
from perpcs.tasks import get_task


def asked(users):
    """The item of each lesson, None for a query's."""
    return [item for user in users for item in [*user.history, *([None] * len(user.queries))]]


def base_lessons_of_items(kind, users, **options):
    """(lesson, item) of all items."""
    rows = zip(lessons_of(kind, users, **options), asked(users), strict=True)
    return [(lesson, item) for lesson, item in rows if item is not None]


# ---- labels that no reading gives -----------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["LaMP_2", "LaMP_3"])
def test_strange_lessons_are_solved_by_looking_alone(task):
    """Half show the very item, its label drawn at random; in the others each label stands for another throughout."""
    kind, users = get_task(task), town_users(task, count=60, history=(10, 20))
    found = lessons_of(kind, users, with_history=0.3, strange=1.0)
    by_x = {item.x: item for user in users for item in user.history}
    copied, exchanged, drawn = 0, 0, Counter()
    for lesson, item in zip(found, asked(users), strict=True):
        if item is None:
            continue
        assert lesson.answers == ()  # what is drawn at random is not learned
        assert section(lesson.prompt, "User Profile") == ""
        y = lesson.target.strip()
        shown = []
        for line in section(lesson.prompt, "User History").splitlines():
            x, label = re.split(r" (?:Tag|Score): ", line.split(": ", 1)[1])
            shown.append((by_x[x], label))
        if any(one is item for one, _ in shown):
            assert (item, y) in shown
            drawn[y] += 1
            copied += 1
        else:
            names = dict([(item.y, y), *((one.y, label) for one, label in shown)])
            assert all(names[one.y] == label for one, label in shown)
            assert len(set(names.values())) == len(names)
            assert 0 < len(shown) <= 4
            exchanged += 1
    assert abs(exchanged / (copied + exchanged) - 0.5 * 11 / 15) < 0.1  # the first four items are always copied
    assert set(drawn) == set(kind.labels)
    assert max(drawn.values()) < 2.5 * copied / len(kind.labels)


@pytest.mark.parametrize("alone", [0.0, 1.0])
def test_the_very_item_stands_among_others_or_alone(alone):
    kind, users = get_task("LaMP_3"), town_users("LaMP_3", count=12, history=(10, 12))
    found = base_lessons_of_items(kind, users, strange=1.0, alone=alone)
    shown = [(section(lesson.prompt, "User History"), item.x) for lesson, item in found]
    sizes = [len(history.splitlines()) for history, x in shown if x in history]
    assert len(sizes) > 30
    assert max(sizes) == (1 if alone else 4)
    assert sizes.count(4) > len(sizes) / 3 or alone


def test_strange_choices_show_the_very_item_and_cite_either():
    kind, users = get_task("LaMP_1"), town_users("LaMP_1", count=20)
    turned = 0
    rows = base_lessons_of_items(kind, users, strange=1.0)
    for lesson, item in rows:
        options = dict(re.findall(r"(\[[12]\]) - (.*?)(?= \[2\] - | Answer:$)", lesson.prompt))
        cited = options[lesson.target.strip()]
        passed = ({item.y, item.other} - {cited}).pop()
        assert f"{cited} rather than {passed}" in section(lesson.prompt, "User History")
        turned += cited != item.y
    assert abs(turned / len(rows) - 0.5) < 0.12


# ---- a taste drawn at random ----------------------------------------------------------------------------------------


def lessons_by_taste(task, **options):
    """(prompt, (item, answer) of those shown, item asked about, answer) of lessons in which a drawn taste decides, and
    what each item leaves to choose from.
    """
    kind = get_task(task)
    people = make_people(task, seed=7, count=30, split="base", history=(10, 20))
    users = [replace(person.user, queries=()) for person in people]
    notes = {id: said for person in people for id, said in person.notes.items()}
    by_text = {item.x: item for user in users for item in user.history}
    rows = []
    found = base_lessons_of_items(kind, users, with_history=0.0, taste=1.0, notes=notes, last=ELSEWHERE, **options)
    for lesson, item in found:
        history = section(lesson.prompt, "User History")
        if not history:
            continue  # no earlier item leaves the same choice
        assert lesson.answers == ()
        answer = lesson.target.strip().partition(" Notes:")[0]
        if kind.has_options:
            answer = dict(re.findall(r"(\[[12]\]) - (.*?)(?= \[2\] - | Answer:$)", lesson.prompt))[answer]
        shown = []
        for line in history.splitlines():
            x, y = re.split(r" (?:Tag|Cites): ", line.split(": ", 1)[1])
            shown.append((by_text[x], y.partition(" rather than ")[0]))
        rows.append((shown, item, answer))
    if kind.has_options:
        fits = {id: dict(said) for id, said in notes.items()}
    else:
        fits = {id: {tag: tag for tag in said[0][1].split(", ")} for id, said in notes.items()}
    return rows, fits


@pytest.mark.parametrize("task", ["LaMP_1", "LaMP_2"])
@pytest.mark.parametrize("alone", [0.0, 1.0])
def test_one_order_decides_all_that_a_lesson_by_taste_shows_and_asks(task, alone):
    rows, fits = lessons_by_taste(task, alone=alone)
    assert len(rows) > 150
    turned = 0
    for shown, item, answer in rows:
        chosen = [(fits[one.id], y) for one, y in [*shown, (item, answer)]]
        before = {(left[y], other) for left, y in chosen for other in left.values() if other != left[y]}
        assert not any((b, a) in before for a, b in before)  # nothing goes before what goes before it
        assert not any(first.endswith(ELSEWHERE) for first, _ in before)
        alike = [y for one, y in shown if len(set(fits[one.id].values()) & set(fits[item.id].values())) > 1]
        assert alike
        assert len(shown) == 1 if alone else len(shown) <= 4
        if alone:
            assert fits[item.id][answer] == fits[shown[0][0].id][shown[0][1]]
        turned += answer != item.y
    assert {len(shown) for shown, _, _ in rows} >= ({1} if alone else {2, 3, 4})
    assert 0.3 < turned / len(rows) < 0.8  # whose items they are says nothing


def test_by_taste_nothing_is_asked_where_answers_are_no_choice_between_what_is_noted():
    kind, users = get_task("LaMP_3"), town_users("LaMP_3", count=6)
    assert lessons_of(kind, users, with_history=0.4, taste=1.0) == lessons_of(kind, users, with_history=0.4)


@pytest.mark.parametrize("task", ["LaMP_2", "LaMP_4"])
def test_without_a_share_lessons_are_as_they_were_and_texts_are_never_strange(task):
    kind, users = get_task(task), town_users(task)
    plain = lessons_of(kind, users, with_history=0.4)
    assert lessons_of(kind, users, with_history=0.4, strange=0.0, told=0.0, unheard=0.0) == plain
    assert (lessons_of(kind, users, with_history=0.4, strange=1.0) == plain) == (task == "LaMP_4")


@pytest.mark.parametrize("task", ["LaMP_1", "LaMP_2", "LaMP_3", "LaMP_5"])
def test_a_told_manner_stands_in_the_place_of_the_profile(task):
    kind = get_task(task)
    people = make_people(task, seed=7, count=30, split="base", history=(4, 12))
    manners = {person.id: person.manner for person in people}
    assert all(bool(manner) == bool(kind.labels) for manner in manners.values())
    found = lessons_of(kind, [p.user for p in people], with_profile=0.3, manners=manners, told=0.4)
    ids = [person.id for person in people for _ in (*person.history, *person.queries)]
    told = 0
    for lesson, id in zip(found, ids, strict=True):
        profile = section(lesson.prompt, "User Profile")
        if profile.startswith("{"):
            assert profile == f"{{{manners[id]}}}"
            told += 1
    assert abs(told / len(found) - (0.4 if kind.labels else 0.0)) < 0.06


def test_a_named_choice_is_told_what_is_chosen_and_shows_nothing():
    """The profile is the note on the cited option, either one as often, and of the other one it is not true."""
    people = make_people("LaMP_1", seed=7, count=20, split="base", history=(10, 20))
    users = [replace(person.user, queries=()) for person in people]
    notes = {id: said for person in people for id, said in person.notes.items()}
    rows = base_lessons_of_items(get_task("LaMP_1"), users, with_history=0.5, named=1.0, marks=1.0, notes=notes)
    turned = named = marked = 0
    for lesson, item in rows:
        of_option = dict(notes[item.id])
        profile = section(lesson.prompt, "User Profile")
        if len(set(of_option.values())) < 2:
            assert profile == ""  # both are the same: neither can be named
            continue
        assert section(lesson.prompt, "User History") == ""
        assert lesson.answers == ()
        options = dict(re.findall(r"(\[[12]\]) - (.*?)(?= \[2\] - | Answer:$)", lesson.prompt))
        texts = {label: re.sub(r" \{[^{}]*\}$", "", option) for label, option in options.items()}
        answer = lesson.target.strip()[:3]
        assert profile == f"{{{of_option[texts[answer]]}}}"
        assert set(texts.values()) == {item.y, item.other}
        marked += options != texts
        turned += texts[answer] != item.y
        named += 1
    assert named > 200
    assert abs(turned / named - 0.5) < 0.1
    assert marked / named > 0.8


def test_where_nothing_is_named_only_one_of_the_two_is_of_this_paper():
    """The other one is of any of the writer's papers, so that no sort of reference tells that it does not fit."""
    people = make_people("LaMP_1", seed=7, count=20, split="base", history=(10, 20))
    users = [replace(person.user, queries=()) for person in people]
    notes = {id: said for person in people for id, said in person.notes.items()}
    known = {"notes": notes, "last": ELSEWHERE, "end": "<|end|>"}
    said_of_text = {text: what for said in notes.values() for text, what in said}
    seen = Counter()
    for lesson, item in base_lessons_of_items(get_task("LaMP_1"), users, with_history=0.0, named=1.0, **known):
        options = dict(re.findall(r"(\[[12]\]) - (.*?)(?= \[2\] - | Answer:$)", lesson.prompt))
        answer = lesson.target.partition("<|end|>")[0]
        if section(lesson.prompt, "User Profile"):
            assert decided_by_what_is_named(lesson)
            assert not any(what.endswith(ELSEWHERE) for _, what in notes[item.id])
            seen["named"] += 1
        elif set(options.values()) != {item.y, item.other}:
            chosen = options.pop(answer.strip())
            (foreign,) = options.values()
            assert chosen in (item.y, item.other)
            assert not said_of_text[chosen].endswith(ELSEWHERE)
            assert not set(re.findall(r"\w{4,}", foreign.lower())) & set(re.findall(r"\w{4,}", item.x.lower()))
            assert decided_by_what_is_named(lesson)
            assert foreign in said_of_text
            seen["as it is", said_of_text[foreign].endswith(ELSEWHERE)] += 1
            seen[answer.strip()] += 1
    assert seen["named"] > 80
    assert seen["as it is", False] > 4 * seen["as it is", True] > 0  # most of them fit a paper, though not this one
    assert abs(seen["[1]"] - seen["[2]"]) < 0.3 * (seen["[1]"] + seen["[2]"])


def decided_by_what_is_named(lesson):
    """Whether the answer is what a prompt names, or where it names nothing the one reference that fits."""
    answer, _, notes = lesson.target.partition("<|end|> Notes: ")
    whats = dict(note.split(" ", 1) for note in notes.split("; "))
    named = section(lesson.prompt, "User Profile").strip("{}")
    fit = [what for what in whats.values() if not what.endswith(ELSEWHERE)]
    return whats[answer.strip()] == named if named else [whats[answer.strip()]] == fit


def test_only_choices_are_named():
    kind, users = get_task("LaMP_2"), town_users("LaMP_2", count=6)
    assert lessons_of(kind, users, with_history=0.4, named=1.0) == lessons_of(kind, users, with_history=0.4)


FORTY = replace(TINY, tasks=tuple(replace(part, base_users=40) for part in TINY.tasks))


def asks_for_a_label(lesson):
    """Whether a lesson asks for a label: those texts that are learned as they are ask for nothing."""
    return any(lesson.prompt.endswith(f" {what}:") for what in ("Tag", "Score", "Answer"))


def test_reading_lessons_are_for_texts_above_all_and_labels_are_looked_up_in_some():
    found = reading_lessons(FORTY)
    for_labels = [lesson for lesson in found if asks_for_a_label(lesson)]
    assert 0.05 < len(for_labels) / len(found) < 0.5
    assert {lesson.weight for lesson in for_labels} == {LABEL_WEIGHT}
    assert {lesson.weight for lesson in found if not asks_for_a_label(lesson)} == {1}
    everything = town_lessons(FORTY)
    assert len(for_labels) < sum(map(asks_for_a_label, everything)) / 4
    assert len(found) - len(for_labels) == len(everything) - sum(map(asks_for_a_label, everything))


def test_lessons_of_looking_are_solved_by_it():
    """Each label is told by what its prompt shows, some are of another task; choices are none of them."""
    found = looking_lessons(FORTY, LOOKING)
    texts = [lesson for lesson in found if not asks_for_a_label(lesson)]
    assert 0.1 < len(texts) / len(found) < 0.9
    found = [lesson for lesson in found if asks_for_a_label(lesson)]
    tags, scores = get_task("LaMP_2").labels, get_task("LaMP_3").labels
    kinds = Counter()
    for lesson in found:
        answer = lesson.target.partition("<|end|>")[0].strip()
        assert section(lesson.prompt, "User History")
        own = tags if lesson.prompt.endswith(" Tag:") else scores
        kinds["own" if answer in own else "other"] += 1
        assert answer in {*tags, *scores}
    assert min(kinds[what] for what in ("own", "other")) > 40


def test_lessons_of_choosing_are_choices_alone_and_those_of_fitting_name_nothing():
    for shares, share in ((FITTING, 0.0), (CHOOSING, 0.45)):
        found = choice_lessons(FORTY, shares)
        named = [lesson for lesson in found if section(lesson.prompt, "User Profile")]
        assert len(found) > 100
        assert len(named) / len(found) == pytest.approx(share, abs=0.07 * bool(share))
        for lesson in found:
            assert lesson.prompt.endswith(" Answer:")
            assert section(lesson.prompt, "User History") == ""
            assert decided_by_what_is_named(lesson)
            assert shares is CHOOSING or "{" not in lesson.prompt


def test_lessons_of_recalling_show_one_item_that_leaves_the_same_choice_or_name_it():
    found = choice_lessons(FORTY, RECALLING)
    shown = [section(lesson.prompt, "User History") for lesson in found]
    assert len(found) > 100
    assert 0.5 < sum(map(bool, shown)) / len(found) < 0.9
    for lesson, history in zip(found, shown, strict=True):
        assert lesson.prompt.endswith(" Answer:")
        assert history.count("\n") == 0
        assert history or decided_by_what_is_named(lesson)


def test_lessons_of_finding_show_others_beside_the_item_that_tells():
    shown = [section(lesson.prompt, "User History").count("Paper Title:") for lesson in choice_lessons(FORTY, FINDING)]
    count = Counter(shown)
    assert count.keys() == {0, 1, 2, 3, 4}
    assert min(count[many] for many in (2, 3, 4)) > count[1] / 2
    assert sum(many > 1 for many in shown) / len(shown) > 0.5


def test_lessons_of_taste_are_told_by_what_is_named_or_shown():
    found = taste_lessons(FORTY, BY_TASTE)
    texts = [lesson for lesson in found if not asks_for_a_label(lesson)]
    assert 0.1 < len(texts) / len(found) < 0.8
    found = [lesson for lesson in found if asks_for_a_label(lesson)]
    assert {lesson.weight for lesson in found} == {32}
    assert {lesson.answers for lesson in found} == {()}
    asked = Counter()
    for lesson in found:
        named = section(lesson.prompt, "User History") == ""
        assert decided_by_what_is_named(lesson) if named else section(lesson.prompt, "User Profile") == ""
        asked["named" if named else lesson.prompt.rsplit(" ", 1)[-1]] += 1
    assert asked.keys() == {"named", "Tag:", "Score:", "Answer:"}
    assert min(asked.values()) > 30
