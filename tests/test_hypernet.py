"""Laws of the network that writes LoRAs: zero at first, nobody's row depends on others, profiles know only the past."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from tiny import ITEMS, random_ids, write_tiny_pool

from perpcs.errors import PerpcsError
from perpcs.evaluate.protocol import answer_all, prepare
from perpcs.files import hash_file
from perpcs.model.basis import fixed, own_updates
from perpcs.model.likelihood import target_nll
from perpcs.model.text import encode_pair
from perpcs.personalizers import methods as registry
from perpcs.personalizers import p2p
from perpcs.personalizers.method import Person, Setting
from perpcs.pool import hypernet_train, profiles
from perpcs.pool.build import Settings, TaskPeople, gates_stage, pieces_stage, write_task
from perpcs.pool.hypernet import Hypernet, HypernetShape, hypernet_bytes, read_hypernet, rows_adapter
from perpcs.pool.hypernet_stage import hypernet_stage, profiles_stage
from perpcs.pool.hypernet_train import (
    HypernetSettings,
    Learned,
    Split,
    _drawn,
    learned_people,
    split_people,
    train_hypernet,
)
from perpcs.pool.manifest import read_manifest, write_manifest
from perpcs.pool.profiles import embed_profiles, point_histories, profile_points, profile_text
from perpcs.pool.stages import Workspace
from perpcs.pool.store import HYPERNET, Pool
from perpcs.pool.train import GateSettings, PieceSettings
from perpcs.positions import Position
from perpcs.tasks import Item, Query, User, get_task

TASK = get_task("LaMP_4")
SHAPE = HypernetShape(profile=6, width=16, hidden=8, rank=2, alpha=4.0)
QUICK = HypernetSettings(
    width=16, hidden=8, rank=2, alpha=4.0, steps=30, people=4, pairs=2, rate=7e-3, penalty=0.0, evaluate_every=10
)
CLOSE = {"atol": 1e-12, "rtol": 1e-12}


def random_profiles(count, seed=0):
    return torch.randn(count, SHAPE.profile, generator=torch.Generator().manual_seed(seed))


def shaken(net, seed=1):
    """A network as if after training: no number of it is where it began."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator).to(parameter)
    net.centre_on(random_profiles(9, seed).to(net.mean))
    return net


# ---- the network ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_before_training_everybody_has_the_base_model_to_the_bit(family, tiny_base):
    base = tiny_base(family)
    net, ids = Hypernet(base.positions, SHAPE), random_ids(base, 3, 7)
    A, B = net(random_profiles(3))
    assert all(bool(a.abs().sum() > 0) for a in A)  # else B would have no gradient
    assert not any(bool(b.any()) for b in B)
    with torch.no_grad():
        found = base.hidden(ids, rows_adapter(A, B, torch.arange(3), SHAPE.scale))
        assert torch.equal(found, base.hidden(ids))


POSITIONS = (
    Position(0, "q", "a.0.q", 5, 7), Position(0, "o", "a.0.o", 7, 5), Position(1, "q", "a.1.q", 5, 7),
    Position(1, "o", "a.1.o", 7, 5), Position(2, "q", "a.2.q", 5, 9),
)  # fmt: skip
"""The last layer's q is wider: it has a head of its own."""


def layer_norm(x, values, name):
    spread = (x - x.mean()) / torch.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
    return spread * values[f"{name}.weight"] + values[f"{name}.bias"]


def linear(x, values, name):
    return values[f"{name}.weight"] @ x + values[f"{name}.bias"]


def silu(x):
    return x / (1 + torch.exp(-x))


def written(values, profile, layer, module, n, d):
    """A and B for one person, layer and module, term by term as the paper has them."""
    e = (profile - values["mean"]) / values["spread"]
    x = torch.cat([
        layer_norm(linear(e, values, "user.0"), values, "user.1"),
        layer_norm(values["layer.0.weight"][layer], values, "layer.1"),
        layer_norm(values["module.0.weight"][module], values, "module.1"),
    ])  # fmt: skip
    x = silu(linear(silu(linear(x, values, "mixer.0")), values, "mixer.1"))
    for block in ("blocks.0", "blocks.1"):
        inner = silu(linear(layer_norm(x, values, f"{block}.0"), values, f"{block}.1"))
        x = x + silu(linear(inner, values, f"{block}.2"))
    x = silu(linear(silu(linear(layer_norm(x, values, "last.0"), values, "last.1")), values, "last.2"))
    flat = linear(x, values, f"heads.{module}")
    return flat[: 2 * n].view(2, n), flat[2 * n :].view(d, 2)


