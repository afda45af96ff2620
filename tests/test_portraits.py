"""Portraits of sharers, and the map that names its columns by them."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import FakeEngine
from helpers import by_key, open_page, shown

from perpcs.assembly.explain import contributions, fewest
from perpcs.figures.assembly_map import assembly_map
from perpcs.figures.columns import LAYERS, grid_of, sharer_names, took
from perpcs.pool.portraits import Portrait, Portraits, portray, store_portraits, stored_portraits
from perpcs.tasks import Item, get_task

ENGINE = FakeEngine()
TASK = "LaMP_4"
ADA = ENGINE.stored.assembly(TASK, "ada")
PEOPLE = ENGINE.pool.sharers(TASK)


def histories():
    """Four people: one writes of ferries in lower case, one names a word that nobody else does."""
    plain = [Item(x=f"The council met on day {n}", y=f"Council meets again on day {n}") for n in range(4)]
    ferries = [Item(x=f"A ferry waited at the harbour on day {n}", y=f"why the ferry waited {n}") for n in range(4)]
    return {
        "a": ferries,
        "b": [*plain, Item(x="A ferry came", y="Ferry comes")],
        "c": [*plain, Item(x="The ferry left", y="Ferry leaves")],
        "d": [Item(x=f"Xylophone {n} was played", y=f"Xylophone heard on day {n}") for n in range(4)],
    }


def test_a_portrait_holds_common_words_and_what_sets_its_owner_apart():
    found = portray(get_task(TASK), histories(), ["a", "d"])
    assert found["a"].words[0] == "ferry"
    assert "harbour" not in found["a"].words, "a word of one person alone is not told"
    assert not any("xylophone" in word for word in found["d"].words)
    assert {"lower case", "how and why"} <= set(found["a"].habits)
    assert found["a"].name.startswith("ferry, ")


def test_labels_and_ratings_are_told_by_what_is_given():
    rated = {id: [Item(x=f"good {n}", y=str(score)) for n in range(4)] for id, score in (("a", 5), ("b", 2), ("c", 3))}
    assert portray(get_task("LaMP_3"), rated, ["a"])["a"].name.startswith("5.0 stars on average")
    task = get_task("LaMP_2")
    tagged = {id: [Item(x="a film", y=task.labels[n % 2]) for n in range(4)] for id in "abc"}
    assert portray(task, tagged, ["a"])["a"].name == ", ".join(task.labels[:2])


def test_portraits_are_read_for_their_own_pool_alone(tmp_path):
    (tmp_path / TASK).mkdir()
    pool = SimpleNamespace(folder=tmp_path, hash="ab")
    assert stored_portraits(pool, TASK) == Portraits()
    told = Portraits("an input", "a base answer", {"s000": Portrait("ferry", ("ferry",), ("lower case",), "an answer")})
    store_portraits(pool, TASK, told)
    assert stored_portraits(pool, TASK).of("s000") == told.of("s000")
    assert stored_portraits(pool, TASK).of("guest") == Portrait()
    assert not stored_portraits(SimpleNamespace(folder=tmp_path, hash="cd"), TASK).sharers
    (tmp_path / TASK / "portraits.json").write_text(json.dumps({"pool_hash": "ab", "sharers": 3}))
    assert not stored_portraits(pool, TASK).sharers


def test_the_fewest_sharers_bring_the_share_and_one_less_does_not():
    own = contributions(ADA)
    assert own.sum() == pytest.approx(1)
    needed = fewest(ADA, 0.9)
    assert own[needed].sum() >= 0.9 - 1e-9
    assert own[needed[:-1]].sum() < 0.9
    assert [own[s] for s in needed] == sorted((own[s] for s in needed), reverse=True)
    nothing = type(ADA)(**{**ADA.__dict__, "weights": np.zeros_like(ADA.weights)})
    assert fewest(nothing) == []
    assert took(nothing, "Ada", Portraits()) == ""


def test_a_row_a_layer_is_the_mean_of_its_modules_and_opens_the_largest_piece():
    grid = grid_of(ADA, LAYERS)
    assert len(grid.groups) * len(grid.groups[0]) == len(ADA.positions)
    assert grid.labels[0] == "layer 0"
    for row, group in enumerate(grid.groups):
        assert grid.weights[row] == pytest.approx(ADA.weights[list(group)].mean(axis=0))
        for s in (0, 7, 39):
            assert abs(ADA.weights[grid.opens[row, s], s]) == np.abs(ADA.weights[list(group), s]).max()
    assert grid.row_of(grid.groups[2][1]) == 2


def test_the_map_draws_the_named_columns_alone_and_names_them():
    portraits = Portraits("x", "y", {one.id: Portrait(f"ferry number {n}") for n, one in enumerate(PEOPLE)})
    needed = fewest(ADA)
    names = sharer_names(ADA.sharers, portraits)
    figure = assembly_map(ADA, PEOPLE, module=LAYERS, sort="gain", names=names, only=needed)
    assert list(figure.layout.xaxis3.ticktext) == [names[s] for s in needed]
    drawn = {row[1] for trace in figure.data if trace.customdata is not None and trace.name != "total"
             and trace.name != "effective" for row in trace.customdata}  # fmt: skip
    assert drawn == set(needed)
    said = took(ADA, "Ada", portraits)
    assert f"“{portraits.of(ADA.sharers[needed[0]]).name}”" in said
    assert f"{len(needed)} of 40 sharers account for 90 %" in said
    assert sharer_names(ADA.sharers, Portraits())[0] == "s000"


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("overview", {}),
        *(("assemble", {"view": view}) for view in ("piece", "words", "whatif", "numbers", "difference")),
        *(("assemble", {"present": slide}) for slide in ("story-3", "map", "piece", "without")),
        ("sharers", {}),
        ("method", {}),
    ],
)
def test_sharers_go_by_their_names_on_every_page(fake, page, link):
    """Their numbers are in hovers alone: in titles of elements and in the data of charts."""
    named = {one.id: Portrait(f"ferry {'x' * n}", ("ferry",)) for n, one in enumerate(PEOPLE)}
    fake.stored.portraits_by_task = dict.fromkeys(("LaMP_4", "LaMP_2", "LaMP_1"), Portraits("x", "y", named))
    app = open_page(page, **link)
    if link.get("view") == "whatif":
        by_key(app, "button_group", "whatif").set_value("sharer").run()
        assert any(option.endswith(named["s000"].name) for option in app.selectbox[-1].options)
    numbers = "|".join(one.id for one in PEOPLE)
    said = [shown(app), *(option for box in [*app.selectbox, *app.multiselect] for option in box.options)]
    assert not re.findall(rf"\b(?:{numbers})\b", " ".join(said))
    for chart in app.get("plotly_chart"):
        axes = [axis for name, axis in json.loads(chart.proto.spec)["layout"].items() if "axis" in name]
        ticks = [str(tick) for axis in axes for tick in axis.get("ticktext") or ()]
        assert not re.findall(rf"\b(?:{numbers})\b", " ".join(ticks))
