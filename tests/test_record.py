"""Laws of the stored person: the same bytes again, sums that hold, and a sentence for every damaged file.

A byte a weight: what comes back, and that it answers like what was kept of it.
"""

import base64
import copy
import json
import math
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ITEMS, route

from perpcs.assembly.assemble import assemble
from perpcs.assembly.record import Assembly, pack_weights, quantised_size, rounded, unpack_weights
from perpcs.assembly.routers import make_router
from perpcs.assembly.routers.fit import settled
from perpcs.cli import main
from perpcs.errors import PerpcsError
from perpcs.model.basis import people
from perpcs.model.likelihood import encode_pair, target_nll
from perpcs.pool.store import Pool
from perpcs.serve.engine import Engine
from perpcs.tasks import get_task

# ---- the record ------------------------------------------------------------------------------------------------------


ROUTED = make_router(router="prototype", temperature=0.2)
"""Weights are the mean of votes, so what follows from votes can be checked."""


def make(n=4, p=3, s=5, k=2, seed=0):
    """A record whose weights are the mean of its items' votes; some items chose fewer than k pieces."""
    random = np.random.default_rng(seed)
    order = random.permuted(np.tile(np.arange(s), (n, p, 1)), axis=2)[:, :, :k]
    fewer = random.random((n, p, k)) < 0.3
    choices = np.where(fewer, -1, order).astype(np.int16)
    votes = np.where(fewer, 0, random.random((n, p, k))).astype(np.float16)
    dense = np.zeros((n, p, s), dtype=np.float32)
    for i, q, j in np.ndindex(n, p, k):
        if choices[i, q, j] >= 0:
            dense[i, q, choices[i, q, j]] = votes[i, q, j]
    return Assembly(
        weights=dense.sum(0) / max(n, 1),
        scores=random.normal(size=(p, s)).astype(np.float32),
        choices=choices,
        votes=votes,
        task="LaMP_4",
        positions=tuple(f"layer {q}, q_proj" for q in range(p)),
        sharers=tuple(f"s{j}" for j in range(s)),
        pool="tiny",
        pool_hash="ab" * 32,
        router={"router": "gate", "k": k},
        tokens=120,
        seconds=0.25,
        cut_items=1,
        user="ada",
        extra={"note": [1, 2.5, None]},
    )


RECORD = make()


@pytest.fixture(scope="module")
def person(tiny_pool_folder):
    """A person as assembling makes them."""
    pool = Pool(tiny_pool_folder)
    return assemble(pool.base("cpu", "float64"), pool, get_task("LaMP_4"), ITEMS, options=ROUTED)


# ---- what the numbers say -------------------------------------------------------------------------------------------


def test_weights_are_the_mean_of_the_items_own(person):
    for record in (person, RECORD):
        own = record.item_weights()
        assert own.shape == (record.n_items, len(record.positions), len(record.sharers))
        np.testing.assert_allclose(own.mean(0), record.weights, atol=3e-3)  # votes are float16, weights a byte
    for i, p in np.ndindex(RECORD.n_items, 3):
        row = np.zeros(5)
        for sharer, vote in zip(RECORD.choices[i, p], RECORD.votes[i, p], strict=True):
            if sharer >= 0:
                row[sharer] = vote
        np.testing.assert_array_equal(RECORD.item_weights()[i, p], row)


def test_leaving_an_item_out_is_an_assembly_without_it(person, tiny_pool_folder):
    pool = Pool(tiny_pool_folder)
    base = pool.base("cpu", "float64")
    for index in (0, 3, len(ITEMS) - 1):
        rest = ITEMS[:index] + ITEMS[index + 1 :]
        again = assemble(base, pool, get_task("LaMP_4"), rest, options=ROUTED)
        np.testing.assert_allclose(person.without_item(index), again.weights, atol=3e-3)
        assert np.abs(person.without_item(index) - person.weights).max() > 0.01
    assert not make(n=1).without_item(0).any()


@pytest.mark.parametrize("seed", range(5))
def test_effective_sharers_lie_between_one_and_the_number_that_hold_weight(seed):
    record = make(seed=seed)
    found = record.effective_sharers()
    holding = (record.weights > 0).sum(1)
    assert ((found >= np.minimum(holding, 1) - 1e-5) & (found <= holding + 1e-5)).all()


