"""The model card: result files as rows, the training curve as a figure, the section on Overview."""

import csv
import dataclasses
import io
import json

import pytest
from fakes import FakeEngine
from helpers import contrast, open_page, shown

from perpcs.evaluate.findings import Measure, commands, evaluation, quality_rows, read_evaluations
from perpcs.figures import model_card as rows
from perpcs.figures.model_card import ALL, curve_csv, curve_figure, curve_lines, curve_title, line_colour
from perpcs.figures.style import METHOD_COLOURS, PAPER
from perpcs.ui import engine

HASH = FakeEngine().pool.hash
CURVE = [
    {"step": 200, "loss": 4.3, "held_out": 4.1, "groups": {"LaMP_4 bare": 4.0, "LaMP_4 1 item": 3.0, "LaMP_2 bare": 2}},
    {
        "step": 4000,
        "loss": 0.7,
        "held_out": 0.5,
        "groups": {"LaMP_4 bare": 0.6, "LaMP_4 1 item": 0.2, "LaMP_2 bare": 1},
    },
]
CARD = {
    "data": "A synthetic town & no real person.",
    "base": {
        "parameters": 4_196_608,
        "settings": {"width": 256, "layers": 4, "vocabulary": 3072, "max_tokens": 512},
        "lessons": 166_484,
        "padded_tokens_seen": 12_345_678,
        "curve": CURVE,
    },
    "limits": ["It knows the small town and nothing of the world.", "It copies <words> it has never seen."],
}


def cell(mean, people=20):
    return {"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "n_users": people}


def result(task="LaMP_4", metric="rouge-L", pool_hash=HASH, users=20, **changes):
    """What `perpcs evaluate` writes, with one number per method to tell them apart."""
    names = ("base", "rag", "perpcs:prototype", "wrong:perpcs:prototype", "perpcs:gate", "oppu", "wrong:oppu")
    made = {
        "kind": "perpcs-evaluation",
        "task": task,
        "pool_hash": pool_hash,
        "users": users,
        "queries": 12 * users,
        "settings": {"router": {"router": "prototype"}},
        "methods": {name: {metric: cell(0.1 * n), "nll": cell(1 + n)} for n, name in enumerate(names, start=1)},
        "references": {"oracle": {metric: cell(0.9)}},
        "examples": {},
    }
    return {**made, **changes}


def put(folder, **files):
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text)


# ---- result files ---------------------------------------------------------------------------------------------------


def test_rows_are_those_of_the_card_in_its_order():
    (one,) = [evaluation(result())]
    assert [row.kind for row in one.rows] == ["base", "rag", "perpcs", "wrong", "oppu", "oracle"]
    by_kind = {row.kind: row for row in one.rows}
    assert by_kind["perpcs"].metric.mean == pytest.approx(0.3)
    assert by_kind["perpcs"].nll == Measure(4.0, 3.95, 4.05, 20)
    assert by_kind["wrong"].metric.mean == pytest.approx(0.4)
    assert by_kind["oracle"].nll is None
    assert not any(row.variant for row in one.rows)


def test_a_variant_that_is_not_the_apps_is_named():
    methods = {"perpcs:gate": {"nll": cell(1)}, "wrong:perpcs:gate": {"nll": cell(2)}, "rag:4": {"nll": cell(3)}}
    found = {row.kind: row.variant for row in quality_rows("LaMP_4", methods, {})}
    assert found == {"rag": "4", "perpcs": "gate", "wrong": "gate"}


