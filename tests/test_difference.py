"""Figures of differences, words and layers show what they are given: nothing lost, nothing made up, no colour alone."""

import csv
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from fakes import SHARERS, FakeEngine
from helpers import contrast, luminance

from perpcs.assembly.explain import END, ItemTokens, TokenScores, changes
from perpcs.figures.answers import mean_score, strongest, token_html, tokens_csv, words_of
from perpcs.figures.assembly_map import Panel, strip, strip_csv
from perpcs.figures.columns import rows_of, selected_pieces
from perpcs.figures.difference import (
    difference_colour,
    difference_csv,
    difference_map,
    difference_svg,
    difference_takeaway,
    map_svg,
    pair_map,
)
from perpcs.figures.style import INK

ENGINE = FakeEngine()
ADA, CLEO = (ENGINE.stored.assembly("LaMP_4", id) for id in ("ada", "cleo"))
PEOPLE = ENGINE.pool.sharers("LaMP_4")
LABELS = ADA.positions
WORDS = TokenScores(
    "gate",
    False,
    (ItemTokens(0, (" Boats", " <b>", END), (0.9, -0.5, 0.1)), ItemTokens(3, (" boats", " Boats"), (0.2, 0.4))),
)


def drawn(figure):
    return next(trace for trace in figure.data if trace.name == "difference")


# ---- differences ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [None, "v_proj"])
def test_every_difference_is_drawn_once_and_points_the_right_way(module):
    trace = drawn(difference_map(ADA.weights, CLEO.weights, LABELS, PEOPLE, module=module))
    by = CLEO.weights - ADA.weights
    rows = rows_of(LABELS, module)
    seen = {(row[0], row[1]): symbol for row, symbol in zip(trace.customdata, trace.marker.symbol, strict=True)}
    assert len(seen) == len(trace.customdata)
    assert set(seen) == {(p, s) for p in rows for s in range(SHARERS) if abs(by[p, s]) >= 5e-4}
    assert all(symbol == ("triangle-up" if by[at] > 0 else "triangle-down") for at, symbol in seen.items())
    for row, colour in zip(trace.customdata, trace.marker.color, strict=True):
        assert colour == pytest.approx(float(by[row[0], row[1]]), abs=1e-6)
        assert tuple(row[4:6]) == (f"{ADA.weights[row[0], row[1]]:.3f}", f"{CLEO.weights[row[0], row[1]]:.3f}")


def test_the_scale_has_its_middle_at_no_difference():
    trace = drawn(difference_map(ADA.weights, CLEO.weights, LABELS, PEOPLE))
    assert trace.marker.cmin == -trace.marker.cmax
    for dark in (False, True):
        less, none, more = (difference_colour(value, 1, dark) for value in (-1, 0, 1))
        assert abs(luminance(less) - luminance(none)) > 0.1  # in grey, too
        assert abs(luminance(more) - luminance(none)) > 0.1
        assert less != more


def test_the_sentence_names_the_largest_change():
    largest = changes(ADA.weights, CLEO.weights, 1)[0]
    said = difference_takeaway(ADA.weights, CLEO.weights, LABELS, "sharer {}".format, "With others")
    assert said.startswith("With others, ")
    assert f"{LABELS[largest.position]}: sharer {largest.sharer} goes from {largest.before:.3f}" in said
    assert difference_takeaway(ADA.weights, ADA.weights, LABELS, str, "So") == "So, nothing changes"


def test_two_people_stand_on_one_scale():
    figure = pair_map(ADA.weights, CLEO.weights, LABELS, PEOPLE, ("Ada", "Cleo"))
    one, other = (trace for trace in figure.data if trace.type == "heatmap")
    assert (one.zmin, one.zmax) == (other.zmin, other.zmax)
    assert one.zmax == pytest.approx(max(ADA.weights.max(), CLEO.weights.max()))
    assert np.nansum(one.z) == pytest.approx(float(ADA.weights.sum()), rel=1e-5)
    assert np.nansum(other.z) == pytest.approx(float(CLEO.weights.sum()), rel=1e-5)
    assert len(drawn(figure).x) == len(drawn(difference_map(ADA.weights, CLEO.weights, LABELS, PEOPLE)).x)