def test_effective_sharers_and_top_share_of_known_weights():
    weights = np.array([[0, 1, 0, 0], [0.25, 0.25, 0.25, 0.25], [0, 0, 0, 0], [0.5, 0, 0.5, 0]], dtype=np.float32)
    record = replace(make(p=4, s=4), weights=weights)
    np.testing.assert_allclose(record.effective_sharers(), [1, 4, 0, 2], atol=1e-5)
    np.testing.assert_allclose(record.top_share(), [1, 0.25, 0, 0.5], atol=1e-6)
    assert record.distinct_sharers() == 4
    assert replace(record, weights=weights[:1].repeat(4, 0)).distinct_sharers() == 1
    assert [name for name, _ in record.top_sharers(2)] == ["s1", "s0"]
    assert math.isclose(sum(share for _, share in record.top_sharers(9)), 1, rel_tol=1e-6)
    empty = replace(record, weights=np.zeros_like(weights))
    assert (empty.top_sharers(), empty.distinct_sharers()) == ([], 0)


# ---- on disk --------------------------------------------------------------------------------------------------------


def equal(one, two):
    arrays = ("weights", "scores", "choices", "votes", "own")
    for name in arrays:
        a, b = getattr(one, name), getattr(two, name)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.array_equal(a, b)
    blank = dict.fromkeys(arrays)
    assert replace(one, **blank) == replace(two, **blank)


def test_a_saved_person_comes_back_and_saves_to_the_same_bytes(person, tmp_path):
    for number, record in enumerate((person, RECORD, make(n=0), make(n=1, p=1, s=1, k=1))):
        path = tmp_path / f"{number}.json"
        size = record.save(path)
        assert size == path.stat().st_size
        loaded = Assembly.load(path)
        equal(loaded, record)
        loaded.save(tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".json"]  # no temporary file stays


def test_a_record_of_other_float_types_is_stored_as_the_documented_ones(tmp_path):
    wide = replace(RECORD, weights=RECORD.weights.astype(np.float64), choices=RECORD.choices.astype(np.int64))
    wide.save(tmp_path / "wide.json")
    equal(Assembly.load(tmp_path / "wide.json"), RECORD)


def test_a_saved_person_is_small_and_holds_no_text_of_theirs(person, tmp_path):
    size = person.save(tmp_path / "person.json")
    assert size < 8_000
    text = (tmp_path / "person.json").read_text()
    assert not [item for item in ITEMS if item.x in text or item.y in text]


# ---- damaged files --------------------------------------------------------------------------------------------------


def bad(text):
    with pytest.raises(PerpcsError):
        Assembly.from_json(text)


def changed(**changes):
    """The record's JSON with fields replaced; a dot goes into an array."""
    data = json.loads(RECORD.to_json())
    for path, value in changes.items():
        where = data
        *parents, last = path.split("__")
        for parent in parents:
            where = where[parent]
        where[last] = value
    return json.dumps(data)


def packed(values, dtype):
    return base64.b64encode(zlib.compress(np.asarray(values, dtype=dtype).tobytes())).decode()


def test_a_change_that_is_none_loads():
    equal(Assembly.from_json(changed()), RECORD)


def test_every_truncation_is_an_error():
    text = RECORD.to_json()
    for length in range(0, len(text) - 1, 7):
        bad(text[:length])


WRONG = {
    "another kind": changed(kind="perpcs-pool"),
    "a newer schema": changed(schema=2),
    "no schema": RECORD.to_json().replace('"schema": 1', '"shema": 1'),
    "a list": "[1, 2]",
    "null": "null",
    "no JSON": "<html>",
    "binary": b"\x80\x04\x95pickle",
    "nested beyond reason": "[" * 100_000,
    "an unknown field": changed(surprise=1),
    "arrays that are none": changed(arrays=[]),
    "a shape of words": changed(arrays__weights__shape="3x5"),
    "an infinite shape": RECORD.to_json().replace('"shape": [\n    3,\n    5', '"shape": [\n    1e999,\n    5'),
    "a negative shape": changed(arrays__weights__shape=[-3, -5]),
    "a negative and a zero": changed(arrays__weights__shape=[-1, 0]),
    "the wrong shape": changed(arrays__weights__shape=[5, 3]),
    "too few numbers": changed(arrays__weights__shape=[3, 6]),
    "an enormous shape": changed(arrays__choices__shape=[10**9, 10**9, 2]),
    "an enormous empty shape": changed(arrays__choices__shape=[10**30, 3, 0], arrays__choices__zlib=packed([], "<i2")),
    "no base64": changed(arrays__votes__zlib="*" * 40),
    "no zlib": changed(arrays__votes__zlib=base64.b64encode(b"x" * 40).decode()),
    "a cut zlib stream": changed(arrays__weights__zlib=packed(RECORD.weights, "<f4")[:24]),
    "NaN": changed(arrays__weights__zlib=packed(np.full(15, np.nan), "<f4")),
    "infinity": changed(arrays__votes__zlib=packed(np.full(24, np.inf), "<f2")),
    "a choice beyond the sharers": changed(arrays__choices__zlib=packed(np.full(24, 5), "<i2")),
    "a choice below none": changed(arrays__choices__zlib=packed(np.full(24, -2), "<i2")),
    "too many names": changed(sharers=["a"] * 6),
    "names that are numbers": changed(sharers=[1, 2, 3, 4, 5]),
    "positions that are none": changed(positions=None),
    "a task that is a list": changed(task=["LaMP_4"]),
    "a router that is a word": changed(router="gate"),
    "tokens that are a word": changed(tokens="many"),
    "time that is NaN": changed(seconds=float("nan")),
    "extra that is a list": changed(extra=[]),
}


