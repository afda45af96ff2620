"""What a base model learns from: profiles by counting, and lessons with history, profile, notes and marks."""

import random
import re
from collections import Counter

import pytest
from test_smalltown_citations import kind_of
from test_smalltown_tasks import MODULES

from perpcs.data.profile import statistics
from perpcs.data.smalltown import MAKERS, citations, make_people, ratings
from perpcs.data.smalltown.products import LEVELS
from perpcs.model.text import Lesson
from perpcs.pool.adapt import LABEL_WEIGHT, Said, Shares, base_lessons
from perpcs.tasks import Item, Query, User, get_task

# ---- profiles by counting -------------------------------------------------------------------------------------------


def history_of(*rows: tuple[str, ...]) -> list[Item]:
    """Items of (x,), (x, y) or (x, y, other)."""
    return [Item(x=row[0], y=row[1] if len(row) > 1 else None, other=row[2] if len(row) > 2 else "") for row in rows]


@pytest.mark.parametrize(
    ("task", "rows", "expected"),
    [
        ("LaMP_2", [("a", "comedy"), ("b", "action"), ("c", "comedy")], "Of 3: comedy 2, action 1."),
        ("LaMP_2N", [("a", "sports"), ("b", "crime")], "Of 2: crime 1, sports 1."),
        ("LaMP_3", [("a", "4"), ("b", "2"), ("c", "4")], "Mean 3.3 of 3: 4 2, 2 1."),
        (
            "LaMP_4",
            [
                ("a", "why did the mill close?"),
                ("b", "why did the council wait?"),
                ("c", "why did prices rise? #news"),
                ("d", "storm hits harbour"),
                ("e", "fair opens today..."),
            ],
            "4 words, lower case 10/10, ? 6/10, ... 2/10, # 2/10, begins why 6/10.",
        ),
        (
            "LaMP_5",
            [
                ("a", "Towards Better Maps for Ships (SOLVAR)"),
                ("b", "Towards Maps: A Study of the Sea"),
                ("c", "Towards maps"),
                ("d", "Towards many maps by ship"),
                ("e", "Towards Maps of Wide Seas"),
            ],
            "5 words, title case 6/10, : 2/10, ( 2/10, begins Towards 10/10.",
        ),
        (
            "LaMP_7",
            [("UGH, NO BUS AGAIN LOL",), ("UGH, RAIN LOL",), ("Ugh, sunny day lol",)],
            "4 words, capitals 7/10, begins UGH, 7/10, ends LOL 7/10.",
        ),
        (
            "LaMP_1",
            [("a", "A Survey of Maps", "Maps Considered Harmful"), ("b", "Survey of Codes")],
            "Cites: survey, codes.",
        ),
        ("LaMP_1", [("a", "A Survey of Maps", "Maps: A Survey")], ""),
        ("LaMP_1", [("a paper without what it cites",)], ""),
        ("LaMP_1", [("a", "i h g f e d c b j", "k")], "Cites: b, c, d, e, f, g, h, i."),
        (
            "LaMP_4",
            [("a", "The mill on the hill has closed")],
            "7 words, sentence case 10/10, begins The 10/10, ends closed 10/10.",
        ),
    ],
)
def test_profiles_by_hand(task, rows, expected):
    assert statistics(get_task(task), history_of(*rows)) == expected


@pytest.mark.parametrize("task", [*MODULES, "LaMP_2", "LaMP_2N", "LaMP_4"])
def test_a_profile_of_nothing_is_empty(task):
    assert statistics(get_task(task), []) == ""


@pytest.mark.parametrize("task", MAKERS)
def test_a_profile_is_one_short_line_and_differs_between_people(task):
    people = make_people(task, seed=1, count=12, split="base", history=(20, 20))
    lines = [statistics(get_task(task), person.history) for person in people]
    assert len(set(lines)) > 6
    assert all(line and "\n" not in line and len(line) < 250 and line.endswith(".") for line in lines)


def test_a_profile_of_citations_names_what_marks_the_favourite_kind():
    """Of two kinds met with everything alike, only the words of the cited kind are left."""
    rows = [(f"paper {i}", f"A Survey of Topic {i}", f"The Trouble with Topic {i}") for i in range(6)]
    assert statistics(get_task("LaMP_1"), history_of(*rows)) == "Cites: survey."


