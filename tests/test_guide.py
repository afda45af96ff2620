"""Tours and presentation: every step can be reached by a link, by buttons in order, and left again."""

import re

import pytest
from helpers import ROOT, keys, link_of, open_page, press, shown, walk_tour

from perpcs.personalizers.methods import DEFAULT
from perpcs.serve.answer import Answer
from perpcs.ui.state import Studio, from_link, to_link
from perpcs.ui.tours import SCREENS, TOURS, current, start_tour

# ---- tours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page in TOURS if page != "share"])
def test_a_tour_is_walked_from_its_start_to_its_end(fake, page):
    """Share asks for more of the engine: tests/test_share_pages.py walks its tour."""
    walk_tour(page)


def test_a_link_opens_a_step_and_the_tour_can_be_skipped(fake):
    app = open_page("assemble", tour="assemble.3")
    assert TOURS["assemble"][2].title in shown(app)
    assert "Step 3 of" in shown(app)
    assert "Step 2 of" in shown(press(app, "tour-back"))
    assert "tour-next" not in keys(press(app, "tour-skip"))


def test_a_tour_of_another_page_is_not_drawn():
    assert current(Studio(tour="assemble.2"), "compare") is None
    assert current(Studio(tour="assemble.99"), "assemble") == len(TOURS["assemble"]) - 1
    assert current(Studio(tour="nowhere.1"), "nowhere") is None
    record = Studio()
    start_tour(record, "nowhere")
    assert record.tour == ""


@pytest.mark.parametrize("page", list(TOURS))
def test_targets_by_key_are_keys_of_the_program(page):
    code = "".join(path.read_text() for path in (ROOT / "perpcs" / "ui").glob("*.py"))
    for stop in TOURS[page]:
        for key in re.findall(r"st-key-([a-z]+(?:-[a-z]+)*)", stop.target):
            assert re.search(rf'key="{key}"|"{key}"', code), f"{page}: no widget has the key {key}"
        assert stop.text.endswith(".")
        assert stop.action.endswith(".")


# ---- presentation ---------------------------------------------------------------------------------------------------


def test_the_presentation_is_walked_from_its_start_to_its_end(fake):
    rows = {m: Answer(m, m, "a prompt", f"stored {m}", done=True, tokens=2) for m in DEFAULT}
    fake.stored.answered["LaMP_4", "ada", "q0"] = rows
    app = press(open_page(), "present-start")
    seen = []
    for number, screen in enumerate(SCREENS, start=1):
        assert app.session_state["studio"].present == screen.name
        text = shown(app)
        assert f"{number} of {len(SCREENS)}" in text
        assert "no one ahead of you" not in text  # no status line
        assert "source" not in {element.key for element in app.get("button_group")}  # no left side
        assert link_of(app)["present"] == screen.name
        seen.append(text)
        if number < len(SCREENS):
            press(app, "present-next")
    assert len(set(seen)) == len(SCREENS)
    assert "stored perpcs" in seen[-1]
    assert fake.calls == []
    assert "no one ahead of you" in shown(press(app, "present-end"))


@pytest.mark.parametrize(("page", "name"), [("", "claim"), ("assemble", "map"), ("compare", "question")])
def test_a_page_begins_at_its_own_first_screen(page, name):
    first = next(screen.name for screen in SCREENS if screen.page == (page or "overview"))
    assert first == name


def test_a_link_opens_a_screen(fake):
    assert "What if sharer" in shown(open_page("assemble", present="without"))
    assert from_link(to_link(Studio(present="without"))).present == "without"
