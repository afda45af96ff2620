"""The synthetic small town: the same people every time, target users apart, traits that can be seen."""

import json
import random
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from perpcs.data.smalltown import MAKERS, SPLITS, describe, make_people, maker, write_town
from perpcs.data.smalltown.headlines import STYLE, TOPIC_NAMES, TOPICS, deviate, draw_event, headline, write_article
from perpcs.data.smalltown.maker import VERBS, Made, is_reserved, words
from perpcs.data.smalltown.movies import FAMILIES, SHELF, draw_film, taste
from perpcs.errors import PerpcsError
from perpcs.tasks import Item, get_task
from perpcs.tasks.lamp import MOVIE_TAGS

TASK_NAMES = tuple(MAKERS)
X_WORDS = {
    "LaMP_1": (5, 16),
    "LaMP_2": (18, 42),
    "LaMP_3": (20, 45),
    "LaMP_4": (18, 42),
    "LaMP_5": (25, 45),
    "LaMP_7": (12, 26),
}
"""Fewest and most words of what is given."""
TWEET_WORDS = (8, 22)
LITTLE_WORDS = set(words("a an the in on by amid after why did how saw was it breaking local update evening post read"))
LITTLE_WORDS |= {"more", "just"}


def made_of(task: str, count: int = 60) -> list[tuple[dict, Made]]:
    """Items beside their writers' traits, with the noise flag that a Person does not show."""
    maker, rng = MAKERS[task], random.Random(3)
    writers = [maker.draw(rng) for _ in range(count)]
    return [(traits, maker.make(rng, traits, False)) for traits in writers for _ in range(50)]


@pytest.mark.parametrize("task", TASK_NAMES)
@pytest.mark.parametrize("split", SPLITS)
def test_same_arguments_same_people_and_more_people_change_none(task, split):
    few = make_people(task, seed=5, count=3, split=split)
    assert few == make_people(task, seed=5, count=7, split=split)[:3]
    assert few[1:] == make_people(task, seed=5, count=2, split=split, first=1)
    assert few != make_people(task, seed=6, count=3, split=split)


def test_a_known_person_stays_the_same_across_processes():
    """Guards against Python's salted hash(): set and str hashes differ between runs."""
    code = (
        "from perpcs.data.smalltown import MAKERS, make_people\n"
        "for task in MAKERS: print(make_people(task, seed=5, count=2, split='base'))"
    )
    out = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": salt}, capture_output=True, text=True, check=True
        ).stdout
        for salt in ("1", "2")
    ]
    assert out[0] == out[1]
    assert out[0].count("\n") == len(TASK_NAMES)


@pytest.mark.parametrize("task", TASK_NAMES)
def test_target_combinations_are_reserved_for_any_seed(task):
    maker = MAKERS[task]

    def combinations(split: str) -> set[str]:
        people = [
            person
            for seed in (0, 1, 2)
            for person in make_people(task, seed=seed, count=150, split=split, history=(0, 0), queries=0)
        ]
        assert {is_reserved(maker, person.traits) for person in people} == {split == "target"}
        return {maker.combination(person.traits) for person in people}

    assert not combinations("target") & (combinations("base") | combinations("candidate"))


@pytest.mark.parametrize("task", TASK_NAMES)
@pytest.mark.parametrize("split", SPLITS)
def test_sizes_and_ids(task, split):
    people = make_people(task, seed=1, count=30, split=split)
    low, high = SPLITS[split].history
    assert all(low <= len(person.history) <= high for person in people)
    assert all(len(person.queries) == SPLITS[split].queries for person in people)
    ids = [item.id for person in people for item in (*person.history, *person.queries)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"\d+", text) for text in ids)
    assert people[12].id == f"t1-{task}-{split}-00012" == people[12].user.id
    for kept in ("history", "queries"):
        least, most = TWEET_WORDS if (task, kept) == ("LaMP_7", "history") else X_WORDS[task]
        assert all(least <= len(item.x.split()) <= most for person in people for item in getattr(person, kept)), kept


