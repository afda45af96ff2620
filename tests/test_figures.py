"""Figures show what the record holds: nothing lost, nothing made up, each mark traceable to its piece.

Of the Results page: who is beaten by nobody, what titles say, points with their intervals.
"""

import csv
import dataclasses
import io
import re
from itertools import pairwise

import numpy as np
import pytest
from fakes import SHARERS, TERMS, FakeEngine
from helpers import band, contrast

from perpcs.figures import style
from perpcs.figures.answers import diff_html, label_bars, label_takeaway, shared_words, shown_labels, word_diff
from perpcs.figures.assembly_map import assembly_map, live_map, map_csv
from perpcs.figures.columns import (
    SORTS,
    cluster_words,
    clusters_in_order,
    column_order,
    largest_piece,
    modules_of,
    piece_facts,
    row_ticks,
    rows_of,
    selected_pieces,
    short_label,
    short_names,
    split_label,
    takeaway,
    weight_equation,
)
from perpcs.figures.results import (
    Line,
    Point,
    bands_figure,
    brief_name,
    cost_figure,
    front,
    history_title,
    method_name,
    pareto_figure,
    pareto_title,
    storage_title,
    time_title,
)
from perpcs.figures.story import SIDE, STEPS, Story, explanation, size_html, story_html
from perpcs.figures.style import (
    METHOD_COLOURS,
    MUTED,
    PAPER,
    bytes_text,
    mark_size,
    method_colour,
    ratio_text,
    row_height,
    seconds_text,
    signed_scale,
    weight_colour,
    weight_scale,
)

# ---- an assembly -----------------------------------------------------------------------------------------------------


ENGINE = FakeEngine()
TASK = "LaMP_4"
ASSEMBLY = ENGINE.stored.assembly(TASK, "bruno")
PEOPLE = ENGINE.pool.sharers(TASK)


def cells(figure):
    """The two traces of the map: (not selected, selected)."""
    return [trace for trace in figure.data if trace.type.startswith("scatter") and trace.customdata is not None]


# ---- the map --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", list(SORTS))
@pytest.mark.parametrize("module", [None, "v_proj"])
def test_every_piece_is_on_the_map_exactly_once(sort, module):
    rows = rows_of(ASSEMBLY.positions, module)
    empty, full = cells(assembly_map(ASSEMBLY, PEOPLE, sort=sort, module=module))
    seen = [(row[0], row[1]) for trace in (empty, full) for row in trace.customdata]
    assert len(seen) == len(set(seen)) == len(rows) * SHARERS
    assert {p for p, _ in seen} == set(rows)


def test_not_selected_is_another_mark_than_a_weight_of_zero():
    weights = ASSEMBLY.weights.copy()
    p, s = largest_piece(ASSEMBLY)
    weights[p, s] = 0.0  # chosen by items, but its mean rounds to 0
    zeroed = type(ASSEMBLY)(**{**ASSEMBLY.__dict__, "weights": weights})
    empty, full = cells(assembly_map(zeroed, PEOPLE))
    assert (p, s) in {(row[0], row[1]) for row in full.customdata}
    assert empty.marker.symbol != full.marker.symbol
    assert empty.marker.size < full.marker.size


def test_a_mark_carries_the_numbers_of_its_piece():
    _, full = cells(assembly_map(ASSEMBLY, PEOPLE))
    for row, colour in zip(full.customdata, full.marker.color, strict=True):
        facts = piece_facts(ASSEMBLY, row[0], row[1])
        assert colour == pytest.approx(facts.weight)
        assert list(row[2:4]) == [facts.label, facts.sharer_name]
        assert row[5] == facts.score_rank
        assert row[6] == f"{facts.score:.3f}"
        assert f"{facts.weight:.3f}" in row[7]


def test_the_clicked_piece_is_marked_where_it_stands():
    p, s = 6, 11
    figure = assembly_map(ASSEMBLY, PEOPLE, sort="id", module="v_proj", chosen=(p, s))
    mark = next(trace for trace in figure.data if trace.name == "clicked")
    rows, columns = rows_of(ASSEMBLY.positions, "v_proj"), column_order(ASSEMBLY.weights, PEOPLE, "id")
    assert (rows[mark.y[0]], columns[mark.x[0]]) == (p, s)
    hidden = assembly_map(ASSEMBLY, PEOPLE, module="q_proj", chosen=(p, s))
    assert not [trace for trace in hidden.data if trace.name == "clicked"]


def test_selecting_a_mark_does_not_fade_the_others():
    for trace in cells(assembly_map(ASSEMBLY, PEOPLE)):
        assert trace.unselected.marker.opacity == 1


