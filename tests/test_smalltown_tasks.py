"""Laws of citations, ratings, titles and tweets in the small town.

Of citations: kinds of references, whose order decides what is cited.
"""

import random
import re
from collections import Counter
from fractions import Fraction
from itertools import combinations
from math import floor

import pytest
from helpers import seen

from perpcs.data.smalltown import MAKERS, citations, make_people, ratings, titles, tweets
from perpcs.data.smalltown.daily import SUBJECTS
from perpcs.data.smalltown.maker import words
from perpcs.data.smalltown.ratings import CLAUSES, GROUPS, LEVELS
from perpcs.data.smalltown.titles import AREA_NAMES, AREAS, METHODS
from perpcs.tasks import Item, get_task

# ---- all tasks -------------------------------------------------------------------------------------------------------


MODULES = {"LaMP_1": citations, "LaMP_3": ratings, "LaMP_5": titles, "LaMP_7": tweets}
SUBJECT_MATTER = ("areas", "shelf", "subjects")
TITLE_WORDS = set(
    words(
        "a an the in on by of for to with via from using through towards how can role use application applied applying "
        "improve improving boost boosting advance advancing benefit benefits gain gains profit profits trying tool "
        "approach study case empirical new paths"
    )
)
"""Words of a title that need not stand in its abstract: those of the traits form, wording and tail."""

WORDS_TOO = set(words("black brown day derby june long moss reading white winter young"))
"""Names that are ordinary words too, and stand in texts as such."""


# ---- all four makers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", MODULES)
def test_one_in_ten_is_noise_and_noise_is_what_is_not_clean(task):
    maker, rng = MAKERS[task], random.Random(3)
    made = [maker.make(rng, maker.draw(rng), False) for _ in range(2500)]
    assert 0.082 < sum(one.noisy for one in made) / len(made) < 0.118
    assert all((one.y == one.clean) == (not one.noisy) for one in made)
    assert all((one.other == one.clean) == one.noisy for one in made if task == "LaMP_1")


@pytest.mark.parametrize("task", MODULES)
def test_traits_act_on_y_alone(task):
    """The same stream of chance with other traits, but the same subject matter, gives the same x."""
    maker, rng = MAKERS[task], random.Random(9)
    differ = 0
    for seed in range(200):
        one, other = maker.draw(rng), maker.draw(rng)
        other |= {name: one[name] for name in SUBJECT_MATTER if name in one}
        a, b = (maker.make(random.Random(seed), traits, False) for traits in (one, other))
        assert (a.x, a.noisy) == (b.x, b.noisy)
        if task == "LaMP_1":
            assert {a.y, a.other} == {b.y, b.other}
        differ += a.clean != b.clean
    assert differ > 0.3 * 200


@pytest.mark.parametrize("task", MODULES)
def test_names_of_targets_are_met_by_nobody_else(task, monkeypatch):
    drawn: dict[bool, set[str]] = {True: set(), False: set()}

    def recorded(make):
        def call(rng, held_out):
            name = make(rng, held_out)
            drawn[held_out].update(part.split("-")[0].lower() for part in name.split())
            return name

        return call

    for function in ("first_name", "family_name", "full_name", "place_name", "acronym"):
        if hasattr(MODULES[task], function):
            monkeypatch.setattr(MODULES[task], function, recorded(getattr(MODULES[task], function)))
    texts = {}
    for split in ("target", "base"):
        people = make_people(task, seed=1, count=20, split=split, history=(10, 10), queries=2)
        assert not drawn[split != "target"] or split == "base"  # the first split asked for held-out names alone
        stated = [item.x + " " + (item.y or "") + " " + item.other for p in people for item in p.history]
        stated += [" ".join((query.x, *query.options)) for p in people for query in p.queries]
        texts[split] = {part for text in stated for word in seen(text) for part in word.removesuffix("'s").split("-")}
    assert min(len(names) for names in drawn.values()) > 30
    assert not drawn[True] & drawn[False]
    assert not drawn[True] & texts["base"] - WORDS_TOO
    assert not drawn[False] & texts["target"] - WORDS_TOO
    assert len(drawn[True] & texts["target"]) > 30


