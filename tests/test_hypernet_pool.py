"""A network that writes LoRAs, in a pool: opened once, damage is a sentence, rows carry it, stages make it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import POSITIONS, QUICK, SHAPE, TASK, shaken, user
from safetensors.torch import load, save
from tiny import ITEMS, write_tiny_pool

from perpcs.errors import PerpcsError
from perpcs.evaluate.protocol import answer_all, prepare
from perpcs.files import hash_file
from perpcs.model.basis import fixed, own_updates
from perpcs.model.likelihood import encode_pair, target_nll
from perpcs.personalizers import adapters
from perpcs.personalizers import methods as registry
from perpcs.personalizers.methods import Person, Setting
from perpcs.pool import select as embedding
from perpcs.pool.hypernet import Hypernet, HypernetShape, hypernet_bytes, read_hypernet, rows_adapter
from perpcs.pool.manifest import read_manifest, write_manifest
from perpcs.pool.stages import Choice, Learners, Stage, Workspace, hypernet_stage, profiles_stage
from perpcs.pool.store import HYPERNET, Pool


def sign(folder, data, shape=SHAPE, version=embedding.VERSION):
    """Put a network's bytes into a pool, as a builder would."""
    (folder / HYPERNET).write_bytes(data)
    manifest = read_manifest(folder)
    facts = {"shape": vars(shape), "profile_version": version, "sha256": hash_file(folder / HYPERNET)}
    first = replace(manifest.tasks[0], encoder="minilm")
    write_manifest(folder, replace(manifest, tasks=(first, *manifest.tasks[1:]), hypernet=facts))


@pytest.fixture
def pool_folder(tmp_path):
    folder = write_tiny_pool(tmp_path / "pool")
    sign(folder, hypernet_bytes(shaken(Hypernet(read_manifest(folder).positions, SHAPE))))
    return folder


@pytest.fixture
def told(monkeypatch):
    """Profiles embedded without an encoder: a few numbers that the text decides."""

    def embed(texts, encoder):
        assert encoder == "minilm"
        rows = [np.random.default_rng(list(text.encode())).normal(size=SHAPE.profile) for text in texts]
        return torch.tensor(np.array(rows), dtype=torch.float32)

    monkeypatch.setattr(embedding, "embed_texts", embed)


def lora_of(pool, task, history, base=None):
    (found,) = registry.prepare(Setting(base, pool, task), [Person("me", history)], "p2p")
    return found


def test_a_pool_opens_its_network_once_and_one_without_has_none(pool_folder):
    pool = Pool(pool_folder)
    net = pool.hypernet
    assert net is not None
    assert pool.hypernet is net
    assert not any(parameter.requires_grad for parameter in net.parameters())
    again = read_hypernet(load(hypernet_bytes(net)), pool.manifest.positions, SHAPE)
    assert hypernet_bytes(again) == (pool_folder / HYPERNET).read_bytes()


def test_a_pool_without_a_network_says_so(tmp_path):
    pool = Pool(write_tiny_pool(tmp_path / "pool"))
    assert pool.hypernet is None
    with pytest.raises(PerpcsError, match="no network that writes adapters"):
        lora_of(pool, TASK, ITEMS)


def other(data, change):
    tensors = load(data)
    change(tensors)
    return save(tensors)


