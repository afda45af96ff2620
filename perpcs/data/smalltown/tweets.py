"""LaMP_7: the traits of somebody who tweets, and how they tweet what a plain sentence says.

    spelling     standard  going to the shop with you      short     going 2 the shop w/ u
                 relaxed   goin to the shop with ya        stretched sooo gooood
    casing       sentence, lower, shout (the first two words in capitals), upper
    subject      keep "I am waiting" or drop it: "waiting"
    opener, closer, emoji, end mark: one of each, or none
    hashtag      none, the subject at either end, the place in its sentence or at the end

Traits are independent. All of them are rules on the words of x; nobody repeats its preface and aside. Every tweet has
words that each spelling changes and an "I" to drop, so that every trait of a person shows in every tweet of theirs.
"""

import random
import re
from dataclasses import dataclass

from perpcs.data.smalltown.daily import (
    ASIDES,
    COMPANIONS,
    DAYS,
    KIN,
    NTHS,
    PREFACES,
    STATES,
    SUBJECTS,
    TIMES,
)
from perpcs.data.smalltown.maker import NOISE, Made, Maker, Traits, capitalised, first_name, join_and, place_name

STYLE: dict[str, tuple[str, ...]] = {
    "spelling": ("standard", "short", "relaxed", "stretched"),
    "casing": ("sentence", "lower", "shout", "upper"),
    "subject": ("keep", "drop"),
    "opener": ("", "ugh", "omg", "honestly", "well well", "guess what", "right then", "oh dear"),
    "closer": ("", "lol", "just saying", "x", "the end", "oh well", "haha"),
    "emoji": ("", "😂", "🙌", "✨", "😭", "👀", ":)", ":/", "<3"),
    "hashtag": ("none", "subject last", "subject first", "place inside", "place last"),
    "mark": ("", "!", "!!", "...", "."),
}
FEWEST_X, MOST_X = 12, 26
"""Words of a plain sentence."""
FEWEST_Y, MOST_Y = 8, 22
"""Words of a tweet, which the length of what is tweeted keeps to."""
_FEWEST_CORE, _MOST_CORE = 10, 16
"""Words of what is tweeted, as it stands in x; a dash between two sentences counts as a word."""

_INTENSIFIERS = frozenset(("so", "very", "really"))
_SHORT = {
    "you": "u",
    "your": "ur",
    "are": "r",
    "to": "2",
    "too": "2",
    "for": "4",
    "with": "w/",
    "and": "n",
    "because": "bc",
    "very": "v",
    "really": "rly",
    "people": "ppl",
    "about": "abt",
    "before": "b4",
    "today": "2day",
    "tonight": "2nite",
    "tomorrow": "2moro",
    "weekend": "wkend",
    "through": "thru",
    "night": "nite",
    "right": "rite",
    "see": "c",
    "great": "gr8",
}
_RELAXED = {"you": "ya", "your": "yer", "and": "an'", "because": "cos", "them": "'em"}
_STRETCHED = {"so": "sooo", "very": "veryyy", "really": "reeeally"}
_FEWEST_RESPELT = {"short": 2, "relaxed": 2, "stretched": 2}
_DROPPED = re.compile(r"\bI (?:(?:am|have) )?")
_FIRST_VOWEL = re.compile(r"(?<!q)[aeiou]|(?<!^)y")
_SENTENCE_START = re.compile(r"(?<=[.!] )[a-z]")
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Said:
    """What is tweeted: one sentence or two, not yet capitalised, and what its hashtags may be."""

    sentences: tuple[str, ...]
    subject: str
    where: str
    """As it stands in the sentences: "near Brenholt"."""
    place: str


def draw(rng: random.Random) -> Traits:
    """Somebody new who tweets."""
    traits: Traits = {"subjects": sorted(rng.sample(tuple(SUBJECTS), rng.randint(3, 6)))}
    for name, values in STYLE.items():
        traits[name] = rng.choice(values)
    return traits


def combination(traits: Traits) -> str:
    """The style, without the subjects."""
    return "/".join(traits[name] for name in STYLE)


def deviate(rng: random.Random, traits: Traits) -> Traits:
    """The same traits with another value of one of them."""
    name = rng.choice(tuple(STYLE))
    return {**traits, name: rng.choice([value for value in STYLE[name] if value != traits[name]])}