# ---- what a base model is adapted on --------------------------------------------------------------------------------


def town_users(task: str, count: int = 12, history: tuple[int, int] = (4, 12)) -> list[User]:
    return [person.user for person in make_people(task, seed=7, count=count, split="base", history=history)]


def lessons_of(task, users, seed=0, **options):
    """Lessons, with what they show and what is known beside the texts by name."""
    known = {name: options.pop(name) for name in ("notes", "evidence", "manners", "last", "end") if name in options}
    return base_lessons(task, users, Shares(**options), Said(**known), seed)


def section(prompt: str, name: str) -> str:
    """The text of a section of a prompt, "" where it is not there."""
    found = re.search(rf"(?:^|\n)### {name}:\n(.*?)(?=\n### |$)", prompt, flags=re.DOTALL)
    return found[1] if found else ""


def lessons_beside(task: str, users, **options):
    """(lesson, what was earlier, the item or query) of all lessons."""
    asked = [(user.history[:i], item) for user in users for i, item in enumerate(user.history)]
    by_user = iter(asked)
    pairs = []
    for user in users:
        pairs += [next(by_user) for _ in user.history]
        pairs += [(user.history, query) for query in user.queries]
    lessons = lessons_of(get_task(task), users, **options)
    return [(lesson, *pair) for lesson, pair in zip(lessons, pairs, strict=True)]


@pytest.mark.parametrize("task", MAKERS)
def test_prompts_show_strictly_earlier_items_and_spans_are_their_answers(task):
    kind, some = get_task(task), 0
    for lesson, earlier, asked in lessons_beside(task, town_users(task), with_history=0.6, with_profile=0.5):
        if task == "LaMP_7" and isinstance(asked, Item):
            assert lesson == Lesson("", asked.x)
            continue
        profile = section(lesson.prompt, "User Profile")
        assert profile in ("", statistics(kind, earlier))
        by_line = {kind.render_item(item): item for item in earlier}
        lines = section(lesson.prompt, "User History").splitlines()
        shown = [by_line[line] for line in lines]  # a KeyError is an item that is not earlier
        assert len(shown) == len(set(shown)) <= 4
        query = asked if isinstance(asked, Query) else kind.as_query(asked)
        assert lesson.prompt == kind.prompt(query, shown, profile)
        assert lesson.target == f" {query.gold}"
        assert lesson.weight == (LABEL_WEIGHT if kind.labels else 1)
        cut = [lesson.prompt[begin:end] for begin, end in lesson.answers]
        if task == "LaMP_1":
            assert cut == []
        else:
            assert cut == [f" {item.x if item.y is None else item.y}" for item in shown]
            ends = [end for _, end in lesson.answers]
            assert all(lesson.prompt[:end].endswith(line) for end, line in zip(ends, lines, strict=True))
            assert ends == sorted(set(ends))
        some += len(shown)
    assert some > 10


def test_spans_are_found_where_items_are_alike_or_repeat_their_answer():
    history = tuple(
        history_of(("a comedy film", "comedy"), ("a comedy film", "comedy"), ("comedy Tag: comedy", "action"))
    )
    user = User(id="u", history=history, queries=(Query(x="a comedy film", gold="comedy"),))
    (lesson,) = lessons_of(get_task("LaMP_2"), [user], with_history=1.0)[-1:]
    lines = section(lesson.prompt, "User History").splitlines()
    assert lines
    at = lesson.prompt.index(lines[0])
    for line, (begin, end) in zip(lines, lesson.answers, strict=True):
        at += len(line)
        assert end == at
        assert lesson.prompt[begin:end] == " " + line.rsplit("Tag: ", 1)[1]
        at += 1


@pytest.mark.parametrize("task", MAKERS)
def test_queries_of_base_users_are_learned_and_those_without_answer_are_not(task):
    kind, users = get_task(task), town_users(task, count=3)
    lessons, weight = lessons_of(kind, users, with_history=0.0), LABEL_WEIGHT if kind.labels else 1
    assert len(lessons) == sum(len(user.history) + len(user.queries) for user in users)
    expected = [Lesson(kind.prompt(query), f" {query.gold}", (), weight) for user in users for query in user.queries]
    assert len(expected) == 6
    assert set(expected) <= set(lessons)
    unknown = [
        User(
            id=user.id,
            history=user.history,
            queries=tuple(Query(x=query.x, options=query.options) for query in user.queries),
        )
        for user in users
    ]
    assert lessons_of(kind, unknown, with_history=0.0) == [row for row in lessons if row not in set(expected)]


