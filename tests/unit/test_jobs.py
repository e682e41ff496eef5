"""How many containers a worker runs at the same time."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from fanrun.fanout.program import AUTO, Program, max_containers
from fanrun.fanout.schedule.jobs import MAX_INCREASE, MAX_PRESSURE, RESERVE, Jobs, Sample
from tests.unit.samples import PROBE

GIB = 1024**3
Use = Callable[[int], float]
"""Returns the cores that one container uses while so many run."""


def work(jobs: Jobs, use: Use, seconds: int = 30, **sample: int | float) -> list[int]:
    """Let containers work for so many seconds; return how many there were after each."""
    counts = []
    for _ in range(seconds):
        given = {"memory": 10**6, "available": 8 * GIB, **sample}
        jobs.sample(Sample(jobs.count, use(jobs.count), int(given["memory"]), int(given["available"]), **_rest(sample)))
        counts.append(jobs.count)
    return counts


def _rest(sample: dict[str, int | float]) -> dict[str, float]:
    return {"waiting": sample["waiting"]} if "waiting" in sample else {}


def threads(number: float, cores: int) -> Use:
    """A program with so many threads, on a machine with so many cores."""
    return lambda count: min(number, cores / count)


@pytest.mark.parametrize(
    ("number", "cores", "expected"),
    [
        (1, 1, 1),
        (1, 2, 2),
        (1, 32, 32),
        (0.97, 8, 8),
        (1.03, 8, 8),
        (2, 8, 4),
        (4, 8, 2),
        (8, 8, 1),
        (0.1, 8, 8),
        (3, 8, 2),
    ],
)
def test_there_are_as_many_containers_as_keep_all_cores_busy(number: float, cores: int, expected: int) -> None:
    jobs = Jobs(cores)
    work(jobs, threads(number, cores))
    assert jobs.count == expected
    assert jobs.cores == pytest.approx(min(number, cores / expected))
    assert jobs.reason in ("all cores are in use", "as many as cores")


def test_nothing_is_decided_by_one_sample() -> None:
    jobs = Jobs(32)
    assert work(jobs, threads(1, 32), 1) == [1]
    counts = work(jobs, threads(1, 32), 20)
    assert all(after <= MAX_INCREASE * before for before, after in itertools.pairwise(counts)), counts


def test_a_program_that_begins_with_one_thread_and_goes_on_with_many_is_not_taken_for_one_with_one() -> None:
    jobs = Jobs(8)
    for cores in (0.2, 1.0, 3.0, 7.9, 7.9, 8.0, 7.8):
        jobs.sample(Sample(1, cores, 10**6, 8 * GIB))
    assert jobs.count == 1


def test_containers_that_are_not_all_at_work_tell_nothing() -> None:
    jobs = Jobs(8)
    work(jobs, threads(1, 8), 2)
    before = jobs.count
    for _ in range(10):
        jobs.sample(Sample(before - 1, 0.9, 10**6, 8 * GIB))
    assert jobs.count == before


def test_more_containers_that_use_no_more_cpu_are_given_up() -> None:
    """As where something else is the limit: a disk, a lock, a license."""
    jobs = Jobs(16)
    counts = work(jobs, lambda count: 0.8 / count)
    assert max(counts) > 1
    assert (jobs.count, jobs.reason) == (1, f"{max(counts)} use no more CPU")
    work(jobs, threads(1, 16))
    assert jobs.count == 1, "it stays so"


def test_more_containers_that_are_slower_are_given_up() -> None:
    """As where they take each other's caches: they use the CPU, to no avail."""
    jobs = Jobs(4)
    for _ in range(2):
        jobs.processed(1, 100, 1.0)
    work(jobs, threads(1, 4))
    assert jobs.count == 4
    for _ in range(3):
        jobs.processed(4, 100, 5.0)
    assert jobs.count == 4, "not all of them have told yet"
    jobs.processed(4, 100, 5.0)
    assert (jobs.count, jobs.reason) == (1, "4 are slower")


def test_more_containers_that_are_faster_stay() -> None:
    jobs = Jobs(4)
    jobs.processed(1, 100, 1.0)
    work(jobs, threads(1, 4))
    for _ in range(8):
        jobs.processed(4, 100, 1.2)
    assert jobs.count == 4


@pytest.mark.parametrize(("memory", "expected"), [(GIB, 8), (2 * GIB, 4), (4 * GIB, 1), (16 * GIB, 1)])
def test_memory_bounds_them(memory: int, expected: int) -> None:
    """`available` is what is left beside those that run: it would shrink as more of them start."""
    jobs = Jobs(32)
    total = 9 * GIB
    for _ in range(30):
        jobs.sample(Sample(jobs.count, 1.0, memory, max(total - memory * jobs.count, 0) + RESERVE))
    assert jobs.count == expected
    assert jobs.reason == "memory allows no more"


def test_pressure_of_memory_or_disks_lets_no_more_start() -> None:
    jobs = Jobs(8)
    work(jobs, threads(1, 8), waiting=MAX_PRESSURE + 1)
    assert (jobs.count, jobs.reason) == (1, "memory or disks are under pressure")
    work(jobs, threads(1, 8), waiting=MAX_PRESSURE)
    assert jobs.count == 8


def test_a_container_that_is_killed_for_memory_halves_them() -> None:
    jobs = Jobs(8)
    work(jobs, threads(1, 8))
    jobs.killed_for_memory()
    work(jobs, threads(1, 8))
    assert (jobs.count, jobs.reason) == (4, "with 8 memory is short")
    for _ in range(5):
        jobs.killed_for_memory()
    assert jobs.count == 1


def test_a_number_that_was_asked_for_stays() -> None:
    jobs = Jobs(6, fixed=True)
    work(jobs, lambda count: 0.1)
    jobs.processed(6, 1, 100.0)
    jobs.killed_for_memory()
    assert (jobs.count, jobs.reason) == (6, "asked for")
    assert jobs.cores == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (Program("i"), 1),
        (Program("i", jobs=7), 7),
        (Program("i", jobs=AUTO), PROBE.cpus),
        (Program("i", jobs=AUTO, cpus=0.5), PROBE.cpus),
        (Program("i", jobs=AUTO, cpus=2.0 * PROBE.cpus), 1),
        (Program("i", jobs=AUTO, memory=PROBE.memory), 1),
    ],
)
def test_most_containers_of_a_worker(program: Program, expected: int) -> None:
    assert max_containers(program, PROBE) == expected
