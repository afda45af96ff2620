"""Like this person: each answer's traits of style beside the person's habits, as an HTML table."""

from collections.abc import Mapping, Sequence
from html import escape

from perpcs.tasks.style import TRAITS, USUAL, Habits, style_of

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
    return (
        f'<div class="pp-scroll"><table class="pp-habits"><thead><tr><th scope="col">trait</th>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}<tr><th scope="row">like this person</th><td></td>{foot}</tr></tbody></table></div>'
    )


def _cell(value: str, usual: str) -> str:
    mark = "✓" if value == usual else "✗"
    return f'<td class="pp-{"like" if value == usual else "unlike"}">{mark} {escape(value)}</td>'


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""
