"""Pages with the rarer kinds of text and routers: a choice between two references, weights that a descent found."""

from types import SimpleNamespace

import numpy as np
import pytest
from fakes import FakeEngine, assembled, put_in_place
from helpers import by_key, open_page, press, shown

from perpcs.assembly.routers import make_router
from perpcs.figures.assembly_map import assembly_map
from perpcs.figures.columns import piece_facts, selected_pieces, weight_equation
from perpcs.ui import widgets


@pytest.fixture
def fake(monkeypatch):
    """A fake engine with three kinds of text."""
    yield from put_in_place(monkeypatch, FakeEngine(tasks=("LaMP_4", "LaMP_2", "LaMP_1")))


def test_many_kinds_of_text_are_a_list(fake):
    app = open_page("assemble")
    app.selectbox(key="task").set_value("LaMP_1").run()
    assert not app.exception
    assert "A survey of" in shown(app)


@pytest.mark.parametrize("page", ["overview", "assemble", "results", "sharers", "method"])
def test_a_page_waits_for_its_first_words_once_and_never_for_a_press(page, fake, monkeypatch):
    waits = []
    monkeypatch.setattr(widgets, "time", SimpleNamespace(sleep=waits.append))
    app = open_page(page)  # by way of Overview
    expected = [widgets.PAUSE] * (1 if page == "overview" else 2)
    assert waits == expected
    assert not app.run().exception
    assert waits == expected


def test_a_held_out_choice_shows_both_references_and_what_was_chosen(fake):
    app = press(open_page("compare", task="LaMP_1"), "ask")
    text = shown(app)
    assert "[1]" in text
    assert "[2]" in text
    assert "What Ada really chose" in text
    _, task, query, *_ = fake.calls[-1]
    assert (task, len(query.options)) == ("LaMP_1", 2)
    assert query.gold in ("[1]", "[2]")


def test_a_typed_choice_needs_its_two_references(fake):
    app = open_page("compare", task="LaMP_1")
    by_key(app, "button_group", "query-kind").set_value("My own words").run()
    app.text_area[0].set_value("Paper on tides").run()
    assert "A reference is missing." in shown(app)
    assert app.button(key="ask").disabled
    app.text_input[0].set_value("A survey of boats").run()
    app.text_input[1].set_value("Against tides").run()
    press(app, "ask")
    query = fake.calls[-1][2]
    assert (query.x, query.options) == ("Paper on tides", ("A survey of boats", "Against tides"))


def test_a_sample_fills_in_the_references_too(fake):
    app = open_page("compare", task="LaMP_1")
    by_key(app, "button_group", "query-kind").set_value("My own words").run()
    next(button for button in app.button if button.label == "Fill in a sample").click().run()
    assert not app.exception
    assert all(field.value for field in app.text_input[:2])
    assert not app.button(key="ask").disabled


def fitted(fake):
    example = fake.pool.examples("LaMP_4")[0]
    return assembled(fake.pool, "LaMP_4", example.history, make_router(router="fit"), "ada")


def test_only_the_knobs_of_the_router_are_shown(fake):
    app = open_page("assemble")
    assert "knob-steps" not in [element.key for element in app.slider]
    app.selectbox(key="knob-router").set_value("fit").run()
    assert app.slider(key="knob-steps").value == make_router("fit").steps
    assert "knob-shrink" in [element.key for element in app.select_slider]
    assert "knob-centre" not in [element.key for element in app.checkbox]
    app.selectbox(key="knob-router").set_value("gate").run()
    assert not app.exception
    assert "knob-steps" not in [element.key for element in app.slider]
    assert "knob-centre" in [element.key for element in app.checkbox]


def test_a_fitted_person_is_watched_and_shown(fake):
    app = open_page("assemble")
    app.selectbox(key="knob-router").set_value("fit").run()
    press(app, "watch")
    app.segmented_control(key="view").set_value("piece").run()  # what a changed knob did stood open
    text = shown(app)
    assert fake.calls[-1][3].name == "fit"
    assert "items it is among the 3 that help most here" in text
    assert any("steps from" in latex.value for latex in app.get("latex")) or "20 steps" in text


def test_every_piece_of_a_fitted_person_is_selected_and_signs_differ_in_shape(fake):
    person = fitted(fake)
    assert selected_pieces(person).all()
    figure = assembly_map(person, fake.pool.sharers("LaMP_4"))
    marks = next(trace for trace in figure.data if trace.name == "selected piece")
    assert set(marks.marker.symbol) == {"square", "diamond"}
    assert marks.marker.cmin == -marks.marker.cmax == -np.abs(person.weights).max()
    assert "fitted" in marks.marker.colorbar.title.text


@pytest.mark.parametrize("router", ["newton", "fit", "gradient"])
def test_the_equation_of_a_weight_by_loss_holds_its_number(fake, router):
    example = fake.pool.examples("LaMP_4")[0]
    person = assembled(fake.pool, "LaMP_4", example.history, make_router(router=router), "ada")
    facts = piece_facts(person, 3, 7)
    assert f"{facts.weight:.3f}" in weight_equation(facts)
    assert facts.selected


def test_sizes_count_where_weights_have_signs(fake):
    person = fitted(fake)
    assert person.distinct_sharers() == 40
    assert (person.effective_sharers() > 1).all()
    share = np.abs(person.weights).max(axis=1) / np.abs(person.weights).sum(axis=1)
    np.testing.assert_allclose(person.top_share(), share, rtol=1e-6)
    assert all(share > 0 for _, share in person.top_sharers())
