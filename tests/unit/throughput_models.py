"""Throughput models with measurements."""

from __future__ import annotations

from fanrun.fanout.schedule.throughput import (
    ThroughputModel,
)

MB = 1024**2


def measured(
    lines: dict[str, tuple[float, float]], *, loads: tuple[int, ...] = (2 * MB, 8 * MB, 4 * MB)
) -> ThroughputModel:
    """A worker whose stages take (seconds to start, seconds per MB)."""
    model = ThroughputModel()
    for stage, (start, each) in lines.items():
        for load in loads:
            model.observe(stage, load, start + each * load / MB)
    return model


def even(process: float) -> ThroughputModel:
    """A worker that processes an MB in so many seconds, and has it there and back in no time."""
    return measured({"push": (0.2, 0.001), "process": (0.6, process), "pull": (0.2, 0.001)})
