"""Experiments and the page that shows them: what a result holds, when a number is bold, what lies behind a cell."""

import json
from types import SimpleNamespace

import pytest
from helpers import ROBUST, by_key, open_page, press, shown

from perpcs.cli import main
from perpcs.errors import PerpcsError
from perpcs.evaluate.experiments import EXPERIMENTS, Setting, get_experiment
from perpcs.evaluate.experiments import table1 as table
from perpcs.evaluate.findings import columns, examples, published, read_finding
from perpcs.figures.difference import case_figure, case_title, read_case
from perpcs.pool.store import Pool
from perpcs.tasks import TASKS, get_task
from perpcs.ui import engine, widgets
from perpcs.ui.results import _beside, _settle, published_html, table_html
from perpcs.ui.state import Studio, from_link, to_link

PEOPLE = 4


def stored(nll, answers=None, task="LaMP_4"):
    """What ``evaluate`` returns, for ``PEOPLE`` people with two queries each; ``nll`` is one number a person."""
    metric = TASKS[task].metric

    def rows(method, person):
        found = []
        for query in range(2):
            row = {"id": f"q{query}", "nll": nll[method][person], "tokens": 4}
            if answers:
                row |= {"answer": answers[method][person], "gold": "red boat at sea"}
            found.append(row)
        return found

    def cell(values):
        return {"mean": sum(values) / len(values), "low": min(values), "high": max(values), "n_users": len(values)}

    return {
        "users": PEOPLE,
        "queries": 2 * PEOPLE,
        "methods": {
            name: {
                "nll": cell(values),
                metric: cell([1 - value for value in values]),
                "bytes": 10.0,
                "prepare_seconds": 0.5,
            }
            for name, values in nll.items()
        },
        "references": {"oracle": {metric: cell([0.9] * PEOPLE)}},
        "examples": {
            name: [{"user": f"u{person}", "history": 3, "queries": rows(name, person)} for person in range(PEOPLE)]
            for name in nll
        },
    }


# ---- when a number is bold ------------------------------------------------------------------------------------------


def test_a_method_that_is_ahead_for_everybody_is_best_although_intervals_overlap():
    nll = {"base": [1.0, 2.0, 3.0, 4.0], "perpcs:fit": [0.9, 1.9, 2.9, 3.9]}
    found = table.column(stored(nll), get_task("LaMP_4"), "file")
    assert found["best"]["nll"] == "perpcs:fit", "paired, person by person"
    assert "rouge-L" not in found["best"], "the metric's own values are not kept, and its intervals overlap"


def test_nobody_is_best_where_one_person_may_decide():
    nll = {"base": [1.0, 1.0, 1.0, 1.0], "perpcs:fit": [0.9, 1.1, 0.9, 1.0]}
    assert table.column(stored(nll), get_task("LaMP_4"), "file")["best"] == {}


def test_a_control_never_wins_and_takes_no_win_away():
    nll = {"base": [1.0] * 4, "perpcs:fit": [0.5] * 4, "wrong:perpcs:fit": [0.1] * 4, "uniform": [0.5] * 4}
    found = table.column(stored(nll), get_task("LaMP_4"), "file")
    assert found["best"]["nll"] == "perpcs:fit"


def test_more_is_better_for_rouge_and_less_for_mae():
    cell = {"low": 0.1, "high": 0.2, "mean": 0.15, "n_users": 4}
    high = {"low": 0.8, "high": 0.9, "mean": 0.85, "n_users": 4}
    cells = {"base": {"measures": {"rouge-L": cell, "mae": cell}}, "rag": {"measures": {"rouge-L": high, "mae": high}}}
    assert table.best_of(cells, {}, "rouge-L") == "rag"
    assert table.best_of(cells, {}, "mae") == "base"
    assert table.best_of({"base": cells["base"]}, {}, "mae") == "", "one alone is ahead of nobody"


# ---- experiments ----------------------------------------------------------------------------------------------------


def test_every_file_is_an_experiment_and_an_unknown_one_is_told():
    assert set(EXPERIMENTS) >= {"table1", "cost", "case-study"}
    for name in EXPERIMENTS:
        assert get_experiment(name).says.endswith("?")
    with pytest.raises(PerpcsError, match="tabel1"):
        get_experiment("tabel1")


