"""Two answers word by word: shared words, and words that only one of them has."""

import difflib
import html
import re
from dataclasses import dataclass
from typing import Literal

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]|\s+", re.UNICODE)


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
    same = sum(len(_counted(part.text)) for part in word_diff(answer, truth) if part.kind == "same")
    return same, len(_counted(truth))


def diff_html(answer: str, truth: str) -> str:
    """The diff as HTML: same words underlined, missing ones struck through, with tags that screen readers announce."""
    tags = {"same": "mark", "extra": "span", "missing": "del"}
    return " ".join(
        f'<{tags[p.kind]} class="pp-{p.kind}">{html.escape(p.text)}</{tags[p.kind]}>' for p in word_diff(answer, truth)
    )


@dataclass(frozen=True)
class _Word:
    text: str
    spaced: bool
    """Whether a space precedes it."""

    @property
    def key(self) -> str:
        return self.text.lower()


def _words(text: str) -> list[_Word]:
    found = _WORD.findall(text)
    return [_Word(word, i > 0 and found[i - 1].isspace()) for i, word in enumerate(found) if not word.isspace()]


def _counted(text: str) -> list[str]:
    return [word.text for word in _words(text) if word.text[0].isalnum()]


def _join(words: list[_Word]) -> str:
    return "".join((" " if word.spaced and i else "") + word.text for i, word in enumerate(words))
