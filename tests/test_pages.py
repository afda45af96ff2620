"""The pages, run by Streamlit's AppTest with a fake engine: what is shown, what is remembered, what is forgotten."""

import dataclasses
import time
from pathlib import Path

import pytest
from fakes import FakeEngine
from helpers import PASTE, ROOT, SECRET, by_key, everything, open_page, paste, press, shown

from perpcs.assembly.routers import PRESETS, flat_options, option_helps
from perpcs.errors import PerpcsError
from perpcs.tasks import get_task
from perpcs.ui import engine, widgets
from perpcs.ui.state import Studio, from_link, names_of, to_link
from perpcs.ui.work import Work

# ---- the shell ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["", "assemble", "compare"])
def test_every_page_says_what_it_runs_on(fake, page):
    text = shown(open_page(page))
    for part in ("Base model base, pieces in 6 layers", "No GPU was found.", "people 5eed5eed", "no one ahead of you"):
        assert part in text


def test_the_queue_is_told(fake):
    fake.queue.waiting = 2
    assert "2 people ahead of you" in shown(open_page())


def test_ones_own_work_stands_in_nobodys_way(fake, monkeypatch):
    fake.queue.waiting = 3
    work = Work(lambda report: time.sleep(0.3))
    monkeypatch.setattr(fake.queue, "ahead", lambda thread: {work.thread: 1}[thread])
    assert engine.people_ahead(fake, work) == "1 person ahead of you", "two came later"
    work.join()
    assert engine.people_ahead(fake, work) == engine.people_ahead(fake) == "3 people ahead of you"


def test_a_missing_pool_is_two_sentences_and_no_traceback(monkeypatch, tmp_path):
    monkeypatch.setenv("PERPCS_POOL", str(tmp_path / "nowhere"))
    engine.opening.clear()
    app = open_page()
    assert "There is no pool in" in shown(app)
    assert "Set PERPCS_POOL" in shown(app)
    assert [button.label for button in app.button] == ["Try again"]
    engine.opening.clear()


def test_a_bug_while_opening_is_told_without_its_message(monkeypatch):
    def broken(folder):
        raise RuntimeError(SECRET)

    monkeypatch.setattr(engine, "open_engine", broken)
    engine.opening.clear()
    text = shown(open_page())
    assert "RuntimeError" in text
    assert SECRET not in text
    engine.opening.clear()


def test_a_name_is_a_shipped_pool_and_a_path_is_a_path(monkeypatch):
    monkeypatch.setenv("PERPCS_POOL", "people")
    assert engine.pool_folder() == ROOT / "assets" / "pools" / "people"
    monkeypatch.setenv("PERPCS_POOL", "/tmp/my/pool")
    assert engine.pool_folder() == Path("/tmp/my/pool")
    monkeypatch.delenv("PERPCS_POOL")
    assert engine.pool_folder().name == "people"


def test_the_server_starts_to_open_the_pool_before_anybody_comes(fake, monkeypatch):
    import asyncio

    async def nobody_closes(runtime, kept):
        await asyncio.sleep(60)

    monkeypatch.setattr(engine, "get_runtime", lambda: None)  # no server runs here; tests/test_server.py has the clock
    monkeypatch.setattr(engine, "keep_closed", lambda runtime: None)
    monkeypatch.setattr(engine, "end_closed", nobody_closes)

    async def start():
        async with engine.warm_start(None):
            return engine.opening(str(engine.pool_folder()))

    handle = asyncio.run(start())
    assert handle.ready.wait(5)
    assert handle.engine is fake


# ---- overview -------------------------------------------------------------------------------------------------------


def test_the_overview_has_claim_story_doors_and_facts(fake):
    app = open_page()
    text = shown(app)
    assert widgets.CLAIM in text
    assert "How Ada’s model was assembled" in text
    assert "precomputed" in text
    assert {"door-watch", "door-own"} <= {button.key for button in app.button}
    for part in ("40sharers", "960pieces", "24positions", "14.2 MB", "962 bytes", "1/150"):
        assert part in text.replace(" sharers", "sharers").replace(" pieces", "pieces").replace(
            " positions", "positions"
        )


def test_a_step_is_explained_with_numbers(fake):
    app = open_page()
    by_key(app, "button_group", "story-step").set_value(1).run()
    assert "compared with the prototype of each of 40 sharers" in shown(app)


def test_the_doors_lead_to_filled_pages(fake):
    app = press(open_page(), "door-own")
    assert app.session_state["studio"].source == "paste"
    assert app.text_area
    app = press(open_page(), "door-watch")
    assert "Ada’s model uses" in shown(app)
    assert "assembled here on" in shown(app), "it was watched, not only shown"


# ---- assemble -------------------------------------------------------------------------------------------------------


def test_an_example_is_there_at_once_and_no_model_runs(fake):
    app = open_page("assemble")
    text = shown(app)
    record = fake.stored.assembly("LaMP_4", "ada")
    assert f"Ada’s model uses {record.distinct_sharers()} of 40 sharers" in text
    assert "precomputed" in text
    assert "items selected it" in text
    assert app.get("plotly_chart")
    assert fake.calls == []


