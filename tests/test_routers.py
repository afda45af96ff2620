"""Routers as a family: a new one is one class, old records of options are still read, and no file grows large."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from helpers import TASK
from tiny import ITEMS, SHARERS

from perpcs.assembly.assemble import assemble
from perpcs.assembly.record import Assembly
from perpcs.assembly.router import History, Options, Routed, number, option_names
from perpcs.assembly.routers import (
    PRESETS,
    ROUTERS,
    applies,
    changed,
    flat_options,
    make_router,
    option_arguments,
    same_routing,
)
from perpcs.cli import build_parser
from perpcs.errors import PerpcsError
from perpcs.pool.store import Pool

ROOT = Path(__file__).resolve().parents[1]
OLD = {
    "router": "newton",
    "gates": "distilled",
    "normalise": "cosine",
    "centre": True,
    "standardise": True,
    "reduce": "pooled",
    "sqrt_n": False,
    "selector": "top_k",
    "k": 3,
    "p": 0.9,
    "attention": True,
    "temperature": 0.1,
    "half_life": 0,
    "steps": 20,
    "rate": 0.1,
    "shrink": 3.0,
    "signed": "texts",
    "least": 0.25,
    "own_rate": 0.004,
    "share_ratio": 1.0,
    "without": [],
    "seed": 0,
}
"""What records held before each router had options of its own."""


@pytest.fixture
def halves(monkeypatch):
    """A router that is not in the program."""

    @dataclass(frozen=True, kw_only=True)
    class Halves(Options):
        """The first two sharers alike, whatever the history says."""

        name = "halves"
        short = "halves"
        decided_by = "router"

        strength: float = number(0.5, 0, 1, above=True)
        """Halves: the weight of each of the two."""

        def route(self, history: History) -> Routed:
            N, P, S = history.shape
            weights = np.zeros((P, S))
            weights[:, :2] = self.strength
            history.tell(0, 1, weights)
            nobody = np.zeros((N, P, 0))
            return Routed(weights, weights, nobody.astype(np.int16), nobody.astype(np.float16))

    monkeypatch.setitem(ROUTERS, "halves", Halves)


def test_a_new_router_is_one_class_and_a_line(halves, tiny_pool_folder, tmp_path):
    pool = Pool(tiny_pool_folder)
    base = pool.base("cpu", "float64")
    router, steps = make_router("halves", strength=0.25), []
    person = assemble(base, pool, TASK, ITEMS, options=router, on_position=steps.append)
    np.testing.assert_allclose(person.weights[:, :2], 0.25, rtol=1e-3)
    assert not person.weights[:, 2:].any()
    assert len(steps) == 1
    assert person.decided_by == "router"
    person.save(tmp_path / "person.json")
    assert make_router(**Assembly.load(tmp_path / "person.json").router) == router
    fewer = assemble(base, pool, TASK, ITEMS, options=changed(router, without=("s0",)))
    assert fewer.router["without"] == ["s0"]


def test_its_options_are_flags_and_controls(halves):
    kind, choices, help = option_arguments()["strength"]
    assert (kind, choices, help) == (float, (), "Halves: the weight of each of the two.")
    assert applies("strength", make_router("halves"))
    assert not applies("strength", make_router("newton"))
    assert "halves" in option_arguments()["router"][1]
    line = "assemble --task LaMP_4 --history h --out o --router halves --strength 0.75"
    given = vars(build_parser().parse_args(line.split()))
    assert (given["router"], given["strength"]) == ("halves", 0.75)
    with pytest.raises(PerpcsError, match=r"strength is 2\. Use a number above 0 and at most 1\."):
        make_router("halves", strength=2)


@pytest.mark.parametrize("name", ROUTERS)
def test_an_old_record_of_all_options_makes_the_router_that_it_made(name):
    assert make_router(**{**OLD, "router": name}) == make_router(name)
    assert same_routing({**OLD, "router": name}, flat_options(make_router(name)))
    told = {**OLD, "router": name, "half_life": 4, "k": 5, "seed": 2, "steps": 7}
    router = make_router(**told)
    assert {key: value for key, value in told.items() if key in option_names(type(router))} == {
        key: value for key, value in flat_options(router).items() if key not in ("router", "start")
    }


def test_a_record_that_nobody_made_is_an_error_and_equals_only_itself():
    with pytest.raises(PerpcsError, match="router is 'newtn'"):
        make_router(**{**OLD, "router": "newtn"})
    with pytest.raises(PerpcsError, match="Unknown routing option 'depth'"):
        make_router(**OLD, depth=3)
    with pytest.raises(PerpcsError, match="temperature is warm"):
        make_router(**{**OLD, "temperature": "warm"})  # checked, although newton has none
    assert same_routing({"router": "newtn"}, {"router": "newtn"})
    assert not same_routing({"router": "newtn"}, OLD)


def test_the_shipped_people_are_read():
    stored = sorted((ROOT / "assets" / "pools").glob("*/*/examples/*.json"))
    assert stored
    for path in stored:
        router = json.loads(path.read_bytes())["router"]
        assert make_router(**router).name == router["router"]


def test_what_a_preset_is_called_it_is():
    assert {name: router.name for name, router in PRESETS.items()} == {
        "default": "newton",
        "from_base": "newton",
        "paper": "gate",
        "reference_code": "gate",
    }
    assert changed(PRESETS["paper"], router="prototype", seed=3).sqrt_n


def test_a_router_fits_on_a_screen():
    for path in (ROOT / "perpcs" / "assembly" / "routers").glob("*.py"):
        if path.stem != "__init__":
            assert path.read_text().count("\n") < 80, path
    assert SHARERS > 2