@pytest.mark.parametrize("damage", WRONG)
def test_a_wrong_file_is_a_sentence(damage):
    assert WRONG[damage] != RECORD.to_json()
    bad(WRONG[damage])


def test_a_zip_bomb_is_not_unpacked():
    bomb = base64.b64encode(zlib.compress(b"\0" * 200_000_000)).decode()  # 200 MB in 260 KB of text
    import tracemalloc

    text = changed(arrays__weights__zlib=bomb)
    tracemalloc.start()
    bad(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"user": "x" * 1_000_000},
        {"user": "\ud800"},
        {"sharers": ["x" * 300, "s1", "s2", "s3", "s4"]},
        {"sharers": ["s1"] * 5},
        {"positions": ["one"]},
        {"positions": "abc"},
        {"router": {"router": "gate", "half_life": 1e308}},
        {"router": {"router": "gate", "half_life": "x"}},
        {"router": {"router": ["gate"]}},
        {"router": {"router": "gate", "without": {"a": 1}}},
        {"router": {"router": "gate", "without": [1]}},
        {"extra": {"without": 3}},
        {"extra": {"length": "far"}},
        {"extra": {"note": float("nan")}},
        {"extra": {"note": "x" * 100_000}},
        {"tokens": 1.5},
        {"tokens": True},
        {"seconds": float("inf")},
        {"seconds": "1"},
        {"more": 1},
    ],
)
def test_odd_values_inside_a_saved_person_are_damage(changes):
    whole = {**json.loads(RECORD.to_json()), **changes}
    with pytest.raises(PerpcsError, match="damaged"):
        Assembly.from_json(json.dumps(whole))


def test_shapes_that_no_pool_has_are_damage_before_anything_is_made_of_them():
    """Weights of one position were spread over all; a few KB could ask for gigabytes."""
    for shape in ((1, 5), (3, 1), (15,), (5, 3)):
        whole = json.loads(make(p=3, s=5).to_json())
        raw = np.ones(shape, "<f4").tobytes()
        whole["arrays"]["weights"] = {"shape": shape, "zlib": base64.b64encode(zlib.compress(raw)).decode()}
        with pytest.raises(PerpcsError, match="damaged"):
            Assembly.from_json(json.dumps(whole))
    many = json.loads(make(n=1, p=1, k=1).to_json())
    many["positions"], many["sharers"] = ([f"{name}{i}" for i in range(4000)] for name in "ps")
    empty = {"shape": [4000, 4000], "zlib": base64.b64encode(zlib.compress(bytes(4 * 4000 * 4000))).decode()}
    votes = {"shape": [10_000, 4000, 0], "zlib": base64.b64encode(zlib.compress(b"")).decode()}
    many["arrays"] = {"weights": empty, "scores": empty, "choices": votes, "votes": votes}
    with pytest.raises(PerpcsError, match="damaged"):
        Assembly.from_json(json.dumps(many))


def test_a_person_with_other_layers_than_the_pools_is_damaged_in_the_app_and_on_the_command_line(
    person, tiny_pool_folder, tmp_path, capsys
):
    engine = Engine.open(tiny_pool_folder, "cpu", "float64")
    engine.check(person)
    one = replace(
        person,
        positions=person.positions[:1],
        weights=person.weights[:1],
        scores=person.scores[:1],
        choices=person.choices[:, :1],
        votes=person.votes[:, :1],
    )
    renamed = replace(person, positions=person.positions[::-1])
    owned = replace(person, own=np.ones(7, np.float16))
    for other in (one, renamed, owned):
        with pytest.raises(PerpcsError):
            engine.check(other)
        path = tmp_path / "person.json"
        other.save(path)
        arguments = ["generate", "--pool", str(tiny_pool_folder), "--user", str(path), "--input", "A boat came back."]
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 2
        assert "damaged" in said or "own piece" in said


