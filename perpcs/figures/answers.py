"""Words and answers: two answers word by word, a person's own words shaded by how well one piece fits them, each
answer's traits of style beside the person's habits, and the probability of each label.

A word's score is the mean over its tokens. Most pieces fit all words of an item to some degree, so the shade is the
difference from the mean of the words shown: it shows which of them score above the others.
"""

import difflib
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from perpcs.assembly.explain import END, ItemTokens, TokenScores
from perpcs.figures.difference import difference_colour
from perpcs.figures.style import FAINT, PAPER, base_layout, csv_text, method_colour, scrolling
from perpcs.tasks.task import TRAITS, USUAL, Habits, style_of
from perpcs.words import Cut, cut, is_unspaced

# ---- two answers -----------------------------------------------------------------------------------------------------


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


# ---- own words -------------------------------------------------------------------------------------------------------


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
    rows = [
        (item.item + 1, place, text, f"{score:.6g}")
        for item in items
        for place, (text, score) in enumerate(zip(item.tokens, item.scores, strict=True), start=1)
    ]
    return csv_text(("item", "place", "token", "score"), rows)


def _word(text: str, score: float, by: float, top: float, dark: bool) -> str:
    share = by / top
    kind = ("pp-fit" if share > 0 else "pp-unfit") + (" pp-strong" if abs(share) >= _STRONG else "")
    shown = f"<i>{escape(text)}</i>" if text == END else escape(text)
    colour = difference_colour(share, 2.6, dark)  # the ends of the scale are too strong to read words on
    return f'<span class="{kind}" style="background:{colour}" title="{score:+.3f}">{shown}</span>'


# ---- habits ----------------------------------------------------------------------------------------------------------


_SAID = {"opens with": "opening with ", "ends with": "ending with "}


def traits_of(habits: Habits) -> list[str]:
    """The traits worth a row: the most visible first, then the other habits."""
    seen = [trait for trait, *_ in habits.visible()]
    return [*seen, *(trait for trait in TRAITS if trait not in seen and habits.usual(trait)[1] >= USUAL)]


def likeness_title(name: str, habits: Habits, answers: Mapping[str, str]) -> str:
    """Which answers have the person's most visible trait; empty where they have none.

    Args:
        answers: texts by the title of their method.
    """
    seen = habits.visible()
    if not seen or not answers:
        return ""
    trait, value, share = seen[0]
    kept = [title for title, text in answers.items() if style_of(text)[trait] == value]
    lost = [title for title in answers if title not in kept]
    said = f"{name}’s most visible trait, {_SAID.get(trait, '')}{value} ({100 * share:.0f} % of {habits.texts} items):"
    if not lost:
        return f"{said} every answer has it"
    if not kept:
        return f"{said} no answer has it"
    has, lacks = ("have" if len(kept) > 1 else "has"), ("lack" if len(lost) > 1 else "lacks")
    return f"{said} {_listed(kept)} {has} it, {_listed(lost)} {lacks} it"


def likeness_html(name: str, habits: Habits, answers: Mapping[str, str], gold: str = "") -> str:
    """A row per trait: the person's habit, the true answer's value where it is known, and each answer's."""
    columns = {**({"true answer": gold} if gold else {}), **answers}
    styles = {title: style_of(text) for title, text in columns.items()}
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in (f"{name}’s items", *columns))
    rows = []
    usual = {trait: habits.usual(trait) for trait in traits_of(habits)}
    for trait, (value, share) in usual.items():
        cells = "".join(_cell(style[trait], value) for style in styles.values())
        habit = f"<td>{escape(value)}<small>{100 * share:.0f} %</small></td>"
        rows.append(f'<tr><th scope="row">{escape(trait)}</th>{habit}{cells}</tr>')
    agree = [sum(style[trait] == value for trait, (value, _) in usual.items()) for style in styles.values()]
    foot = "".join(f"<td><b>{count} of {len(rows)}</b></td>" for count in agree)
    return scrolling(
        f'<table class="pp-habits"><thead><tr><th scope="col">trait</th>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}<tr><th scope="row">like this person</th><td></td>{foot}</tr></tbody></table>'
    )


def _cell(value: str, usual: str) -> str:
    mark = "✓" if value == usual else "✗"
    return f'<td class="pp-{"like" if value == usual else "unlike"}">{mark} {escape(value)}</td>'


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


# ---- labels ----------------------------------------------------------------------------------------------------------


_PATTERNS = ("", "/", ".", "x", "+", "-")


def label_bars(
    probabilities: Mapping[str, tuple[str, Mapping[str, float]]],
    *,
    truth: str | None = None,
    most: int = 6,
    dark: bool = False,
) -> go.Figure:
    """Grouped bars, the most likely labels of any method first, always including the true one.

    Args:
        probabilities: method -> (title, label -> probability).
        truth: the person's own label, which is marked.
        most: maximum number of labels.
    """
    labels = shown_labels({method: values for method, (_, values) in probabilities.items()}, truth, most)
    names = [f"<b>{label}</b> ✓" if label == truth else label for label in labels]
    figure = go.Figure()
    for index, (method, (title, values)) in enumerate(probabilities.items()):
        figure.add_trace(
            go.Bar(
                y=names,
                x=[100 * values.get(label, 0.0) for label in labels],
                orientation="h",
                name=title,
                marker={
                    "color": method_colour(method),
                    "pattern": {
                        "shape": _PATTERNS[index % 6],
                        "solidity": 0.18,
                        "fillmode": "overlay",
                        "fgcolor": PAPER[dark],
                    },
                },
                hovertemplate=f"{title}<br>%{{y}}: %{{x:.1f}} %<extra></extra>",
            )
        )
    figure.update_layout(
        base_layout(
            dark,
            height=70 + len(labels) * (16 + 14 * len(probabilities)),
            barmode="group",
            bargap=0.3,
            margin={"l": 8, "r": 16, "t": 36, "b": 44},
            dragmode=False,
            legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "traceorder": "normal"},
        )
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(range=[0, 100], ticksuffix=" %", showgrid=True, gridcolor=FAINT[dark], title_text="probability")
    return figure


def label_takeaway(probabilities: Mapping[str, tuple[str, Mapping[str, float]]], truth: str | None) -> str:
    """The chart's title: the probability each method gives the true label, or the label each prefers."""
    if truth is not None:
        said = [f"{100 * values.get(truth, 0.0):.0f} % from {title}" for title, values in probabilities.values()]
        return f"“{truth}”, the person's own label, gets {_and(said)}"
    best = [
        f"{title} prefers “{max(values, key=lambda label: values[label])}”" for title, values in probabilities.values()
    ]
    return _and(best)


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def shown_labels(values: Mapping[str, Mapping[str, float]], truth: str | None, most: int) -> list[str]:
    """Labels by the largest probability any method gives them; the true one replaces the last if it is missing."""
    best: dict[str, float] = {}
    for row in values.values():
        for label, probability in row.items():
            best[label] = max(best.get(label, 0.0), probability)
    labels = sorted(best, key=lambda label: -best[label])
    shown = labels[:most]
    if truth in best and truth not in shown and truth is not None:
        shown[-1] = truth
    return shown
