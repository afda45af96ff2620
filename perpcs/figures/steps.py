"""The steps of becoming a sharer as a line of numbered words."""

STEPS = ("Check the text", "Train pieces", "Train gates", "Choose", "See what leaves", "In the copy")


def steps_html(now: int) -> str:
    """The line with one step marked as the present one; ``now`` = number of steps when all are done."""
    cells = []
    for index, title in enumerate(STEPS):
        state, said = (
            ("pp-done", "done") if index < now else ("pp-now", "now") if index == now else ("pp-later", "later")
        )
        current = ' aria-current="step"' if index == now else ""
        cells.append(
            f'<li class="{state}"{current}><span class="pp-num" aria-hidden="true">{"✓" if index < now else index + 1}'
            f'</span>{title}<span class="pp-hidden">, {said}</span></li>'
        )
    return f'<ol class="pp-steps" aria-label="Steps of sharing">{"".join(cells)}</ol>'
