"""The line to a worker: one push after another, no gap in between."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from fanrun.fanout.workers.uplink import LEAD, Uplink


def seconds_waited(uplink: Uplink) -> float:
    begun = time.monotonic()
    uplink.wait()
    return time.monotonic() - begun


def test_a_free_line_is_not_waited_for() -> None:
    uplink = Uplink()
    assert seconds_waited(uplink) < 0.2
    with uplink.transfer(0), contextlib.suppress(RuntimeError), uplink.transfer(60):
        raise RuntimeError
    assert seconds_waited(uplink) < 0.2, "nor after a push that failed"


@pytest.mark.parametrize("expected", [0, LEAD / 2, LEAD])
def test_a_push_that_soon_ends_is_not_waited_for(expected: float) -> None:
    uplink = Uplink()
    with uplink.transfer(expected):
        assert seconds_waited(uplink) < 0.2


def test_the_next_push_begins_shortly_before_the_last_one_should_end() -> None:
    uplink = Uplink()
    with uplink.transfer(LEAD + 0.5):
        assert 0.4 < seconds_waited(uplink) < 0.8
        with uplink.transfer(1):
            assert 0.8 < seconds_waited(uplink) < 1.3, "and it has the line when that one is done"


def test_a_push_that_ends_early_is_not_waited_for_any_longer() -> None:
    uplink = Uplink()
    with uplink.transfer(60):
        waiting = threading.Thread(target=uplink.wait, daemon=True)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()


def test_the_seconds_in_which_another_had_the_line_are_not_a_push_s_own() -> None:
    uplink = Uplink()
    with uplink.transfer(1) as one:
        time.sleep(0.4)
        with uplink.transfer(1) as other:
            time.sleep(0.2)
            assert other() == pytest.approx(0.2, abs=0.1)
        assert one() == pytest.approx(0, abs=0.1), "the other ended just now"
        time.sleep(0.3)
        assert one() == pytest.approx(0.3, abs=0.1)
