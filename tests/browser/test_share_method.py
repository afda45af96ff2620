"""Sharing, the toy and the pool picker in a real browser."""

import pytest
from driver import address, start, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def sharing(tmp_path_factory, pool):
    """A server whose visitors' copies go to a folder of the test; (studio, folder)."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERPCS_SHARED", str(folder))
        running = start(folder / "log", pool)
    yield running, folder
    running.stop()


def test_share_stop_share_and_take_back(sharing, open_tab):
    studio, folder = sharing
    tab = open_tab(studio.url + "/share")
    tab.get_by_role("button", name="Fill in a sample").click()
    train = tab.get_by_role("button", name="Train my pieces").first  # the run before may leave its own for a moment
    wait_until(train.is_enabled)
    train.click()
    tab.get_by_role("button", name="Stop").click()
    tab.get_by_text("Stopped. Nothing was kept.").wait_for()

    wait_until(train.is_enabled)
    train.click()
    tab.get_by_role("button", name="Stop").wait_for()
    wait_until(lambda: "job=" in address(tab))
    tab.reload()  # a new session; the work goes on
    tab.get_by_role("heading", name="Your pieces are trained").wait_for(timeout=180_000)
    tab.get_by_role("link", name="Method").click()
    tab.locator(".pp-toy").wait_for()
    tab.get_by_role("link", name="Share", exact=True).click()
    tab.get_by_role("heading", name="Your pieces are trained").wait_for()

    tensors = tab.locator(".pp-tensors tbody tr")
    tensors.first.wait_for()  # the heading is there before its table
    every = tensors.count()
    tab.get_by_role("radio", name="A share of them").click()
    wait_until(lambda: 0 < tensors.count() < every)
    add = tab.get_by_role("button", name="Add to a copy of the pool")
    assert add.is_disabled()
    tab.get_by_text("I have seen what would be shared").click()
    wait_until(add.is_enabled)
    add.click()
    tab.get_by_role("heading", name="You are a sharer").wait_for(timeout=120_000)
    (copy,) = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]

    tab.get_by_role("button", name="Open this copy").click()
    tab.locator(".st-key-statusline").get_by_text(copy.name).wait_for()
    tab.get_by_role("link", name="Sharers", exact=True).click()  # a guest has a place on the map of their copy
    tab.locator(".st-key-townbox .js-plotly-plot").wait_for()
    assert tab.locator(".pp-error").count() == 0
    tab.get_by_role("link", name="Share", exact=True).click()
    tab.get_by_role("button", name="Take my pieces back").click()
    done = tab.get_by_text(f"is no longer in {copy.name}")
    done.wait_for(timeout=120_000)
    wait_until(lambda: 0 <= done.bounding_box()["y"] < 720)  # the confirmation is in sight
    assert "Traceback" not in studio.log.read_text()


def test_two_tabs_look_at_two_pools(sharing, open_tab, pool):
    studio, folder = sharing
    copies = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not copies:
        pytest.skip("the test before this one makes the copy")
    tab, other = open_tab(studio.url), open_tab(studio.url)
    tab.get_by_role("button", name="Pool").click()
    tab.get_by_role("radio", name=copies[0]).locator("xpath=ancestor::label").click()
    tab.locator(".st-key-statusline").get_by_text(copies[0]).wait_for()
    wait_until(lambda: f"pool={copies[0]}" in address(tab))
    assert copies[0] not in other.locator(".st-key-statusline").inner_text()
    tab.locator(".pp-story").wait_for()  # example people are there in the copy too


def test_the_toy_is_computed_again_and_symbols_light_up(sharing, open_tab):
    tab = open_tab(sharing[0].url + "/method")
    tab.locator(".pp-toy").wait_for()
    before = tab.locator(".pp-toy").inner_text()
    field = tab.get_by_role("spinbutton", name="x 1")
    field.fill("-2")
    field.press("Enter")
    wait_until(lambda: tab.locator(".pp-toy").inner_text() != before)
    assert "−2.000" in tab.locator(".pp-toy").inner_text()
    box = tab.locator(".pp-flow .pp-box.s-W")
    dark = box.evaluate("e => getComputedStyle(e).boxShadow")
    tab.locator(".pp-sym.s-W").first.hover()
    assert box.evaluate("e => getComputedStyle(e).boxShadow") != dark
    tab.locator(".pp-sym.s-x").first.focus()  # by keyboard too
    tab.mouse.move(0, 0)
    wait_until(lambda: box.evaluate("e => getComputedStyle(e).boxShadow") == dark)
