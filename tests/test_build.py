"""A pool from scratch: the same seeds give the same bytes, a kill costs nothing, any data and any model will do."""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import town
from town import build_arguments

from perpcs.assembly.routers import router_options
from perpcs.cli import main
from perpcs.cli_build import LOOKED_FOR
from perpcs.data import read_users
from perpcs.data.smalltown import make_people, release_fields
from perpcs.errors import PerpcsError
from perpcs.files import hash_file, write_json
from perpcs.pool.build import Settings
from perpcs.pool.from_data import Recipe, build_from_data
from perpcs.pool.manifest import would_share
from perpcs.pool.stages import Workspace
from perpcs.pool.store import Pool
from perpcs.pool.train import PieceSettings
from perpcs.pool.validate import validate
from perpcs.serve.engine import Engine
from perpcs.tasks import get_task

pytestmark = pytest.mark.slow


def test_the_tiny_town_says_whom_profiles_would_choose_and_how_well_sharers_are_recognised(tiny_town: Path) -> None:
    pool = Pool(tiny_town)
    for part in pool.manifest.tasks:
        chosen = would_share(pool.candidates(part.task), "profile")
        assert chosen is not None
        assert len(set(chosen.tolist())) == len(chosen) <= part.sharers
    engine, task = Engine.open(tiny_town, "cpu", "float32"), get_task("LaMP_4")
    people = read_users(tiny_town.parent / "data" / "LaMP_4" / "sharer_candidates.json", task)
    found = engine.stored.recognised("LaMP_4")
    assert found is not None
    assert found.shape == (part.sharers, len(pool.manifest.positions))
    assert np.all((found >= 0) & (found <= 1))
    name = pool.sharers("LaMP_4")[2].id
    history = next(user.history for user in people if user.id == name)
    everybody = engine.assemble(task, history[-LOOKED_FOR:], options=router_options(router="gate", selector="all"))
    np.testing.assert_allclose(everybody.weights.sum(axis=1), 1, atol=0.02)  # a byte is kept of each
    np.testing.assert_allclose(found[2], everybody.weights[:, 2], atol=2e-4)


def test_the_tiny_town_is_valid_and_complete(tiny_town: Path) -> None:
    lines = list(validate(tiny_town))
    for task in ("LaMP_1", "LaMP_2", "LaMP_3", "LaMP_4", "LaMP_5", "LaMP_7"):
        assert any(line.startswith(f"{task}: 5 sharers") for line in lines)
    pool = Pool(tiny_town)
    assert pool.hypernet is not None
    learned = pool.manifest.hypernet
    assert [point["step"] for point in learned["curve"]] == [0, town.HYPERNET_STEPS]
    for part in pool.manifest.tasks:
        assert len(pool.sharers(part.task)) == 5
        assert len(pool.examples(part.task)) == 2
        assert pool.pieces(part.task, "cpu", torch.float32).distilled is not None
        said = learned["tasks"][part.task]
        assert said["people"] + sum(said["held_out"].values()) == part.candidates
        for example in pool.examples(part.task):
            assert example.description
            assert (tiny_town / part.task / "examples" / f"{example.id}.json").exists()
        for sharer in pool.sharers(part.task):
            assert len(sharer.loss) == 2, "the base model's loss, then one epoch"
        before, after = (np.mean([one.loss[at] for one in pool.sharers(part.task)]) for at in (0, -1))
        assert after < before, "pieces make their owners' histories likelier"


KILLED_AT = (
    *("lessons: started", "base: step", "embed-LaMP_2: started", "choose-LaMP_2: started", "pieces LaMP_2: step"),
    *("gates LaMP_2: step", "distilled gates LaMP_2: step", "profile-choice-LaMP_2: started"),
    *("profiles-LaMP_2: started", "hypernet: step", "hypernet: done", "pool written"),
)
"""What a build says in each of its stages."""
KILLS = int(os.environ.get("PERPCS_KILLS", "1"))
"""Kills at random times."""


PRELOADED = [
    *("perpcs.pool.from_data", "perpcs.serve.complete", "sklearn.cluster", "torch._dynamo"),
    *("transformers.models.llama.modeling_llama", "transformers.models.bert.modeling_bert"),
]
"""What takes a build seconds to import."""


