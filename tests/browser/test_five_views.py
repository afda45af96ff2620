"""Under the map, the tour and the presentation in a real browser: tasks 5 to 7 of docs/NEWCOMER.md."""

import pytest
from driver import FILLED, POOR_CONTRAST, address, fits, overflow, press_until, small_texts, wait_until

pytestmark = pytest.mark.browser

READY = {
    "words": ".pp-tokens",
    "whatif": "[class*='st-key-diff-'] .js-plotly-plot, .st-key-view-whatif .pp-note",
    "numbers": ".st-key-strip .js-plotly-plot",
    "difference": ".st-key-pin",
}
NAMES = {"words": "Word by word", "whatif": "What if", "numbers": "In numbers", "difference": "Side by side"}


def open_view(tab, name: str) -> None:
    tab.locator(".st-key-view").get_by_role("radio", name=name).or_(
        tab.locator(".st-key-view").get_by_role("button", name=name)
    ).first.click()


def test_a_newcomer_looks_closer(studio, open_tab):
    tab = open_tab(studio.url + "/assemble")
    tab.locator(FILLED["assemble"]).wait_for()
    open_view(tab, "Word by word")
    tab.locator(READY["words"]).wait_for()
    assert tab.locator(".pp-words span").count() > 5
    open_view(tab, "What if")
    tab.locator(".st-key-whatif").wait_for()
    tab.locator(".st-key-whatif").get_by_text("without a sharer").click()
    tab.get_by_role("heading", name="Without ").first.wait_for()
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name="SVG of this difference").click()
    assert waiting.value.suggested_filename.endswith(".svg")
    wait_until(lambda: "view=whatif" in address(tab))


def test_two_people_are_laid_beside_each_other(studio, open_tab):
    tab = open_tab(studio.url + "/assemble?view=difference")
    tab.locator(READY["difference"]).get_by_role("button").click()
    people = tab.locator("[class*='st-key-example-'] label:has(input)")
    tab.get_by_role("button", name="Unpin").wait_for()
    people.last.click()
    tab.get_by_role("heading", name="of the mix").wait_for()
    tab.locator(".st-key-diff-pair .js-plotly-plot").wait_for()
    assert overflow(tab) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_fits_the_screen(studio, open_tab, scheme):
    tab = open_tab(studio.url + "/assemble", scheme=scheme)
    tab.locator(FILLED["assemble"]).wait_for()
    for view, name in NAMES.items():
        tab.set_viewport_size({"width": 1280, "height": 720})
        open_view(tab, name)
        tab.mouse.move(2, 2)  # a name under the pointer has Streamlit's own colour, 4.43:1
        tab.locator(READY[view]).first.wait_for()
        fits(tab)


def test_a_tour_dims_all_but_its_target_and_shows_the_way(studio, open_tab):
    tab = open_tab(studio.url + "/assemble?tour=assemble.3")
    tab.locator(FILLED["assemble"]).wait_for()
    card = tab.locator(".st-key-tour")
    card.wait_for()
    shadow = "() => getComputedStyle(document.querySelector('.st-key-mapbox')).boxShadow"
    assert "0px 0px 0px" in tab.evaluate(shadow)
    in_view = """() => { const box = document.querySelector('.st-key-mapbox').getBoundingClientRect();
        return box.top < innerHeight && box.bottom > 0 }"""
    wait_until(lambda: tab.evaluate(in_view))
    card.get_by_role("button", name="Next").click()
    tab.get_by_text("Step 4 of").wait_for()
    wait_until(lambda: "tour=assemble.4" in address(tab))
    assert tab.evaluate(shadow) == "none"
    card.get_by_role("button", name="Skip the tour").click()
    card.wait_for(state="detached")
    wait_until(lambda: "tour=" not in address(tab))


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 720, "dark"), (390, 844, "light")])
def test_the_presentation_is_walked_by_keyboard(studio, open_tab, width, height, scheme):
    tab = open_tab(studio.url + "/?present=1", width, height, scheme, ready=".st-key-present-bar")
    tab.locator(".st-key-present-bar").get_by_text("1 of ").wait_for()
    assert tab.locator(".st-key-masthead").count() == 0
    last = int(tab.locator(".st-key-present-bar").get_by_text("1 of ").inner_text().split()[-1])
    for number in range(2, last + 1):
        shown = tab.get_by_text(f"{number} of {last}")
        press_until(lambda: tab.keyboard.press("ArrowRight"), shown.count)
        assert overflow(tab) <= 0
        if width >= 1280:  # legible at three metres
            wait_until(lambda: not small_texts(tab, ".st-key-present", 19.9))
        wait_until(lambda: tab.evaluate(POOR_CONTRAST) == [])  # the steps that wait stay legible
    tab.keyboard.press("ArrowLeft")
    tab.get_by_text(f"{last - 1} of {last}").wait_for()
    wait_until(lambda: "present=question" in address(tab))
