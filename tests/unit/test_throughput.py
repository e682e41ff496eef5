"""The pace: what follows from how long batches took."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.plan import HANDLING, Batch, Input, weight
from fanrun.fanout.schedule.scheduler import Flight
from fanrun.fanout.schedule.throughput import (
    FIRST,
    GOOD,
    GROWTH,
    LANES,
    LEAST,
    LONGEST,
    SLOW_START,
    START,
    Pace,
    home,
    worth,
)

MB = 1024**2
ENDLESS = 10**15
NOW = 1000.0


def paced(lines: dict[str, tuple[float, float]], *, loads: tuple[int, ...] = (2 * MB, 8 * MB, 4 * MB)) -> Pace:
    """A worker whose stages take (seconds to start, seconds per MB)."""
    pace = Pace()
    for stage, (start, each) in lines.items():
        for load in loads:
            pace.note(stage, load, start + each * load / MB)
    return pace


def even(process: float) -> Pace:
    """A worker that processes an MB in so many seconds, and has it there and back in no time."""
    return paced({"push": (0.2, 0.001), "process": (0.6, process), "pull": (0.2, 0.001)})


def flight(megabytes: int, since: float, processing: float = 0.0) -> Flight:
    item = Input(b"a", megabytes * MB - HANDLING)
    assert weight(item) == megabytes * MB
    return Flight("worker-1", Batch("b", (item,)), since, processing)


# ---- how long it takes


def test_of_a_new_worker_nothing_is_known() -> None:
    pace = Pace()
    assert not pace.knows(*START)
    assert (pace.rate(), pace.seconds("push", MB), pace.total(MB)) == (0, 0, 0)
    assert pace.most(ENDLESS, 1) == FIRST
    for stage in START:
        assert not pace.knows(*START)
        pace.note(stage, MB, 1)
    assert pace.knows(*START)


def test_a_speed_is_what_remains_after_the_usual_start() -> None:
    pace = paced({"process": (START["process"], 0.5)})
    assert pace.seconds("process", 100 * MB) == pytest.approx(START["process"] + 50)
    assert pace.rate() == pytest.approx(2 * MB)


@given(st.floats(0.2, 5), st.integers(0, 2**32))
def test_a_speed_is_found_in_what_was_measured(each: float, seed: int) -> None:
    """Within a few percent, though every measurement is off by one percent."""
    chance, pace = random.Random(seed), Pace()
    for megabytes in (8, 30, 12, 50):
        pace.note("process", megabytes * MB, (START["process"] + each * megabytes) * chance.uniform(0.99, 1.01))
    assert pace.seconds("process", 40 * MB) == pytest.approx(START["process"] + each * 40, rel=0.03)


def test_two_abreast_are_twice_as_quick_as_each_of_them() -> None:
    quick = (START["process"], 0.01)
    assert paced({"pull": (START["pull"], 1.0), "process": quick}).rate() == pytest.approx(LANES["pull"] * MB)
    assert paced({"push": (START["push"], 1.0), "process": quick}).rate() == pytest.approx(MB)
    assert paced({"process": (START["process"], 1.0)}).rate() == pytest.approx(MB)


def test_a_worker_that_changes_is_followed() -> None:
    pace = even(1)
    assert pace.seconds("process", 10 * MB) == pytest.approx(10.6)
    for load in (2, 8, 4, 6) * 2:
        pace.note("process", load * MB, 0.6 + 5 * load)
    assert pace.seconds("process", 10 * MB) == pytest.approx(50.6, rel=0.02)


def test_batches_of_one_size_are_taken_for_a_start_for_the_most_part() -> None:
    pace = paced({"process": (START["process"], 0.5)}, loads=(4 * MB,) * 5)
    assert pace.seconds("process", 4 * MB) == pytest.approx(2.6)
    assert pace.seconds("process", 8 * MB) == pytest.approx(2.6 * 5 / 4)


def test_a_start_is_not_thought_to_be_endless() -> None:
    pace = paced({"process": (600, 0.001)}, loads=(MB,))
    assert pace.seconds("process", 0) == pytest.approx(SLOW_START * START["process"])
    pace.note("process", 100 * MB, 600)
    assert pace.seconds("process", 0) == pytest.approx(SLOW_START * START["process"])


def test_a_worker_of_which_a_push_alone_is_known_has_no_speed_yet() -> None:
    pace = paced({"push": (0.15, 1)})
    assert not pace.rate()
    pace.note("process", MB, 1)
    assert pace.rate()


@pytest.mark.parametrize("line", ["push", "pull"])
def test_it_is_told_whether_the_line_is_what_takes_long(line: str) -> None:
    quick = dict.fromkeys(START, (0.1, 0.01))
    assert not Pace().waits_for_line()
    each = 0.3 / LANES[line]
    assert paced({**quick, line: (0.1, 0.3), "process": (0.1, 0.7 * each)}).waits_for_line()
    assert not paced({**quick, line: (0.1, 0.3), "process": (0.1, 1.4 * each)}).waits_for_line()


def test_a_first_batch_has_its_stage_to_itself() -> None:
    stages = {"pull": (0.15, 0.1), "process": (0.6, 0.2)}
    assert paced(stages, loads=(8 * MB,)).waits_for_line()
    assert not paced(stages, loads=(8 * MB, 8 * MB)).waits_for_line()


@given(st.lists(st.tuples(st.sampled_from(sorted(START)), st.integers(0, 10**9), st.floats(0, 10**4)), max_size=30))
def test_whatever_was_measured_more_takes_longer_and_nothing_is_below_zero(seen: list[tuple[str, int, float]]) -> None:
    pace = Pace()
    for stage, load, seconds in seen:
        pace.note(stage, load, seconds)
    assert pace.rate() >= 0
    for stage in START:
        assert 0 <= pace.seconds(stage, 0) <= pace.seconds(stage, MB) <= pace.seconds(stage, 10**9)
    assert pace.total(MB) == pytest.approx(sum(pace.seconds(stage, MB) for stage in START))


# ---- the size of the next batch


def test_batches_grow_from_the_first_and_not_too_fast() -> None:
    """A machine so quick that its start is all that counts."""
    pace, sizes = Pace(), list[int]()
    for _ in range(8):
        sizes.append(pace.most(ENDLESS, 0.5))
        for stage, start in START.items():
            pace.note(stage, sizes[-1], start + sizes[-1] / ((200 if stage == "process" else 900) * MB))
    assert sizes[0] == FIRST
    assert all(0.99 * a < b <= GROWTH * a for a, b in itertools.pairwise(sizes))
    assert sizes[1] == GROWTH * FIRST
    assert sizes[-1] > 20 * FIRST


def test_while_the_line_alone_is_known_a_batch_is_as_much_as_that_takes() -> None:
    """However fast: what is too much is taken back, when the container's speed is known."""
    pace = Pace()
    pace.most(ENDLESS, 1)
    pace.note("push", FIRST, START["push"] + FIRST / (50 * MB))
    bold = pace.most(ENDLESS, 0.01)
    assert bold == pytest.approx(LONGEST * 50 * MB, rel=0.01)
    pace.note("process", FIRST, 5.0)
    assert pace.most(ENDLESS, 1) <= GROWTH * FIRST, "it is not yet known to be right"
    pace.note("process", bold, 50.0)
    assert pace.most(ENDLESS, 1) > GROWTH * FIRST


