"""Laws of a pool: what is written is what is read, every damage is a sentence, sharers are chosen and share by rule."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import flip
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from sklearn.exceptions import ConvergenceWarning
from tiny import ALPHA, FAMILIES, RANK, SHARERS, random_ids, write_tiny_pool

from perpcs.errors import PerpcsError
from perpcs.files import hash_file, write_json
from perpcs.model.basis import people
from perpcs.pool import select
from perpcs.pool.manifest import read_manifest, write_manifest
from perpcs.pool.select import check_disjoint, choose_sharers, cluster_terms, share_mask
from perpcs.pool.store import PIECES, Pool, write_pieces
from perpcs.tasks import Item, get_task


@pytest.fixture
def pool_folder(tiny_pool_folder, tmp_path):
    """A copy of the tiny pool that a test may damage."""
    return shutil.copytree(tiny_pool_folder, tmp_path / "pool")


def open_all(folder):
    """Everything that a person's session asks of a pool."""
    pool = Pool(folder)
    pool.base("cpu", "float64")
    for part in pool.manifest.tasks:
        pool.sharers(part.task)
        pool.examples(part.task)
        pool.pieces(part.task, "cpu", torch.float64)
    return pool.hash


# ---- round trip -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_pieces_come_back_as_they_were_written_and_hidden_ones_as_zeros(dtype, tmp_path):
    mask = torch.rand(8, SHARERS, generator=torch.Generator().manual_seed(0)) < 0.5
    folder = write_tiny_pool(tmp_path / "pool", mask=mask, dtype=dtype)
    whole = write_tiny_pool(tmp_path / "whole", dtype=dtype)
    found = Pool(folder).pieces("LaMP_4", "cpu", torch.float64)
    full = Pool(whole).pieces("LaMP_4", "cpu", torch.float64)
    assert torch.equal(found.mask, mask)
    assert bool(full.mask.all())
    assert found.pieces.scale == ALPHA / RANK
    assert (found.pieces.sharers, found.pieces.rank, len(found.pieces)) == (SHARERS, RANK, 8)
    groups = [(one.pieces.A, one.pieces.Bt, one.gates, one.prototypes) for one in (found, full)]
    for mine, theirs in zip(*groups, strict=True):
        for p, (rows, all_rows) in enumerate(zip(mine, theirs, strict=True)):
            assert rows.dtype == torch.float64
            assert torch.equal(rows[mask[p]], all_rows[mask[p]])
            assert not rows[~mask[p]].any()  # a piece that is not shared is nowhere in the file
            assert bool((all_rows.flatten(1).abs().amax(1) > 0).all())