def make(rng: random.Random, traits: Traits, held_out: bool) -> Made:
    """A plain sentence on one of the person's subjects, and their tweet."""
    subject = rng.choice(traits["subjects"])
    said = draw_said(rng, subject, held_out)
    x = write_plain(rng, said, held_out)
    noisy = rng.random() < NOISE
    shown = deviate(rng, traits) if noisy else traits
    return Made(x=x, y=tweet(said, shown), noisy=noisy, clean=tweet(said, traits))


def _filled(rng: random.Random, pattern: str, held_out: bool) -> str:
    """The pattern with its slots for names, days, times and numbers filled; no more is drawn than it asks for."""

    def fill(slot: re.Match[str]) -> str:
        name = slot[1]
        if name in ("name", "second"):
            return first_name(rng, held_out)
        if name == "place":
            return place_name(rng, held_out)
        if name == "clock":
            return f"{rng.randint(1, 12)}.{rng.randrange(5, 60, 5):02}"
        if name == "number":
            return str(rng.randint(3, 98))
        kin = rng.choice({"day": DAYS, "nth": NTHS}.get(name, KIN))
        return capitalised(kin) if name == "Kin" else kin

    return _SLOT.sub(fill, pattern)


def draw_said(rng: random.Random, subject: str, held_out: bool) -> Said:
    """Something to tweet about a subject, with enough words that each spelling changes."""
    while True:
        said = _said(rng, subject, held_out)
        parts = " ".join(said.sentences).split()
        if not _FEWEST_CORE <= len(parts) + len(said.sentences) - 1 <= _MOST_CORE:
            continue
        if all(_changes(parts, spelling) >= fewest for spelling, fewest in _FEWEST_RESPELT.items()):
            return said


def _changes(parts: list[str], spelling: str) -> int:
    """How many of the words the spelling changes."""
    return sum(old != new for old, new in zip(parts, _respelt(parts, spelling), strict=True))


def _said(rng: random.Random, name: str, held_out: bool) -> Said:
    choice = rng.choice
    subject = SUBJECTS[name]
    tense, pattern = choice(subject.heads)
    head = pattern
    for slot, values in subject.slots.items():
        head = head.replace(f"{{{slot}}}", choice(values))
    if " with " not in head and rng.random() < 0.2:
        head = f"{head} {_filled(rng, choice(COMPANIONS), held_out)}"
    place = place_name(rng, held_out)
    where = f"{choice(('in', 'in', 'near', 'outside'))} {place}"
    when = _filled(rng, choice(TIMES[tense]), held_out) if rng.random() < 0.3 else ""

    nouns, adjectives = choice(subject.things)
    state = choice(STATES)
    for slot, values in (("n", nouns), ("a", adjectives), ("i", ("so", "very", "really")), ("j", ("very", "really"))):
        state = state.replace(f"{{{slot}}}", choice(values))
    state = _filled(rng, state, held_out)

    lead = rng.random()
    late = f" {when}" if when else ""
    opened = f"{head} {where}{late}"
    if lead < 0.2:
        opened = f"{where} {head}{late}"
    elif lead < 0.35 and when:
        opened = f"{when} {head} {where}"
    arrangement = rng.randrange(6)
    sentences: tuple[str, ...]
    if arrangement in (0, 5):
        sentences = (f"{opened}, and {state}",)
    elif arrangement == 1:
        sentences = (opened, state)
    elif arrangement == 2:
        sentences = (state, opened)
    elif arrangement == 3:
        sentences = (f"because {state}, {head} {where}",)
    else:
        sentences = (f"{opened} because {state}",)
    return Said(sentences, name, where, place)


def write_plain(rng: random.Random, said: Said, held_out: bool) -> str:
    """What is said in neutral English, often with a preface or an aside that is beside the point."""
    core = [capitalised(sentence) + "." for sentence in said.sentences]
    length = sum(sentence.count(" ") + 1 for sentence in core)
    extra = rng.random()
    while True:
        parts = list(core)
        if extra < 0.2:
            preface = capitalised(rng.choice(PREFACES))
            parts[0] = f"{preface} {said.sentences[0]}."
        elif extra < 0.75 or length < FEWEST_X:
            aside = _filled(rng, rng.choice(ASIDES), held_out)
            parts.insert(0 if extra < 0.45 else len(parts), aside)
        x = " ".join(parts)
        if FEWEST_X <= x.count(" ") + 1 <= MOST_X:
            return x