def test_shares_of_prompts_with_history_and_profile_are_as_asked():
    rows = lessons_beside("LaMP_3", town_users("LaMP_3", count=90), with_history=0.4, with_profile=0.3)
    able = [lesson.prompt for lesson, earlier, _ in rows if len(earlier) >= 4]
    assert len(able) > 300
    shows = [bool(section(prompt, "User History")) for prompt in able]
    tells = [bool(section(prompt, "User Profile")) for prompt in able]
    both = sum(a and b for a, b in zip(shows, tells, strict=True))
    for found, share in ((sum(shows), 0.4), (sum(tells), 0.3), (both, 0.12)):
        assert abs(found / len(able) - share) < 4 * (share * (1 - share) / len(able)) ** 0.5
    sizes = Counter(len(section(prompt, "User History").splitlines()) for prompt in able)
    assert set(sizes) == {0, 1, 2, 4}
    assert abs(sizes[4] / sum(shows) - 0.5) < 0.15
    few = [lesson.prompt for lesson, earlier, _ in rows if len(earlier) < 4]
    assert not any(section(prompt, "User Profile") for prompt in few)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_or_all_of_the_prompts_carry_history_and_profile(share):
    for lesson, earlier, _ in lessons_beside("LaMP_2", town_users("LaMP_2"), with_history=share, with_profile=share):
        assert bool(section(lesson.prompt, "User History")) == (share == 1.0 and len(earlier) > 0)
        assert bool(section(lesson.prompt, "User Profile")) == (share == 1.0 and len(earlier) >= 4)


def test_lessons_of_a_user_depend_on_them_and_the_seed_alone():
    task, users = get_task("LaMP_4"), town_users("LaMP_4", count=4)
    few, more = lessons_of(task, users[:2], seed=3), lessons_of(task, users, seed=3)
    assert few == more[: len(few)]
    assert more == lessons_of(task, users, seed=3)
    assert more != lessons_of(task, users, seed=4)


def test_a_citation_is_a_choice_where_the_other_one_is_known_and_a_name_where_not():
    task = get_task("LaMP_1")
    known, unknown = history_of(("My Paper", "Cited", "Passed Over"), ("My Paper", "Cited"))
    prompt, target = task.pair(known)
    options = re.search(r"Paper Title: My Paper Reference: \[1\] - (.*) \[2\] - (.*) Answer:$", prompt)
    assert options
    assert set(options.groups()) == {"Cited", "Passed Over"}
    assert options[int(target[2])] == "Cited"
    assert target in (" [1]", " [2]")
    assert task.instruction in prompt
    assert task.pair(unknown) == (
        "### User Instruction:\nName a paper that this publication cites.\nPaper Title: My Paper Cites:",
        " Cited",
    )
    earlier = history_of(*((f"Old Paper {i}", f"Old {i}", f"Not {i}") for i in range(5)))
    user = User(id="u", history=(*earlier, known, unknown))
    *_, choice, name = lessons_of(task, [user], with_history=1.0, with_profile=1.0)
    assert section(choice.prompt, "User History").startswith("Paper Title: Old Paper ")
    assert " rather than Not " in section(choice.prompt, "User History")
    assert section(choice.prompt, "User Profile") == statistics(task, earlier)
    assert choice.answers == ()
    assert name == Lesson(*task.pair(unknown), weight=LABEL_WEIGHT)


def test_open_books_show_the_very_item_and_only_where_there_are_labels():
    for task, share in (("LaMP_3", 0.5), ("LaMP_1", 0.5), ("LaMP_4", 0.0)):
        kind, users = get_task(task), town_users(task, count=20)
        plain = lessons_of(kind, users, with_history=0.3)
        open_ = lessons_of(kind, users, with_history=0.3, open_book=0.5)
        items = iter([item for user in users for item in [*user.history, *([None] * len(user.queries))]])
        told = [
            kind.render_item(item) in section(lesson.prompt, "User History").splitlines()
            for lesson, item in zip(open_, items, strict=True)
            if item is not None
        ]
        assert abs(sum(told) / len(told) - share) < 0.12, task
        assert [lesson.target for lesson in open_] == [lesson.target for lesson in plain]


