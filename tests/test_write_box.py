"""Write with this model: own input on Assemble, answered beside the base model and RAG, and carried to Compare."""

from html import escape

import pytest
from fakes import FakeEngine, put_in_place
from test_pages import PASTE, open_page, paste, press, shown

from perpcs.serve.stored import Shared
from perpcs.ui.assemble import METHODS


@pytest.fixture
def fake(monkeypatch):
    yield from put_in_place(monkeypatch, FakeEngine())


def write(app, text):
    (field,) = (area for area in app.text_area if area.key.startswith("write-"))
    field.set_value(text).run()
    return press(app, "write")


def test_an_example_person_shows_stored_answers_before_anything_is_asked(fake):
    text = shown(open_page("assemble"))
    assert "Write with Ada’s model" in text
    assert fake.calls == []


def test_own_input_is_answered_by_three_methods_and_kept_for_compare(fake):
    app = write(press(paste(open_page("assemble", source="paste"), PASTE), "assemble"), "Ferries stop at noon.")
    asked = app.session_state["studio"].asked
    assert [column.method for column in asked.columns] == list(METHODS)
    assert all(column.answer is not None and column.answer.done for column in asked.columns)
    text = shown(app)
    assert "Write with your model" in text
    assert "Ferries stop at noon." in text
    for column in asked.columns:
        assert column.answer.text in text
    assert app.session_state["studio"].work is None
    assert app.session_state["studio"].typed == "Ferries stop at noon."


def cards(app):
    return sum(element.proto.body.count('class="pp-answer"') for element in app.get("html"))


def test_answers_of_another_person_are_not_shown(fake):
    app = write(open_page("assemble"), "Ferries stop at noon.")
    assert cards(app) == len(METHODS)
    (people,) = (radio for radio in app.radio if "Bruno" in radio.options)
    people.set_value(fake.pool.examples("LaMP_4")[1].id).run()
    assert app.session_state["studio"].example == fake.pool.examples("LaMP_4")[1].id
    assert cards(app) == 0


def test_from_the_answers_one_goes_on_to_people_and_to_sharing(fake):
    app = press(paste(open_page("assemble", source="paste"), PASTE), "assemble")
    assert {"write-compare", "write-people", "write-share"} <= {button.key for button in app.button}
    assert "write-share" not in {button.key for button in open_page("assemble").button}, "an example’s text is not ours"
    record = app.session_state["studio"]
    press(app, "write-people")
    assert record.by_person
    assert record.compare_own
    assert record.text == PASTE


def test_overview_shows_one_input_answered_by_every_model(fake):
    people = [example.id for example in fake.pool.examples("LaMP_4")]
    queries = [example.queries[0] for example in fake.pool.examples("LaMP_4")[:2]]
    fake.stored.shared_by_task["LaMP_4"] = tuple(
        Shared(people[at], query.id, f"Base {at}", {id: f"{id} <b> {at}" for id in people})
        for at, query in enumerate(queries)
    )
    app = open_page("")
    text = shown(app)
    assert "One article, 6 personal models" in text
    assert "Base 0" in text
    assert escape(queries[0].x[:60]) in text
    assert all(f"{id} &lt;b&gt; 0" in text for id in people), "escaped"
    app.segmented_control(key="voices").set_value(1).run()
    assert "Base 1" in shown(app)
    assert escape(queries[1].x[:60]) in shown(app), "ids of queries are those of one person only"
    assert "Base 0" not in shown(app)


def test_overview_leaves_the_part_out_where_a_pool_stores_no_such_answers(fake):
    assert "personal models" not in shown(open_page(""))
