"""LaMP_5: the traits of a scholar, the abstract of a paper, and the title the scholar gives it.

    form       plain  graph filters for speech recognition         question  can graph filters improve ...?
               gerund  improving speech recognition using ...      towards  towards speech recognition using ...
               on  on the use of graph filters for ...             how  how graph filters improve ...
               colon  speech recognition: a study using ...
    lead       the method or the problem comes first
    wording    plain  improve, for, using      brisk  boost, in, via      formal  advance, applied to, through
    property   robust speech recognition / speech recognition
    acronym    never named, in front with a colon, or at the end in brackets
    tail       nothing, the data, the gain, "a case study" or "an empirical study"
    casing, areas

Traits are independent, but that a title with two subtitles or of more than twelve words (thirteen, where a gain has
three) does not occur, so that every trait of a person shows in every title they write. The name of a system keeps its
capitals in every casing.
"""

import random
from dataclasses import dataclass

from perpcs.data.smalltown.maker import NOISE, Made, Maker, Traits
from perpcs.data.smalltown.names import family_name, full_name, place_name
from perpcs.data.smalltown.research import AREA_NAMES, AREAS, METHODS, acronym
from perpcs.data.smalltown.words import capitalised, join_and, with_a, words

STYLE: dict[str, tuple[str, ...]] = {
    "form": ("plain", "question", "gerund", "towards", "on", "how", "colon"),
    "lead": ("method", "problem"),
    "wording": ("plain", "brisk", "formal"),
    "property": ("keep", "drop"),
    "acronym": ("never", "front", "end"),
    "tail": ("none", "data", "gain", "case study", "empirical study"),
    "casing": ("title", "sentence", "lower", "upper"),
}
FEWEST_WORDS, MOST_WORDS = 25, 45
LONGEST_TITLE = 12
_SMALL = frozenset(words("a an the in on by of for to with via and from using"))
_STUDIES = {"case study": "a case study", "empirical study": "an empirical study"}


@dataclass(frozen=True)
class Paper:
    """What a paper is about. Every phrase stands in its abstract as it is here."""

    problem: str
    method: str
    data: str
    system: str
    gain: str
    quality: str


_TYPICAL = Paper("speech recognition", "graph filters", "noisy recordings", "SOLVAR", "fewer errors", "robust")
"""Nearly all phrases have two words, so this paper shows how long anybody's titles are."""


_BODIES: dict[tuple[str, str], tuple[str, str, str]] = {  # (form, lead): in plain, brisk and formal wording
    ("plain", "method"): ("{m} for {p}", "{m} in {p}", "{m} applied to {p}"),
    ("plain", "problem"): ("{p} using {m}", "{p} via {m}", "{p} through {m}"),
    ("question", "method"): ("can {m} improve {p}", "can {m} boost {p}", "can {m} advance {p}"),
    ("question", "problem"): ("can {p} benefit from {m}", "can {p} gain from {m}", "can {p} profit from {m}"),
    ("gerund", "method"): ("using {m} for {p}", "trying {m} in {p}", "applying {m} to {p}"),
    ("gerund", "problem"): ("improving {p} using {m}", "boosting {p} via {m}", "advancing {p} through {m}"),
    ("towards", "method"): ("towards {m} for {p}", "towards {m} in {p}", "towards {m} applied to {p}"),
    ("towards", "problem"): ("towards {p} using {m}", "towards {p} via {m}", "towards {p} through {m}"),
    ("on", "method"): ("on the use of {m} for {p}", "on the role of {m} in {p}", "on the application of {m} to {p}"),
    ("on", "problem"): ("on {p} using {m}", "on {p} via {m}", "on {p} through {m}"),
    ("how", "method"): ("how {m} improve {p}", "how {m} boost {p}", "how {m} advance {p}"),
    ("how", "problem"): ("how {p} benefits from {m}", "how {p} gains from {m}", "how {p} profits from {m}"),
    ("colon", "method"): ("{m}: a tool for {p}", "{m}: new paths in {p}", "{m}: an approach to {p}"),
    ("colon", "problem"): ("{p}: a study using {m}", "{p}: new paths via {m}", "{p}: an approach through {m}"),
}