def test_totals_over_the_columns_are_the_shares_shown_and_sum_to_100():
    figure = assembly_map(ASSEMBLY, PEOPLE, sort="total", module="k_proj")
    totals = next(trace for trace in figure.data if trace.name == "total")
    assert sum(totals.y) == pytest.approx(100, abs=1e-3)
    assert list(totals.y) == sorted(totals.y, reverse=True)  # "total" sorts by what is shown, not by all modules


def test_the_csv_holds_every_piece_with_its_stored_weight():
    rows = list(csv.DictReader(io.StringIO(map_csv(ASSEMBLY, PEOPLE))))
    assert len(rows) == ASSEMBLY.weights.size
    for row in rows[::37]:
        p = ASSEMBLY.positions.index(f"layer {row['layer']}, {row['module']}")
        s = ASSEMBLY.sharers.index(row["sharer"])
        assert float(row["weight"]) == pytest.approx(float(ASSEMBLY.weights[p, s]), rel=1e-5)
        assert int(row["items_that_chose_it"]) == len(piece_facts(ASSEMBLY, p, s).voters)


def test_the_takeaway_says_how_many_of_how_many():
    text = takeaway(ASSEMBLY, "Bruno")
    assert text.startswith(f"Bruno’s model uses {ASSEMBLY.distinct_sharers()} of {SHARERS} sharers")
    assert takeaway(ASSEMBLY, "You").startswith("Your model uses")


# ---- order ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", list(SORTS))
def test_an_order_is_a_permutation(sort):
    assert sorted(column_order(ASSEMBLY.weights, PEOPLE, sort)) == list(range(SHARERS))


def test_clusters_stand_together():
    runs = clusters_in_order(column_order(ASSEMBLY.weights, PEOPLE, "cluster"), PEOPLE)
    assert [cluster for cluster, _, _ in runs] == sorted({sharer.cluster for sharer in PEOPLE})
    assert sum(last - first + 1 for _, first, last in runs) == SHARERS


def test_labels_of_positions():
    assert split_label("layer 12, v_proj") == (12, "v_proj")
    assert short_label("layer 12, v_proj") == "12 v"
    assert modules_of(ASSEMBLY.positions) == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert rows_of(ASSEMBLY.positions, "o_proj") == [3, 7, 11, 15, 19, 23]


def test_ids_lose_only_what_all_share():
    assert short_names(["t7-LaMP_4-candidate-00002", "t7-LaMP_4-candidate-00013"]) == ["00002", "00013"]
    assert short_names(["s001", "s002"]) == ["s001", "s002"]  # nothing to cut at
    assert short_names(["ann"]) == ["ann"]
    assert short_names(["a-1", "b-1"]) == ["a-1", "b-1"]


def test_clusters_get_different_words():
    people = [dataclasses.replace(p, terms=("town", TERMS[p.cluster][0] + "'")) for p in PEOPLE]
    words = cluster_words(column_order(ASSEMBLY.weights, people, "cluster"), people)
    assert len(set(words.values())) == len(words) == 5
    assert "'" not in "".join(words.values())


def test_many_clusters_are_not_drawn_apart():
    alone = [dataclasses.replace(person, cluster=i) for i, person in enumerate(PEOPLE)]
    ticks = assembly_map(ASSEMBLY, alone, sort="cluster").layout.xaxis3.ticktext
    assert len(ticks) <= 10
    assert set(ticks) <= set(ASSEMBLY.sharers)
    words = assembly_map(ASSEMBLY, PEOPLE, sort="cluster").layout.xaxis3.ticktext
    assert set(words) == {terms[0] for terms in TERMS}


def test_many_marks_are_drawn_by_webgl_and_few_as_shapes(monkeypatch):
    assert {trace.type for trace in cells(assembly_map(ASSEMBLY, PEOPLE))} == {"scatter"}
    monkeypatch.setattr(style, "MOST_SHAPES", len(ASSEMBLY.positions) * SHARERS - 1)
    assert {trace.type for trace in cells(assembly_map(ASSEMBLY, PEOPLE))} == {"scattergl"}


# ---- one piece ------------------------------------------------------------------------------------------------------


def test_votes_of_a_piece_average_to_its_weight():
    for p, s in [(0, 0), largest_piece(ASSEMBLY), (23, 39), (7, 20)]:
        facts = piece_facts(ASSEMBLY, p, s)
        assert sum(voter.vote for voter in facts.voters) / facts.n_items == pytest.approx(facts.weight, abs=2e-4)
        assert [v.vote for v in facts.voters] == sorted((v.vote for v in facts.voters), reverse=True)
        assert facts.selected == bool(selected_pieces(ASSEMBLY)[p, s])


