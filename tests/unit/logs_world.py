"""Lines of logs, and files with them, for the tests of `fab logs`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from fanrun.fanout.results.log_lines import Line, parse

DAY = "2026-01-31T12:00:"


def encoded(second: float, message: str, *, batch: str = "worker-1.0001", **more: object) -> bytes:
    """Return a line as the filter writes it, of so many seconds after noon."""
    fields = {
        "timestamp": f"{DAY}{second:06.3f}Z",
        "fleet": "default",
        "run": "r1",
        "host": batch.rpartition(".")[0],
        "batch": batch,
        "stream": "stdout",
        **more,
        "message": message,
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def made(second: float, message: str, *, batch: str = "worker-1.0001", **more: object) -> Line:
    """Return the line of these values."""
    line = parse(encoded(second, message, batch=batch, **more))
    assert line is not None
    return line


def write_batch(logs: Path, batch: str, lines: Sequence[tuple[float, str]]) -> Path:
    """Write the lines of a batch that is home."""
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"{batch}.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(encoded(second, text, batch=batch) for second, text in lines)))
    return path


def write_report(logs: Path, batch: str, report: Sequence[bytes], times: Sequence[float]) -> None:
    """Write a batch's report, and when each line of it was written, in seconds since 1970."""
    logs.mkdir(parents=True, exist_ok=True)
    size, grew = 0, []
    for line, time in zip(report, times, strict=True):
        size += len(line)
        grew.append(f"{int(time * 1000)} {size}\n")
    (logs / f"{batch}.times").write_text("".join(grew))
    (logs / f"{batch}.report.gz").write_bytes(gzip.compress(b"".join(report)))
