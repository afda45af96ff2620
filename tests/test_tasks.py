"""Laws of the tasks: prompts hold what they should in its place, and what is written is read back."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpcs.errors import PerpcsError
from perpcs.tasks import TASKS, Item, Query, get_task
from perpcs.tasks.lamp import MOVIE_TAGS, NEWS_CATEGORIES

NAMES = tuple(TASKS)
LABELLED = tuple(name for name, task in TASKS.items() if task.labels and not task.history_instruction)
HEAD = "Just answer with the {} name without further explanation. "
WORDING = {
    "LaMP_1": 'For an author who has written the paper with the title "{}", which reference is related? '
    'Just answer with [1] or [2] without explanation. [1]: "On harbours" [2]: "On bridges"',
    "LaMP_2": "Which tag does this movie relate to among the following tags? "
    + HEAD.format("tag")
    + f"tags: [{', '.join(MOVIE_TAGS)}] description: {{}}",
    "LaMP_2N": "Which category does this article relate to among the following categories? "
    + HEAD.format("category")
    + f"categories: [{', '.join(NEWS_CATEGORIES)}] article: {{}}",
    "LaMP_3": "What is the score of the following review on a scale of 1 to 5? just answer with 1, 2, 3, 4, or 5 "
    "without further explanation. review: {}",
    "LaMP_4": "Generate a headline for the following article: {}",
    "LaMP_5": "Generate a title for the following abstract of a paper: {}",
    "LaMP_7": "Paraphrase the following text into tweet without any explanation before or after it: {}",
}
"""LaMP's own wording of a query."""

# Texts as people write them: any characters, no white space around, and words that stand in LaMP's wording.
plain = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='"'), min_size=1, max_size=30)
tricky = st.sampled_from(
    ["My review: it was long", "the article: boats return", "a description: none", "which reference is it?", "[1]: x"]
)
texts = (plain | tricky).map(str.strip).filter(bool)


# ---- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(x=texts)
def test_a_query_in_lamps_wording_is_read_whole(name, x):
    query = get_task(name).read_query(WORDING[name].format(x), gold="g", id="7")
    assert (query.x, query.gold, query.id) == (x, "g", "7")
    assert query.options == (("On harbours", "On bridges") if name == "LaMP_1" else ())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "LaMP_1"])
@settings(max_examples=60, deadline=None)
@given(x=texts)
def test_typed_text_in_no_wording_is_taken_whole(name, x):
    """Whatever stands inside it: nobody's first sentence is lost because they wrote "article: " in the second."""
    typed = f"It rained. {x}"
    assert get_task(name).read_query(typed).x == typed


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_query_is_an_error(name):
    for text in ("", "  \n"):
        with pytest.raises(PerpcsError):
            get_task(name).read_query(text)


def test_a_citation_query_needs_its_two_references():
    with pytest.raises(PerpcsError, match="two references"):
        get_task("LaMP_1").read_query(
            'the paper with the title "Boats", which reference is related? [1]: "On harbours"'
        )


def fields_of(task, x, y):
    """LaMP fields of an item as the released files hold them."""
    return {"id": "12", task.x_fields[0]: x, **({task.y_field: y} if task.y_field else {}), "date": "2020-01-01"}


def answer_of(task):
    return task.labels[1] if task.labels and not task.history_instruction else "Boats return"


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(x=texts)
def test_an_item_is_read_from_its_fields(name, x):
    task = get_task(name)
    item = task.read_item(fields_of(task, f" {x}\n", answer_of(task)))
    assert item == Item(x, answer_of(task) if task.y_field else None, "12")


def test_fields_that_are_there_are_joined_and_numbers_are_read():
    assert get_task("LaMP_1").read_item({"title": "T", "abstract": "A", "citation": "C"}).x == "T\nA"
    assert get_task("LaMP_1").read_item({"title": "T", "abstract": ""}) == Item("T")  # released profiles cite nothing
    assert get_task("LaMP_3").read_item({"text": "fine", "score": 4}).y == "4"


@pytest.mark.parametrize("name", NAMES)
def test_an_item_without_its_text_is_an_error_that_names_the_field(name):
    task = get_task(name)
    for value in ("", "   ", None):
        with pytest.raises(PerpcsError, match=task.x_fields[0]):
            task.read_item(fields_of(task, value, answer_of(task)))


