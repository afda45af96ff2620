"""The short forms of `make fuzz` and `make soak`."""

from fuzz import fuzz
from soak import GROWTH, soak_engine


def test_no_reader_fails_on_what_it_is_given(tmp_path):
    tried, findings = fuzz(6, tmp_path)
    assert not findings
    assert len(tried) == 6


def test_threads_get_what_a_single_run_gives(tmp_path):
    found = soak_engine(4, tmp_path, threads=4)
    assert not found.wrong
    assert found.counts["answers checked"] > 5
    assert found.growth(4) < GROWTH
