"""The base stage of a pool from seeds: parts that come first, all lessons at once, and the last ones."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from perpcs.model.base import load_base
from perpcs.pool import base_stage as stage
from perpcs.pool.adapt import Shares
from perpcs.pool.lessons import base_people, last_lessons, town_lessons
from perpcs.pool.recipe import TINY
from perpcs.pool.stages import Workspace
from perpcs.tasks import get_task

RECIPE = replace(
    TINY,
    tasks=tuple(replace(part, base_users=6) for part in TINY.tasks if part.task in ("LaMP_1", "LaMP_2", "LaMP_4")),
    base=replace(
        TINY.base, width=16, layers=1, heads=2, feed_forward=16, steps=5, cooldown=2, warmup=1, evaluate_every=5
    ),
    reading=2,
    looking=3,
    fitting=1,
    choosing=4,
    recalling=1,
    finding=1,
    taste=2,
    mixing=3,
)

FIRST = ("reading", "looking", "fitting", "choosing", "recalling", "finding", "taste", "mixing")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, curve, workspace) of a base model that read and looked first."""
    space = Workspace(tmp_path_factory.mktemp("stage"), lambda line: None)
    _, folder, curve = stage.base_stage(space, RECIPE)
    return folder, curve, space


def test_a_base_model_that_looked_first_loads_and_is_done_once(made):
    folder, curve, space = made
    assert [curve[what] for what in FIRST] == [2, 3, 1, 4, 1, 1, 2, 3]
    assert [point["step"] for point in curve["curve"]] == [2, 17, 22]  # reading, mixing and the last part
    assert curve["padded_tokens_seen"] == 22 * RECIPE.base.batch_tokens
    assert curve["lessons"] > len(stage.last_lessons(RECIPE))
    assert load_base(folder, device="cpu").max_tokens == RECIPE.base.max_tokens
    assert not [each for each in folder.iterdir() if each.is_dir()]
    lines = []
    assert stage.base_stage(Workspace(space.folder, lines.append), RECIPE)[1] == folder
    assert lines == ["base: done before"]


def test_mixed_lessons_and_the_last_ones_may_be_others_of_other_people(made):
    folder, _, space = made
    asked: list[tuple[Shares, bool]] = []
    write = stage.town_lessons

    def written(recipe, late=False):
        asked.append((recipe.lessons, late))
        return write(recipe, late)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "town_lessons", written)
        patch.setattr("perpcs.pool.lessons.town_lessons", written)
        those, others = Shares(with_history=0.5), Shares(with_history=1.0)
        late = tuple(replace(part, late_users=2) for part in RECIPE.tasks)
        changed = replace(RECIPE, mixing=2, mixed_lessons=those, last_lessons=others)
        folders = {folder, *(stage.base_stage(space, each)[1] for each in (changed, replace(changed, tasks=late)))}
    assert asked == [(those, False), (others, True), (others, True)]
    assert len(folders) == 3
    one, two, three = (load_file(each / "model.safetensors") for each in folders)
    for other in (one, three):
        assert any(not torch.equal(two[name], other[name]) for name in two)


def test_the_last_lessons_are_of_people_who_come_late_where_some_do():
    recipe = replace(TINY, tasks=tuple(replace(part, base_users=3, late_users=2) for part in TINY.tasks))
    for part in recipe.tasks:
        first, late = ({person.id for person in base_people(recipe, part, late)} for late in (False, True))
        assert (len(first), len(late)) == (3, 2)
        assert not first & late
        assert late | first == {person.id for person in base_people(recipe, replace(part, base_users=5))}
    assert last_lessons(recipe) != town_lessons(recipe)
    same = replace(recipe, tasks=tuple(replace(part, late_users=0) for part in recipe.tasks))
    assert last_lessons(same) == town_lessons(same)
    showing = replace(same, last_lessons=Shares(with_history=1.0))
    assert last_lessons(showing) == town_lessons(replace(same, lessons=Shares(with_history=1.0)))