def test_a_stored_evaluation_of_the_same_pool_is_taken_and_another_is_not(tiny_pool_folder, tmp_path, monkeypatch):
    pool = Pool(tiny_pool_folder)
    result = stored({"base": [1.0] * 4, "oppu": [0.5] * 4})
    result |= {"task": "LaMP_4", "task_version": get_task("LaMP_4").version, "pool_hash": pool.hash}
    path = tmp_path / "evaluate_LaMP_4.json"
    path.write_text(json.dumps(result))
    monkeypatch.setattr(table, "evaluate", lambda *args, **more: stored({"base": [3.0] * 4}))
    monkeypatch.setattr(Setting, "people_of", lambda self, task: ([], {}))
    setting = Setting(pool, "tiny", ("LaMP_4",), results=tmp_path)
    monkeypatch.setattr(Setting, "base", None)
    assert set(table.run(setting)["tasks"]["LaMP_4"]["methods"]) == {"base", "oppu"}
    path.write_text(json.dumps({**result, "pool_hash": "another"}))
    assert set(table.run(setting)["tasks"]["LaMP_4"]["methods"]) == {"base"}
    assert json.loads(path.read_text())["date"], "what was computed is stored with its date"


def test_a_pool_that_is_no_town_asks_for_people(tiny_pool_folder, capsys):
    assert main(["experiment", "table1", "--pool", str(tiny_pool_folder)]) == 1
    assert "--users" in capsys.readouterr().err


def test_texts_are_kept_of_the_people_who_were_evaluated_and_of_nobody_else(tiny_pool_folder):
    pool = Pool(tiny_pool_folder)
    from perpcs.data.smalltown import make_people

    made = [person.user for person in make_people("LaMP_4", seed=1, count=2, split="target")]
    rows = [
        {
            "user": user.id,
            "history": len(user.history),
            "queries": [
                {"id": query.id, "nll": 1.0, "tokens": 3, "answer": "x", "gold": query.gold} for query in user.queries
            ],
        }
        for user in made
    ]
    result = stored({"base": [1.0] * PEOPLE}) | {"examples": {"base": rows}}
    kept = table.column(result, get_task("LaMP_4"), "file", made)["examples"]
    assert kept["people"][0]["queries"][0]["input"] == made[0].queries[0].x
    assert len(kept["answers"]["base"]) == 2 * table.EXAMPLES
    assert table.column(result, get_task("LaMP_4"), "file")["examples"] is None
    rows[1]["history"] += 1  # a town that has changed since
    assert table.column(result, get_task("LaMP_4"), "file", made)["examples"] is None
    assert pool.manifest.name == "tiny"


# ---- figures --------------------------------------------------------------------------------------------------------


CASE = {
    "name": "Ada",
    "positions": ["layer 0, q_proj", "layer 0, v_proj"],
    "sharers": ["a", "b", "c"],
    "taken": ["b"],
    "perpcs": [[0.5, 0.0, 0.1], [0.0, 0.2, 0.0]],
    "retrieval": [[0, 1.0, 0], [0, 1.0, 0]],
    "likeness": [0.1, 0.9, 0.5],
    "weight_on_taken": 0.25,
    "by_chance": 0.3333,
}


def test_a_case_draws_every_weight_once_and_says_how_far_both_agree():
    case = read_case(dict(CASE))
    assert "25 % of Per-Pcs’s weight is on the 1 sharers" in case_title(case)
    held = [trace for trace in case_figure(case).data if trace.name == "weight"]
    assert [len(trace.x) for trace in held] == [3, 2]
    assert set(held[1].x) == {0}, "the most alike sharer stands first"
    assert read_case({**CASE, "likeness": [0.1]}) is None
    assert read_case({"name": "Ada"}) is None


# ---- the page -------------------------------------------------------------------------------------------------------


