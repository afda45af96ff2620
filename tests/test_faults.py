"""When the disk says no, a file holds no text, or a command is stopped: two sentences, and nothing is lost."""

import errno
import json
import os

import pytest

from perpcs.assembly.record import Assembly
from perpcs.cli import main
from perpcs.evaluate import protocol

TASK = "LaMP_4"
ITEMS = [
    {"id": str(i), "text": f"A boat came back to the harbour, number {i}.", "title": f"Boat {i}"} for i in range(6)
]
PEOPLE = [
    {"user_id": name, "profile": ITEMS, "query": [{"id": f"{name}-q", "input": "A dog ran.", "gold": "Dog"}]}
    for name in ("ada", "bob")
]


@pytest.fixture
def run(tiny_pool_folder, capsys):
    """Run a command on the tiny pool; its status, what it said, and what it said was wrong."""

    def command(name, *arguments, pool=True):
        status = main([name, *(["--pool", str(tiny_pool_folder)] if pool else []), *map(str, arguments)])
        return status, *capsys.readouterr()

    return command


@pytest.fixture
def people(tmp_path):
    path = tmp_path / "users.json"
    path.write_text(json.dumps(PEOPLE))
    return path


def sentences(error):
    lines = error.splitlines()
    return len(lines) == 2 and lines[0].startswith("perpcs: ") and "Traceback" not in error


# ---- the disk --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["assemble", "export", "evaluate", "experiment", "share", "build"])
def test_a_place_that_takes_no_file_is_said_before_any_work(name, run, people, tmp_path, monkeypatch):
    def work(*_, **__):
        raise AssertionError("this comes after")

    for place in (
        "perpcs.serve.engine.Engine.open",
        "perpcs.pool.store.Pool.base",
        "perpcs.pool.from_data.build_from_data",
    ):
        monkeypatch.setattr(place, work)
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "below"
    person = ["--history", people, "--user", "ada", "--task", TASK]
    status, _, error = {
        "assemble": lambda: run(name, *person, "--out", out),
        "export": lambda: run(name, *person, "--out", out),
        "share": lambda: run(name, *person, "--out", out, "--consent"),
        "evaluate": lambda: run(name, "--task", TASK, "--users", people, "--out", out),
        "experiment": lambda: run(name, "cost", "--out", out),
        "build": lambda: run(name, "mine", "--base", "x", "--data", tmp_path, "--task", TASK, "--out", out, pool=False),
    }[name]()
    assert status == 1
    assert sentences(error)
    assert "Cannot write" in error


