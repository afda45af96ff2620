"""Becoming a sharer and leaving again: what a copy of a pool holds, and that nothing harms it."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import an_assembly, state
from safetensors.torch import load, load_file, save
from tiny import write_tiny_pool

from perpcs.assembly.record import Assembly, migrated
from perpcs.errors import PerpcsError
from perpcs.files import hash_bytes, hash_file, write_atomic, write_json
from perpcs.pool import contribute
from perpcs.pool.contribute import Leaving, add, chosen, id_of, leaving, new_code, settings_of
from perpcs.pool.manifest import Sharer, contributed
from perpcs.pool.store import Pool
from perpcs.pool.validate import validate
from perpcs.serve.stored import migrated_to, revoke, share
from perpcs.tasks import Item, get_task

TASK = "LaMP_4"
PLANTED = ("xylographer", "quagmire-seven", "Zebulonville")
ITEMS = tuple(Item(f"The {PLANTED[0]} of {PLANTED[2]} spoke, part {n}.", f"{PLANTED[1]} wins {n}") for n in range(10))


@pytest.fixture(scope="module", params=["float16", "int8"])
def source(request, tmp_path_factory):
    """A tiny pool with embeddings, an example person, their assembly and answers."""
    folder = write_tiny_pool(tmp_path_factory.mktemp("source") / "tiny", dtype=request.param)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for number, part in enumerate(manifest["tasks"]):
        place = folder / part["task"]
        write_atomic(place / "embeddings.safetensors", save({"sharers": torch.eye(5, 8).half() + number}))
        write_json(place / "examples.json", [])
        part["files"] |= {name: hash_file(place / name) for name in ("embeddings.safetensors", "examples.json")}
        part["training"] = {"pieces": {"epochs": 1, "batch": 5, "rate": 0.01, "colour": "?"}, "gates": {"steps": 2}}
    write_json(folder / "manifest.json", manifest)
    pool = Pool(folder)
    for part in pool.manifest.tasks:
        an_assembly(pool, part.task).save(folder / part.task / "examples" / "ada.json")
        write_json(folder / part.task / "answers.json", {"pool_hash": pool.hash, "answers": {"ada": {"q": {}}}})
    return folder


@pytest.fixture(scope="module")
def trained(source):
    pool, steps = Pool(source), []
    base = pool.base("cpu", "float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            contribute, "embed_users", lambda histories, *encoder: torch.tensor([[0.1, 1, 0, 0, 0.2, 0, 0, 0]])
        )
        made = contribute.train_person(
            base, pool, get_task(TASK), ITEMS, id_of("code"), lambda what, done, of: steps.append((what, done, of))
        )
    assert [step for step in steps if step[1] == step[2]] == [("pieces", 2, 2), ("gates", 2, 2)]
    assert {what for what, _, _ in steps} == set(contribute.STEPS)
    return made


@pytest.fixture(scope="module")
def given(source, trained) -> Leaving:
    """What leaves when every second position is shared."""
    mask = np.arange(8) % 2 == 0
    return leaving(trained, Pool(source), mask)


def named(given: Leaving, id: str) -> Leaving:
    return replace(given, sharer=replace(given.sharer, id=id))


STORED = ("pieces.safetensors", "embeddings.safetensors", "sharers.json")


# ---- laws ------------------------------------------------------------------------------------------------------------


def test_sharing_and_revoking_gives_the_files_back_byte_by_byte(source, given, tmp_path):
    before = state(source)
    share(source, given, tmp_path / "copy")
    shared = state(tmp_path / "copy")
    revoke(tmp_path / "copy", "code")
    after = state(tmp_path / "copy")
    for task in (TASK, "LaMP_2"):
        for name in STORED:
            assert after[f"{task}/{name}"] == before[f"{task}/{name}"]
    assert all(shared[f"{TASK}/{name}"] != before[f"{TASK}/{name}"] for name in STORED)
    assert state(source) == before
    assert list(validate(tmp_path / "copy"))
    assert {path.name for path in tmp_path.iterdir()} == {"copy", ".copy.lock"}


def test_a_copy_gives_back_the_pieces_that_were_trained(source, given, trained, tmp_path):
    pool = share(source, given, tmp_path / "copy")
    pieces = pool.pieces(TASK, "cpu", torch.float32).pieces
    for p in range(0, 8, 2):
        for mine, stored in ((trained.pieces.A[p][0], pieces.A[p][5]), (trained.pieces.B[p][0].mT, pieces.Bt[p][5])):
            assert mine.abs().max() > 0
            assert (mine - stored).abs().max() <= mine.abs().max() / 200


def test_the_copy_holds_exactly_what_left_and_zeros_for_the_rest(source, given, tmp_path):
    pool = share(source, given, tmp_path / "copy")
    stored = load_file(pool.folder / TASK / "pieces.safetensors")
    old = load_file(source / TASK / "pieces.safetensors")
    for p in range(8):
        assert bool(stored["mask"][p, 5]) == (p % 2 == 0)
        for name in ("A", "B", "gate", "prototype"):
            rows = stored[f"{name}.{p}"]
            assert torch.equal(rows[:5], old[f"{name}.{p}"])
            assert torch.equal(rows[5], given.tensors.get(f"{name}.{p}", torch.zeros_like(rows[5])))
    assert pool.sharers(TASK)[-1] == given.sharer
    assert contributed(pool.manifest) == {TASK: (given.sharer.id,)}
    assert "2 sharers" not in " ".join(validate(pool.folder))
    assert pool.manifest.name == "copy"


def test_no_word_of_the_text_is_in_any_byte_of_the_copy(source, given, tmp_path):
    pool = share(source, given, tmp_path / "copy")
    files = [file.read_bytes() for file in pool.folder.rglob("*") if file.is_file()]
    for data in (*files, given.data(), given.record()):
        for word in PLANTED:
            for form in (word, word.lower(), word.upper()):
                assert form.encode() not in data
                assert form.encode("utf-16-le") not in data


def test_the_preview_is_what_leaves(source, given):
    parts, written = given.parts(), load(given.data())
    names = ["A.0", "B.0", "gate.0", "prototype.0"]
    if Pool(source).manifest.dtype == "int8":
        names = [part for name in names for part in (name, f"{name}.scale")]
    assert [part.name for part in parts if part.name != "embedding"][: len(names)] == names
    assert [part.position for part in parts if part.name != "embedding"][: len(names)] == [0] * len(names)
    assert [part.position for part in parts if part.name == "embedding"] == [None]
    assert {part.name for part in parts} == set(written)
    for part in parts:
        tensor = written[part.name]
        assert (part.shape, part.bytes) == (tuple(tensor.shape), tensor.numel() * tensor.element_size())
        assert part.sha256 == hash_bytes(tensor.numpy().tobytes())
    assert all(isinstance(value, int | float) for value in given.sharer.loss)
    assert (given.sharer.cluster, given.sharer.terms) == (1, ("harbour", "boats"))  # the nearest sharer's


def test_many_at_once_do_not_damage_a_pool(source, given, tmp_path):
    share(source, given, tmp_path / "copy")
    ids = [id_of(new_code()) for _ in range(3)]
    crowd = [threading.Thread(target=share, args=(source, named(given, id), tmp_path / "copy")) for id in ids]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(120)
    pool = Pool(tmp_path / "copy")
    assert set(contributed(pool.manifest)[TASK]) == {given.sharer.id, *ids}
    assert pool.task(TASK).sharers == 9
    assert list(validate(pool.folder))


def test_a_killed_write_leaves_the_old_pool(source, given, tmp_path):
    copy = tmp_path / "copy"
    share(source, given, copy)
    before, child = state(copy), os.fork()
    if child == 0:
        add(source, named(given, "guest-late"), copy, lambda origin, staging: os._exit(7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert any(".new-" in path.name for path in tmp_path.iterdir())
    assert state(copy) == before
    revoke(copy, given.sharer.id)  # the lock is free, and what was left is swept away
    assert not any(".new-" in path.name for path in tmp_path.iterdir())


def test_a_kill_between_the_two_renames_is_mended(source, given, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    share(source, given, copy)
    before, rename, calls = state(copy), Path.rename, []

    def killed(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        revoke(copy, given.sharer.id)
    monkeypatch.undo()
    assert not copy.exists()
    contribute.recover_all(tmp_path)
    assert state(copy) == before


def test_an_outcome_that_is_no_valid_pool_is_not_written(source, given, tmp_path):
    def spoil(origin, staging):
        (staging / "notes.py").write_text("print()")

    with pytest.raises(PerpcsError, match=r"notes\.py"):
        add(source, given, tmp_path / "copy", spoil)
    assert not (tmp_path / "copy").exists()


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_a_pool_that_is_no_copy_is_never_written(source, given):
    before = state(source)
    with pytest.raises(PerpcsError, match="not a copy"):
        add(source, given, source)
    with pytest.raises(PerpcsError, match="not a copy"):
        revoke(source, "s0")
    assert state(source) == before


def test_who_stops_at_the_last_moment_has_shared_nothing(source, given, tmp_path):
    class Stop(Exception):
        pass

    def stop():
        raise Stop

    with pytest.raises(Stop):
        share(source, given, tmp_path / "copy", last=stop)
    assert not list(tmp_path.glob("*")) or not any((tmp_path / "copy").glob("*"))


def test_strangers_and_doubles_are_refused(source, given, tmp_path):
    copy = share(source, given, tmp_path / "copy").folder
    before = state(copy)
    other = replace(given, base_hash="0" * 64)
    short = replace(given, tensors={**given.tensors, "A.0": torch.zeros(3, 32).half()})
    for wrong, says in ((given, "already"), (named(other, "x"), "another base model"), (named(short, "x"), "shape")):
        with pytest.raises(PerpcsError, match=says):
            add(source, wrong, copy)
    for id in ("s0", "guest-nobody"):  # one of the pool's own sharers is nobody's to take out
        with pytest.raises(PerpcsError, match="contributed"):
            revoke(copy, id)
    assert state(copy) == before


def test_too_few_items_and_no_piece_are_said(source, trained):
    with pytest.raises(PerpcsError, match="at least 10 items; you have 9"):
        contribute.check_items(ITEMS[:9])
    with pytest.raises(PerpcsError, match="No piece"):
        leaving(trained, Pool(source), np.zeros(8, dtype=bool))
    spoilt = replace(trained, gates=[gate * torch.inf for gate in trained.gates])
    with pytest.raises(PerpcsError, match="not finite"):
        leaving(spoilt, Pool(source), np.ones(8, dtype=bool))


def test_stopping_ends_the_training(source):
    class Halt(BaseException):
        pass

    def say(what, done, of):
        if what == "gates":
            raise Halt

    pool = Pool(source)
    with pytest.raises(Halt):
        contribute.train_person(pool.base("cpu", "float32"), pool, get_task(TASK), ITEMS, "guest-x", say)


# ---- choices ---------------------------------------------------------------------------------------------------------


def test_pieces_are_chosen_by_ratio_layer_and_module(source):
    positions = Pool(source).manifest.positions
    assert chosen(positions, "me").all()
    half = chosen(positions, "me", ratio=0.5, seed=3)
    assert half.sum() == 4
    assert (half == chosen(positions, "me", ratio=0.5, seed=3)).all()
    assert (half != chosen(positions, "me", ratio=0.5, seed=4)).any()
    few = chosen(positions, "me", layers=(1,), modules=("q_proj", "v_proj"))
    assert [positions[p].label for p in np.flatnonzero(few)] == ["layer 1, q_proj", "layer 1, v_proj"]
    with pytest.raises(PerpcsError, match="No piece"):
        chosen(positions, "me", layers=())


def test_the_pools_own_settings_are_used(source):
    pieces, gates = settings_of(Pool(source).manifest, TASK)
    assert (pieces.rank, pieces.alpha, pieces.epochs, pieces.rate, gates.steps) == (2, 3.0, 1, 0.01, 2)


def test_the_code_gives_the_id_and_the_id_does_not_give_the_code():
    code = new_code()
    assert id_of(code) == id_of(f" {code}\n") == id_of(id_of(code))
    assert code not in id_of(code)
    assert contribute.new_name("../Ünder the Town!-0a1b2c").startswith("nder-the-town-")


# ---- people who were assembled before --------------------------------------------------------------------------------


def test_example_people_stay_true_in_the_copy_and_after(source, given, tmp_path):
    old = {task: Assembly.load(source / task / "examples" / "ada.json") for task in (TASK, "LaMP_2")}
    pool = share(source, given, tmp_path / "copy")
    for task, wider in ((TASK, 6), ("LaMP_2", 5)):
        new = Assembly.load(pool.folder / task / "examples" / "ada.json")
        assert new.pool_hash == pool.hash
        assert new.weights.shape[1] == wider
        assert np.array_equal(new.weights[:, :5], old[task].weights)
        assert np.array_equal(new.item_weights()[:, :, :5], old[task].item_weights())
        assert new.router["without"] == ([given.sharer.id] if wider == 6 else [])
        assert json.loads((pool.folder / task / "answers.json").read_bytes())["pool_hash"] == pool.hash
    pool = revoke(tmp_path / "copy", given.sharer.id)
    back = Assembly.load(pool.folder / TASK / "examples" / "ada.json")
    assert replace(back, pool=old[TASK].pool, pool_hash=old[TASK].pool_hash).to_json() == old[TASK].to_json()


def test_who_used_a_revoked_piece_is_renormalised(source, given, tmp_path):
    pool = share(source, given, tmp_path / "copy")
    user = an_assembly(pool, TASK, seed=5)
    assert user.weights[:, 5].any()
    user.save(pool.folder / TASK / "examples" / "ada.json")
    pool = revoke(tmp_path / "copy", given.sharer.id)
    now = Assembly.load(pool.folder / TASK / "examples" / "ada.json")
    law = user.without_sharers([given.sharer.id])
    assert np.array_equal(now.weights, law.weights[:, :5])
    assert np.array_equal(now.item_weights(), law.item_weights()[:, :, :5])
    assert now.extra["without"] == [given.sharer.id]
    assert not (pool.folder / TASK / "answers.json").exists()  # these answers were given with the piece
    assert migrated_to(pool, user).to_json() == now.to_json()


def test_an_example_of_another_pool_is_dropped(source, given, tmp_path):
    share(source, given, tmp_path / "copy")
    stranger = tmp_path / "copy" / TASK / "examples" / "ada.json"
    Assembly.load(source / TASK / "examples" / "ada.json").save(stranger)
    assert not (revoke(tmp_path / "copy", "code").folder / TASK / "examples" / "ada.json").exists()


def test_carrying_keeps_choices_at_their_sharers():
    person = an_assembly_of(("a", "b", "c"))
    moved = migrated(person, ("c", "new", "a"), "p", "h")
    for item in range(2):
        for rank in range(2):
            who = person.sharers[person.choices[item, 0, rank]]
            now = moved.choices[item, 0, rank]
            assert (moved.sharers[now] if now >= 0 else "b") == who


def an_assembly_of(sharers: tuple[str, ...]) -> Assembly:
    choices = np.array([[[0, 1]], [[2, 0]]], np.int16)
    votes = np.full(choices.shape, 0.5, np.float16)
    blank = np.zeros((1, 3), np.float32)
    person = Assembly(blank.copy(), blank, choices, votes, TASK, ("layer 0, q",), sharers, "p", "h", {})
    person.weights[:] = person.item_weights().mean(axis=0)
    return person


def test_a_record_of_a_sharer_has_no_field_for_text():
    words = {name for name, kind in Sharer.__annotations__.items() if "str" in str(kind)}
    assert words == {"id", "terms"}  # terms are the cluster's, which the pool showed before
