"""The end of a spot instance: asked of the instance metadata service, written among the signs of life, and read."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fanout import run_commands
from fanrun.fanout.workers.heartbeat import announced
from tests.imds import serve

NOTICE = '{"action": "terminate", "time": "2026-01-31T12:02:00Z"}'
LINE = "notice terminate 2026-01-31T12:02:00Z\n"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[str]:
    """The program that asks, for a service on this machine whose notice is in the file "notice"."""
    server = serve("127.0.0.1", 0, tmp_path / "notice")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield run_commands.SPOT_NOTICE.replace("169.254.169.254", f"127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def ask(program: str) -> str:
    environment = os.environ | {"http_proxy": "http://127.0.0.1:9"}
    argv = [sys.executable, "-c", program]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout


def test_it_is_asked_for_with_a_token(program: str, tmp_path: Path) -> None:
    assert ask(program) == ""
    (tmp_path / "notice").write_text(NOTICE)
    assert ask(program) == LINE


@pytest.mark.parametrize("text", ["", "<html>", "[]", '"no"', "{}", '{"action": "terminate"}'])
def test_an_answer_that_is_no_notice_is_none(program: str, tmp_path: Path, text: str) -> None:
    (tmp_path / "notice").write_text(text)
    assert ask(program) == ""


def test_a_service_that_is_not_there_announces_nothing() -> None:
    assert ask(run_commands.SPOT_NOTICE.replace("169.254.169.254", "127.0.0.1:9")) == ""


@pytest.mark.parametrize(("is_spot", "expected"), [(True, LINE), (False, "")])
def test_only_a_spot_instance_asks(program: str, tmp_path: Path, is_spot: bool, expected: str) -> None:
    (tmp_path / "notice").write_text(NOTICE)
    if is_spot:
        (tmp_path / "spot").touch()
    words = [str(tmp_path), "0", f"{tmp_path}/lease", f"{tmp_path}/run", "", f"{tmp_path}/spot", program]
    argv = ["sh", "-c", run_commands.HEARTBEAT, "sh", *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.terminate()
    assert [line for line in lines if line.startswith("notice")] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"0 1 1 0 1\n{LINE}0 1 1 0 1\n", "gets the spot notice: terminate at 2026-01-31T12:02:00Z"),
        (LINE, "gets the spot notice: terminate at 2026-01-31T12:02:00Z"),
        (LINE.strip(), ""),
        ("notice terminate soon\n", ""),
        ("notice \x1b[31m 2026-01-31T12:02:00Z\n", ""),
        ("a notice terminate 2026-01-31T12:02:00Z\n", ""),
        ("0 1 1 0 1\n", ""),
    ],
)
def test_only_a_whole_notice_is_read(text: str, said: str) -> None:
    assert announced(text.encode()) == said
