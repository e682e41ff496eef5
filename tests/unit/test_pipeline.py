"""A worker's decisions, as far as they need no host."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from fanrun.fanout.plan import HANDLING, STAGE_CONCURRENCY, Input
from fanrun.fanout.program import Program
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.faults import Reasons
from fanrun.fanout.results.joblog import Joblog
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.results.logs import RunLogs
from fanrun.fanout.results.ownership import Ownership, RunInputs
from fanrun.fanout.schedule.scheduler import Scheduler
from fanrun.fanout.schedule.throughput import FIRST_WEIGHT, USUAL_START
from fanrun.fanout.workers.job import Job
from fanrun.fanout.workers.link import Link
from fanrun.fanout.workers.pipeline import Worker
from fanrun.fanout.workers.warm_up import PERMITS, SECOND_BATCH_DELAY
from fanrun.fleet.probe import Probe
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder

PROBE = Probe(1000, 1000, 0.1, 2, 4 * 1024**3, 10**11, 10**11, "26.1", ())
MB = 1024**2
COUNT = 400
"""Inputs of a MB."""


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """One that has not begun, with all of a run's inputs."""
    scheduler = Scheduler()
    scheduler.deal({"worker-1": [Input(b"%03d" % number, MB - HANDLING) for number in range(COUNT)]})
    ledger, joblog = Ledger(tmp_path / "ledger.db"), Joblog(tmp_path / "joblog.tsv")
    ownership = Ownership(RunInputs([]), scheduler.is_settled, lambda key: False)
    destination = Destination(
        str(tmp_path),
        str(tmp_path),
        str(tmp_path),
        "p",
        ledger,
        joblog,
        ownership,
        Reasons(print),
        RunLogs(tmp_path / "logs"),
    )
    job = Job("r", str(tmp_path), Program("image"), scheduler, destination, Board())
    link = Link(Folder(tmp_path / "home", "default"), "worker-1", "test", threading.Semaphore())
    return Worker(job, link, PROBE)


@pytest.mark.parametrize(
    ("push", "process", "expected"),
    [(0.02, 5.0, True), (0.02, 0.001, False), (1.0, 0.001, False), (5.0, 1.0, False)],
    ids=["heavy", "light", "slow line", "slower line"],
)
def test_a_provisional_batch_is_taken_back_if_the_program_turns_out_heavy(
    worker: Worker, push: float, process: float, expected: bool
) -> None:
    """`push` and `process` in seconds for a MB."""
    scheduler = worker.job.scheduler
    first = scheduler.next_batch("worker-1")
    assert first is not None
    worker._observe("push", first, USUAL_START["push"] + push * FIRST_WEIGHT / MB)
    provisional = scheduler.next_batch("worker-1")
    assert provisional is not None
    worker._observe("process", first, USUAL_START["process"] + process * FIRST_WEIGHT / MB)
    waiting = scheduler.waiting()
    worker.warm_up.first_processed.set()
    assert worker._requeued(provisional) == expected
    assert scheduler.waiting() - waiting == (len(provisional.inputs) * MB if expected else 0)


def test_nothing_is_taken_back_before_it_is_known_what_a_container_takes(worker: Worker) -> None:
    batch = worker.job.scheduler.next_batch("worker-1")
    assert batch is not None
    worker._observe("push", batch, 1.0)
    taken_back: list[bool] = []
    thread = threading.Thread(target=lambda: taken_back.append(worker._requeued(batch)), daemon=True)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    worker.warm_up.first_processed.set()
    thread.join(20)
    assert taken_back == [False], "nor when the first container came to grief"


def test_a_first_batch_waits_for_no_other(worker: Worker) -> None:
    """Though the line's speed is known, as of a worker that was lost before its first container ended."""
    batch = worker.job.scheduler.next_batch("worker-1")
    assert batch is not None
    worker._observe("push", batch, 1.0)
    assert [worker.warm_up.is_provisional() for _ in range(3)] == [False, True, True]
    worker._observe("process", batch, 1.0)
    assert not worker.warm_up.is_provisional()


def admitted(worker: Worker, seconds: float) -> list[float]:
    """When the two that push may take a batch, on a clock that begins now, as far as that is within `seconds`."""
    found: list[float] = []
    begun = time.monotonic()

    def wait() -> None:
        worker.warm_up.acquire()
        found.append(time.monotonic() - begun)

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(STAGE_CONCURRENCY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(begun + seconds - time.monotonic(), 0))
    return sorted(found)


def test_on_a_slow_line_a_second_batch_follows_before_the_first_has_arrived(worker: Worker) -> None:
    first, second = admitted(worker, 10)
    assert first < SECOND_BATCH_DELAY / 2
    assert second >= SECOND_BATCH_DELAY
    batch = worker.job.scheduler.next_batch("worker-1")
    assert batch is not None
    worker._observe("push", batch, 1.0)
    worker._observe("process", batch, 1.0)
    assert len(admitted(worker, 10)) == sum(PERMITS.values()) - 1, "as many are on their way in all as on other lines"
    assert not admitted(worker, 3 * SECOND_BATCH_DELAY)


def test_on_a_quick_line_a_second_batch_waits_for_what_the_first_one_tells(worker: Worker) -> None:
    batch = worker.job.scheduler.next_batch("worker-1")
    assert batch is not None
    worker.warm_up.acquire()
    threading.Timer(SECOND_BATCH_DELAY / 4, worker._observe, ("push", batch, 0.1)).start()
    assert len(admitted(worker, SECOND_BATCH_DELAY / 2)) == 1
    assert not admitted(worker, 3 * SECOND_BATCH_DELAY)
