"""The tiny small town, built from scratch once a test run by the command a user would type."""

from pathlib import Path

import pytest

from perpcs.cli import main


@pytest.fixture(scope="session")
def tiny_town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool folder: 2 tasks, 6 sharers each, 8 positions. Read it, never write to it."""
    folder = tmp_path_factory.mktemp("town")
    out = folder / "smalltown-tiny"
    assert main(["build", "smalltown", "--tiny", "--out", str(out), "--work", str(folder / "work")]) == 0
    return out
