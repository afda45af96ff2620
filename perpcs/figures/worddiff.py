"""Two answers word by word: what is the same, what only one of them says."""

import difflib
import html
import re
from dataclasses import dataclass
from typing import Literal

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]|\s+", re.UNICODE)


@dataclass(frozen=True)
class Part:
    """A run of words. ``same``: both say it; ``extra``: only the answer does; ``missing``: only the truth does."""

    kind: Literal["same", "extra", "missing"]
    text: str


def word_diff(answer: str, truth: str) -> list[Part]:
    """The answer's words in order, with those it lacks put where the truth has them; case does not count."""
    ours, theirs = _words(answer), _words(truth)
    matcher = difflib.SequenceMatcher(None, [w.lower() for w in ours], [w.lower() for w in theirs], autojunk=False)
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
    """(words of the truth that the answer has in order, words of the truth); punctuation does not count."""
    same = sum(len([w for w in _words(p.text) if w[0].isalnum()]) for p in word_diff(answer, truth) if p.kind == "same")
    return same, len([word for word in _words(truth) if word[0].isalnum()])


def diff_html(answer: str, truth: str) -> str:
    """The diff as HTML: same words underlined, missing ones struck through; a screen reader hears which is which."""
    tags = {"same": "mark", "extra": "span", "missing": "del"}
    return " ".join(
        f'<{tags[p.kind]} class="pp-{p.kind}">{html.escape(p.text)}</{tags[p.kind]}>' for p in word_diff(answer, truth)
    )


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text) if not word.isspace()]


def _join(words: list[str]) -> str:
    text = ""
    for word in words:
        text += word if not text or not (word[0].isalnum() or word in "([“\"'") else f" {word}"
    return text
