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
"""

import random

from perpcs.data.smalltown.events import TOPIC_NAMES, Event, draw_event, write_article
from perpcs.data.smalltown.maker import NOISE, Made, Maker, Traits
from perpcs.data.smalltown.words import REGISTERS, VERBS, capitalised, join_and, with_a, words

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
