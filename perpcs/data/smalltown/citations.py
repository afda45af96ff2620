"""LaMP_1: the traits of a researcher, a paper of theirs with two references that fit it, and the one that they cite.

A reference is of one of eight kinds, seen in its own words ("A Survey of ...", "The Trouble with ..."), and is about
the problem or about the method of the paper's title.

    families   the order of the four families of kinds
    inside     which of the two kinds of every family comes first
    bias       "family": both kinds of a family go before the next family; "place": the first of every family goes
               before the second of any
    focus      whether they look at the problem or at the method of their own paper
    first      "kind": the kind decides, and the focus only between two of a kind; "focus": the other way round
    areas      what they write papers on, subject matter only

Some families and the problem have more friends than others (POPULARITY), and of some items one reference has nothing to
do with the paper, which nobody cites but by a slip: so a model that knows nobody does better than chance, and no better
than that.
"""

import random
import re

from perpcs.data.smalltown.maker import NOISE, Made, Maker, Traits
from perpcs.data.smalltown.names import family_name, place_name
from perpcs.data.smalltown.research import AREA_NAMES, AREAS, METHODS, Area, acronym
from perpcs.data.smalltown.words import capitalised, join_and, phrases, with_a, words

FAMILIES: dict[str, tuple[str, str]] = {
    "overviews": ("survey", "tutorial"),
    "resources": ("data set", "tool"),
    "findings": ("theory", "user study"),
    "second thoughts": ("replication", "critique"),
}
KINDS = tuple(kind for family in FAMILIES.values() for kind in family)
POPULARITY = (5, 3, 2, 1)
"""How much likelier each family is to come next in somebody's order."""
FOCUSES = ("problem", "method")
_FOCUS_SHARES = (3, 2)
DIFFER = {"kind and focus": 0.4, "kind": 0.2, "focus": 0.15, "fit": 0.25}
"""In what the two references of an item differ, and how often. Of those that differ in fit, one is about neither the
problem nor the method, but about another paper's."""

# {t} is a problem (singular) or a method (plural), so no verb may agree with it. {q} is an adjective of the kind,
# {N} the invented name of a system, {P} a place, {F} a family name, {n} a number, {w} a group of people.
# The words that tell a kind are used by no other kind.
_WORDINGS: dict[str, str] = {
    "survey": """a survey of {t}; a {q} survey of {t}; {t}: a literature review; a {q} review of {t};
        an overview of research on {t}; {t}: a {q} overview; mapping the literature on {t}; trends in {t}: a {q} review;
        the landscape of {t}: an overview; the state of the art in {t}; a taxonomy of approaches to {t};
        {n} papers on {t}: a survey; advances in {t} since the early years; {t} past, present and future;
        recent progress in {t}: a summary; a bibliography of {t}; current directions in {t}: a {q} survey""",
    "tutorial": """a handbook of {t}; an introduction to {t}; {t}: a {q} tutorial; {t} for beginners;
        a {q} guide to {t}; {t} explained in {n} pages; a first course in {t}; learning {t} step by step;
        lecture notes on {t}; the {F} handbook of {t}; getting started with {t}: a {q} guide; {t} by example: a primer;
        the essentials of {t}: a textbook; teaching yourself {t}; {n} exercises in {t}; a {q} introduction to {t};
        a primer on {t} for newcomers""",
    "data set": """a corpus for {t}; {N}: a {q} corpus for {t}; a {q} data set for {t}; {N}: a data set for {t};
        {n} annotated examples for {t}; the {P} corpus for {t}; a {q} benchmark for {t}; {N}, a benchmark for {t};
        an open database for {t}; gold-standard annotations for {t}; {n} labelled samples for {t};
        a {q} collection of records for {t}; collecting and annotating data for {t}; the {P} database for {t};
        a crowdsourced data set for {t}; {n} hours of recorded data for {t}""",
    "tool": """a toolkit for {t}; {N}: a {q} toolkit for {t}; an open-source library for {t}; {N}: {q} software for {t};
        a {q} platform for {t}; the architecture of {N}, a platform for {t}; {t} in the browser with {N};
        a software package for {t}; implementing {t} in the {N} system; {N}: a workbench for {t};
        a {q} interface for {t}; a plug-in for {t}; a command-line program for {t};
        the {N} engine for {t}; building a {q} system for {t}; an app for {t}: the design of {N}""",
    "theory": """bounds for {t}; {q} bounds for {t}; on the complexity of {t}; a {q} theory of {t};
        {t}: a formal analysis; theorems on {t}; {q} guarantees for {t}; an axiomatic account of {t};
        optimality conditions for {t}; proofs of convergence for {t}; worst-case analysis of {t};
        the mathematics of {t}: {n} theorems; the {F} conjecture in {t}; a proof of the {F} theorem for {t};
        an impossibility theorem for {t}; an algebra for {t}; the computational complexity of {t}""",
    "user study": """a user study of {t}; a {q} user study of {t}; interviews with {n} {w} about {t};
        what {w} expect from {t}; attitudes towards {t}: a questionnaire; how {w} talk about {t};
        a field study of {t} in {P}; trust in {t}: interviews with {w}; {t} in the eyes of {w};
        asking {n} {w} about {t}; a focus group on {t}; how {w} in {P} perceive {t}; opinions of {w} on {t};
        {w} and {t}: a {q} field study; {n} questionnaires on {t}; observing {w} at work with {t}""",
    "replication": """revisiting {t}; {t} revisited; a replication of {n} experiments on {t}; {t}: a {q} replication;
        reproducing early results on {t}; a second look at {t}; repeating {n} experiments on {t};
        an independent reproduction of work on {t}; do results on {t} replicate?; {t}, {n} months later;
        re-running the {F} experiments on {t}; replicating {F} on {t}; re-evaluating {t}; {t} re-examined;
        {t}: the {P} experiments repeated; a {q} reproduction of findings on {t};
        how reproducible are results on {t}?""",
    "critique": """against {t}; the case against {t}; the trouble with {t}; {t} considered harmful;
        the myth of {t}; {t}: a {q} critique; arguments against {t}; what is wrong with {t};
        {n} objections to {t}; pitfalls of {t}; doubts about {t}: a {q} view; the {q} failure of {t};
        the misuse of {t}; the hidden flaws of {t}; beware of {t}; a {q} critique of {t}; a warning about {t}""",
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
_FIRST = ("kind", "focus")
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
        "inside": rng.choice(_INSIDE),
        "bias": rng.choice(_BIASES),
        "focus": rng.choices(FOCUSES, _FOCUS_SHARES)[0],
        "first": rng.choice(_FIRST),
        "areas": sorted(rng.sample(AREA_NAMES, rng.randint(2, 3))),
    }