def test_a_build_takes_no_folders_place_that_is_no_pool(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("kept")
    where = ["--data", tmp_path, "--task", TASK, "--out", tmp_path / "mine", "--work", tmp_path / "work"]
    status, _, error = run("build", "x", "--base", "x", *where, pool=False)
    assert (status, sentences(error)) == (1, True)
    assert "is not a pool" in error
    assert (tmp_path / "mine" / "letter").read_text() == "kept"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_whatever_the_disk_says_is_a_sentence(code, run, people, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(code, os.strerror(code), str(tmp_path / "out.json"))

    person = ["--history", people, "--user", "ada", "--task", TASK, "--out", tmp_path / "out.json"]
    with monkeypatch.context() as broken:
        broken.setattr("os.replace", refuse)
        status, _, error = run("assemble", *person)
    assert (status, sentences(error)) == (1, True)
    assert os.strerror(code) in error
    assert [path.name for path in tmp_path.iterdir()] == ["users.json"], "nothing half is left"
    with monkeypatch.context() as broken:
        broken.setattr("perpcs.serve.engine.Engine.open", refuse)  # a place that no writer of ours is at
        status, _, error = run("assemble", *person)
    assert (status, sentences(error)) == (1, True)


# ---- stopped and taken up again ------------------------------------------------------------------------------------


def without_seconds(value):
    if isinstance(value, dict):
        return {key: without_seconds(one) for key, one in value.items() if "seconds" not in key}
    return [without_seconds(one) for one in value] if isinstance(value, list) else value


def test_an_evaluation_that_was_stopped_goes_on_after_the_last_method(run, people, tmp_path, monkeypatch):
    asked = ["--task", TASK, "--users", people, "--methods", "base,rag,perpcs:gate"]
    assert run("evaluate", *asked, "--out", tmp_path / "calm.json")[0] == 0
    answered, answer = [], protocol.answer_all

    def stopped(base, pool, task, users, prepared, *more, **options):
        answered.append(prepared[0].method)
        if len(answered) == 2:
            raise KeyboardInterrupt
        return answer(base, pool, task, users, prepared, *more, **options)

    monkeypatch.setattr(protocol, "answer_all", stopped)
    out = tmp_path / "stopped.json"
    status, _, error = run("evaluate", *asked, "--out", out)
    assert status == 130
    assert "to resume" in error
    assert list(json.loads(out.read_bytes())["methods"]) == ["base"]
    assert run("evaluate", *asked, "--out", out)[0] == 0
    assert len(answered) == 4, "base is not asked again"
    calm, found = (without_seconds(json.loads(path.read_bytes())) for path in (tmp_path / "calm.json", out))
    assert found == calm


@pytest.mark.parametrize("before", ["[]", "{}", '{"methods": 3}', '{"kind": "perpcs-evaluation", "methods": {}}'])
def test_an_earlier_file_that_is_no_result_is_of_nobody(before, run, people, tmp_path):
    (tmp_path / "out.json").write_text(before)
    asked = ["--task", TASK, "--users", people, "--methods", "base", "--out", tmp_path / "out.json"]
    assert run("evaluate", *asked)[0] == 0
    assert list(json.loads((tmp_path / "out.json").read_bytes())["methods"]) == ["base"]


# ---- what is no text -------------------------------------------------------------------------------------------------


def test_half_of_a_character_is_replaced_wherever_it_stands(run, tmp_path):
    """A lone surrogate is in JSON and is no text: nothing can be written or read with it."""
    row = {"id": "\ud800", "text": "A boat \udfff came back.", "title": "Boat \ud800s"}
    rows = [
        {
            "user_id": "a\ud800da",
            "profile": [row] * 4,
            "query": [{"id": "q\ud800", "input": "A \ud800 dog.", "gold": "D\ud800"}],
        }
    ]
    path, person = tmp_path / "users.json", tmp_path / "ada.json"
    path.write_text(json.dumps(rows))
    assert run("assemble", "--history", path, "--task", TASK, "--out", person)[0] == 0
    assert Assembly.load(person).user == "a\ufffdda"
    status, said, error = run(
        "generate", "--user", person, "--methods", "base,perpcs", "--input", "a \udcff dog", "--json"
    )
    assert (status, error) == (0, "")
    assert len(json.loads(said)) == 2
    asked = ["--task", TASK, "--users", path, "--methods", "base", "--with-texts", "--out", tmp_path / "out.json"]
    assert run("evaluate", *asked)[0] == 0


def test_a_name_without_end_is_refused_before_anything_is_saved(run, tmp_path):
    path = tmp_path / "users.json"
    path.write_text(json.dumps([{**PEOPLE[0], "user_id": "x" * 1_000_000}]))
    status, _, error = run("assemble", "--history", path, "--task", TASK, "--out", tmp_path / "out.json")
    assert (status, sentences(error)) == (1, True)
    assert len(error) < 1000
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"ada": 3}', '{"ada": {"x": NaN}}', "\xff"])
def test_a_broken_file_of_traits_is_a_sentence(text, run, people, tmp_path):
    (tmp_path / "traits.json").write_text(text, "latin-1")
    asked = ["--task", TASK, "--users", people, "--methods", "base", "--out", tmp_path / "out.json"]
    status, _, error = run("evaluate", *asked)
    assert (status, sentences(error)) == (1, True)
    assert "traits.json" in error