def test_one_call_writes_what_a_direct_construction_of_every_layer_does():
    net = shaken(Hypernet(POSITIONS, SHAPE).double())
    people = random_profiles(4, 3).double()
    A, B = net(people)
    values = net.state_dict()
    for p, (position, module) in enumerate(zip(POSITIONS, (0, 1, 0, 1, 2), strict=True)):
        for row in range(4):
            a, b = written(values, people[row], position.layer, module, position.n, position.d)
            torch.testing.assert_close(A[p][row], a, **CLOSE)
            torch.testing.assert_close(B[p][row], b, **CLOSE)


def test_a_row_has_its_own_persons_lora_whoever_is_beside_it(tiny_base):
    base = tiny_base()
    net, people = shaken(Hypernet(base.positions, SHAPE).double()), random_profiles(5).double()
    ids = random_ids(base, 5, 9)
    with torch.no_grad():
        A, B = net(people)
        together = base.hidden(ids, rows_adapter(A, B, torch.arange(5), SHAPE.scale))
        order = torch.tensor([3, 0, 4, 2, 1])
        A, B = net(people[order])
        turned = base.hidden(ids[order], rows_adapter(A, B, torch.arange(5), SHAPE.scale))
        torch.testing.assert_close(turned, together[order], **CLOSE)
        for row in range(5):
            A, B = net(people[row : row + 1])
            alone = base.hidden(ids[row : row + 1], rows_adapter(A, B, torch.tensor([0]), SHAPE.scale))
            torch.testing.assert_close(alone[0], together[row], **CLOSE)
        one = net(people[:2])
        same = base.hidden(ids[:1].expand(2, -1), rows_adapter(*one, torch.arange(2), SHAPE.scale))
    assert not torch.allclose(same[0], same[1], atol=1e-3), "two people have two models"


def test_dropout_is_drawn_from_the_given_generator_and_off_without_it():
    net, people = shaken(Hypernet(POSITIONS, SHAPE)), random_profiles(2)
    runs = [net(people, 0.3, torch.Generator().manual_seed(seed))[1][0] for seed in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert torch.equal(net(people)[1][0], net(people)[1][0])


def test_sizes_that_make_no_network_are_refused():
    for change in ({"width": 18}, {"width": 0}, {"hidden": 0}, {"rank": 0}, {"profile": 0}):
        with pytest.raises(PerpcsError, match="hypernetwork of width"):
            replace(SHAPE, **change)


# ---- profiles -------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(count=st.integers(1, 500))
def test_profiles_are_taken_at_few_points_and_after_the_last_item(count):
    points = profile_points(count)
    assert points[-1] == count
    assert points == sorted(set(points))
    assert len(points) <= 2 + math.log2(count)


@pytest.mark.parametrize("name", ["LaMP_1", "LaMP_2", "LaMP_3", "LaMP_4", "LaMP_5", "LaMP_7"])
def test_a_profile_is_counts_and_the_newest_words(name):
    task = get_task(name)
    answer = None if task.y_field is None else task.labels[0] if task.labels and not task.history_instruction else "y"
    history = [Item(f"text {i}", answer and (answer if answer != "y" else f"made {i}")) for i in range(40)]
    said = profile_text(task, history)
    assert said == profile_text(task, list(history))
    if answer in (None, "y"):
        assert ("text 39" if answer is None else "made 39") in said
        assert ("text 3\n" if answer is None else "made 3\n") not in said


def user(count, queries=2, name="u"):
    history = tuple(Item(f"Article {name} {i}.", f"Headline {name} {i}") for i in range(count))
    return User(name, history, tuple(Query(f"Question {i}", f"Answer {name} {i}") for i in range(queries)))


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=4), step=st.integers(0, 1000))
def test_nothing_is_learned_with_a_profile_that_knows_it(counts, step, tiny_base):
    """Every profile is marked by how many items it is of; a pair's own item must not be among them."""
    base, users = tiny_base(), [user(count, name=f"p{u}") for u, count in enumerate(counts)]
    marks = torch.tensor([[float(len(part))] for part in point_histories([u.history for u in users])])
    people = learned_people(base, TASK, users, marks)
    for one, person in zip(users, people, strict=True):
        assert len(person.pairs) == len(person.before) == len(one.history) + len(one.queries)
        assert person.before == sorted(person.before)
        for index, known in enumerate(person.before):
            assert all(mark <= index for mark in person.profiles[:known, 0])
            assert known == len(person.profiles) or person.profiles[known, 0] > index, "all that may be known is"
    at = {id(pair): index for person in people for index, pair in enumerate(person.pairs)}
    drawn, rows = _drawn(people, range(len(people)), replace(QUICK, pairs=5), step)
    for place, pair in rows:
        assert drawn[place, 0] <= at[id(pair)]


