"""The PEFT-U part of Results, drawn from a made-up result."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from perpcs.evaluate.findings import KIND, read_finding
from perpcs.figures import peftu as figures
from perpcs.schema import PIECE_KINDS
from perpcs.ui import engine
from perpcs.ui.peftu import facts_html, read_cells, table_html, verdict_html

PEOPLE = {
    "zero-shot": (0.2, 0.3, 0.4),
    "prior": (0.4, 0.5, 0.6),
    "lora": (0.5, 0.5, 0.8),
    "wrong:lora": (0.3, 0.6, 0.3),
    "newton:lora": (0.6, 0.6, 0.5),
}
BYTES = {"zero-shot": 0, "prior": 6, "lora": 1000, "newton:lora": 100}


def value(mean, wide=0.1):
    return {"mean": mean, "low": mean - wide, "high": mean + wide, "n_users": 3}


def result():
    methods = {}
    for name, people in PEOPLE.items():
        mean = sum(people) / 3
        methods[name] = {
            "accuracy": value(mean),
            "nats": value(2 - mean),
            "kept_bytes": BYTES.get(name, 1000),
            "people": [{"accuracy": one, "nats": 2 - one} for one in people],
        }
        if name == "lora":
            methods[name] |= {"minus_zero_shot": {"accuracy": value(0.3)}, "minus_wrong": {"accuracy": value(0.05)}}
    task = {"title": "A <task>", "people": 3, "texts": {"train": 9, "test": 2}, "metric": "m", "methods": methods}
    return {
        "kind": KIND,
        "experiment": "peftu",
        "command": "perpcs experiment peftu",
        "settings": {"first_layer": 24},
        "published": {"base_model": "flan-t5-base", "accuracy": {"adapter": 0.644}},
        "tasks": {"smalltown": task},
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "peftu.json").write_text(json.dumps(result()))
    monkeypatch.setattr(engine, "RESULTS", tmp_path)
    return tmp_path


def test_cells_are_read_and_what_is_no_number_is_left_out():
    task = result()["tasks"]["smalltown"]
    task["methods"]["lora"]["nats"] = "low"
    task["methods"]["odd"] = {"accuracy": 3}
    cells = read_cells(task)
    assert set(cells) == set(PEOPLE)
    assert "nats" not in cells["lora"].values
    assert cells["lora"].people["accuracy"] == PEOPLE["lora"]
    assert cells["lora"].minus["zero-shot"].low == pytest.approx(0.2)


def test_the_front_joins_what_nothing_beats_in_both():
    cells = list(read_cells(result()["tasks"]["smalltown"]).values())
    shown = [one for one in cells if not one.name.startswith("wrong:")]
    kept = [one.name for one in figures.front(shown, "kept_bytes", "accuracy")]
    assert kept == ["zero-shot", "prior", "newton:lora", "lora"]
    assert [one.name for one in figures.front(shown, "nats", "accuracy")] == ["lora"]
    figure = figures.front_figure(tuple(shown), "kept_bytes", "accuracy")
    assert figure.layout.xaxis.type == "log"
    assert all(trace.x[0] > 0 for trace in figure.data)  # 0 bytes has a place on a logarithmic axis


def test_titles_say_whose_module_it_is():
    assert figures.title_of("wrong:lora-matched") == "LoRA (matched size), another person’s"
    assert (
        figures.title_of("newton:prefix-matched") == "Assembled, Newton weights, of Prefix tuning (matched size) pieces"
    )
    cells = read_cells(result()["tasks"]["smalltown"])
    said = figures.spread_title(cells["newton:lora"], cells["wrong:lora"], "accuracy")
    assert said.endswith("for 2 of 3 people")


def test_the_page_says_where_a_module_does_not_help_and_why():
    task = result()["tasks"]["smalltown"]
    html = verdict_html(read_cells(task))
    assert "Significantly better than the base model in accuracy: LoRA." in html
    assert "Not significantly better than another person’s module: LoRA." in html
    assert "reaches 0.500" in html
    task["methods"]["zero-shot"]["accuracy"] = value(0.49)
    assert "little room to improve" in verdict_html(read_cells(task))
    assert not verdict_html({})


def test_the_table_is_bold_where_the_interval_excludes_zero(folder):
    task = result()["tasks"]["smalltown"]
    html = table_html(task, read_cells(task))
    assert "<b>+0.300</b>" in html
    assert "<b>+0.050</b>" not in html
    assert "A &lt;task&gt;" in html
    facts = facts_html(read_finding(folder, "peftu"), task)
    assert "published" in facts
    assert "0.644" in facts


def test_the_page_has_the_part_and_two_choices_of_measure(folder):
    def page():
        from perpcs.ui.peftu import peftu_panel

        peftu_panel()

    app = AppTest.from_function(page, default_timeout=60).run()
    assert not app.exception
    assert any("no method beats" in one.proto.body for one in app.get("html"))
    app.selectbox(key="peftu-x").select("accuracy").run()
    assert any("two different measures" in one.proto.body for one in app.get("html"))


def test_every_method_that_is_trained_has_a_place():
    from perpcs.peftu.modules import METHODS

    assert set(figures.KINDS) == set(METHODS)
    for kind in METHODS:
        assert any(kind in there for _, there in figures.PLACES)
        assert figures.TITLES[kind] == METHODS[kind].title
    html = figures.layer_html()
    assert html.count("<li>") == sum(len(there) for _, there in figures.PLACES)
    assert html.count("data-whole") == sum(kind not in PIECE_KINDS for _, there in figures.PLACES for kind in there)


def test_no_result_no_part(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "RESULTS", tmp_path)

    def page():
        from perpcs.ui.peftu import peftu_panel

        peftu_panel()

    app = AppTest.from_function(page, default_timeout=60).run()
    assert not app.exception
    assert not app.get("html")


def test_six_readers_of_one_text_stand_side_by_side():
    labels, rows = (
        ("bad", "fair", "good"),
        [("Goes by <price>.", (0.7, 0.2, 0.1), "bad"), ("Fair.", (0.1, 0.2, 0.7), "")],
    )
    html = figures.readers_html(labels, rows)
    assert "<b>70%</b> ✓" in html
    assert "Goes by &lt;price&gt;." in html
    assert html.count("✓") == 2  # the legend's and one row's
    assert figures.readers_takeaway(labels, [probs for _, probs, _ in rows]) == (
        "Same text, 2 readers: 1 say bad, 1 say good"
    )
