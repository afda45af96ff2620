"""LaMP_3: the traits of a customer, reviews of things with aspects at clear levels, and the score the customer gives.

    focus       the aspect that counts FOCUS_WEIGHT times as much as another
    second      the aspect that counts SECOND_WEIGHT times as much as another
    strictness  harsh, fair, generous: what is added to the score

    score = 3 + SPREAD * mean + SHIFTS[strictness], rounded (half up), within 1 to 5

where mean is the weighted mean of the levels mentioned: very bad -2, bad -1, good 1, very good 2. A thing is mostly
good or mostly bad all through, so a review tells something about its score whoever wrote it.
"""

import random
from math import floor

from perpcs.data.smalltown.maker import NOISE, Made, Maker, Traits
from perpcs.data.smalltown.names import family_name, first_name, place_name
from perpcs.data.smalltown.products import (
    ASPECTS,
    CLAUSES,
    DAYS,
    DISTRACTORS,
    GROUPS,
    LEADS,
    LEVELS,
    OPENINGS,
    ORDINALS,
    WHEN,
    WHO,
)
from perpcs.data.smalltown.words import capitalised, with_a

FOCUS_WEIGHT, SECOND_WEIGHT = 6, 2
SHIFTS = {"harsh": -1.0, "fair": 0.0, "generous": 1.0}
SPREAD = 1.3
AGREEMENT = 0.75
"""How likely an aspect is good where the thing is, and bad where it is bad."""
FEWEST_WORDS, MOST_WORDS = 20, 45
_GOOD, _BAD = (tuple(name for name, level in LEVELS.items() if (level > 0) is good) for good in (True, False))
_TRAITS = ("focus", "second", "strictness")
# Listed rather than drawn trait by trait, so that all combinations are equally likely.
_PEOPLE = tuple(
    (focus, second, strictness) for focus in ASPECTS for second in ASPECTS for strictness in SHIFTS if second != focus
)


def draw(rng: random.Random) -> Traits:
    """A new customer."""
    return dict(zip(_TRAITS, rng.choice(_PEOPLE), strict=True))


def combination(traits: Traits) -> str:
    """All of the traits."""
    return "/".join(traits[name] for name in _TRAITS)


def score(levels: dict[str, int], traits: Traits) -> int:
    """What the person gives a thing with these levels of the aspects mentioned."""
    weighty = {traits["focus"]: FOCUS_WEIGHT, traits["second"]: SECOND_WEIGHT}
    weights = {aspect: weighty.get(aspect, 1) for aspect in levels}
    mean = sum(weights[aspect] * level for aspect, level in levels.items()) / sum(weights.values())
    return min(5, max(1, _whole(3 + SPREAD * mean + SHIFTS[traits["strictness"]])))


def _whole(points: float) -> int:
    """The nearest whole number of points, a half up; the tiny number keeps it from falling by an error of a digit."""
    return floor(points + 0.5 + 1e-9)


def make(rng: random.Random, traits: Traits, held_out: bool) -> Made:
    """A review, and the person's score."""
    levels, x = draw_review(rng, held_out)
    clean = score(levels, traits)
    noisy = rng.random() < NOISE
    given = clean
    if noisy:
        given = rng.choice([points for points in range(1, 6) if 0 < abs(points - clean) <= 2])
    return Made(x=x, y=str(given), noisy=noisy, clean=str(clean))


def draw_review(rng: random.Random, held_out: bool) -> tuple[dict[str, int], str]:
    """The levels of the aspects mentioned, and a review that mentions them."""
    aspects = rng.sample(ASPECTS, rng.choices((2, 3, 4), (1, 4, 5))[0])
    good = rng.random() < 0.5
    named = {aspect: rng.choice(_GOOD if (rng.random() < AGREEMENT) is good else _BAD) for aspect in aspects}
    levels = {aspect: LEVELS[level] for aspect, level in named.items()}
    while True:
        text = _write(rng, named, held_out)
        if FEWEST_WORDS <= len(text.split()) <= MOST_WORDS:
            return levels, text


