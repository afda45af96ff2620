"""The Sharers page: who is drawn where, what a click and a lasso do, and what assembling with fewer sharers changes."""

from dataclasses import replace

import numpy as np
import pytest
import streamlit as st
from fakes import ORIGIN
from helpers import by_key, open_page, press, shown

from perpcs.figures.town_map import Colouring, Guest, People, map_title, people_csv, town_map
from perpcs.pool.manifest import Sharer, place_among, would_share
from perpcs.ui.sharers import take_selection
from perpcs.ui.state import Studio, from_link, to_link


def test_who_the_sharers_are_is_said_over_the_map_and_on_a_card(fake):
    text = shown(open_page("sharers"))
    assert f"Each of the 40 sharers: {ORIGIN}" in text
    assert f"Who this is: {ORIGIN}" in text
    assert ORIGIN in shown(open_page("assemble")), "and beside a piece"


@pytest.fixture
def drawn():
    """12 candidates on a line, every third of whom shares."""
    xy = np.stack([np.linspace(-1, 1, 12), np.zeros(12)], axis=1)
    who = np.array([0, 3, 6, 9])
    sharers = tuple(Sharer(f"t7-{s}", 20 + s, s, ("boats", "tide"), tuple(xy[c])) for s, c in enumerate(who))
    return People(xy, np.arange(12) // 3, np.full(12, 20), who, sharers)


# ---- the map ---------------------------------------------------------------------------------------------------------


def words(people):
    return Colouring("cluster", words=tuple(str(cluster) for cluster in people.clusters))


def test_every_candidate_is_drawn_once_and_stars_carry_their_sharers_number(drawn):
    figure = town_map(drawn, words(drawn))
    data = [point for trace in figure.data if trace.customdata is not None for point in trace.customdata]
    assert len(data) == 12
    assert sorted(int(point[0]) for point in data) == [-1] * 8 + [0, 1, 2, 3]
    by_number = {
        int(point[0]): x
        for trace in figure.data
        if trace.customdata is not None
        for x, point in zip(trace.x, trace.customdata, strict=True)
    }
    assert [by_number[s] for s in range(4)] == pytest.approx([drawn.xy[c, 0] for c in drawn.candidate])


def test_a_wider_line_is_more_weight_and_no_line_is_none(drawn):
    share = np.array([0.7, 0.25, 0.05, 0.0])
    figure = town_map(drawn, words(drawn), guest=Guest("Ada", (0.1, 0.5), share))
    width = {}
    for trace in figure.data:
        if trace.mode == "lines":
            for x in trace.x[1::3]:
                width[int(np.argmin(np.abs(drawn.xy[drawn.candidate, 0] - x)))] = trace.line.width
    assert width[0] > width[1] > width[2]
    assert 3 not in width


def test_numbers_that_are_not_there_are_not_coloured_as_zero(drawn):
    numbers = np.full(12, np.nan)
    numbers[drawn.candidate] = [5.0, 0.0, 1.0, 2.0]
    figure = town_map(drawn, Colouring("use", numbers, unit="%"))
    scaled = [trace for trace in figure.data if trace.marker.colorscale is not None]
    assert sorted(value for trace in scaled for value in trace.marker.color) == [0.0, 1.0, 2.0, 5.0]
    assert "0 %" in next(point[1] for point in scaled[0].customdata if int(point[0]) == 1)


def test_a_press_chooses_unless_one_is_drawing(drawn):
    assert town_map(drawn, words(drawn)).layout.dragmode == "pan"
    assert town_map(drawn, words(drawn)).layout.clickmode == "event+select"
    assert town_map(drawn, words(drawn), lasso=True).layout.dragmode == "lasso"


def test_the_title_counts_and_the_csv_has_everybody(drawn):
    guest = Guest("Ada", None, np.array([0.5, 0.3, 0.2, 0.0]))
    assert map_title(guest, drawn) == "Ada uses 3 of 4 sharers; the top three have 100 % of the weight"
    lines = people_csv(drawn, words(drawn), guest).splitlines()
    assert len(lines) == 13
    assert lines[4].split(",")[4] == "t7-1"
    assert lines[4].endswith("0.3")


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_page_shows_map_card_and_strategies(fake):
    text = shown(open_page("sharers"))
    for part in ("Ada uses", "most weight for Ada", "Used by", "Other ways to select sharers", "not available"):
        assert part in text
    assert "Distance does not show" in text


def test_a_link_restores_star_colour_strategy_and_picks(fake):
    app = open_page("sharers", star="s007", colour="activity", strategy="active", only="1,4,99")
    assert "Sharer s007" in shown(app)
    record = app.session_state["studio"]
    assert (record.colour, record.strategy, record.only) == ("activity", "active", (1, 4))
    assert app.query_params["only"] == ["1,4"] or app.query_params["only"] == "1,4"


def test_what_a_link_says_wrongly_is_replaced(fake):
    app = open_page("sharers", star="<b>nobody", colour="mood", strategy="luck", only="x,,-3")
    record = app.session_state["studio"]
    assert (record.star, record.colour, record.strategy, record.only) == ("", "cluster", "cluster", ())


def test_links_of_the_page_come_back_as_they_were():
    record = Studio(task="LaMP_4", strategy="random", colour="usage", star="s003", only=(0, 5))
    again = from_link(to_link(record))
    assert (again.strategy, again.colour, again.star, again.only) == ("random", "usage", "s003", (0, 5))


def test_a_click_opens_a_card_and_a_lasso_picks_stars_only(monkeypatch):
    def select(points, lasso):
        chosen = {"selection": {"points": [{"customdata": point} for point in points], "lasso": lasso}}
        monkeypatch.setattr(st, "session_state", {"town": chosen})

    record, ids = Studio(), ["a", "b", "c"]
    select([[1, "sharer b"]], [])
    take_selection(record, ids)
    assert (record.star, record.only) == ("b", ())
    select([[2, "c"], [-1, "a candidate"], [0, "a"], None], [{"x": [], "y": []}])
    take_selection(record, ids)
    assert (record.star, record.only) == ("b", (0, 2))
    select([], [])
    take_selection(record, ids)
    assert (record.star, record.only) == ("b", (0, 2)), "a selection that is taken back changes nothing"


def test_picked_sharers_alone_are_assembled_with_and_the_change_is_told(fake):
    app = press(open_page("sharers", only="0,2,3"), "only-these")
    for _ in range(4):
        if app.session_state["studio"].work is None:
            break
        app.run()
    call = next(call for call in fake.calls if call[0] == "assemble")
    assert len(call[3].without) == 37
    assert {"s000", "s002", "s003"}.isdisjoint(call[3].without)
    text = shown(app)
    assert "assembled here on cpu" in text
    assert "with 3 only" in text
    assert app.session_state["studio"].options.without == (), "the knobs stay as they were"
    app = press(app, "undo")
    assert "with 3 only" not in shown(app)
    assert "precomputed" in shown(app)


def test_a_strategy_says_how_many_of_its_people_have_pieces(fake):
    text = shown(open_page("sharers", strategy="active"))
    assert "Most active0 of 40" in text
    assert "No one selected by this strategy has pieces" in text


def test_placing_by_likeness_asks_the_encoder_once(fake):
    app = open_page("sharers")
    assert not [call for call in fake.calls if call[0] == "likeness"], "the first paint needs no model"
    by_key(app, "button_group", "placed").set_value("likeness").run()
    app.run()
    assert len([call for call in fake.calls if call[0] == "likeness"]) == 1
    assert not app.exception


# ---- what stands behind it -------------------------------------------------------------------------------------------


def test_strategies_choose_as_many_as_share_and_the_most_active_are_the_most_active(fake):
    candidates = fake.pool.candidates("LaMP_4")
    for name in ("cluster", "active", "random"):
        chosen = would_share(candidates, name)
        assert len(set(chosen.tolist())) == 40
    active = would_share(candidates, "active")
    rest = np.setdiff1d(np.arange(120), active)
    assert candidates.items[active].min() >= candidates.items[rest].max()
    assert would_share(candidates, "profile") is None
    told = replace(candidates, by_profile=np.array([7, 3, 90]))
    assert would_share(told, "profile").tolist() == [3, 7, 90]


def test_a_card_says_how_well_its_sharer_is_recognised(fake, monkeypatch):
    text = shown(open_page("sharers"))
    assert "Recognition" in text
    found = np.full((40, len(fake.pool.manifest.positions)), 0.01)
    found[5] = 0.25
    monkeypatch.setattr(fake.stored, "recognised", lambda task: found)
    text = shown(open_page("sharers", star=fake.pool.sharers("LaMP_4")[5].id))
    assert "25.0 %" in text
    assert "0 of 40 sharers are recognised better" in text
    assert "even2.5 %" in text
    monkeypatch.setattr(fake.stored, "recognised", lambda task: None)
    assert "Recognition" not in shown(open_page("sharers"))


def test_a_person_stands_among_the_sharers_they_are_close_to(fake):
    candidates = fake.pool.candidates("LaMP_4")
    alone = np.zeros(40)
    alone[7] = 1.0
    assert place_among(candidates, alone) == pytest.approx(tuple(candidates.xy[7]))
    both = alone.copy()
    both[9] = 1.0
    assert place_among(candidates, both) == pytest.approx(tuple(candidates.xy[[7, 9]].mean(axis=0)))
    assert place_among(candidates, np.zeros(40)) is None
    assert place_among(candidates, np.full(40, 0.3)) is None