@pytest.mark.parametrize("task", MODULES)
def test_an_oracle_is_right_but_for_slips(task):
    people = make_people(task, seed=2, count=150, split="target", history=(0, 0))
    right = [a == query.gold for person in people for query, a in zip(person.queries, person.oracle, strict=True)]
    assert 0.88 < sum(right) / len(right) < 0.92


# ---- ratings --------------------------------------------------------------------------------------------------------

FAIR = {"focus": "service", "second": "ease", "strictness": "fair"}


@pytest.mark.parametrize(
    ("levels", "traits", "expected"),
    [
        ({"price": 1, "looks": 1, "quality": -1}, {}, 3),  # neither counts more: 3 + 1.3 / 3 = 3.43
        ({"price": 2, "quality": -1}, {}, 4),  # 3 + 1.3 * 0.5 = 3.65
        ({"price": 2, "quality": -1}, {"focus": "price"}, 5),  # 3 + 1.3 * (12 - 1) / 7 = 5.04
        ({"price": 2, "quality": -1}, {"focus": "quality"}, 2),  # 3 + 1.3 * (2 - 6) / 7 = 2.26
        ({"price": 2, "quality": -1}, {"focus": "quality", "second": "price"}, 3),  # 3 + 1.3 * (4 - 6) / 8 = 2.68
        ({"price": 2, "quality": -1}, {"second": "quality"}, 3),  # 3 + 1.3 * (2 - 2) / 3
        ({"price": 2, "quality": -1}, {"second": "price", "strictness": "harsh"}, 3),  # 3 + 1.3 * (4 - 1) / 3 - 1
        ({"price": -2, "quality": -2}, {"strictness": "harsh"}, 1),  # -0.6, clipped
        ({"price": 2, "quality": 2}, {"strictness": "generous"}, 5),  # 6.6, clipped
        ({"price": 1, "quality": 1}, {"strictness": "harsh"}, 3),  # 3 + 1.3 - 1 = 3.3
        ({"price": 1, "quality": -2}, {"strictness": "generous"}, 3),  # 3 - 0.65 + 1 = 3.35
    ],
)
def test_scores_by_hand(levels, traits, expected):
    assert ratings.score(levels, {**FAIR, **traits}) == expected


def test_scores_follow_from_the_levels_and_cover_the_scale():
    maker, rng = MAKERS["LaMP_3"], random.Random(5)
    given: Counter[str] = Counter()
    for seed in range(1500):
        traits = maker.draw(rng)
        levels, x = ratings.draw_review(random.Random(seed), False)
        made = maker.make(random.Random(seed), traits, False)
        weigh = {
            aspect: 6 if aspect == traits["focus"] else 2 if aspect == traits["second"] else 1 for aspect in levels
        }
        mean = Fraction(sum(weight * levels[aspect] for aspect, weight in weigh.items()), sum(weigh.values()))
        exact = 3 + Fraction(13, 10) * mean + {"harsh": -1, "fair": 0, "generous": 1}[traits["strictness"]]
        points = sorted((1, floor(exact + Fraction(1, 2)), 5))[1]
        assert (made.x, made.clean) == (x, str(points)), traits
        assert made.y in "12345"
        assert abs(int(made.y) - points) <= 2
        given[made.y] += 1
    assert set(given) == set("12345")
    assert min(given.values()) > 0.08 * given.total()
    assert max(given.values()) < 0.4 * given.total()


def test_a_review_tells_its_levels_and_no_others():
    """Levels are read off the text alone."""
    nouns = "|".join(sorted({noun for group in GROUPS for noun in group.nouns}, key=len, reverse=True))
    slots = {
        "it": f"(?:it|(?:the|this) (?:{nouns}))",
        "use": "(?:" + "|".join({group.use for group in GROUPS}) + ")",
        "using": "(?:" + "|".join({group.using for group in GROUPS}) + ")",
        "n": r"\d",
        "m": r"\d\d",
    }

    def pattern(clause: str) -> str:
        parts = re.split(r"\{(\w+)\}", clause)
        return "".join(slots[part] if i % 2 else re.escape(part) for i, part in enumerate(parts))

    told = {
        (aspect, LEVELS[level]): re.compile(rf"\b(?:{'|'.join(map(pattern, clauses))})(?!\w)", re.IGNORECASE)
        for aspect, by_level in CLAUSES.items()
        for level, clauses in by_level.items()
    }
    rng = random.Random(1)
    for _ in range(150):
        levels, x = ratings.draw_review(rng, False)
        assert {key for key, clauses in told.items() if clauses.search(x)} == set(levels.items()), x