def test_a_build_that_was_killed_reads_and_looks_no_second_time(monkeypatch, tmp_path):
    began: list[tuple[int, bool, float]] = []
    real = stage.train_base

    def spied(lessons, held, tokenizer, settings, folder, on_progress, **options):
        began.append((settings.steps, options.get("start") is not None, settings.rate))
        if settings.steps == RECIPE.base.steps and len(began) == 9:
            raise KeyboardInterrupt
        return real(lessons, held, tokenizer, settings, folder, on_progress, **options)

    monkeypatch.setattr(stage, "train_base", spied)
    space = Workspace(tmp_path, lambda line: None)
    slower = replace(RECIPE, base=replace(RECIPE.base, rate=1e-3))
    with pytest.raises(KeyboardInterrupt):
        stage.base_stage(space, slower)
    stage.base_stage(space, slower)
    first = [(2, False), (3, True), (1, True), (4, True), (1, True), (1, True), (2, True)]
    assert began == [*((*each, 3e-3) for each in first), (3, True, 2e-3), *[(5, True, 1e-3)] * 2]


def test_progress_tells_what_is_trained_and_held_out_loss_only_where_there_is_one(monkeypatch, tmp_path):
    monkeypatch.setattr(stage, "throttled", lambda say: lambda text: say(text()))
    lines: list[str] = []
    recipe = replace(RECIPE, base=replace(RECIPE.base, evaluate_every=2))
    stage.base_stage(Workspace(tmp_path, lines.append), recipe)
    steps = [line for line in lines if " step " in line]
    assert [line.split(":")[0] for line in steps] == [
        *["base, reading"] * 2,
        *["base, looking"] * 3,
        "base, fitting",
        *["base, choosing"] * 4,
        "base, recalling",
        "base, finding",
        *["base, taste"] * 2,
        *["base, mixing"] * 3,
        *["base, last lessons"] * 5,
    ]
    assert ["held out" in line for line in steps] == [False, True, *[False] * 12, False, True, True, False, *[True] * 4]


def test_what_comes_first_is_not_done_again_for_other_settings_of_what_follows(made):
    _, _, space = made
    lines: list[str] = []
    longer = replace(RECIPE, base=replace(RECIPE.base, steps=6))
    stage.base_stage(Workspace(space.folder, lines.append), longer)
    assert [line for line in lines if line.endswith("done before")] == [
        f"{name}: done before" for name in ("tokenizer", *(f"base-{what}" for what in FIRST))
    ]


def test_looking_begins_with_labels_apart_and_leaves_every_embedding_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr("perpcs.model.apart.ALIKE", -1.0)  # as if all were alike
    stage.base_stage(Workspace(tmp_path, lambda line: None), RECIPE)
    (reading,), (looking,), *others = (tmp_path.glob(f"base-{what}-*") for what in FIRST)
    read, apart, after, fitted, chose, recalled, found, last, mixed = (
        load_file(each / "model.safetensors")
        for each in (reading, looking / "apart", looking, *(folder for (folder,) in others))
    )
    table = "model.embed_tokens.weight"
    tags = stage.label_tokens(AutoTokenizer.from_pretrained(reading), get_task("LaMP_2").labels)
    assert not torch.equal(read[table][tags], apart[table][tags])
    assert torch.equal(after[table], apart[table])
    assert torch.equal(last[table], apart[table])
    assert not torch.equal(mixed[table], apart[table])
    assert any(not torch.equal(apart[name], after[name]) for name in apart)
    for one, two in ((after, fitted), (fitted, chose), (chose, recalled), (recalled, found), (found, last)):
        assert any(not torch.equal(one[name], two[name]) for name in one)


def test_where_no_task_asks_to_choose_nothing_is_chosen(tmp_path):
    lines: list[str] = []
    tags = replace(RECIPE, tasks=tuple(part for part in RECIPE.tasks if part.task != "LaMP_1"))
    stage.base_stage(Workspace(tmp_path, lines.append), tags)
    assert "base-taste: started" in lines
    assert not {f"base-{what}: started" for what in ("fitting", "choosing", "recalling", "finding")} & set(lines)