@pytest.mark.parametrize("task", TASK_NAMES)
def test_what_histories_and_queries_hold(task):
    people = make_people(task, seed=2, count=20, split="target")
    items = [item for person in people for item in person.history]
    queries = [query for person in people for query in person.queries]
    assert all(len(person.oracle) == len(person.queries) for person in people)
    golds = {query.gold for query in queries}
    answers = {answer for person in people for answer in person.oracle}
    labels = set(get_task(task).labels)
    assert (golds | answers <= labels) if labels else len(golds) > len(queries) / 2
    if task == "LaMP_7":
        assert all(item.y is None for item in items)
        assert not {item.x for item in items} & {query.x for query in queries}
    elif labels and task != "LaMP_1":
        assert {item.y for item in items} <= labels
    else:
        assert all(item.y and item.y != item.x for item in items)
    if task == "LaMP_1":
        assert all(item.other and item.other != item.y for item in items)
        assert all(len(set(query.options)) == len(query.options) == 2 for query in queries)
        assert golds == {"[1]", "[2]"}
    else:
        assert not any(item.other for item in items)
        assert not any(query.options for query in queries)


def test_sizes_can_be_overridden():
    (person,) = make_people("LaMP_2", seed=1, count=1, split="base", history=(5, 5), queries=9)
    assert (len(person.history), len(person.queries)) == (5, 9)


@pytest.mark.parametrize("task", TASK_NAMES)
def test_the_release_layout_reads_back_as_the_same_people(task, tmp_path):
    write_town(tmp_path, seed=4, users=4, tasks=(task,))
    people = make_people(task, seed=4, count=4, split="target")
    rows = json.loads((tmp_path / task / "target_users.json").read_text())
    kept = get_task(task)
    for person, row in zip(people, rows, strict=True):
        assert set(row) == {"user_id", "profile", "query"}
        assert tuple(kept.read_item(fields) for fields in row["profile"]) == person.history
        assert tuple(kept.read_query(**fields) for fields in row["query"]) == person.queries
    apart = json.loads((tmp_path / task / "traits.json").read_text())
    assert apart == {
        person.id: {
            "traits": person.traits,
            "description": describe(person),
            "oracle": dict(zip([query["id"] for query in row["query"]], person.oracle, strict=True)),
        }
        for person, row in zip(people, rows, strict=True)
    }
    assert sorted(path.name for path in (tmp_path / task).iterdir()) == ["target_users.json", "traits.json"]


@pytest.mark.parametrize("task", TASK_NAMES)
def test_one_item_in_ten_is_noise(task):
    made = [item for _, item in made_of(task)]
    assert 0.085 < sum(item.noisy for item in made) / len(made) < 0.115


def test_style_shows_in_every_headline_but_noise():
    for traits, item in made_of("LaMP_4"):
        if item.noisy:
            continue
        y = item.y
        assert (y == y.lower()) == (traits["casing"] == "lower")
        assert (y == y.upper()) == (traits["casing"] == "upper")
        assert ("!" in y) == (traits["punctuation"] == "exclamation")
        assert ("..." in y) == (traits["punctuation"] == "ellipsis")
        assert ("why did" in y.lower()) == (traits["form"] == "question")
        assert bool(re.search(r"\bhow\b", y.lower())) == (traits["form"] == "how")
        assert ("evening post" in y.lower()) == (traits["extra"] == "post")
        assert bool(re.search(r"(^| )(a|an|the) ", y.lower())) == (traits["articles"] == "keep")


def test_every_value_of_every_trait_changes_the_headline():
    rng = random.Random(8)
    for name, values in STYLE.items():
        event = draw_event(rng, "council", False)
        traits = {trait: options[0] for trait, options in STYLE.items()}
        different = {headline(event, {**traits, name: value}) for value in values}
        assert len(different) == len(set(values)), name


def test_noise_deviates_visibly():
    """The same event told by the writer and against one of their traits never gives the same headline."""
    rng = random.Random(2)
    for _ in range(500):
        traits = MAKERS["LaMP_4"].draw(rng)
        event = draw_event(rng, rng.choice(TOPIC_NAMES), False)
        assert headline(event, traits) != headline(event, deviate(rng, traits))


