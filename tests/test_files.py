"""Files and folders that appear whole or not at all, whatever the disk says, and what is read of a stranger's."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from perpcs import files
from perpcs.errors import PerpcsError
from perpcs.files import (
    plain_name,
    put_in_place,
    read_regular,
    recover,
    regular_files,
    try_writing,
    write_atomic,
    write_together,
)


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(PerpcsError, match=r"No space left on device\. Free some space") as told:
        write_atomic(path, b"new")
    assert str(path) in told.value.wrong
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_files_that_belong_together_appear_together(tmp_path, monkeypatch):
    write_together(tmp_path, {"tensors": b"1", "config": b"1"})
    calls, flush = [], os.fsync

    def second_is_full(handle):
        calls.append(handle)
        return full() if len(calls) == 2 else flush(handle)

    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", second_is_full)
        with pytest.raises(PerpcsError):
            write_together(tmp_path, {"tensors": b"2", "config": b"2"})
    assert [(tmp_path / name).read_bytes() for name in ("tensors", "config")] == [b"1", b"1"]
    seen, rename = [], os.replace
    monkeypatch.setattr("os.replace", lambda *pair: (seen.append(names(tmp_path)), rename(*pair)))
    write_together(tmp_path, {"tensors": b"2", "config": b"2"})
    for there in seen:  # the new tensors never lie beside the old config
        assert "config" not in there
    assert [(tmp_path / name).read_bytes() for name in ("tensors", "config")] == [b"2", b"2"]


def test_temporary_files_of_killed_runs_are_swept_and_those_of_running_ones_are_not(tmp_path):
    left, young, theirs = (tmp_path / name for name in (".a.1.perpcs-tmp", ".a.2.perpcs-tmp", ".a.tmp"))
    for path in (left, young, theirs):
        path.write_bytes(b"half")
    for path in (left, theirs):
        os.utime(path, (0, 0))
    with files._temporary(tmp_path / "b") as (_, held):
        os.utime(held, (0, 0))
        write_atomic(tmp_path / "c", b"whole")
        assert names(tmp_path) == sorted([young.name, theirs.name, held.name, "c"])


def test_a_place_is_tried_before_the_work(tmp_path, monkeypatch):
    try_writing(tmp_path / "new" / "newer" / "file")
    assert not names(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(PerpcsError, match="Cannot write"):
        try_writing(tmp_path / "file" / "below")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(PerpcsError, match="No space"):
        try_writing(tmp_path / "another")


# ---- folders ---------------------------------------------------------------------------------------------------------


def folder_of(path, text):
    path.mkdir(parents=True)
    (path / "inside").write_text(text)
    return path


def other_disk(monkeypatch):
    """Renames from one folder to another fail, as between two file systems."""
    rename = Path.rename

    def refuse(self, target):
        if self.parent != Path(target).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)


@pytest.mark.parametrize("far", [False, True])
def test_a_folder_takes_its_place_from_any_disk(tmp_path, monkeypatch, far):
    place = tmp_path / "pools" / "mine"
    if far:
        other_disk(monkeypatch)
    for text in ("first", "second"):
        put_in_place(folder_of(tmp_path / "work" / "out", text), place)
        assert (place / "inside").read_text() == text
        assert names(place.parent) == ["mine"]
        assert not names(tmp_path / "work")


def test_a_folder_takes_its_place_from_another_disk_in_truth(tmp_path):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    with tempfile.TemporaryDirectory(dir=memory) as other:
        for text in ("first", "second"):
            put_in_place(folder_of(Path(other) / "out", text), tmp_path / "pools" / "mine")
            assert (tmp_path / "pools" / "mine" / "inside").read_text() == text
        assert names(tmp_path / "pools") == ["mine"]


def test_a_disk_that_fills_up_leaves_the_old_folder_and_the_work(tmp_path, monkeypatch):
    place, made = folder_of(tmp_path / "pools" / "mine", "old"), folder_of(tmp_path / "work" / "out", "new")
    other_disk(monkeypatch)
    monkeypatch.setattr(files, "_copy_flushed", full)
    with pytest.raises(OSError, match="No space"):
        put_in_place(made, place)
    assert (place / "inside").read_text() == "old"
    assert (made / "inside").read_text() == "new"
    assert names(place.parent) == ["mine"]


def test_a_kill_between_two_renames_is_mended(tmp_path):
    folder_of(tmp_path / ".mine.old", "old")
    recover(tmp_path / "mine")
    assert (tmp_path / "mine" / "inside").read_text() == "old"
    folder_of(tmp_path / ".mine.old", "older")
    recover(tmp_path / "mine")
    assert (tmp_path / "mine" / "inside").read_text() == "old"


# ---- what a stranger hands over --------------------------------------------------------------------------------------


def test_only_regular_files_of_a_known_size_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_regular(tmp_path / "file", 4)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        with pytest.raises(OSError):  # noqa: PT011 - which one is the system's matter
            read_regular(tmp_path / name, 5)


def test_a_folder_with_a_link_or_a_pipe_is_refused(tmp_path):
    folder_of(tmp_path / "a" / "b", "")
    assert regular_files(tmp_path) == [tmp_path / "a" / "b" / "inside"]
    for make in (lambda path: path.symlink_to("a"), lambda path: path.symlink_to("nowhere"), os.mkfifo):
        make(tmp_path / "a" / "x")
        with pytest.raises(PerpcsError, match="a/x"):
            regular_files(tmp_path)
        (tmp_path / "a" / "x").unlink()


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "a/b", "/a", "a\\b", "c:", "a\0", "a\n", "\ud800", "x" * 121])
def test_a_path_is_no_name(name):
    assert not plain_name(name)
    assert plain_name("Person 12_é-b.c")