def test_only_files_of_this_pool_are_read(tmp_path):
    put(
        tmp_path,
        evaluate_LaMP_4=result(),
        evaluate_LaMP_2=result("LaMP_2", "accuracy", pool_hash="other"),
        evaluate_LaMP_3=result("LaMP_3", "mae"),
        routing=result("LaMP_5"),
    )
    found = read_evaluations(tmp_path, HASH)
    assert list(found) == ["LaMP_3", "LaMP_4"]
    assert found["LaMP_4"].file == "evaluate_LaMP_4.json"
    assert read_evaluations(tmp_path / "nowhere", HASH) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1, 2]",
        '"text"',
        "[" * 100_000,
        json.dumps(result(task="LaMP_99")),
        json.dumps(result(task=["LaMP_4"])),
        json.dumps(result(methods=[])),
        json.dumps(result(methods={"base": {"nll": "low"}}, references=None)),
        json.dumps(result(methods={"base": {"nll": cell(float("nan"))}}, references=None)),
        json.dumps(result(methods={"base": {"nll": cell(1, people=0)}}, references=None)),
        json.dumps(result(users="many")),
        json.dumps(result(queries=None)),
        json.dumps(result(methods={"base": {"nll": {**cell(1), "mean": 10**400}}}, references=7)),
    ],
)
def test_a_malformed_file_is_passed_over(tmp_path, text):
    put(tmp_path, evaluate_A=text, evaluate_B=result("LaMP_2", "accuracy"))
    assert list(read_evaluations(tmp_path, HASH)) == ["LaMP_2"]


def test_what_a_file_lacks_is_left_out():
    bare = {"methods": {"base": {"nll": cell(1)}}, "references": None, "settings": None}
    (row,) = evaluation(result(**bare)).rows
    assert (row.kind, row.metric) == ("base", None)


def test_more_people_count_more_and_a_changed_file_is_read_again(tmp_path):
    put(tmp_path, evaluate_a=result(users=40), evaluate_b=result(users=5))
    assert read_evaluations(tmp_path, HASH)["LaMP_4"].users == 40
    put(tmp_path, evaluate_a=result(users=100))
    assert read_evaluations(tmp_path, HASH)["LaMP_4"].users == 100


def test_commands_name_the_pool_where_it_is_not_the_shipped_one():
    assert commands("LaMP_2", town=True, shipped=True) == (
        "perpcs smalltown --seed 3 --users 20 --out build/town",
        "perpcs evaluate --task LaMP_2 --users build/town/LaMP_2/target_users.json"
        " --out results/quality/evaluate_LaMP_2.json",
    )
    (only,) = commands("LaMP_2", town=False, shipped=False)
    assert "--pool path/to/pool" in only


# ---- the curve ------------------------------------------------------------------------------------------------------


def test_a_line_per_task_from_its_bare_prompts():
    lines = curve_lines(CURVE)
    assert lines == {"News headlines": [(200, 4.0), (4000, 0.6)], "Movie tagging": [(200, 2.0), (4000, 1.0)]}
    assert curve_title(lines) == (
        "From step 200 to 4,000 the held-out loss fell for all 2 tasks and ended between 0.60 (news headlines) and "
        "1.00 (movie tagging) nats per target token"
    )


def test_a_curve_without_groups_is_one_line():
    lines = curve_lines([{"step": point["step"], "held_out": point["held_out"]} for point in CURVE])
    assert lines == {ALL: [(200, 4.1), (4000, 0.5)]}
    assert curve_title(lines) == "From step 200 to 4,000 the held-out loss fell from 4.10 to 0.50 nats per target token"


def test_a_loss_that_rises_is_said_to_rise():
    assert " rose from 1.00 to 2.00 " in curve_title({ALL: [(1, 1.0), (2, 2.0)]})
    assert "fell for 1 of 2 tasks" in curve_title({"A": [(1, 1.0), (2, 2.0)], "B": [(1, 1.0), (2, 0.5)]})
    assert "fell for 1 of 2 tasks" in curve_title({"A": [(1, 1.0), (2, 0.99)], "B": [(1, 1.0), (2, 0.5)]})
    assert curve_title({ALL: [(7, 1.0)]}) == "At step 7 the held-out loss is 1.00 nats per target token"


@pytest.mark.parametrize(
    "curve", [None, [], {}, "text", [1], [{}], [{"step": "x", "held_out": 1}], [{"step": 1, "held_out": float("nan")}]]
)
def test_no_curve_is_no_line(curve):
    assert curve_lines(curve) == {}
    assert curve_title({}) == ""


