"""Compare with any methods: menu, training beside, blind votes, many people at once, the costs of each column.

The page, run by AppTest with a fake engine: who is asked what, and which answers are shown.
"""

import dataclasses
import time

import pytest
from fakes import TRAINING, FakeEngine
from helpers import PASTE, by_key, open_page, paste, press, shown

from perpcs.assembly.record import Assembly
from perpcs.assembly.routers import PRESETS, changed, flat_options
from perpcs.figures.model_card import loss_strips
from perpcs.figures.style import METHOD_COLOURS, OTHER_COLOUR, method_colour
from perpcs.personalizers.methods import DEFAULT, METHODS, is_name, title_of
from perpcs.serve.answer import Answer
from perpcs.tasks import Query
from perpcs.ui import asking, widgets
from perpcs.ui.ask import MENU
from perpcs.ui.asking import Asked, columns_html, columns_of
from perpcs.ui.compare import Ballot, standings, wilson
from perpcs.ui.state import Studio, example_person, from_link, to_link
from perpcs.ui.whatif import current_question

# ---- its parts -------------------------------------------------------------------------------------------------------


SIX = ("base", "rag", "pag", "perpcs", "oppu", "wrong:perpcs")


def person_of(engine):
    return example_person(engine, "LaMP_4", engine.pool.examples("LaMP_4")[0])


def asked_of(engine, methods, **more):
    person = person_of(engine)
    return Asked(person.queries[0], columns_of(person, methods), **more)


def wait_for(true):
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


# ---- columns --------------------------------------------------------------------------------------------------------


def test_six_columns_of_any_methods_answer_and_say_what_they_cost(fake):
    app = press(open_page("compare", methods=",".join(SIX)), "ask")
    text = shown(app)
    for name in SIX:
        assert title_of(name, person_of(fake).assembly.router) in text
    assert text.count("stored per person") == len(SIX)
    assert "Profile shown" in text
    assert "How it was trained" in text
    assert text.count("exposes personal text yes") + text.count("exposes personal textyes") == 2
    answered = [call for call in fake.calls if call[0] == "answer"]
    assert [call[3] for call in answered] == [("base", "rag", "pag", "perpcs", "wrong:perpcs"), ("oppu",)]


def test_what_was_prepared_is_kept_for_the_next_question(fake):
    app = press(open_page("compare", methods="oppu,rag"), "ask")
    prepared = [call for call in fake.calls if call[0] == "prepare"]
    app.selectbox(key="query-LaMP_4-Ada").set_value("q1").run()
    press(app, "ask")
    assert [call for call in fake.calls if call[0] == "prepare"] == prepared
    assert len([call for call in fake.calls if call[0] == "answer"]) == 4
    press(app, "forget") if "forget" in {button.key for button in app.button} else None


def test_the_question_stays_the_current_one_for_the_same_person_loaded_again(fake):
    """Two loads are equal in every number and not the same object."""
    person, record = person_of(fake), Studio()
    again = dataclasses.replace(person, assembly=Assembly.from_json(person.assembly.to_json()))
    assert again.assembly is not person.assembly
    record.asked = Asked(Query("another question"), columns_of(person, ("base", "perpcs")))
    assert current_question(record, again) == Query("another question")
    other = dataclasses.replace(again, assembly=dataclasses.replace(again.assembly, weights=again.assembly.weights * 2))
    assert current_question(record, other) != Query("another question")


def test_a_method_that_cannot_answer_says_so_in_its_column_and_the_others_answer(fake):
    text = shown(press(open_page("compare", methods="base,retrieval"), "ask"))
    assert "The pool stores no embeddings of the sharers." in text
    assert text.count("Prompt as sent") == 1


def test_stored_answers_are_shown_for_the_methods_that_have_them(fake):
    fake.stored.answered["LaMP_4", "ada", "q0"] = {"rag": Answer("rag", "RAG", "a prompt", "stored rag", done=True)}
    text = shown(open_page("compare", methods="rag,oppu"))
    assert "stored rag" in text
    assert "precomputed" in text
    assert "OPPU" in text
    assert not fake.calls


def test_words_can_be_compared_with_another_column(fake):
    app = press(open_page("compare", methods="base,rag,perpcs"), "ask")
    box = app.selectbox(key="diff-with")
    assert box.options == ["the true answer", "Base model", "RAG", "Per-Pcs (prototypes)"]
    box.set_value("RAG").run()
    assert not app.exception
    asked = app.session_state["studio"].asked
    assert 'class="pp-missing">again<' in columns_html(asked, 1)
    assert 'class="pp-missing">again<' not in columns_html(asked)


