"""Under the map: words, what if, numbers, differences; each is worked out when it is opened, and what it says is so.

Write with this model: own input on Assemble, answered beside the base model and RAG, and carried to Compare.
"""

import dataclasses
import time
from html import escape

import numpy as np
import pytest
from fakes import assembled
from helpers import PASTE, by_key, everything, large, open_page, paste, press, shown

from perpcs.assembly.explain import agreement, item_influence
from perpcs.errors import PerpcsError
from perpcs.pool.manifest import Sharer
from perpcs.serve.stored import Shared
from perpcs.ui.assemble import METHODS
from perpcs.ui.state import VIEWS, Person, Studio, from_link, to_link, worked_out

# ---- under the map ---------------------------------------------------------------------------------------------------


def charts(app) -> set[str]:
    return {chart.proto.id.split("-", 2)[-1] if chart.proto.id else "" for chart in app.get("plotly_chart")}


def test_only_the_open_view_is_worked_out(fake, monkeypatch):
    monkeypatch.setattr(fake, "update_norms", lambda assembly: pytest.fail("numbers were worked out"))
    assert "items selected it" in shown(open_page("assemble"))
    assert fake.calls == []


@pytest.mark.parametrize("view", list(VIEWS))
def test_every_view_opens_by_its_link(fake, view):
    app = open_page("assemble", view=view)
    assert app.session_state["studio"].view == view
    assert "Ada’s model uses" in shown(app)


# ---- word by word ---------------------------------------------------------------------------------------------------


def test_the_words_that_pulled_a_piece_are_shaded(fake):
    app = open_page("assemble", view="words", cell="layer 2, v_proj~s007")
    text = shown(app)
    assert "layer 2, v_proj, sharer s007, word by word" in text
    assert "Highest scores:" in text
    name, task, position, sharer, which = fake.calls[0]
    assert (name, task, position, sharer) == ("token_scores", "LaMP_4", 10, 7)
    record = fake.stored.assembly("LaMP_4", "ada")
    voters = {i for i in range(record.n_items) if 7 in record.choices[i, 10]}
    assert voters <= set(which) or len(voters) > len(which)
    assert fake.pool.examples("LaMP_4")[0].history[which[0]].y.split()[0] in text
    app.segmented_control(key="sort").set_value("total").run()
    assert len(fake.calls) == 1  # a click elsewhere reads nothing again


def test_a_saved_person_has_no_words(fake):
    app = open_page("assemble", source="saved", view="words")
    text = fake.stored.assembly("LaMP_4", "ada").to_json()
    app.file_uploader[0].set_value(("me.json", text.encode(), "application/json")).run()
    assert "there are no words to shade" in shown(app)
    assert fake.calls == []


def test_where_the_router_scores_no_words_it_is_said_what_stands_in(fake):
    app = press(open_page("assemble"), "watch")  # the default looks at the loss
    app.segmented_control(key="view").set_value("words").run()
    assert "does not score single words, so the sharer’s prototype is used instead" in shown(app)


# ---- what if --------------------------------------------------------------------------------------------------------


def test_leaving_an_item_out_says_what_would_move(fake):
    app = open_page("assemble", view="whatif")
    record = fake.stored.assembly("LaMP_4", "ada")
    influence = item_influence(record)
    first = int(np.argmax(influence))
    text = shown(app)
    assert f"Without item {first + 1}, the mix changes by {100 * influence[first]:.1f} % on average" in text
    assert "Over all positions it votes for" in text
    box = next(box for box in app.selectbox if box.key.startswith("whatif-item"))
    assert len(box.options) == record.n_items
    box.set_value(0).run()
    assert "Without item 1," in shown(app)
    assert {call[0] for call in fake.calls} == {"prepare", "answer"}, "nothing is assembled again"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("sharer", "Without sharer s"),
        ("layer", "Without layer 0"),
        ("k", "With"),
        ("scale", "With all weights times 1.5"),
        ("swap", "With Bruno’s mix in all layers"),
    ],
)
def test_what_if_without_a_sharer_a_layer_or_pieces(fake, kind, said):
    app = open_page("assemble", view="whatif")
    by_key(app, "button_group", "whatif").set_value(kind).run()
    assert not app.exception
    assert said in shown(app)
    assert "Held-out answers (" in shown(app)
    prepared, answers = ([call for call in fake.calls if call[0] == kind] for kind in ("prepare", "answer"))
    assert len(answers) == len(prepared) // 2 > 0, "the person and the changed person answer in one batch"
    assert answers[-1][2] == fake.pool.examples("LaMP_4")[0].queries[0]


def test_an_item_of_a_fitted_person_cannot_be_subtracted(fake):
    app = press(open_page("assemble"), "watch")
    app.segmented_control(key="view").set_value("whatif").run()
    assert "With all weights times 1.5" in shown(app)
    by_key(app, "button_group", "whatif").set_value("item").run()
    assert "need a new run" in shown(app)
    calls = len(fake.calls)
    press(app, "without-item")
    app.segmented_control(key="sort").set_value("total").run()
    _, _, items, options = next(call for call in fake.calls[calls:] if call[0] == "assemble")
    assert items == fake.pool.examples("LaMP_4")[0].history[1:]
    assert options.name == "newton"
    assert "Without item 1," in shown(app)
    assert [call[0] for call in fake.calls[calls:]].count("assemble") == 1, "another order of columns asks nothing"