def test_watching_ends_in_the_same_state_as_not_watching(fake):
    app = press(open_page("assemble"), "watch")
    studio = app.session_state["studio"]
    assert "assembled here on cpu in 0.41 s" in shown(app)
    ada = fake.pool.examples("LaMP_4")[0]
    unwatched = fake.assemble(get_task("LaMP_4"), ada.history, options=PRESETS["default"], user="ada")
    assert (studio.live[("LaMP_4", "ada")].weights == unwatched.weights).all()
    assert studio.work is None
    press(app, "back")
    assert "precomputed" in shown(app)


def test_a_paste_is_read_before_it_runs_and_bad_lines_are_named(fake):
    app = open_page("assemble", source="paste")
    assert app.button(key="assemble").disabled
    paste(app, PASTE)
    text = shown(app)
    assert "2 items read, 1 row kept out." in text
    assert "Line 2" in text
    assert "this line has no arrow" in text
    assert "2 of at most 2,000 items" in text
    assert fake.calls == []
    press(app, "assemble")
    assert "Your model uses" in shown(app)
    name, task, items, _ = fake.calls[0]
    assert (name, task, len(items)) == ("assemble", "LaMP_4", 2)


def test_a_paste_that_cannot_be_read_says_why(fake):
    app = paste(open_page("assemble", source="paste"), '[{"text": "never closed')
    assert app.button(key="assemble").disabled
    assert by_key(app, "html", None) is not None
    assert "pp-error" in " ".join(element.proto.body for element in app.get("html"))


def test_the_sample_can_be_assembled(fake):
    app = press(open_page("assemble", source="paste"), "sample")
    assert app.text_area[0].value.count(" => ") == 11
    assert not app.button(key="assemble").disabled


def test_the_published_gates_are_one_press_away_and_both_runs_are_laid_side_by_side(fake):
    app = press(open_page("assemble"), "other-router")
    assert fake.calls[-1][3] == PRESETS["paper"]
    text = shown(app)
    assert "Per-Pcs (gates, as published)" in text
    assert "Compared with the previous run" in text


def test_the_fit_check_is_said_in_one_line(fake, monkeypatch):
    assert "Not checked on held-out items" in shown(open_page("assemble"))
    stored = fake.stored.assembly
    found = {"damping": 1.0, "length": 0.7, "check": {"before": [3.0, 2.0], "after": [2.5, 1.6]}}

    def checked(task, id):
        return dataclasses.replace(stored(task, id), router=flat_options(PRESETS["default"]), extra=found)

    monkeypatch.setattr(fake.stored, "assembly", checked)
    text = shown(open_page("assemble"))
    assert "Per-Pcs + Newton weights" in text
    assert "Fit check on Ada’s newest 2 items" in text
    assert "2.50 nats per target token with the base model, 2.05 with the pieces" in text
    story = open_page()
    by_key(story, "button_group", "story-step").set_value(3).run()
    assert "Fit check on Ada’s newest 2 items" in shown(story)
    found["check"]["after"] = [3.5, 2.2]
    assert "This pool does not help with Ada’s text" in shown(open_page("assemble"))


def test_text_survives_a_change_of_page(fake):
    app = paste(open_page("assemble", source="paste"), PASTE)
    app.switch_page("../../pages/compare.py").run()
    app.switch_page("../../pages/assemble.py").run()
    assert app.text_area[0].value == PASTE


def test_the_knobs_reach_the_engine(fake):
    app = paste(open_page("assemble", source="paste"), PASTE)
    app.selectbox(key="knob-router").set_value("fit").run()
    app.slider(key="knob-steps").set_value(5).run()
    assert app.selectbox(key="preset").value == "own"
    app.selectbox(key="knob-router").set_value("gate").run()
    app.segmented_control(key="knob-selector").set_value("top_p").run()
    app.select_slider(key="knob-p").set_value(0.5).run()
    assert "knob-k" not in {slider.key for slider in app.slider}
    app.selectbox(key="preset").set_value("paper").run()
    assert app.slider(key="knob-k").value == PRESETS["paper"].k
    app.select_slider(key="knob-temperature").set_value(0.5).run()
    press(app, "assemble")
    assert fake.calls[0][3] == dataclasses.replace(PRESETS["paper"], temperature=0.5)


def test_every_option_has_a_knob_with_a_help_text():
    names = set(option_helps())
    assert set(option_helps()) == names
    assert all(len(text) > 20 for text in option_helps().values())


def test_people_without_a_name_are_told_apart():
    people = [dataclasses.replace(person, name="") for person in FakeEngine().pool.examples("LaMP_4")]
    assert list(names_of(people).values()) == [f"Person {letter}" for letter in "ABCDEF"]


