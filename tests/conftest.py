"""Settings for all tests, and tiny models and a tiny pool that are made once a run."""

import os

# Before torch is imported anywhere: tiny matrices are fastest on one thread, and no test may reach the network.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"

import sys
from collections import Counter

import pytest
import shapes

sys.meta_path.insert(0, shapes.Finder())  # before anything of the package is imported


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """Folder of a tiny saved model of a family: call it with the family's name."""
    from tiny import save_tiny

    made = {}

    def folder(family):
        if family not in made:
            made[family] = save_tiny(family, tmp_path_factory.mktemp(family))
        return made[family]

    return folder


@pytest.fixture(scope="session")
def tiny_base(model_folder):
    """A tiny base model in float64, shared by all tests of a run: call it with the family's name."""
    from tiny import load_tiny

    made = {}

    def base(family="llama"):
        if family not in made:
            made[family] = load_tiny(model_folder(family))
        return made[family]

    return base


@pytest.fixture(scope="session")
def tiny_pool_folder(tmp_path_factory):
    """A whole random pool on disk, not to be changed."""
    from tiny import write_tiny_pool

    return write_tiny_pool(tmp_path_factory.mktemp("pools") / "tiny")


@pytest.fixture
def fake(monkeypatch):
    """A fake engine in the place of the real one, and no waiting for pictures."""
    from fakes import FakeEngine, put_in_place

    yield from put_in_place(monkeypatch, FakeEngine())


from town import tiny_town  # noqa: E402, F401 - a fixture of its own file, for all tests

FIRST = "test_evaluate.py"
"""Takes longest, and builds the tests' town."""


def pytest_collection_modifyitems(items):
    """Of the files that need the town one comes first, and the others last: no worker waits while it is built."""
    sizes = Counter(item.path for item in items)
    town = {item.path for item in items if "tiny_town" in item.fixturenames}
    order = sorted(sizes, key=lambda path: (path.name != FIRST, path in town, -sizes[path], path))
    place = {path: number for number, path in enumerate(order)}
    items.sort(key=lambda item: place[item.path])  # stable: within a file nothing moves