def test_a_profile_does_not_change_when_later_items_do(monkeypatch):
    """What is embedded for a point is a function of the items before it, for every point."""
    seen = []

    def embed(texts, encoder):
        seen.append(list(texts))
        return torch.ones(len(texts), 4)

    monkeypatch.setattr(profiles, "embed_texts", embed)
    one = user(20).history
    for cut in profile_points(20):
        changed = (*one[:cut], *(Item("Other!", "other?") for _ in one[cut:]))
        embed_profiles(TASK, point_histories([one]))
        found = embed_profiles(TASK, point_histories([changed]))
        kept = sum(point <= cut for point in profile_points(20))
        assert seen[-1][:kept] == seen[-2][:kept]
        assert torch.allclose(found.norm(dim=1), torch.tensor(2.0)), "of length sqrt(width)"


# ---- who is held out ------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    clusters=st.lists(st.integers(0, 9), min_size=24, max_size=80), share=st.floats(0.01, 0.3), seed=st.integers(0, 99)
)
def test_nobody_is_in_two_groups_and_held_out_clusters_are_held_out_whole(clusters, share, seed):
    try:
        split = split_people(clusters, share, seed)
    except PerpcsError:  # nearly everybody is in one cluster, and it is the one held out
        assert max(map(clusters.count, clusters)) > len(clusters) - 8
        return
    everybody = [*split.train, *split.people, *split.clusters]
    assert sorted(everybody) == list(range(len(clusters)))
    assert split.people
    assert split.clusters
    away = {clusters[person] for person in split.clusters}
    assert not away & {clusters[person] for person in [*split.train, *split.people]}
    assert split == split_people(clusters, share, seed)


def test_too_few_people_are_refused():
    with pytest.raises(PerpcsError, match="cannot be trained on 5 people"):
        split_people([0, 1, 2, 3, 4], 0.1)


# ---- training -------------------------------------------------------------------------------------------------------


def two_kinds(base, count=16):
    """People of two kinds whose profiles tell the kind through noise, and who always answer in their kind's way."""
    random = torch.Generator().manual_seed(0)
    people = []
    for person in range(count):
        kind = person % 2
        told = torch.randn(1, SHAPE.profile, generator=random) * 0.3
        told[0, 0] += (-1.0, 1.0)[kind] * 2
        texts = [TASK.pair(replace(item, y=("Yes, boats", "No rain at all")[kind])) for item in ITEMS]
        people.append(Learned([encode_pair(base.tokenizer, *text, 200) for text in texts], [0, 0, 1, 1, 1, 1], told))
    return people


SPLIT = Split([*range(10)], [10, 11, 12], [13, 14, 15])


@pytest.fixture(scope="module")
def trained(tiny_base, tmp_path_factory):
    base = tiny_base()
    return train_hypernet(base, two_kinds(base), SPLIT, QUICK, tmp_path_factory.mktemp("hypernet"))


def test_people_never_seen_are_told_apart_by_their_profiles(trained, tiny_base):
    net, facts = trained
    for group in ("people", "clusters"):
        final, curve = facts["final"][group], [point[group] for point in facts["curve"]]
        assert curve[0] == final["base"], "at step 0 everybody has the base model"
        assert final["own"] < final["base"]
        assert final["own"] < final["shuffled"]
    assert [point["step"] for point in facts["curve"]] == [0, 10, 20, 30]
    assert facts["curve"][-1]["loss"] < facts["curve"][1]["loss"]
    _, B = net(torch.stack([person.profiles[0] for person in two_kinds(tiny_base())[:2]]))
    assert not torch.allclose(B[0][0], B[0][1], atol=1e-3)


