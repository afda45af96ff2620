"""The studio in a real browser: from a pasted history to answers, and what a stranger must not run into."""

import json

import pytest
from driver import FILLED, POOR_CONTRAST, address, wait_until

pytestmark = pytest.mark.browser

SECRET = "Harbour shut by zebrafish"
PASTE = "\n".join(
    [
        f"The harbour was closed on Monday after a storm damaged two boats. => {SECRET}",
        "this line has no arrow",
        "The bakery in Mill Lane sold out of bread by nine in the morning. => Bread gone by nine",
        "The town council voted for a new budget on Tuesday after 14 meetings. => Budget passes at last",
    ]
)
PAGES = {"": "A language model of your own", "assemble": "Assemble", "compare": "Compare"}


def steady_cell(tab, row: int, column: int) -> tuple[float, float]:
    """Where a mark of the map stands once the map has been drawn for good: plotly draws more than once."""
    tab.wait_for_function("() => document.querySelector('.st-key-mapbox .js-plotly-plot')?._fullData?.length")
    places = [map_cell(tab, row, column)]

    def stays() -> bool:
        tab.wait_for_timeout(700)
        places.append(map_cell(tab, row, column))
        return places[-1] == places[-2]

    wait_until(stays)
    return places[-1]


def map_cell(tab, row: int, column: int) -> tuple[float, float]:
    """Where a mark of the map stands on the screen now, from plotly's own axes."""
    return tuple(
        tab.evaluate(
            """([row, column]) => { const plot = document.querySelector('.st-key-mapbox .js-plotly-plot');
            const full = plot._fullLayout, box = plot.getBoundingClientRect();
            const map = plot._fullData.find(trace => trace.customdata && trace.type !== 'bar');
            const x = full[map.xaxis.replace('x', 'xaxis')], y = full[map.yaxis.replace('y', 'yaxis')];
            return [box.left + x._offset + x.l2p(column), box.top + y._offset + y.l2p(row)] }""",
            [row, column],
        )
    )


def test_a_stranger_pastes_a_history_and_takes_their_model_home(studio, open_tab, tmp_path):
    tab = open_tab(studio.url)
    tab.get_by_role("button", name="Use my own text").click()
    text = tab.get_by_role("textbox", name="Your past items, one per line")
    text.fill(PASTE)
    text.press("Control+Enter")
    tab.get_by_text("3 items read, 1 row kept out.").wait_for()
    assert "Line 2" in tab.locator(".pp-bad").inner_text()

    tab.get_by_role("button", name="Assemble", exact=True).click()
    tab.locator(".pp-live").first.wait_for()  # seen while it happens
    tab.get_by_role("heading", name="Your model uses").wait_for()
    tab.locator(FILLED["assemble"]).wait_for()

    with tab.expect_download() as waiting:
        tab.get_by_role("button", name="Save (").click()
    saved = tmp_path / "me.json"
    waiting.value.save_as(saved)
    assert saved.stat().st_size < 300_000
    assert "zebrafish" not in saved.read_text()
    assert json.loads(saved.read_text())["kind"] == "perpcs-assembly"

    tab.get_by_role("link", name="Compare").click()
    question = tab.get_by_role("textbox", name="Article")
    question.fill("The council closed the harbour road on Friday after 3 warnings.")
    question.press("Control+Enter")
    ask = tab.get_by_role("button", name="Ask")
    wait_until(ask.is_enabled)
    ask.click()
    tab.get_by_text("whole answer").nth(2).wait_for()
    wait_until(lambda: tab.get_by_role("button", name="Stop").count() == 0, 90)
    assert tab.locator(".pp-answer").count() == 3
    assert tab.get_by_text("Prompt as sent").count() == 3
    assert "zebrafish" not in address(tab)
    assert "zebrafish" not in studio.log.read_text()

    again = open_tab(studio.url + "/assemble?source=saved")
    again.locator("input[type=file]").set_input_files(saved)
    again.get_by_role("heading", name="This model uses").wait_for()


def test_clicking_the_map_explains_the_piece_and_makes_a_link(studio, open_tab):
    tab = open_tab(studio.url + "/assemble")
    tab.locator(FILLED["assemble"]).wait_for()
    heading = tab.get_by_role("heading", name="Piece:")
    before = heading.inner_text()
    x, y = steady_cell(tab, 1, 0)
    tab.mouse.move(x - 1, y)
    tab.mouse.click(x, y)
    # For a moment the old panel, about to go, stands below the new one.
    wait_until(lambda: len(heading.all_inner_texts()) == 1 and heading.all_inner_texts() != [before])
    wait_until(lambda: "cell=" in tab.evaluate("() => location.href"))  # written when the run ends
    chosen, address = heading.inner_text(), tab.evaluate("() => location.href")
    tab.get_by_role("button", name="Link").click()
    wait_until(lambda: tab.get_by_test_id("stPopoverBody").locator("code").all_inner_texts() == [address])
    other = open_tab(address)
    other.get_by_role("heading", name="Piece:").wait_for()
    assert other.get_by_role("heading", name="Piece:").inner_text() == chosen