def test_the_csv_of_a_difference_holds_every_piece():
    rows = list(csv.DictReader(io.StringIO(difference_csv(ADA.weights, CLEO.weights, LABELS, ADA.sharers))))
    assert len(rows) == ADA.weights.size
    assert sum(float(row["before"]) for row in rows) == pytest.approx(float(ADA.weights.sum()), rel=1e-4)
    assert sum(float(row["after"]) for row in rows) == pytest.approx(float(CLEO.weights.sum()), rel=1e-4)


# ---- vectors --------------------------------------------------------------------------------------------------------


def marks(svg: str, name: str) -> int:
    return len(ElementTree.fromstring(svg).findall(f"{{http://www.w3.org/2000/svg}}{name}"))


def test_the_svg_of_a_map_is_whole_and_has_a_mark_for_every_piece():
    svg = map_svg(ADA, PEOPLE, "Ada & <others>", module="v_proj")
    rows, picked = rows_of(LABELS, "v_proj"), selected_pieces(ADA)
    assert marks(svg, "circle") == int((~picked[rows]).sum())
    assert marks(svg, "rect") == int(picked[rows].sum()) + 1 + 5  # ground and scale
    assert "Ada &amp; &lt;others&gt;" in svg
    assert "script" not in svg


def test_the_svg_of_a_difference_has_a_triangle_for_every_difference():
    svg = difference_svg(ADA.weights, CLEO.weights, LABELS, PEOPLE, "A title")
    by = np.abs(CLEO.weights - ADA.weights)
    assert marks(svg, "path") == int((by >= by.max() / 1000).sum())


# ---- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_words_are_shaded_in_order_and_can_be_read(dark):
    html = token_html(WORDS, dark)
    word_of = r'<span class="(pp-\w+)( pp-strong)?" style="background:(rgb[^"]+)" title="([^"]+)">(.*?)</span>'
    words = re.findall(word_of, html)
    assert [word[4] for word in words] == [" Boats", " &lt;b&gt;", f"<i>{END}</i>", " boats", " Boats"]
    assert [word[3] for word in words] == ["+0.900", "-0.500", "+0.100", "+0.200", "+0.400"]
    assert mean_score(WORDS) == pytest.approx(0.22)
    assert [word[0] for word in words] == ["pp-fit", "pp-unfit", "pp-unfit", "pp-unfit", "pp-fit"]
    assert [bool(word[1]) for word in words] == [True, True, False, False, False]
    assert all(contrast(word[2], INK[dark]) >= 4.5 for word in words)
    assert "item 4" in html


def test_words_are_whole_and_their_scores_are_means():
    item = ItemTokens(0, ("How", " Bo", "ats", "!", " sink", END), (1.0, 0.2, 0.4, 0.6, -1.0, 5.0))
    words = words_of(item)
    assert [text for text, _ in words] == ["How", " Boats!", " sink", END]
    assert [score for _, score in words] == pytest.approx([1.0, 0.4, -1.0, 5.0])


def test_the_strongest_words_are_named_once_with_their_best_score():
    assert strongest(WORDS, 2) == [("Boats", 0.9), ("boats", 0.2)]
    assert END not in dict(strongest(WORDS, 9))
    rows = list(csv.DictReader(io.StringIO(tokens_csv(WORDS.items))))
    assert [(row["item"], row["place"], row["token"]) for row in rows[:2]] == [("1", "1", " Boats"), ("1", "2", " <b>")]


# ---- layers ---------------------------------------------------------------------------------------------------------


def test_the_strip_shows_every_position_and_the_means_of_layers():
    values = np.arange(len(LABELS), dtype=float)
    figure = strip([Panel("up", values), Panel("share, %", values / 2, 100)], LABELS)
    dots = [trace for trace in figure.data if trace.mode == "markers" and trace.xaxis == "x"]
    assert sorted(y for trace in dots for y in trace.y) == values.tolist()
    line = next(trace for trace in figure.data if trace.mode == "lines")
    assert list(line.y) == pytest.approx(values.reshape(6, 4).mean(axis=1))
    assert len({trace.marker.symbol for trace in dots}) == 4
    rows = list(csv.DictReader(io.StringIO(strip_csv([Panel("up", values)], LABELS))))
    assert [float(row["up"]) for row in rows] == values.tolist()
