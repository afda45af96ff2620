"""A row of facts: a number over the words that say what it counts."""

from collections.abc import Iterable


def facts_html(rows: Iterable[tuple[str, str]], label: str = "") -> str:
    """``rows`` are (number, words) as HTML; ``label`` is what a screen reader says first."""
    cells = "".join(f"<li><b>{number}</b><small>{words}</small></li>" for number, words in rows)
    return f'<ul class="pp-facts" aria-label="{label}">{cells}</ul>'