def draw(rng: random.Random) -> Traits:
    """A new scholar; every style that goes together is equally likely."""
    while True:
        traits: Traits = {name: rng.choice(values) for name, values in STYLE.items()}
        if fits(traits):
            return {"areas": sorted(rng.sample(AREA_NAMES, rng.randint(2, 4))), **traits}


def fits(traits: Traits) -> bool:
    """Whether the traits go together: one colon at most to a title, and no more than twelve words."""
    if traits["form"] == "colon" and (traits["acronym"] == "front" or traits["tail"] in _STUDIES):
        return False
    if traits["acronym"] == "front" and traits["tail"] in _STUDIES and traits["form"] != "question":
        return False
    return title(_TYPICAL, traits).count(" ") < LONGEST_TITLE


def combination(traits: Traits) -> str:
    """The style, without the areas."""
    return "/".join(traits[name] for name in STYLE)


def deviate(rng: random.Random, traits: Traits) -> Traits:
    """The same traits with another value of one of them; it shows, as all do."""
    while True:
        name = rng.choice(tuple(STYLE))
        other = {**traits, name: rng.choice([value for value in STYLE[name] if value != traits[name]])}
        if fits(other):
            return other


def make(rng: random.Random, traits: Traits, held_out: bool) -> Made:
    """The abstract of a paper in one of the person's areas, and their title."""
    paper = draw_paper(rng, rng.choice(traits["areas"]), held_out)
    x = write_abstract(rng, paper, held_out)
    noisy = rng.random() < NOISE
    clean = title(paper, traits)
    return Made(x=x, y=title(paper, deviate(rng, traits)) if noisy else clean, noisy=noisy, clean=clean)


def title(paper: Paper, traits: Traits) -> str:
    """The title that a person with these traits gives the paper."""
    problem = f"{paper.quality} {paper.problem}" if traits["property"] == "keep" else paper.problem
    body = _BODIES[traits["form"], traits["lead"]][STYLE["wording"].index(traits["wording"])]
    body = body.format(m=paper.method, p=problem)
    body += {"data": f" on {paper.data}", "gain": f" with {paper.gain}"}.get(traits["tail"], "")
    question = traits["form"] == "question"
    if question:
        body += "?"
    if traits["tail"] in _STUDIES:
        body += f"{'' if question else ':'} {_STUDIES[traits['tail']]}"
    body = _cased(body, traits["casing"])
    if traits["acronym"] == "front":
        return f"{paper.system}: {body}"
    return f"{body} ({paper.system})" if traits["acronym"] == "end" else body


def _cased(text: str, casing: str) -> str:
    """The text in a person's casing. What comes after a colon or question mark begins like a title of its own."""
    if casing in ("lower", "upper"):
        return text.lower() if casing == "lower" else text.upper()
    parts: list[str] = []
    for word in text.split(" "):
        first = not parts or parts[-1].endswith((":", "?"))
        parts.append(capitalised(word) if first or (casing == "title" and word not in _SMALL) else word)
    return " ".join(parts)


def draw_paper(rng: random.Random, area_name: str, held_out: bool) -> Paper:
    """A new paper of an area. Half of the methods are peculiar to the area."""
    area = AREAS[area_name]
    return Paper(
        problem=rng.choice(area.problems),
        method=rng.choice(area.methods if rng.random() < 0.5 else METHODS),
        data=rng.choice(area.data),
        system=acronym(rng, held_out),
        gain=rng.choice(area.gains),
        quality=rng.choice(area.properties),
    )


