"""What a batch left in staging, read and checked."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from loguru import logger

from fanrun.fanout.results import container_end
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.container_end import Ending, ReportLine
from fanrun.fanout.results.faults import BatchFailed
from fanrun.fanout.results.judge import Judgement
from fanrun.fanout.workers.heartbeat import MIN_FREE_BYTES

INODES = 16
"""A worker that can make fewer files than this is full."""


@dataclass
class Staged:
    """What lies in staging; `data` is the folder of results, an absolute path.

    `manifest` has the hash of each result, `report` what the program said of each input, `links` what is no regular
    file, and `odd` the lines of the report that can't be used.
    """

    ending: Ending
    manifest: dict[bytes, str] = field(default_factory=dict)
    report: dict[bytes, ReportLine] = field(default_factory=dict)
    links: list[bytes] = field(default_factory=list)
    odd: list[bytes] = field(default_factory=list)
    data: bytes = b""


def read_staged(attempt: Attempt, staging: str) -> Staged:
    """Read what a batch left; raise BatchFailed if part of it is missing."""

    def read(name: str) -> bytes:
        try:
            with open(os.path.join(staging, name), "rb") as file:
                return file.read()
        except OSError as error:
            raise BatchFailed(f"lost the {name} of a batch ({error.strerror})", host=attempt.worker) from error

    try:
        ending = container_end.parse_ending(read("exit"), read("log"))
    except ValueError as error:
        raise BatchFailed("wrote the end of a batch only in part", host=attempt.worker) from error
    report = read("report.jsonl")
    return Staged(
        ending,
        container_end.parse_manifest(read("manifest")),
        container_end.parse_report(report),
        container_end.parse_links(read("links")),
        container_end.unusable_lines(report, set(attempt.paths())),
        os.fsencode(os.path.join(staging, "data")),
    )


def check_worker(attempt: Attempt, ending: Ending, judgement: Judgement) -> None:
    """Raise BatchFailed if the worker did not do its part, so that no input is blamed for it at first."""
    if ending.no_container:
        raise BatchFailed(f"could not run a container ({ending.said})", host=attempt.worker)
    if ending.code != 0:
        name = attempt.batch.name
        logger.debug("{}: batch {} ended with {}:\n{}", attempt.worker, name, ending.code, ending.log)
    room = 2 * max(item.size for item in attempt.batch.inputs) + MIN_FREE_BYTES
    is_full = ending.free < room or (ending.inodes is not None and ending.inodes < INODES)
    if is_full and (judgement.failed or judgement.open):
        raise BatchFailed(f"its disk is full ({ending.free // 1024**2} MB free)", host=attempt.worker)
