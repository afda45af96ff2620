"""A person's own words, shaded by how well one piece fits them."""

from collections.abc import Sequence
from html import escape

from perpcs.assembly.explain import END, ItemTokens, TokenScores
from perpcs.figures.difference import difference_colour

_STRONG = 0.45
"""From this share of the largest score on, a word's line is thick: the sign and the size are told without colour."""


def token_html(found: TokenScores, dark: bool = False) -> str:
    """Items as lines of shaded words. Blue, a line above = fits; vermilion, a line below = does not; the size is in
    the words' hover text.
    """
    top = max((abs(score) for item in found.items for score in item.scores), default=0.0) or 1.0
    lines = []
    for item in found.items:
        words = "".join(_word(text, score, top, dark) for text, score in zip(item.tokens, item.scores, strict=True))
        lines.append(f'<li><em>item {item.item + 1}</em><span class="pp-words">{words}</span></li>')
    return f'<ul class="pp-tokens" aria-label="Your own words, shaded by the score of the piece">{"".join(lines)}</ul>'


def strongest(found: TokenScores, count: int = 5) -> list[tuple[str, float]]:
    """The words that the piece fits best, over all items: (text, score), each text once with its best score."""
    best: dict[str, float] = {}
    for item in found.items:
        for text, score in zip(item.tokens, item.scores, strict=True):
            word = text.strip()
            if word and text != END:
                best[word] = max(best.get(word, -float("inf")), score)
    return sorted(best.items(), key=lambda pair: -pair[1])[:count]


def tokens_csv(items: Sequence[ItemTokens]) -> str:
    """One line a token: item, place, text, score."""
    rows = ["item,place,token,score"]
    for item in items:
        for place, (text, score) in enumerate(zip(item.tokens, item.scores, strict=True), start=1):
            quoted = text.replace('"', '""')
            rows.append(f'{item.item + 1},{place},"{quoted}",{score:.6g}')
    return "\n".join(rows) + "\n"


def _word(text: str, score: float, top: float, dark: bool) -> str:
    share = score / top
    kind = ("pp-fit" if share > 0 else "pp-unfit") + (" pp-strong" if abs(share) >= _STRONG else "")
    shown = f"<i>{escape(text)}</i>" if text == END else escape(text)
    colour = difference_colour(score, top * 1.6, dark)  # the ends of the scale are too strong to read words on
    return f'<span class="{kind}" style="background:{colour}" title="{score:+.3f}">{shown}</span>'