def test_an_error_of_the_engine_keeps_what_was_there(fake, monkeypatch):
    app = press(paste(open_page("assemble", source="paste"), PASTE), "assemble")
    before = app.session_state["studio"].own

    def refuse(*args, **kwargs):
        raise PerpcsError("The items are too long.", "Shorten them.")

    monkeypatch.setattr(fake, "assemble", refuse)
    press(app, "assemble")
    assert "The items are too long. Shorten them." in shown(app)
    assert app.session_state["studio"].own is before
    assert "Your model uses" in shown(app)


def test_filter_and_sort_are_remembered_in_the_link(fake):
    app = open_page("assemble", module="v_proj", sort="total", cell="layer 2, v_proj~s007", user="cleo", task="LaMP_4")
    text = shown(app)
    assert "Cleo’s model uses" in text
    assert "Piece: layer 2, v_proj, sharer s007" in text
    assert by_key(app, "button_group", "module").value in ("v_proj", ["v_proj"])
    assert {"module": ["v_proj"], "sort": ["total"], "user": ["cleo"]}.items() <= {
        key: [value] if isinstance(value, str) else value for key, value in app.query_params.items()
    }.items()


def test_a_piece_can_be_chosen_without_a_mouse(fake):
    app = open_page("assemble")
    app.selectbox(key="piece-position").set_value("layer 5, o_proj").run()
    app.selectbox(key="piece-sharer").set_value("s039").run()
    assert "Piece: layer 5, o_proj, sharer s039" in shown(app)


def test_a_saved_person_comes_back(fake):
    app = press(paste(open_page("assemble", source="paste"), PASTE), "assemble")
    text = app.session_state["studio"].own.assembly.to_json()
    assert SECRET not in text
    again = open_page("assemble", source="saved")
    again.file_uploader[0].set_value(("me.json", text.encode(), "application/json")).run()
    assert "This model uses" in shown(again)
    loaded = again.session_state["studio"].own.assembly
    assert (loaded.weights == app.session_state["studio"].own.assembly.weights).all()


def test_votes_of_a_saved_person_name_items_by_number(fake):
    app = open_page("assemble", source="saved")
    text = fake.stored.assembly("LaMP_4", "ada").to_json()
    app.file_uploader[0].set_value(("me.json", text.encode(), "application/json")).run()
    assert "text not in the file" in shown(app)


def test_a_file_of_another_pool_is_refused(fake):
    foreign = dataclasses.replace(fake.stored.assembly("LaMP_4", "ada"), pool_hash="other")
    app = open_page("assemble", source="saved")
    app.file_uploader[0].set_value(("me.json", foreign.to_json().encode(), "application/json")).run()
    assert "This person was assembled from another pool." in shown(app)
    app.file_uploader[0].set_value(("me.json", b"{}", "application/json")).run()
    assert "This file is not a saved person." in shown(app)


# ---- what is forgotten, what is never said --------------------------------------------------------------------------


def test_clear_my_data_empties_the_session(fake):
    app = press(paste(open_page("assemble", source="paste"), PASTE), "assemble")
    app.switch_page("../../pages/compare.py").run()
    paste(app, SECRET)
    press(app, "ask")
    assert SECRET in everything(app)
    app.switch_page("../../pages/assemble.py").run()
    press(app, "forget")
    assert SECRET not in everything(app)
    assert app.session_state["studio"].own is None
    assert widgets.CLEARED in shown(app)
    assert not app.text_area[0].value


def test_no_text_is_ever_in_the_link(fake):
    app = press(paste(open_page("assemble", source="paste"), PASTE), "assemble")
    app.switch_page("../../pages/compare.py").run()
    paste(app, SECRET)
    press(app, "ask")
    assert "zebrafish" not in repr(dict(app.query_params))
    filled = Studio(text=SECRET, typed=SECRET, notice=SECRET, wanted_task=SECRET)
    assert "zebrafish" not in repr(to_link(filled))


def test_a_link_comes_back_as_it_was():
    record = Studio(
        task="LaMP_2", example="fay", source="upload", module="k_proj", sort="id", methods=("base", "perpcs")
    )
    record.query, record.seed, record.cell = "q2", 7, ("layer 0, k_proj", "s001")
    again = from_link(to_link(record))
    for name in ("task", "example", "source", "module", "sort", "methods", "query", "seed", "cell"):
        assert getattr(again, name) == getattr(record, name)


@pytest.mark.parametrize(
    "link",
    [
        {"sort": "<script>", "seed": "-3", "methods": "x,,y", "source": "none", "cell": "no mark"},
        {"task": "A" * 5000, "user": "B" * 5000, "seed": "9" * 400},
        {"task": "LaMP_9", "user": "nobody", "module": "conv", "cell": "layer 99, q_proj~s1"},
    ],
)
def test_a_broken_link_opens_a_whole_page(fake, link):
    record = from_link(link)
    assert record.methods
    assert 0 <= record.seed <= 10**6
    for page in ("assemble", "compare"):
        assert "Ada" in shown(open_page(page, **link))
