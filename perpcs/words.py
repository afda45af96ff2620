"""Cutting text of any script into the words that measures count and diffs show.

A word is a run of letters, digits and the marks on them. Scripts that put no spaces between words (Chinese, Japanese,
Thai, Lao, Khmer, Burmese, Tibetan) are cut by character. An emoji is a word, with its skin tone and all that joiners
tie to it. Texts are compared in NFC: an accent that was typed as a mark of its own makes the accented letter.
"""

import unicodedata
from bisect import bisect
from typing import NamedTuple


class Cut(NamedTuple):
    """A word, or one mark of punctuation."""

    text: str
    is_word: bool
    spaced: bool
    """Whether white space stands before it."""

    @property
    def key(self) -> str:
        """What makes it equal to another one: upper and lower case are alike."""
        return unicodedata.normalize("NFC", self.text.lower())


_UNSPACED = (
    *((0x0E00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF)),  # Thai, Lao, Tibetan; Burmese; Khmer
    *((0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF)),  # kana and Han
    *((0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F), (0x20000, 0x3FFFF)),
)
_STARTS = [start for start, _ in _UNSPACED]
_JOINER = "\u200d"


def cut(text: str, joins: str = "") -> list[Cut]:
    """The words and marks of a text in order, in NFC; white space is left out.

    Args:
        joins: marks that belong to a word where they stand between two letters, such as the apostrophe of "don't".
    """
    text = unicodedata.normalize("NFC", text)
    found: list[Cut] = []
    kind, spaced = "", False  # of what stands before: "word", "sign" (cut by character), "picture", "flag", "mark", ""
    for i, c in enumerate(text):
        if c.isspace():
            kind, spaced = "", True
            continue
        now = _kind(c)
        inside = c in joins and kind == "word" and _kind(text[i + 1 : i + 2]) == "word"
        attached = kind in ("word", "sign", "picture") and now == "attached"
        tied = now == "picture" and kind == "picture" and text[i - 1] == _JOINER
        flag = now == kind == "flag"
        if found and (inside or attached or tied or flag or (now == kind == "word")):
            found[-1] = found[-1]._replace(text=found[-1].text + c)
            kind = "picture" if flag else kind  # a third letter begins another flag
            continue
        if now == "attached" and unicodedata.category(c) == "Cf":
            continue  # a joiner or a direction mark with nothing to stand on
        found.append(Cut(c, now not in ("mark", "attached"), spaced))
        kind, spaced = now, False
    return found


def words(text: str) -> list[str]:
    """The words of a text as measures count them: lower case, without punctuation.

    A text of punctuation alone has its marks as words, so that it can equal another one.
    """
    found = cut(text)
    return [one.key for one in found if one.is_word] or [one.key for one in found]


def is_unspaced(c: str) -> bool:
    """Whether a character is of a script that puts no spaces between words."""
    at = bisect(_STARTS, ord(c)) - 1
    return at >= 0 and ord(c) <= _UNSPACED[at][1]


def _kind(c: str) -> str:
    if not c:
        return ""
    code = ord(c)
    if c.isalnum() or c == "_":
        return "sign" if is_unspaced(c) else "word"
    category = unicodedata.category(c)
    if category[0] == "M" or category == "Cf" or 0x1F3FB <= code <= 0x1F3FF:
        return "attached"
    if 0x1F1E6 <= code <= 0x1F1FF:
        return "flag"
    return "picture" if category == "So" and code > 0x2000 else "mark"