def test_written_values_are_the_given_ones_in_the_stored_precision(tmp_path):
    A, B = [torch.randn(2, 3, 4)], [torch.randn(2, 5, 3)]
    gates, prototypes = [torch.randn(2, 4)], [torch.randn(2, 4)]
    write_pieces(tmp_path / "x.safetensors", A, B, gates, prototypes, torch.ones(1, 2, dtype=torch.bool), "float16")
    found = load_file(tmp_path / "x.safetensors")
    for name, rows in (("A.0", A), ("B.0", B), ("gate.0", gates), ("prototype.0", prototypes)):
        assert torch.equal(found[name], rows[0].half())
    assert set(found) == {"A.0", "B.0", "gate.0", "prototype.0", "mask"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pool_of_any_family_opens_with_its_own_positions(family, tmp_path):
    pool = Pool(write_tiny_pool(tmp_path / "pool", family=family, tasks=("LaMP_4",)))
    base = pool.base("cpu", "float64")
    assert base.positions == pool.manifest.positions
    pieces = pool.pieces("LaMP_4", "cpu", torch.float64).pieces
    ids = random_ids(base, 1, 5)
    weights = torch.ones(1, len(base.positions), SHARERS, dtype=torch.float64)
    with torch.no_grad():
        assert not torch.allclose(base.hidden(ids, people(pieces, weights)), base.hidden(ids), atol=1e-3)


def test_pieces_are_read_once_for_each_device_and_dtype(pool_folder):
    pool = Pool(pool_folder)
    first = pool.pieces("LaMP_4", "cpu", torch.float32)
    assert pool.pieces("LaMP_4", torch.device("cpu"), torch.float32) is first
    assert pool.pieces("LaMP_4", "cpu", torch.float64) is not first
    assert pool.pieces("LaMP_2", "cpu", torch.float32) is not first


def test_a_manifest_comes_back_equal_and_its_hash_is_the_files(pool_folder):
    manifest = read_manifest(pool_folder)
    assert Pool(pool_folder).hash == hash_file(pool_folder / "manifest.json")
    write_manifest(pool_folder, manifest)
    assert read_manifest(pool_folder) == manifest
    assert [sharer.id for sharer in Pool(pool_folder).sharers("LaMP_4")] == [f"s{s}" for s in range(SHARERS)]


# ---- damage ---------------------------------------------------------------------------------------------------------


def change_manifest(folder, **changes):
    path = folder / "manifest.json"
    write_json(path, {**json.loads(path.read_text()), **changes})


def change_pieces(folder, change):
    """Change tensors and let the manifest's hash agree: what a wrong builder would write."""
    path = folder / "LaMP_4" / PIECES
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    sign(folder, PIECES)


def sign(folder, name):
    manifest = read_manifest(folder)
    part = manifest.tasks[0]
    files = {**part.files, name: hash_file(folder / part.task / name)}
    write_manifest(folder, replace(manifest, tasks=(replace(part, files=files), *manifest.tasks[1:])))


def fewer_sharers(folder):
    path = folder / "LaMP_4" / "sharers.json"
    write_json(path, json.loads(path.read_text())[1:])
    sign(folder, "sharers.json")


def not_safetensors(folder):
    (folder / "LaMP_4" / PIECES).write_bytes(b"\x80\x04pickle")
    sign(folder, PIECES)


DAMAGES = {
    "one bit of the pieces": lambda f: flip(f / "LaMP_4" / PIECES),
    "one bit of the other task": lambda f: flip(f / "LaMP_2" / PIECES, 0.9),
    "one bit of the base model": lambda f: flip(f / "base" / "model.safetensors"),
    "one bit of the tokenizer": lambda f: flip(f / "base" / "tokenizer.json"),
    "one bit of the sharers": lambda f: flip(f / "LaMP_4" / "sharers.json"),
    "a file more in the base": lambda f: (f / "base" / "extra.json").write_text("{}"),
    "half the pieces": lambda f: (f / "LaMP_4" / PIECES).write_bytes((f / "LaMP_4" / PIECES).read_bytes()[:999]),
    "no pieces": lambda f: (f / "LaMP_4" / PIECES).unlink(),
    "pieces are a folder": lambda f: [(f / "LaMP_4" / PIECES).unlink(), (f / "LaMP_4" / PIECES).mkdir()],
    "no task folder": lambda f: shutil.rmtree(f / "LaMP_2"),
    "no sharers": lambda f: (f / "LaMP_4" / "sharers.json").unlink(),
    "no base": lambda f: shutil.rmtree(f / "base"),
    "no weights": lambda f: (f / "base" / "model.safetensors").unlink(),
    "no manifest": lambda f: (f / "manifest.json").unlink(),
    "no folder": shutil.rmtree,
    "a newer schema": lambda f: change_manifest(f, schema=99),
    "half the manifest": lambda f: (f / "manifest.json").write_text((f / "manifest.json").read_text()[:500]),
    "a manifest that is a list": lambda f: (f / "manifest.json").write_text("[]"),
    "a manifest that is a word": lambda f: (f / "manifest.json").write_text('"pool"'),
    "a manifest in another coding": lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe\xff"),
    "a manifest of one bracket": lambda f: (f / "manifest.json").write_text("[" * 100_000),
    "a field too many": lambda f: change_manifest(f, surprise=1),
    "positions that are none": lambda f: change_manifest(f, positions=[1]),
    "tasks that are none": lambda f: change_manifest(f, tasks=None),
    "another rank": lambda f: change_manifest(f, rank=3),
    "positions of another model": lambda f: change_manifest(f, positions=change_n(f)),
    "a matrix of another width": lambda f: change_pieces(f, lambda t: t.update({"A.3": torch.zeros(5, 2, 31)})),
    "a sharer less at one position": lambda f: change_pieces(f, lambda t: t.update({"B.3": t["B.3"][:4].clone()})),
    "a gate of another width": lambda f: change_pieces(f, lambda t: t.update({"gate.0": torch.zeros(5, 3)})),
    "a missing gate": lambda f: change_pieces(f, lambda t: t.pop("gate.2")),
    "a missing mask": lambda f: change_pieces(f, lambda t: t.pop("mask")),
    "a mask of another shape": lambda f: change_pieces(f, lambda t: t.update({"mask": torch.ones(5, 8)})),
    "pieces that are no safetensors": not_safetensors,
    "sharers that are not the manifest's": fewer_sharers,
    "sharers that are words": lambda f: [(f / "LaMP_4" / "sharers.json").write_text('["a"]'), sign(f, "sharers.json")],
}


def change_n(folder):
    positions = json.loads((folder / "manifest.json").read_text())["positions"]
    positions[0]["n"] += 1
    return positions


def test_the_pool_is_whole_before_it_is_damaged(pool_folder):
    assert open_all(pool_folder) == hash_file(pool_folder / "manifest.json")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pool_is_a_sentence_and_never_half_a_pool(damage, pool_folder):
    DAMAGES[damage](pool_folder)
    with pytest.raises(PerpcsError) as caught:
        open_all(pool_folder)
    assert caught.value.wrong
    assert caught.value.do


def test_a_base_model_of_other_positions_is_refused(pool_folder):
    positions = json.loads((pool_folder / "manifest.json").read_text())["positions"]
    for wrong in (change_n(pool_folder), positions[::-1]):
        change_manifest(pool_folder, positions=wrong)
        with pytest.raises(PerpcsError, match="not those the pool was trained on"):
            Pool(pool_folder).base("cpu", "float64")


def test_a_task_that_the_pool_lacks_is_named_with_those_it_has(pool_folder):
    pool = Pool(pool_folder)
    for ask in (lambda: pool.pieces("LaMP_7", "cpu", torch.float32), lambda: pool.sharers("../LaMP_4"),
                lambda: pool.examples("LaMP_7"), lambda: pool.task("LaMP_7")):  # fmt: skip
        with pytest.raises(PerpcsError, match="Choose one of: LaMP_4, LaMP_2"):
            ask()


def test_examples_are_read_as_people_and_an_altered_file_is_an_error(pool_folder):
    path = pool_folder / "LaMP_4" / "examples.json"
    assert Pool(pool_folder).examples("LaMP_4") == ()
    row = {
        "user_id": "e1", "description": "Asks questions.", "traits": {"style": "question"},
        "profile": [{"id": "1", "text": "Boats came back.", "title": "Boats?"}],
        "query": [{"id": "2", "input": "Generate a headline for the following article: Rain.", "gold": "Wet?"}],
    }  # fmt: skip
    write_json(path, [row])
    sign(pool_folder, "examples.json")
    (example,) = Pool(pool_folder).examples("LaMP_4")
    assert (example.id, example.history, example.queries[0].x) == (
        "e1",
        (Item("Boats came back.", "Boats?", "1"),),
        "Rain.",
    )
    flip(path)
    with pytest.raises(PerpcsError, match="altered"):
        Pool(pool_folder).examples("LaMP_4")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_bytes_in_a_manifest_raise_nothing_but_the_sentence(data, tmp_path_factory, tiny_pool_folder):
    text = bytearray((tiny_pool_folder / "manifest.json").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    folder = tmp_path_factory.mktemp("manifest")
    (folder / "manifest.json").write_bytes(bytes(text))
    try:
        pool = Pool(folder)
        pool.pieces("LaMP_4", "cpu", torch.float32)
    except PerpcsError:
        return
    pytest.fail("there are no pieces in this folder")


# ---- share masks ----------------------------------------------------------------------------------------------------

PATHS = [f"layers.{layer}.{module}" for layer in range(5) for module in "qkvo"]


@settings(max_examples=100, deadline=None)
@given(ratio=st.floats(0.01, 1), seed=st.integers(0, 2**31), ids=st.lists(st.text(max_size=8), unique=True, max_size=6))
def test_every_sharer_shares_the_ratio_of_positions(ratio, seed, ids):
    mask = share_mask(PATHS, ids, ratio, seed)
    assert mask.shape == (len(PATHS), len(ids))
    assert mask.dtype == bool
    assert set(mask.sum(0).tolist()) <= {max(1, round(ratio * len(PATHS)))}
    assert np.array_equal(mask, share_mask(PATHS, ids, ratio, seed))
    for column, id in enumerate(ids):  # whoever else shares, a sharer's own choice stays
        assert np.array_equal(mask[:, column], share_mask(PATHS, [id], ratio, seed)[:, 0])


def test_masks_differ_between_sharers_and_between_seeds():
    ids = [f"s{s}" for s in range(30)]
    mask = share_mask(PATHS, ids, 0.5, 3)
    assert len({column.tobytes() for column in mask.T}) > 25
    assert not np.array_equal(mask, share_mask(PATHS, ids, 0.5, 4))
    assert 0.3 < mask.mean(1).min() <= mask.mean(1).max() < 0.75  # no position is favoured
    assert share_mask(PATHS, ids, 1.0, 3).all()
    assert (share_mask(PATHS, ids, 0.8, 3) >= mask).all()  # who shares more shares what they did before


@pytest.mark.parametrize("ratio", [0, -0.1, 1.01, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(PerpcsError, match="share ratio"):
        share_mask(PATHS, ["a"], ratio, 0)


# ---- choosing sharers -----------------------------------------------------------------------------------------------


@pytest.fixture
def no_map(monkeypatch):
    """UMAP takes seconds to import and has no part in who is chosen."""
    monkeypatch.setattr(select, "lay_out", lambda embeddings, seed: np.zeros((len(embeddings), 2)))


def test_the_most_active_of_every_cluster_shares(no_map):
    random = np.random.default_rng(0)
    centres = np.eye(4)[[0, 1, 2, 3] * 5] * 10
    embeddings = (centres + random.normal(scale=0.1, size=centres.shape)).astype(np.float32)
    sizes = random.permutation(20) + 1
    histories = [[Item("boats")] * size for size in sizes]
    found = choose_sharers(embeddings, histories, 4, seed=1)
    groups = [[i for i in range(20) if i % 4 == c] for c in range(4)]
    assert sorted(found.chosen) == sorted(max(group, key=lambda i: sizes[i]) for group in groups)
    assert [found.clusters[i] for i in found.chosen] == [0, 1, 2, 3]
    assert all(len({found.clusters[i] for i in group}) == 1 for group in groups)
    again = choose_sharers(embeddings, histories, 4, seed=1)
    assert (again.chosen, again.clusters) == (found.chosen, found.clusters)
    alike = choose_sharers(embeddings, [[Item("boats")]] * 20, 4, seed=1)
    assert sorted(alike.chosen) == [0, 1, 2, 3]  # a tie takes the earlier candidate


def test_too_few_or_too_like_candidates_are_refused(no_map):
    with pytest.raises(PerpcsError, match="2 candidates for 3 sharers"):
        choose_sharers(np.eye(2, dtype=np.float32), [[Item("a")]] * 2, 3)
    with pytest.warns(ConvergenceWarning), pytest.raises(PerpcsError, match="many candidates are alike"):
        choose_sharers(np.ones((5, 3), dtype=np.float32), [[Item("a")]] * 5, 3)


@pytest.mark.parametrize("each", [4, 10])
def test_two_kinds_of_people_lie_apart_on_the_map(each: int) -> None:
    """By principal components where people are few, by UMAP where they are many; the same at every call."""
    assert 2 * 4 < select.UMAP_FROM <= 2 * 10
    random = np.random.default_rng(0)
    embeddings = random.normal(0, 0.1, (2 * each, 12)).astype(np.float32)
    embeddings[each:, 0] += 5
    places = select.lay_out(embeddings, seed=3)
    np.testing.assert_array_equal(places, select.lay_out(embeddings, seed=3))
    assert places.shape == (2 * each, 2)
    assert np.abs(places).max() == pytest.approx(1)
    ones, others = places[:each], places[each:]
    spread = max(np.linalg.norm(group - group.mean(0), axis=1).mean() for group in (ones, others))
    assert np.linalg.norm(ones.mean(0) - others.mean(0)) > 3 * spread


def test_a_word_of_fewer_than_three_people_names_no_cluster():
    histories = [
        [Item("secret plan boats")],
        [Item("secret boats", "Boats win")],
        [Item("boats bread")],
        [Item("bread oven")],
    ]
    terms = cluster_terms(histories, np.array([0, 0, 0, 1]), 2)
    assert terms == [("boats",), ()]


def test_people_in_two_groups_are_found_and_named():
    check_disjoint({"base users": ["a", "b"], "sharers": ["c"], "targets": ["d", "d"]})
    with pytest.raises(PerpcsError, match="'b' is among base users and among targets"):
        check_disjoint({"base users": ["a", "b"], "sharers": ["c"], "targets": ["d", "b"]})


# ---- labels ----------------------------------------------------------------------------------------------------------


def test_a_pool_chooses_among_the_labels_of_its_people(pool_folder):
    task, manifest = get_task("LaMP_2N"), read_manifest(pool_folder)
    part = replace(manifest.tasks[0], task="LaMP_2N")
    for kept, labels in (((), task.other_labels), (("sport", "weather"), ("sport", "weather"))):
        write_manifest(pool_folder, replace(manifest, tasks=(replace(part, labels=kept),)))
        assert Pool(pool_folder).labelled(task).labels == labels
    other = get_task(manifest.tasks[0].task)
    write_manifest(pool_folder, manifest)
    assert Pool(pool_folder).labelled(other) == other