def test_headline_words_are_copied_from_the_article_and_few():
    rng = random.Random(1)
    forms = {
        form for verb in VERBS.values() for r in verb.values() for text in vars(r).values() for form in text.split()
    }
    known = LITTLE_WORDS | {form.lower() for form in forms}
    lengths = []
    for _ in range(1500):
        event = draw_event(rng, rng.choice(TOPIC_NAMES), False)
        traits = MAKERS["LaMP_4"].draw(rng)
        text = headline(event, traits).lower()
        article = set(re.findall(r"[\w'-]+", write_article(rng, event, False).lower()))
        assert set(re.findall(r"\w[\w'-]*\w|\w", text)) <= article | known
        lengths.append(len(headline(event, {**traits, "extra": "none"}).split()))
    assert min(lengths) >= 4
    assert max(lengths) <= 15
    assert sum(length <= 12 for length in lengths) > 0.9 * len(lengths)


def test_the_article_does_not_tell_the_style():
    """The same stream of chance with another style gives the same article."""
    maker = MAKERS["LaMP_4"]
    traits = maker.draw(random.Random(1))
    for seed in range(200):
        x = maker.make(random.Random(seed), traits, False).x
        rng = random.Random(seed)
        event = draw_event(rng, rng.choice(traits["topics"]), False)
        if rng.random() >= 0.1:
            assert x == write_article(rng, event, False)


def test_a_film_gets_the_first_fitting_tag_of_its_fan():
    assert sorted(tag for tags in FAMILIES.values() for tag in tags) == sorted(MOVIE_TAGS)
    maker, rng = MAKERS["LaMP_2"], random.Random(5)
    for seed in range(1000):
        traits = maker.draw(rng)
        order = taste(traits)
        assert sorted(order) == sorted(MOVIE_TAGS)
        assert len(set(traits["shelf"])) == SHELF
        fitting, x = draw_film(random.Random(seed), traits["shelf"], False)
        made = maker.make(random.Random(seed), traits, False)
        assert made.x == x
        assert fitting <= set(traits["shelf"])
        assert 2 <= len(fitting) <= 4
        assert made.y in fitting
        assert (made.y == min(fitting, key=order.index)) == (not made.noisy)


def test_taste_decides_and_the_description_does_not():
    maker, rng = MAKERS["LaMP_2"], random.Random(9)
    one = maker.draw(rng)
    other = {**maker.draw(rng), "shelf": one["shelf"]}
    pairs = [(maker.make(random.Random(i), one, False), maker.make(random.Random(i), other, False)) for i in range(200)]
    same = [(a, b) for a, b in pairs if not a.noisy]
    assert all(a.noisy == b.noisy for a, b in pairs)
    assert all(a.x == b.x for a, b in same)
    assert any(a.y != b.y for a, b in same)


def test_names_are_many_differ_by_seed_and_are_held_out_for_targets():
    def draw(seed: int, held_out: bool) -> list[str]:
        rng = random.Random(seed)
        makers = (maker.first_name, maker.family_name, maker.place_name)
        return [make(rng, held_out) for make in makers for _ in range(1500)]

    rng = random.Random(1)
    assert len({maker.full_name(rng, False) for _ in range(1500)}) > 1400
    assert draw(1, False) != draw(2, False)
    assert not set(draw(1, False)) & set(draw(2, True))
    one = make_people("LaMP_4", seed=1, count=5, split="base")
    two = make_people("LaMP_4", seed=2, count=5, split="base")
    assert not {item.x for person in one for item in person.history} & {
        item.x for person in two for item in person.history
    }


def test_all_topics_have_four_kinds_of_happening():
    assert len(TOPICS) >= 10
    assert sum(len(verbs) for topic in TOPICS.values() for verbs, _, _ in topic.happenings) >= 40
    assert all(verb in VERBS for topic in TOPICS.values() for verbs, _, _ in topic.happenings for verb in verbs)


@pytest.mark.parametrize(
    "wrong", [{"task": "LaMP_9"}, {"split": "other"}, {"count": -1}, {"history": (5, 2)}, {"queries": -1}]
)
def test_what_cannot_be_made_is_said(wrong):
    with pytest.raises(PerpcsError):
        make_people(**{"task": "LaMP_4", "seed": 1, "count": 1, "split": "base", **wrong})


def test_traits_stay_out_of_what_a_method_sees():
    (person,) = make_people("LaMP_4", seed=1, count=1, split="target")
    assert not hasattr(person.user, "traits")
    assert not hasattr(person.user, "oracle")
    assert isinstance(person.history[0], Item)
    assert person.user == replace(person, traits={}, oracle=()).user