# ---- titles ---------------------------------------------------------------------------------------------------------

PAPER = titles.Paper("speech recognition", "graph filters", "noisy recordings", "SOLVAR", "fewer errors", "robust")
SCHOLAR = {
    "form": "plain",
    "lead": "method",
    "wording": "plain",
    "property": "drop",
    "acronym": "never",
    "tail": "none",
    "casing": "lower",
}


@pytest.mark.parametrize(
    ("traits", "expected"),
    [
        ({}, "graph filters for speech recognition"),
        ({"property": "keep", "casing": "sentence"}, "Graph filters for robust speech recognition"),
        ({"lead": "problem", "wording": "brisk", "casing": "title"}, "Speech Recognition via Graph Filters"),
        (
            {"wording": "formal", "acronym": "end", "casing": "upper"},
            "GRAPH FILTERS APPLIED TO SPEECH RECOGNITION (SOLVAR)",
        ),
        ({"form": "question", "tail": "data"}, "can graph filters improve speech recognition on noisy recordings?"),
        (
            {"form": "question", "tail": "case study", "casing": "sentence", "acronym": "front"},
            "SOLVAR: Can graph filters improve speech recognition? A case study",
        ),
        ({"form": "gerund", "lead": "problem"}, "improving speech recognition using graph filters"),
        (
            {"form": "towards", "lead": "problem", "acronym": "front"},
            "SOLVAR: towards speech recognition using graph filters",
        ),
        ({"form": "on", "casing": "title"}, "On the Use of Graph Filters for Speech Recognition"),
        ({"form": "how", "tail": "gain"}, "how graph filters improve speech recognition with fewer errors"),
        (
            {"form": "colon", "lead": "problem", "casing": "title"},
            "Speech Recognition: A Study using Graph Filters",
        ),
        ({"tail": "empirical study"}, "graph filters for speech recognition: an empirical study"),
    ],
)
def test_titles_by_hand(traits, expected):
    assert titles.title(PAPER, {**SCHOLAR, **traits}) == expected


def test_every_value_of_every_trait_changes_every_title():
    rng, pairs = random.Random(8), set()
    for _ in range(700):
        traits = titles.draw(rng)
        paper = titles.draw_paper(rng, rng.choice(traits["areas"]), False)
        for name, values in titles.STYLE.items():
            others = [value for value in values if titles.fits({**traits, name: value})]
            assert traits[name] in others
            given = {titles.title(paper, {**traits, name: value}) for value in others}
            assert len(given) == len(others), (name, traits)
            pairs |= {(name, pair) for pair in combinations(others, 2)}
    met = {(name, value) for name, pair in pairs for value in pair}
    assert met == {(name, value) for name, values in titles.STYLE.items() for value in values}


def test_titles_take_their_words_from_the_abstract_and_show_their_style():
    rng = random.Random(6)
    for _ in range(1200):
        traits = titles.draw(rng)
        paper = titles.draw_paper(rng, rng.choice(traits["areas"]), False)
        x, y = titles.write_abstract(rng, paper, False), titles.title(paper, traits)
        assert set(seen(y)) <= set(seen(x)) | TITLE_WORDS
        # Two words a phrase; the few gains of three make a title of thirteen.
        assert len(y.split()) <= 12 + (traits["tail"] == "gain" and len(paper.gain.split()) - 2)
        assert y.count(":") <= 1
        assert (paper.system in y) == (traits["acronym"] != "never")
        if paper.quality not in paper.method.split():
            assert (paper.quality in y.lower()) == (traits["property"] == "keep")
        assert ("?" in y) == (traits["form"] == "question")
        bare = y.replace(paper.system, "")
        assert (bare == bare.lower()) == (traits["casing"] == "lower")
        assert (bare == bare.upper()) == (traits["casing"] == "upper")


# ---- tweets ---------------------------------------------------------------------------------------------------------

