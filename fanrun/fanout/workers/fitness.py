"""Whether a host can take part in a run."""

from __future__ import annotations

from fanrun.fanout.program import MIB, MIN_MEMORY, USUAL, Program, memory_limit
from fanrun.fleet.model import NOWHERE
from fanrun.fleet.probe import Probe

SPARE_BYTES = 64 * 1024 * 1024
"""Bytes that a worker needs free besides those of the inputs and results in hand."""


def unfit(largest: int, program: Program, probe: Probe) -> str:
    """Return why a host can't take part in a run whose largest input has so many bytes; "" if it can."""
    if not probe.docker:
        return "its Docker does not answer; `fab up` repairs it"
    if not probe.python:
        return "it has no python3; `fab up` installs it"
    if program.ref.startswith(f"{NOWHERE}/") and program.ref not in probe.images:  # it can't be pulled
        return "it has not the container image; `fab up` and the next run bring it"
    if program.docker.gpus and not probe.nvidia:
        return (
            "it has no NVIDIA Container Toolkit, which --gpus needs; install the package nvidia-container-toolkit from "
            "NVIDIA's repository there, and restart its Docker"
        )
    needed = 4 * largest + SPARE_BYTES
    free = probe.disk_free + (probe.cached or 0)  # the cache goes where a run needs its room
    if free < needed:
        return f"{free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB needed; free some with `fab ssh`"
    containers = max(program.jobs, 1)
    memory = memory_limit(program, probe, containers)
    if containers > 1 and memory < MIN_MEMORY:
        total = probe.memory // MIB
        return f"its {total} MB of memory are too little for {containers} containers; give a smaller --jobs"
    for name, size, usual in (("tmp", program.scratch.tmp, USUAL.tmp), ("shm", program.scratch.shm, USUAL.shm)):
        if size > max(memory, usual):
            return (
                f"its containers may have {memory // MIB} MB of memory, and --{name} wants {size // MIB} MB of that; "
                f"give a smaller --{name}"
            )
    return ""
