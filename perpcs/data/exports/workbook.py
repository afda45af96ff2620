"""XLSX by openpyxl: each sheet as a table of cells, bounded in size and without XML entities."""

import io
import warnings
from collections.abc import Iterator
from datetime import date, datetime, time
from functools import partial
from typing import Any
from zipfile import BadZipFile

import openpyxl

from perpcs.data.limits import MAX_CELLS
from perpcs.data.parse_tables import Grid, Record
from perpcs.errors import PerpcsError


def sheets_of(data: bytes) -> tuple[Grid, ...]:
    """The sheets that hold something; a record's line is its row in the sheet.

    Raises:
        PerpcsError: for a workbook that is broken, or has more cells than ``MAX_CELLS``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that openpyxl passes over
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
            left = [MAX_CELLS]
            sheets = {sheet.title: list(_records(sheet, left)) for sheet in book.worksheets}
            book.close()
    except PerpcsError:
        raise
    except (BadZipFile, KeyError, ValueError, TypeError, IndexError, AttributeError, SyntaxError, OSError, EOFError):
        raise PerpcsError("The workbook is broken.", "Open it in a spreadsheet program and save it as CSV.") from None
    return tuple(Grid("\t", partial(list, rows), title) for title, rows in sheets.items() if rows)


def _records(sheet: Any, left: list[int]) -> Iterator[Record]:
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        left[0] -= len(row)
        if left[0] < 0:
            raise PerpcsError(
                f"The workbook has more than {MAX_CELLS:,} cells.", "Save the part with your items as CSV."
            )
        cells = [_text(value) for value in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield Record(number, cells, "\t".join(cells)[:300], open_quote=False)


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value).strip()
