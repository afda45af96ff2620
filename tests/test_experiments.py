"""Experiments on a tiny pool, and what the Sharers page reads of one: its map, its people's traits, held-out loss."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from perpcs.assembly.assemble import assemble
from perpcs.assembly.routers import router_options
from perpcs.data.smalltown import make_people, write_town
from perpcs.errors import PerpcsError
from perpcs.evaluate.experiments import Setting, case_study, command_of, cost, run_experiment, table1, unfinished
from perpcs.evaluate.protocol import evaluate, held_out_loss
from perpcs.model.likelihood import encode_pair, target_nll
from perpcs.pool.manifest import Sharer, read_candidates
from perpcs.pool.store import Pool
from perpcs.tasks import get_task

TASK = "LaMP_4"


@pytest.fixture(scope="module")
def pool(tiny_pool_folder):
    """A random pool: its numbers mean nothing, its shapes are right."""
    return Pool(tiny_pool_folder)


@pytest.fixture(scope="module")
def person():
    (one,) = make_people(TASK, seed=3, count=1, split="target", history=(3, 3), queries=2)
    return one.user


def test_storage_is_once_plus_so_much_a_person(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "ITEMS", (2,))
    monkeypatch.setattr(cost, "REPEATS", 1)
    write_town(tmp_path, seed=1, users=1, tasks=[TASK])
    found = cost.run(Setting(pool, "tiny", (TASK,), users=tmp_path, device="cpu"))
    for row in found["storage"]["methods"].values():
        people = np.array(found["storage"]["users"])
        assert (np.array(row["bytes"]) == row["once"] + row["person"] * people).all()
    assert found["storage"]["methods"]["oppu"]["person"] == pool.manifest.adapter_bytes
    assert all(row["median_s"][0] > 0 for row in found["time"]["methods"].values())
    assert found["time"]["items"] == [2]


def test_an_experiment_that_was_stopped_goes_on_and_ends_as_one_that_was_not(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(table1, "SEPARATION_METHODS", ("base", "rag:4", "oppu", "wrong:oppu"))
    write_town(tmp_path / "town", seed=1, users=3, tasks=[TASK])
    setting = Setting(pool, "tiny", (TASK,), users=tmp_path / "town", device="cpu")
    calm = run_experiment("separation", table1.SEPARATION, setting, tmp_path / "calm.json")
    runs, measure = [], table1.person_nll

    def until(*given):
        runs.append(given)
        if len(runs) in (3, 5):
            raise KeyboardInterrupt
        return measure(*given)

    monkeypatch.setattr(table1, "person_nll", until)
    out = tmp_path / "stopped.json"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_experiment("separation", table1.SEPARATION, setting, out)
        assert not out.exists()
    assert run_experiment("separation", table1.SEPARATION, setting, out) == calm
    assert len(runs) == 6, "what was done is not done again"
    assert json.loads(out.read_bytes()) == calm
    assert {path.name for path in tmp_path.iterdir()} == {"town", "calm.json", "stopped.json"}
    for kept in ("{", "[]", '{"asked": {}, "parts": {"LaMP_4, base": [0]}}'):  # of another question, or no file
        unfinished(out).write_text(kept)
        assert run_experiment("separation", table1.SEPARATION, setting, out) == calm


def test_a_history_is_cut_to_its_newest_items_and_asked_the_same(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "HISTORY_ITEMS", (2, 4))
    monkeypatch.setattr(cost, "HISTORY_METHODS", ("base", "perpcs:gate", "wrong:perpcs:gate", "oppu"))
    write_town(tmp_path, seed=1, users=3, tasks=[TASK])
    seen = []
    kept = cost.prepare

    def prepare(base, pool, task, users, method):
        seen.append((method, [len(user.history) for user in users]))
        return kept(base, pool, task, users, method)

    monkeypatch.setattr(cost, "prepare", prepare)
    setting = Setting(pool, "tiny", (TASK,), users=tmp_path, device="cpu")
    found = cost.run_history(setting)["tasks"][TASK]
    assert seen == [(method, [size] * 3) for size in (2, 4) for method in ("base", "perpcs:gate", "oppu")]
    assert found["items"] == [2, 4]
    nll = {name: [cell["mean"] for cell in row["nll"]] for name, row in found["methods"].items()}
    assert nll["base"][0] == nll["base"][1], "the base model knows nobody"
    assert nll["perpcs:gate"] != nll["wrong:perpcs:gate"]
    users, _ = setting.people_of(TASK)
    mine = evaluate(setting.base, pool, get_task(TASK), users, ["base"])["methods"]["base"]["nll"]["mean"]
    assert nll["base"][0] == pytest.approx(mine, rel=1e-6), "the same likelihood as in every table"


def test_cut_histories_are_those_of_evaluate(pool, tmp_path):
    """A citation's other reference is drawn from whole histories, so people are cut after it."""
    write_town(tmp_path, seed=1, users=3, tasks=["LaMP_1"])
    whole, _ = Setting(pool, "tiny", ("LaMP_1",), users=tmp_path).people_of("LaMP_1")
    cut, _ = Setting(pool, "tiny", ("LaMP_1",), users=tmp_path, items=2).people_of("LaMP_1")
    assert [user.history for user in cut] == [user.history[-2:] for user in whole]
    assert [user.queries for user in cut] == [user.queries for user in whole]


def test_a_result_names_the_command_that_makes_it_again(pool):
    tasks = tuple(part.task for part in pool.manifest.tasks)
    assert command_of("cost", Setting(pool, "mine", tasks)) == "perpcs experiment cost --pool mine"
    changed = Setting(pool, "mine", (TASK,), people=3, seed=2)
    assert command_of("cost", changed) == f"perpcs experiment cost --pool mine --task {TASK} --people 3 --seed 2"