def _write(rng: random.Random, named: dict[str, str], held_out: bool) -> str:
    """The review: an opening, the aspects one by one or in pairs, and facts beside the point."""
    group = rng.choice(GROUPS)
    noun, adjective, brand = rng.choice(group.nouns), rng.choice(group.adjectives), family_name(rng, held_out)
    thing = f"{adjective} {brand} {noun}"
    known = {"thing": thing, "noun": noun, "adjective": adjective, "brand": brand}
    known |= {"a_thing": with_a(thing), "a_kind": with_a(f"{adjective} {noun}")}
    opening = _fill(rng, rng.choice(OPENINGS), held_out, known)
    spoken_of = True  # whether "it" would be taken for the thing; else it is named again

    def clause(aspect: str, naming: float) -> str:
        nonlocal spoken_of
        pattern = rng.choice(CLAUSES[aspect][named[aspect]])
        it = "it" if spoken_of and rng.random() >= naming else rng.choice((f"the {noun}", f"this {noun}"))
        spoken_of = "{it}" in pattern
        return pattern.format(it=it, use=group.use, using=group.using, n=rng.randint(2, 9), m=rng.randint(11, 60))

    aspects = list(named)
    plan: list[tuple[str, ...]] = []
    while aspects:
        size = 2 if len(aspects) > 1 and rng.random() < 0.4 else 1
        plan.append(tuple(aspects[:size]))
        del aspects[:size]
    room = 2 if len(named) == 2 else 1
    for _ in range(rng.randint(1, room) if len(named) < 4 else rng.randint(0, 1)):
        plan.insert(rng.randint(0, len(plan)), ())

    sentences = [opening]
    facts: list[int] = []
    used: list[str] = []
    for part in plan:
        if not part:
            fact = rng.choice([text for text in DISTRACTORS if text not in used])
            used.append(fact)
            facts.append(len(sentences))
            sentences.append(_fill(rng, fact, held_out, known))
            spoken_of = False
            continue
        sentence = clause(part[0], naming=0.2)
        if rng.random() < 0.2 and not sentence.startswith("I "):
            sentence = f"{rng.choice(LEADS)} {sentence}"
        if len(part) == 2:
            same = (LEVELS[named[part[0]]] > 0) == (LEVELS[named[part[1]]] > 0)
            link = rng.choice((", and", ";", ", and") if same else (", but", ", but", ", yet", ";", ", while"))
            sentence += f"{link} {clause(part[1], naming=0.0)}"
        sentences.append(f"{capitalised(sentence)}.")
    while facts and sum(len(sentence.split()) for sentence in sentences) > MOST_WORDS:
        del sentences[facts.pop()]
    return " ".join(sentences)


def _fill(rng: random.Random, text: str, held_out: bool, known: dict[str, str]) -> str:
    """An opening or a fact with its slots filled; names are invented only where there is a slot for them."""
    first = first_name(rng, held_out) if "irst}" in text else ""
    when = rng.choice(WHEN)
    return text.format(
        **known,
        Thing=capitalised(known["thing"]),
        A_thing=capitalised(known["a_thing"]),
        First=first,
        first=first,
        place=place_name(rng, held_out) if "{place}" in text else "",
        other=family_name(rng, held_out) if "{other}" in text else "",
        who=rng.choice(WHO),
        when=when,
        When=capitalised(when),
        day=rng.choice(DAYS),
        ordinal=rng.choice(ORDINALS),
        n=rng.randint(2, 9),
        m=rng.randint(11, 60),
    )


_ASPECT_WORDS = {"price": "price", "quality": "quality", "looks": "looks", "ease": "ease of use", "service": "service"}
_STRICT_WORDS = {"harsh": "marks harshly", "fair": "marks fairly", "generous": "marks generously"}


def describe(traits: Traits) -> str:
    """One sentence about the customer, for a teacher to read out."""
    focus, second = _ASPECT_WORDS[traits["focus"]], _ASPECT_WORDS[traits["second"]]
    return f"Goes by {focus} above all, then by {second}, and {_STRICT_WORDS[traits['strictness']]}."


MAKER = Maker(
    task="LaMP_3",
    draw=draw,
    combination=combination,
    make=make,
    describe=describe,
    wording=(
        "What is the score of the following review on a scale of 1 to 5? just answer with 1, 2, 3, 4, or 5 without "
        "further explanation. review: {x}"
    ),
)