def test_missing_and_unreadable_paths_are_errors(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(PerpcsError, match="Cannot read"):
            Assembly.load(path)


def loads_or_tells(text):
    """A mutated file either is an error, or a record on which everything can be asked."""
    try:
        record = Assembly.from_json(text)
    except PerpcsError:
        return
    record.item_weights()
    record.effective_sharers()
    record.top_sharers()
    record.top_share()
    record.distinct_sharers()
    if record.n_items:
        record.without_item(0)
    equal(Assembly.from_json(record.to_json()), record)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_random_bytes_in_a_file_raise_nothing_else(data):
    text = bytearray(RECORD.to_json().encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    loads_or_tells(bytes(text))


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just("QUJD")
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


def places(value, path=()):
    """Every place inside a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


PLACES = [path for path in places(json.loads(RECORD.to_json())) if path]


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(PLACES), value=values, remove=st.booleans())
def test_any_other_value_at_any_place_raises_nothing_else(path, value, remove):
    data = copy.deepcopy(json.loads(RECORD.to_json()))
    where = data
    for key in path[:-1]:
        where = where[key]
    if remove:
        del where[path[-1]]
    else:
        where[path[-1]] = value
    loads_or_tells(json.dumps(data))


# ---- a byte a weight -------------------------------------------------------------------------------------------------


TASK = get_task("LaMP_4")


@pytest.mark.parametrize("low", [0.0, -0.4])
@pytest.mark.parametrize("size", [1e-3, 1.0, 40.0])
def test_weights_come_back_within_half_a_step(low, size):
    weights = size * np.random.default_rng(0).uniform(low, 1, (16, 40)).astype(np.float32)
    weights[3] = 0
    raw = pack_weights(weights)
    assert len(raw) == quantised_size(weights.size) == 642
    back = unpack_weights(raw, weights.shape)
    step = np.abs(weights).max() / (127 if low else 255)
    assert np.abs(back - weights).max() <= 0.51 * step + 1e-3 * size
    assert (back[3] == 0).all(), "what was not chosen stays out"
    np.testing.assert_array_equal(rounded(back), back)
    assert pack_weights(back) == raw


@pytest.mark.parametrize("weights", [np.zeros((2, 3)), np.full((2, 3), 1e-12), np.zeros((0, 3))])
def test_no_weight_is_the_base_model(weights):
    np.testing.assert_array_equal(rounded(weights), np.zeros_like(weights))


@pytest.mark.parametrize("router", ["gate", "fit"])
def test_a_record_holds_what_a_byte_a_weight_gives_back(router, tiny_pool_folder):
    pool = Pool(tiny_pool_folder)
    base = pool.base("cpu", "float64")
    options = settled(make_router(router=router, steps=8), texts=TASK.kind == "text")
    person = assemble(base, pool, TASK, ITEMS, options=options)
    np.testing.assert_array_equal(rounded(person.weights), person.weights)
    encoded = [encode_pair(base.tokenizer, *TASK.pair(item), base.max_tokens) for item in ITEMS]
    pieces = pool.pieces("LaMP_4", base.device, base.dtype)
    exact = route(base, pieces, encoded, options).weights

    def nll(weights):
        with torch.no_grad():
            w = torch.from_numpy(weights).to(base.dtype)[None].expand(len(encoded), -1, -1)
            total, counts = target_nll(base, encoded, people(pieces.pieces, w))
        return float(total.sum() / counts.sum())

    without = nll(np.zeros_like(exact))
    assert abs(nll(person.weights) - nll(exact)) < 0.02 * abs(nll(exact) - without)


def test_an_own_piece_is_part_of_the_fingerprint():
    person = make()
    other = replace(person, own=np.ones(4, np.float16))
    assert other.fingerprint != person.fingerprint
    assert make().fingerprint == person.fingerprint


def test_only_what_peft_has_is_exportable():
    person = make()
    with_own = replace(person, own=np.ones(4, np.float16))
    nothing = replace(person, weights=np.zeros_like(person.weights))
    said = {
        kind: [one.is_exportable(kind) for one in (person, with_own, nothing)]
        for kind in ("lora", "ia3", "adapter", "prefix")
    }
    assert said == {
        "lora": [True, True, False],
        "ia3": [True, False, False],
        "adapter": [False] * 3,
        "prefix": [False] * 3,
    }