@pytest.mark.timeout(900)
def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(
    tiny_town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 in every stage and at random times; the pool is then the one of an undisturbed build."""
    # A page that was tested before stays as __main__, and each new process would run it.
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    base, data = tiny_town.parent / "base", tiny_town.parent / "data"
    calm, disturbed, random = tmp_path / "calm", tmp_path / "disturbed", np.random.default_rng()
    context = multiprocessing.get_context("forkserver")  # each build is a process of its own, which starts at once
    context.set_forkserver_preload(PRELOADED)

    def build(folder: Path, until: Callable[[str], bool]) -> str:
        """Run the command, and kill it when what it has said so far says so; what it said."""
        folder.mkdir(exist_ok=True)
        said = folder / f"said-{len(list(folder.glob('said-*')))}"
        said.touch()
        arguments = build_arguments(base, data, folder / "pool", folder / "work", ("LaMP_2",))
        process = context.Process(target=_build, args=(arguments, said))
        process.start()
        while process.is_alive() and not until(said.read_text()):
            time.sleep(0.002)
        process.kill() if process.is_alive() else None
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), said.read_text()
        if (folder / "pool").exists():  # whole or not at all, whenever that was
            _same_files(folder / "pool", calm / "pool")
        return said.read_text()

    build(calm, lambda said: False)
    for sign in KILLED_AT:
        assert sign in build(disturbed, lambda said, sign=sign: sign in said)  # type: ignore[misc]
    build(disturbed, lambda said: False)
    for stage in (disturbed / "work" / "pool").iterdir():
        if stage.is_dir() and not stage.name.startswith(("embed", "choose")):  # these take most of the time
            shutil.rmtree(stage)
    shutil.rmtree(disturbed / "pool")
    for moment in random.uniform(0, 5, KILLS):
        end = time.monotonic() + moment
        build(disturbed, lambda said, end=end: time.monotonic() > end)  # type: ignore[misc]
    build(disturbed, lambda said: False)
    assert (disturbed / "pool").exists()
    for made in ("pool", "work/pool"):
        names = [{str(path.relative_to(one)) for path in (one / made).rglob("*")} for one in (calm, disturbed)]
        assert names[0] == names[1], "nothing is left of killed runs"


def _build(arguments: list[str], said: Path) -> None:
    """One build in a process of its own, what it says in a file."""
    sys.stdout = sys.stderr = open(said, "w", buffering=1)  # noqa: SIM115 - it is open as long as the process
    os._exit(main(arguments))


def _same_files(one: Path, other: Path) -> None:
    """All that the manifest answers for; answers of example people hold seconds and are written after it."""
    manifest = json.loads((one / "manifest.json").read_bytes())
    names = ["manifest.json", "hypernet.safetensors"]
    names += [f"{part['task']}/{name}" for part in manifest["tasks"] for name in part["files"]]
    names += [str(path.relative_to(one)) for path in (one / "base").iterdir()]
    assert len(names) > 10
    for name in names:
        assert hash_file(one / name) == hash_file(other / name), name


def test_a_pool_from_peoples_data_and_a_model_of_another_family(
    tmp_path: Path, model_folder: Callable[[str], Path]
) -> None:
    data = tmp_path / "data" / "LaMP_4"
    for split, name, count in (("base", "base_users", 4), ("candidate", "sharer_candidates", 8)):
        people = make_people("LaMP_4", seed=3, count=count, split=split, history=(6, 8))
        write_json(data / f"{name}.json", [release_fields(person) for person in people])
    out = tmp_path / "pool"
    arguments = [
        "build",
        "mine",
        "--base",
        str(model_folder("gpt2")),
        "--data",
        str(tmp_path / "data"),
        "--task",
        "LaMP_4",
    ]
    arguments += ["--sharers", "3", "--rank", "2", "--epochs", "1", "--share-ratio", "0.5", "--licence", "CC0"]
    arguments += ["--out", str(out), "--work", str(tmp_path / "work")]
    began = time.monotonic()
    assert main(arguments) == 0
    assert list(validate(out)), f"built in {time.monotonic() - began:.0f} s"
    pool = Pool(out)
    assert {position.module for position in pool.manifest.positions} == {"c_attn", "c_proj"}
    mask = pool.pieces("LaMP_4", "cpu", pool.base("cpu").dtype).mask
    assert mask.sum(0).tolist() == [len(mask) // 2] * 3, "half of each sharer's pieces are shared"
    history = tmp_path / "history.txt"
    history.write_text("A dog ran. => Dog runs\nA cat sat. => Cat sits\n")
    person = tmp_path / "person.json"
    assert (
        main(["assemble", "--pool", str(out), "--task", "LaMP_4", "--history", str(history), "--out", str(person)]) == 0
    )
    assert json.loads(person.read_text())["pool"] == "mine"


def test_a_person_in_two_groups_is_refused(tmp_path: Path, model_folder: Callable[[str], Path]) -> None:
    people = [release_fields(p) for p in make_people("LaMP_4", seed=3, count=4, split="candidate", history=(3, 3))]
    for name in ("base_users", "sharer_candidates"):
        write_json(tmp_path / "data" / "LaMP_4" / f"{name}.json", people)
    recipe = Recipe(
        name="x",
        base=str(model_folder("gpt2")),
        sources={"LaMP_4": tmp_path / "data" / "LaMP_4"},
        sharers=2,
        licence="CC0",
        settings=Settings(pieces=PieceSettings(rank=2, epochs=1)),
    )
    with pytest.raises(PerpcsError, match="is among base users and among sharer candidates"):
        build_from_data(Workspace(tmp_path / "work", lambda line: None), recipe, tmp_path / "out")
