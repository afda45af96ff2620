"""Charts are drawn once: Streamlit hands every figure to plotly twice, and says the second time how wide it is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly
import pytest
from fakes import FakeEngine

from perpcs.figures.answers import label_bars
from perpcs.figures.assembly_map import Panel, assembly_map, strip
from perpcs.figures.difference import difference_map, pair_map
from perpcs.figures.model_card import curve_figure
from perpcs.ui.widgets import drawn_once

pytestmark = pytest.mark.browser

TASK = "LaMP_4"
ENGINE = FakeEngine()
ONE, OTHER = (ENGINE.stored.assembly(TASK, example.id) for example in ENGINE.pool.examples(TASK)[:2])
PEOPLE = ENGINE.pool.sharers(TASK)
FIGURES = {
    "map": lambda: assembly_map(ONE, PEOPLE, chosen=(0, 1)),
    "map of weights below 0": lambda: assembly_map(replace(ONE, weights=-ONE.weights), PEOPLE),
    "difference": lambda: difference_map(ONE.weights, OTHER.weights, ONE.positions, PEOPLE),
    "pair": lambda: pair_map(ONE.weights, OTHER.weights, ONE.positions, PEOPLE, ("a", "b")),
    "strip": lambda: strip([Panel("a", np.linspace(0, 1, len(ONE.positions)))], ONE.positions),
    "labels": lambda: label_bars({"base": ("Base model", {"drama": 0.4, "comedy": 0.6})}, truth="drama"),
    "curve": lambda: curve_figure({"all": ((1, 2.0), (2, 1.0))}),
}
TWICE = """async ({data, layout}) => {
  const place = document.body.appendChild(document.createElement('div'));
  const figure = () => JSON.parse(JSON.stringify({data, layout}));
  let {data: first, layout: by} = figure();
  await Plotly.newPlot(place, first, by);
  const computed = place.calcdata;
  let nodes = 0;
  const watch = new MutationObserver(changes => { nodes += changes.length; });
  watch.observe(place.querySelector('.main-svg .cartesianlayer'), { subtree: true, childList: true });
  ({data: first, layout: by} = figure());
  await Plotly.react(place, first, by);
  await new Promise(requestAnimationFrame);
  return [place.calcdata === computed, nodes];
}"""


@pytest.fixture(scope="module")
def plain_page(context):
    """A page with nothing but plotly."""
    tab = context.new_page()
    tab.goto("about:blank")
    tab.add_script_tag(path=Path(plotly.__file__).parent / "package_data" / "plotly.min.js")
    yield tab
    tab.close()


@pytest.mark.parametrize("name", list(FIGURES))
def test_a_figure_that_is_given_again_is_not_drawn_again(plain_page, name):
    figure = FIGURES[name]()
    before = plain_page.evaluate(TWICE, json.loads(figure.to_json()))
    assert before[0] is False, "the figure itself is computed again: what makes it last is not needed"
    kept, nodes = plain_page.evaluate(TWICE, json.loads(drawn_once(figure).to_json()))
    assert kept
    assert nodes == 0 or name == "labels"  # a range turned round, which is found out from the data, is drawn anew


def test_another_figure_in_its_place_is_drawn(plain_page):
    one, other = (drawn_once(strip([Panel("a", np.full(4, size))], ["0", "1", "2", "3"])) for size in (1.0, 2.0))
    assert one.layout.datarevision != other.layout.datarevision


def test_a_figure_that_is_kept_stays_the_same_when_it_is_shown_again():
    figure = drawn_once(FIGURES["strip"]())
    before = figure.to_json()
    assert drawn_once(figure).to_json() == before


def test_the_axes_look_as_before():
    plain, shown = FIGURES["strip"](), drawn_once(FIGURES["strip"]())
    wanted = plain.layout.template.layout.xaxis
    assert shown.layout.xaxis.tickfont == wanted.tickfont
    assert shown.layout.xaxis.title.font == wanted.title.font
    assert shown.layout.xaxis.title.text == plain.layout.xaxis.title.text
    assert shown.layout.template.layout.xaxis.tickfont.size is None
    assert shown.layout.xaxis.showline is False, "plotly draws the line of an axis that has a colour for it"


@pytest.mark.parametrize(("width", "page"), [(1280, "assemble"), (1111, "assemble"), (1280, "sharers")])
def test_a_chart_is_a_whole_number_of_pixels_wide(studio, open_tab, width, page):
    tab = open_tab(f"{studio.url}/{page}", width=width)
    chart = tab.locator(".js-plotly-plot").first
    chart.wait_for()
    wide = chart.evaluate("place => place.getBoundingClientRect().width")
    assert wide == int(wide) > 300