@pytest.mark.parametrize("task", list(MAKERS))
def test_notes_stand_behind_the_answer_and_say_what_the_text_says(task):
    kind, people = get_task(task), make_people(task, seed=3, count=12, split="base")
    users, notes = [person.user for person in people], {k: v for person in people for k, v in person.notes.items()}
    plain = lessons_of(kind, users, with_history=0.4)
    found = lessons_of(kind, users, with_history=0.4, notes=notes, end="<|end|>")
    assert bool(notes) == (task in ("LaMP_1", "LaMP_2", "LaMP_3"))
    for before, lesson in zip(plain, found, strict=True):
        answer, _, said = lesson.target.partition("<|end|> Notes: ")
        assert (before.prompt, before.target, bool(said)) == (lesson.prompt, answer, bool(notes))
        if task == "LaMP_2":
            assert answer.strip() in said.split(", ")  # a slip takes another tag that fits
        elif task == "LaMP_3":
            assert all(part.split(" ", 1)[1] in LEVELS for part in said.split(", "))
        elif task == "LaMP_1":
            kinds = dict(re.findall(r"(\[[12]\]) (.*?)(?=; \[|$)", said))
            options = dict(re.findall(r"(\[[12]\]) - (.*?)(?= \[2\] - | Answer:$)", lesson.prompt))
            for label, what in kinds.items():
                assert kind_of(options[label]) == what.removesuffix(citations.ELSEWHERE)


def test_notes_of_two_writers_of_one_text_are_the_same():
    rng = random.Random(0)
    for task in ("LaMP_2", "LaMP_3"):
        maker = MAKERS[task]
        one, two = maker.draw(rng), maker.draw(rng)
        if task == "LaMP_2":
            two["shelf"] = one["shelf"]
        made = [maker.make(random.Random(5), traits, False) for traits in (one, two)]
        assert made[0].x == made[1].x
        assert made[0].notes == made[1].notes


@pytest.mark.parametrize("task", ["LaMP_1", "LaMP_2", "LaMP_3"])
def test_marks_stand_behind_what_they_speak_of_in_a_share_of_lessons_and_are_learned(task):
    """Without its marks a lesson is the lesson without marks; every mark says what the town knows of that text."""
    kind = get_task(task)
    people = make_people(task, seed=7, count=30, split="base", history=(4, 12))
    said = {id: note for person in people for id, note in person.notes.items()}
    words = {what for note in said.values() for _, what in note}
    users = [person.user for person in people]
    options = {"with_history": 0.6, "with_profile": 0.2, "open_book": 0.2, "notes": said, "end": "<|end|>"}
    plain, marked = lessons_of(kind, users, **options), lessons_of(kind, users, marks=0.6, **options)
    assert lessons_of(kind, users, marks=0.0, **options) == plain
    carrying = 0
    for one, other in zip(plain, marked, strict=True):
        marks = list(re.finditer(r" \{([^{}]*)\}", other.prompt))
        assert re.sub(r" \{[^{}]*\}", "", other.prompt) == one.prompt
        assert (other.target, other.weight) == (one.target, one.weight)
        assert {mark[1] for mark in marks} <= words
        behind = len(other.prompt) + other.target.index("<|end|>") + len("<|end|>")
        assert other.asides == (*(mark.span() for mark in marks), (behind, len(other.prompt) + len(other.target)))
        cut = [[lesson.prompt[begin:end] for begin, end in lesson.answers] for lesson in (one, other)]
        assert cut[0] == cut[1]
        if len(marks) == 1 and task != "LaMP_1" and not section(other.prompt, "User History"):
            text = other.prompt.split(kind.input_label)[-1].split(" {")[0].strip()
            item = next(i for user in users for i in (*user.history, *user.queries) if i.x == text)
            assert marks[0][1] == said[item.id][0][1]
        carrying += bool(marks)
    assert 0.4 < carrying / len(marked) < 0.65  # of those with marks, some have none of their few places marked


