"""The Compare page, run by AppTest with a fake engine: who is asked what, and which answers are shown."""

import pytest
from fakes import FakeEngine, put_in_place
from test_pages import PASTE, open_page, paste, press, shown

from perpcs.personalizers.methods import DEFAULT
from perpcs.serve.answer import Answer
from perpcs.ui import strings


@pytest.fixture
def fake(monkeypatch):
    yield from put_in_place(monkeypatch, FakeEngine())


def test_all_methods_answer_a_held_out_item(fake):
    app = press(open_page("compare"), "ask")
    text = shown(app)
    for title in ("Base model", "RAG", "Per-Pcs"):
        assert title in text
    assert "What Ada really wrote" in text
    assert "5 of 5 words shared" in text
    for fact in ("tokens", "first token", "stored per person", "preparation", "exposes personal text"):
        assert fact in text
    assert text.count("Prompt as sent") == 3
    name, task, query, methods, _, temperature, seed = fake.calls[-1]
    assert (name, task, methods, temperature, seed) == ("answer", "LaMP_4", DEFAULT, 0.0, 0)
    assert query.id == "q0"


def test_label_tasks_show_probabilities_and_right_or_wrong(fake):
    app = press(open_page("compare", task="LaMP_2"), "ask")
    assert "the person's own label, gets" in shown(app).replace("&#x27;", "'")
    assert "✓ correct" in shown(app)
    assert app.get("plotly_chart")


def test_answers_of_another_question_are_not_shown(fake):
    app = press(open_page("compare"), "ask")
    assert "words shared" in shown(app)
    app.selectbox(key="query-LaMP_4-Ada").set_value("q1").run()
    assert "words shared" not in shown(app)


def test_stored_answers_are_shown_at_once_and_named_so(fake):
    rows = {m: Answer(m, m, "a prompt", f"stored {m}", done=True, tokens=2) for m in DEFAULT}
    fake.stored.answered["LaMP_4", "ada", "q0"] = rows
    text = shown(open_page("compare"))
    assert "stored perpcs" in text
    assert "precomputed" in text
    assert "stored base" in shown(open_page())  # the last step of the overview's figure
    assert fake.calls == []
    assert "stored perpcs" not in shown(open_page("compare", query="q1"))


def test_stored_answers_do_not_stand_in_for_a_new_assembly(fake):
    rows = {m: Answer(m, m, "a prompt", f"stored {m}", done=True) for m in DEFAULT}
    fake.stored.answered["LaMP_4", "ada", "q0"] = rows
    app = press(open_page("assemble"), "watch")
    app.switch_page("../../pages/compare.py").run()
    assert "stored perpcs" not in shown(app)


def test_the_visitors_own_person_is_asked_with_their_own_words(fake):
    app = press(paste(open_page("assemble", source="paste"), PASTE), "assemble")
    app.switch_page("../../pages/compare.py").run()
    assert app.button(key="ask").disabled
    paste(app, "The council met again")
    press(app, "ask")
    name, _, query, _, _, _, _ = fake.calls[-1]
    assert (name, query.x) == ("answer", "The council met again")
    assert strings.PRIVACY in shown(app).replace("&#x27;", "'")


def test_a_saved_person_has_no_rag(fake):
    app = open_page("assemble", source="saved")
    text = fake.stored.assembly("LaMP_4", "dario").to_json()
    app.file_uploader[0].set_value(("me.json", text.encode(), "application/json")).run()
    app.switch_page("../../pages/compare.py").run()
    assert strings.NO_TEXT in shown(app)
    paste(app, "The council met again")
    press(app, "ask")
    assert fake.calls[-1][3] == ("base", "perpcs")


def test_without_a_method_nothing_can_be_asked(fake):
    app = open_page("compare")
    app.multiselect(key="methods").set_value([]).run()
    assert app.button(key="ask").disabled
    assert "No method is selected." in shown(app)
