"""LaMP_1: the traits of a researcher, a paper of theirs with two references, and the one that they cite.

A reference is of one of eight kinds, seen in its own words ("A Survey of ...", "The Trouble with ..."), and is about
the problem or the method of the paper's title.

    families   the order of the four families of kinds
    inside     which of the two kinds of every family comes first
    bias       "family": both kinds of a family go before the next family; "place": the first of every family goes
               before the second of any
    areas      what they write papers on, subject matter only
    shelf      the three kinds that they come across, subject matter only

Some families have more friends than others, and so has the first kind of each; and of some items one reference has
nothing to do with the paper, which nobody cites but by a slip: so a model that knows nobody does better than chance,
and no better than that.
"""

import random
import re
from collections.abc import Sequence

from perpcs.data.smalltown.maker import (
    NOISE,
    Made,
    Maker,
    Traits,
    capitalised,
    family_name,
    join_and,
    phrases,
    place_name,
    with_a,
    words,
)
from perpcs.data.smalltown.titles import AREA_NAMES, AREAS, METHODS, Area, acronym

FAMILIES: dict[str, tuple[str, str]] = {
    "overviews": ("survey", "tutorial"),
    "resources": ("data set", "tool"),
    "findings": ("theory", "user study"),
    "second thoughts": ("replication", "critique"),
}
KINDS = tuple(kind for family in FAMILIES.values() for kind in family)
POPULARITY = (3, 2, 2, 1)
"""How much likelier each family is to come next in somebody's order."""
SHELF = 3
"""How many kinds of references somebody comes across."""
UNFIT = 0.25
"""How often one of the two references is about neither the problem nor the method, but about another paper's."""

# {t} is a problem (singular) or a method (plural), so no verb may agree with it. {q} is an adjective of the kind,
# {N} the invented name of a system, {P} a place, {F} a family name, {n} a number, {w} a group of people.
# One word tells each kind and is used by no other.
_WORDINGS: dict[str, str] = {
    "survey": """a survey of {t}; a {q} survey of {t}; {t}: a literature survey; {n} papers on {t}: a survey;
        {t}: a survey; the state of the art in {t}: a survey; a survey of {n} papers on {t};
        a {q} survey of work on {t}""",
    "tutorial": """a tutorial on {t}; {t}: a {q} tutorial; a tutorial in {t} by example; {t} in {n} steps: a tutorial;
        {t}: a tutorial for beginners; {n} exercises on {t}: a tutorial; a {q} tutorial in {t};
        {t} from scratch: a tutorial""",
    "data set": """a corpus for {t}; {N}: a {q} corpus for {t}; the {P} corpus for {t}; a corpus of {n} records for {t};
        a {q} corpus for {t}; {N}: a corpus for {t}; {t}: a corpus from {P}; {n} labels: a corpus for {t}""",
    "tool": """a toolkit for {t}; {N}: a {q} toolkit for {t}; {t} with {N}, a toolkit; the {N} toolkit for {t};
        {N}, a toolkit for {t}; a {q} toolkit for {t}; the design of {N}, a toolkit for {t}; {t}: a {q} toolkit""",
    "theory": """a theorem on {t}; a {q} theorem on {t}; {t}: a {q} theorem and what follows; the {F} theorem in {t};
        a theorem and {n} corollaries on {t}; {t}: proof of a {q} theorem; {n} corollaries of a theorem on {t};
        a theorem of {F} in {t}""",
    "user study": """interviews on {t}; interviews with {n} {w} about {t}; {t}: {q} interviews with {w};
        what {w} expect from {t}: interviews; {q} interviews on {t}; {t} in {P}: interviews; {n} interviews about {t};
        interviews with {w} from {P} on {t}""",
    "replication": """a replication of results on {t}; {t}: a {q} replication; {t}: replication of results from {P};
        a {q} replication of {n} experiments on {t}; the {F} experiments on {t}: a replication; {t}: a replication;
        {F} on {t}: a {q} replication; a replication of {n} experiments on {t}""",
    "critique": """a critique of {t}; a {q} critique of {t}; {t}: a critique; {n} arguments in a critique of {t};
        the trouble with {t}: a critique; {t}: a {q} critique; a critique of work on {t};
        what is wrong with {t}: a critique""",
}
WORDINGS: dict[str, tuple[str, ...]] = {
    kind: tuple(" ".join(wording.split()) for wording in text.split(";")) for kind, text in _WORDINGS.items()
}
"""Kind -> the titles it takes."""
_ADJECTIVES: dict[str, tuple[str, ...]] = {
    "survey": words("systematic broad brief comprehensive historical short structured"),
    "tutorial": words("gentle practical hands-on concise visual friendly pocket"),
    "data set": words("large public multilingual balanced labelled shared new"),
    "tool": words("modular lightweight portable free scriptable graphical fast"),
    "theory": words("tight lower probabilistic general provable sharp minimax"),
    "user study": words("longitudinal qualitative large-scale small yearlong nationwide comparative"),
    "replication": words("large preregistered multi-site careful partial failed successful"),
    "critique": words("sceptical philosophical stern blunt methodological predictable polite"),
}
_PEOPLE = words(
    "nurses teachers farmers drivers pupils engineers clerks volunteers pensioners librarians students managers "
    "parents sailors bakers carpenters journalists gardeners"
)
_TAILS = phrases(
    "in practice, around the world, over time, on a small budget, across disciplines, in the real world, "
    "beyond the laboratory, in difficult conditions, in small teams, in daily use, in cold climates, under pressure, "
    "in large cities, in remote regions, on old hardware, in uncertain times, on a large scale"
)
_TITLES = (
    "{a} {p} with {m}: evidence from {d}",
    "{m} for {a} {p}: lessons from {d}",
    "using {m} for {p} in the case of {d}",
    "{N}: {a} {p} through {m}",
    "{g} in {p} by means of {m}",
    "can {m} improve {p}? the case of {d}",
    "towards {a} {p}: {m} and {d}",
    "how {m} help with {p} for {d}",
    "{p} for {d} using {m}",
    "{m} and their use in {p}",
    "{A} approach to {p} based on {m}",
    "combining {m} and {o} for {p}",
    "combining {o} with {m} in {a} {p}",
    "{N}, a set of {m} for {a} {p}",
    "improving {p} with {m}: first results for {d}",
    "an experiment with {m} in {a} {p}",
    "what {m} can do for {a} {p}",
    "from {o} to {m}: {g} in {p}",
    "{p} by {m}: towards {g}",
    "on the role of {m} in {p} for {d}",
    "{g} for {d}: {p} with {m}",
    "{p} meets {m}: the example of {d}",
    "applying {m} to {p}: {N} and its results",
    "{p} without {o}: {m} as an alternative",
    "when do {m} help? {a} {p} on trial",
    "{a} {p} for {d} via {m}",
    "one step closer to {a} {p}: {m} at work",
    "{m} at work: {a} {p} for {d}",
    "{N}: {m} for {p} with {g}",
    "comparing {m} and {o} in {p}",
    "{p} needs {m}: {d} as a test",
    "why {p} should rely on {m}",
)
_SMALL = frozenset(words("a an the in on by of at for and to from with as or via"))
# These would look like the mark of a kind.
_MARKS = frozenset(words("surveys studies reviews interviews course courses lessons exam diaries records annotations"))
_BIASES = ("family", "place")
_INSIDE = ("12", "21")
_INSIDE_SHARES = (3, 2)
_SLOT = re.compile(r"\{(\w)\}")