def test_the_figure_holds_the_lines_and_their_unit():
    lines = curve_lines(CURVE)
    figure = curve_figure(lines)
    assert {trace.name: list(zip(trace.x, trace.y, strict=True)) for trace in figure.data} == lines
    assert figure.layout.yaxis.title.text == "nats per target token"
    assert figure.layout.xaxis.title.text == "training step"
    assert len({(trace.line.dash, trace.marker.symbol) for trace in figure.data}) == 2
    read = list(csv.DictReader(io.StringIO(curve_csv(lines))))
    assert [(row["held_out"], int(row["step"]), float(row["nats_per_target_token"])) for row in read] == [
        (title, *point) for title, line in lines.items() for point in line
    ]


@pytest.mark.parametrize("dark", [False, True])
def test_lines_stand_out_and_take_no_methods_colour(dark):
    colours = [line_colour(index, dark) for index in range(7)]
    assert len(set(colours)) == 7
    assert all(contrast(colour, PAPER[dark]) >= 3 for colour in colours)
    assert not set(colours) & set(METHOD_COLOURS.values())


# ---- what the manifest says -----------------------------------------------------------------------------------------


def test_facts_are_those_of_the_card():
    manifest = dataclasses.replace(FakeEngine().pool.manifest, card=CARD, users={"base": {"LaMP_4": 2200}})
    assert rows.people_rows(manifest, {"LaMP_4": 6}) == [
        ("News headlines", "2,200", "120", "40", "6"),
        ("Movie tagging", "–", "120", "40", "–"),
    ]
    facts = {words: number for number, words in rows.base_facts(manifest)}
    assert (facts["parameters"], facts["layers"], facts["width"]) == ("4.2 M", "4", "256")
    assert facts["tokens in the vocabulary"] == "3,072"
    assert facts["training tokens, padding included"] == "12.3 M"
    pieces = rows.piece_facts_of(manifest, 14_200_000)
    assert ("8", "rank of a piece") in pieces
    assert ("14.2 MB", "the whole pool on disk") in pieces


def test_a_pool_from_data_tells_what_it_was_taken_from():
    base = {"from": "some/model", "adaptation": {"rank": 8, "epochs": 1}, "pairs": 30, "losses": [2.0, 1.5]}
    manifest = dataclasses.replace(FakeEngine().pool.manifest, card={"base": base})
    told = " ".join(rows.base_sentences(manifest))
    assert "Based on some/model." in told
    assert "one LoRA of rank 8 in 1 epoch, merged" in told
    assert "from 2.00 to 1.50" in told
    plain = dataclasses.replace(manifest, card={"base": {"from": "m", "pairs": 0, "losses": []}})
    assert "not adapted to the tasks" in " ".join(rows.base_sentences(plain))


def test_tasks_that_were_trained_otherwise_are_told_apart():
    manifest = FakeEngine().pool.manifest
    one, other = manifest.tasks
    same = {"pieces": {"epochs": 3, "rate": 0.002}, "gates": {"steps": 60}}
    alike = dataclasses.replace(
        manifest, tasks=tuple(dataclasses.replace(task, training=same) for task in (one, other))
    )
    assert rows.training_sentences(alike) == [
        "Trained per sharer with the base model frozen. Pieces: 3 epochs, learning rate 0.002. Gates: 60 steps."
    ]
    apart = dataclasses.replace(manifest, tasks=(dataclasses.replace(one, training=same), other))
    assert rows.training_sentences(apart) == ["News headlines: Pieces: 3 epochs, learning rate 0.002. Gates: 60 steps."]
    assert rows.training_sentences(manifest) == []
    distil = {**same, "distil": {"items": 8, "people": 200, "ridge": 0.3, "seed": 0}}
    (said,) = rows.training_sentences(dataclasses.replace(manifest, tasks=(dataclasses.replace(one, training=distil),)))
    assert said.endswith("each of at most 200 candidates who share nothing, ridge 0.3.")


