"""How small a personal model is: a person's weights against a full adapter, as areas to scale."""

from perpcs.figures.style import bytes_text, method_colour, ratio_text

SIDE = 104
"""Pixels of the larger square's side."""


def size_html(user_bytes: int, adapter_bytes: int) -> str:
    """Two squares whose areas are the two sizes, to scale."""
    small = SIDE * (user_bytes / adapter_bytes) ** 0.5
    label = f"Areas to scale: {bytes_text(adapter_bytes)} against {bytes_text(user_bytes)}"
    return (
        f'<div class="pp-size" role="img" aria-label="{label}">{_square(SIDE, "oppu")}'
        f"<p><b>{bytes_text(adapter_bytes)}</b><br>an adapter trained<br>for one person</p>"
        f"{_square(small, 'perpcs')}<p><b>{bytes_text(user_bytes)}</b>, {ratio_text(user_bytes, adapter_bytes)}<br>"
        "one person’s weights<br>(areas to scale)</p></div>"
    )


def _square(side: float, method: str) -> str:
    return f'<i style="width:{side:.1f}px;height:{side:.1f}px;background:{method_colour(method)}"></i>'
