"""How somebody writes, measured in counts: casing, length, opening, end mark, emoji, hashtags and mentions.

A style is a value for each trait of one text. A person's habits are the shares of these values over their texts. Both
hold counts only, so they may leave the texts behind.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from perpcs.tasks.task import Item, Task

Style = dict[str, str]
"""A value for each of ``TRAITS``."""

_SMALL = re.compile(r"a|an|and|as|at|but|by|for|from|in|into|is|it|nor|of|off|on|or|over|per|the|to|up|via|vs|with")
"""Words that titles do not capitalise."""
_OPENINGS = (
    (r"[\"'“‘«].*", "a quotation"),
    (r"\d.*", "a number"),
    (r"(how|why|what|when|where|who|which|whose)\b.*", "how, why or what"),
    (r"(the|a|an)", "an article"),
    (r"(i|i['’]m|my|we|our)", "I or we"),
    (r"(do|don['’]t|never|stop|meet|see|watch|here['’]s|this|these)", "a call to the reader"),
    (r"(on|for|towards?|from|with|in|after)", "on, toward or for"),
    (r"\w{3,}ing", "a verb in -ing"),
)
_EMOJI = re.compile("[\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\ufe0f\U0001f000-\U0001faff]")
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_ENDS = {".": "a full stop", "!": "an exclamation mark", "?": "a question mark", "…": "an ellipsis"}
_LENGTHS = (
    (3, "1 to 3 words"),
    (6, "4 to 6 words"),
    (9, "7 to 9 words"),
    (13, "10 to 13 words"),
    (20, "14 to 20 words"),
)


def _casing(text: str) -> str:
    words = _WORD.findall(text)
    letters = [ch for ch in text if ch.isupper() or ch.islower()]
    if not letters:
        return "no casing"
    if not any(ch.isupper() for ch in letters):
        return "lower case"
    if len(letters) > 3 and sum(ch.isupper() for ch in letters) > 0.8 * len(letters):
        return "capital letters"
    long = [word for word in words[1:] if not _SMALL.fullmatch(word.lower())]
    if len(long) > 1 and sum(word[0].isupper() for word in long) >= 0.8 * len(long):
        return "every word with a capital"
    if any(len(word) > 3 and word.isupper() for word in words):
        return "a word in capital letters"
    return "sentence case"


def _length(text: str) -> str:
    count = len(text.split())
    return next((name for most, name in _LENGTHS if count <= most), "over 20 words")


def _opening(text: str) -> str:
    first = next(iter(text.split()), "").lower().rstrip(",:;.!?)")
    return next((name for shape, name in _OPENINGS if re.fullmatch(shape, first)), "another word")


def _ending(text: str) -> str:
    end = re.sub(r"[\s\"'”’»)]+$", "", _EMOJI.sub("", text))
    if end.endswith("..."):
        return "an ellipsis"
    return _ENDS.get(end[-1:], "no end mark")


def _inside(text: str) -> str:
    marks = [
        name
        for mark, name in ((":", "a colon"), ("?", "a question"), ("—", "a dash"), (" - ", "a dash"))
        if mark in text
    ]
    return marks[0] if marks else "no colon or dash"


def _extras(text: str) -> str:
    if _EMOJI.search(text):
        return "emoji"
    if re.search(r"(?<!\w)#\w", text):
        return "hashtags"
    return "mentions" if re.search(r"(?<!\w)@\w", text) else "no emoji or hashtags"


TRAITS: dict[str, Callable[[str], str]] = {
    "casing": _casing,
    "length": _length,
    "opens with": _opening,
    "ends with": _ending,
    "inside": _inside,
    "extras": _extras,
}
"""What is measured of a text, by name."""

PLAIN = frozenset(
    ("sentence case", "another word", "no end mark", "no colon or dash", "no emoji or hashtags", "no casing")
)
"""Values that nobody notices."""


_COMMON = {"every word with a capital": 0.2, "a full stop": 0.2, "an article": 0.1}
"""Values that many writers share stand behind rarer ones, and so does length: nine words do not make two alike."""
USUAL = 0.5
"""A value that at least this share of somebody's texts have is their habit."""
LEAST_ABOVE = 0.15
"""How much more common than with others a habit must be to set somebody apart."""


def style_of(text: str) -> Style:
    """The value of every trait of one text."""
    return {trait: measure(text.strip()) for trait, measure in TRAITS.items()}


def style_match(answer: str, gold: str) -> float:
    """The share of traits in which an answer is like the person's own text: 0 to 1."""
    ours, theirs = style_of(answer), style_of(gold)
    return sum(ours[trait] == theirs[trait] for trait in TRAITS) / len(TRAITS)


@dataclass(frozen=True)
class Habits:
    """How often each value of each trait occurs in somebody's texts."""

    texts: int
    shares: Mapping[str, Mapping[str, float]]
    """For each trait, the share of texts with each value; only values that occur."""
    words: float
    """Mean length in words."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Habits":
        """Measure somebody's texts."""
        own = [text for text in texts if text.strip()]
        styles = [style_of(text) for text in own]
        shares = {
            trait: {value: n / len(own) for value, n in Counter(style[trait] for style in styles).most_common()}
            for trait in TRAITS
            if own
        }
        return cls(len(own), shares, sum(len(text.split()) for text in own) / len(own) if own else 0.0)

    def usual(self, trait: str) -> tuple[str, float]:
        """The most common value of a trait and its share of the texts; ("", 0) without texts."""
        values = self.shares.get(trait, {})
        return max(values.items(), key=lambda pair: pair[1]) if values else ("", 0.0)

    def visible(self, others: Sequence["Habits"] = ()) -> list[tuple[str, str, float]]:
        """Traits that set this person apart, most visible first: (trait, value, share of their texts).

        A value counts if at least half of the texts have it and it is not one that nobody notices. Where others are
        given it must be more common here than with them, and the order is by how much.
        """
        found = []
        for trait in TRAITS:
            value, share = self.usual(trait)
            if share < USUAL or value in PLAIN:
                continue
            elsewhere = [other.shares.get(trait, {}).get(value, 0.0) for other in others]
            above = share - (sum(elsewhere) / len(elsewhere) if elsewhere else 0.0)
            if above < LEAST_ABOVE:
                continue
            found.append((above - (0.3 if trait == "length" else _COMMON.get(value, 0.0)), trait, value, share))
        return [(trait, value, share) for _, trait, value, share in sorted(found, key=lambda row: -row[0])]


def own_texts(task: Task, items: Iterable[Item]) -> list[str]:
    """What a person wrote themselves: the answers of a text task, the inputs of a rating; nothing elsewhere."""
    if task.kind == "text":
        return [item.y or item.x for item in items]
    return [item.x for item in items] if task.kind == "rating" else []
