"""The fit check: numbers from the record alone, and a sentence that says plainly when a pool does not help."""

import numpy as np
import pytest
from scipy import stats

from perpcs.assembly.explain import fit_check, fit_sentence
from perpcs.assembly.record import Assembly


def record(check=None, *, items=20, router="newton", length=0.8):
    extra = {"damping": 1.0, "length": length} | ({} if check is None else {"check": check})
    weights = np.full((2, 3), 0.1 * length, np.float32)  # no step, no weights: the base model
    return Assembly(
        weights=weights,
        scores=weights,
        choices=np.zeros((items, 2, 1), np.int16),
        votes=np.zeros((items, 2, 1), np.float16),
        task="LaMP_4",
        positions=("layer 0, v_proj", "layer 0, o_proj"),
        sharers=("a", "b", "c"),
        pool="people",
        pool_hash="5eed",
        router={"router": router},
        extra=extra,
    )


HELPS = {"before": [3.0, 2.5, 3.5, 3.0], "after": [2.6, 2.2, 3.0, 2.6]}


def test_the_interval_is_that_of_the_differences():
    by = np.subtract(HELPS["after"], HELPS["before"])
    low, high = stats.t.interval(0.95, len(by) - 1, loc=by.mean(), scale=stats.sem(by))
    found = fit_check(record(HELPS))
    assert (found.items, found.before, found.after) == (4, pytest.approx(3.0), pytest.approx(2.6))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.helps
    assert found.sure


def test_what_all_items_share_widens_no_interval():
    """Paired: items may differ as much as they like, as long as they change alike."""
    found = fit_check(record({"before": [1.0, 9.0, 4.0], "after": [0.9, 8.9, 3.9]}))
    assert (found.low, found.high) == (pytest.approx(-0.1), pytest.approx(-0.1))


def test_the_sentence_says_what_became_of_the_kept_out_items():
    text = fit_sentence(record(HELPS))
    for part in ("your newest 4 items", "3.00 nats per target token with the base model", "2.60 with", "−0.40 (95 %"):
        assert part in text
    assert "chance" not in text
    assert "Nell’s newest 4 items" in fit_sentence(record(HELPS), "Nell’s")


def test_one_item_has_no_interval():
    text = fit_sentence(record({"before": [3.0], "after": [2.5]}, items=6))
    assert "your newest item (held out)" in text
    assert "no interval for one item" in text


def test_an_interval_that_includes_0_is_said():
    assert "may be chance" in fit_sentence(record({"before": [3.0, 2.0, 3.0], "after": [2.0, 2.4, 2.9]}))


@pytest.mark.parametrize(
    ("check", "length"),
    [
        ({"before": [2.0, 3.0], "after": [2.5, 3.1]}, 0.5),
        ({"before": [2.0, 3.0], "after": [2.0, 3.0]}, 0.5),
        ({"before": [2.0, 3.0], "after": [2.0, 3.0]}, 0.0),
    ],
)
def test_a_pool_that_does_not_help_is_said_plainly(check, length):
    assert fit_sentence(record(check, length=length)).startswith("This pool does not help with your text:")


def test_too_few_items_and_routers_without_a_check_are_said():
    assert fit_sentence(record(items=4)) == "Too few items to check (5 are needed)."
    text = fit_sentence(record(HELPS, router="gate"))
    assert "Not checked" in text
    assert "“gate”" in text


@pytest.mark.parametrize(
    "check",
    [
        {"before": [1.0]},
        {"before": [1.0], "after": [1.0, 2.0]},
        {"before": "x", "after": "y"},
        {"before": [], "after": []},
        {"before": [1.0], "after": [float("nan")]},
        {"before": [None], "after": [1.0]},
        [1, 2],
        7,
    ],
)
def test_a_malformed_check_is_none(check):
    made = record(check)
    assert fit_check(made) is None
    assert fit_sentence(made) == "The record contains no check."
