"""Laws of citations, ratings, titles and tweets in the small town; counted profiles; lessons of a base model."""

import random
import re
from collections import Counter
from fractions import Fraction
from itertools import combinations
from math import floor

import pytest

from perpcs.data.profile import statistics
from perpcs.data.smalltown import MAKERS, citations, make_people, ratings, titles, tweets
from perpcs.data.smalltown.daily import SUBJECTS
from perpcs.data.smalltown.products import CLAUSES, GROUPS, LEVELS
from perpcs.data.smalltown.research import AREA_NAMES, AREAS, METHODS
from perpcs.data.smalltown.words import words
from perpcs.pool.adapt import base_lessons
from perpcs.tasks import Item, Query, User, get_task

MODULES = {"LaMP_1": citations, "LaMP_3": ratings, "LaMP_5": titles, "LaMP_7": tweets}
SUBJECT_MATTER = ("areas", "subjects")
TITLE_WORDS = set(
    words(
        "a an the in on by of for to with via from using through towards how can role use application applied applying "
        "improve improving boost boosting advance advancing benefit benefits gain gains profit profits trying tool "
        "approach study case empirical new paths"
    )
)
"""Words of a title that need not stand in its abstract: those of the traits form, wording and tail."""


def seen(text: str) -> list[str]:
    return re.findall(r"\w[\w'-]*", text.lower())


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
    assert not drawn[True] & texts["base"]
    assert not drawn[False] & texts["target"]
    assert len(drawn[True] & texts["target"]) > 30


# ---- citations ------------------------------------------------------------------------------------------------------


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
    drawn = [citations.draw_choice(rng, rng.choice(AREA_NAMES), False) for _ in range(2000)]
    assert all(one[0][0] != two[0][0] for _, one, two in drawn)
    misfits = [not one[0][1] for _, one, two in drawn if not (one[0][1] and two[0][1])]
    assert abs(len(misfits) / len(drawn) - citations.UNFIT) < 0.04
    assert 0.42 < sum(misfits) / len(misfits) < 0.58
    assert all(one[0][1] or two[0][1] for _, one, two in drawn)
    for place in (1, 2):
        kinds = Counter(choice[place][0][0] for choice in drawn)
        assert set(kinds) == set(citations.KINDS)
        assert max(kinds.values()) < 1.4 * min(kinds.values())


def test_every_wording_has_a_word_that_no_other_kind_has():
    holders: dict[str, set[str]] = {}
    plain = {
        (kind, wording): seen(re.sub(r"\{\w\}", "", wording))
        for kind, wordings in citations.WORDINGS.items()
        for wording in wordings
    }
    for (kind, _), found in plain.items():
        for word in found:
            holders.setdefault(word, set()).add(kind)
    assert all(any(len(holders[word]) == 1 for word in found) for found in plain.values())
    assert len({wording for _, wording in plain}) == len(plain)


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
    lessons = base_lessons(get_task(task), users, **options)
    return [(lesson, *pair) for lesson, pair in zip(lessons, pairs, strict=True)]


@pytest.mark.parametrize("task", MAKERS)
def test_prompts_show_strictly_earlier_items_and_spans_are_their_answers(task):
    kind, some = get_task(task), 0
    for lesson, earlier, asked in lessons_beside(task, town_users(task), with_history=0.6, with_profile=0.5):
        if task == "LaMP_7" and isinstance(asked, Item):
            assert lesson == ("", asked.x, (), 1)
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
        assert lesson.weight == (4 if kind.labels else 1)
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
    (lesson,) = base_lessons(get_task("LaMP_2"), [user], with_history=1.0)[-1:]
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
    lessons, weight = base_lessons(kind, users, with_history=0.0), 4 if kind.labels else 1
    assert len(lessons) == sum(len(user.history) + len(user.queries) for user in users)
    expected = [(kind.prompt(query), f" {query.gold}", (), weight) for user in users for query in user.queries]
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
    assert base_lessons(kind, unknown, with_history=0.0) == [row for row in lessons if row not in set(expected)]


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
    assert abs(sizes[1] / sum(shows) - 0.5) < 0.15
    few = [lesson.prompt for lesson, earlier, _ in rows if len(earlier) < 4]
    assert not any(section(prompt, "User Profile") for prompt in few)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_or_all_of_the_prompts_carry_history_and_profile(share):
    for lesson, earlier, _ in lessons_beside("LaMP_2", town_users("LaMP_2"), with_history=share, with_profile=share):
        assert bool(section(lesson.prompt, "User History")) == (share == 1.0 and len(earlier) > 0)
        assert bool(section(lesson.prompt, "User Profile")) == (share == 1.0 and len(earlier) >= 4)