def test_a_mark_tells_the_kind_of_the_very_reference_that_it_follows():
    kind = get_task("LaMP_1")
    people = make_people("LaMP_1", seed=8, count=10, split="base", history=(6, 8))
    said = {id: note for person in people for id, note in person.notes.items()}
    kinds = {text: what for note in said.values() for text, what in note}
    lessons = lessons_of(kind, [person.user for person in people], with_history=0.5, notes=said, marks=1.0)
    seen = 0
    for lesson in lessons:
        for text, what in re.findall(r"(?:\[\d\] - |Cites: |rather than )([^{}\n]*?) \{([^{}]*)\}", lesson.prompt):
            text = re.split(r" \[2\] - | rather than ", text)[-1]
            assert kinds[text] == what
            seen += 1
    assert seen > 100


@pytest.mark.parametrize("task", ["LaMP_1", "LaMP_2", "LaMP_3"])
def test_evidence_follows_from_what_is_given_and_what_was_answered(task):
    """Two people who answer alike leave the same evidence, whoever they are; who answers otherwise leaves another."""
    maker, rng, differ = MAKERS[task], random.Random(4), 0
    for seed in range(300):
        one, two = maker.draw(rng), maker.draw(rng)
        two |= {name: one[name] for name in ("shelf", "areas") if name in one}
        a, b = (maker.make(random.Random(seed), traits, False) for traits in (one, two))
        assert (a.evidence == b.evidence) >= (a.y == b.y)
        differ += a.evidence != b.evidence
        said = {what for _, what in a.notes}
        if task == "LaMP_1":
            assert set(a.evidence.split(" over ")) == said
        elif task == "LaMP_2":
            tag, _, others = a.evidence.partition(" over ")
            assert tag == a.y
            assert {tag, *others.split(", ")} == set(a.notes[0][1].split(", "))
    assert differ > 60


def test_evidence_in_words_by_hand():
    assert ratings._evidence({"price": 2, "quality": -1}, 4) == "even, with price"  # 3 + 1.3 * 0.5 = 3.65
    assert ratings._evidence({"price": 2, "quality": -1}, 1) == "harsh, with quality"
    assert ratings._evidence({"price": 2, "quality": 1}, 3) == "harsh, with none"
    assert ratings._evidence({"looks": -2, "ease": -1, "price": 1}, 2) == "even, with looks, ease"
    assert ratings._evidence({"looks": -2, "ease": -1, "price": 1}, 5) == "kind, with price"


@pytest.mark.parametrize("task", ["LaMP_1", "LaMP_2", "LaMP_3"])
def test_evidence_stands_behind_shown_items_alone(task):
    kind = get_task(task)
    people = make_people(task, seed=7, count=12, split="base", history=(4, 12))
    notes = {id: note for person in people for id, note in person.notes.items()}
    evidence = {id: said for person in people for id, said in person.evidence.items()}
    users = [person.user for person in people]
    options = {"with_history": 0.6, "notes": notes, "marks": 1.0}
    found, plain = lessons_of(kind, users, evidence=evidence, **options), lessons_of(kind, users, **options)
    by_x = {item.x: item for user in users for item in user.history}
    seen = 0
    for lesson, without in zip(found, plain, strict=True):
        assert lesson.target == without.target
        for line in section(lesson.prompt, "User History").splitlines():
            bare = re.sub(r" \{[^{}]*\}", "", line)
            item = next(item for x, item in by_x.items() if bare == kind.render_item(item))
            last = re.search(r" \{([^{}]*)\}$", line)
            if last and (task != "LaMP_1" or " over " in last[1]):
                assert last[1] == evidence[item.id]
                begin = lesson.prompt.index(line) + last.start()
                assert (begin, begin + len(last[0])) in lesson.asides
                seen += 1
    assert seen > 40


def test_braces_in_somebodys_own_text_are_no_marks():
    """Without notes nothing is taken for one: real text may hold anything."""
    history = tuple(history_of(("a {very odd} film", "comedy"), ("another {odd} film", "action")))
    user = User(id="u", history=history, queries=(Query(x="a {third} film", gold="comedy"),))
    for lesson in lessons_of(get_task("LaMP_2"), [user], with_history=1.0):
        cut = [lesson.prompt[begin:end] for begin, end in lesson.answers]
        assert set(cut) <= {" comedy", " action"}
