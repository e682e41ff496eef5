"""Names of runs."""

from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout import context

FROM, TO = datetime.datetime(2000, 1, 1), datetime.datetime(2100, 1, 1)  # noqa: DTZ001 - the zone is added by TIMES
TIMES = st.datetimes(FROM, TO, timezones=st.just(datetime.timezone.utc))


@given(TIMES, st.timedeltas(min_value=datetime.timedelta(microseconds=16), max_value=datetime.timedelta(days=9)))
def test_a_later_run_sorts_after_an_earlier_one(started: datetime.datetime, later: datetime.timedelta) -> None:
    """Also within the same second: `fab logs` shows the last one."""
    assert context._name(started) < context._name(started + later)


def test_a_name_is_the_time() -> None:
    started = datetime.datetime(2026, 11, 28, 5, 55, 54, 500_000, tzinfo=datetime.timezone.utc)
    assert context._name(started) == "20261128-055554-8000"
