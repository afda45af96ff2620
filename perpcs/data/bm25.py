"""Okapi BM25, the variant that LaMP, OPPU and Per-Pcs retrieve with (that of the rank_bm25 package).

    score(d) = sum_t idf(t) * f (k1 + 1) / (f + k1 (1 - b + b |d| / mean |d|))       idf(t) = ln((N - n_t + .5) / (n_t
    + .5))

An idf below zero is replaced by epsilon times the mean idf. Defaults k1 = 1.5, b = 0.75, epsilon = 0.25.
"""

import math
from collections import Counter
from collections.abc import Sequence

from perpcs.tasks import Item


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


def retrieve(query: str, history: Sequence[Item], k: int = 1) -> list[Item]:
    """The k history items that BM25 finds nearest to the query text, best first; ties keep the newer item."""
    if not history or k < 1:
        return []
    index = BM25([words(item.x if item.y is None else f"{item.x} {item.y}") for item in history])
    scores = index.scores(words(query))
    order = sorted(range(len(history)), key=lambda i: (-scores[i], -i))
    return [history[i] for i in order[:k]]
