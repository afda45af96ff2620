"""Maps as SVG files: real vectors for papers and slides, while the browser's own export contains a bitmap.

Always drawn for a light page, with title, units and scale inside, so that the file is self-contained.
"""

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from perpcs.assembly.record import Assembly
from perpcs.figures.columns import column_order, rows_of, selected_pieces, short_label, short_names
from perpcs.figures.difference import difference_colour
from perpcs.figures.style import faint, ink, muted, weight_colour
from perpcs.pool.manifest import Sharer

_CELL, _LEFT, _TOP, _BELOW, _LINE = 14, 52, 16, 66, 18
_CHARS = 7.0
"""Approximate width of a letter of the title in pixels."""


def map_svg(
    assembly: Assembly, sharers: Sequence[Sharer], title: str, *, sort: str = "cluster", module: str | None = None
) -> str:
    """The map of an assembly. A square is a piece with weight, a diamond a negative one, a dot a piece not selected."""
    rows = rows_of(assembly.positions, module)
    columns = column_order(assembly.weights[rows], sharers, sort)
    picked = selected_pieces(assembly)
    top = float(np.abs(assembly.weights[rows]).max()) or 1.0

    def mark(p: int, s: int, x: float, y: float) -> str:
        weight = float(assembly.weights[p, s])
        if not picked[p, s]:
            return f'<circle cx="{x:g}" cy="{y:g}" r="1.2" fill="{faint(False)}"/>'
        colour = weight_colour(weight, top, False)
        if weight < 0:
            return f'<path d="M{x:g} {y - 6.5:g}l6.5 6.5l-6.5 6.5l-6.5 -6.5z" fill="{colour}"/>'
        return f'<rect x="{x - 6:g}" y="{y - 6:g}" width="12" height="12" fill="{colour}"/>'

    below = bool((assembly.weights[rows] < 0).any())
    quarters = range(-4, 5, 2) if below else range(5)
    scale = [(f"{top * i / 4:.2f}", weight_colour(i, 4, False)) for i in quarters]
    return _svg(assembly.positions, sharers, rows, columns, title, "weight", mark, scale)


def difference_svg(
    before: np.ndarray,
    after: np.ndarray,
    positions: Sequence[str],
    sharers: Sequence[Sharer],
    title: str,
    *,
    sort: str = "cluster",
    module: str | None = None,
) -> str:
    """The difference of two tables of weights: a triangle up is more of a piece, one down is less."""
    rows = rows_of(positions, module)
    columns = column_order((np.abs(before) + np.abs(after))[rows], sharers, sort)
    by = after.astype(float) - before
    top = float(np.abs(by[rows]).max()) or 1.0

    def mark(p: int, s: int, x: float, y: float) -> str:
        if abs(by[p, s]) < top / 1000:
            return ""
        up = 1 if by[p, s] > 0 else -1
        path = f"M{x - 6:g} {y + 5 * up:g}h12l-6 {-10 * up:g}z"
        return f'<path d="{path}" fill="{difference_colour(by[p, s], top, False)}" stroke="{muted(False)}"/>'

    scale = [(f"{top * i / 2:+.2f}", difference_colour(i, 2, False)) for i in range(-2, 3)]
    return _svg(positions, sharers, rows, columns, title, "difference (▲ more, ▼ less)", mark, scale)


def _svg(
    positions: Sequence[str],
    sharers: Sequence[Sharer],
    rows: list[int],
    columns: list[int],
    title: str,
    unit: str,
    mark: Callable[[int, int, float, float], str],
    scale: list[tuple[str, str]],
) -> str:
    width = max(_LEFT + _CELL * len(columns) + 16, 420)
    lines = _wrap(title, int(width / _CHARS))
    top = _TOP + _LINE * len(lines) + 8
    height = top + _CELL * len(rows) + _BELOW
    body = [
        f'<text x="8" y="{_TOP + _LINE * i + 4}" font-size="14" font-weight="600">{escape(line)}</text>'
        for i, line in enumerate(lines)
    ]
    for y, p in enumerate(rows):
        middle = top + _CELL * (y + 0.5)
        body.append(
            f'<text x="{_LEFT - 6}" y="{middle + 3.5:g}" font-size="10" text-anchor="end" '
            f'font-family="monospace" fill="{muted(False)}">{escape(short_label(positions[p]))}</text>'
        )
        body += [mark(p, s, _LEFT + _CELL * (x + 0.5), middle) for x, s in enumerate(columns)]
    names = short_names([sharer.id for sharer in sharers])
    step = max(
        1, round(len(columns) / 10), -(-(7 * max(map(len, names)) + 4) // _CELL)
    )  # so that labels do not overlap
    below = top + _CELL * len(rows)
    for x in range(0, len(columns), step):
        body.append(
            f'<text x="{_LEFT + _CELL * (x + 0.5):g}" y="{below + 14}" font-size="10" text-anchor="middle" '
            f'fill="{muted(False)}">{escape(names[columns[x]])}</text>'
        )
    body.append(f'<text x="{_LEFT}" y="{below + 44}" font-size="11">{escape(unit)}</text>')
    at = _LEFT + 8 + 6.2 * len(unit)
    for i, (number, colour) in enumerate(scale):
        body.append(f'<rect x="{at + 44 * i:g}" y="{below + 30}" width="44" height="10" fill="{colour}"/>')
        body.append(
            f'<text x="{at + 44 * i + 22:g}" y="{below + 54}" font-size="10" text-anchor="middle">{number}</text>'
        )
    width = max(width, int(at) + 44 * len(scale) + 8)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="sans-serif" fill="{ink(False)}"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="#FFFFFF"/>{"".join(body)}</svg>\n'
    )


def _wrap(text: str, most: int) -> list[str]:
    lines: list[str] = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
