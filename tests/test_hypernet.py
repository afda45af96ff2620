"""Laws of the network that writes LoRAs: zero at first, nobody's row depends on others, profiles know only the past."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import POSITIONS, QUICK, SHAPE, random_profiles, shaken, user
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ITEMS, random_ids

from perpcs.errors import PerpcsError
from perpcs.model.likelihood import encode_pair
from perpcs.pool import hypernet
from perpcs.pool import select as embedding
from perpcs.pool.hypernet import (
    Hypernet,
    Learned,
    Split,
    _drawn,
    hypernet_bytes,
    learned_people,
    rows_adapter,
    split_people,
    train_hypernet,
)
from perpcs.pool.select import embed_profiles, point_histories, profile_points, profile_text
from perpcs.tasks import Item, get_task

TASK = get_task("LaMP_4")
CLOSE = {"atol": 1e-12, "rtol": 1e-12}


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

    monkeypatch.setattr(embedding, "embed_texts", embed)
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
        final, curve = facts["tasks"][""]["final"][group], [point[group] for point in facts["curve"]]
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

    monkeypatch.setattr(hypernet, "_followed", followed)
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
