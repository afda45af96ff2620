"""Laws of citations in the small town: kinds of references, whose order decides what is cited."""

import random
import re
from collections import Counter

import pytest
from test_smalltown_tasks import seen

from perpcs.data.smalltown import citations, make_people
from perpcs.data.smalltown.titles import AREA_NAMES, AREAS, METHODS
from perpcs.tasks import Item, get_task


def wording_pattern(wording: str) -> re.Pattern[str]:
    """What titles of a wording look like in small letters."""
    slots = {"t": r".+", "q": r"[\w-]+", "w": r"\w+", "n": r"[\w-]+", "p": r"\w+", "f": r"\w+"}  # {n} is {N} as well
    parts = re.split(r"\{(\w)\}", wording.lower())
    return re.compile("".join(slots[part] if i % 2 else re.escape(part) for i, part in enumerate(parts)))


KIND_PATTERNS = {
    kind: [wording_pattern(wording) for wording in wordings] for kind, wordings in citations.WORDINGS.items()
}


def kind_of(reference: str) -> str:
    """The one kind whose wordings a reference can have."""
    found = [kind for kind, rows in KIND_PATTERNS.items() if any(row.fullmatch(reference.lower()) for row in rows)]
    assert len(found) == 1, (reference, found)
    return found[0]


def fits(reference: str, paper: str) -> bool:
    """Whether a reference names the problem or the method of a paper."""
    reference, paper = reference.lower(), paper.lower()
    phrases = [*METHODS, *(phrase for area in AREAS.values() for phrase in (*area.problems, *area.methods))]
    return any(phrase in paper and phrase in reference for phrase in phrases)


RESEARCHER = {
    "families": ["findings", "overviews", "second thoughts", "resources"],
    "inside": "21",
    "bias": "place",
    "areas": ["robotics"],
}


def test_the_order_of_kinds_by_hand():
    by_place = ("user study", "tutorial", "critique", "tool", "theory", "survey", "replication", "data set")
    by_family = ("user study", "theory", "tutorial", "survey", "critique", "replication", "tool", "data set")
    assert citations.taste(RESEARCHER) == by_place
    assert citations.taste({**RESEARCHER, "bias": "family"}) == by_family
    assert citations.taste({**RESEARCHER, "bias": "family", "inside": "12"})[:3] == ("theory", "user study", "survey")
    assert [citations.rank(RESEARCHER, kind, True) for kind in by_place] == list(range(8))
    assert citations.rank(RESEARCHER, "user study", False) > citations.rank(RESEARCHER, "data set", True)


def test_some_tastes_are_more_common_than_others():
    rng = random.Random(2)
    drawn = [citations.draw(rng) for _ in range(3000)]
    first = Counter(traits["families"][0] for traits in drawn)
    for family, weight in zip(citations.FAMILIES, citations.POPULARITY, strict=True):
        assert abs(first[family] / 3000 - weight / sum(citations.POPULARITY)) < 0.03
    assert all(sorted(traits["families"]) == sorted(citations.FAMILIES) for traits in drawn)
    shelves = Counter(kind for traits in drawn for kind in set(traits["shelf"]))
    assert sum(shelves.values()) == 3000 * citations.SHELF
    assert all(abs(count / 3000 - citations.SHELF / 8) < 0.04 for count in shelves.values())


def test_references_are_of_the_kinds_that_the_person_comes_across():
    for person in make_people("LaMP_1", seed=5, count=20, split="base", history=(30, 30)):
        met = {kind_of(reference) for item in person.history for reference in (item.y, item.other)}
        assert met == set(person.traits["shelf"])


@pytest.mark.parametrize("split", ["base", "target"])
def test_what_is_cited_follows_from_the_texts_and_the_traits(split):
    """Kind and fit are read off the titles alone, and the preference is worked out here."""

    def preferred(person, paper, references):
        order = citations.taste(person.traits)
        keys = [(not fits(reference, paper), order.index(kind_of(reference))) for reference in references]
        assert keys[0] != keys[1]
        return keys[1] < keys[0]

    slips = total = 0
    for person in make_people("LaMP_1", seed=3, count=25, split=split, history=(8, 8), queries=6):
        for query, oracle in zip(person.queries, person.oracle, strict=True):
            assert oracle == ("[1]", "[2]")[preferred(person, query.x, query.options)]
            slips += query.gold != oracle
        slips += sum(preferred(person, item.x, (item.y, item.other)) for item in person.history)
        total += len(person.queries) + len(person.history)
    assert 0.05 < slips / total < 0.16


def test_references_fit_as_often_as_is_documented_and_nothing_favours_one():
    rng = random.Random(4)
    drawn = [citations.draw_choice(rng, rng.choice(AREA_NAMES), citations.KINDS, False) for _ in range(2000)]
    assert all(one[0][0] != two[0][0] for _, one, two in drawn)
    misfits = [not one[0][1] for _, one, two in drawn if not (one[0][1] and two[0][1])]
    assert abs(len(misfits) / len(drawn) - citations.UNFIT) < 0.04
    assert 0.42 < sum(misfits) / len(misfits) < 0.58
    assert all(one[0][1] or two[0][1] for _, one, two in drawn)
    for place in (1, 2):
        kinds = Counter(choice[place][0][0] for choice in drawn)
        assert set(kinds) == set(citations.KINDS)
        assert max(kinds.values()) < 1.4 * min(kinds.values())


def test_every_wording_of_a_kind_has_one_word_that_no_other_kind_has():
    for kind, wordings in citations.WORDINGS.items():
        plain = [set(seen(re.sub(r"\{\w\}", "", wording))) for wording in wordings]
        rows = [row for other, rows in citations.WORDINGS.items() if other != kind for row in rows]
        others = {word for row in rows for word in seen(row)}
        assert set.intersection(*plain) - others, kind
        assert len(set(wordings)) == len(wordings)


def test_the_two_places_of_a_choice_are_balanced_and_tell_nothing():
    task = get_task("LaMP_1")
    people = make_people("LaMP_1", seed=0, count=120, split="target", history=(8, 8))
    asked = [query for person in people for query in person.queries]
    asked += [task.as_query(item) for person in people for item in person.history]
    assert 0.45 < sum(query.gold == "[1]" for query in asked) / len(asked) < 0.55
    in_order = [query for query in asked if query.options[0] < query.options[1]]
    assert 0.45 < len(in_order) / len(asked) < 0.55
    assert 0.45 < sum(query.gold == "[1]" for query in in_order) / len(in_order) < 0.55
    for item in people[0].history:  # whoever cites the other one is asked the very same question
        one, two = task.as_query(item), task.as_query(Item(x=item.x, y=item.other, other=item.y))
        assert one.options == two.options
        assert {one.gold, two.gold} == {"[1]", "[2]"}