def grown(pace: Pace) -> int:
    """The size of its batches in the midst of a long run, once it has grown."""
    pace._heaviest = FIRST
    return [pace.most(ENDLESS, 1) for _ in range(20)][-1]


def test_a_slow_worker_has_small_batches() -> None:
    assert grown(even(20)) < FIRST < grown(even(0.5))


@pytest.mark.parametrize("slowest", sorted(START))
def test_the_slowest_stage_decides(slowest: str) -> None:
    """However quick the others are: its start is a small part of what a batch takes it."""
    for others in (0.01, 0.1):
        pace = paced({stage: (START[stage], 1.0 if stage == slowest else others) for stage in START})
        assert grown(pace) == pytest.approx(START[slowest] / GOOD * MB, rel=0.01)


def test_where_a_start_takes_long_a_batch_has_many_inputs() -> None:
    """As on a machine that has far too much to do: more containers would be more of that."""
    pace = Pace()
    pace.most(ENDLESS, 1)
    pace.note("process", FIRST, 4)
    assert pace.most(ENDLESS, 1) == GROWTH * FIRST
    assert pace.most(20 * FIRST, 0.5) > 5 * FIRST


def test_on_a_slow_line_batches_stay_small_whatever_a_first_container_took() -> None:
    """20 Mbit/s, and a container that seems to be as slow as the line after its first batch."""
    pace = Pace()
    pace.most(ENDLESS, 1)
    pace.note("push", FIRST, 0.8)
    pace.note("process", FIRST, 2.0)
    size = pace.most(ENDLESS, 1)
    assert size > 3 * FIRST
    assert pace.seconds("push", size) <= LONGEST + START["push"]
    for load in (FIRST, size, size):
        pace.note("process", load, 1.2 + 0.15 * load / FIRST)
        pace.note("push", load, 0.15 + 0.65 * load / FIRST)
    assert pace.seconds("push", pace.most(2 * size, 0.5)) < 0.8 * LONGEST
    assert pace.seconds("push", pace.most(FIRST, 0.5)) < 0.8 * LONGEST


