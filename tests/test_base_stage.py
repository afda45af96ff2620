"""The base stage of a pool from seeds: looking first, true lessons last, and going on from another model."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from perpcs.model.base import load_base
from perpcs.pool import base_stage as stage
from perpcs.pool.adapt import Shares
from perpcs.pool.recipe import TINY
from perpcs.pool.stages import Workspace

RECIPE = replace(
    TINY,
    tasks=tuple(replace(part, base_users=6) for part in TINY.tasks if part.task in ("LaMP_1", "LaMP_2", "LaMP_4")),
    base=replace(
        TINY.base, width=16, layers=1, heads=2, feed_forward=16, steps=5, cooldown=2, warmup=1, evaluate_every=5
    ),
    looking=3,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, curve, workspace) of a base model that looked first."""
    space = Workspace(tmp_path_factory.mktemp("stage"), lambda line: None)
    _, folder, curve = stage.base_stage(space, RECIPE)
    return folder, curve, space


def test_a_base_model_that_looked_first_loads_and_leaves_nothing_else(made):
    folder, curve, space = made
    assert curve["looking"] == 3
    assert [point["step"] for point in curve["curve"]] == [5]
    assert load_base(folder, device="cpu").max_tokens == RECIPE.base.max_tokens
    assert not (folder / "looking").exists()
    lines = []
    assert stage.base_stage(Workspace(space.folder, lines.append), RECIPE)[1] == folder
    assert lines == ["base: done before"]


def test_the_last_lessons_are_others(made):
    folder, _, space = made
    asked: list[Shares] = []
    real = stage.town_lessons

    def spied(recipe):
        asked.append(recipe.lessons)
        return real(recipe)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "town_lessons", spied)
        others = Shares(with_history=1.0)
        _, changed, _ = stage.base_stage(space, replace(RECIPE, last_lessons=others))
    assert asked == [RECIPE.lessons, others]
    assert changed != folder
    one, two = (load_file(each / "model.safetensors") for each in (folder, changed))
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_who_goes_on_from_a_model_starts_halfway_to_what_looking_made_of_it(made, tmp_path):
    folder, _, _ = made
    went_on = replace(RECIPE, start=folder)
    tokenizer = stage._tokenizer(went_on, [])
    halfway = stage._looked(went_on, tokenizer, tmp_path, lambda at: None)
    apart, looked, middle = (
        load_file(each / "model.safetensors") for each in (tmp_path / "start", tmp_path / "looked", halfway)
    )
    assert any(not torch.equal(apart[name], looked[name]) for name in apart)
    for name in apart:
        torch.testing.assert_close(middle[name], (apart[name] + looked[name]) / 2)
