"""A tiny pool of the small town, built once a test run by the command a user would type."""

import shutil
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from tiny_model import train_tiny_base

from perpcs.cli import main
from perpcs.data.smalltown import MAKERS, describe, invented_name, make_people, release_fields, write_pool_people
from perpcs.files import hash_bytes, hash_file, write_json

ROOT = Path(__file__).resolve().parents[1]
SEED, SHARERS, HYPERNET_STEPS = 7, 5, 12
TASKS = tuple(MAKERS)


@pytest.fixture(scope="session")
def tiny_town() -> Path:
    """A pool folder: 6 tasks, 5 sharers each, 8 positions. Read it, never write to it."""
    folder = ROOT / "build" / "tests" / f"town-{made_of()}"  # the browser tests find what the tests before them made
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):  # whoever comes second waits, and finds it done
        for other in folder.parent.glob("town-*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
        return build(folder)


def made_of() -> str:
    """A hash of everything the pool depends on: the package, what makes the tiny model, and the locked versions."""
    files = [*(ROOT / "perpcs").rglob("*.py"), *(ROOT / "perpcs").rglob("*.txt"), *(ROOT / ".ci").glob("locked*.txt")]
    files += [ROOT / "tests" / name for name in ("town.py", "tiny_model.py", "tiny.py")]
    inside = (f"{file.relative_to(ROOT)} {hash_file(file)}" for file in sorted(files))
    return hash_bytes("\n".join([sys.version, *inside]).encode())[:16]


def build(folder: Path) -> Path:
    """The town's pool in a folder; one that is there already is taken."""
    out, done = folder / "smalltown-tiny", folder / "done"
    if not done.exists():
        data = folder / "data"
        write_data(data)
        base = train_tiny_base(data, TASKS, folder / "base")
        assert main(build_arguments(base, data, out, folder / "work")) == 0
        done.touch()
    return out


def write_data(data: Path) -> None:
    """Base users, candidates and two example people of every task, in the files that ``perpcs build`` reads."""
    write_pool_people(data, seed=SEED, base_users=20, candidates=10, tasks=TASKS, history=(10, 13))
    for task in TASKS:
        people = make_people(task, seed=SEED, count=2, split="target")
        rows = [
            release_fields(person)
            | {"name": invented_name(person.id), "description": describe(person), "traits": dict(person.traits)}
            for person in people
        ]
        write_json(data / task / "examples.json", rows)


def build_arguments(
    base: Path, data: Path, out: Path, work: Path, tasks: tuple[str, ...] = TASKS, hypernet: bool = True
) -> list[str]:
    """What follows ``perpcs`` on the command line."""
    named = [part for task in tasks for part in ("--task", task)]
    sizes = ["--sharers", str(SHARERS), "--rank", "4", "--epochs", "1", "--rate", "4e-3", "--distil"]
    sizes += ["--gate-steps", "6"]
    sizes += ["--hypernet", "--hypernet-steps", str(HYPERNET_STEPS)] if hypernet else []
    places = ["--base", str(base), "--data", str(data), "--out", str(out), "--work", str(work)]
    return ["build", out.name, *places, *named, *sizes]
