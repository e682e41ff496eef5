"""The model: what follows from how long batches took."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.schedule.throughput import (
    FIRST_WEIGHT,
    LANES,
    MAX_GROWTH,
    MAX_START_FACTOR,
    MAX_UPLINK_SECONDS,
    TAIL_OVERHEAD,
    USUAL_OVERHEAD,
    USUAL_START,
    ThroughputModel,
)
from tests.unit.throughput_models import MB, even, measured

ENDLESS = 10**15


# ---- how long it takes


def test_of_a_new_worker_nothing_is_known() -> None:
    model = ThroughputModel()
    assert not model.knows(*USUAL_START)
    assert (model.rate(), model.seconds("push", MB), model.total(MB)) == (0, 0, 0)
    assert model.next_weight(ENDLESS, 1) == FIRST_WEIGHT
    for stage in USUAL_START:
        assert not model.knows(*USUAL_START)
        model.observe(stage, MB, 1)
    assert model.knows(*USUAL_START)


def test_a_speed_is_what_remains_after_the_usual_start() -> None:
    model = measured({"process": (USUAL_START["process"], 0.5)})
    assert model.seconds("process", 100 * MB) == pytest.approx(USUAL_START["process"] + 50)
    assert model.rate() == pytest.approx(2 * MB)


@given(st.floats(0.2, 5), st.integers(0, 2**32))
def test_a_speed_is_found_in_what_was_measured(each: float, seed: int) -> None:
    """Within a few percent, though every measurement is off by one percent."""
    chance, model = random.Random(seed), ThroughputModel()
    for megabytes in (8, 30, 12, 50):
        model.observe(
            "process", megabytes * MB, (USUAL_START["process"] + each * megabytes) * chance.uniform(0.99, 1.01)
        )
    assert model.seconds("process", 40 * MB) == pytest.approx(USUAL_START["process"] + each * 40, rel=0.03)


def test_two_abreast_are_twice_as_quick_as_each_of_them() -> None:
    quick = (USUAL_START["process"], 0.01)
    assert measured({"pull": (USUAL_START["pull"], 1.0), "process": quick}).rate() == pytest.approx(LANES["pull"] * MB)
    assert measured({"push": (USUAL_START["push"], 1.0), "process": quick}).rate() == pytest.approx(MB)
    assert measured({"process": (USUAL_START["process"], 1.0)}).rate() == pytest.approx(MB)


def test_a_worker_that_changes_is_followed() -> None:
    model = even(1)
    assert model.seconds("process", 10 * MB) == pytest.approx(10.6)
    for load in (2, 8, 4, 6) * 2:
        model.observe("process", load * MB, 0.6 + 5 * load)
    assert model.seconds("process", 10 * MB) == pytest.approx(50.6, rel=0.02)


def test_batches_of_one_size_are_taken_for_a_start_for_the_most_part() -> None:
    model = measured({"process": (USUAL_START["process"], 0.5)}, loads=(4 * MB,) * 5)
    assert model.seconds("process", 4 * MB) == pytest.approx(2.6)
    assert model.seconds("process", 8 * MB) == pytest.approx(2.6 * 5 / 4)


def test_a_start_is_not_thought_to_be_endless() -> None:
    model = measured({"process": (600, 0.001)}, loads=(MB,))
    assert model.seconds("process", 0) == pytest.approx(MAX_START_FACTOR * USUAL_START["process"])
    model.observe("process", 100 * MB, 600)
    assert model.seconds("process", 0) == pytest.approx(MAX_START_FACTOR * USUAL_START["process"])


def test_a_worker_of_which_a_push_alone_is_known_has_no_speed_yet() -> None:
    model = measured({"push": (0.15, 1)})
    assert not model.rate()
    model.observe("process", MB, 1)
    assert model.rate()


@pytest.mark.parametrize("line", ["push", "pull"])
def test_it_is_told_whether_the_line_is_what_takes_long(line: str) -> None:
    quick = dict.fromkeys(USUAL_START, (0.1, 0.01))
    assert not ThroughputModel().waits_for_uplink()
    each = 0.3 / LANES[line]
    assert measured({**quick, line: (0.1, 0.3), "process": (0.1, 0.7 * each)}).waits_for_uplink()
    assert not measured({**quick, line: (0.1, 0.3), "process": (0.1, 1.4 * each)}).waits_for_uplink()


def test_a_first_batch_has_its_stage_to_itself() -> None:
    stages = {"pull": (0.15, 0.1), "process": (0.6, 0.2)}
    assert measured(stages, loads=(8 * MB,)).waits_for_uplink()
    assert not measured(stages, loads=(8 * MB, 8 * MB)).waits_for_uplink()


@given(
    st.lists(st.tuples(st.sampled_from(sorted(USUAL_START)), st.integers(0, 10**9), st.floats(0, 10**4)), max_size=30)
)
def test_whatever_was_measured_more_takes_longer_and_nothing_is_below_zero(seen: list[tuple[str, int, float]]) -> None:
    model = ThroughputModel()
    for stage, load, seconds in seen:
        model.observe(stage, load, seconds)
    assert model.rate() >= 0
    for stage in USUAL_START:
        assert 0 <= model.seconds(stage, 0) <= model.seconds(stage, MB) <= model.seconds(stage, 10**9)
    assert model.total(MB) == pytest.approx(sum(model.seconds(stage, MB) for stage in USUAL_START))


# ---- the size of the next batch


def test_batches_grow_from_the_first_and_not_too_fast() -> None:
    """A machine so quick that its start is all that counts."""
    model, sizes = ThroughputModel(), list[int]()
    for _ in range(8):
        sizes.append(model.next_weight(ENDLESS, 0.5))
        for stage, start in USUAL_START.items():
            model.observe(stage, sizes[-1], start + sizes[-1] / ((200 if stage == "process" else 900) * MB))
    assert sizes[0] == FIRST_WEIGHT
    assert all(0.99 * a < b <= MAX_GROWTH * a for a, b in itertools.pairwise(sizes))
    assert sizes[1] == MAX_GROWTH * FIRST_WEIGHT
    assert sizes[-1] > 20 * FIRST_WEIGHT


def test_while_the_line_alone_is_known_a_batch_is_as_much_as_that_takes() -> None:
    """However fast: what is too much is taken back, when the container's speed is known."""
    model = ThroughputModel()
    model.next_weight(ENDLESS, 1)
    model.observe("push", FIRST_WEIGHT, USUAL_START["push"] + FIRST_WEIGHT / (50 * MB))
    provisional = model.next_weight(ENDLESS, 0.01, in_flight=1)
    assert provisional == pytest.approx(MAX_UPLINK_SECONDS * 50 * MB, rel=0.01)
    model.observe("process", FIRST_WEIGHT, 5.0)
    assert model.next_weight(ENDLESS, 1) <= MAX_GROWTH * FIRST_WEIGHT, "it is not yet known to be right"
    model.observe("process", provisional, 50.0)
    assert model.next_weight(ENDLESS, 1) > MAX_GROWTH * FIRST_WEIGHT


