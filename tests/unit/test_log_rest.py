"""Lines of batches that did not come home are fetched, batch by batch."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from fanrun.fanout import commands
from fanrun.fanout.results.log_lines import home_batches
from fanrun.fanout.results.logs import RunLogs
from fanrun.fanout.workers.executor import SSH_FAILED, CommandResult
from fanrun.fanout.workers.link import Link
from fanrun.fanout.workers.log_rest import LONGEST, fetch_rest
from fanrun.fleet.ssh import TIMED_OUT
from fanrun.fleet.store import Folder
from tests.unit.logs_world import encoded

MOST = 1000
ONE, TWO, THREE = "worker-1.0001", "worker-1.0002", "worker-1.0003"


class Answering(Link):
    """A way to a worker that gives these lines of batches, or exit codes; each question takes `seconds`."""

    def __init__(self, folder: Folder, answers: Mapping[str, bytes | int], seconds: float = 1) -> None:
        super().__init__(folder, "worker-1", "r", threading.Semaphore())
        self.answers, self.seconds, self.now, self.asked = answers, seconds, 0.0, list[str]()

    def last(self, argv: list[str], *, timeout: float) -> CommandResult:
        assert timeout == LONGEST - self.now
        batch = argv[-1]
        assert argv == commands.rest_argv("r", [batch], MOST)
        self.asked.append(batch)
        self.now += self.seconds
        answer = self.answers[batch]
        return (
            CommandResult(answer, b"", f"exit code {answer}")
            if isinstance(answer, int)
            else CommandResult(0, answer, "")
        )


@pytest.fixture
def logs(tmp_path: Path) -> RunLogs:
    """A run in which three batches did not come home."""
    run = RunLogs(tmp_path / "logs")
    for batch in (ONE, TWO, THREE):
        run.begin("worker-1", batch)
    return run


def fetch(link: Answering, logs: RunLogs) -> str:
    return fetch_rest(link, "r", logs, MOST, lambda: link.now)


def lines(batch: str) -> bytes:
    return encoded(1, "x", batch=batch)


def test_all_are_fetched(folder: Folder, logs: RunLogs, tmp_path: Path) -> None:
    link = Answering(folder, {ONE: lines(ONE), TWO: b"", THREE: lines(THREE)})
    assert (fetch(link, logs), logs.missing("worker-1")) == ("", [])
    assert set(home_batches(tmp_path / "logs")) == {ONE, THREE}, "the other one wrote nothing"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (bytes(MOST), "a batch has more than 1000 bytes of them"),
        (2, "exit code 2"),
        (TIMED_OUT, "it takes longer than 60 s"),
    ],
)
def test_one_that_can_not_be_fetched_keeps_no_other_from_home(
    folder: Folder, logs: RunLogs, answer: bytes | int, why: str
) -> None:
    link = Answering(folder, {ONE: lines(ONE), TWO: answer, THREE: lines(THREE)})
    assert (fetch(link, logs), logs.missing("worker-1")) == (why, [TWO])


def test_a_worker_that_is_gone_is_asked_once(folder: Folder, logs: RunLogs) -> None:
    link = Answering(folder, dict.fromkeys((ONE, TWO, THREE), SSH_FAILED))
    assert (fetch(link, logs), link.asked) == ("exit code 255", [ONE])
    assert logs.missing("worker-1") == [ONE, TWO, THREE]


def test_the_end_of_a_run_does_not_wait_longer_for_more_batches(folder: Folder, logs: RunLogs) -> None:
    link = Answering(folder, {ONE: lines(ONE), TWO: lines(TWO), THREE: lines(THREE)}, LONGEST / 2)
    assert (fetch(link, logs), logs.missing("worker-1")) == ("it takes longer than 60 s", [THREE])


def test_where_dst_is_full_it_is_said(folder: Folder, logs: RunLogs, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way of the folder")
    link = Answering(folder, {ONE: lines(ONE), TWO: b"", THREE: b""})
    assert (fetch(link, logs), logs.missing("worker-1")) == ("DST does not take them", [ONE])
