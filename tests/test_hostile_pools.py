"""A pool may come from anybody: nothing outside its folder is touched, nothing it says takes more than it holds."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch
from helpers import flip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny import write_tiny_pool

from perpcs.errors import PerpcsError
from perpcs.files import hash_file, write_json
from perpcs.pool.contribute import Leaving, remove
from perpcs.pool.manifest import Sharer, read_examples, read_manifest, write_manifest
from perpcs.pool.store import EMBEDDINGS, MAP, PIECES, Pool, base_hash
from perpcs.pool.validate import validate
from perpcs.serve.stored import answers_path, recognised_path, revoke, share

TASK = "LaMP_4"


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write_tiny_pool(tmp_path_factory.mktemp("clean") / "pool", tasks=(TASK,))


@pytest.fixture
def pool(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / "pool")


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_bytes())


def change(folder, path, value):
    """Set one place of the manifest, given as keys and indices."""
    whole = place = manifest_of(folder)
    *inside, last = path
    for key in inside:
        place = place[key]
    place[last] = value
    write_json(folder / "manifest.json", whole)


def sign(folder, name, task=TASK):
    """Let the manifest's hash of a task's file agree, as a hostile builder would."""
    change(folder, ("tasks", 0, "files", name), hash_file(folder / task / name))


def use(folder):
    """All that an app does with a pool before it answers."""
    return [*validate(folder), Pool(folder).candidates(TASK), Pool(folder).examples(TASK)]


def given_by(folder):
    """What somebody shares with this pool: one piece."""
    pool = Pool(folder)
    tensors = {
        name: rows[0]
        for name, rows in load_file(folder / TASK / PIECES).items()
        if name.endswith(".0") and not name.startswith("mask")
    }
    return Leaving(TASK, Sharer("guest-1", 10, 0), tensors, pool.manifest.base_hash)


def kept_files(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


# ---- paths -----------------------------------------------------------------------------------------------------------


def test_the_clean_pool_is_used_shared_and_taken_back(pool, tmp_path):
    assert use(pool)
    copy = tmp_path / "copy"
    assert share(pool, given_by(pool), copy).task(TASK).sharers == 6
    assert revoke(copy, "guest-1").task(TASK).sharers == 5


@pytest.mark.parametrize(
    "name", ["../victim", "{outside}", "LaMP_4/../../victim", ".", "", "nobody", "LaMP_4\0", "link"]
)
def test_a_task_that_is_a_path_touches_nothing_elsewhere(name, pool, tmp_path):
    """The attack: names of tasks are folders, whose examples were deleted on sharing."""
    victim = tmp_path / "victim"
    (victim / "examples").mkdir(parents=True)
    for file in ("examples/mine.json", "answers.json", PIECES, "sharers.json"):
        (victim / file).write_text("{}")
    if name == "link":
        (pool / "link").symlink_to(victim)
    before = kept_files(victim)
    whole = manifest_of(pool)
    whole["tasks"].append({**whole["tasks"][0], "task": name.format(outside=victim)})
    write_json(pool / "manifest.json", whole)
    for act in (
        lambda: share(pool, Leaving(TASK, Sharer("g", 1, 0), {}, ""), tmp_path / "copy"),
        lambda: revoke(pool, "g"),
        lambda: use(pool),
        lambda: Pool(pool),
    ):
        with pytest.raises(PerpcsError):
            act()
    assert kept_files(victim) == before
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "secret", "manifest.json", PIECES + "/../x"])
def test_a_manifest_answers_for_no_other_file(name, pool, tmp_path):
    (tmp_path / "secret").write_text("")
    change(pool, ("tasks", 0, "files", name), "0" * 64)
    with pytest.raises(PerpcsError, match="files"):
        Pool(pool)


@pytest.mark.parametrize("base", ["../elsewhere", "/", "base/../..", "~", ".", "other"])
def test_a_base_model_lies_in_the_pool(base, pool):
    change(pool, ("base",), base)
    with pytest.raises(PerpcsError, match="base model"):
        Pool(pool)
    change(pool, ("base_hash",), "")
    if base.startswith(("/", "~", ".")):
        with pytest.raises(PerpcsError, match="a path and not a name"):
            Pool(pool)


@pytest.mark.parametrize("place", ["x", f"{TASK}/x", "base/x", f"{TASK}/examples"])
@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc"), os.mkfifo])
def test_a_link_or_a_pipe_is_refused(place, make, pool):
    make(pool / place)
    with pytest.raises(PerpcsError, match=rf"{place} in .* is (a link|no file)"):
        Pool(pool)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["manifest.json", f"{TASK}/{PIECES}", f"{TASK}/sharers.json"])
def test_a_file_that_is_a_pipe_or_a_link_is_not_waited_for(name, pool, tmp_path):
    kept = (pool / name).rename(tmp_path / "kept")
    for make in (os.mkfifo, lambda path: path.symlink_to(kept)):
        make(pool / name)
        with pytest.raises(PerpcsError):
            use(pool)
        (pool / name).unlink()


@pytest.mark.parametrize("id", ["../../x", "/tmp/x", "..", "a/b", "x" * 300, "\ud800", "a\0"])
def test_an_example_persons_id_is_a_plain_name(id, pool):
    row = {"user_id": "fine", "description": "", "profile": [{"text": "a", "title": "b"}], "query": [], "traits": {}}
    write_json(pool / TASK / "examples.json", [row])
    assert read_examples(pool / TASK)[0].id == "fine"
    (pool / TASK / "examples.json").write_text(json.dumps([{**row, "user_id": id}]))
    with pytest.raises(PerpcsError, match=r"examples\.json is not what it should be"):
        read_examples(pool / TASK)


def test_one_who_is_listed_and_not_there_cannot_be_taken_out(pool, tmp_path):
    copy = tmp_path / "copy"
    share(pool, given_by(pool), copy)
    change(copy, ("users", "contributed", TASK), ["guest-1", "guest-2"])
    with pytest.raises(PerpcsError, match="guest-2 is no longer among the sharers"):
        remove(copy, "guest-2")


# ---- what a manifest and records may say ---------------------------------------------------------------------------


def places(value, path=()):
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*path, key))


ODD = st.one_of(
    st.sampled_from([None, True, -1, 0, 10**6, 10**30, 1e308, float("nan"), float("inf"), "", "x", "\ud800", [], {}]),
    st.just("x" * 1_000_000),
    st.just([[[[]]]] * 3),
    st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=5), lambda s: st.lists(s, max_size=3)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=ODD)
def test_any_other_value_in_a_manifest_is_read_or_is_a_sentence(data, value, pool, clean):
    shutil.copyfile(clean / "manifest.json", pool / "manifest.json")
    path = data.draw(st.sampled_from([path for path in places(manifest_of(pool)) if path]))
    whole = place = manifest_of(pool)
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (pool / "manifest.json").write_text(json.dumps(whole))
    try:
        use(pool)
    except PerpcsError:
        return
    assert read_manifest(pool)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=ODD)
def test_any_other_value_in_a_sharers_record_is_read_or_is_a_sentence(data, value, pool, clean):
    rows = json.loads((clean / TASK / "sharers.json").read_bytes())
    path = data.draw(st.sampled_from([path for path in places(rows) if path]))
    place = rows
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (pool / TASK / "sharers.json").write_text(json.dumps(rows))
    sign(pool, "sharers.json")
    try:
        use(pool)
    except PerpcsError:
        return
    assert all(isinstance(sharer.items, int) for sharer in Pool(pool).sharers(TASK))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("rank",), 10**6, "rank"),
        (("rank",), 3.0, "rank"),
        (("alpha",), float("nan"), "alpha"),
        (("positions", 0, "n"), 10**9, "positions.0.n"),
        (("positions", 0, "n"), 64, "layers are not those"),
        (("positions", 0, "layer"), "0", "positions.0.layer"),
        (("positions", 1, "path"), "model.layers.0.self_attn.q_proj", "twice"),
        (("tasks", 0, "sharers"), 30_000, "30000"),
        (("tasks", 0, "sharers"), 0, "sharers"),
        (("tasks", 0, "training"), {"pieces": {"epochs": 10**9}}, "epochs"),
        (("tasks", 0, "training"), {"pieces": {"rate": "much"}}, "rate"),
        (("tasks", 0, "training"), {"pieces": 3}, "training"),
        (("card",), {"x": float("inf")}, "card"),
        (("users",), ["x"], "users"),
        (("licence",), "", "licence"),
        (("more",), 1, "more"),
        (("schema",), 2, "schema"),
    ],
)
def test_what_a_manifest_must_not_say(path, value, says, pool):
    change(pool, path, value)
    with pytest.raises(PerpcsError, match=says):
        use(pool)


def test_a_file_of_endless_json_is_not_read(pool, monkeypatch):
    monkeypatch.setattr("perpcs.pool.manifest.MOST_BYTES", 100)
    with pytest.raises(PerpcsError, match="cannot be read"):
        read_manifest(pool)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_of_a_record_are_finite(number, pool):
    rows = json.loads((pool / TASK / "sharers.json").read_bytes())
    rows[0]["loss"] = [number]
    (pool / TASK / "sharers.json").write_text(json.dumps(rows))
    sign(pool, "sharers.json")
    with pytest.raises(PerpcsError, match=r"0\.loss\.0: Input should be a finite number"):
        use(pool)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, '{"schema": 1e999}', "\x00\xff", "9" * 5000])
def test_a_manifest_that_is_none_is_a_sentence(text, pool):
    (pool / "manifest.json").write_text(text)
    with pytest.raises(PerpcsError):
        Pool(pool)


# ---- tensors -------------------------------------------------------------------------------------------------------


def retensor(folder, work, name=PIECES):
    path = folder / TASK / name
    tensors = load_file(path)
    work(tensors)
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    sign(folder, name)


def one(tensors, name, value):
    tensors[name].view(-1)[0] = value


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (lambda t: one(t, "A.0", float("nan")), "not finite"),
        (lambda t: one(t, "gate.1", float("inf")), "not finite"),
        (lambda t: t.update({"A.0": t["A.0"].half()}), "F16"),
        (lambda t: t.update({"B.0": t["B.0"].mT}), "B.0"),
        (lambda t: t.update({"A.0": torch.zeros(0, 10**6, 10**6)}), "A.0"),
        (lambda t: t.update({"A.0.scale": torch.ones(1, 1, 10**6)}), "A.0.scale"),
        (lambda t: t.update({"distilled.0": t["gate.0"].clone()}), "distilled.1"),
        (lambda t: t.update({"mask": t["mask"].T}), "mask"),
        (lambda t: t.update({"more": torch.zeros(1)}), "more"),
        (lambda t: t.pop("prototype.0"), "prototype.0"),
    ],
)
def test_pieces_of_other_shapes_forms_or_numbers_make_no_person(work, says, pool, tmp_path):
    given = given_by(pool)
    retensor(pool, work)
    with pytest.raises(PerpcsError, match=says):
        Pool(pool).pieces(TASK, "cpu", torch.float32)
    with pytest.raises(PerpcsError, match=says):
        share(pool, given, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_the_mask_alone_is_read_from_a_file_of_the_right_shapes_only(pool):
    retensor(pool, lambda t: t.update({"mask": torch.ones(1, 10**6, dtype=torch.uint8)}))
    with pytest.raises(PerpcsError, match="mask"):
        Pool(pool).mask(TASK)


def with_map(folder):
    sharers = [asdict(sharer) for sharer in Pool(folder).sharers(TASK)]
    rows = {"xy": [row["xy"] for row in sharers], "clusters": [row["cluster"] for row in sharers]}
    write_json(folder / TASK / MAP, {**rows, "items": [row["items"] for row in sharers], "by_profile": [0, 1]})
    save_file({"sharers": torch.zeros(len(sharers), 4)}, folder / TASK / EMBEDDINGS)
    for name in (MAP, EMBEDDINGS):
        sign(folder, name)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("xy", [[0.0, float("nan")]] * 5),
        ("xy", [[0.0]] * 5),
        ("xy", "x"),
        ("xy", [[0.0, 0.1], [0.0]]),
        ("items", [1e30] * 5),
        ("items", [[1]] * 5),
        ("clusters", [10**30] * 5),
        ("by_profile", [7]),
        ("by_profile", {}),
        ("xy", None),
    ],
)
def test_a_map_that_does_not_fit_does_not_pass(key, value, pool):
    with_map(pool)
    assert use(pool)
    rows = json.loads((pool / TASK / MAP).read_bytes())
    (pool / TASK / MAP).write_text(json.dumps({**rows, key: value}))
    sign(pool, MAP)
    with pytest.raises(PerpcsError, match="map"):
        list(validate(pool))


@pytest.mark.parametrize("rows", [torch.zeros(5, 4, 1), torch.zeros(4, 4), torch.full((5, 4), float("nan")), None])
def test_embeddings_that_do_not_fit_do_not_pass(rows, pool):
    with_map(pool)
    save_file(
        {"sharers": torch.zeros(5, 4), "x": torch.zeros(1)} if rows is None else {"sharers": rows},
        pool / TASK / EMBEDDINGS,
    )
    sign(pool, EMBEDDINGS)
    with pytest.raises(PerpcsError, match="embeddings"):
        list(validate(pool))


# ---- sizes ---------------------------------------------------------------------------------------------------------


def rebase(folder, **config):
    path = folder / "base" / "config.json"
    write_json(path, {**json.loads(path.read_bytes()), **config})
    write_manifest(folder, replace(read_manifest(folder), base_hash=base_hash(folder / "base")))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 10**6},
        {"vocab_size": 10**8},
        {"intermediate_size": 10**7},
        {"hidden_size": 10**6},
        {"num_hidden_layers": "x"},
        {"model_type": "nothing"},
    ],
)
def test_a_config_that_asks_for_more_than_the_files_hold_is_refused(config, pool):
    rebase(pool, **config)
    with pytest.raises(PerpcsError, match=r"config\.json describes"):
        Pool(pool).base("cpu", "float64")


def test_a_stored_base_model_follows_no_adapter_to_another_folder(pool):
    write_json(pool / "base" / "adapter_config.json", {"base_model_name_or_path": "/elsewhere", "peft_type": "LORA"})
    rebase(pool)
    with pytest.raises(PerpcsError, match="no plain model"):
        Pool(pool).base("cpu", "float64")


LARGE = """
import resource, sys
from perpcs.errors import PerpcsError
from perpcs.pool.store import Pool
from perpcs.pool.validate import validate
import torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for folder in sys.argv[1:]:
    try:
        list(validate(folder)), Pool(folder).pieces("LaMP_4", "cpu", torch.float32)
    except PerpcsError as error:
        print(error)
    else:
        print("used")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_what_a_manifest_claims_takes_no_memory(pool, tmp_path):
    """A rank of a million cost 4.8 GB; now every size is compared with the file's header first."""
    claims = [(("rank",), 4096), (("tasks", 0, "sharers"), 32_767), (("positions", 0, "n"), 2**20)]
    shape = {"profile": 2**20, "width": 2**20, "hidden": 2**20, "rank": 2**20, "alpha": 1.0}
    folders = []
    for number, (path, value) in enumerate(claims):
        folders.append(shutil.copytree(pool, tmp_path / str(number)))
        change(folders[-1], path, value)
    folders.append(shutil.copytree(pool, tmp_path / "net"))
    save_file({"x": torch.zeros(1)}, folders[-1] / "hypernet.safetensors")
    sha = hash_file(folders[-1] / "hypernet.safetensors")
    change(folders[-1], ("hypernet",), {"sha256": sha, "shape": shape})
    done = subprocess.run([sys.executable, "-c", LARGE, *folders], capture_output=True, text=True, check=True)
    *said, megabytes = done.stdout.splitlines()
    assert len(said) == len(folders)
    assert "used" not in said
    assert int(megabytes) < 700, "transformers itself is about 300 MB"