DAMAGES = {
    "is damaged": lambda data: b"\x80\x04pickle",
    "damaged": lambda data: data[: len(data) // 2],
    r"has no heads\.0\.bias": lambda data: other(data, lambda t: t.pop("heads.0.bias")),
    "holds 'x', which no pool needs": lambda data: other(data, lambda t: t.update(x=torch.zeros(1))),
    "7 at mean, and F16 6 belongs there": lambda data: other(data, lambda t: t.update({"mean": torch.zeros(7)})),
    "not finite, in mean": lambda data: other(data, lambda t: t["mean"].fill_(float("nan"))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_network_that_is_none_is_a_sentence(damage, pool_folder):
    sign(pool_folder, DAMAGES[damage]((pool_folder / HYPERNET).read_bytes()))
    with pytest.raises(PerpcsError, match=damage):
        assert Pool(pool_folder).hypernet


def test_altered_networks_and_networks_of_another_profile_are_refused(pool_folder):
    path = pool_folder / HYPERNET
    data = path.read_bytes()
    sign(pool_folder, data, version=0)
    with pytest.raises(PerpcsError, match="another version of the profiles"):
        lora_of(Pool(pool_folder), TASK, ITEMS)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(PerpcsError, match="altered"):
        assert Pool(pool_folder).hypernet


def test_a_history_becomes_a_lora_that_a_row_carries(pool_folder, told):
    pool = Pool(pool_folder)
    base = pool.base("cpu", "float64")
    histories = [ITEMS, ITEMS[::-1]]
    found = [lora_of(pool, TASK, history) for history in histories]
    assert found[0].bytes == 2 * sum(SHAPE.rank * (p.n + p.d) for p in base.positions)
    assert found[0].seconds > 0
    net = pool.hypernet
    A, B = net(adapters.profiles_of(pool, TASK, histories))
    direct = rows_adapter(A, B, torch.tensor([1, 0, 1]), SHAPE.scale)
    carried = fixed(own_updates([found[i].own for i in (1, 0, 1)], base.device, base.dtype))
    batch = [encode_pair(base.tokenizer, *TASK.pair(item), 200) for item in ITEMS[:3]]
    with torch.no_grad():
        found, expected = (target_nll(base, batch, adapter)[0] for adapter in (carried, direct))
        torch.testing.assert_close(found, expected, atol=0, rtol=1e-4)  # two calls of a network in float32
        assert not torch.allclose(found, target_nll(base, batch)[0], atol=1e-3)
    with pytest.raises(PerpcsError, match="no history"):
        lora_of(pool, TASK, ())


def test_an_evaluation_gives_everybody_their_own_lora_and_the_controls_another(pool_folder, told):
    pool = Pool(pool_folder)
    base = pool.base("cpu", "float64")
    users = [user(6, name="a"), user(9, name="b"), user(7, name="c")]
    own, shuffled, drawn, plain = (
        prepare(base, pool, TASK, users, name) for name in ("p2p", "p2p:shuffled", "p2p:random", "base")
    )

    def nll(prepared, shift=0):
        return torch.tensor([row["nll"] for one in answer_all(base, pool, TASK, users, prepared, shift) for row in one])

    mine = nll(own)
    torch.testing.assert_close(nll(shuffled), nll(own, shift=1))
    for control in (shuffled, drawn, plain):
        assert bool((nll(control) - mine).abs().min() > 1e-6)
    assert own[0].bytes == lora_of(pool, TASK, users[0].history).bytes
    assert own[0].seconds > 0
    both = prepare(base, pool, TASK, users, "p2p+rag:1")
    assert (len(both[0].prompt(users[0].queries[0]).retrieved), both[0].bytes > own[0].bytes) == (1, True)
    with pytest.raises(PerpcsError, match="Unknown method 'p2p:other'"):
        prepare(base, pool, TASK, users, "p2p:other")


def test_the_stages_run_once_and_give_what_the_pool_opens(tiny_base, told, tmp_path):
    base, users = tiny_base(), [user(9, name=f"p{number}") for number in range(12)]
    chosen = Stage("choose-x", tmp_path, Choice([], [number % 4 for number in range(12)], [], []))
    brief, said, found = replace(QUICK, steps=2), [], []
    for _ in range(2):
        space = Workspace(tmp_path / "work", said.append)
        embedded = profiles_stage(space, TASK, users, "seed 1", "minilm")
        found.append(hypernet_stage(space, base, "base-x", [Learners(TASK, users, embedded, chosen)], brief))
    assert found[0] == found[1]
    assert said[-2:] == ["profiles-LaMP_4: done before", "hypernet: done before"]
    folder, facts = found[0].folder, found[0].result
    assert [file.name for file in sorted(folder.iterdir())] == ["done.json", HYPERNET]
    read_hypernet(load((folder / HYPERNET).read_bytes()), base.positions, HypernetShape(**facts["shape"]))
    assert facts["tasks"]["LaMP_4"]["held_out"] == {"people": 1, "clusters": 3}
    both = [Learners(TASK, users, embedded, chosen)] * 2
    other = hypernet_stage(space, base, "base-x", both, brief)
    assert other.result["tasks"]["LaMP_4"]["held_out"] == {"people": 2, "clusters": 6}
    assert other.key != found[0].key
    other = hypernet_stage(space, base, "base-x", both[:1], replace(brief, seed=1))
    assert other.key != found[0].key


def test_drawn_profiles_look_like_real_ones_and_are_nobodys():
    net = shaken(Hypernet(POSITIONS, SHAPE))
    drawn = adapters.random_profiles(net, 4000)
    torch.testing.assert_close(drawn.mean(0), net.mean, atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.std(0), net.spread, atol=0.1, rtol=0)
    assert torch.equal(adapters.random_profiles(net, 3), adapters.random_profiles(net, 3))
