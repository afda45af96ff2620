"""Every stage of a build runs once, and files are written whole or not at all."""

import errno
import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from perpcs.errors import PerpcsError
from perpcs.files import hash_bytes, hash_file, write_atomic
from perpcs.pool.stages import Workspace, clock, throttled

# ---- stages ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Knobs:
    rate: float = 0.1
    sizes: tuple[int, ...] = (1, 2)


def test_a_done_stage_is_not_run_again_and_gives_the_same_result(tmp_path):
    runs, said = [], []

    def work(folder):
        runs.append(folder)
        (folder / "artefact").write_text("made")
        return {"numbers": (1, 2), "note": "é"}

    first = Workspace(tmp_path, said.append).stage("pieces", {"knobs": Knobs()}, work)
    second = Workspace(tmp_path, said.append).stage("pieces", {"knobs": Knobs()}, work)
    assert first == second
    assert first.result == {"numbers": [1, 2], "note": "é"}  # as JSON gives it back, the first time too
    assert runs == [first.folder]
    assert said[-1] == "pieces: done before"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_stage_killed_in_the_middle_runs_again_in_its_folder(error, tmp_path):
    space, seen = Workspace(tmp_path, lambda _: None), []

    def work(folder):
        seen.append((folder / "half").exists())
        (folder / "half").write_text("so far")
        if len(seen) < 3:
            raise error
        return len(seen)

    for _ in range(2):
        with pytest.raises(error):
            space.stage("base", 1, work)
        assert not list(tmp_path.glob("*/done.json"))
    assert space.stage("base", 1, work).result == 3
    assert seen == [False, True, True]  # what was made before the kill is still there to go on from
    assert space.stage("base", 1, work).result == 3
    assert len(seen) == 3


def test_any_changed_input_is_another_stage(tmp_path):
    space = Workspace(tmp_path, lambda _: None)
    inputs = [Knobs(), Knobs(rate=0.2), Knobs(sizes=(2, 1)), {"a": 1}, {"a": 2}, {"a": "1"}, {"a": None}, [1], []]
    keys = [space.key("x", value) for value in inputs]
    assert len(set(keys)) == len(keys)
    assert space.key("x", {"a": 1, "b": 2}) == space.key("x", {"b": 2, "a": 1})
    assert space.key("x", 1) != space.key("y", 1)
    results = [space.stage("x", value, lambda folder, n=n: n).result for n, value in enumerate(inputs)]
    assert results == list(range(len(inputs)))
    space.forget()
    assert not tmp_path.exists()


def test_a_stage_is_the_same_whatever_ran_before_it_in_the_process(tmp_path, monkeypatch):
    """UMAP leaves torch with other threads, on which a sum's last bit depends; a resumed build does not run it."""
    threads = [1]
    monkeypatch.setattr("torch.set_num_threads", lambda count: threads.__setitem__(0, count))
    monkeypatch.setattr("torch.get_num_threads", lambda: threads[0])

    def disturb(folder):
        random.random(), np.random.rand(), torch.rand(1)
        torch.set_num_threads(7)

    def work(folder):
        return [torch.get_num_threads(), random.random(), float(np.random.rand()), float(torch.rand(1))]

    space = Workspace(tmp_path / "a", lambda _: None)
    space.stage("choose", 1, disturb)
    assert threads == [1]
    torch.set_num_threads(5)
    after = space.stage("pieces", 1, work).result
    threads[0] = 1
    assert Workspace(tmp_path / "b", lambda _: None).stage("pieces", 1, work).result == after
    assert after[0] == 1


def test_two_builds_do_not_share_a_folder(tmp_path):
    space = Workspace(tmp_path / "new", lambda _: None)
    with space.held(), pytest.raises(PerpcsError, match="Another build"), Workspace(space.folder, print).held():
        pass
    with space.held():
        pass


def test_a_disk_that_says_no_to_a_stage_is_a_sentence_and_a_bug_is_a_bug(tmp_path):
    def work(folder, code):
        raise OSError(code, "words", "x")

    space = Workspace(tmp_path, lambda _: None)
    with pytest.raises(PerpcsError, match="words"):
        space.stage("base", 1, lambda folder: work(folder, errno.ENOSPC))
    with pytest.raises(FileNotFoundError):
        space.stage("base", 1, lambda folder: work(folder, errno.ENOENT))


def test_progress_is_said_now_and_then_and_times_are_readable():
    said, made = [], []
    tell = throttled(said.append, seconds=60)
    for number in range(5):
        tell(lambda number=number: made.append(number) or str(number))
    assert said == ["0"]
    assert made == [0]  # texts that are not said are not made
    assert [clock(s) for s in (42, 89, 150, 5400, 3900 * 2)] == ["42 s", "89 s", "2 min", "1 h 30 min", "2 h 10 min"]


# ---- files ----------------------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file.json"
    write_atomic(path, b"first")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]  # no temporary file stays


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PerpcsError, match="Cannot write"):
        write_atomic(tmp_path / "file" / "below", b"")


@settings(max_examples=20, deadline=None)
@given(data=st.binary(max_size=3000))
def test_a_files_hash_is_the_hash_of_its_bytes(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("hash") / "x"
    path.write_bytes(data)
    assert hash_file(path) == hash_bytes(data)
    assert hash_bytes(save({"a": torch.zeros(2)})) != hash_bytes(save({"a": torch.ones(2)}))