def grown(model: ThroughputModel) -> int:
    """The size of its batches in the midst of a long run, once it has grown."""
    model._heaviest = FIRST_WEIGHT
    return [model.next_weight(ENDLESS, 1) for _ in range(20)][-1]


def test_a_slow_worker_has_small_batches() -> None:
    assert grown(even(20)) < FIRST_WEIGHT < grown(even(0.5))


@pytest.mark.parametrize("slowest", sorted(USUAL_START))
def test_the_slowest_stage_decides(slowest: str) -> None:
    """However quick the others are: its start is a small part of what a batch takes it."""
    for others in (0.01, 0.1):
        model = measured({stage: (USUAL_START[stage], 1.0 if stage == slowest else others) for stage in USUAL_START})
        assert grown(model) == pytest.approx(USUAL_START[slowest] / USUAL_OVERHEAD * MB, rel=0.01)


def test_where_a_start_takes_long_a_batch_has_many_inputs() -> None:
    """As on a machine that has far too much to do: more containers would be more of that."""
    model = ThroughputModel()
    model.next_weight(ENDLESS, 1)
    model.observe("process", FIRST_WEIGHT, 4)
    assert model.next_weight(ENDLESS, 1) == MAX_GROWTH * FIRST_WEIGHT
    assert model.next_weight(20 * FIRST_WEIGHT, 0.5) > 5 * FIRST_WEIGHT