def test_the_equation_holds_the_numbers():
    facts = piece_facts(ASSEMBLY, *largest_piece(ASSEMBLY))
    text = weight_equation(facts, shown=2)
    assert f"{facts.weight:.3f}" in text
    assert f"{{{facts.n_items}}}" in text
    assert f"{facts.voters[1].vote:.2f}" in text
    rest = sum(voter.vote for voter in facts.voters[2:])
    assert f"{rest:.2f}_" in text


def test_a_piece_that_is_not_there_is_an_error():
    with pytest.raises(IndexError):
        piece_facts(ASSEMBLY, 24, 0)
    with pytest.raises(IndexError):
        piece_facts(ASSEMBLY, 0, -1)


def test_the_largest_piece_is_the_largest_of_the_rows_shown():
    rows = rows_of(ASSEMBLY.positions, "q_proj")
    p, s = largest_piece(ASSEMBLY, rows)
    assert p in rows
    assert ASSEMBLY.weights[p, s] == ASSEMBLY.weights[rows].max()


# ---- drawn as HTML --------------------------------------------------------------------------------------------------


def test_the_growing_map_shows_only_rows_that_were_reached():
    columns = column_order(ASSEMBLY.weights, PEOPLE, "cluster")
    for done in (0, 5, 24):
        html = live_map(ASSEMBLY.weights, columns, done=done)
        assert html.count("<i ") == int((ASSEMBLY.weights[:done] > 0).sum())
        assert html.count("pp-row") == 24


def test_a_weight_below_zero_has_another_shape_and_has_a_place_in_the_legend():
    weights = ASSEMBLY.weights.copy()
    p, s = np.argwhere(weights > 0)[0]
    columns = column_order(weights, PEOPLE, "cluster")
    assert "border-radius" not in live_map(weights, columns, done=24)
    weights[p, s] *= -1
    assert live_map(weights, columns, done=24).count("border-radius:50%") == 1
    for table, named in ((ASSEMBLY.weights, 0), (weights, 1)):
        figure = assembly_map(dataclasses.replace(ASSEMBLY, weights=table), PEOPLE)
        assert sum("negative" in (trace.name or "") for trace in figure.data if trace.showlegend) == named


def story(**changes) -> Story:
    example = ENGINE.pool.examples(TASK)[1]
    parts = {
        "name": "Bruno",
        "history": example.history,
        "assembly": ASSEMBLY,
        "sharers": PEOPLE,
        "user_bytes": 1920,
        "query": example.queries[0],
    }
    return Story(**{**parts, **changes})


def test_the_story_has_its_five_steps_and_one_in_front():
    assert story_html(story()).count('<li class="pp-step"') == len(STEPS)
    html = story_html(story(), step=2)
    assert html.count("pp-on") == 1
    assert html.count("pp-off") == 4


def test_the_story_shows_stored_answers_and_else_the_persons_own():
    told = story_html(story(answers=(("perpcs", "Per-Pcs", "BAKERY AHOY"),)))
    assert "BAKERY AHOY" in told
    assert "what Bruno wrote" not in told
    assert "what Bruno wrote" in story_html(story())


def test_a_persons_text_cannot_break_out_of_the_story():
    item = ENGINE.pool.examples(TASK)[1].history[0]
    evil = item.__class__(x="<img src=x onerror=alert(1)>", y="<script>alert(1)</script>")
    html = story_html(story(history=(evil,), name="<b>x"))
    assert "<script" not in html
    assert "<img" not in html
    assert "<b>x" not in html


def test_each_explanation_has_this_examples_numbers():
    texts = [explanation(story(), step) for step in range(len(STEPS))]
    assert str(ASSEMBLY.n_items) in texts[0]
    assert str(SHARERS) in texts[1]
    assert bytes_text(1920) in texts[3]


def test_areas_are_to_scale():
    html = size_html(1920, 147_456)
    small = SIDE * (1920 / 147_456) ** 0.5
    assert f"width:{SIDE:.1f}px" in html
    assert f"width:{small:.1f}px" in html


# ---- labels ---------------------------------------------------------------------------------------------------------

PROBABILITIES = {
    "base": ("Base model", {"comedy": 0.7, "action": 0.2, "classic": 0.1}),
    "perpcs": ("Per-Pcs", {"comedy": 0.1, "action": 0.1, "classic": 0.8}),
}


def test_the_true_label_is_always_shown():
    values = {method: row for method, (_, row) in PROBABILITIES.items()}
    assert shown_labels(values, None, 2) == ["classic", "comedy"]
    assert shown_labels(values, "action", 2) == ["classic", "action"]


