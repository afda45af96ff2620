"""The Method page: the toy is the real layer, the equation has real numbers, effects are read and never made up."""

import json
import re

import numpy as np
import pytest
import torch
from helpers import by_key, open_page, press, shown
from hypothesis import given, settings
from hypothesis import strategies as st

from perpcs.assembly.activations import normalise, select
from perpcs.assembly.router import Keys
from perpcs.assembly.routers import make_router
from perpcs.evaluate.findings import effects
from perpcs.figures.story import SYMBOLS, Toy, layer_html, run_toy, toy_html, toy_numbers, with_toy_number
from perpcs.model.basis import Pieces
from perpcs.ui import engine, method
from perpcs.ui.method import DIFFERENCES, NOTES
from perpcs.ui.navigation import TITLES


def really(toy: Toy):
    """The toy by the program's own router and layer, in float64: scores, weights and outputs of both positions."""
    options = make_router(
        router="gate", centre=False, standardise=False, reduce="mean", k=toy.k, temperature=toy.temperature
    )
    x, steps = torch.tensor([[toy.x]], dtype=torch.float64), []
    for place in toy.places:
        A = torch.tensor([[piece.A] for piece in place.pieces], dtype=torch.float64)
        B = torch.tensor([[[entry] for entry in piece.B] for piece in place.pieces], dtype=torch.float64)
        gates = torch.tensor([piece.g for piece in place.pieces], dtype=torch.float64)
        scores = options.item_scores(x, Keys(normalise(gates, options), None, None), torch.ones(1, 1))
        index, weight = select(scores, torch.ones(2, dtype=torch.bool), options)
        y = x @ torch.tensor(place.W, dtype=torch.float64).T
        x = y + Pieces([A], [B], toy.scale).gathered(0, index, weight).added(x, y, None)
        steps.append((scores[0], torch.zeros(2).double().scatter(0, index[0], weight[0]), x[0, 0]))
    return steps


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-3, 3), min_size=34, max_size=34), st.floats(0.05, 5), st.sampled_from((1, 2)))
def test_the_toy_is_the_real_layer(values, temperature, k):
    toy, names = Toy(), [name for name in toy_numbers(Toy()) if name not in ("k", "temperature", "scale")]
    for name, value in zip(names, values, strict=True):
        toy = with_toy_number(toy, name, value)
    toy = with_toy_number(with_toy_number(toy, "temperature", temperature), "k", k)
    first = [step.score for step in run_toy(toy)[0].pieces]
    second = [step.score for step in run_toy(toy)[1].pieces]
    if min(abs(first[0] - first[1]), abs(second[0] - second[1])) < 1e-9:
        return  # rounding decides which of two equal pieces comes first
    for step, (scores, weights, y) in zip(run_toy(toy), really(toy), strict=True):
        assert [piece.score for piece in step.pieces] == pytest.approx(scores.tolist(), abs=1e-9)
        assert [piece.weight for piece in step.pieces] == pytest.approx(weights.tolist(), abs=1e-6)
        assert step.y == pytest.approx(tuple(y.tolist()), rel=1e-6, abs=1e-6)


def test_every_number_of_the_toy_can_be_changed_and_matters():
    names = toy_numbers(Toy())
    assert len(names) == 37
    for name, value in names.items():
        changed = with_toy_number(Toy(), name, 1 if name == "k" else value + 0.25)
        assert toy_numbers(changed)[name] != value
        assert {other for other in names if toy_numbers(changed)[other] != names[other]} == {name}
        assert run_toy(changed) != run_toy(Toy())


def test_the_figure_shows_every_number_between_input_and_output():
    text = re.sub("<[^>]+>", "", toy_html(run_toy(Toy()), 2.0, 0.5)).replace("−", "-")
    for step in run_toy(Toy()):
        for value in (*step.v, *step.base, *step.y, *(p.score for p in step.pieces), *(p.weight for p in step.pieces)):
            assert f"{value:.3f}" in text


