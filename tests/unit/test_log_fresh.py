"""Which lines are new: of what the hub has, of what a worker has, and of what came home."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fanrun.fanout.results.log_fresh import MAX_SAME, Fresh, Mark, Shown, check_of
from fanrun.fanout.results.log_lines import Line, Source
from tests.unit.logs_world import made

Placed = tuple[Line, int]


def taken(lines: Sequence[Placed], home: Sequence[str] = ()) -> list[str]:
    """Return the messages of the lines that are new."""
    fresh = Fresh(home)
    return [line.message for line, offset in lines if fresh.takes(line, offset)]


def first(number: int) -> Placed:
    """Return the first line of a worker's log; another log has another number."""
    return made(1, f"the log of a run begins here ({number})", spool="begin"), 0


def test_what_was_shipped_twice_is_new_once() -> None:
    lines = [(made(1, "a"), 0), (made(2, "b"), 100), (made(3, "c"), 200)]
    assert taken([*lines[:2], *lines[:2], *lines, *lines]) == ["a", "b", "c"]


def test_a_line_that_was_torn_at_the_hub_is_new_when_it_comes_again() -> None:
    """Where the hub's disk was full for a moment, the lines after the torn one may be there already."""
    lines = [(made(number, str(number)), 100 * number) for number in range(5)]
    assert taken([*lines[:2], *lines[3:], *lines, *lines]) == ["0", "1", "3", "4", "2"]


def test_equal_lines_of_a_log_are_two() -> None:
    assert taken([(made(1, "same"), 0), (made(1, "same"), 100)]) == ["same", "same"]
    assert taken([(made(1, "same"), -1), (made(1, "same"), -1)]) == ["same", "same"], "their place is not known"


def test_another_line_at_the_same_place_hides_none() -> None:
    """A host that was taken over can send lines under any name to the hub."""
    forged = [(made(1, f"forged {number}"), 100) for number in range(MAX_SAME + 5)]
    assert taken([*forged, (made(1, "a"), 100)])[-1] == "a"
    assert taken([forged[0], (made(1, "a"), 100), forged[0], (made(1, "a"), 100)]) == ["forged 0", "a"]


def test_a_new_log_in_the_place_of_another_is_new() -> None:
    """A worker that was made anew begins its log again."""
    one = [first(1), (made(1, "a"), 100), (made(1, "b"), 200)]
    assert taken([*one, first(1), one[1], first(2), (made(2, "b"), 200), one[1]]) == ["a", "b", "b", "a"]


def test_batches_that_are_home_are_not_read_again() -> None:
    fresh = Fresh({"worker-1.0001"})
    assert not fresh.takes(made(1, "x"))
    assert fresh.takes(made(1, "x", batch="worker-1.0002"))
    assert not fresh.takes(made(1, "begins", batch="worker-1.0002", spool="begin"))
    assert fresh.takes(made(1, "it is full", batch="worker-1.0002", spool="full")), "it says what is missing"


def test_the_last_line_is_the_one_behind_all_others() -> None:
    fresh = Fresh({"worker-1.0001"})
    assert (fresh.last, fresh.has_start) == (None, False)
    fresh.takes(made(1, "b"), 200)
    fresh.takes(made(1, "a"), 100)
    assert fresh.last == Mark(200, check_of(made(9, "b"))), "of batches that are home as well, whatever their time"
    assert not fresh.has_start
    fresh.takes(*first(1))
    assert fresh.has_start


def source(*messages: str) -> Source:
    lines = [made(second, text) for second, text in enumerate(messages)]
    return Source(lines[0].time, lambda: iter(lines))


@pytest.mark.parametrize(
    ("places", "left"), [((), "abca"), ((0, 1), "ca"), ((1, 2), "aa"), ((0,), "bca"), ((3,), "abc"), ((0, 1, 2, 3), "")]
)
def test_what_was_shown_is_not_shown_again(places: Sequence[int], left: str) -> None:
    """Also where what was shown has a gap."""
    lines = list(source(*"abca").open())
    shown, memory = [lines[place] for place in places], Shown()
    assert list(memory.noted(Source("", lambda: iter(shown))).open()) == shown
    assert "".join(line.message for line in memory.without(source(*"abca")).open()) == left


def test_lines_of_another_batch_hide_none() -> None:
    memory = Shown()
    assert len(list(memory.noted(Source("", lambda: iter([made(0, "a", batch="worker-1.0002")]))).open())) == 1
    assert [line.message for line in memory.without(source("a")).open()] == ["a"]
