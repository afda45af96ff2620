"""The tiny small town, built from scratch once a test run by the command a user would type."""

import fcntl
import os
from pathlib import Path

import pytest

from perpcs.cli import main


@pytest.fixture(scope="session")
def tiny_town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool folder: 2 tasks, 6 sharers each, 8 positions. Read it, never write to it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return build(tmp_path_factory.mktemp("town"))
    folder = tmp_path_factory.getbasetemp().parent / "town"  # of all workers
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second waits, and finds it done
        return build(folder)


def build(folder: Path) -> Path:
    """The town's pool in a folder; one that is there already is taken."""
    out, done = folder / "smalltown-tiny", folder / "done"
    if not done.exists():
        assert main(["build", "smalltown", "--tiny", "--out", str(out), "--work", str(folder / "work")]) == 0
        done.touch()
    return out