SAID = tweets.Said(
    ("I am waiting for the bus near Brenholt", "the seats are very cold"), "travel", "near Brenholt", "Brenholt"
)
PLAIN = {
    "spelling": "standard",
    "casing": "sentence",
    "subject": "keep",
    "opener": "",
    "closer": "",
    "emoji": "",
    "hashtag": "none",
    "mark": "",
}


@pytest.mark.parametrize(
    ("traits", "expected"),
    [
        ({}, "I am waiting for the bus near Brenholt - the seats are very cold"),
        ({"mark": "!"}, "I am waiting for the bus near Brenholt! The seats are very cold!"),
        ({"mark": "...", "casing": "lower"}, "i am waiting for the bus near brenholt... the seats are very cold..."),
        ({"spelling": "short"}, "I am waiting 4 the bus near Brenholt - the seats r v cold"),
        ({"spelling": "relaxed", "subject": "drop"}, "Waitin for the bus near Brenholt - the seats are very cold"),
        ({"spelling": "stretched"}, "I am waiting for the bus near Brenholt - the seats are veryyy cooold"),
        (
            {"hashtag": "place inside", "casing": "shout", "subject": "drop"},
            "WAITING FOR the bus near #Brenholt - the seats are very cold",
        ),
        (
            {"hashtag": "place last", "emoji": ":)", "closer": "lol", "casing": "upper"},
            "I AM WAITING FOR THE BUS - THE SEATS ARE VERY COLD LOL :) #BRENHOLT",
        ),
        (
            {"hashtag": "subject first", "opener": "oh dear"},
            "#travel Oh dear, I am waiting for the bus near Brenholt - the seats are very cold",
        ),
        (
            {"hashtag": "subject last", "mark": "."},
            "I am waiting for the bus near Brenholt. The seats are very cold. #travel",
        ),
    ],
)
def test_tweets_by_hand(traits, expected):
    assert tweets.tweet(SAID, {**PLAIN, **traits}) == expected


def test_every_value_of_every_trait_changes_every_tweet():
    rng = random.Random(8)
    for _ in range(250):
        traits = tweets.draw(rng)
        said = tweets.draw_said(rng, rng.choice(traits["subjects"]), False)
        for name, values in tweets.STYLE.items():
            given = {tweets.tweet(said, {**traits, name: value}) for value in values}
            assert len(given) == len(values), (name, traits, said)


def test_tweets_keep_the_words_of_what_is_said_in_order_and_add_only_their_style():
    rng = random.Random(7)
    extras = {word for name in ("opener", "closer", "emoji") for value in tweets.STYLE[name] for word in seen(value)}
    for _ in range(600):
        traits = {**tweets.draw(rng), "spelling": "standard"}
        said = tweets.draw_said(rng, rng.choice(traits["subjects"]), False)
        x, y = tweets.write_plain(rng, said, False), tweets.tweet(said, traits)
        told = seen(" ".join(said.sentences))
        dropped = {"i", "am", "have"} if traits["subject"] == "drop" else set()
        if traits["hashtag"] == "place last":
            dropped |= set(seen(said.where))
        left = iter(seen(y))
        assert all(word in left for word in told if word not in dropped), (told, y)
        assert set(seen(y)) <= set(told) | extras | {said.subject.lower()}, y
        assert set(told) <= set(seen(x))
        assert said.place.lower() in y.lower()
        assert 8 <= len(y.split()) <= 22
        assert said.subject in SUBJECTS


def test_respelt_words_do_not_come_back_in_standard_spelling():
    rng = random.Random(12)
    for _ in range(300):
        traits = {**tweets.draw(rng), "opener": "", "closer": ""}
        said = tweets.draw_said(rng, rng.choice(traits["subjects"]), False)
        found = {
            spelling: seen(tweets.tweet(said, {**traits, "spelling": spelling})) for spelling in ("short", "relaxed")
        }
        assert not {"you", "your", "are", "to", "for", "with", "and", "because", "very"} & set(found["short"])
        assert not {"you", "your", "because", "them"} & set(found["relaxed"])
        stretched = tweets.tweet(said, {**traits, "spelling": "stretched"}).lower()
        assert len(re.findall(r"\w*(\w)\1\1\w*", stretched)) >= 2


# ---- citations -------------------------------------------------------------------------------------------------------


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
