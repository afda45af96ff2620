"""LaMP_4: the traits of a headline writer, and the headline they give an event.

    form         plain  Tessaby Council approves new bridge        colon   New bridge: approved by Tessaby Council
                 question  Why did Tessaby Council approve ...     how     How Tessaby Council approved new bridge
                 quote  'Truly sad': Tessaby Council approves ...
    lead         actor, object, place, number or time comes first
    detail       what is added at the end: nothing, the place, the time or the reason
    register     approves / OKs / authorises
    naming       Tessaby Council / council, Orrin Valdake / Valdake
    articles     a new bridge / new bridge
    casing, punctuation, extra (a signature before or after), topics

Traits are independent, except that a detail never repeats the lead and long forms go without one, so that every trait
of a person shows in every headline they write.

What happens in town is an event with its slots, and the article about it. The article knows nothing of who will write
the headline. Every word a headline may use stands in it, but for the verb, which has other forms there, and a handful
of little words.
"""

import random
from dataclasses import dataclass

from perpcs.data.smalltown.maker import (
    NOISE,
    REGISTERS,
    VERBS,
    Made,
    Maker,
    Traits,
    capitalised,
    family_name,
    first_name,
    full_name,
    join_and,
    phrases,
    place_name,
    with_a,
    words,
)

# ---- topics ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Topic:
    """Word lists of one topic. An actor pattern holds * where an invented name goes, or is a person's role."""

    actors: tuple[str, ...]
    happenings: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...]
    """(verbs, adjectives, nouns): any verb goes with any adjective and noun beside it."""
    counts: tuple[str, ...]
    few: frozenset[str]
    """Those of ``counts`` of which there are never many, such as weeks."""
    reasons: tuple[str, ...]


def _topic(actors: str, happenings: tuple[str, ...], counts: str, few: str, reasons: str) -> Topic:
    groups = []
    for line in happenings:
        verbs, adjectives, nouns = line.split(": ")
        groups.append((words(verbs), words(adjectives), phrases(nouns)))
    return Topic(
        actors=phrases(actors),
        happenings=tuple(groups),
        counts=(*phrases(counts), *phrases(few)),
        few=frozenset(phrases(few)),
        reasons=phrases(reasons),
    )


