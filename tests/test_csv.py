"""CSV that people download: a cell that a spreadsheet would run as a formula is text there."""

import ast
import csv
import io
from pathlib import Path

import pytest

from perpcs.figures.style import csv_text

PACKAGE = Path(__file__).resolve().parents[1] / "perpcs"
FORMULAS = (
    "=1+1",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    " =1",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1+1",
    "|calc",
    "=cmd|' /C calc'!A0",
    "%0A=1",
)


@pytest.mark.parametrize("cell", FORMULAS)
def test_no_cell_runs(cell):
    (head, row) = csv.reader(io.StringIO(csv_text((cell, "b"), [("a", cell)]), newline=""))
    assert head[0] == row[1] == "'" + cell.replace("\r", "\n")


def test_numbers_and_words_stay_as_they_are():
    cells = ("-0.25", "+1", "-1e-07", -0.5, 3, "a=b", "x@y", "", "-inf", 'say "x", then y')
    assert next(csv.reader(io.StringIO(csv_text(cells, [])))) == [str(cell) for cell in cells]


def test_all_csv_is_written_in_one_place():
    """A download called .csv gets its text from a function of CSV, and they all end in ``csv_text``."""
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Attribute) and node.attr in ("writer", "DictWriter", "to_csv"):
                named = getattr(node.value, "id", "") == "csv" or node.attr == "to_csv"
                if named and path.relative_to(PACKAGE) != Path("figures/style.py"):
                    wrong.append(f"{path}:{node.lineno}")
            if isinstance(node, ast.FunctionDef) and node.name.endswith("_csv"):
                called = {getattr(each.func, "id", "") for each in ast.walk(node) if isinstance(each, ast.Call)}
                if not any(name == "csv_text" or name.endswith("_csv") for name in called):
                    wrong.append(f"{path}: {node.name}")
    assert not wrong