# A first sentence with the property is followed by one with the data, and the other way round.
_WITH_QUALITY = (
    "Although {r} {p} has been studied since {year}, it remains difficult, so we present {s}, which relies on {m}.",
    "We introduce {s}, a system that uses {m} to make {p} {r}.",
    "This paper describes {s}, our attempt at {r} {p} by means of {m}.",
    "{r} {p} is still out of reach, and {s} therefore puts {m} to work.",
    "In {year} a team from {place} began to build {s}, which brings {m} to {r} {p}.",
    "{m} are rarely used where {r} {p} is needed, and {s} fills this gap.",
    "For {r} {p}, we propose {s}, {n} lines of code built around {m}.",
    "{s} is a new system for {p} in which {m} are combined so that the outcome is {r}.",
    "Drawing on {n} earlier papers, {s} applies {m} to the problem of {r} {p}.",
    "Most work on {p} ignores {m}, yet {s} shows that they make it {r}.",
    "The {place} workshop of {year} called for {r} {p}, and {s} answers with {m}.",
    "{p} can be made {r} if {m} are used, as {s}, our new system, demonstrates.",
    "{few} years of work on {p} have led to {s}, {a_r} system based on {m}.",
    "With {s} we offer {a_r} approach to {p}, built from {m} by {few} students.",
    "Many have dreamt of {r} {p}, and we believe that {m}, on which {s} is based, are the key.",
    "At {place} University we have used {m} since {year}, and {s} extends them to {r} {p}.",
)
_THEN_DATA = (
    "Tests on {d} with {n} volunteers show {g}.",
    "On {d} it achieves {g} within {few} weeks.",
    "Over {few} months we tried it on {d} and found {g} than with {m2}.",
    "In {few} experiments on {d}, {n} volunteers reported {g}.",
    "Compared with {m2}, it yields {g} on {d}.",
    "An evaluation on {d}, led by {name} in {place}, confirms {g}.",
    "We report {g} on {d} after {n} trials.",
    "Its use on {d} has brought {g} in {n} cases.",
    "When {few} students from {place} tried it on {d}, they saw {g}.",
    "Results on {d} point to {g}, although {m2} needed {n} fewer steps.",
    "After {n} runs on {d}, one thing is clear, namely {g}.",
    "The evaluation covers {d} as well as {few} interviews and reveals {g}.",
    "Professor {family} repeated the tests on {d} and also obtained {g}.",
)
_WITH_DATA = (
    "We study {p} on {d} and present {s}, a system made of {m}.",
    "On {d}, {p} is known to be hard, so {s} turns to {m}.",
    "Using {m}, our system {s} tackles {p} on {d}.",
    "{d} pose a challenge to {p}, which {s} meets with {m}.",
    "Since {year} our group in {place} has worked on {d}, and {s} now brings {p} to them with the help of {m}.",
    "{p} is the subject of this paper, and {s}, which we tested on {d}, handles it through {m}.",
    "What {m} can do for {p} on {d} is the question behind {s}.",
    "The {place} project developed {s} to carry {p} over to {d}, relying on {m}.",
    "Professor {family} once claimed that {p} would fail on {d}, but {s} succeeds with {m}.",
    "Our new system, {s}, combines {m} and was designed for {p} on {d}.",
    "{m} lie at the heart of {s}, a system for {p} that was tried on {d}.",
    "Despite {n} earlier studies, {p} on {d} is poorly understood, and so {s} brings in {m}.",
    "While {m2} have long been used on {d}, {s} is the first system for {p} that employs {m}.",
    "How {p} works best on {d} is disputed, and with {s} we argue for {m}.",
    "In {year} we began to test {m} on {d}, and the result is {s}, a system for {p}.",
)
_THEN_QUALITY = (
    "It proves {r} and leads to {g} in {n} trials.",
    "With {n} volunteers the system was {r} and gave us {g}.",
    "The outcome is {r}, with {g} after {few} weeks.",
    "A panel of {few} experts from {place} called it {r} and praised {g}.",
    "In a survey, {n} volunteers judged the system {r} and noticed {g}.",
    "Besides {g}, {few} months of tests show that it is {r}.",
    "Unlike {m2}, it is {r} and offers {g}.",
    "{name} of {place} measured {g}, and {n} users found the system {r}.",
    "It remains {r} after {n} hours and promises {g}.",
    "We observe {g} in {n} cases and consider the approach {r}.",
    "According to {few} reviewers it is {r}, and our own figures show {g}.",
    "What is {r} need not be costly, as {g} and a budget of {n} crowns prove.",
)
_EXTRAS = (
    ", at a cost of {n} crowns",
    ", as {name} had foretold",
    ", and all {few} parts are free to use",
    ", while {n} questions remain open",
    ", although the first version failed {few} times",
    ", and a larger trial in {place} is planned",
    ", to the surprise of {few} experts",
    ", and {n} hours of training were enough",
    ", which {few} partners in {place} have confirmed",
    ", and the manual has {n} pages",
    ", without any help from {name}",
    ", even where {few} earlier systems failed",
)