def test_bars_are_the_probabilities_in_percent():
    figure = label_bars(PROBABILITIES, truth="classic")
    assert [trace.name for trace in figure.data] == ["Base model", "Per-Pcs"]
    names = list(figure.data[1].y)
    assert figure.data[1].x[names.index("<b>classic</b> ✓")] == pytest.approx(80)
    patterns = {trace.marker.pattern.shape for trace in figure.data}
    assert len(patterns) == 2  # told apart without colour


def test_the_takeaway_of_the_bars():
    assert "80 % from Per-Pcs" in label_takeaway(PROBABILITIES, "classic")
    assert label_takeaway(PROBABILITIES, None) == "Base model prefers “comedy” and Per-Pcs prefers “classic”"


# ---- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "truth", "same"),
    [
        ("Bread gone by nine", "Bread gone by nine", (4, 4)),
        ("BREAD gone", "bread gone by nine", (2, 4)),
        ("", "bread gone", (0, 2)),
        ("something else", "", (0, 0)),
        ("港 の 朝", "港 の 夜", (2, 3)),
        ("港の朝", "港の夜", (2, 3)),
        ("café!", "cafe\u0301 ?", (1, 1)),
        ("tea ☕!", "tea ☕", (2, 2)),
        ("?!", "?!", (2, 2)),
        ("Don't go", "don’t go", (1, 2)),
    ],
)
def test_shared_words(answer, truth, same):
    assert shared_words(answer, truth) == same


def test_the_diff_keeps_every_word_of_both():
    answer, truth = "The bakery sold out early, again", "Bakery sold out of bread again"
    parts = word_diff(answer, truth)
    ours = " ".join(part.text for part in parts if part.kind != "missing")
    assert ours.replace(" ", "").lower() == answer.replace(" ", "").lower()
    theirs = " ".join(part.text for part in parts if part.kind != "extra")
    assert theirs.replace(" ", "").lower() == truth.replace(" ", "").lower()


def test_the_diff_keeps_punctuation_where_it_stood():
    (part,) = word_diff("'totally dull': after 7 hours!", "'totally dull': after 7 hours!")
    assert part.text == "'totally dull': after 7 hours!"


def test_the_diff_of_unspaced_text_has_no_spaces():
    shown = re.sub("<[^>]*>", "", diff_html("港の朝", "港の夜"))
    assert shown == "港の朝夜"
    assert re.sub("<[^>]*>", "", diff_html("a b", "a c")) == "a b c"


def test_the_diff_escapes_html():
    assert "<script" not in diff_html("<script>alert(1)</script>", "x")


# ---- style ----------------------------------------------------------------------------------------------------------


def test_one_colour_per_method_and_variants_keep_it():
    assert len(set(METHOD_COLOURS.values())) == len(METHOD_COLOURS)
    assert method_colour("perpcs+rag") == method_colour("perpcs")
    assert method_colour("something new")


@pytest.mark.parametrize("dark", [False, True])
def test_more_weight_stands_out_more_from_the_background(dark):
    steps = [contrast(weight_colour(w, 1.0, dark), PAPER[dark]) for w in np.linspace(0, 1, 12)]
    assert steps == sorted(steps)
    assert steps[-1] / steps[0] > 4
    assert len(weight_scale(dark)) == 7
    assert contrast(MUTED[dark], PAPER[dark]) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_weights_below_0_have_a_hue_of_their_own_and_grow_away_from_the_background_too(dark):
    steps = [contrast(weight_colour(-w, 1.0, dark), PAPER[dark]) for w in np.linspace(0.05, 1, 12)]
    assert steps == sorted(steps)
    red, _, blue = map(int, re.findall(r"\d+", weight_colour(-0.5, 1.0, dark)))
    assert red > blue
    assert [place for place, _ in signed_scale(dark)] == sorted(place for place, _ in signed_scale(dark))


@pytest.mark.parametrize(("positions", "height"), [(8, 22), (30, 13), (64, 11), (120, 8)])
def test_the_names_of_rows_never_overlap(positions, height):
    labels = [f"layer {n}, v_proj" for n in range(positions)]
    assert row_height(positions) == height
    at, names = row_ticks(labels, range(positions), height)
    assert names == [f"{n} v" for n in at]
    assert all(height * (below - above) >= 11 for above, below in pairwise(at))
    assert len(at) == positions or height < 11