@pytest.fixture
def results(monkeypatch, tmp_path, fake):
    """A folder with all three results, of the pool that is open."""
    nll = {"base": [1.0] * 4, "perpcs:fit": [0.5, 0.4, 0.5, 0.4], "wrong:perpcs:fit": [2.0] * 4, "oppu": [0.6] * 4}
    said = {name: ["red boat" if name == "oppu" else "<i>boat"] * 4 for name in nll}
    tasks = {}
    for task in ("LaMP_4", "LaMP_2"):
        column = table.column(stored(nll, said, task), get_task(task), f"evaluate_{task}.json")
        people = [
            {"user": f"u{n}", "history": 3, "queries": [{"id": "q0", "input": f"A boat {n} <b>", "gold": "red boat"}]}
            for n in range(PEOPLE)
        ]
        answers = {name: [[said[name][0], 0.5, 0.4]] * PEOPLE for name in nll}
        tasks[task] = column | {
            "date": "2026-11-24",
            "commit": "abc1234",
            "examples": {"people": people, "answers": answers},
        }
    head = {"kind": "perpcs-experiment", "date": "2026-11-24", "commit": "abc", "pool": "people"}
    head |= {"pool_hash": fake.pool.hash}
    times = {name: {"median_s": [0.1, 0.4]} for name in ("perpcs:gate", "perpcs:fit", "oppu")}
    sizes = {"perpcs": {"once": 100, "person": 2, "bytes": [102, 200]}, "oppu": {"bytes": [10, 500]}}
    files = {
        "table1": {"tasks": tasks, "methods": list(nll), "controls": ["wrong:perpcs:fit"]},
        "cost": {
            "task": "LaMP_4",
            "storage": {"users": [1, 50], "methods": sizes, "even_at": 12.5},
            "time": {"items": [4, 8], "repeats": 3, "methods": times},
        },
        "history": {
            "tasks": {
                "LaMP_4": {
                    "items": [3, 10],
                    "users": PEOPLE,
                    "methods": {
                        name: {"nll": [{"mean": value, "low": 0.1, "high": 0.9, "n_users": 4} for value in means]}
                        for name, means in {"perpcs:fit": (0.5, 0.4), "oppu": (0.8, 0.5)}.items()
                    },
                }
            }
        },
        "robustness": {"tasks": {"LaMP_4": ROBUST}},
        "case-study": {**CASE, "nll": {"base": 1.0, "perpcs:fit": 0.5}, "items": 14},
    }
    for name, content in files.items():
        whole = head | {"experiment": name, "says": "?", "command": f"perpcs experiment {name} --pool x"} | content
        (tmp_path / f"{name}.json").write_text(json.dumps(whole))
    monkeypatch.setattr(engine, "RESULTS", tmp_path)
    return tmp_path


def test_the_page_is_full_and_says_how_each_part_is_made_again(results):
    app = open_page("results")
    text = shown(app)
    for part in ("News headlines", "Movie tagging", "Controls", "Oracle", "2026-11-24, abc1234", "n = 4 people"):
        assert part in text
    for name in ("table1", "cost", "history", "robustness", "case-study"):
        assert f"perpcs experiment {name} --pool x" in text
    assert "Ada: 25 % of Per-Pcs" in text
    assert "38 times less storage" in text
    assert "as well after 3 items as OPPU after 10" in text
    assert "With 1 of 4 sharers, Per-Pcs (fit) keeps 50 %" in text
    assert "With 50 % of each sharer’s pieces, Per-Pcs (fit) keeps 75 %" in text
    assert "No other setting is significantly better" in text


def test_another_measure_is_in_the_table_before_the_charts_are_drawn(results, monkeypatch):
    waits = []
    app = open_page("results")
    monkeypatch.setattr(widgets, "time", SimpleNamespace(sleep=waits.append))
    app.segmented_control(key="measure").set_value("nll").run()
    assert waits == [widgets.PAUSE]


def test_bold_stands_where_the_interval_supports_it_only(results):
    found = columns(read_finding(results, "table1"))
    html = table_html(found, ("base", "perpcs:fit", "oppu"), ("wrong:perpcs:fit",), "nll", ("LaMP_4", "oppu"))
    assert html.count("<b>") == 2, "one method for each of two tasks"
    assert html.count('aria-pressed="true"') == 1
    assert 'data-cell="LaMP_4~perpcs:fit"' in html
    assert "published" not in html, "the paper gives no likelihoods"


def test_published_numbers_are_marked_and_stand_beside_the_same_method(results):
    found = columns(read_finding(results, "table1"))
    html = table_html(found, ("base", "perpcs:fit", "oppu"), (), "metric", ("", ""))
    assert html.count("published") == 4, "base and OPPU of two tasks; fit is not the paper's"
    paper = published()["tasks"]
    assert paper["LaMP_2"]["accuracy"]["perpcs"] == 0.410
    assert paper["LaMP_3"]["mae"]["oppu"] == 0.262
    assert {len(row) for task in paper.values() for row in task.values()} == {13}
    assert "0.410" in published_html(found)