def test_the_published_gates_are_one_press_away(fake):
    app = open_page("compare")
    before = app.multiselect(key="methods").value
    press(app, "add-published")
    assert app.multiselect(key="methods").value == [*before, "perpcs:paper"]
    assert "add-published" not in {button.key for button in app.button}
    press(app, "ask")
    assert "Per-Pcs (gates, as published)" in shown(app)


def test_the_assembled_model_is_called_by_what_made_its_weights():
    def title(**changes):
        return title_of("perpcs+rag", flat_options(changed(PRESETS["default"], **changes)))

    assert title() == title_of("perpcs+rag") == "Per-Pcs + Newton weights + RAG"
    assert title(router="fit") == "Per-Pcs (fit) + RAG"
    assert title(router="gate") == "Per-Pcs (distilled gates) + RAG"
    assert title(router="gate", gates="trained") == "Per-Pcs (trained gates) + RAG"
    assert (
        title_of("perpcs", flat_options(PRESETS["paper"]))
        == title_of("perpcs:paper")
        == "Per-Pcs (gates, as published)"
    )
    assert title_of("perpcs", flat_options(changed(PRESETS["paper"], seed=3))) == title_of("perpcs:paper")
    assert title_of("perpcs:gate", flat_options(PRESETS["default"])) == "Per-Pcs (distilled gates)"


@pytest.mark.parametrize(
    ("said", "mark"),
    [("bread bread bread", "loops"), ("the snarfle blorps", "contains a non-word"), ("", "empty"), ("Bread gone", "")],
)
def test_an_answer_that_loops_or_holds_no_words_is_marked_and_shown(fake, said, mark):
    asked = asked_of(fake, ("base",))
    asked.columns[0].answer = Answer("base", "Base model", "the question", said, done=True)
    html = columns_html(asked)
    assert all(word in html for word in said.split())
    assert html.count("pp-mark") == bool(mark)
    assert f'<span class="pp-tag">{mark}</span>' in html or not mark
    asked.columns[0].answer = Answer("base", "Base model", "a snarfle blorps", said, done=True)
    assert columns_html(asked).count("pp-mark") == (mark in ("loops", "empty")), "the question's words are words"
    asked.columns[0].answer = Answer("base", "Base model", "the question", said, done=False)
    assert "pp-mark" not in columns_html(asked), "while it is being written"


def test_the_menu_offers_what_there_is_and_a_link_may_bring_more(fake):
    app = open_page("compare", methods="rag:2,perpcs:fit+own+rag:2,magic")
    menu = app.multiselect(key="methods")
    assert menu.value == ["rag:2", "perpcs:fit+own+rag:2"]
    assert {
        "OPPU",
        "OPPU (best)",
        "PEFT retrieval",
        "Per-Pcs (distilled gates)",
        "Per-Pcs (gates, as published)",
    } <= set(menu.options)
    assert set(METHODS) <= {name for name in MENU if is_name(name)}
    record = from_link({"methods": ",".join(f"rag:{k}" for k in (1, 2, 4) * 5) + ",oppu"})
    assert record.methods == ("rag:1", "rag:2", "rag:4", "oppu")
    assert from_link(to_link(record)).methods == record.methods


def test_every_method_has_a_colour_of_its_own_everywhere():
    colours = [METHOD_COLOURS[name] for name in METHODS]
    assert len(set(colours)) == len(colours)
    assert len(set(METHOD_COLOURS.values())) == len(METHOD_COLOURS)
    assert method_colour("oppu+rag:1") == method_colour("oppu:best") == METHOD_COLOURS["oppu"]
    assert method_colour("perpcs:fit+own+pag") == METHOD_COLOURS["perpcs:fit+own"]
    assert method_colour("perpcs:newton") == METHOD_COLOURS["perpcs"]
    assert method_colour("wrong:perpcs") == OTHER_COLOUR


# ---- training beside ------------------------------------------------------------------------------------------------


def test_training_tells_its_steps_and_can_be_stopped_alone():
    engine, record = FakeEngine(delay=0.01), Studio()
    asked = asked_of(engine, ("base", "oppu"))
    asking.start_asking(engine, record, asked)
    work = record.work

    def training():
        asked.fold(work.reports)
        return asked.columns[1].curves.get("training")

    wait_for(lambda: len(training() or ()) >= 3)
    assert asked.columns[0].answer.done, "quick columns come first"
    html = columns_html(asked)
    assert f"of {TRAINING}" in html
    assert "pp-loss" in html
    work.about["skipped"].add(1)
    work.join(20)
    asked.fold(work.reports)
    assert asked.columns[1].stopped
    assert asked.columns[1].answer is None
    assert not work.stopped
    assert work.error is None
    assert len(asked.columns[1].curves["training"]) < TRAINING
    assert not any("oppu" in key for key in record.prepared)


