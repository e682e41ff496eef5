"""The level that a line names."""

from __future__ import annotations

import pytest

from fanrun.fanout.worker_files.log_filter import make_level


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("INFO:root:started", "info"),
        ("WARNING:urllib3.connectionpool:Retrying", "warning"),
        ("2026-01-31 12:00:00,123 - app.module - ERROR - it failed", "error"),
        ("2026-01-31 12:00:00.123 | DEBUG    | app:run:12 - looking", "debug"),
        ("[2026-01-31 12:00:00 +0000] [7] [CRITICAL] WORKER TIMEOUT", "critical"),
        ('time="2026-01-31T12:00:00Z" level=warning msg="no such key"', "warning"),
        ('{"level":"error","ts":1.5,"msg":"bad"}', "error"),
        ('{"severity": "INFO", "message": "started"}', "info"),
        ('{"time": 1, "levelname": "WARNING", "x": 2}', "warning"),
        ("main.c:12:5: error: expected ';' before '}' token", "error"),
        ("main.c:12:5: warning: unused variable 'x' [-Wunused-variable]", "warning"),
        ("main.c:3:1: note: declared here", "info"),
        ("fatal: not a git repository", "critical"),
        ("main.c:1:10: fatal error: x.h: No such file or directory", "critical"),
        ("2026-01-31 12:00:00,000 [main] FATAL org.example.Main - out of memory", "critical"),
        ("2026-01-31 12:00:00 TRACE Main:12 - enter", "trace"),
        ("[error] 7#7: *1 open() failed", "error"),
        ("2026/01/31 12:00:00 [warn] 7#7: conflicting server name", "warning"),
        ("<3>kernel: ERR something", "error"),
        ("E: Unable to locate package", ""),
        ("ERROR tests/test_x.py - ImportError", "error"),
        ("panic: runtime error: index out of range", "critical"),
        ("Error: Cannot find module 'x'", "error"),
        ("python: warning: x", "warning"),
        ("no errors found", ""),
        ("information about debugging", ""),
        ("0 warnings, 0 errors", ""),
        ("", ""),
        ("processed cat/1.jpg in 0.2 s", ""),
        ("x" * 300 + " ERROR", ""),
    ],
)
def test_levels(line: str, level: str) -> None:
    assert make_level()(line) == level