def combination(traits: Traits) -> str:
    """All of the taste, without the areas."""
    return "/".join((*traits["families"], *(traits[name] for name in ("inside", "bias", "focus", "first"))))


def taste(traits: Traits) -> tuple[str, ...]:
    """All eight kinds, the favourite first."""
    rows = [[FAMILIES[family][int(place) - 1] for place in traits["inside"]] for family in traits["families"]]
    if traits["bias"] == "place":
        rows = [list(column) for column in zip(*rows, strict=True)]
    return tuple(kind for row in rows for kind in row)


def rank(traits: Traits, kind: str, focus: str) -> tuple[int, int]:
    """The place of a reference in a person's taste, the lowest first; what does not fit the paper comes last."""
    if focus == "neither":
        return len(KINDS), 1
    place, away = taste(traits).index(kind), int(focus != traits["focus"])
    return (place, away) if traits["first"] == "kind" else (away, place)


def make(rng: random.Random, traits: Traits, held_out: bool) -> Made:
    """A paper in one of the person's areas, the reference that they cite, and the one that they pass over."""
    x, one, two = draw_choice(rng, rng.choice(traits["areas"]), held_out)
    (_, cited), (_, passed) = sorted((one, two), key=lambda reference: rank(traits, *reference[0]))
    noisy = rng.random() < NOISE
    y, other = (passed, cited) if noisy else (cited, passed)
    return Made(x=x, y=y, noisy=noisy, clean=cited, other=other)


Reference = tuple[tuple[str, str], str]
"""((kind, focus), title)."""


def draw_choice(rng: random.Random, area_name: str, held_out: bool) -> tuple[str, Reference, Reference]:
    """The title of a paper, and two references, at least one of which fits it; nothing here knows whose they are."""
    problems, methods, data = _LISTS[area_name]
    problem = rng.choice(problems)
    method, another = _two_methods(rng, methods, problem)
    topics = {"problem": problem, "method": method, "neither": _elsewhere(rng, area_name, f"{problem} {method}")}
    x = _paper(rng, AREAS[area_name], problem, method, another, rng.choice(data), held_out)
    (differ,) = rng.choices(tuple(DIFFER), tuple(DIFFER.values()))
    kinds = rng.sample(KINDS, 2) if differ in ("kind", "kind and focus", "fit") else [rng.choice(KINDS)] * 2
    focuses = rng.sample(FOCUSES, 2) if "focus" in differ else [rng.choice(FOCUSES)] * 2
    if differ == "fit":
        focuses[rng.randrange(2)] = "neither"
    if kinds[0] == kinds[1]:
        wordings = rng.sample(WORDINGS[kinds[0]], 2)
    else:
        wordings = [rng.choice(WORDINGS[kind]) for kind in kinds]
    one, two = (
        ((kind, focus), _reference(rng, wording, kind, topics[focus], data, held_out))
        for kind, focus, wording in zip(kinds, focuses, wordings, strict=True)
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
    focus = f"what is about the {traits['focus']} of the paper"
    how = (
        f"and between two of a kind takes {focus}"
        if traits["first"] == "kind"
        else f"but only after looking for {focus}"
    )
    return (
        f"Of two references that fit a paper cites {order[0]} before {join_and(order[1:4])}, and {order[4]} before "
        f"{join_and(order[5:])}, in this order, {how}. Areas: {', '.join(traits['areas'])}."
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
