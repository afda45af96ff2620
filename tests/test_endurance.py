"""The short forms of `make fuzz` and `make soak`."""

from fuzz import fuzz
from soak import GROWTH, LIVE, Found, held, report, soak_engine


def test_no_reader_fails_on_what_it_is_given(tmp_path):
    tried, findings = fuzz(6, tmp_path)
    assert not findings
    assert len(tried) == 6


def test_threads_get_what_a_single_run_gives(tmp_path):
    found = soak_engine(4, tmp_path, threads=4)
    assert not found.wrong
    assert found.counts["answers checked"] > 5
    assert found.growth(4) < GROWTH


def test_a_soak_notices_what_is_kept():
    begun = held(1)
    kept = [bytes(1000) for _ in range(LIVE // 900)]
    assert held(1) - begun > LIVE
    assert report("kept", Found(live=[begun, begun + LIVE - 1]), 100)
    assert not report("kept", Found(live=[begun, held(1)]), 100)
    del kept
    flat = [(second, 10**9 + 3 * GROWTH * (second < 20)) for second in range(100)]
    assert report("flat", Found(memory=flat), 100)
    assert not report("slow", Found(memory=[(second, second * GROWTH // 40) for second in range(100)]), 100)
