"""What performance depends on: the experiment on a tiny pool, and its figures."""

import numpy as np
import pytest
from helpers import band

from perpcs.assembly.assemble import assemble
from perpcs.assembly.routers import router_options
from perpcs.assembly.routers.gate import Gate
from perpcs.data.smalltown import write_town
from perpcs.evaluate.experiments import Setting, robustness
from perpcs.evaluate.protocol import held_out_loss
from perpcs.figures.results import (
    Band,
    Dot,
    bands_figure,
    choices_title,
    dots_csv,
    dots_figure,
    gain_title,
    rules_title,
)
from perpcs.pool.store import Pool
from perpcs.tasks import get_task
from perpcs.ui.costs import choice_dots, rule_dots

TASK = "LaMP_4"


@pytest.fixture(scope="module")
def found(tiny_pool_folder, tmp_path_factory):
    """The setting, what was found, and what was said meanwhile."""
    folder, said = tmp_path_factory.mktemp("town"), []
    write_town(folder, seed=1, users=2, tasks=[TASK])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness, "CHOICES", {"gate": {"1 piece": {"k": 1}, "as published": {"preset": "paper"}}})
        patch.setattr(robustness, "ROUTERS", ("gate", "uniform"))
        setting = Setting(Pool(tiny_pool_folder), "tiny", (TASK,), users=folder, device="cpu", say=said.append)
        return setting, robustness.run(setting)["tasks"][TASK], said


def test_with_all_sharers_and_all_pieces_it_is_the_plain_assembly(found):
    setting, column, _ = found
    users, _ = setting.people_of(TASK)
    losses = [
        held_out_loss(
            setting.base,
            setting.pool,
            assemble(setting.base, setting.pool, get_task(TASK), user.history, options=router_options(router="gate")),
            user.queries,
        )
        for user in users
    ]
    mean = pytest.approx(np.mean(losses), abs=1e-5)
    assert column["sharers"]["methods"]["perpcs:gate"]["nll"][-1]["mean"] == mean
    assert column["share_ratio"]["methods"]["perpcs:gate"]["nll"][-1]["mean"] == mean
    assert column["selection"]["rules"]["all"]["perpcs:gate"]["mean"] == mean
    assert column["choices"][0]["nll"]["mean"] == mean
    assert column["users"] == 2


def test_fewer_sharers_and_other_choices_are_other_assemblies_each_made_once(found):
    setting, column, said = found
    count = len(setting.pool.sharers(TASK))
    assert column["sharers"]["x"][-1] == count
    assert len(column["share_ratio"]["x"]) == len(robustness.RATIOS)
    few = [row["mean"] for row in column["sharers"]["methods"]["perpcs:gate"]["nll"]]
    assert len(set(few)) == len(column["sharers"]["x"]), "every number of sharers makes a difference"
    assert set(column["selection"]["rules"]) >= {"all", "random", "active"}
    assert column["selection"]["taken"] == max(1, round(robustness.TAKEN * count))
    first, one, paper = column["choices"]
    assert (first["choice"], first["minus_default"]) == ("", None)
    for other in (one, paper):
        assert other["minus_default"]["mean"] == pytest.approx(other["nll"]["mean"] - first["nll"]["mean"], abs=2e-5)
    conditions = len(column["sharers"]["x"]) + len(robustness.RATIOS) + len(column["selection"]["rules"])
    made = int(said[-1].rpartition(", ")[2].split()[0])
    assert made < 2 * (2 * conditions + 3), "what was measured before is not measured again"


def test_shares_stand_on_a_plain_axis_beside_the_base_model():
    figure = bands_figure(
        (Band("perpcs:fit", (0.25, 1.0), (0.5, 0.4), (0.4, 0.3), (0.6, 0.5)),), "share", percent=True, base=0.7
    )
    assert (figure.layout.xaxis.type, list(figure.layout.xaxis.ticktext)) == ("linear", ["25 %", "100 %"])
    assert [shape.y0 for shape in figure.layout.shapes] == [0.7]


def test_what_a_smaller_pool_keeps_of_the_gain_is_said():
    fit, gate = band("perpcs:fit", 0.4, 0.3, 0.2), band("perpcs:gate", 0.8, 0.7, 0.6)
    said = gain_title([fit, gate], 1.0, "With 3 of 50 sharers")
    kept = "Per-Pcs (fit) keeps 75 %, Per-Pcs (distilled gates) keeps 50 %"
    assert said == f"With 3 of 50 sharers, {kept} of its gain"
    assert "Per-Pcs (fit) keeps none of its gain" in gain_title(
        [band("perpcs:fit", 1.2, 0.3, 0.2)], 1.0, "With 3 of 50 sharers"
    )
    assert "there is no gain" in gain_title([fit], 0.1, "With 3 of 50 sharers")


def test_dots_of_rules_and_choices_say_which_are_significantly_better():
    cell = {"mean": 0.5, "low": 0.4, "high": 0.6, "n_users": 4}
    rules = {"all": {"perpcs:fit": cell}, "random": {"perpcs:fit": {**cell, "mean": 0.6}, "perpcs:gate": None}}
    dots = rule_dots({"rules": {**rules, "active": {"perpcs:fit": {**cell, "mean": 0.7}}}})
    assert [(dot.name, dot.mean) for dot in dots] == [
        ("all sharers", 0.5),
        ("the most active", 0.7),
        ("random ones", 0.6),
    ]
    assert rules_title(dots, 10) == (
        "With 10 sharers, Per-Pcs (fit) does best with random ones (0.60) and worst with the most active (0.70)"
    )
    less, more = (
        {"mean": sign * 0.2, "low": sign * 0.2 - 0.1, "high": sign * 0.2 + 0.1, "n_users": 4} for sign in (-1, 1)
    )
    rows = [
        {"method": "perpcs:fit", "choice": name, "nll": cell, "minus_default": differs}
        for name, differs in (("", None), ("longer", less), ("shorter", more), ("other", {**less, "high": 0.1}))
    ]
    found = choice_dots([*rows, {"method": "perpcs:gate"}, None])
    assert [(dot.name, dot.differs) for dot in found] == [
        ("fit: default", ""),
        ("fit: longer", "better"),
        ("fit: shorter", "worse"),
        ("fit: other", ""),
    ]
    assert (
        choices_title(found) == "Significantly better than the default: fit: longer; significantly worse: fit: shorter"
    )
    assert choices_title(found[:1]) == "No other setting is significantly better than the default"
    figure = dots_figure(tuple(found), 0.7)
    assert list(figure.layout.yaxis.ticktext) == [dot.name for dot in found]
    assert list(figure.data[0].y) == [0, 1, 2, 3]
    assert not figure.layout.showlegend, "every row names its method"
    both = dots_figure((*dots, Dot("all sharers", "perpcs:gate", 0.8, 0.7, 0.9)), 0.7)
    assert both.layout.showlegend
    assert both.data[0].y[0] < 0 < both.data[1].y[0], "two methods on one row stand apart"
    assert [shape.x0 for shape in figure.layout.shapes] == [0.7]
    assert "perpcs:fit,fit: longer,0.5,0.4,0.6,better" in dots_csv(found)


def test_settings_that_change_nothing_are_left_out(monkeypatch):
    class Losses:
        def of(self, options):
            return [1.0, 2.0]

    monkeypatch.setattr(robustness, "CHOICES", {"gate": {"as it is": {"k": Gate().k}, "1 piece": {"k": 1}}})
    assert [row["choice"] for row in robustness._choices(Losses())] == ["", "1 piece"]