def test_lessons_of_a_user_depend_on_them_and_the_seed_alone():
    task, users = get_task("LaMP_4"), town_users("LaMP_4", count=4)
    few, more = base_lessons(task, users[:2], seed=3), base_lessons(task, users, seed=3)
    assert few == more[: len(few)]
    assert more == base_lessons(task, users, seed=3)
    assert more != base_lessons(task, users, seed=4)


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
    *_, choice, name = base_lessons(task, [user], with_history=1.0, with_profile=1.0)
    assert section(choice.prompt, "User History").startswith("Paper Title: Old Paper ")
    assert " rather than Not " in section(choice.prompt, "User History")
    assert section(choice.prompt, "User Profile") == statistics(task, earlier)
    assert choice.answers == ()
    assert name == (*task.pair(unknown), (), 4)


def test_open_books_show_the_very_item_and_only_where_there_are_labels():
    for task, share in (("LaMP_3", 0.5), ("LaMP_1", 0.5), ("LaMP_4", 0.0)):
        kind, users = get_task(task), town_users(task, count=20)
        plain = base_lessons(kind, users, with_history=0.3)
        open_ = base_lessons(kind, users, with_history=0.3, open_book=0.5)
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
    plain = base_lessons(kind, users, with_history=0.4)
    found = base_lessons(kind, users, with_history=0.4, notes=notes, end="<|end|>")
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
                assert kind_of(options[label]) == what.removesuffix(" of something else")


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
    options = {"with_history": 0.6, "with_profile": 0.2, "open_book": 0.2, "notes": said}
    plain, marked = base_lessons(kind, users, **options), base_lessons(kind, users, marks=0.6, **options)
    assert base_lessons(kind, users, marks=0.0, **options) == plain
    carrying = 0
    for one, other in zip(plain, marked, strict=True):
        marks = list(re.finditer(r" \{([^{}]*)\}", other.prompt))
        assert re.sub(r" \{[^{}]*\}", "", other.prompt) == one.prompt
        assert (other.target, other.weight) == (one.target, one.weight)
        assert {mark[1] for mark in marks} <= words
        assert {mark.span() for mark in marks} <= set(other.answers)
        assert len(other.answers) == len(one.answers) + len(marks)
        assert list(other.answers) == sorted(other.answers)
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
    lessons = base_lessons(kind, [person.user for person in people], with_history=0.5, notes=said, marks=1.0)
    seen = 0
    for lesson in lessons:
        for text, what in re.findall(r"(?:\[\d\] - |Cites: |rather than )([^{}\n]*?) \{([^{}]*)\}", lesson.prompt):
            text = re.split(r" \[2\] - | rather than ", text)[-1]
            assert kinds[text] == what
            seen += 1
    assert seen > 100


def test_braces_in_somebodys_own_text_are_no_marks():
    """Without notes nothing is taken for one: real text may hold anything."""
    history = tuple(history_of(("a {very odd} film", "comedy"), ("another {odd} film", "action")))
    user = User(id="u", history=history, queries=(Query(x="a {third} film", gold="comedy"),))
    for lesson in base_lessons(get_task("LaMP_2"), [user], with_history=1.0):
        cut = [lesson.prompt[begin:end] for begin, end in lesson.answers]
        assert set(cut) <= {" comedy", " action"}
