"""CSV, TSV and other tables to rows, with the physical line on which each record starts; and plain lines: one item a
line, ``input => output`` or two parts with a tab between them.

A cell is quoted only if its closing quote is followed by the end of the cell; otherwise its quotes are text. So a
headline such as ``"Never again," she said`` survives in files that were written without quoting, and a quote that never
closes spoils its own row instead of swallowing the rest of the file (as it does in the csv module, which also has no
offsets and keeps its field limit in a global).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice

from perpcs.data.clean import Row, count, excerpt
from perpcs.data.fields import all_known, field_names, is_header, plain, x_noun, y_noun
from perpcs.errors import PerpcsError
from perpcs.tasks import Task

# ---- tables ----------------------------------------------------------------------------------------------------------


DELIMITERS = (",", ";", "\t", "|", "^", "~")
_RARE = ("^", "~")
"""Delimiters that only a header of known names makes believe: prose has them too."""
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", "^": "caret", "~": "tilde", "": "line"}
_QUOTED = re.compile(r' *"((?:[^"]++|"")*+)" *')
_ESCAPED = re.compile(r' *"((?:[^"\\]++|""|\\.)*+)" *', re.DOTALL)
"""As databases write it: a quote within a text has a backslash before it."""
_SEP_LINE = re.compile(r'"?sep=(\\t|[^\w\s"]|\t)"?[ \t]*(?:\n|$)', re.IGNORECASE)
_BLANK = re.compile(r"\n+")
_RULE = re.compile(r":?-*:?")
_SAMPLE = 50
_SURE = 5
"""Within so many records a header of known names alone may be narrower than what stands before it."""
_MOST_COLUMNS = 500
_PREAMBLE = 20
"""Records in which the header is looked for."""


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
    skip: int = 0
    """Records before the header."""
    grid: "Grid | None" = None

    def note(self, task: Task | None) -> str:
        """One sentence for the person whose table it is."""
        named = _NAMES.get(self.delimiter, self.delimiter)
        how = f"Read as {named} separated" if self.delimiter else "Read as one item a line"
        if self.grid and self.grid.sheet:
            how = f"Read the sheet {self.grid.sheet[:40]!r}"
        if self.skip:
            how += f", after {count(self.skip, 'line')} before the header"
        if self.header:
            return f"{how}, with the header {', '.join(filter(None, self.header))[:80]}."
        if self.delimiter and task:
            return f"{how}, without a header: the first column is the {x_noun(task)}, the second the {y_noun(task)}."
        return f"{how}, without a header."


def records(text: str, delimiter: str) -> Iterator[Record]:
    """The records with at least one cell that is not blank. Linear in the text, whatever its quotes."""
    plain = re.compile(f"[^{re.escape(delimiter)}\n]*")
    ends = (delimiter, "\n", "")
    pos, line = 0, 1
    while pos < len(text):
        if blank := _BLANK.match(text, pos):  # at the speed of one search, however many there are
            pos, line = blank.end(), line + blank.end() - pos
            continue
        first_pos, first_line, cells, open_quote = pos, line, [], False
        while True:
            if quoted := _quoted_cell(text, pos, ends):
                found, value = quoted
                cells.append(value)
                line += found[1].count("\n")
                pos = found.end()
            else:
                bare = plain.match(text, pos)
                assert bare is not None  # the pattern matches the empty string
                cells.append(bare[0])
                open_quote |= bare[0].lstrip(" ").startswith('"') and not _QUOTED.match(text, pos)
                pos = bare.end()
            if not delimiter or text[pos : pos + 1] != delimiter:
                break
            pos += 1
        if any(cell.strip() for cell in cells):
            yield Record(first_line, cells, text[first_pos : min(pos, first_pos + 300)], open_quote)
        pos, line = pos + 1, line + 1


def _quoted_cell(text: str, pos: int, ends: tuple[str, ...]) -> tuple[re.Match[str], str] | None:
    """The quoted cell that begins here, and its text; None where no closing quote is followed by the cell's end."""
    found = _QUOTED.match(text, pos)
    if found and text[found.end() : found.end() + 1] in ends:
        return found, found[1].replace('""', '"')
    if found and found[1].endswith("\\"):
        found = _ESCAPED.match(text, pos)
        if found and text[found.end() : found.end() + 1] in ends:
            return found, found[1].replace('\\"', '"').replace('""', '"')
    return None


