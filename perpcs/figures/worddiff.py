"""Two answers word by word: shared words, and words that only one of them has."""

import difflib
import html
from dataclasses import dataclass
from typing import Literal

from perpcs.words import Cut, cut, is_unspaced


@dataclass(frozen=True)
class Part:
    """A run of words. ``same``: in both; ``extra``: only in the answer; ``missing``: only in the truth."""

    kind: Literal["same", "extra", "missing"]
    text: str


def word_diff(answer: str, truth: str) -> list[Part]:
    """The answer's words in order, with missing words inserted where the truth has them; case is ignored."""
    ours, theirs = _words(answer), _words(truth)
    matcher = difflib.SequenceMatcher(None, [w.key for w in ours], [w.key for w in theirs], autojunk=False)
    parts: list[Part] = []
    for what, a0, a1, b0, b1 in matcher.get_opcodes():
        if what == "equal":
            parts.append(Part("same", _join(ours[a0:a1])))
            continue
        if a1 > a0:
            parts.append(Part("extra", _join(ours[a0:a1])))
        if b1 > b0:
            parts.append(Part("missing", _join(theirs[b0:b1])))
    return parts


def shared_words(answer: str, truth: str) -> tuple[int, int]:
    """(words of the truth that the answer has in order, words of the truth); punctuation is ignored."""
    whole = _words(truth)
    counts = [word for word in whole if word.is_word] or whole  # of a text without words its marks count
    shared = [word for part in word_diff(answer, truth) if part.kind == "same" for word in _words(part.text)]
    return sum(word.is_word == counts[0].is_word for word in shared) if counts else 0, len(counts)


def beside_html(one: tuple[str, str], other: tuple[str, str], *, marked: bool = True) -> str:
    """Two answers as cards, each (title, text); the second with its differences from the first.

    Args:
        marked: False = the second as it is, as answers of unlike kinds are.
    """
    (first, before), (second, after) = one, other
    changed = diff_html(after, before) if marked and after != before else html.escape(after)
    cards = ((first, html.escape(before)), (second, changed))
    inside = "".join(f"<div><small>{html.escape(title)}</small><p>{text}</p></div>" for title, text in cards)
    return f'<div class="pp-again">{inside}</div>'


def diff_html(answer: str, truth: str) -> str:
    """The diff as HTML: same words underlined, missing ones struck through, with tags that screen readers announce."""
    tags = {"same": "mark", "extra": "span", "missing": "del"}
    shown, before = "", ""
    for part in word_diff(answer, truth):
        tag = tags[part.kind]
        shown += "" if not before or (is_unspaced(before) and is_unspaced(part.text[0])) else " "
        shown += f'<{tag} class="pp-{part.kind}">{html.escape(part.text)}</{tag}>'
        before = part.text[-1]
    return shown


def _words(text: str) -> list[Cut]:
    return cut(text, joins="'’")


def _join(words: list[Cut]) -> str:
    return "".join((" " if word.spaced and i else "") + word.text for i, word in enumerate(words))
