"""Sharers and Results in a real browser: a star, a lasso, a cell, and that both pages fit the screen."""

import pytest
from driver import ROOT, address, wait_until

pytestmark = pytest.mark.browser

measured = pytest.mark.skipif(
    not (ROOT / "results" / "quality" / "table1.json").exists(),
    reason="results/quality/table1.json is not there: nothing has been measured.",
)
PAGES = {"sharers": "Sharers", "results": "Results"}
FILLED = {"sharers": ".st-key-townbox .js-plotly-plot", "results": ".pp-results"}

# Where every star of the map stands on the screen, from plotly's own axes: [x, y] each, in pixels.
STARS = """() => { const plot = document.querySelector('.st-key-townbox .js-plotly-plot');
  const full = plot._fullLayout, box = plot.getBoundingClientRect(), found = [];
  for (const trace of plot._fullData) if (trace.customdata) trace.customdata.forEach((data, i) => {
    if (data[0] >= 0) found.push([box.left + full.xaxis._offset + full.xaxis.l2p(trace.x[i]),
                                  box.top + full.yaxis._offset + full.yaxis.l2p(trace.y[i])]); });
  return found }"""


def steady_stars(tab):
    """The stars once the map has been drawn for good."""
    tab.wait_for_function("() => document.querySelector('.st-key-townbox .js-plotly-plot')?._fullData?.length")
    places = [tab.evaluate(STARS)]

    def stays() -> bool:
        tab.wait_for_timeout(700)
        places.append(tab.evaluate(STARS))
        return bool(places[-1]) and places[-1] == places[-2]

    wait_until(stays)
    return places[-1]


def test_a_star_opens_its_card_and_makes_a_link(studio, open_tab):
    tab = open_tab(studio.url + "/sharers")
    card = tab.locator("h2.pp-sharer")
    before = card.inner_text()
    stars = steady_stars(tab)
    x, y = min(stars, key=lambda at: at[1])  # free of others' marks above it
    tab.mouse.move(x - 2, y)
    tab.mouse.move(x, y)
    tab.locator(".st-key-townbox .hovertext").first.wait_for()  # plotly presses what it hovers over
    tab.mouse.click(x, y)
    wait_until(lambda: "star=" in address(tab), 90)
    wait_until(lambda: card.inner_text() != before)  # at least the tag of the strongest sharer is gone
    other = open_tab(address(tab))
    other.locator("h2.pp-sharer").wait_for()
    assert other.locator("h2.pp-sharer").inner_text() == card.inner_text()


def test_stars_drawn_around_are_picked_and_assembled_with(studio, open_tab):
    tab = open_tab(studio.url + "/sharers")
    tab.get_by_role("radio", name="Draw around stars").click()
    tab.wait_for_function(
        "() => document.querySelector('.st-key-townbox .js-plotly-plot')?._fullLayout?.dragmode === 'lasso'"
    )
    stars = steady_stars(tab)
    plot = tab.locator(FILLED["sharers"]).bounding_box()
    right = sorted(x for x, _ in stars)[len(stars) // 2] + 3
    corners = [(plot["x"] + 12, plot["y"] + 12), (right, plot["y"] + 12), (right, plot["y"] + 470)]
    corners += [(plot["x"] + 12, plot["y"] + 470), (plot["x"] + 12, plot["y"] + 14)]
    tab.mouse.move(*corners[0])
    tab.mouse.down()
    for corner in corners[1:]:
        tab.mouse.move(*corner, steps=8)
    tab.mouse.up()
    wait_until(lambda: "only=" in address(tab), 90)
    count = len(address(tab).split("only=")[1].split("&")[0].replace("%2C", ",").split(","))
    assert 0 < count < len(stars)
    tab.get_by_role("button", name=f"Reassemble with only these {count}").click()
    tab.get_by_text(f"with {count} only", exact=True).wait_for(timeout=120_000)
    tab.get_by_text("assembled here on").first.wait_for()


@measured
def test_a_cell_of_the_table_opens_what_lies_behind_it(studio, open_tab):
    tab = open_tab(studio.url + "/results")
    behind = tab.get_by_role("heading", name="Behind the number")
    behind.wait_for()
    before = behind.inner_text()
    name = tab.locator('.pp-results button[aria-pressed="false"]').first.get_attribute("data-cell")
    cell = tab.locator(f'.pp-results button[data-cell="{name}"]')

    def opened() -> bool:  # pressed again: what listens to presses is loaded after the table is there
        cell.click()
        tab.wait_for_timeout(3000)
        return cell.get_attribute("aria-pressed") == "true"

    wait_until(opened, 90)
    wait_until(lambda: "result=" in address(tab), 90)
    wait_until(lambda: behind.inner_text() != before, 90)
    title = behind.inner_text()
    other = open_tab(address(tab))
    wait_until(lambda: other.get_by_role("heading", name="Behind the number").inner_text() == title, 90)