def test_stop_ends_everything():
    engine, record = FakeEngine(delay=0.02), Studio()
    asked = asked_of(engine, ("base", "oppu"))
    asking.start_asking(engine, record, asked)
    wait_for(lambda: len(record.work.reports) > 4)
    record.work.stop()
    record.work.join(20)
    assert record.work.stopped
    assert not any(told.answer and told.answer.method == "oppu" for told in record.work.reports)


def test_loss_strips_say_from_where_to_where():
    html = loss_strips({"training": [(1, 3.0), (2, 1.0), (3, 0.5)], "held out": []}, steps=6)
    assert "training: 3.00 → 0.50" in html
    assert "step 3 of 6" in html
    assert html.count("pp-loss") == 1


# ---- blind votes ----------------------------------------------------------------------------------------------------


def test_blind_mode_hides_names_until_a_vote_and_keeps_a_tally(fake):
    app = open_page("compare", methods="base,perpcs")
    app.toggle(key="blind").set_value(True).run()
    press(app, "ask")
    asked = app.session_state["studio"].asked
    text = columns_html(asked)
    for hidden in ("Base model", "Per-Pcs", "stored per person", "Prompt as sent", METHOD_COLOURS["perpcs"]):
        assert hidden not in text
    assert "Answer A" in shown(app)
    place = asked.order.index(1)
    press(app, f"vote-{place}")
    text = shown(app)
    assert "You voted for Per-Pcs (prototypes)." in text
    assert "stored per person" in text
    assert "After 1 blind vote" in text
    assert "1 of 1" in text
    assert app.session_state["studio"].ballots == [Ballot("LaMP_4", ("base", "perpcs:prototype"), "perpcs:prototype")]
    assert not [button for button in app.button if (button.key or "").startswith("vote-")]


def test_a_tally_counts_the_votes_a_method_stood_in():
    ballots = [Ballot("t", ("a", "b"), "a"), Ballot("t", ("a", "c"), ""), Ballot("t", ("b", "c"), "c")]
    rows = {row.method: (row.wins, row.votes) for row in standings(ballots)}
    assert rows == {"a": (1, 2), "b": (0, 2), "c": (1, 2)}
    assert all(row.low <= row.wins / row.votes <= row.high for row in standings(ballots))


@pytest.mark.parametrize(("wins", "votes", "low", "high"), [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775)])
def test_the_interval_is_wilsons(wins, votes, low, high):
    assert wilson(wins, votes) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


# ---- many people ----------------------------------------------------------------------------------------------------


def test_one_question_is_answered_for_all_example_people_in_one_batch(fake):
    app = open_page("compare")
    by_key(app, "button_group", "by-person").set_value("People").run()
    press(app, "ask")
    answered = [call for call in fake.calls if call[0] == "answer"]
    assert [call[3] for call in answered] == [("perpcs",) * 6]
    assert [call[3] for call in fake.calls if call[0] == "prepare"] == [e.id for e in fake.pool.examples("LaMP_4")]
    text = shown(app)
    for name in ("Ada", "Bruno", "Cleo", "Dario", "Elif", "Fay"):
        assert name in text
    assert text.count("words shared") == 1, "only of one person the true answer is known"


def test_columns_of_another_choice_are_not_shown(fake):
    app = press(open_page("compare"), "ask")
    assert "words shared" in shown(app)
    app.multiselect(key="methods").set_value(["base", "oppu"]).run()
    assert "words shared" not in shown(app)


def test_a_column_that_was_stopped_while_writing_shows_what_it_had():
    asked = asked_of(FakeEngine(), ("base",))
    column = asked.columns[0]
    column.answer = Answer("base", "Base model", "a prompt", "half an", tokens=2)
    assert "pp-caret" in columns_html(asked)
    column.stopped = True
    assert "pp-caret" not in columns_html(asked)
    assert dataclasses.replace(column.answer, done=True).done


# ---- the page --------------------------------------------------------------------------------------------------------


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
    assert widgets.PRIVACY in shown(app).replace("&#x27;", "'")


def test_a_saved_person_has_no_rag(fake):
    app = open_page("assemble", source="saved")
    text = fake.stored.assembly("LaMP_4", "dario").to_json()
    app.file_uploader[0].set_value(("me.json", text.encode(), "application/json")).run()
    app.switch_page("../../pages/compare.py").run()
    assert widgets.NO_TEXT in shown(app)
    paste(app, "The council met again")
    press(app, "ask")
    assert fake.calls[-1][3] == ("base", "perpcs")


def test_without_a_method_nothing_can_be_asked(fake):
    app = open_page("compare")
    app.multiselect(key="methods").set_value([]).run()
    assert app.button(key="ask").disabled
    assert "No method is selected." in shown(app)