def test_a_quick_stage_is_not_made_the_slowest_by_its_starts() -> None:
    lines = {"push": (0.01, 1.0), "process": (2.0, 0.1), "pull": (0.15, 0.1)}
    size = grown(paced(lines))
    pace = paced(lines)
    assert pace.seconds("process", size) <= (1 + GOOD) * pace.seconds("push", size) / LANES["push"]


def test_near_the_end_batches_get_smaller() -> None:
    pace = even(0.5)
    middle = grown(pace)
    sizes = [pace.most(int(waiting), 0.5) for waiting in (100 * middle, 3 * middle, 2.4 * middle, middle)]
    assert sizes[0] == middle
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] == pytest.approx(0.6 * middle, rel=0.01)
    assert sizes[3] == pytest.approx(middle * GOOD / LEAST, rel=0.01)


def test_near_the_end_of_a_slow_line_what_a_container_takes_decides() -> None:
    """The start of a push is over when the one before it is."""
    pace = paced({"push": (START["push"], 1.0), "process": (0.01, 0.01), "pull": (0.01, 0.01)})
    assert pace.most(ENDLESS, 0.5) > 10 * pace.most(1, 0.5)
    heavier = paced({"push": (START["push"], 1.0), "process": (1.0, 0.3), "pull": (0.01, 0.01)})
    assert heavier.most(1, 0.5) == pytest.approx(1.0 * MB, rel=0.01)


def test_who_does_more_takes_more_near_the_end() -> None:
    pace = even(0.5)
    middle = grown(pace)
    assert pace.most(2 * middle, 0.2) < pace.most(2 * middle, 0.8)


# ---- when a batch will be home


def test_a_batch_is_home_after_all_that_is_before_it() -> None:
    pace = paced({"push": (1, 0), "process": (2, 1), "pull": (3, 0)})
    first, second = flight(4, NOW - 3, NOW - 2), flight(2, NOW - 1)
    push, process, pull = (pace.seconds(stage, 2 * MB) for stage in ("push", "process", "pull"))
    left = pace.seconds("process", 4 * MB) - 2
    assert home(pace, [first], first, NOW) == pytest.approx(NOW + left + pace.seconds("pull", 4 * MB))
    assert home(pace, [second, first], second, NOW) == pytest.approx(NOW + left + push + process - 1 + pull)


def test_of_what_is_overdue_as_much_is_expected_as_has_passed() -> None:
    pace = even(1)
    late = flight(1, NOW - 100, NOW - 90)
    assert home(pace, [late], late, NOW) == pytest.approx(NOW + 90, abs=1)
    unknown = flight(1, NOW - 40)
    assert home(Pace(), [unknown], unknown, NOW) == NOW + 40


@pytest.mark.parametrize(
    ("mine", "its", "megabytes", "since", "expected"),
    [
        (even(0.1), even(0.1), 4, NOW - 0.1, False),  # it has just begun, on one as quick
        (even(0.1), even(10), 4, NOW - 0.1, True),  # it has just begun, on one that is slow
        (even(10), even(0.1), 4, NOW - 0.1, False),  # the slow one lets the quick one be
        (even(0.1), even(10), 4, NOW - 39.5, False),  # the slow one is nearly there
        (even(0.1), even(0.1), 4, NOW - 600, True),  # it hangs
        (even(10), even(10), 4, NOW - 5, False),  # it is in the midst of it, on one as slow
        (Pace(), even(1), 4, NOW - 600, True),  # it hangs, and I am new
        (Pace(), even(1), 4, NOW - 0.1, False),
        (Pace(), Pace(), 4, NOW - 1, False),  # nobody knows anything
        (Pace(), Pace(), 4, NOW - 600, True),
    ],
)
def test_when_a_copy_is_worth_it(mine: Pace, its: Pace, megabytes: int, since: float, expected: bool) -> None:
    found = flight(megabytes, since, since)
    assert worth(mine, its, found, [found], NOW) is expected