@dataclass(frozen=True)
class Grid:
    """A text cut into cells in one way, or a sheet of a workbook."""

    delimiter: str
    """What stands between cells; empty where a record is one cell."""
    read: Callable[[], Iterable[Record]]
    sheet: str = ""

    @cached_property
    def first(self) -> list[Record]:
        """The first records, by which the layout is found."""
        return list(islice(self.read(), _SAMPLE))


def text_grids(text: str, prefer: str = ",") -> list[Grid]:
    """The ways of cutting a text into cells, the preferred delimiter first. A line ``sep=;`` at the top settles it."""
    if told := _SEP_LINE.match(text):
        text = text[told.end() - 1 :]  # from the line break on, so that lines keep their numbers
        delimiters: Sequence[str] = (told[1].replace("\\t", "\t"),)
    else:
        delimiters = sorted(DELIMITERS, key=lambda each: each != prefer)
    return [Grid(each, partial(records, text, each)) for each in delimiters]


def find_header(grids: Sequence[Grid], one_cell: bool = False, names: Iterable[str] = ()) -> Layout | None:
    """The layout under which a record names fields of a task, or all of ``names``.

    What stands before the header (a title, when it was exported) is skipped: records of fewer cells than it has.
    """
    wanted = set(names)
    for grid in grids:
        widest = 0
        for place, record in enumerate(grid.first[:_PREAMBLE]):
            if len(record.cells) > _MOST_COLUMNS:
                break
            cells = [cell.strip() for cell in record.cells]
            filled = sum(map(bool, cells))
            found = wanted <= set(map(plain, cells)) if wanted else is_header(cells)
            enough = found and (filled > 1 or (one_cell and not place))
            if enough and (not place or filled > widest or (place <= _SURE and all_known(filter(None, cells)))):
                delimiter = grid.delimiter if len(cells) > 1 else ""
                return Layout(delimiter, tuple(cells), place, grid if len(cells) > 1 else _whole_lines(grid))
            widest = max(widest, filled)
    return None


def find_layout(grids: Sequence[Grid], task: Task | None) -> Layout:
    """The layout of a text that is known to be a table.

    Raises:
        PerpcsError: for a table of three or more columns without a header that names fields we know.
    """
    if layout := find_header(grids, one_cell=True):
        return layout
    free = task is not None and task.y_field is None and not _pairs(grids[0])
    if wide := widest(grids) or (_two_wide(grids) if free else []):
        cells = ", ".join(repr(excerpt(cell, 24)) for cell in wide[:12] if cell.strip())
        lacks = f"is {x_noun(task)}" + (f" or {y_noun(task)}" if task.y_field else "") if task else "is a field we know"
        raise PerpcsError(
            f"The table has {len(wide)} columns, and no name in its first line {lacks}: {cells[:200]}.",
            f"Name the columns in its first line: {field_names(task) if task else 'text and title'}.",
        )
    if free:
        return Layout("", grid=_whole_lines(grids[0]))
    best, most = grids[0], 0
    for grid in _usual(grids):
        two = sum(len(record.cells) == 2 for record in grid.first)
        if two > most:
            best, most = grid, two
    return Layout(best.delimiter, grid=best)


def widest(grids: Sequence[Grid]) -> list[str]:
    """The first record of the way of cutting in which all records have the same three or more cells; else nothing."""
    found: list[str] = []
    for grid in _usual(grids):
        head = grid.first
        widths = {len(record.cells) for record in head}
        if len(head) > 1 and len(widths) == 1 and widths.pop() > max(2, len(found)):
            found = head[0].cells
    return found