# ---- in numbers -----------------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_record(fake):
    app = open_page("assemble", view="numbers")
    record, text = fake.stored.assembly("LaMP_4", "ada"), shown(app)
    assert f"{np.median(record.effective_sharers()):.1f}effective sharers" in text.replace(" effective", "effective")
    dormant = int((record.weights == 0).all(axis=0).sum())
    assert f"{dormant} of 40 sharers are dormant here" in text
    assert "over all 6 example people" in text
    assert fake.calls == []


def test_peft_retrieval_is_asked_when_it_is_asked_for(fake):
    app = press(open_page("assemble", view="numbers"), "retrieval")
    assert [call[3].name for call in fake.calls] == ["retrieval"]
    ada = fake.pool.examples("LaMP_4")[0]
    options = fake.calls[0][3]
    share = agreement(
        fake.stored.assembly("LaMP_4", "ada").weights,
        assembled(fake.pool, "LaMP_4", ada.history, options, "me").weights,
    )
    assert f"{100 * share.mean():.0f} %" in shown(app)
    app.segmented_control(key="sort").set_value("total").run()
    assert len(fake.calls) == 1


def test_a_pool_without_embeddings_says_so(fake, monkeypatch):
    def refuse(*args, **kwargs):
        raise PerpcsError("The pool stores no embeddings.", "Build the pool again.")

    monkeypatch.setattr(fake, "assemble", refuse)
    app = press(open_page("assemble", view="numbers"), "retrieval")
    assert "The pool stores no embeddings. Build the pool again." in shown(app)
    assert "This person" not in shown(app) or "effective sharers" in shown(app)


# ---- differences ----------------------------------------------------------------------------------------------------


def test_turned_knobs_show_what_they_changed(fake):
    app = paste(open_page("assemble", source="paste"), PASTE)
    press(app, "assemble")
    assert app.session_state["studio"].before is None
    app.selectbox(key="preset").set_value("paper").run()
    press(app, "assemble")
    studio = app.session_state["studio"]
    assert studio.view == "difference"
    assert studio.before.assembly.router["router"] == "newton"
    assert "Compared with the previous run (Per-Pcs + Newton weights, assembled here" in shown(app)
    paste(app, PASTE.replace("Bread gone", "No bread"))
    press(app, "assemble")
    assert app.session_state["studio"].before is None  # another history: nothing to lay beside


def test_an_example_assembled_again_is_laid_beside_the_precomputed_one(fake):
    app = press(open_page("assemble"), "watch")
    assert "Compared with the previous run (Per-Pcs (prototypes), precomputed, shown until " in shown(app)
    press(app, "back")
    assert "Pin this person" in shown(app) or "Compared with" in shown(app)


def test_two_people_side_by_side(fake):
    app = press(open_page("assemble", view="difference"), "pin")
    next(radio for radio in app.radio if radio.label == "Example person").set_value("cleo").run()
    one, other = (fake.stored.assembly("LaMP_4", id).weights for id in ("ada", "cleo"))
    assert f"Ada and Cleo share {100 * agreement(one, other).mean():.0f} % of the mix" in shown(app)
    app.segmented_control(key="task").set_value("LaMP_2").run()
    assert "was assembled for another kind of text" in shown(app)
    press(app, "unpin")
    assert app.session_state["studio"].pinned is None


def test_clearing_forgets_what_was_pinned_and_worked_out(fake):
    app = press(paste(open_page("assemble", source="paste"), PASTE), "assemble")
    app.segmented_control(key="view").set_value("words").run()
    app.segmented_control(key="view").set_value("difference").run()
    press(app, "pin")
    assert "zebrafish" in everything(app)
    press(app, "forget")
    assert "zebrafish" not in everything(app)
    assert app.session_state["studio"].pinned is None
    assert app.session_state["studio"].kept == {}


# ---- parts ----------------------------------------------------------------------------------------------------------


def test_work_is_kept_for_the_same_question_only():
    record, made = Studio(), []
    for of in (1, 1, 2, 1):
        worked_out(record, "kind", of, lambda of=of: made.append(of))
    assert made == [1, 2, 1]


def test_a_link_carries_view_screen_and_step():
    record = Studio(view="whatif", present="map", tour="assemble.2")
    again = from_link(to_link(record))
    assert (again.view, again.present, again.tour) == ("whatif", "map", "assemble.2")
    wrong = from_link({"view": "x", "present": "<b>", "tour": "assemble"})
    assert (wrong.view, wrong.present, wrong.tour) == ("piece", "", "")


def test_a_map_of_128_positions_and_100_sharers_is_drawn_while_one_waits(fake):
    """Processor time, because test machines are busy."""
    from perpcs.figures.assembly_map import assembly_map
    from perpcs.figures.difference import difference_map, map_svg

    record = dataclasses.replace(large(), positions=tuple(f"layer {p // 4}, {'qkvo'[p % 4]}_proj" for p in range(128)))
    people = tuple(Sharer(id=f"s{s:03d}", items=9, cluster=s % 7) for s in range(100))
    began = time.process_time()
    assembly_map(record, people).to_json()
    difference_map(record.weights, record.without_item(0), record.positions, people).to_json()
    map_svg(record, people, "A title")
    assert time.process_time() - began < 4
    assert Person("own", "You", "LaMP_4", record).assembly.fingerprint == record.fingerprint


# ---- write with this model -------------------------------------------------------------------------------------------


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
