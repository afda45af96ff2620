"""CSV and TSV to rows, with the physical line on which each record starts.

A cell is quoted only if its closing quote is followed by the end of the cell; otherwise its quotes are text. So a
headline such as ``"Never again," she said`` survives in files that were written without quoting, and a quote that never
closes spoils its own row instead of swallowing the rest of the file (as it does in the csv module, which also has no
offsets and keeps its field limit in a global).
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from perpcs.data.fields import field_names, is_header, x_noun, y_noun
from perpcs.data.limits import Row, count
from perpcs.errors import PerpcsError
from perpcs.tasks import Task

DELIMITERS = (",", ";", "\t")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "": "line"}
_QUOTED = re.compile(r' *"((?:[^"]++|"")*+)" *')
_SAMPLE = 50


@dataclass(frozen=True)
class Record:
    """One record of a table."""

    line: int
    cells: list[str]
    raw: str
    open_quote: bool
    """A cell began with a quote that nothing closes."""


@dataclass(frozen=True)
class Layout:
    """How a table is written."""

    delimiter: str
    """Empty where a record is one cell."""
    header: tuple[str, ...] = ()

    def note(self, task: Task | None) -> str:
        """One sentence for the person whose table it is."""
        how = f"Read as {_NAMES[self.delimiter]} separated" if self.delimiter else "Read as one item a line"
        if self.header:
            return f"{how}, with the header {', '.join(self.header)[:80]}."
        if self.delimiter and task:
            return f"{how}, without a header: the first column is the {x_noun(task)}, the second the {y_noun(task)}."
        return f"{how}, without a header."


def records(text: str, delimiter: str) -> Iterator[Record]:
    """The records with at least one cell that is not blank. Linear in the text, whatever its quotes."""
    plain = re.compile(f"[^{re.escape(delimiter)}\n]*")
    ends = (delimiter, "\n", "")
    pos, line = 0, 1
    while pos < len(text):
        first_pos, first_line, cells, open_quote = pos, line, [], False
        while True:
            quoted = _QUOTED.match(text, pos)
            if quoted and text[quoted.end() : quoted.end() + 1] in ends:
                cells.append(quoted[1].replace('""', '"'))
                line += quoted[1].count("\n")
                pos = quoted.end()
            else:
                bare = plain.match(text, pos)
                assert bare is not None  # the pattern matches the empty string
                cells.append(bare[0])
                open_quote |= quoted is None and bare[0].lstrip(" ").startswith('"')
                pos = bare.end()
            if not delimiter or text[pos : pos + 1] != delimiter:
                break
            pos += 1
        if any(cell.strip() for cell in cells):
            yield Record(first_line, cells, text[first_pos : min(pos, first_pos + 300)], open_quote)
        pos, line = pos + 1, line + 1


def find_header(text: str, prefer: str = ",", one_cell: bool = False) -> Layout | None:
    """The layout, if the first record names fields of a task under one of the delimiters."""
    for delimiter in sorted(DELIMITERS, key=lambda each: each != prefer):
        first = next(records(text, delimiter), None)
        if first and (len(first.cells) > 1 or one_cell) and is_header(first.cells):
            return Layout(delimiter if len(first.cells) > 1 else "", tuple(cell.strip() for cell in first.cells))
    return None


def find_layout(text: str, task: Task | None, prefer: str = ",") -> Layout:
    """The layout of a text that is known to be a table.

    Raises:
        PerpcsError: for a table of three or more columns without a header.
    """
    if layout := find_header(text, prefer, one_cell=True):
        return layout
    if task is not None and task.y_field is None:
        return Layout("")
    best, most, wide = prefer, 0, 0
    for delimiter in sorted(DELIMITERS, key=lambda each: each != prefer):
        widths = Counter(len(record.cells) for record in islice(records(text, delimiter), _SAMPLE))
        if widths[2] > most:
            best, most = delimiter, widths[2]
        if len(widths) == 1 and widths.total() > 1:
            wide = max(wide, *widths)
    if not most and wide > 2:
        raise PerpcsError(
            f"The table has {wide} columns and no header that says which is which.",
            f"Name the columns in its first line: {field_names(task) if task else 'text and title'}.",
        )
    return Layout(best)


def table_rows(text: str, layout: Layout, task: Task | None = None) -> Iterator[Row]:
    """One row per record after the header; a record of the wrong width is a row with a problem."""
    body = islice(records(text, layout.delimiter), 1 if layout.header else 0, None)
    names = layout.header or (("x",) if not layout.delimiter else ("x", "y"))
    x, y = (x_noun(task), y_noun(task)) if task else ("input", "answer")
    for record in body:
        cells = record.cells
        while len(cells) > len(names) and not cells[-1].strip():
            cells.pop()
        fits = len(cells) <= len(names) and (layout.header or len(cells) == len(names))
        # Spreadsheets copy to tabs without quoting, so there a lone quote is a person's own.
        if fits and not (record.open_quote and layout.delimiter in (",", ";")):
            yield Row(record.line, record.raw, dict(zip(reversed(names[: len(cells)]), reversed(cells), strict=True)))
        elif record.open_quote:
            problem = ("A quote opens in this row and never closes.", "Close it, or double the quotes inside the text.")
            yield Row(record.line, record.raw, problem=problem)
        else:
            wanted = "its header names" if layout.header else f"{x} and {y} make"
            do = f"Put double quotes around a text that holds a {_NAMES[layout.delimiter]}."
            if len(cells) < len(names):
                do = f"Write the {x}, a {_NAMES[layout.delimiter]}, then the {y}."
            problem = (f"The row has {count(len(cells), 'column')} where {wanted} {len(names)}.", do)
            yield Row(record.line, record.raw, problem=problem)
