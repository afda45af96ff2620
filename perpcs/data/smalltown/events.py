"""What happens in town: an event with its slots, and the article about it.

The article knows nothing of who will write the headline. Every word a headline may use stands in it, but for the verb,
which has other forms there, and a handful of little words.
"""

import random
from dataclasses import dataclass

from perpcs.data.smalltown.names import family_name, first_name, full_name, place_name
from perpcs.data.smalltown.topics import QUOTE_ADJECTIVES, QUOTE_ADVERBS, ROLES, TIMES, TOPICS, Topic
from perpcs.data.smalltown.words import VERBS, capitalised, with_a

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
