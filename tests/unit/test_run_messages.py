"""run.log at level INFO: what was asked for, the hosts, what is left to do, the end; never a secret."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from fanrun.fanout import run_messages
from fanrun.fanout.context import RunContext
from fanrun.fanout.plan import Input
from fanrun.fanout.request import RunRequest
from fanrun.fanout.results.report import Failure, WorkerReport
from fanrun.fanout.resume import ResumePlan
from fanrun.fleet.errors import RunUnfinished, UsageError
from fanrun.fleet.log_setup import log_to_file, log_to_terminal
from fanrun.fleet.model import Image
from fanrun.fleet.release import RELEASE
from tests.unit import reports
from tests.unit.samples import FLEET, PROBE

ROOT = Path(__file__).resolve().parents[2]
IMAGE = Image("process.py", "sha256:11", "hub:5000/i@sha256:00")
INPUTS = [Input(b"a", 3000), Input(b"b\n", 800_000)]
REPORT = dataclasses.replace(
    reports.REPORT,
    inputs=2,
    done=1,
    results=1,
    bytes_in=3000,
    bytes_out=10,
    failed=[Failure("b\n", "dark\nroom", "worker-1", 3)],
    workers=[WorkerReport("worker-1", 1, 1, 3000, 10, {"push": 0.1}, ["it went away"])],
)


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """What is logged, as `LEVEL message`."""
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(line.rstrip("\n")), level="DEBUG", format="{level} {message}")
    yield lines
    logger.remove(sink)


def test_a_request_is_logged_with_command_version_and_image(messages: list[str]) -> None:
    context = RunContext(RunRequest("/src", "/ds\nt"), FLEET, IMAGE, name="r")
    run_messages.log_request(context, INPUTS, ["/bin/fab", "run", "--src=/src", "--args", "--token abc"])
    assert all(line.startswith("INFO ") for line in messages)
    assert messages[0] == "INFO command: fab run --src=/src --args '--token REDACTED'"
    assert messages[1].startswith(f"INFO Fanrun {RELEASE}, Python ")
    assert messages[2:] == [
        "INFO run r on fleet default, by provider local",
        "INFO container image process.py: hub:5000/i@sha256:00",
        "INFO SRC /src: 2 inputs, 803.0 kB",
        "INFO DST /ds\\nt",
    ]


def test_the_release_is_that_of_the_project() -> None:
    assert f'\nversion = "{RELEASE}"\n' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_what_is_left_to_do_is_logged(messages: list[str]) -> None:
    run_messages.log_resume(ResumePlan(INPUTS[:1]))
    assert messages == ["INFO left to do: 1 input, 3.0 kB; done before: 0"]


def test_hosts_are_logged_with_address_and_cores(messages: list[str]) -> None:
    probe = dataclasses.replace(PROBE, cpus=1, memory=4 * 10**9)
    run_messages.log_hosts(FLEET, {"worker-1": probe})
    assert messages == ["INFO host hub: 10.0.0.10", "INFO host worker-1: [127.0.0.1]:2201, 1 core, 4.0 GB of memory"]


def test_the_summary_is_logged_line_by_line(messages: list[str]) -> None:
    run_messages.log_summary(REPORT)
    run_messages.log_end(REPORT)
    run_messages.log_end(dataclasses.replace(REPORT, failed=[]))
    assert messages[0].startswith("INFO 1 of 2 inputs done in 2.0 s")
    assert "lost: it went away; it came back" in messages[1]
    assert messages[2:] == ["INFO 1 input failed", "INFO exit code 1", "INFO exit code 0"]


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (RunUnfinished("1 input\nis left"), "1 input\\nis left", 3),
        (UsageError("no worker can take part"), "no worker can take part", 2),
        (KeyError("x"), "unexpected KeyError: 'x'", 70),
    ],
)
def test_an_error_that_ends_a_run_is_logged(messages: list[str], error: Exception, text: str, code: int) -> None:
    with pytest.raises(type(error)), run_messages.logged_error():
        raise error
    assert messages == [f"ERROR {text}", f"INFO exit code {code}"]


def test_the_terminal_shows_warnings_and_the_file_everything(tmp_path: Path) -> None:
    shown: list[str] = []
    log_to_terminal(lambda line: shown.append(line.rstrip("\n")))
    with log_to_file(tmp_path / "run.log"):
        for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
            logger.log(level, "{} words", level.lower())
        logger.debug("a program printed\nINFO exit code 0")
    logger.remove()
    assert shown == ["WARNING: warning words"]
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert lines[5:] == ["  | INFO exit code 0"]
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d\d:\d\d"
    for line, level in zip(lines[:4], ("DEBUG", "INFO", "WARNING", "ERROR"), strict=True):
        assert re.fullmatch(rf"{stamp} {level:<7} {level.lower()} words", line)