def test_agreement_is_the_share_of_weight_on_the_sharers_taken(pool, person):
    base = pool.base("cpu", "float64")
    ours = assemble(base, pool, get_task(TASK), person.history, options=router_options("default", router="uniform"))
    weights = np.zeros_like(ours.weights)
    weights[:, 0], weights[:, 1] = 3.0, 1.0
    first = np.zeros_like(weights)
    first[:, 0] = 1.0
    found = case_study.agreement(replace(ours, weights=weights), replace(ours, weights=first))
    assert found["weight_on_taken"] == 0.75
    assert found["taken"] == [ours.sharers[0]]
    assert found["by_chance"] == pytest.approx(1 / len(ours.sharers), abs=1e-4)


def test_without_weights_the_held_out_loss_is_the_base_models(pool, person):
    base, task = pool.base("cpu", "float64"), get_task(TASK)
    made = assemble(base, pool, task, person.history, options=router_options("default", router="uniform"))
    pairs = [
        encode_pair(base.tokenizer, task.prompt(query), f" {query.gold}", base.max_tokens) for query in person.queries
    ]
    with torch.no_grad():
        nll, counts = target_nll(base, pairs)
    plain = replace(made, weights=np.zeros_like(made.weights))
    assert held_out_loss(base, pool, plain, person.queries) == pytest.approx(float(nll.sum() / counts.sum()), abs=1e-9)
    assert held_out_loss(base, pool, made, person.queries) != pytest.approx(float(nll.sum() / counts.sum()), abs=1e-4)
    assert held_out_loss(base, pool, made, ()) is None


# ---- the map of candidates ------------------------------------------------------------------------------------------


def write_map(path, **changes):
    content = {"xy": [[0.0, 0.1], [0.5, -0.5], [0.5, -0.5]], "clusters": [0, 1, 1], "items": [4, 7, 9]}
    path.write_text(json.dumps(content | changes))
    return path


def test_a_sharer_is_found_by_place_cluster_and_activity(tmp_path):
    sharers = (Sharer("a", 9, 1, xy=(0.5, -0.5)), Sharer("b", 4, 0, xy=(0.0, 0.1)))
    found = read_candidates(write_map(tmp_path / "map.json"), sharers)
    assert found.sharers.tolist() == [2, 0]
    assert found.whole


def test_a_guest_stands_at_the_place_of_their_record(tmp_path):
    sharers = (Sharer("guest", 5, 1, xy=(0.2, 0.3)), Sharer("b", 4, 0, xy=(0.0, 0.1)))
    path = write_map(tmp_path / "map.json")
    found = read_candidates(path, sharers, guests=("guest",))
    assert found.sharers.tolist() == [3, 0]
    assert found.xy[3].tolist() == [0.2, 0.3]
    assert (found.clusters[3], found.items[3]) == (1, 5)
    with pytest.raises(PerpcsError, match=r"map\.json"):
        read_candidates(path, sharers)


@pytest.mark.parametrize(
    "changes",
    [
        {"items": [4, 7]},
        {"xy": [[0.0, None]] * 3},
        {"xy": [[0.9, 0.9]] * 3},
        {"clusters": "no"},
        {"xy": [[float("nan")] * 2] * 3},
    ],
)
def test_a_map_that_does_not_fit_is_refused_in_a_sentence(tmp_path, changes):
    with pytest.raises(PerpcsError, match=r"map\.json"):
        read_candidates(write_map(tmp_path / "map.json", **changes), (Sharer("b", 4, 0, xy=(0.0, 0.1)),))


def test_a_pool_without_a_map_shows_its_sharers(pool):
    found = pool.candidates(TASK)
    assert not found.whole
    assert len(found.xy) == len(pool.sharers(TASK))


def test_methods_apart_from_the_base_model_are_told_by_their_own_intervals(pool, tmp_path, monkeypatch):
    write_town(tmp_path, seed=1, users=3, tasks=[TASK])
    setting = Setting(pool, "tiny", (TASK,), users=tmp_path, device="cpu")
    losses = {"base": [1.0, 1.2, 1.1], "rag": [0.5, 0.6, 0.5], "oppu": [0.4, 1.3, 0.4], "wrong": [1.3, 1.4, 1.2]}

    def nll(base, pool, task, users, ready, shift):
        assert len(users) == 3
        return losses["wrong" if shift else ready.partition(":")[0]] if ready != "perpcs:gate" else losses["base"]

    monkeypatch.setattr(table1, "prepare", lambda base, pool, task, users, method: method)
    monkeypatch.setattr(table1, "person_nll", nll)
    found = table1.run_separation(setting)["tasks"][TASK]
    assert found["apart"] == {"rag:4": True, "oppu": False}, "one person whom OPPU does not help"
    assert found["stranger"] is True
    assert found["methods"]["rag"]["minus_base"]["mean"] == pytest.approx(-1.7 / 3, abs=1e-4)


def test_the_town_can_be_asked_on_a_pool(pool, tmp_path):
    write_town(tmp_path, seed=1, users=2, tasks=[TASK])
    found = table1.run_separation(Setting(pool, "tiny", (TASK,), users=tmp_path, device="cpu"))["tasks"][TASK]
    assert set(found["methods"]) == set(table1.SEPARATION_METHODS)
    assert found["methods"]["oppu"]["nll"] != found["methods"]["wrong:oppu"]["nll"]
