"""Files that hold others: zip archives and Excel workbooks, opened in memory and within bounds.

Zip archives: which member is read, and how much; nothing is unpacked to disk, and no archive within an archive. XLSX by
openpyxl: each sheet as a table of cells, bounded in size and without XML entities.
"""

import io
import lzma
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

import openpyxl

from perpcs.data.clean import MAX_ARCHIVE_BYTES, MAX_CELLS, MAX_MEMBERS
from perpcs.data.parse_tables import Grid, Record
from perpcs.errors import PerpcsError

# ---- zip -------------------------------------------------------------------------------------------------------------


_READ = {".js", ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".xml", ".rss", ".atom", ".mbox", ".eml", ".bib"}
_WORKBOOK = ".xlsx"
_DOCUMENTS = {
    "word/document.xml": "a Word document",
    "ppt/presentation.xml": "a PowerPoint presentation",
    "xl/workbook.bin": "a binary Excel workbook",
    "content.xml": "an OpenDocument file",
    "META-INF/container.xml": "an e-book",
    "AndroidManifest.xml": "an Android app",
    "data.pkl": "a pickle of Python, which can run code,",
}
_NOT_OURS = ("deleted", "orphaned", "__macosx", "likes")
"""Folders of exports whose files are not the person's history."""


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    name: str
    data: bytes


def is_zip(data: bytes) -> bool:
    """Whether bytes open as a zip archive does."""
    return data.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def open_zip(data: bytes) -> tuple[str, list[Member]]:
    """("workbook", []) for XLSX, ("archive", the members that may be a history) for any other.

    Raises:
        PerpcsError: for a broken or encrypted archive, one that would unpack to too much, and documents by their name.
    """
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _refuse(infos, archive)
            if any(info.filename == "xl/workbook.xml" for info in infos):
                return "workbook", []
            return "archive", [
                Member(info.filename, archive.open(info).read(info.file_size)) for info in infos if _is_wanted(info)
            ]
    except (BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, EOFError, OSError, RuntimeError, ValueError):
        wrong = "The file opens like a zip archive or an Excel workbook, but it is broken."
        raise PerpcsError(wrong, "Download it again, or unpack it and give the text, CSV or JSON file in it.") from None


def _refuse(infos: list[ZipInfo], archive: ZipFile) -> None:
    if len(infos) > MAX_MEMBERS:
        raise PerpcsError(f"The archive holds more than {MAX_MEMBERS:,} files.", "Give the one file with your items.")
    for info in infos:
        kind = _DOCUMENTS.get(info.filename) or (
            _DOCUMENTS["data.pkl"] if info.filename.endswith("/data.pkl") else None
        )
        if kind:
            raise PerpcsError(f"The file is {kind}, which is not supported.", "Save it as text (UTF-8), CSV or JSON.")
    if any(info.flag_bits & 1 for info in infos):
        raise PerpcsError("The archive is encrypted.", "Unpack it, and give the file with your items.")
    workbook = any(info.filename == "xl/workbook.xml" for info in infos)
    wanted = [info for info in infos if workbook or _is_wanted(info)]
    if sum(info.file_size for info in wanted) > MAX_ARCHIVE_BYTES:
        wrong = f"The archive would unpack to more than {MAX_ARCHIVE_BYTES / 1e6:,.0f} MB of text."
        raise PerpcsError(wrong, "Unpack it, and give the one file with your items.")
    if workbook:
        for info in wanted:
            with archive.open(info) as member:
                if b"<!ENTITY" in member.read(info.file_size).upper():
                    raise PerpcsError("The workbook declares XML entities.", "Save it as CSV.")


def _is_wanted(info: ZipInfo) -> bool:
    path = PurePosixPath(info.filename.lower())
    if info.is_dir() or path.name.startswith(".") or any(part in _NOT_OURS for part in path.parts[:-1]):
        return False
    return path.suffix in _READ or path.suffix == _WORKBOOK


# ---- xlsx ------------------------------------------------------------------------------------------------------------


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
    """Its rows; ``left`` holds how many cells may yet be read of the whole workbook."""
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        left[0] -= len(row)
        if left[0] < 0:
            raise PerpcsError(f"It has more than {MAX_CELLS:,} cells.", "Save the part with your items as CSV.")
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