LEARNED = {
    "people": 1195,
    "held_out": {"people": 22, "clusters": 23},
    "final": {
        "people": {"base": 0.6933, "own": 0.6291, "shuffled": None},
        "clusters": {"base": 0.7046, "own": 0.6731, "shuffled": 0.72},
    },
}
"""What a network's training says of one task."""


def with_hypernet(manifest, said):
    return dataclasses.replace(manifest, hypernet={"tasks": {manifest.tasks[0].task: said}})


def test_what_the_network_of_p2p_does_for_new_people_is_told():
    manifest = FakeEngine().pool.manifest
    assert rows.hypernet_rows(with_hypernet(manifest, LEARNED)) == [
        ("News headlines", "22 new people", "0.693", "0.629", "–"),
        ("News headlines", "23 from new clusters", "0.705", "0.673", "0.720"),
    ]
    assert rows.hypernet_sentence(with_hypernet(manifest, LEARNED)).startswith(
        "One network for all tasks, trained on 1195 other candidates"
    )
    assert rows.hypernet_rows(manifest) == []
    assert rows.hypernet_rows(with_hypernet(manifest, {"held_out": {"people": "many"}, "final": []})) == []


# ---- on Overview ----------------------------------------------------------------------------------------------------


def overview_of(made, monkeypatch, folder, pool_card):
    made.pool.manifest = dataclasses.replace(made.pool.manifest, card=pool_card)
    monkeypatch.setattr(engine, "RESULTS", folder)
    return open_page()


def test_the_card_with_quality(fake, monkeypatch, tmp_path):
    put(tmp_path, evaluate_LaMP_4=result(), evaluate_LaMP_2=result("LaMP_2", "accuracy"))
    app = overview_of(fake, monkeypatch, tmp_path, CARD)
    text = shown(app)
    for part in (
        "What this pool is",
        "A synthetic town &amp; no real person.",
        "It copies &lt;words&gt; it has never seen.",
        "CC0-1.0",
        "News headlines, n = 20 people, 240 queries from results/quality/evaluate_LaMP_4.json",
        "0.300 [0.250, 0.350]",
        "Per-Pcs, wrong user",
        "ended between 0.60 (news headlines)",
        "12.3 M",
    ):
        assert part in text, part
    assert "no evaluation of this pool" not in text
    assert "P2P’s network" not in text, "this pool has none"
    assert not app.get("plotly_chart")  # the page that everybody sees first loads no chart library
    app.session_state["curve-box"] = True
    assert len(app.run().get("plotly_chart")) == 1
    assert fake.calls == []


def test_the_card_shows_the_network_of_p2p(fake, monkeypatch, tmp_path):
    fake.pool.manifest = with_hypernet(fake.pool.manifest, LEARNED)
    text = shown(overview_of(fake, monkeypatch, tmp_path, CARD))
    assert "P2P’s network" in text
    assert "23 from new clusters" in text


def test_the_card_without_quality_names_the_command(fake, monkeypatch, tmp_path):
    put(tmp_path, evaluate_LaMP_4=result(pool_hash="other"))
    text = shown(overview_of(fake, monkeypatch, tmp_path, CARD))
    assert "results/ has no evaluation of this pool. Make one: perpcs smalltown --seed 3" in text
    assert "perpcs evaluate --task LaMP_4" in text


def test_a_task_without_quality_is_named(fake, monkeypatch, tmp_path):
    put(tmp_path, evaluate_LaMP_4=result())
    assert "results/ has no evaluation of this pool for movie tagging. Make one" in shown(
        overview_of(fake, monkeypatch, tmp_path, CARD)
    )


@pytest.mark.parametrize(
    "pool_card", [{}, {"base": {}}, {"base": {"curve": 3, "settings": []}, "limits": 5, "data": 1}]
)
def test_a_card_that_lacks_everything_still_shows_the_pool(fake, monkeypatch, tmp_path, pool_card):
    app = overview_of(fake, monkeypatch, tmp_path, pool_card)
    text = shown(app)
    assert text.count("Not stated by its maker.") == 2
    assert "6adapted layers" in text.replace(" adapted", "adapted")
    assert not app.get("plotly_chart")