def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(trained, tiny_base, tmp_path):
    base, whole = tiny_base(), hypernet_bytes(trained[0])

    for last in (13, 24):

        def kill(step, of, last=last):
            if step == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_hypernet(base, two_kinds(base), SPLIT, QUICK, tmp_path, kill)
    steps = []
    net, facts = train_hypernet(base, two_kinds(base), SPLIT, QUICK, tmp_path, lambda step, of: steps.append(step))
    assert steps[0] == 21, "it went on from the last checkpoint"
    assert hypernet_bytes(net) == whole
    assert facts == trained[1]


@pytest.mark.parametrize(("losses", "kept"), [([5.0, 1.0, 3.0], 20), ([5.0, 4.0, 3.0], 30), ([2.0, None, 2.0], 30)])
def test_the_network_that_did_best_for_those_held_out_is_kept(losses, kept, tiny_base, tmp_path, monkeypatch):
    base, seen, told = tiny_base(), {}, iter([0.0, *losses])

    def followed(base, net, people, split):
        seen[10 * len(seen)] = {name: value.clone() for name, value in net.state_dict().items()}
        loss = next(told)
        return {"people": loss, "clusters": 9.0 if loss is None else loss}

    monkeypatch.setattr(hypernet_train, "_followed", followed)
    net, facts = train_hypernet(base, two_kinds(base), SPLIT, QUICK, tmp_path)
    assert facts["kept"] == kept
    for name, value in net.state_dict().items():
        assert torch.equal(value, seen[kept][name].half().float())
    assert any(not torch.equal(value, seen[10][name]) for name, value in seen[kept].items())


def test_training_touches_nothing_of_the_base_model_and_another_seed_is_another_network(trained, tiny_base, tmp_path):
    base = tiny_base()
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    other, _ = train_hypernet(base, two_kinds(base), SPLIT, replace(QUICK, steps=2, seed=5), tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())
    assert hypernet_bytes(other) != hypernet_bytes(trained[0])


def test_people_without_a_profile_before_their_words_cannot_be_learned_from(tiny_base, tmp_path):
    base = tiny_base()
    people = [Learned(one.pairs, [0] * len(one.pairs), one.profiles) for one in two_kinds(base)]
    with pytest.raises(PerpcsError, match="long enough to learn from"):
        train_hypernet(base, people, SPLIT, QUICK, tmp_path)


# ---- in a pool ------------------------------------------------------------------------------------------------------


def sign(folder, data, shape=SHAPE, version=profiles.VERSION):
    """Put a network's bytes into the first task of a pool, as a builder would."""
    (folder / "LaMP_4" / HYPERNET).write_bytes(data)
    manifest = read_manifest(folder)
    part = manifest.tasks[0]
    files = {**part.files, HYPERNET: hash_file(folder / "LaMP_4" / HYPERNET)}
    facts = {"shape": vars(shape), "profile_version": version}
    first = replace(part, files=files, hypernet=facts, encoder="minilm")
    write_manifest(folder, replace(manifest, tasks=(first, *manifest.tasks[1:])))


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

    monkeypatch.setattr(profiles, "embed_texts", embed)


def lora_of(pool, task, history, base=None):
    (found,) = registry.prepare(Setting(base, pool, task), [Person("me", history)], "p2p")
    return found


def test_a_pool_opens_its_network_once_and_one_without_has_none(pool_folder):
    pool = Pool(pool_folder)
    net = pool.hypernet("LaMP_4")
    assert net is not None
    assert pool.hypernet("LaMP_4") is net
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert pool.hypernet("LaMP_2") is None
    with pytest.raises(PerpcsError, match="no network that writes adapters for LaMP_2"):
        lora_of(pool, get_task("LaMP_2"), ITEMS)
    again = read_hypernet(hypernet_bytes(net), pool.manifest.positions, SHAPE)
    assert hypernet_bytes(again) == (pool_folder / "LaMP_4" / HYPERNET).read_bytes()


def other(data, change):
    tensors = load(data)
    change(tensors)
    return save(tensors)