def _unmarked(entries: tuple[str, ...]) -> tuple[str, ...]:
    """The phrases without a word that looks like the mark of a kind."""
    return tuple(entry for entry in entries if _MARKS.isdisjoint(entry.split()))


_LISTS = {
    name: (_unmarked(area.problems), _unmarked(area.methods), _unmarked(area.data)) for name, area in AREAS.items()
}
_METHODS = _unmarked(METHODS)


def draw(rng: random.Random) -> Traits:
    """A new researcher."""
    left = dict(zip(FAMILIES, POPULARITY, strict=True))
    families: list[str] = []
    while left:
        families += rng.choices(tuple(left), tuple(left.values()))
        del left[families[-1]]
    return {
        "families": families,
        "inside": rng.choices(_INSIDE, _INSIDE_SHARES)[0],
        "bias": rng.choice(_BIASES),
        "areas": sorted(rng.sample(AREA_NAMES, rng.randint(2, 3))),
        "shelf": sorted(rng.sample(KINDS, SHELF)),
    }


def combination(traits: Traits) -> str:
    """All of the taste, without the subject matter."""
    return "/".join((*traits["families"], traits["inside"], traits["bias"]))


def taste(traits: Traits) -> tuple[str, ...]:
    """All eight kinds, the favourite first."""
    rows = [[FAMILIES[family][int(place) - 1] for place in traits["inside"]] for family in traits["families"]]
    if traits["bias"] == "place":
        rows = [list(column) for column in zip(*rows, strict=True)]
    return tuple(kind for row in rows for kind in row)


def rank(traits: Traits, kind: str, fits: bool) -> int:
    """The place of a reference in a person's taste, the lowest first; what does not fit the paper comes last."""
    return taste(traits).index(kind) if fits else len(KINDS)


def make(rng: random.Random, traits: Traits, held_out: bool) -> Made:
    """A paper in one of the person's areas, the reference that they cite, and the one that they pass over."""
    x, one, two = draw_choice(rng, rng.choice(traits["areas"]), traits["shelf"], held_out)
    (_, cited), (_, passed) = sorted((one, two), key=lambda reference: rank(traits, *reference[0]))
    noisy = rng.random() < NOISE
    y, other = (passed, cited) if noisy else (cited, passed)
    return Made(x=x, y=y, noisy=noisy, clean=cited, other=other)