@pytest.mark.parametrize(("rows", "columns"), [(8, 5), (30, 40), (120, 40), (128, 100)])
def test_marks_do_not_cover_their_neighbours(rows, columns):
    size = mark_size(rows, columns)
    assert 4 <= size < min(row_height(rows), 700 / columns)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (960, "960 bytes"), (1920, "1.9 KB"), (14_200_000, "14.2 MB"), (350_000, "350 KB")],
)
def test_bytes(count, text):
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.412, "0.41 s"), (3.21, "3.2 s"), (42.4, "42 s"), (125, "2 min 5 s")]
)
def test_seconds(value, text):
    assert seconds_text(value) == text


def test_ratio():
    assert ratio_text(1920, 147_456) == "1/77"
    assert ratio_text(0, 5) == "–"


# ---- results ---------------------------------------------------------------------------------------------------------


def test_the_front_holds_who_is_beaten_by_nobody():
    points = [
        Point("base", 1.0, 0.9, 1.1, 0, 0.0),
        Point("perpcs:fit", 0.3, 0.2, 0.4, 1280, 4.0),
        Point("oppu", 0.35, 0.3, 0.4, 65536, 3.0),
        Point("rag", 0.5, 0.4, 0.6, 6000, 0.0),
    ]
    assert [point.method for point in front(points, "nll", "bytes")] == ["base", "perpcs:fit"]
    assert [point.method for point in front(points, "nll", "seconds")] == ["rag", "oppu", "perpcs:fit"]
    assert pareto_title(points, "nll", "seconds").endswith("better than RAG; OPPU or Per-Pcs (fit)")
    figure = pareto_figure(tuple(points), "nll", "bytes")
    assert {trace.name for trace in figure.data} >= {"Base model", "fit", "OPPU", "RAG"}
    assert all(x > 0 for trace in figure.data for x in trace.x), "0 has a place on a logarithmic axis"
    assert figure.layout.yaxis.autorange == "reversed", "upwards is better"


def test_storage_says_how_many_times():
    lines = [Line("perpcs", (1.0, 1000.0), (100.0, 2000.0)), Line("oppu", (1.0, 1000.0), (80.0, 80_000.0))]
    assert storage_title(lines) == "1,000 people take 2.0 KB with Per-Pcs and 80.0 KB with OPPU: 40 times as much"
    assert cost_figure(tuple(lines), "people", kind="bytes").layout.xaxis.type == "log"
    assert time_title([Line("oppu", (4.0, 64.0), (0.5, 6.5))]) == "64 history items take OPPU 6.5 s"
    near = cost_figure((Line("oppu", (4.0, 64.0), (0.5, 6.5)),), "items", kind="seconds")
    assert list(near.layout.yaxis.tickvals) == [0.5, 1.0, 2.0, 5.0]


def test_the_history_title_says_what_the_other_method_needs():
    fit = band("perpcs:fit", 0.4, 0.3, 0.2)
    assert "as well after 3 items as OPPU after 10" in history_title([fit, band("oppu", 0.9, 0.4, 0.1)])
    assert "better after 3 items than OPPU after 50" in history_title([fit, band("oppu", 0.9, 0.8, 0.41)])
    assert "grow" in history_title([fit])


def test_every_size_of_a_history_is_a_point_with_its_interval():
    figure = bands_figure((band("perpcs:fit", 0.4, 0.3, 0.2), band("wrong:perpcs:fit", 0.8, 0.9, 1.0)), "items")
    ours, control = figure.data
    assert list(ours.y) == [0.4, 0.3, 0.2]
    assert list(ours.error_y.array) == pytest.approx([0.2] * 3)
    assert list(ours.error_y.arrayminus) == pytest.approx([0.1] * 3)
    assert [row[0] for row in control.customdata] == ["3", "10", "50"]
    assert (ours.line.dash, control.line.dash) == ("solid", "dot")


def test_names_of_variants():
    assert method_name("perpcs:fit") == "Per-Pcs (fit)"
    assert method_name("wrong:perpcs:fit") == "Per-Pcs (fit), wrong user"
    assert method_name("retrieval:3") == "PEFT retrieval, top 3"
    assert method_name("perpcs+rag") == "Per-Pcs + Newton weights + RAG"
    assert method_name("perpcs:fit+own+rag") == "Per-Pcs (fit+own) + RAG"
    assert method_name("perpcs:newton") == method_name("perpcs") == "Per-Pcs + Newton weights"
    assert method_name("perpcs:paper") == "Per-Pcs (gates, as published)"
    assert [brief_name(name) for name in ("perpcs:gate", "wrong:perpcs", "perpcs:from_base", "oppu:best")] == [
        "distilled gates",
        "Newton weights, wrong user",
        "Newton from base",
        "OPPU, best",
    ]