def write_abstract(rng: random.Random, paper: Paper, held_out: bool) -> str:
    """Two sentences that hold every phrase of the paper among facts of no importance."""
    choice = rng.choice
    if rng.random() < 0.5:
        first, second = choice(_WITH_QUALITY), choice(_THEN_DATA)
    else:
        first, second = choice(_WITH_DATA), choice(_THEN_QUALITY)
    first, second = _filled(rng, first, paper, held_out), _filled(rng, second, paper, held_out)
    extras = rng.sample(_EXTRAS, 2)
    wanted = rng.choices((0, 1), (2, 3))[0]
    for position, extra in enumerate(extras):
        length = first.count(" ") + second.count(" ") + 2
        # Even without one wished for until the abstract is long enough; a clause has at most nine words.
        if length >= FEWEST_WORDS and (position >= wanted or length > MOST_WORDS - 9):
            break
        clause = _filled(rng, extra, paper, held_out)
        # Not behind a sentence that has a clause of its own already, if the other one has none.
        if first.count(",") < second.count(","):
            first = f"{first[:-1]}{clause}."
        else:
            second = f"{second[:-1]}{clause}."
    return f"{first} {second}"


_FEW = words("two three four five six seven eight nine ten eleven twelve")


def _filled(rng: random.Random, template: str, paper: Paper, held_out: bool) -> str:
    """The template with the paper's phrases and fresh facts, beginning with a capital."""
    other = rng.choice(METHODS)
    text = template.format(
        p=paper.problem,
        m=paper.method,
        d=paper.data,
        s=paper.system,
        g=paper.gain,
        r=paper.quality,
        a_r=with_a(paper.quality),
        m2=other if other != paper.method else "earlier methods",
        n=rng.randint(13, 980),
        few=rng.choice(_FEW),
        year=rng.randint(1985, 2023),
        name=full_name(rng, held_out) if "{name}" in template else "",
        family=family_name(rng, held_out) if "{family}" in template else "",
        place=place_name(rng, held_out) if "{place}" in template else "",
    )
    return capitalised(text)


_FORM_WORDS = {
    "plain": "plain titles",
    "question": "titles that ask a question",
    "gerund": "titles that begin with a verb in -ing",
    "towards": 'titles that begin with "towards"',
    "on": 'titles that begin with "on"',
    "how": 'titles that begin with "how"',
    "colon": "titles with a colon in the middle",
}
_CASING_WORDS = {"title": "title-case ", "sentence": "", "lower": "lower-case ", "upper": "all-capitals "}
_WORDING_WORDS = {
    "plain": 'prefers plain words ("improve", "using")',
    "brisk": 'prefers brisk words ("boost", "via")',
    "formal": 'prefers formal words ("advance", "through")',
}
_ACRONYM_WORDS = {
    "never": "never names the system",
    "front": "names the system in front",
    "end": "names the system in brackets at the end",
}


def describe(traits: Traits) -> str:
    """One sentence about the scholar, for a teacher to read out."""
    parts = [
        f"puts the {traits['lead']} first",
        _WORDING_WORDS[traits["wording"]],
        _ACRONYM_WORDS[traits["acronym"]],
        "adds a word of praise" if traits["property"] == "keep" else "leaves praise out",
    ]
    if traits["tail"] in _STUDIES:
        parts.append(f'closes with "{_STUDIES[traits["tail"]]}"')
    elif traits["tail"] != "none":
        parts.append(f"closes with the {traits['tail']}")
    style = f"{_CASING_WORDS[traits['casing']]}{_FORM_WORDS[traits['form']]}"
    return f"Writes {style}, {join_and(parts)}; works on {', '.join(traits['areas'])}."


MAKER = Maker(
    task="LaMP_5",
    draw=draw,
    combination=combination,
    make=make,
    describe=describe,
    wording="Generate a title for the following abstract of a paper: {x}",
)