# ---- what lies beside the manifest ---------------------------------------------------------------------------------


ODD_ANSWERS = ({"answers": {"a": 1}}, {"answers": {"a": {"b": {"c": {"text": 3}}}}})


@pytest.mark.parametrize("value", [None, [], {}, {"pool_hash": 1}, "x", *ODD_ANSWERS])
def test_stored_answers_that_are_none_are_asked_anew(value, pool):
    from perpcs.serve.stored import Stored

    stored = Stored(Pool(pool))
    whole = {**value, "pool_hash": stored.pool.hash} if isinstance(value, dict) else value
    for path in (answers_path(pool, TASK), recognised_path(pool, TASK), pool / TASK / "portraits.json"):
        path.write_text(json.dumps(whole))
    assert stored.answers(TASK, "a", "b") == {}
    assert stored.shared(TASK) == ()
    assert stored.recognised(TASK) is None
    assert not stored.portraits(TASK).sharers


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["manifest.json", f"{TASK}/{PIECES}", f"{TASK}/sharers.json", "base/config.json"]),
    at=st.floats(0, 0.999),
)
def test_a_flipped_bit_is_read_or_is_a_sentence(name, at, pool, clean):
    shutil.copyfile(clean / name, pool / name)
    flip(pool / name, at)
    try:
        use(pool)
    except PerpcsError:
        pass
    finally:
        shutil.copyfile(clean / name, pool / name)
