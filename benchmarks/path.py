"""How much of the package one pasted text passes on its way to the finished map: its files and functions.

    python -m benchmarks.path [--pool FOLDER] [--list]

Counted are the code objects of perpcs/ that are entered, in any thread, from the paste (``look`` and ``read_pasted``)
through ``Engine.assemble`` with the default router to the Plotly figure. A function, method, property or nested
function counts once, however often it runs; so does a file. Not counted: imports, class bodies, lambdas and
comprehensions (they are expressions of the function around them), what libraries run, methods that ``dataclass``
generates, and opening the pool with its pieces and the base model, which happens once for all visitors.
"""

import argparse
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from benchmarks.common import DEFAULT_POOL
from perpcs.cli import pool_folder
from perpcs.data import look, read_pasted
from perpcs.figures.assembly_map import assembly_map
from perpcs.serve.engine import Engine
from perpcs.tasks import get_task

PACKAGE = Path(__file__).resolve().parents[1] / "perpcs"
TEXT = """The council opens a new bridge over the river on Monday. => why the river bends
The harbour closes for the winter and the boats go home. => why the harbour sleeps
An old bridge will be painted by the people of the town. => why the old bridge sings
The market moves from the square to the station. => why the market moves
A baker tells how a working day begins at three. => why the baker rises early
The ferry did not leave because of the fog. => why the ferry waits"""
INSIDE = frozenset(("<module>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"))


def passed(work: Callable[[], Any]) -> set[CodeType]:
    """The functions of perpcs/ that some work enters, in all threads."""
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            codes.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return {code for code in codes if is_function(code)}


def is_function(code: CodeType) -> bool:
    plain = code.co_name not in INSIDE and bool(code.co_flags & 2)  # CO_NEWLOCALS: no class body
    return plain and PACKAGE in Path(code.co_filename).parents


def from_paste_to_map(engine: Engine) -> None:
    """What is counted."""
    guess = look(TEXT).guess
    task = guess[0] if guess else get_task("LaMP_4")
    items = read_pasted(TEXT, task).items
    assembly = engine.assemble(task, items)
    assembly_map(assembly, engine.pool.sharers(task.name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pool", default=str(DEFAULT_POOL))
    parser.add_argument("--list", action="store_true", help="name every function")
    options = parser.parse_args()
    engine = Engine.open(pool_folder(options.pool))
    print_path(trace(engine), options.list)


def trace(engine: Engine) -> set[CodeType]:
    """The functions that are counted."""
    assert engine.pool.hash
    for part in engine.pool.manifest.tasks:  # opening ends with what is read of the pool only when it is wanted
        engine.pool.sharers(part.task), engine.pool.pieces(part.task, engine.base.device, engine.base.dtype)
    return passed(lambda: from_paste_to_map(engine))


def print_path(codes: set[CodeType], by_name: bool = False) -> None:
    files = Counter(str(Path(code.co_filename).relative_to(PACKAGE)) for code in codes)
    for file, count in sorted(files.items()):
        print(f"{count:4}  {file}")
        if by_name:
            inside = [code for code in codes if str(Path(code.co_filename).relative_to(PACKAGE)) == file]
            print("".join(f"        {code.co_qualname}\n" for code in sorted(inside, key=lambda c: c.co_firstlineno)))
    print(f"{len(codes)} functions in {len(files)} files")


if __name__ == "__main__":
    main()