def test_watching_can_be_stopped_and_skipped(studio, open_tab):
    tab = open_tab(studio.url + "/assemble")
    tab.get_by_role("button", name="Watch it happen").click()
    tab.get_by_role("button", name="Stop").click()
    tab.get_by_text("Stopped. The previous result is kept.").wait_for()
    tab.get_by_text("precomputed", exact=True).first.wait_for()
    tab.get_by_role("button", name="Watch it happen").click()
    tab.get_by_role("button", name="Skip the animation").click()
    tab.get_by_text("assembled here on").wait_for()


def test_the_masthead_ends_at_the_right(studio, open_tab):
    tab = open_tab(studio.url + "/assemble")
    tab.locator(FILLED["assemble"]).wait_for()

    def right(sight):
        box = tab.locator(sight).bounding_box()
        return box["x"] + box["width"]

    wait_until(lambda: right(".st-key-masthead") - right(".st-key-link") < 60)


# One measurement of all: the page may still move between two, as what stands above the box is drawn.
ROWS_AND_REACH = """() => {
    const box = document.querySelector('.st-key-methods [role=group]');
    if (!box) return [0, 0];
    const sight = '.st-key-methods [data-testid="stMultiSelectTagsContainer"] [role=group] > *';
    const tags = [...document.querySelectorAll(sight)].map(tag => tag.getBoundingClientRect());
    const beyond = Math.max(...tags.map(tag => tag.bottom)) - box.getBoundingClientRect().bottom;
    return [new Set(tags.map(tag => tag.y)).size, beyond];
}"""


def test_chosen_methods_stand_within_their_box(studio, open_tab):
    tab = open_tab(studio.url + "/compare")
    tab.locator(FILLED["compare"]).first.wait_for()

    def stand_within():
        rows, beyond = tab.evaluate(ROWS_AND_REACH)
        return rows > 1 and beyond <= 0  # one row alone would show nothing of the wrapping

    wait_until(stand_within)


def test_the_contrast_check_can_fail(studio, open_tab):
    tab = open_tab(studio.url)
    tab.locator(".pp-lede").wait_for()
    tab.evaluate("() => { document.querySelector('.pp-lede').style.color = '#bbb' }")
    assert tab.evaluate(POOR_CONTRAST)


def test_pages_and_terms_are_reached_by_keyboard(studio, open_tab):
    tab = open_tab(studio.url)
    tab.locator(FILLED[""]).wait_for()
    for name in ("Assemble", "Compare"):
        tab.get_by_role("link", name=name, exact=True).wait_for()  # the page may be there before its navigation
    reached = []
    for _ in range(28):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("() => document.activeElement.innerText.trim().split('\\n').pop()"))
    for name in ("Assemble", "Compare", "base model", "Watch an example", "Use my own text", "Explain the method"):
        assert name in reached, reached
    tab.locator(".pp-term", has_text="base model").first.focus()
    shown = tab.evaluate("() => getComputedStyle(document.activeElement, '::after').content")
    assert "the same for everyone" in shown


@pytest.mark.parametrize("page", ["assemble", "compare"])
def test_a_deep_link_is_the_first_request_of_a_fresh_server(open_tab, serve, pool, page):
    fresh = serve(pool)
    tab = open_tab(f"{fresh.url}/{page}?sort=total")
    tab.get_by_role("heading", name=PAGES[page]).first.wait_for()
    tab.locator(FILLED[page]).first.wait_for()
    assert tab.locator(".st-key-masthead").count() == 1  # the shell ran, not the page alone
    assert "sort=total" in address(tab)
    assert "Traceback" not in fresh.log.read_text()


def test_the_overview_is_found_by_its_name_too(studio, open_tab):
    tab = open_tab(f"{studio.url}/overview")
    tab.locator(FILLED[""]).first.wait_for()
    assert tab.get_by_text("Page not found").count() == 0


def test_a_missing_pool_is_told_in_two_sentences(open_tab, serve, tmp_path):
    tab = open_tab(serve(tmp_path / "nowhere").url, ready=".pp-error")
    assert "There is no pool in" in tab.locator(".pp-error").inner_text()
    assert "Set PERPCS_POOL" in tab.locator(".pp-error").inner_text()
    assert "Traceback" not in tab.content()
