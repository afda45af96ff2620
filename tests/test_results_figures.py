"""Figures of the Results page: who is beaten by nobody, what titles say, points with their intervals."""

import pytest

from perpcs.figures.results import (
    Band,
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
    assert {trace.name for trace in figure.data} >= {"Base model", "Per-Pcs (fit)", "OPPU", "RAG"}
    assert all(x > 0 for trace in figure.data for x in trace.x), "0 has a place on a logarithmic axis"
    assert figure.layout.yaxis.autorange == "reversed", "upwards is better"


def test_storage_says_how_many_times():
    lines = [Line("perpcs", (1.0, 1000.0), (100.0, 2000.0)), Line("oppu", (1.0, 1000.0), (80.0, 80_000.0))]
    assert storage_title(lines) == "1,000 people take 2.0 KB with Per-Pcs and 80.0 KB with OPPU: 40 times as much"
    assert cost_figure(tuple(lines), "people", kind="bytes").layout.xaxis.type == "log"
    assert time_title([Line("oppu", (4.0, 64.0), (0.5, 6.5))]) == "64 history items take OPPU 6.5 s"
    near = cost_figure((Line("oppu", (4.0, 64.0), (0.5, 6.5)),), "items", kind="seconds")
    assert list(near.layout.yaxis.tickvals) == [0.5, 1.0, 2.0, 5.0]


def band(method, *means):
    return Band(method, (3, 10, 50), means, tuple(m - 0.1 for m in means), tuple(m + 0.2 for m in means))


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
    assert [brief_name(name) for name in ("perpcs:gate", "wrong:perpcs", "oppu:best")] == [
        "distilled gates",
        "Newton weights, wrong user",
        "OPPU, best",
    ]
