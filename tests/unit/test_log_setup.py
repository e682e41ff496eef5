"""run.log: what is logged stands there, and a full disk is no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from loguru import logger

from fanrun.fleet.log_setup import LogFile


def test_what_is_logged_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_text("before\n")
    lines = LogFile(path)
    sink = logger.add(lines.write, level="DEBUG")
    logger.debug("a name with \udcff and ö: {}", "fine")
    logger.remove(sink)
    lines.close()
    first, second = path.read_text("utf-8").splitlines()
    assert first == "before"
    assert second.endswith("a name with \\udcff and ö: fine")
    assert "\x1b" not in second
    assert lines.problem == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="macOS has no /dev/full")
def test_a_full_disk_spoils_nothing_and_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    lines = LogFile(Path("/dev/full"))
    sink = logger.add(lines.write, level="DEBUG")
    logger.debug("something")
    logger.debug("something else")
    logger.remove(sink)
    lines.close()
    assert lines.problem == "No space left on device"
    assert "Logging error" not in capfd.readouterr().err
