"""Parts of the pages without a page around them: guesses, cells, work that stops, terms, what a reload finds again and
for how long, and the fake engine itself.
"""

import gc
import inspect
import json
import time

import pytest
from fakes import FakeEngine
from streamlit.testing.v1 import AppTest

from perpcs.data import parse_json
from perpcs.data.exports import given
from perpcs.errors import PerpcsError
from perpcs.ui import give_history, widgets
from perpcs.ui.assemble import piece_of
from perpcs.ui.state import _PRIVATE, GUESS, Records, Studio, as_lines, read_draft, to_link
from perpcs.ui.work import Stopped, Work, deferred

# ---- parts -----------------------------------------------------------------------------------------------------------


def test_a_text_is_decoded_once(monkeypatch):
    """Looking at it, guessing its kind and reading it share what was opened."""
    decoded = []
    decode = given.read_document
    monkeypatch.setattr(given, "read_document", lambda text: decoded.append(text) or decode(text))
    monkeypatch.setattr(parse_json, "read_document", given.read_document)
    text = json.dumps([{"text": f"the words of text {number}", "title": f"title {number}"} for number in range(4)])
    for content in (text, ("mine.json", text.encode())):
        record = Studio()
        assert give_history.read_given(record, "paste", content, ("LaMP_4",)).reading.summary() == "4 items read."
        assert decoded == [text]
        decoded.clear()


def test_a_guess_that_the_pool_does_not_have_is_told():
    draft = read_draft("I love this blender => 5\nBroke at once => 1\nIt is fine => 3", GUESS, ("LaMP_4",))
    assert draft.error is None or "no sharers" in draft.error.wrong
    assert draft.task


def test_as_lines_reads_back():
    items = FakeEngine().pool.examples("LaMP_4")[0].history
    draft = read_draft(as_lines(items, limit=99), "LaMP_4", ("LaMP_4",))
    assert [item.y for item in draft.reading.items] == [item.y for item in items]


def test_a_cell_that_is_not_in_the_pool_is_no_cell():
    record = FakeEngine().stored.assembly("LaMP_4", "ada")
    assert piece_of(record, ("layer 1, k_proj", "s002")) == (5, 2)
    assert piece_of(record, ("layer 1, k_proj", "s999")) is None
    assert piece_of(record, None) is None


def test_work_stops_when_told_and_the_engine_notices():
    made = FakeEngine(delay=0.02)
    record = Studio(task="LaMP_4")
    give_history.start_assembly(made, record, "LaMP_4", made.pool.examples("LaMP_4")[0].history, user="me")
    work = record.work
    while not work.reports:
        time.sleep(0.005)
    work.stop()
    work.join(5)
    assert made.stopped.is_set()
    assert work.ended
    assert work.result is None
    assert len(work.reports) < 24


def test_work_that_nobody_watches_stops_by_itself(monkeypatch):
    monkeypatch.setattr("perpcs.ui.work.PATIENCE", 0.05)

    def forever(report):
        while True:
            time.sleep(0.01)
            report(1)

    work = Work(forever)
    work.join(5)
    assert work.ended
    assert work.stopped


def test_stopping_is_not_mistaken_for_a_failure():
    seen = []

    def careless(report):
        try:
            while True:
                time.sleep(0.002)
                report(1)
        except Exception as error:  # must not catch Stopped
            seen.append(error)

    work = Work(careless)
    work.stop()
    work.join(5)
    assert not seen
    assert work.error is None
    assert not issubclass(Stopped, Exception)


def test_every_term_is_defined_and_escaped():
    html = widgets.term("weight", "<weights>")
    assert "&lt;weights&gt;" in html
    assert "tabindex" in html
    with pytest.raises(KeyError):
        widgets.term("expert")


