"""Benchmarks run and write what they promise. How fast they are is no business of a test."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _benchmarks_can_be_imported(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def run_main(monkeypatch, module, *arguments):
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    module.main()


def check_head(result, name):
    assert result["benchmark"] == name
    assert len(result["pool"]["hash"]) == 64
    assert result["machine"]["cpus"] >= 1
    assert {"python", "torch"} <= set(result["versions"])
    assert result["settings"]
    assert result["goals"]
    assert str(ROOT) not in json.dumps(result)


def test_assembly_benchmark_writes_its_numbers(tiny_pool_folder, tmp_path, monkeypatch, capsys):
    from benchmarks import assembly

    out = tmp_path / "results" / "assembly.json"
    run_main(
        monkeypatch, assembly, "--pool", tiny_pool_folder, "--items", 3, "--users", 3, "--repeats", 1, "--out", out
    )
    result = json.loads(out.read_text())
    check_head(result, "assembly")
    assert set(result["tasks"]) == {"LaMP_4", "LaMP_2"}
    for task in result["tasks"].values():
        made = task["assembling"]
        assert made["items"] == 3
        assert made["tokens"] > 0
        assert len(made["assembly"]["runs_s"]) == len(made["forward"]["runs_s"]) == 1
        # a byte a weight, 8 positions x 5 sharers, and a half float
        assert task["bytes"]["weights"] == 8 * 5 + 2
        # half floats of rank 2: two layers of q and o (32 x 32) and k and v (32 x 16)
        assert task["bytes"]["adapter"] == 2 * 2 * 2 * (2 * (32 + 32) + 2 * (32 + 16))
        for kind in ("reading", "answering"):
            assert task[kind]["rows"] == 3
            assert task[kind]["tokens"] > 0
            assert task[kind]["throughput_over_base"] > 0
    printed = capsys.readouterr().out
    assert "LaMP_4" in printed
    assert out.name in printed


def test_classroom_benchmark_writes_its_numbers(tiny_pool_folder, tmp_path, monkeypatch, capsys):
    from benchmarks import classroom

    out = tmp_path / "classroom.json"
    run_main(monkeypatch, classroom, "--pool", tiny_pool_folder, "--people", 3, "--repeats", 1, "--out", out)
    result = json.loads(out.read_text())
    check_head(result, "classroom")
    assert set(result["tasks"]) == {"LaMP_4", "LaMP_2"}
    for task in result["tasks"].values():
        assert len(task["together"]["runs_s"]) == len(task["in_turn"]["runs_s"]) == 1
        assert task["first_word_alone_s"] > 0
        assert task["slowest_first_word_s"] > 0
    assert "LaMP_4" in capsys.readouterr().out


def test_runs_are_timed_by_turns_after_one_round_that_does_not_count():
    from benchmarks.common import take_turns

    calls = []
    timings = take_turns([lambda: calls.append("a"), lambda: calls.append("b")], repeats=3)
    assert "".join(calls) == "ab" * 4
    assert [len(timing["runs_s"]) for timing in timings] == [3, 3]


def test_the_median_is_the_middle_run():
    from benchmarks.common import timing

    assert timing([3.0, 1.0, 2.0]) == {"median_s": 2.0, "runs_s": [3.0, 1.0, 2.0]}


@pytest.mark.browser
def test_startup_benchmark_writes_its_numbers(tiny_pool_with_examples, tmp_path, monkeypatch, capsys):
    from benchmarks import startup

    out = tmp_path / "startup.json"
    run_main(monkeypatch, startup, "--pool", tiny_pool_with_examples, "--runs", 1, "--out", out)
    result = json.loads(out.read_text())
    check_head(result, "startup")
    assert result["versions"]["chromium"]
    pages = set(startup.PAGES)
    for name in {
        "health",
        "first_page",
        "link_assemble_map",
        "first_one_line",
        "link_one_line",
        *(f"{how}_{page}" for how in ("link", "click") for page in pages),
    }:
        assert result[name]["median_s"] > 0
    assert result["first_page"]["median_s"] >= result["health"]["median_s"]
    assert set(result["links_over_one_line"]) == pages
    assert "first useful page" in capsys.readouterr().out


@pytest.fixture(scope="module")
def tiny_pool_with_examples(tmp_path_factory):
    """A random pool with an example person of each task, so that every page has something to show."""
    from tiny import write_tiny_pool

    from perpcs.data.smalltown import describe, make_people, release_fields
    from perpcs.files import write_json
    from perpcs.serve.complete import complete_examples
    from perpcs.serve.engine import Engine

    folder = write_tiny_pool(tmp_path_factory.mktemp("pools") / "tiny")
    for task in ("LaMP_4", "LaMP_2"):
        people = make_people(task, seed=1, count=2, split="target", history=(4, 4), queries=1)
        rows = [{**release_fields(one), "description": describe(one), "traits": dict(one.traits)} for one in people]
        write_json(folder / task / "examples.json", rows)
    complete_examples(Engine.open(folder, "cpu", "float32"))
    return folder


def test_a_browser_that_is_not_there_is_said_in_words(monkeypatch):
    from benchmarks import startup
    from perpcs.errors import PerpcsError

    monkeypatch.setenv("PATH", "")
    with pytest.raises(PerpcsError, match="Install it"), startup.open_browser():
        pass


def test_tables_show_every_method():
    from benchmarks.tables import table

    cell = {"mean": 0.5, "low": 0.4, "high": 0.6, "n_users": 3}
    row = {"nll": cell, "rouge-L": cell, "style": cell, "bytes": 642.0, "prepare_seconds": 1.5}
    methods = {"base": row, "perpcs:gate": {**row, "nll_minus_base": cell}, "wrong:perpcs:gate": row}
    lines = table({"task": "LaMP_4", "methods": methods, "references": {"oracle": {"rouge-L": cell}}})
    assert len(lines) == 2 + 4
    assert lines[3].startswith("| Per-Pcs, distilled gates | 0.500 (0.400 to 0.600) | 0.500")
    assert lines[4].startswith("| control: Per-Pcs, distilled gates of the next person")


def test_tables_of_experiments_hold_every_method_and_condition():
    from helpers import ROBUST, at

    from benchmarks.tables import history_table, robustness_table, separation_table

    column = {"items": [3, 10], "methods": {"base": {"nll": [at(0.5), at(0.4)]}, "oppu": {"nll": [at(0.6), at(0.3)]}}}
    lines = history_table({"tasks": {"LaMP_4": column}})
    assert lines[2:] == ["| news headlines | 3 | 0.500 | 0.600 |", "| news headlines | 10 | 0.400 | 0.300 |"]
    found = {
        "methods": {"base": {"nll": at(1.0)}, "wrong:oppu": {"nll": at(1.5)}},
        "apart": {"rag": True, "oppu": False},
    }
    head, _, row = separation_table({"tasks": {"LaMP_2": found}})
    assert "OPPU of the next person" in head
    assert row.endswith("| 1.500 (1.400 to 1.600) | RAG, 1 item |")
    text = "\n".join(robustness_table({"tasks": {"LaMP_4": ROBUST}}))
    for line in (
        "| base model | 1.000 |",
        "| 1 sharers | 0.800 |",
        "| 50% of each one's pieces | 0.700 |",
        "| all sharers | 0.600 |",
    ):
        assert line in text
    assert "| fit: default | 0.600 |  |" in text


def test_waits_are_measured_for_a_paste_a_long_history_and_six_methods(monkeypatch, tiny_town, tmp_path):
    from benchmarks import waits

    out = tmp_path / "waits.json"
    run_main(monkeypatch, waits, "--pool", str(tiny_town), "--out", str(out))
    found = json.loads(out.read_text())
    assert found["tweets"]["tokens"] > 0
    assert all(found[name][what] >= 0 for name in ("tweets", "headlines") for what in ("newton", "gates", "forward"))
    assert 0 < found["six"]["first"] <= found["six"]["whole"]
    assert found["memory"] > 0


def test_every_page_is_opened_and_what_is_pressed_is_on_one_of_them():
    from benchmarks import interactions

    assert set(interactions.PAGES) == {path.stem for path in (interactions.ROOT / "pages").glob("*.py")}
    pages = {page.partition("?")[0] for page, *_ in interactions.PRESSES.values()}
    assert pages <= set(interactions.PAGES)
    result = {"seconds": {"press: b": {"median_s": 0.25}, "new: a": {"median_s": 1.5}}}
    assert interactions.table(result)[1:] == [["new: a", "1.50"], ["press: b", "0.25"]]


def test_one_pasted_text_passes_few_files_and_functions_on_its_way_to_the_map(tiny_pool_folder):
    from benchmarks import path
    from perpcs.serve.engine import Engine

    assert not path.passed(lambda: json.loads("{}"))  # the tracer counts this package alone
    codes = path.trace(Engine.open(tiny_pool_folder, "cpu"))
    assert {"read_pasted", "assemble", "newton_step", "forward", "assembly_map"} <= {code.co_name for code in codes}
    assert len({code.co_filename for code in codes}) <= 30
    assert len(codes) <= 190  # docs/DESIGN.md says what they are; 150 is the goal