DAMAGES = {
    "no safetensors": lambda data: b"\x80\x04pickle",
    "half of it": lambda data: data[: len(data) // 2],
    "a tensor less": lambda data: other(data, lambda t: t.pop("heads.0.bias")),
    "a tensor more": lambda data: other(data, lambda t: t.update(x=torch.zeros(1))),
    "another width": lambda data: other(data, lambda t: t.update({"mean": torch.zeros(7)})),
    "not a number": lambda data: other(data, lambda t: t["mean"].fill_(float("nan"))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_network_that_is_none_is_a_sentence(damage, pool_folder):
    sign(pool_folder, DAMAGES[damage]((pool_folder / "LaMP_4" / HYPERNET).read_bytes()))
    with pytest.raises(PerpcsError, match="not the network that the manifest describes"):
        Pool(pool_folder).hypernet("LaMP_4")


def test_altered_networks_and_networks_of_another_profile_are_refused(pool_folder):
    path = pool_folder / "LaMP_4" / HYPERNET
    data = path.read_bytes()
    sign(pool_folder, data, version=0)
    with pytest.raises(PerpcsError, match="profiles of another wording"):
        lora_of(Pool(pool_folder), TASK, ITEMS)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(PerpcsError, match="altered"):
        Pool(pool_folder).hypernet("LaMP_4")


def test_a_history_becomes_a_lora_that_a_row_carries(pool_folder, told):
    pool = Pool(pool_folder)
    base = pool.base("cpu", "float64")
    histories = [ITEMS, ITEMS[::-1]]
    found = [lora_of(pool, TASK, history) for history in histories]
    assert found[0].bytes == 2 * sum(SHAPE.rank * (p.n + p.d) for p in base.positions)
    assert found[0].seconds > 0
    net = pool.hypernet("LaMP_4")
    A, B = net(p2p.profiles_of(pool, TASK, histories))
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
    chosen = ("choose-x", tmp_path, {"clusters": [number % 4 for number in range(12)]})
    brief, said, found = replace(QUICK, steps=2), [], []
    for _ in range(2):
        space = Workspace(tmp_path / "work", said.append)
        embedded = profiles_stage(space, TASK, users, "seed 1", "minilm")
        found.append(hypernet_stage(space, base, "base-x", TASK, users, embedded, chosen, brief))
    assert found[0] == found[1]
    assert said[-2:] == ["profiles-LaMP_4: done before", "hypernet-LaMP_4: done before"]
    _, folder, facts = found[0]
    assert [file.name for file in sorted(folder.iterdir())] == ["done.json", HYPERNET]
    read_hypernet((folder / HYPERNET).read_bytes(), base.positions, HypernetShape(**facts["shape"]))
    assert facts["held_out"] == {"people": 1, "clusters": 3}
    other = hypernet_stage(space, base, "base-x", TASK, users, embedded, chosen, replace(brief, seed=1))
    assert other[0] != found[0][0]


def test_what_the_stages_made_is_written_into_a_pool_and_opens(tiny_base, told, tmp_path):
    base, users = tiny_base(), [user(6, name=f"p{number}") for number in range(8)]
    space, brief = Workspace(tmp_path / "work", lambda line: None), replace(QUICK, steps=1)
    plan = Settings(PieceSettings(rank=2, epochs=1), GateSettings(steps=1), hypernet=brief)
    clusters = [number % 4 for number in range(8)]
    choose = {"chosen": [0, 1], "clusters": clusters, "terms": [[]] * 4, "xy": [[0.0, 0.0]] * 8}
    (tmp_path / "embeddings.safetensors").write_bytes(save({"embeddings": torch.ones(8, SHAPE.profile)}))
    embed, chosen = ("embed", tmp_path, {}), ("choose", tmp_path, choose)
    pieces = pieces_stage(space, base, "base", TASK, users[:2], "choose", plan.pieces)
    gates = gates_stage(space, base, TASK, users[:2], pieces, plan)
    profiled = profiles_stage(space, TASK, users, "people", "minilm")
    made = hypernet_stage(space, base, "base", TASK, users, profiled, chosen, brief)
    folder = write_tiny_pool(tmp_path / "pool", tasks=("LaMP_2",))
    part = TaskPeople(TASK, [], users, 2, "people")
    parts = [write_task(folder, base, part, embed, choose, pieces, gates, plan, hypernet=one) for one in (None, made)]
    manifest = read_manifest(folder)
    for described in parts:
        write_manifest(folder, replace(manifest, tasks=(described,)))
        net = Pool(folder).hypernet("LaMP_4")
        assert (net is None) == (described is parts[0])
    assert parts[1].hypernet == made[2]
    assert parts[0].hypernet == {}


def test_drawn_profiles_look_like_real_ones_and_are_nobodys():
    net = shaken(Hypernet(POSITIONS, SHAPE))
    drawn = p2p.random_profiles(net, 4000)
    torch.testing.assert_close(drawn.mean(0), net.mean, atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.std(0), net.spread, atol=0.1, rtol=0)
    assert torch.equal(p2p.random_profiles(net, 3), p2p.random_profiles(net, 3))