def test_on_a_slow_line_batches_stay_small_whatever_a_first_container_took() -> None:
    """20 Mbit/s, and a container that seems to be as slow as the line after its first batch."""
    model = ThroughputModel()
    model.next_weight(ENDLESS, 1)
    model.observe("push", FIRST_WEIGHT, 0.8)
    model.observe("process", FIRST_WEIGHT, 2.0)
    size = model.next_weight(ENDLESS, 1)
    assert size > 3 * FIRST_WEIGHT
    assert model.seconds("push", size) <= MAX_UPLINK_SECONDS + USUAL_START["push"]
    for load in (FIRST_WEIGHT, size, size):
        model.observe("process", load, 1.2 + 0.15 * load / FIRST_WEIGHT)
        model.observe("push", load, 0.15 + 0.65 * load / FIRST_WEIGHT)
    assert model.seconds("push", model.next_weight(2 * size, 0.5)) < 0.8 * MAX_UPLINK_SECONDS
    assert model.seconds("push", model.next_weight(FIRST_WEIGHT, 0.5)) < 0.8 * MAX_UPLINK_SECONDS


def test_a_quick_stage_is_not_made_the_slowest_by_its_starts() -> None:
    lines = {"push": (0.01, 1.0), "process": (2.0, 0.1), "pull": (0.15, 0.1)}
    size = grown(measured(lines))
    model = measured(lines)
    assert model.seconds("process", size) <= (1 + USUAL_OVERHEAD) * model.seconds("push", size) / LANES["push"]


def test_near_the_end_batches_get_smaller() -> None:
    model = even(0.5)
    middle = grown(model)
    sizes = [model.next_weight(int(waiting), 0.5) for waiting in (100 * middle, 3 * middle, 2.4 * middle, middle)]
    assert sizes[0] == middle
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] == pytest.approx(0.6 * middle, rel=0.01)
    assert sizes[3] == pytest.approx(middle * USUAL_OVERHEAD / TAIL_OVERHEAD, rel=0.01)


def test_near_the_end_of_a_slow_line_what_a_container_takes_decides() -> None:
    """The start of a push is over when the one before it is."""
    model = measured({"push": (USUAL_START["push"], 1.0), "process": (0.01, 0.01), "pull": (0.01, 0.01)})
    assert model.next_weight(ENDLESS, 0.5) > 10 * model.next_weight(1, 0.5)
    heavier = measured({"push": (USUAL_START["push"], 1.0), "process": (1.0, 0.3), "pull": (0.01, 0.01)})
    assert heavier.next_weight(1, 0.5) == pytest.approx(1.0 * MB, rel=0.01)


def test_who_does_more_takes_more_near_the_end() -> None:
    model = even(0.5)
    middle = grown(model)
    assert model.next_weight(2 * middle, 0.2) < model.next_weight(2 * middle, 0.8)


# ---- when a batch will be home


def test_a_batch_has_a_weight_though_nothing_was_pushed_or_processed() -> None:
    """All inputs were in the worker's cache, and its first batch failed before a program ran."""
    model = ThroughputModel()
    model.observe("pull", 10, 0.1)
    assert model.next_weight(1000, 0.5, in_flight=0) == FIRST_WEIGHT
    assert model.next_weight(1000, 0.5, in_flight=3) == FIRST_WEIGHT
