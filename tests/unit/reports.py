"""The report of a run, for tests."""

from __future__ import annotations

from fanrun.fanout.results.report import Report, WorkerReport

REPORT = Report(
    run="r",
    fleet="default",
    src="/src",
    dst="/dst",
    image="hub:5000/i@sha256:00",
    args=["--op", "rotate"],
    started="2026-01-01T00:00:00+00:00",
    seconds=2.0,
    inputs=3,
    done=3,
    kept=0,
    left=0,
    results=3,
    extra=0,
    bytes_in=3_800_000,
    bytes_out=1500,
    workers=[WorkerReport("worker-1", 3, 0, 3_800_000, 1500, {"push": 0.1, "process": 1.5, "pull": 0.2})],
)