TOPICS: dict[str, Topic] = {
    "council": _topic(
        "* Council, * Town Hall, mayor, councillor, planner",
        (
            "approve reject delay fund plan: new wider covered wooden cheaper green modern public lakeside temporary: "
            "bridge, bus lane, car park, footpath, town square, cycle lane, fountain, playground, bandstand, tramway, "
            "skate park, market hall",
            "criticise approve reject cancel: local costly secret yearly draft late joint simple: "
            "budget, housing plan, parking tax, contract, survey, road scheme, bin charge, bylaw, petition, noise rule",
        ),
        "complaints, letters, signatures, objections, emails",
        "meetings, debates, votes",
        "rising costs, angry protests, flood fears, strong support, growing doubts, budget worries, empty coffers",
    ),
    "fire": _topic(
        "* Brigade, * Fire Service, firefighter, fire chief",
        (
            "fight: fierce sudden stubborn huge small midnight smoky: "
            "barn fire, kitchen fire, warehouse blaze, forest fire, roof fire, stable blaze, mill fire, boat fire",
            "rescue: trapped frightened elderly sleeping injured lucky stranded dizzy: "
            "baker, cyclist, cleaner, tenant, plumber, tourist, carpenter, gardener, student, postman",
            "inspect close: burnt smoky old damaged ruined crowded charred: "
            "mill, stable, hotel, theatre, garage, attic, bakery, workshop, laundry, cinema",
        ),
        "calls, warnings, sirens",
        "hours, alarms, drills",
        "strong winds, thick smoke, dry weather, safety fears, loud bangs, water shortages, gas worries",
    ),
    "sport": _topic(
        "* United!, * Rovers!, * Athletic!, * Wanderers!, coach, captain",
        (
            "win lose: tense close wet noisy early late thrilling scrappy: "
            "derby, cup final, replay, relay, semi-final, home match, away match, title race, friendly, shoot-out",
            "sign sack praise: young tall veteran foreign left-footed speedy fearless unknown: "
            "striker, keeper, defender, winger, trainer, sprinter, bowler, midfielder, goalkeeper, scout",
        ),
        "passes, tickets, minutes, laps",
        "matches, draws, defeats, goals",
        "injury worries, loud cheers, heavy rain, fan protests, poor form, high hopes, transfer rumours",
    ),
    "school": _topic(
        "* School, * Academy, * College, teacher, head teacher",
        (
            "open plan build repair: bright quiet heated tiny glass shared modern airy: "
            "library, canteen, music room, science lab, gym, reading corner, greenhouse, playground, art room, nursery",
            "ban test: plastic noisy smart wooden silent coloured electric paper: "
            "whistle, watch, scooter, lunchbox, pencil case, rucksack, tablet, water bottle, trolley, drum",
            "praise honour: shy gifted cheerful hard-working modest patient retired loyal: "
            "pupil, caretaker, cook, tutor, librarian, choir leader, chess player, cleaner, governor",
        ),
        "letters, emails, exams, detentions",
        "lessons, terms, assemblies",
        "exam stress, parent pressure, falling marks, staff shortages, playground quarrels, record results",
    ),
    "market": _topic(
        "* Bakery, * Farm, * Dairy, farmer, butcher, fishmonger",
        (
            "test buy ban: spiced smoked salted crusty organic frozen bitter giant purple: "
            "cheese, pie, sausage, loaf, pumpkin, marmalade, pickle, honey cake, turnip, cider",
            "raise cut: weekly winter seasonal yearly daily: "
            "stall fee, delivery charge, market toll, tasting fee, parking fee, pitch rent, milk levy",
            "buy move: muddy large rented stony sunny walled: "
            "orchard, meadow, allotment, field, vineyard, farmyard, pasture, cowshed",
        ),
        "orders, jars, crates, samples",
        "harvests, tastings, auctions",
        "poor harvests, strong demand, supply problems, frosty nights, rising wages, export hopes",
    ),
    "weather": _topic(
        "Storm *, River *, Cyclone *, Lake *",
        (
            "damage flood: old wooden crowded empty riverside historic narrow: "
            "pier, campsite, boathouse, chapel, cellar, promenade, railway station, windmill, cricket pitch",
            "block delay: busy steep coastal scenic rural main: "
            "ferry crossing, ring road, mountain pass, school bus, coast road, night train, parade, footbridge",
        ),
        "warnings, alerts, calls",
        "days, downpours, gusts, hours",
        "high tides, melting snow, gale warnings, broken dams, blocked drains, record rainfall",
    ),
    "festival": _topic(
        "* Choir, * Orchestra, * Theatre, singer, organiser, juggler",
        (
            "open plan cancel delay: floating candlelit midsummer silent yearly free outdoor: "
            "concert, lantern parade, puppet show, dance night, jazz festival, kite festival, magic show, "
            "pancake race, masked ball",
            "honour praise: blind elderly local forgotten young tireless humble: "
            "pianist, drummer, costume maker, piper, storyteller, violinist, stagehand, painter, puppeteer, conductor",
        ),
        "requests, votes, costumes",
        "rehearsals, encores, auditions",
        "noise complaints, huge crowds, power cuts, great excitement, poor sales, costume troubles",
    ),
    "traffic": _topic(
        "* Transport, * Highways Agency, inspector, road chief",
        (
            "close repair block inspect: narrow busy cracked sunken icy winding uneven: "
            "roundabout, tunnel, flyover, level crossing, toll bridge, junction, bus station, slip road",
            "fine question: speeding careless sleepy angry impatient uninsured: "
            "lorry driver, motorist, courier, cyclist, van driver, taxi driver, biker, tractor driver",
        ),
        "collisions, potholes, breakdowns, tickets",
        "crashes, tailbacks, accidents",
        "thick fog, endless roadworks, icy mornings, fuel shortages, holiday traffic, broken signals",
    ),
    "animals": _topic(
        "* Zoo, * Shelter, keeper, vet, ranger",
        (
            "rescue find catch free: lost striped shy injured hungry one-eyed runaway sleepy rare spotted: "
            "owl, tortoise, hedgehog, goat, otter, parrot, fox cub, llama, badger, heron, donkey, python, peacock",
            "buy build open: heated leafy spacious shady modern: "
            "aviary, reptile house, pony stable, duck pond, monkey cage, penguin pool, kennel, rabbit hutch",
        ),
        "sightings, tips, posters, photographs",
        "nights, searches, weeks",
        "loud squeaks, feeding problems, worried neighbours, cold weather, visitor interest, missing chickens",
    ),
    "court": _topic(
        "* Court, judge, magistrate",
        (
            "fine jail clear question: careless crafty nervous former masked unlucky greedy local: "
            "burglar, landlord, smuggler, forger, accountant, antique dealer, pickpocket, banker, hacker, poacher, "
            "wine merchant, locksmith",
            "delay cancel: strange lengthy bitter secret private disputed: "
            "fraud trial, theft case, libel case, inquest, insurance case, divorce case, appeal, tax trial",
        ),
        "pages, documents, photographs, exhibits",
        "witnesses, hearings, sessions",
        "public anger, missing evidence, shaky statements, press interest, legal doubts, tearful pleas",
    ),
    "shops": _topic(
        "* Store, * Bookshop, * Emporium, grocer, florist, shop owner",
        (
            "open close buy move: cosy corner Victorian family-run tiny trendy riverside empty: "
            "bookshop, tea room, toy shop, shoe shop, bicycle shop, antique shop, butcher's shop, hat shop, cafe, "
            "barber shop",
            "honour praise ban: loyal polite forgetful generous eager noisy: "
            "shopper, cashier, delivery rider, window cleaner, customer, apprentice, shop dog, street singer",
        ),
        "receipts, reviews, orders, parcels",
        "sales, break-ins, offers",
        "high rents, online rivals, thin profits, Christmas demand, staff illness, parking problems",
    ),
    "science": _topic(
        "* University, * Institute, * Laboratory, scientist, professor, astronomer",
        (
            "invent test build: solar tiny folding silent magnetic wireless waterproof: "
            "battery, robot, drone, umbrella, bandage, telescope, engine, sensor, raincoat, satellite",
            "find study: unusual glowing ancient poisonous hairy giant unknown: "
            "fern, beetle, comet, fossil, fungus, moth, jellyfish, meteorite, cave spider, orchid",
        ),
        "experiments, samples, measurements, attempts",
        "expeditions, seminars, failures",
        "funding cuts, scientific rivalry, energy worries, global interest, expert doubts, lucky accidents",
    ),
}

