"""What of a history goes into prompts: the items that are most like a query (BM25), and a profile by counting.

Okapi BM25, the variant that LaMP, OPPU and Per-Pcs retrieve with (that of the rank_bm25 package).

    score(d) = sum_t idf(t) * f (k1 + 1) / (f + k1 (1 - b + b |d| / mean |d|))       idf(t) = ln((N - n_t + .5) / (n_t
    + .5))

An idf below zero is replaced by epsilon times the mean idf. Defaults k1 = 1.5, b = 0.75, epsilon = 0.25.

A profile of a person by counting: what PAG puts into a prompt where no language model writes one.

Label tasks: how often each label was given. Ratings: their mean too. Citations: what sets cited titles apart from those
passed over. Text: length, casing, marks, how it begins and how it ends. Shares are in tenths, so that a small model
sees few different words. Nothing in it is longer than a line.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

from perpcs.tasks import Item, Task

# ---- items -----------------------------------------------------------------------------------------------------------


class BM25:
    """An index over documents that are already split into words."""

    def __init__(
        self, documents: Sequence[Sequence[str]], k1: float = 1.5, b: float = 0.75, epsilon: float = 0.25
    ) -> None:
        self.counts = [Counter(document) for document in documents]
        lengths = [len(document) for document in documents]
        mean = sum(lengths) / len(lengths) if lengths else 0.0
        self.norms = [k1 * (1 - b + b * length / mean) if mean else k1 for length in lengths]
        self.k1 = k1
        holding = Counter(word for count in self.counts for word in count)
        total = len(documents)
        self.idf = {word: math.log(total - n + 0.5) - math.log(n + 0.5) for word, n in holding.items()}
        floor = epsilon * sum(self.idf.values()) / len(self.idf) if self.idf else 0.0
        self.idf = {word: value if value >= 0 else floor for word, value in self.idf.items()}

    def scores(self, query: Sequence[str]) -> list[float]:
        """One score a document."""
        return [
            sum(
                self.idf[word] * count[word] * (self.k1 + 1) / (count[word] + norm)
                for word in query
                if word in self.idf and count[word]
            )
            for count, norm in zip(self.counts, self.norms, strict=True)
        ]


def words(text: str) -> list[str]:
    """Split as LaMP does: at white space."""
    return text.split()


def indexed(history: Sequence[Item]) -> BM25:
    """The index of a history, for any number of queries."""
    return BM25([words(item.x if item.y is None else f"{item.x} {item.y}") for item in history])


def retrieve(query: str, history: Sequence[Item], k: int = 1, index: BM25 | None = None) -> list[Item]:
    """The k history items that BM25 finds nearest to the query text, best first; ties keep the newer item."""
    if not history or k < 1:
        return []
    scores = (index or indexed(history)).scores(words(query))
    order = sorted(range(len(history)), key=lambda i: (-scores[i], -i))
    return [history[i] for i in order[:k]]


# ---- a counted profile -----------------------------------------------------------------------------------------------


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
