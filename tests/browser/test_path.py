"""The visitor's path in a real browser: paste, see the map, write, compare, take the file home; and a reload."""

import json
from pathlib import Path

import pytest
from test_studio import FILLED

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


def test_a_stranger_goes_from_pasted_text_to_a_file_in_seven_clicks(studio, open_tab):
    tab = open_tab(studio.url)
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
        click(tab.locator(".st-key-save button").first)
    saved = json.loads(Path(waiting.value.path()).read_text())
    assert "harbour" not in json.dumps(saved)
    assert len(clicks) <= MOST_CLICKS


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