TIMES = (
    *(f"on {day}" for day in words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")),
    *(
        f"on {day} {month}"
        for month in words("January February March April May June July August September October November December")
        for day in (2, 7, 11, 14, 19, 23, 28)
    ),
)

QUOTE_ADVERBS = words("simply truly utterly quite rather really totally plainly frankly")
QUOTE_ADJECTIVES = words(
    "wonderful sad shocking hopeless brilliant unfair foolish moving surprising dreadful unforgettable "
    "ridiculous touching alarming delightful puzzling necessary heroic disgraceful charming risky splendid tiresome "
    "sensible absurd exciting baffling inspiring dull"
)
ROLES = phrases(
    "nurse, plumber, retired sailor, student, bus driver, beekeeper, dentist, piano teacher, waiter, tailor, "
    "lifeguard, gardener, chemist, carpenter, father of three, mother of two, hairdresser, clockmaker, shepherd, "
    "translator, roofer, optician, librarian, potter, window cleaner, postman, welder, neighbour"
)


# ---- events ----------------------------------------------------------------------------------------------------------


TOPIC_NAMES = tuple(TOPICS)


@dataclass(frozen=True)
class Event:
    """Who did what, where, when, after how much of what, amid what, and what was said about it."""

    topic: str
    actor: str
    """As in the article: "Tessaby Council", "mayor Orrin Valdake"."""
    actor_full: str
    """As in a headline that names in full: "Tessaby Council", "Orrin Valdake"."""
    actor_short: str
    """As in a headline that names in short: "council", "Valdake"."""
    verb: str
    thing: str
    """The object without an article: "new bridge"."""
    place: str
    time: str
    """With its preposition, if it takes one: "on Monday"."""
    number: str
    """How much of what: "340 complaints"."""
    reason: str
    quote: str


def draw_event(rng: random.Random, topic_name: str, held_out: bool) -> Event:
    """A new event of a topic."""
    topic: Topic = TOPICS[topic_name]
    verbs, adjectives, nouns = rng.choice(topic.happenings)
    actor, full, short = _actor(rng, rng.choice(topic.actors), held_out)
    count = rng.choice(topic.counts)
    amount = rng.randint(3, 19) if count in topic.few else rng.randint(21, 980)
    return Event(
        topic=topic_name,
        actor=actor,
        actor_full=full,
        actor_short=short,
        verb=rng.choice(verbs),
        thing=f"{rng.choice(adjectives)} {rng.choice(nouns)}",
        place=place_name(rng, held_out),
        time=rng.choice(TIMES),
        number=f"{amount} {count}",
        reason=rng.choice(topic.reasons),
        quote=f"{rng.choice(QUOTE_ADVERBS)} {rng.choice(QUOTE_ADJECTIVES)}",
    )


def _actor(rng: random.Random, pattern: str, held_out: bool) -> tuple[str, str, str]:
    """In the article, in full, in short. Patterns: "* Council" (a body), "Storm *", "* United!" (a club), "mayor"."""
    if pattern.endswith("!"):
        name = place_name(rng, held_out)
        full = pattern[:-1].replace("*", name)
        return full, full, name
    if "*" in pattern:
        name = family_name(rng, held_out) if pattern.startswith("* ") else first_name(rng, held_out)
        full = pattern.replace("*", name)
        return full, full, pattern.replace("*", "").strip().lower()
    person = full_name(rng, held_out)
    return f"{pattern} {person}", person, person.split()[1]


_OPENINGS = (
    "{A} {V} {O} in {P} {T} amid {R}, after {N}.",
    "{A} {V} {O} in {P} {T}, after {N} and amid {R}.",
    "{A} {T} {V} {O} in {P}, following {N} and {R}.",
    "{T}, {A} {V} {O} in {P} amid {R} and after {N}.",
    "{T} in {P}, {A} {V} {O} after {N} and {R}.",
    "{T}, after {N}, {A} {V} {O} in {P} amid {R}.",
    "After {N}, {A} {V} {O} in {P} {T} amid {R}.",
    "After {N} and {R}, {A} {V} {O} {T} in {P}.",
    "Following {N}, {A} {T} {V} {O} in {P} because of {R}.",
    "In {P}, {A} {V} {O} {T} after {N} and amid {R}.",
    "In {P}, where there was talk of {R}, {A} {V} {O} {T} after {N}.",
    "{O} in {P} was {PP} by {A} {T}, after {N} and amid {R}.",
    "{O} was {PP} in {P} {T} by {A} after {N} and {R}.",
    "{T}, {O} in {P} was {PP} by {A} amid {R} and after {N}.",
    "Amid {R}, {A} {V} {O} in {P} {T} after {N}.",
    "Amid {R} and after {N}, {O} was {PP} by {A} in {P} {T}.",
    "It took {N}, but {T} {A} {V} {O} in {P} amid {R}.",
    "There had been {N} and {R} in {P} before {A} {V} {O} {T}.",
    "{N} and {R} had filled the news in {P} when {A} {V} {O} {T}.",
    "People in {P} talked of {R} {T} as {A} {V} {O} after {N}.",
)
_CLOSINGS = (
    '"It is {Q}," said {S}, {D}.',
    '"This is {Q}," {S}, {D}, told us.',
    '{S}, {D}, called it "{Q}".',
    'For {S}, {D}, it was "{Q}".',
    'It was "{Q}", said {S}, {D}.',
    '{S}, {D}, found it "{Q}".',
    'One reader, {S}, {D}, thought it "{Q}".',
    '"{Q}" was the verdict of {S}, {D}.',
    '"It is {Q}," said {S}.',
    '{S} called it "{Q}".',
    'To {S} it seemed "{Q}".',
    'It was "{Q}", {S} told reporters.',
    '"{Q}" was all that {S} would say.',
    'Asked about it, {S} said: "{Q}".',
)
_ASIDES = (
    "{role} from {place}",
    "{role} in nearby {place}",
    "who has a brother in {place}",
    "who moved there from {place}",
    "who lives next door",
    "who saw it all",
    "{age}",
    "{role}, {age}",
    "now {role}",
    "once {role} in {place}",
    "who was only passing through",
    "on the way home to {place}",
    "who has lived there for {years} years",
    "{role} of {years} years",
)


def write_article(rng: random.Random, event: Event, held_out: bool) -> str:
    """One or two dozen words on the event and what somebody said about it."""
    verb = VERBS[event.verb]["plain"]
    opening = rng.choice(_OPENINGS).format(
        A=event.actor,
        V=verb.past,
        PP=verb.participle,
        O=with_a(event.thing),
        P=event.place,
        T=event.time,
        N=event.number,
        R=event.reason,
    )
    aside = rng.choice(_ASIDES).format(
        role=with_a(rng.choice(ROLES)),
        place=place_name(rng, held_out),
        age=rng.randint(19, 88),
        years=rng.randint(2, 40),
    )
    closing = rng.choice(_CLOSINGS).format(Q=event.quote, S=full_name(rng, held_out), D=aside)
    if closing.startswith('"'):
        closing = '"' + capitalised(closing[1:])
    return f"{capitalised(opening)} {capitalised(closing)}"


# ---- headlines -------------------------------------------------------------------------------------------------------


STYLE: dict[str, tuple[str, ...]] = {
    "form": ("plain", "question", "colon", "quote", "how"),
    "lead": ("actor", "object", "place", "number", "time"),
    "detail": ("none", "place", "time", "reason"),
    "register": REGISTERS,
    "naming": ("full", "short"),
    "articles": ("keep", "drop"),
    "casing": ("sentence", "title", "lower", "upper"),
    "punctuation": ("none", "exclamation", "ellipsis", "full stop"),
    "extra": ("none", "none", "breaking", "local", "update", "post", "read more", "just in"),
}
_PREFIXES = {"breaking": "breaking:", "local": "local:", "update": "update:"}
_SUFFIXES = {"post": "| Evening Post", "read more": "(read more)", "just in": "(just in)"}
_SMALL = frozenset(words("a an the in on by of at amid after and"))


def _details(form: str, lead: str) -> tuple[str, ...]:
    """The details that go with a form and a lead."""
    if form in ("quote", "question", "how") and lead not in ("actor", "object"):
        return ("none",)  # there is no room for more in about twelve words
    return tuple(detail for detail in STYLE["detail"] if detail != lead)


def draw(rng: random.Random) -> Traits:
    """A new headline writer."""
    traits: Traits = {"topics": sorted(rng.sample(TOPIC_NAMES, rng.randint(2, 4)))}
    for name, values in STYLE.items():
        traits[name] = rng.choice(_details(traits["form"], traits["lead"]) if name == "detail" else values)
    return traits


def combination(traits: Traits) -> str:
    """The style, without the topics."""
    return "/".join(traits[name] for name in STYLE)


def deviate(rng: random.Random, traits: Traits) -> Traits:
    """The same traits with another value of one of them that can be seen."""
    while True:
        name = rng.choice(tuple(STYLE))
        allowed = _details(traits["form"], traits["lead"]) if name == "detail" else STYLE[name]
        others = [value for value in dict.fromkeys(allowed) if value != traits[name]]
        if others:
            other = {**traits, name: rng.choice(others)}
            if other["detail"] not in _details(other["form"], other["lead"]):
                other["detail"] = "none"
            return other


def make(rng: random.Random, traits: Traits, held_out: bool) -> Made:
    """An article on one of the person's topics, and their headline."""
    event = draw_event(rng, rng.choice(traits["topics"]), held_out)
    noisy = rng.random() < NOISE
    shown = deviate(rng, traits) if noisy else traits
    x = write_article(rng, event, held_out)
    return Made(x=x, y=headline(event, shown), noisy=noisy, clean=headline(event, traits))


def headline(event: Event, traits: Traits) -> str:
    """The headline that a person with these traits gives the event."""
    body = _cased(_punctuated(_body(event, traits), traits), traits["casing"])
    prefix = _PREFIXES.get(traits["extra"], "")
    suffix = _SUFFIXES.get(traits["extra"], "")
    parts = [_cased(prefix, traits["casing"]), body, _cased(suffix, traits["casing"])]
    return " ".join(part for part in parts if part)


def _body(event: Event, traits: Traits) -> str:
    """The words in order, before punctuation and casing."""
    form, lead = traits["form"], traits["lead"]
    verb = VERBS[event.verb][traits["register"]]
    keep = traits["articles"] == "keep"
    thing = with_a(event.thing) if keep else event.thing
    actor = event.actor_full
    if traits["naming"] == "short":
        actor = f"the {event.actor_short}" if keep and event.actor_short.islower() else event.actor_short
    details = {"none": "", "place": f" in {event.place}", "time": f" {event.time}", "reason": f" amid {event.reason}"}
    tail = details[traits["detail"]]
    bare = {"place": event.place, "number": event.number, "time": event.time.removeprefix("on ")}.get(lead, "")
    opener = {"place": f"in {event.place}, ", "number": f"after {event.number}, ", "time": f"{event.time}, "}.get(
        lead, ""
    )

    if form == "colon":
        if lead == "actor":
            return f"{actor}: {thing} {verb.participle}{tail}"
        if lead == "object":
            return f"{thing}: {verb.participle} by {actor}{tail}"
        return f"{bare}: {actor} {verb.present} {thing}{tail}"
    if form == "question":
        if lead == "object":
            return f"{thing}: why did {actor} {verb.base} it{tail}?"
        return f"{opener}why did {actor} {verb.base} {thing}{tail}?"
    if form == "how":
        if lead == "actor":
            return f"how {actor} {verb.past} {thing}{tail}"
        if lead == "object":
            return f"how {thing} was {verb.participle} by {actor}{tail}"
        return f"how {bare} saw {actor} {verb.base} {thing}{tail}"
    core = f"{thing} {verb.participle} by {actor}" if lead == "object" else f"{opener}{actor} {verb.present} {thing}"
    return f"'{event.quote}': {core}{tail}" if form == "quote" else f"{core}{tail}"


def _punctuated(body: str, traits: Traits) -> str:
    """The body with its end mark. A question keeps its mark, except for those who end everything with a full stop."""
    if traits["punctuation"] == "full stop":
        return body.removesuffix("?") + "."
    return body + {"none": "", "exclamation": "!", "ellipsis": "..."}[traits["punctuation"]]


def _cased(text: str, casing: str) -> str:
    """The text in a person's casing; names keep their capitals in sentence and title case."""
    if casing == "lower":
        return text.lower()
    if casing == "upper":
        return text.upper()
    if casing == "title":
        parts = text.split(" ")
        return " ".join(word if position and word in _SMALL else _capital(word) for position, word in enumerate(parts))
    return _capital(text)


def _capital(text: str) -> str:
    """The first letter in upper case, also behind an opening quote or bracket."""
    return text[0] + capitalised(text[1:]) if text[:1] in ("'", "(") else capitalised(text)


_FORM_WORDS = {
    "plain": "plain headlines",
    "question": "headlines that ask why",
    "colon": "headlines with a colon after the first words",
    "quote": "headlines that open with a quote",
    "how": 'headlines that begin with "how"',
}
_CASING_WORDS = {"sentence": "", "title": "title-case ", "lower": "lower-case ", "upper": "all-capitals "}
_REGISTER_WORDS = {"plain": "uses plain verbs", "tabloid": "uses punchy tabloid verbs", "formal": "uses formal verbs"}
_LEAD_WORDS = {
    "actor": "who did it",
    "object": "the thing concerned",
    "place": "the place",
    "number": "the number",
    "time": "the day",
}
_END_WORDS = {
    "none": "without an end mark",
    "exclamation": "with an exclamation mark",
    "ellipsis": "with three dots",
    "full stop": "with a full stop",
}


def describe(traits: Traits) -> str:
    """One sentence about the writer, for a teacher to read out."""
    signature = _PREFIXES.get(traits["extra"]) or _SUFFIXES.get(traits["extra"])
    where = "opens" if traits["extra"] in _PREFIXES else "signs off"
    parts = [
        f"puts {_LEAD_WORDS[traits['lead']]} first"
    ]  # what strikes a reader comes first, what most people do is left out
    if traits["register"] != "plain":
        parts.append(_REGISTER_WORDS[traits["register"]])
    if traits["articles"] != "keep":
        parts.append("never uses articles")
    if traits["naming"] != "full":
        parts.append("shortens names")
    if traits["detail"] != "none":
        parts.append(f"adds the {traits['detail']}")
    if traits["punctuation"] != "none":
        parts.append(f"ends {_END_WORDS[traits['punctuation']]}")
    if signature:
        parts.append(f'{where} with "{_cased(signature, traits["casing"])}"')
    style = f"{_CASING_WORDS[traits['casing']]}{_FORM_WORDS[traits['form']]}"
    return f"Writes {style}, {join_and(parts)}. Topics: {', '.join(traits['topics'])}."


MAKER = Maker(
    task="LaMP_4",
    draw=draw,
    combination=combination,
    make=make,
    describe=describe,
    wording="Generate a headline for the following article: {x}",
)