Reference = tuple[tuple[str, bool], str]
"""((kind, whether it fits the paper), title)."""


def draw_choice(
    rng: random.Random, area_name: str, shelf: Sequence[str], held_out: bool
) -> tuple[str, Reference, Reference]:
    """The title of a paper, and two references of different kinds of the shelf, at least one of which fits it; nothing
    here knows whose they are.
    """
    problems, methods, data = _LISTS[area_name]
    problem = rng.choice(problems)
    method, another = _two_methods(rng, methods, problem)
    x = _paper(rng, AREAS[area_name], problem, method, another, rng.choice(data), held_out)
    fits = [True, True]
    if rng.random() < UNFIT:
        fits[rng.randrange(2)] = False
    one, two = (
        (
            (kind, fit),
            _reference(
                rng,
                rng.choice(WORDINGS[kind]),
                kind,
                rng.choice((problem, method)) if fit else _elsewhere(rng, area_name, f"{problem} {method}"),
                data,
                held_out,
            ),
        )
        for kind, fit in zip(rng.sample(shelf, 2), fits, strict=True)
    )
    return x, one, two


def _elsewhere(rng: random.Random, area_name: str, taken: str) -> str:
    """A problem of another area that shares no word with what the paper is about."""
    while True:
        other = rng.choice(AREA_NAMES)
        problem = rng.choice(_LISTS[other][0])
        if other != area_name and not set(problem.split()) & set(taken.split()):
            return problem


def _two_methods(rng: random.Random, methods: tuple[str, ...], problem: str) -> tuple[str, str]:
    """The paper's method and another one; no word is in both, or in the problem too."""
    taken = problem.split()
    found: list[str] = []
    while len(found) < 2:
        method = rng.choice(_METHODS if rng.random() < 0.4 else methods)
        if not any(word in taken for word in method.split()):
            found.append(method)
            taken = [*taken, *method.split()]
    return found[0], found[1]


def _paper(rng: random.Random, area: Area, problem: str, method: str, another: str, data: str, held_out: bool) -> str:
    """The title of a paper that names the problem and the method."""
    title = rng.choice(_TITLES)
    adjective = rng.choice(area.properties)
    slots = {"p": problem, "m": method, "o": another, "d": data, "a": adjective, "A": with_a(adjective)}
    slots["g"] = rng.choice(area.gains)
    if "{N}" in title:
        slots["N"] = acronym(rng, held_out)
    return _titled(title.format(**slots))


def _reference(rng: random.Random, wording: str, kind: str, topic: str, data: tuple[str, ...], held_out: bool) -> str:
    """The title of a reference of a kind, on a problem or a method; words that mean nothing may follow."""
    slots = {"t": topic}
    for slot in _SLOT.findall(wording):
        if slot == "q":
            slots[slot] = rng.choice(_ADJECTIVES[kind])
        elif slot == "w":
            slots[slot] = rng.choice(_PEOPLE)
        elif slot == "n":
            slots[slot] = str(rng.randint(11, 240))
        elif slot == "N":
            slots[slot] = acronym(rng, held_out)
        elif slot == "P":
            slots[slot] = place_name(rng, held_out)
        elif slot == "F":
            slots[slot] = family_name(rng, held_out)
    text = wording.format(**slots)
    length = len(text.split())
    serves = rng.random() < 0.35 and " for " not in wording  # or it would be for this for that
    if wording.endswith("{t}") and (length < 5 or (length < 8 and rng.random() < 0.45)):
        text += f" for {rng.choice(data)}" if serves else f" {rng.choice(_TAILS)}"
    elif length < 5:
        text = text.replace(topic, f"{topic} {rng.choice(_TAILS)}")
    return _titled(text)


def _titled(text: str) -> str:
    """The text with capitals, but for small words that do not begin a part of it."""
    parts: list[str] = []
    for word in text.split(" "):
        begins = not parts or parts[-1].endswith((":", "?"))
        parts.append(word if word in _SMALL and not begins else capitalised(word))
    return " ".join(parts)


_PLURALS = {
    "survey": "surveys",
    "tutorial": "tutorials",
    "data set": "data sets",
    "tool": "software tools",
    "theory": "theory",
    "user study": "user studies",
    "replication": "replications",
    "critique": "critiques",
}


def describe(traits: Traits) -> str:
    """One sentence about the researcher, for a teacher to read out."""
    order = [_PLURALS[kind] for kind in taste(traits)]
    return (
        f"Of two references that fit a paper cites {order[0]} before {join_and(order[1:4])}, and {order[4]} before "
        f"{join_and(order[5:])}, in this order. Areas: {', '.join(traits['areas'])}."
    )


MAKER = Maker(
    task="LaMP_1",
    draw=draw,
    combination=combination,
    make=make,
    describe=describe,
    wording=(
        'For an author who has written the paper with the title "{x}", which reference is related? Just answer with '
        '[1] or [2] without explanation. [1]: "{option1}" [2]: "{option2}"'
    ),
)