def test_the_papers_rag_shows_one_item_and_stands_beside_no_other():
    assert "0.584" in _beside("LaMP_1", "accuracy", "rag")
    assert _beside("LaMP_1", "accuracy", "rag:1") == _beside("LaMP_1", "accuracy", "rag")
    assert _beside("LaMP_1", "accuracy", "rag:4") == ""


def test_the_papers_rows_have_the_names_of_what_they_are(results):
    html = published_html(columns(read_finding(results, "table1")))
    for name in ("Per-Pcs (gates, as published)", "Random history", "PEFT retrieval + RAG"):
        assert name in html
    for name in ("Newton", "Random pieces"):
        assert name not in html
    assert "0.592" in _beside("LaMP_1", "accuracy", "perpcs:paper")
    assert "0.576" in _beside("LaMP_1", "accuracy", "random-history")
    assert _beside("LaMP_1", "accuracy", "random") == _beside("LaMP_1", "accuracy", "perpcs") == ""


def test_a_cell_opens_its_examples_and_texts_are_escaped(results):
    app = open_page("results", result="LaMP_4~oppu")
    text = shown(app)
    assert "Behind the number: OPPU, News headlines" in text
    bodies = " ".join(element.proto.body for element in app.get("html"))
    assert "A boat 0 &lt;b&gt;" in bodies
    by_key(app, "selectbox", "result-method").set_value("base").run()
    assert "Behind the number: Base model" in shown(app)
    assert app.session_state["studio"].result == ("LaMP_4", "base")


def test_without_a_link_the_cell_of_the_visitors_task_is_open(results):
    found = columns(read_finding(results, "table1"))
    other = found[-1].task
    assert other != found[0].task
    for task, pools, opened in ((other, found[0].task, other), ("", other, other), ("", "", found[0].task)):
        record = Studio(task=task)
        _settle(record, found, pools)
        assert record.result[0] == opened


def test_an_example_goes_to_compare_as_a_question(results):
    app = press(open_page("results", result="LaMP_4~perpcs:fit"), "compare-1")
    record = app.session_state["studio"]
    assert record.typed == "A boat 1 <b>"
    assert record.methods == ("base", "perpcs")
    assert record.task == "LaMP_4"
    assert "A boat" not in str(to_link(record)), "a text is never in a link"


def test_a_result_of_another_pool_says_so_and_a_missing_one_how_to_make_it(results):
    path = results / "table1.json"
    path.write_text(path.read_text().replace("5eed" * 16, "0ther" * 8))
    (results / "cost.json").unlink()
    text = shown(open_page("results"))
    assert "not with the open one" in text
    assert "Not measured yet:" in text
    assert "perpcs experiment cost --pool people" in text
    assert text.count("How cost grows with people and history length") == 1, "no empty section stands on the page"
    assert "perpcs experiment history --pool people" not in text, "what was measured is not listed"


def test_damaged_results_are_told_or_passed_over(results):
    (results / "table1.json").write_text("{")
    (results / "cost.json").write_text(json.dumps({"kind": "perpcs-experiment", "experiment": "cost", "storage": 3}))
    (results / "case-study.json").write_text(json.dumps({"kind": "perpcs-experiment", "perpcs": [[1]]}))
    text = shown(open_page("results"))
    assert "There is no results/quality/table1.json yet" in text
    assert "results/quality/cost.json contains no usable numbers" in text
    assert "results/quality/case-study.json contains no usable numbers" in text


def test_links_keep_the_open_cell_and_the_measure():
    record = Studio(task="LaMP_4", measure="nll", result=("LaMP_2", "perpcs:fit"))
    again = from_link(to_link(record))
    assert (again.measure, again.result) == ("nll", ("LaMP_2", "perpcs:fit"))
    assert from_link({"measure": "mood", "result": "x" * 200 + "~y"}).result == ("", "")


def test_what_is_kept_of_an_example_is_read_in_order(results):
    column = columns(read_finding(results, "table1"))[0]
    found = examples(column, "oppu")
    assert [one.user for one in found] == ["u0", "u1", "u2", "u3"]
    assert found[0].answer == "red boat"
    assert examples(column, "rag") == ()
