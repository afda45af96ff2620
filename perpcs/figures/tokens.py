"""A person's own words, shaded by how well one piece fits them.

A word's score is the mean over its tokens. Most pieces fit all words of an item to some degree, so the shade is the
difference from the mean of the words shown: it shows which of them score above the others.
"""

from collections.abc import Sequence
from html import escape

import numpy as np

from perpcs.assembly.explain import END, ItemTokens, TokenScores
from perpcs.figures.difference import difference_colour

_STRONG = 0.4
"""From this share of the largest difference on, a word has a line, so that sign and size do not need colour."""


def words_of(item: ItemTokens) -> list[tuple[str, float]]:
    """An item's words in order, each with the mean score of its tokens; joined, they are the item's text. A word begins
    after a space.
    """
    words: list[tuple[str, list[float]]] = []
    for text, score in zip(item.tokens, item.scores, strict=True):
        if not words or text == END or text[:1].isspace() or words[-1][0][-1:].isspace():
            words.append((text, [score]))
        else:
            words[-1] = (words[-1][0] + text, [*words[-1][1], score])
    return [(text, float(np.mean(scores))) for text, scores in words]


def mean_score(found: TokenScores) -> float:
    """The mean over the words shown."""
    scores = [score for item in found.items for _, score in words_of(item)]
    return float(np.mean(scores)) if scores else 0.0


def token_html(found: TokenScores, dark: bool = False) -> str:
    """Items as lines of shaded words. Blue with a line above = fits better than the mean of these words; vermilion
    with a line below = worse; hovering shows the score.
    """
    mean = mean_score(found)
    top = max((abs(score - mean) for item in found.items for _, score in words_of(item)), default=0.0) or 1.0
    lines = []
    for item in found.items:
        words = "".join(_word(text, score, score - mean, top, dark) for text, score in words_of(item))
        lines.append(f'<li><em>item {item.item + 1}</em><span class="pp-words">{words}</span></li>')
    return f'<ul class="pp-tokens" aria-label="Your own words, shaded by the score of the piece">{"".join(lines)}</ul>'


def strongest(found: TokenScores, count: int = 5) -> list[tuple[str, float]]:
    """The words that the piece fits best, over all items: (text, score), each word once with its best score."""
    best: dict[str, float] = {}
    for item in found.items:
        for text, score in words_of(item):
            word = text.strip()
            if word and text != END:
                best[word] = max(best.get(word, -float("inf")), score)
    return sorted(best.items(), key=lambda pair: -pair[1])[:count]


def tokens_csv(items: Sequence[ItemTokens]) -> str:
    """One line per token: item, place, text, score."""
    rows = ["item,place,token,score"]
    for item in items:
        for place, (text, score) in enumerate(zip(item.tokens, item.scores, strict=True), start=1):
            quoted = text.replace('"', '""')
            rows.append(f'{item.item + 1},{place},"{quoted}",{score:.6g}')
    return "\n".join(rows) + "\n"


def _word(text: str, score: float, by: float, top: float, dark: bool) -> str:
    share = by / top
    kind = ("pp-fit" if share > 0 else "pp-unfit") + (" pp-strong" if abs(share) >= _STRONG else "")
    shown = f"<i>{escape(text)}</i>" if text == END else escape(text)
    colour = difference_colour(share, 2.6, dark)  # the ends of the scale are too strong to read words on
    return f'<span class="{kind}" style="background:{colour}" title="{score:+.3f}">{shown}</span>'
