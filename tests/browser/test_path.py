"""The visitor's path in a real browser: paste, see the map, write, compare, take the file home; and a reload."""

import json
from pathlib import Path

import pytest
from driver import FILLED, overflow

pytestmark = pytest.mark.browser

MOST_CLICKS = 7
OWN = """why the river bends
why the harbour sleeps
why the old bridge sings
why the market moves
why the baker rises early
why the ferry waits"""


def paste(tab) -> None:
    tab.get_by_label("Your past texts").or_(tab.locator(".st-key-history-box textarea, textarea")).first.fill(OWN)
    tab.keyboard.press("Control+Enter")


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 720, "light"), (390, 844, "dark")])
def test_a_stranger_goes_from_pasted_text_to_a_file_in_seven_clicks(studio, open_tab, width, height, scheme):
    tab = open_tab(studio.url, width, height, scheme)
    clicks = []

    def click(place) -> None:
        place.click()
        clicks.append(place)

    click(tab.get_by_role("button", name="Use my own text").or_(tab.get_by_role("link", name="Use my own text")).first)
    tab.locator("textarea").first.wait_for()
    paste(tab)
    click(tab.get_by_role("button", name="Assemble", exact=False).first)
    tab.get_by_role("heading", name="Your model uses").wait_for()
    tab.locator(FILLED["assemble"]).wait_for()
    box = tab.locator(".st-key-write-box")
    box.locator("textarea").fill("The council opens a new bridge over the harbour on Monday.")
    tab.keyboard.press("Control+Enter")
    click(box.get_by_role("button", name="Write"))
    box.locator(".pp-answer dl").first.wait_for()
    click(box.get_by_role("button", name="Compare more methods"))
    click(tab.locator(".st-key-ask button"))
    tab.locator(".pp-answer dl").first.wait_for()
    click(tab.get_by_role("link", name="Assemble", exact=True))
    tab.get_by_role("heading", name="Your model uses").wait_for()
    with tab.expect_download() as waiting:
        click(tab.locator(".st-key-save button").filter(visible=True).first)  # of the page left, one may stand hidden
    saved = json.loads(Path(waiting.value.path()).read_text())
    assert "harbour" not in json.dumps(saved)
    assert len(clicks) <= MOST_CLICKS
    assert overflow(tab) <= 0


def test_a_reload_finds_the_person_and_clearing_ends_that(studio, open_tab):
    tab = open_tab(studio.url + "/assemble?source=paste")
    tab.locator("textarea").first.wait_for()
    paste(tab)
    tab.get_by_role("button", name="Assemble", exact=False).first.click()
    tab.get_by_role("heading", name="Your model uses").wait_for()
    assert "river" not in tab.url
    tab.reload()
    tab.get_by_role("heading", name="Your model uses").wait_for()
    assert "river" in tab.locator("textarea").first.input_value()
    tab.get_by_role("button", name="Clear my data").click()
    tab.get_by_text("Cleared.").wait_for()
    tab.wait_for_function("() => !sessionStorage.getItem('perpcs-key')")
    tab.reload()
    tab.locator("textarea").first.wait_for()
    tab.wait_for_timeout(1500)
    assert tab.get_by_role("heading", name="Your model uses").count() == 0
    assert tab.locator("textarea").first.input_value() == ""


def test_the_run_says_what_it_costs_while_it_happens(studio, open_tab):
    tab = open_tab(studio.url + "/assemble")
    tab.locator(FILLED["assemble"]).wait_for()
    tab.locator(".st-key-watch button").click()
    line = tab.locator(".pp-live").first
    line.wait_for()
    said = line.inner_text()
    for part in ("tokens read", "OPPU", "RAG", "keeps"):
        assert part in said


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
def test_the_navigation_stays_in_reach_while_scrolling(studio, open_tab, width, height):
    tab = open_tab(studio.url + "/assemble", width, height)
    tab.locator(FILLED["assemble"]).wait_for()
    tab.get_by_role("heading", name="Piece:").scroll_into_view_if_needed()
    place = tab.get_by_role("link", name="Compare", exact=True).bounding_box()
    assert -4 < place["y"] < 200


def test_the_guide_closes_when_a_tour_begins(studio, open_tab):
    tab = open_tab(studio.url + "/assemble")
    tab.locator(FILLED["assemble"]).wait_for()
    tab.get_by_role("button", name="Guide").click()
    tab.locator(".st-key-tour-start button").click()
    tab.locator(".st-key-tour").wait_for()
    tab.locator(".st-key-tour-start button").wait_for(state="hidden")


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 720, "dark"), (390, 844, "light")])
def test_other_weights_answer_again_beside_the_old_answer(studio, open_tab, width, height, scheme):
    tab = open_tab(studio.url + "/assemble?view=whatif", width, height, scheme)
    tab.locator(".st-key-whatif").wait_for()
    tab.locator(".st-key-whatif").get_by_text("stronger or weaker").click()
    again = tab.locator(".pp-again").last
    again.get_by_text("With all weights times 1.5").wait_for()
    tab.get_by_text("Held-out answers (").wait_for()
    slider = tab.locator(".st-key-whatif-scale").get_by_role("slider")
    slider.focus()
    for _ in range(6):
        slider.press("ArrowLeft")
    tab.get_by_text("With all weights times 0", exact=True).first.wait_for()


def test_columns_are_named_and_the_rest_of_the_sharers_is_one_switch_away(studio, open_tab):
    tab = open_tab(studio.url + "/assemble")
    tab.locator(FILLED["assemble"]).wait_for()
    tab.locator(".pp-took").wait_for()
    tab.locator(".st-key-every-sharer label").click()
    tab.wait_for_function("() => location.href.includes('sharers=all')")
    drawn = "() => document.querySelector('.st-key-mapbox .js-plotly-plot')._fullLayout.xaxis3.ticktext.length === 5"
    tab.wait_for_function(drawn)
