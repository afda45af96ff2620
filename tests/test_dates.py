"""Dates of every form sort, and ratings of every site are whole stars."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpcs.data import Limits, read_upload
from perpcs.data.fields import in_order, is_between, moment, number_of, whole_stars
from perpcs.errors import PerpcsError
from perpcs.tasks import get_task

FORMS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y%m%d",
    "%Y-%m-%dT%H:%M:%S.000Z",
    "%Y-%m-%d %H:%M:%S UTC",
    "%a %b %d %H:%M:%S +0000 %Y",
    "%a, %d %b %Y %H:%M:%S +0000",
    "%B %d, %Y",
    "%d %B %Y",
    "%m %d, %Y",
)


@given(when=st.datetimes(datetime(1990, 1, 1), datetime(2035, 1, 1)), form=st.sampled_from(FORMS))
def test_every_form_says_the_same_day(when: datetime, form: str) -> None:
    found = moment(when.strftime(form))
    assert found is not None
    assert found[:3] == (when.year, when.month, when.day)
    assert found[3] in (0, when.hour * 3600 + when.minute * 60 + when.second)


@given(when=st.datetimes(datetime(2001, 10, 1), datetime(2035, 1, 1)), unit=st.sampled_from([1, 1000, 1_000_000]))
def test_epochs_in_any_unit(when: datetime, unit: int) -> None:
    stamp = int(when.replace(tzinfo=UTC, microsecond=0).timestamp())
    assert moment(str(stamp * unit))[:3] == (when.year, when.month, when.day)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013", (2013, 0, 0, 0.0)),
        ("2013-05", (2013, 5, 0, 0.0)),
        ("May 2013", (2013, 5, 0, 0.0)),
        ("2009-1-2", (2009, 1, 2, 0.0)),
        ("Tue, 07 Mar 2023 01:00:00 +0200", (2023, 3, 6, 82800)),
        ({"date-parts": [["2021", "3"]]}, (2021, 3, 0, 0.0)),
        ("no date", None),
        ("", None),
        (None, None),
        ("2021-45-99", None),
    ],
)
def test_moments(text: object, expected: object) -> None:
    assert moment(text) == expected


def test_days_and_months_are_told_apart_by_the_others() -> None:
    assert in_order(["03/04/2024", "02/13/2024"]) == [1, 0]
    assert in_order(["03/04/2024", "13/02/2024"]) == [1, 0]
    assert in_order(["05.01.24", "01.02.24"]) == [0, 1]


def test_order_needs_dates_for_half_and_turns_a_file_round() -> None:
    assert in_order(["2020", None, None]) is None
    assert in_order(["2020", None, "2019", "2021"]) == [2, 0, 1, 3]
    assert in_order(["2021", "2020", "2020"]) == [2, 1, 0]
    assert in_order(["2020", "2020"]) == [0, 1]


def test_of_a_long_history_the_newest_stay() -> None:
    rows = [{"text": f"of {year}", "title": "t", "created_at": f"{year}-05"} for year in (2013, 2009, 2011)]
    reading = read_upload("a.json", json.dumps(rows).encode(), get_task("LaMP_4"), Limits(max_rows=2))
    assert [item.x for item in reading.items] == ["of 2011", "of 2013"]
    assert "Sorted by date, oldest first." in reading.notes
    assert "Only the last 2 of 3 rows are kept, the newest." in reading.notes
    assert reading.cut == 1


@pytest.mark.parametrize(
    ("text", "whole", "between"),
    [
        ("4", "4", False),
        ("4.0", "4", False),
        ("4,0", "4", False),
        ("4.5", "5", True),
        ("0.5", "1", True),
        ("4 stars", "4", False),
        ("8/10", "4", False),
        ("9/10", "5", True),
        ("★★★★½", "5", True),
        ("★★★☆☆", "3", False),
        ("80/100", "4", False),
        ("7", "7", False),
        ("good", "good", False),
    ],
)
def test_ratings(text: str, whole: str, between: bool) -> None:
    assert whole_stars(text) == whole
    assert is_between(text) == between


def test_nothing_is_rated_zero() -> None:
    assert number_of("") is None
    with pytest.raises(PerpcsError, match="0 means unrated"):
        whole_stars("0.0")