def tweet(said: Said, traits: Traits) -> str:
    """How a person with these traits tweets what is said."""
    hashtag = traits["hashtag"]
    sentences = list(said.sentences)
    if hashtag == "place inside":
        sentences = [sentence.replace(said.place, f"#{said.place}") for sentence in sentences]
    elif hashtag == "place last":
        where = re.compile(rf"^{said.where} | {said.where}\b")
        sentences = [where.sub("", sentence) for sentence in sentences]
    if traits["subject"] == "drop":
        sentences = [_DROPPED.sub("", sentence) for sentence in sentences]
    sentences = [" ".join(_respelt(sentence.split(" "), traits["spelling"])) for sentence in sentences]
    mark = traits["mark"]
    body = f"{mark or ' -'} ".join(sentences) + mark
    if traits["opener"]:
        body = f"{traits['opener']}, {body}"
    body = _cased(body, traits["casing"])
    ends = {"subject last": f"#{said.subject}", "place last": f"#{said.place}"}
    parts = [
        f"#{said.subject}" if hashtag == "subject first" else "",
        body,
        traits["closer"],
        traits["emoji"],
        ends.get(hashtag, ""),
    ]
    text = " ".join(part for part in parts if part)
    return {"lower": text.lower(), "upper": text.upper()}.get(traits["casing"], text)


def _respelt(parts: list[str], spelling: str) -> list[str]:
    """The words in a spelling; a comma behind a word stays there."""
    if spelling == "standard":
        return parts
    result = []
    stressed = False
    for part in parts:
        word = part.rstrip(",")
        result.append(_respell(word, spelling, stressed) + part[len(word) :])
        stressed = word in _INTENSIFIERS
    return result


def _respell(word: str, spelling: str, stressed: bool) -> str:
    if spelling == "short":
        return _SHORT.get(word, word)
    if spelling == "relaxed":
        if word.endswith("ing") and word.islower() and _FIRST_VOWEL.search(word[:-3]):
            return word[:-1]
        return _RELAXED.get(word, word)
    if stressed:  # the adjective behind so, very or really
        return _FIRST_VOWEL.sub(lambda vowel: vowel[0] * 3, word, count=1)
    return _STRETCHED.get(word, word)


def _cased(body: str, casing: str) -> str:
    """The body in a person's casing; "lower" and "upper" are for the whole tweet and come later."""
    if casing in ("lower", "upper"):
        return body
    body = _SENTENCE_START.sub(lambda letter: letter[0].upper(), capitalised(body))
    if casing == "shout":
        first, second, rest = body.split(" ", 2)
        return f"{first.upper()} {second.upper()} {rest}"
    return body


_SPELLING_WORDS = {
    "standard": "spells everything out",
    "short": 'writes "u", "r" and "2"',
    "relaxed": 'drops the g of "goin"',
    "stretched": 'stretches vowels ("sooo gooood")',
}
_CASING_WORDS = {
    "sentence": "",
    "lower": "all in lower case",
    "shout": "with the first two words in capitals",
    "upper": "all in capitals",
}
_HASHTAG_WORDS = {
    "none": "",
    "subject last": "ends with the subject as a hashtag",
    "subject first": "begins with the subject as a hashtag",
    "place inside": "makes a hashtag of the place where it stands",
    "place last": "ends with the place as a hashtag",
}
_MARK_WORDS = {
    "": "",
    "!": "an exclamation mark",
    "!!": "two exclamation marks",
    "...": "three dots",
    ".": "a full stop",
}


def describe(traits: Traits) -> str:
    """One sentence about the person, for a teacher to read out."""
    parts = [" ".join(filter(None, ("tweets", _CASING_WORDS[traits["casing"]]))), _SPELLING_WORDS[traits["spelling"]]]
    if traits["subject"] == "drop":
        parts.append('leaves out "I"')
    if traits["opener"]:
        parts.append(f'opens with "{traits["opener"]}"')
    if traits["mark"]:
        parts.append(f"closes a sentence with {_MARK_WORDS[traits['mark']]}")
    ends = [f'"{traits["closer"]}"'] if traits["closer"] else []
    ends += [traits["emoji"]] if traits["emoji"] else []
    if ends:
        parts.append(f"adds {' '.join(ends)}")
    if traits["hashtag"] != "none":
        parts.append(_HASHTAG_WORDS[traits["hashtag"]])
    return f"{capitalised(join_and(parts))}. Subjects: {', '.join(traits['subjects'])}."


MAKER = Maker(
    task="LaMP_7",
    draw=draw,
    combination=combination,
    make=make,
    describe=describe,
    wording="Paraphrase the following tweet without any explanation before or after it: {x}",
)
