"""A profile of a person by counting: what PAG puts into a prompt where no language model writes one.

Label tasks: how often each label was given. Ratings: their mean too. Citations: what sets cited titles apart from those
passed over. Text: length, casing, marks, how it begins and how it ends. Shares are in tenths, so that a small model
sees few different words. Nothing in it is longer than a line.
"""

import re
from collections import Counter
from collections.abc import Sequence

from perpcs.tasks import Item, Task

_MARKS = (":", "?", "!", "...", "#", "(", "'")
_LITTLE = frozenset(
    ["a", "an", "the", "of", "in", "on", "for", "to", "and", "or", "by", "with", "at", "from", "as", "is", "its"]
)


def statistics(task: Task, history: Sequence[Item]) -> str:
    """One line of counts over a history; "" for an empty one."""
    if not history:
        return ""
    if task.history_instruction:
        return _citations(history)
    if task.kind == "text":
        return _style([item.x if item.y is None else item.y for item in history])
    counts = Counter(item.y for item in history if item.y is not None)
    listed = ", ".join(f"{label} {count}" for label, count in sorted(counts.items(), key=lambda kv: (-kv[1], kv[0])))
    if task.kind != "rating":
        return f"Of {len(history)}: {listed}."
    mean = sum(int(item.y or 0) for item in history) / len(history)
    return f"Mean {mean:.1f} of {len(history)}: {listed}."


def _citations(history: Sequence[Item]) -> str:
    """Words of cited titles that are rarer in those passed over."""
    cited = Counter(word for item in history for word in _content(item.y or ""))
    cited.subtract(word for item in history for word in _content(item.other))
    top = sorted((word for word in cited if cited[word] > 0), key=lambda word: (-cited[word], word))[:8]
    return f"Cites: {', '.join(top)}." if top else ""


def _content(title: str) -> list[str]:
    return [word for word in re.findall(r"[\w-]+", title.lower()) if word not in _LITTLE]


def _style(texts: Sequence[str]) -> str:
    total = len(texts)
    words = sum(len(text.split()) for text in texts) / total
    parts = [f"{words:.0f} words"]
    casing, share = Counter(map(_casing, texts)).most_common(1)[0]
    parts.append(f"{casing} {_tenths(share, total)}")
    for mark in _MARKS:
        count = sum(mark in text for text in texts)
        if 5 * count >= total:
            parts.append(f"{mark} {_tenths(count, total)}")
    for name, place in (("begins", 0), ("ends", -1)):
        word, count = Counter(text.split()[place] for text in texts if text.split()).most_common(1)[0]
        if 4 * count >= total:
            parts.append(f"{name} {word} {_tenths(count, total)}")
    return ", ".join(parts) + "."


def _tenths(count: int, total: int) -> str:
    return f"{round(10 * count / total)}/10"


def _casing(text: str) -> str:
    if text == text.lower():
        return "lower case"
    if text == text.upper():
        return "capitals"
    later = [word for word in text.split()[1:] if word[:1].isalpha() and word.lower() not in _LITTLE]
    return "title case" if later and sum(word[0].isupper() for word in later) > 0.8 * len(later) else "sentence case"
