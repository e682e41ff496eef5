"""A run with one worker's batch in hand, for tests of what is made of it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fanrun.fanout.plan import Input
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.batch_outcome import record
from fanrun.fanout.results.commit import commit_batch
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.faults import Reasons
from fanrun.fanout.results.joblog import Joblog
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.results.logs import RunLogs
from fanrun.fanout.results.ownership import Ownership, RunInputs
from fanrun.fanout.results.stats import WorkerStats
from fanrun.fanout.schedule.scheduler import Scheduler
from tests.unit.samples import read_tree
from tests.unit.schedulers import ALL, ScriptedPolicy, scripted


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Disk(NamedTuple):
    """What is free on a worker's disk: bytes, and files that may still be made."""

    free: int = 10**10
    inodes: int = 10**6


class World:
    """A run with one worker's batch in hand, and the folders it lands in."""

    def __init__(self, top: Path, keys: tuple[bytes, ...], *, retries: int = 0) -> None:
        self.dst, self.staging = top / "dst", top / "staging" / "batch"
        self.dst.mkdir(exist_ok=True)
        self.scheduler, self.stats = Scheduler(retries=retries, policy=ScriptedPolicy()), WorkerStats()
        self.scheduler.deal({"worker-1": [Input(key, len(key)) for key in keys], "worker-2": []})
        self.ledger, self.joblog = Ledger(top / "ledger.db"), Joblog(top / "joblog.tsv")
        self.extra = top / "extra"
        self.ownership = Ownership(RunInputs(keys), self.scheduler.is_settled, lambda key: False)
        self.told: list[str] = []
        self.destination = Destination(
            str(self.dst),
            str(top / "staging"),
            str(self.extra),
            "program",
            self.ledger,
            self.joblog,
            self.ownership,
            Reasons(self.told.append),
            RunLogs(top / "logs"),
        )
        self.destination.stats.update({"worker-1": self.stats, "worker-2": self.stats})
        self.log = top / "joblog.tsv"
        self.disk = Disk()

    def own(self, ownership: Ownership) -> None:
        """Let paths in DST belong to these inputs."""
        self.destination = dataclasses.replace(self.destination, ownership=ownership)

    def take(self, worker: str = "worker-1", *, copy: bool = False) -> Attempt:
        batch = scripted(self.scheduler, lambda waiting: ALL, lambda *_: copy).next_batch(worker)
        assert batch is not None
        hashes = {item.key: digest(b"in " + item.key) for item in batch.inputs}
        return Attempt(batch, worker, hashes, {}, 1002.5)

    def stage(
        self,
        made: dict[bytes, bytes],
        *,
        code: int = 0,
        log: str = "",
        report: Sequence[Mapping[str, object]] = (),
        late: bool = False,
    ) -> None:
        """Write what a pull brings into staging."""
        (self.staging / "data").mkdir(parents=True)
        for key, content in made.items():
            path = os.path.join(os.fsencode(self.staging), b"data", key)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
        records = [f"{digest(content)}  ./".encode() + key + b"\0" for key, content in made.items()]
        (self.staging / "manifest").write_bytes(b"".join(records))
        (self.staging / "links").write_bytes(b"")
        ending = f"{code}\n{2_500_000_000}\n{self.disk.free} 1 {10**7} {self.disk.inodes} {int(late)}\n"
        (self.staging / "exit").write_text(ending)
        (self.staging / "log").write_text(log)
        (self.staging / "report.jsonl").write_text("".join(json.dumps(line) + "\n" for line in report))

    def commit_batch(self, attempt: Attempt) -> int:
        outcome = commit_batch(attempt, str(self.staging), self.scheduler, self.destination)
        record(outcome, self.destination)
        assert outcome.seconds == 2.5
        return outcome.settled

    def lines(self) -> list[list[str]]:
        return [line.split("\t") for line in self.log.read_text("utf-8", "surrogateescape").splitlines()[1:]]

    def untouched(self) -> bool:
        """Whether nothing came of it."""
        books = [*self.ledger.inputs("program"), *self.ledger.failures(), *self.lines(), *self.stats.failed]
        return not books and not self.stats.done and read_tree(self.dst) == {}

    def stage_as(self, name: str, made: dict[bytes, bytes], *, code: int = 0) -> None:
        """Stage the results of another batch."""
        self.staging = self.staging.with_name(name)
        self.stage(made, code=code)


@contextlib.contextmanager
def two_inputs(top: Path, *, retries: int = 0) -> Iterator[World]:
    """Open a world with the inputs a.jpg and d/b.jpg, and close its files at the end."""
    made = World(top, (b"a.jpg", b"d/b.jpg"), retries=retries)
    yield made
    made.ledger.close()
    made.joblog.close()