def _usual(grids: Sequence[Grid]) -> list[Grid]:
    return [grid for grid in grids if grid.delimiter not in _RARE]


def _two_wide(grids: Sequence[Grid]) -> list[str]:
    """The first record where all records, three or more, have two cells: no prose has one comma in every line."""
    heads = (grid.first for grid in _usual(grids))
    return next((head[0].cells for head in heads if len(head) > 2 and all(len(each.cells) == 2 for each in head)), [])


def _pairs(grid: Grid) -> bool:
    """Whether a table without a header pairs a text with a tweet: a tab between two cells in nearly every line."""
    head = grid.first
    return grid.delimiter == "\t" and sum(len(record.cells) == 2 for record in head) * 10 > len(head) * 9


def _whole_lines(grid: Grid) -> Grid:
    """The grid with each line as one cell, where it is of text."""
    if isinstance(grid.read, partial):
        return Grid("", partial(records, grid.read.args[0], ""))
    return grid


def table_rows(layout: Layout, task: Task | None = None) -> Iterator[Row]:
    """One row per record after the header; a record of the wrong width is a row with a problem."""
    assert layout.grid is not None
    body = islice(layout.grid.read(), layout.skip + 1 if layout.header else 0, None)
    names = layout.header or (("x",) if not layout.delimiter else ("x", "y"))
    x, y = (x_noun(task), y_noun(task)) if task else ("input", "answer")
    for record in body:
        cells = record.cells
        if len(cells) == 1 < len(names) and (inner := _quoted_whole(record, layout.delimiter, len(names))):
            cells = inner
        if layout.delimiter == "|":
            cells = [cell.strip() for cell in cells]
            if all(_RULE.fullmatch(cell) for cell in cells):
                continue
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
            mark = _NAMES.get(layout.delimiter, layout.delimiter)
            do = f"Put double quotes around a text that holds a {mark}."
            if len(cells) < len(names):
                do = f"Write the {x}, a {mark}, then the {y}."
            problem = (f"The row has {count(len(cells), 'column')} where {wanted} {len(names)}.", do)
            yield Row(record.line, record.raw, problem=problem)


def _quoted_whole(record: Record, delimiter: str, width: int) -> list[str]:
    """The cells of a record that was quoted once more as a whole, as some exports write all rows but the header."""
    inner = list(islice(records(record.cells[0], delimiter), 2)) if delimiter else []
    return inner[0].cells if len(inner) == 1 and len(inner[0].cells) == width else []


# ---- lines -----------------------------------------------------------------------------------------------------------


ARROW = "=>"


def pair_rows(text: str, task: Task | None = None) -> Iterator[Row]:
    """One row per line that is not blank; one that is not two parts is a text if the task has no y, else a problem."""
    for number, line in _lines(text):
        parts = _split(line)
        if len(parts) == 2:
            yield Row(number, line, {"x": parts[0], "y": parts[1]})
            continue
        if task is not None and task.y_field is None:
            yield Row(number, line, {"x": line})
            continue
        x, y = (x_noun(task), y_noun(task)) if task else ("input", "answer")
        if len(parts) < 2:
            wrong = f"The line has no {ARROW!r} and no tab between {x} and {y}."
            yield Row(number, line, problem=(wrong, f"Write the {x}, then {ARROW}, then the {y}, all on one line."))
        else:
            between = repr(ARROW) if ARROW in line else "tab"
            wrong = f"The line has more than one {between}, so it is not clear where the {y} begins."
            yield Row(number, line, problem=(wrong, f"Keep only the one between {x} and {y}."))


def line_rows(text: str) -> Iterator[Row]:
    """One row per line that is not blank, the whole line as x."""
    for number, line in _lines(text):
        yield Row(number, line, {"x": line})


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _split(line: str) -> list[str]:
    """The parts of a line. Both parts may be empty around an arrow; the task says what is missing."""
    if ARROW in line:
        return [part.strip() for part in line.split(ARROW)]
    return [part.strip() for part in line.split("\t") if part.strip()]