def test_every_symbol_that_lights_up_has_a_rule():
    css = (engine.ROOT / "perpcs" / "ui" / "style.css").read_text()
    for letter in SYMBOLS:
        assert f".pp-lit:has(.s-{letter}:is(:hover, :focus)) .s-{letter}" in css


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_equation_has_the_examples_numbers_and_no_model_runs(fake):
    text = shown(open_page("method"))
    record = fake.stored.assembly("LaMP_4", "ada")
    layer = method.layer_of(fake, record, "Ada")
    assert f"The same at {layer.label}, for Ada" in text
    for _, weight in layer.top:
        assert f"{weight:.3f}" in text
    assert "24 × 40 = 960 numbers, 962 bytes" in text
    assert fake.calls == []
    p = record.positions.index(layer.label)
    assert layer.top[0][1] == pytest.approx(float(np.abs(record.weights).max()))
    assert layer.others + len(layer.top) == int((record.weights[p] != 0).sum())


def test_an_ia3_layer_is_told_as_scalings(fake):
    layer = method.layer_of(fake, fake.stored.assembly("LaMP_4", "ada"), "Ada")._replace(scaling=True)
    assert "⊙" in layer_html(layer)
    assert "<i>A</i>" not in layer_html(layer)


def test_a_changed_number_is_computed_at_once_and_taken_back(fake):
    app = open_page("method")
    field = next(one for one in app.number_input if one.key == "toy-x.0")
    field.set_value(-2.0).run()
    expected = run_toy(with_toy_number(Toy(), "x.0", -2.0))[1].y
    assert f"({expected[0]:.3f}, {expected[1]:.3f})".replace("-", "−") in shown(app)
    press(app, "toy-reset")
    usual = run_toy(Toy())[1].y
    assert f"({usual[0]:.3f}, {usual[1]:.3f})".replace("-", "−") in shown(app)


def test_notes_are_there_for_every_page():
    assert {"Overview", "Assemble", "Compare", "Sharers", "Results", "Share", "Method"} == {n.page for n in NOTES}
    assert set(TITLES.values()) <= {notes.page for notes in NOTES}
    for notes in NOTES:
        assert (len(notes.minutes), len(notes.questions)) == (5, 3)


def test_notes_of_another_page_are_chosen(fake):
    app = open_page("method")
    by_key(app, "button_group", "notes-page").set_value("Share").run()
    assert "A script for Share" in shown(app)


# ---- effects ---------------------------------------------------------------------------------------------------------


def a_result(folder, **changes):
    cell = {"mean": -0.25, "low": -0.5, "high": 0.125, "n_users": 14}
    methods = {"perpcs:gate": {"nll_minus_base": cell}, "oppu": {"nll_minus_base": {"mean": "?"}}}
    result = {"task": "LaMP_4", "pool_hash": "5eed" * 16, "methods": methods} | changes
    (folder / "evaluate_x.json").write_text(json.dumps(result))


def test_effects_are_read_as_they_stand(tmp_path):
    a_result(tmp_path)
    (effect,) = effects(tmp_path)
    assert (effect.method, effect.mean, effect.low, effect.high, effect.people) == (
        "perpcs:gate",
        -0.25,
        -0.5,
        0.125,
        14,
    )
    gates = next(one for one in DIFFERENCES if "perpcs:gate" in one.methods)
    html = method.effect_html(gates, (effect,), "5eed" * 16)
    assert "−0.250" in html
    assert "[−0.500, +0.125]" in html
    assert "this pool" in html
    assert "the pool 5eed5eed" in method.effect_html(gates, (effect,), "other")
    averaged = next(one for one in DIFFERENCES if not one.methods)
    assert "Not measured" in method.effect_html(averaged, (effect,), "other")


@pytest.mark.parametrize("changes", [{"task": "LaMP_99"}, {"methods": []}, {"pool_hash": 3}, {"methods": {"a": 1}}])
def test_malformed_results_have_no_effects(tmp_path, changes):
    a_result(tmp_path, **changes)
    assert effects(tmp_path) == ()
