"""Every page as a projector and as a phone show it, light and dark: nothing overflows, all text can be read, and
axe-core finds nothing serious (names of controls, roles, contrast, structure).
"""

import re

import pytest
from driver import FILLED, ROOT, fits

pytestmark = pytest.mark.browser

PAGES = {
    **FILLED,
    "sharers": ".st-key-townbox .js-plotly-plot",
    "results": ".pp-results",
    "share": ".pp-steps",
    "method": ".pp-toy",
}
SERIOUS = ("serious", "critical")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", list(PAGES))
def test_every_page_fits_projector_and_phone(studio, open_tab, page, scheme):
    if page == "results" and not (ROOT / "results" / "quality" / "table1.json").exists():
        pytest.skip("results/quality/table1.json is not there: nothing has been measured.")
    tab = open_tab(f"{studio.url}/{page}", scheme=scheme)
    tab.locator(PAGES[page]).first.wait_for()
    fits(tab)  # the last look is a phone's
    assert tab.locator(".pp-results").evaluate_all(CUT) == 0, "a table of cards is wider than a phone"
    if scheme == "light":
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        found = axe.Axe().run(tab).response["violations"]
        assert [told(one) for one in found if one["impact"] in SERIOUS] == []
    charts = tab.locator(".js-plotly-plot")
    assert all(charts.nth(n).evaluate(SAID) for n in range(charts.count())), "a chart without a text alternative"


CUT = "tables => tables.filter(one => one.getBoundingClientRect().right > innerWidth).length"
SAID = "chart => Boolean(chart.closest('[aria-label], [role=img], [alt]') || chart.querySelector('[aria-label]'))"


def told(violation: dict) -> str:
    """A finding with the elements it is about."""
    nodes = [re.sub(r"\s+", " ", node["html"])[:160] for node in violation["nodes"][:4]]
    return f"{violation['id']} ({violation['impact']}, {len(violation['nodes'])}): {nodes}"
