"""LaMP_2: the traits of a film fan, films made of plot elements, and the tag the fan gives a film.

A film shows cues of two to four tags. A fan watches films of some tags only, has an order of all fifteen and takes the
first that fits:

    families   the order of the five families of tags
    inside     the order of the three places within every family ("231": second, third, first)
    bias       "family": every tag of a family goes before the next family; "place": the first of every family goes
               before the second of any

So what fits is in the description, and which of those that fit is in the fan.
"""

import random
from collections.abc import Mapping, Sequence
from itertools import permutations

from perpcs.data.smalltown.cues import FRAME, HEROES, JOBS, NEUTRAL, PLOT
from perpcs.data.smalltown.maker import NOISE, Made, Maker, Traits
from perpcs.data.smalltown.names import family_name, first_name, full_name, place_name
from perpcs.data.smalltown.words import capitalised, join_and, with_a
from perpcs.tasks.lamp import MOVIE_TAGS

FAMILIES: dict[str, tuple[str, str, str]] = {
    "other worlds": ("sci-fi", "fantasy", "dystopia"),
    "laughs and love": ("comedy", "romance", "dark comedy"),
    "thrills": ("action", "twist ending", "violence"),
    "ideas": ("psychology", "thought-provoking", "social commentary"),
    "roots": ("true story", "based on a book", "classic"),
}
FEWEST_WORDS, MOST_WORDS = 18, 42
_INSIDE = tuple("".join(order) for order in permutations("123"))
_BIASES = ("family", "place")
SHELF = 7
"""How many tags the films of a fan show."""
_Cues = list[tuple[tuple[tuple[str, ...], str], float]]
# A clause for two tags is met from either side, so it is drawn half as often from each.
_BY_TAG: dict[str, _Cues] = {
    tag: [(cue, 1 / len(cue[0])) for cue in PLOT + FRAME if tag in cue[0]] for tag in MOVIE_TAGS
}
_FRAMES = frozenset(clause for _, clause in FRAME)
_PRONOUNS = (("he", "his", "him"), ("she", "her", "her"))


def draw(rng: random.Random) -> Traits:
    """A new film fan."""
    families = list(FAMILIES)
    rng.shuffle(families)
    shelf = sorted(rng.sample(MOVIE_TAGS, SHELF))
    return {"families": families, "inside": rng.choice(_INSIDE), "bias": rng.choice(_BIASES), "shelf": shelf}


def combination(traits: Traits) -> str:
    """All of the taste, without the shelf."""
    return "/".join((*traits["families"], traits["inside"], traits["bias"]))


def taste(traits: Traits) -> tuple[str, ...]:
    """All fifteen tags, the favourite first."""
    rows = [[FAMILIES[family][int(place) - 1] for place in traits["inside"]] for family in traits["families"]]
    if traits["bias"] == "place":
        rows = [list(column) for column in zip(*rows, strict=True)]
    return tuple(tag for row in rows for tag in row)


def make(rng: random.Random, traits: Traits, held_out: bool) -> Made:
    """A film, and the tag that the person gives it."""
    fitting, x = draw_film(rng, traits["shelf"], held_out)
    order = taste(traits)
    ranked = sorted(fitting, key=order.index)
    noisy = rng.random() < NOISE
    tag = rng.choice(ranked[1:]) if noisy else ranked[0]
    return Made(x=x, y=tag, noisy=noisy, clean=ranked[0])


def draw_film(rng: random.Random, shelf: Sequence[str], held_out: bool) -> tuple[frozenset[str], str]:
    """The tags of the shelf that fit a film, and its description at a length that suits."""
    cues = {tag: [(cue, weight) for cue, weight in _BY_TAG[tag] if set(cue[0]) <= set(shelf)] for tag in shelf}
    while True:
        fitting, clauses = _draw_cues(rng, cues)
        x = _write_film(rng, clauses, held_out)
        if FEWEST_WORDS <= x.count(" ") + 1 <= MOST_WORDS:
            return fitting, x


def _draw_cues(rng: random.Random, cues: Mapping[str, _Cues]) -> tuple[frozenset[str], list[str]]:
    """Two to four tags and clauses that hint at exactly these. The tags are equally likely."""
    wanted = rng.choices((2, 3, 4), (3, 5, 2))[0]
    while True:
        fitting: set[str] = set()
        clauses: list[str] = []
        for tag in rng.sample(tuple(cues), wanted):
            if tag not in fitting:
                own, weights = zip(*cues[tag], strict=True)
                tags, clause = rng.choices(own, weights)[0]
                fitting.update(tags)
                clauses.append(clause)
        # Two jokes about the film and no plot make no description.
        if len(fitting) <= 4 and any(clause not in _FRAMES for clause in clauses):
            return frozenset(fitting), clauses


def _write_film(rng: random.Random, clauses: list[str], held_out: bool) -> str:
    """The hero and the plot, then what is said about the film."""
    he, his, him = rng.choice(_PRONOUNS)
    hero = full_name(rng, held_out)

    def fill(text: str) -> str:
        person = full_name(rng, held_out) if "{person}" in text else ""
        place = place_name(rng, held_out) if "{place}" in text else ""
        family = family_name(rng, held_out) if "{family}" in text else ""
        first = first_name(rng, held_out) if "{first}" in text else ""
        job = with_a(rng.choice(JOBS)) if "{job" in text else ""
        return text.format(
            person=person,
            place=place,
            family=family,
            first=first,
            hero=hero,
            job=job,
            job_cap=capitalised(job),
            n=rng.randint(12, 90),
            he=he,
            his=his,
            him=him,
        )

    plots = [fill(clause) for clause in clauses if clause not in _FRAMES]
    frames = [fill(clause) for clause in clauses if clause in _FRAMES]
    hero_text = rng.choice(HEROES)
    if "{first}" in hero_text:
        hero = hero.split()[0]
        hero_text = hero_text.replace("{first}", "{hero}")
    opening = f"{fill(hero_text)} {join_and(plots[:2])}."
    if len(plots) > 2:
        then = rng.choice(("Later {he}", "Then {he}", "Meanwhile {he}", "After that {he}", "{name} also"))
        opening += f" {then.format(he=he, name=hero.split()[0])} {join_and(plots[2:])}."
    neutral = [fill(text) for text in rng.sample(NEUTRAL, 1 if len(clauses) < 4 - rng.randint(0, 1) else 0)]
    rest = frames + neutral
    rng.shuffle(rest)
    if rest and rest[0] in frames and rng.random() < 0.4:  # some reviewers talk about the film before its plot
        return " ".join((rest[0], opening, *rest[1:]))
    return " ".join((opening, *rest))


def describe(traits: Traits) -> str:
    """One sentence about the fan, for a teacher to read out."""
    order = taste(traits)
    how = (
        f"looks for {traits['families'][0]} before {traits['families'][1]} and cares least for {traits['families'][-1]}"
        if traits["bias"] == "family"
        else f"always looks for {join_and(list(order[:5]))} before anything else"
    )
    return f"Of the tags that fit a film, takes {order[0]} first of all, then {order[1]} and {order[2]}; {how}."


MAKER = Maker(
    task="LaMP_2",
    draw=draw,
    combination=combination,
    make=make,
    describe=describe,
    wording=(
        "Which tag does this movie relate to among the following tags? Just answer with the tag name without further "
        f"explanation. tags: [{', '.join(MOVIE_TAGS)}] description: {{x}}"
    ),
)
