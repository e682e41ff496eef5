"""The options that limit a run: how often and how long a program is tried, its memory, the bytes per second."""

from __future__ import annotations

from collections.abc import Mapping

from fanrun.fanout.halt import parse_halt
from fanrun.fanout.program import AUTO, MIB, MIN_MEMORY, USUAL, Scratch
from fanrun.fanout.request import RunLimits
from fanrun.fleet import values
from fanrun.fleet.errors import UsageError
from fanrun.tasks.task import OptionGroup
from provision.options import Flag

MAX_JOBS = 256
MIN_CPUS = 0.01  # Docker's own


def limits(given: Mapping[str, object]) -> RunLimits:
    """Return the limits of a run from the options that were given; UsageError for one that can't be meant."""
    text = {name: None if value is None else str(value) for name, value in given.items()}
    usual, retries, timeout = RunLimits(), text["retries"], text["timeout"]
    memory, tmp, shm = text["memory"], text["tmp"], text["shm"]
    found = RunLimits(
        retries=usual.retries if retries is None else values.whole_number("retries", retries, 0, 100),
        timeout=usual.timeout if timeout is None else values.whole_number("timeout", timeout, 0, 10**7),
        memory=usual.memory if memory is None else values.size("memory", memory, MIN_MEMORY),
        scratch=Scratch(
            usual.scratch.tmp if tmp is None else values.size("tmp", tmp, MIB),
            usual.scratch.shm if shm is None else values.size("shm", shm, MIB),
        ),
        cpus=usual.cpus if text["cpus"] is None else values.number("cpus", text["cpus"], MIN_CPUS, 10**4),
        jobs=_jobs(text["jobs"]),
        rate=usual.rate if text["bwlimit"] is None else values.rate("bwlimit", text["bwlimit"]),
        halt=usual.halt if text["halt"] is None else parse_halt(text["halt"]),
    )
    for name, size in (("tmp", found.scratch.tmp), ("shm", found.scratch.shm)):
        if text[name] is not None and 0 < found.memory < size:
            raise UsageError(
                f"--{name}={text[name]} is more than --memory={memory}, of which it is a part; give more --memory or a "
                f"smaller --{name}"
            )
    return found


def _jobs(text: str | None) -> int | None:
    """Return the number of containers that --jobs asks for; None if it is not given."""
    if text is None or text == "auto":
        return None if text is None else AUTO
    try:
        return values.whole_number("jobs", text, 1, MAX_JOBS)
    except UsageError as error:
        raise UsageError(f"{error}, or auto") from error


LIMITS = OptionGroup(
    {
        "retries": Flag(
            f"how often a failed input is tried again, elsewhere if it can be (default: {RunLimits.retries})"
        ),
        "timeout": Flag(
            f"seconds without anything finished that end a program (default: {RunLimits.timeout}); 0: no limit"
        ),
        "jobs": Flag(
            "containers at a time on each worker: a number, or auto for as many as it has room for "
            "(default: auto, and 1 for the own image)"
        ),
        "cpus": Flag("most cores for a container, as 2 or 0.5 (default: all)"),
        "memory": Flag("most memory for a container, as 512m or 4g (default: its part of nine tenths of the worker's)"),
        "tmp": Flag(f"room in the program's /tmp, which is a part of its memory (default: {USUAL.tmp // MIB}m)"),
        "shm": Flag(f"room in its /dev/shm, for shared memory, likewise (default: {USUAL.shm // MIB}m)"),
        "halt": Flag(
            "end the run once inputs have failed, as soon,fail=10% (what runs is finished) or now,fail=3 (it is ended)"
        ),
        "bwlimit": Flag(
            "most bytes per second that are sent, and that are fetched, as 500k or 1.5m (default: no limit)"
        ),
    },
    limits,
)