def test_the_fake_has_the_surface_of_the_real_engine():
    from perpcs.pool.store import Pool
    from perpcs.serve.engine import Engine
    from perpcs.serve.queue import Queue
    from perpcs.serve.stored import Stored

    fake = FakeEngine()
    for real, made, names in (
        (Engine, FakeEngine, "assemble prepare answer_rows check token_scores update_norms"),
        (Pool, type(fake.pool), "sharers examples candidates"),
        (Stored, type(fake.stored), "assembly answers shared recognised"),
        (Queue, type(fake.queue), "ahead"),
    ):
        for name in names.split():
            ours = list(inspect.signature(getattr(made, name)).parameters)
            assert ours == list(inspect.signature(getattr(real, name)).parameters), name
    for real, made, names in (
        (Engine, fake, "pool_bytes user_bytes"),
        (Pool, fake.pool, "hash"),
        (Queue, fake.queue, "waiting"),
    ):
        for name in names.split():
            assert hasattr(real, name)
            assert hasattr(made, name)


CHAT = "31/12/2023, 18:22 - Ann: where is the boat\n31/12/2023, 18:23 - Bo: by the lock\n"


def give(text):
    from perpcs.ui.give_history import other_tasks, read_given
    from perpcs.ui.state import studio

    record = studio()
    draft = read_given(record, "paste", text, ("LaMP_3", "LaMP_4", "LaMP_7"))
    other_tasks(record, draft)
    import streamlit as st

    st.text(
        f"{record.wanted_task} " + (" | ".join(item.x for item in draft.reading.items) if draft.reading else "none")
    )


def test_a_chat_asks_for_the_name_and_reads_that_persons_messages():
    app = AppTest.from_function(give, args=(CHAT,)).run()
    assert app.selectbox[0].label == "Which of these is you?"
    assert app.selectbox[0].value is None
    assert app.text[0].value == "guess none"
    app.selectbox[0].select("Bo").run()
    assert app.text[0].value == "guess by the lock"


def test_other_tasks_are_one_click_away():
    app = AppTest.from_function(give, args=("rating,title,text\n5,Dry,It held.\n1,Wet,It broke.\n",)).run()
    assert [button.label for button in app.button] == ["Read as news headlines", "Read as tweet paraphrasing"]
    app.button[0].click().run()
    assert app.text[0].value == "LaMP_4 It held. | It broke."
    assert "Read as product rating" in [button.label for button in app.button]


def test_answers_to_others_can_be_left_out():
    tweets = [
        {"full_text": text, "created_at": f"2021-01-0{day}", "id_str": str(day), "in_reply_to_status_id_str": to}
        for day, (text, to) in enumerate([("mine", None), ("@bo yes", "7")], start=1)
    ]
    app = AppTest.from_function(give, args=(json.dumps(tweets),)).run()
    assert app.text[0].value == "guess mine | @bo yes"
    app.checkbox[0].uncheck().run()
    assert app.text[0].value == "guess mine"


# ---- a reload --------------------------------------------------------------------------------------------------------


def test_a_record_is_found_by_its_key_while_its_session_lives():
    table, record = Records(), Studio(text="mine")
    table.put(record)
    key = record.key
    assert len(key) > 20
    assert table.take(key) is record
    assert table.take("another") is None
    table.put(record)
    assert record.key == key, "a key is given once"
    del record
    gc.collect()
    assert table.take(key) is None, "the table does not keep anybody"


def test_a_cleared_record_is_not_found():
    table, record = Records(), Studio(text="mine")
    table.put(record)
    table.drop(record.key)
    assert table.take(record.key) is None


def test_what_comes_back_is_no_part_of_a_link():
    record = Studio(text="mine", typed="a question")
    Records().put(record)
    assert record.key not in "".join(to_link(record).values())
    assert all(hasattr(record, name) for name in _PRIVATE)


def test_a_file_that_cannot_be_made_quotes_no_text(caplog):
    typed = "my secret diary"

    def make():
        raise ValueError(typed)

    with pytest.raises(PerpcsError, match="ValueError") as caught:
        deferred(make)()
    assert typed not in str(caught.value) + caplog.text
    assert caught.value.__suppress_context__
    assert deferred(lambda: "a file")() == "a file"