@pytest.mark.parametrize("name", [name for name in NAMES if TASKS[name].y_field and name != "LaMP_1"])
def test_an_item_without_its_answer_is_an_error_that_names_the_field(name):
    task = get_task(name)
    for value in ("", "  ", None):
        with pytest.raises(PerpcsError, match=task.y_field):
            task.read_item(fields_of(task, "text", value))
    with pytest.raises(PerpcsError, match=task.y_field):
        task.read_item({task.x_fields[0]: "text"})


@pytest.mark.parametrize("name", LABELLED)
def test_labels_are_read_in_any_case_and_nothing_else_is(name):
    task = get_task(name)
    for label in task.labels:
        assert task.read_answer(f" {label.upper()} ") == label
    with pytest.raises(PerpcsError, match="not a label"):
        task.read_answer("no such label")
    assert len({label.lower() for label in task.labels}) == len(task.labels)


# ---- prompts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(x=texts)
def test_a_history_item_is_formatted_as_a_query_would_be(name, x):
    task = get_task(name)
    item = Item(x, answer_of(task) if task.y_field else None)
    prompt, target = task.pair(item)
    if item.y is None:
        assert prompt == f"### User Instruction:\n{task.text_instruction}\n{task.answer_label}"
        assert replace(task, text_instruction="").pair(item) == ("", x), "nothing stands before it, as in the paper"
        assert target == " " + x
    elif task.history_instruction:
        assert prompt.startswith(f"### User Instruction:\n{task.history_instruction}\n")
        assert target == " " + item.y
    else:
        assert prompt == task.prompt(Query(x))
        assert target == " " + item.y
        assert prompt.endswith(f"{task.input_label} {x} {task.answer_label}")


@pytest.mark.parametrize("name", NAMES)
def test_sections_stand_in_the_papers_order_and_empty_ones_are_left_out(name):
    task = get_task(name)
    y = answer_of(task) if task.y_field else None
    history, query = [Item("first text", y), Item("second text", y)], Query("the query", options=("One", "Two"))
    whole = task.prompt(query, history=history, profile="likes boats")
    order = [
        "### User Profile:\nlikes boats",
        "### User History:",
        "first text",
        "second text",
        "### User Instruction:",
    ]
    places = [whole.index(part) for part in [*order, task.instruction, "the query"]]
    assert places == sorted(places)
    bare = task.prompt(query)
    assert whole.endswith(bare)
    assert "Profile" not in bare
    assert "History" not in bare
    assert "[1] - One [2] - Two" in bare
    assert bare.endswith(task.answer_label)


@pytest.mark.parametrize("name", [name for name in NAMES if not TASKS[name].history_instruction])
def test_retrieved_history_stands_in_a_pairs_prompt_as_in_a_querys(name):
    task = get_task(name)
    if task.y_field is None:
        return
    item, shown = Item("new text", answer_of(task)), [Item("old text", answer_of(task))]
    prompt, _ = task.pair(item, history=shown, profile="p")
    assert prompt == task.prompt(Query("new text"), history=shown, profile="p")
    assert task.render_item(shown[0]) in prompt


@pytest.mark.parametrize("name", NAMES)
def test_a_rendered_item_is_one_line_with_text_and_answer(name):
    task = get_task(name)
    y = answer_of(task) if task.y_field else None
    line = task.render_item(Item("some text", y))
    assert "some text" in line
    assert "\n" not in line
    assert y is None or line.endswith(" " + y)


# ---- the table ------------------------------------------------------------------------------------------------------


def test_a_near_miss_names_the_task_that_was_meant():
    for wrong, meant in (("LaMP_44", "LaMP_4"), ("lamp_5", "LaMP_5"), ("LaMP-3", "LaMP_3")):
        with pytest.raises(PerpcsError, match=f"Did you mean {meant}"):
            get_task(wrong)
    with pytest.raises(PerpcsError, match="Known tasks: LaMP_1, LaMP_2") as caught:
        get_task("quux")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_whole(name):
    task = get_task(name)
    assert task.name == name
    assert bool(task.labels) == (task.kind != "text")
    assert task.metric in ("accuracy", "mae", "rouge-L")
    assert task.version >= 1
