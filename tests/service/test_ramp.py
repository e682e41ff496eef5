"""When requests of a ramp are due, and what is made of those that have ended."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.loadtest.ramp import Ramp, parse_ramp
from service.loadtest.stats import Sample, latencies, line, percentile, series, totals

levels = st.floats(0, 500)


@given(first=levels, last=levels, seconds=st.floats(0.5, 100))
def test_the_area_under_the_ramp_is_what_was_sent(first: float, last: float, seconds: float) -> None:
    ramp = Ramp(first, last, seconds)
    whole = (first + last) / 2 * seconds
    for number in {0, 1, 2, 10, int(whole / 2), int(whole) - 1}:
        at = ramp.due(max(number, 0))
        if 0 < number < whole - 1e-6 * max(whole, 1) - 1e-6:
            assert 0 < at < seconds
            area = (first + ramp.level(at)) / 2 * at
            assert area == pytest.approx(number, rel=1e-4, abs=1e-4)
    assert ramp.due(int(whole) + 2) == math.inf


@given(first=levels, last=levels)
def test_requests_are_due_one_after_the_other(first: float, last: float) -> None:
    due = [Ramp(first, last, 10).due(number) for number in range(50)]
    assert due[0] == 0
    assert due == sorted(due)


def test_a_ramp_goes_in_a_straight_line() -> None:
    ramp = Ramp(10, 30, 4)
    assert [ramp.level(at) for at in (-1, 0, 1, 2, 4, 9)] == [10, 10, 15, 20, 30, 30]
    assert [Ramp(2, 2, 10).due(number) for number in range(4)] == [0, 0.5, 1, 1.5]
    assert Ramp(0, 0, 10).due(1) == math.inf
    assert Ramp(4, 0, 2).due(3) == pytest.approx(1)


def test_ramps_are_read() -> None:
    assert parse_ramp("5:50", 10) == Ramp(5, 50, 10)
    assert parse_ramp("7.5", 10) == Ramp(7.5, 7.5, 10)
    assert parse_ramp("0:3", 10) == Ramp(0, 3, 10)


@pytest.mark.parametrize("text", ["", "a", "1:b", "1:2:3", "-1", "1:-1", "nan", "1:inf", "0", "0:0"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_ramp(text, 10)


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (90, 90), (99, 99), (100, 100), (1, 1), (0, 1)])
def test_percentiles_are_values_that_occurred(percent: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], percent) == value


def test_percentiles_of_few() -> None:
    assert percentile([7.0], 99) == 7
    assert percentile([1.0, 2.0], 50) == 1
    assert math.isnan(percentile([], 50))


SAMPLES = [Sample(0.1, 0.1, "OK"), Sample(0.9, 0.3, "OK"), Sample(1.5, 0.001, "UNAVAILABLE"), Sample(3.2, 0.2, "OK")]


def test_totals() -> None:
    found = totals(SAMPLES, 4)
    assert (found["requests"], found["ok"], found["failed"]) == (4, 3, 1)
    assert found["codes"] == {"OK": 3, "UNAVAILABLE": 1}
    assert found["ok_per_second"] == 0.75
    assert found["latency_ms"] == {"p50": 200, "p90": 300, "p99": 300, "mean": 200, "max": 300}
    assert found["latency_of_all_ms"]["p50"] == 100
    assert totals([], 0)["ok_per_second"] == 0


def test_a_series_has_every_second() -> None:
    found = series(SAMPLES, 2.5, lambda at: at * 10)
    assert [row["second"] for row in found] == [0, 1, 2, 3]
    assert [row["asked"] for row in found] == [5, 15, 25, 35]
    assert [(row["ended"], row["ok"]) for row in found] == [(2, 2), (1, 0), (0, 0), (1, 1)]
    assert found[1]["codes"] == {"UNAVAILABLE": 1}
    assert found[1]["latency_ms"] == {}
    assert len(series([], 2.0, lambda _: 1)) == 2


def test_a_line_tells_the_latest_and_all_the_codes() -> None:
    assert line(SAMPLES[:2], 0.5, {"OK": 3, "UNAVAILABLE": 1}) == (
        "done 4.0/s  p50 100  p90 300  p99 300 ms  OK 3  UNAVAILABLE 1"
    )
    assert line([], 5, {}) == "done 0.0/s"
    assert latencies([]) == {}
