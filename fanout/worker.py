"""One worker's pipeline: the next batch is pushed while this one is processed and the last one is pulled."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from loguru import logger

from fanout import commands, results
from fanout.commands import Place
from fanout.deck import Deck
from fanout.execute import Done, Executor, Stopped
from fanout.plan import Batch, Input
from fanout.report import shown
from provision.errors import HostError
from provision.fleet import Folder
from provision.probe import Probe
from provision.progress import Board
from provision.remote import rsync_shell, ssh_argv

AHEAD = 2
"""Batches on their way to or in the container at once: one is processed, one is pushed."""
VANISHED = (23, 24)
"""rsync's exit codes for "some files could not be read" and "some files vanished"."""


@dataclass(frozen=True)
class Job:
    """What all workers of a run share; `src`, `dst` and `staging` are absolute paths."""

    run: str
    folder: Folder
    src: str
    dst: str
    staging: str
    image: str
    args: tuple[str, ...]
    deck: Deck
    executor: Executor
    board: Board


@dataclass
class Tally:
    """What one worker has done; seconds are those its three stages were busy, bytes those of the data."""

    done: int = 0
    failed: dict[bytes, str] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    results: int = 0
    extra: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"push": 0.0, "process": 0.0, "pull": 0.0})
    lost: str = ""


class Worker:
    """Runs batches on one host until the deck has none for it, or the host is lost."""

    def __init__(self, job: Job, name: str, probe: Probe) -> None:
        self.job, self.name, self.probe = job, name, probe
        self.tally = Tally()
        self.crash: BaseException | None = None
        self._pushed: queue.Queue[Batch | None] = queue.Queue()
        self._processed: queue.Queue[Batch | None] = queue.Queue()
        self._warned = False
        self._ahead = threading.Semaphore(AHEAD)
        self._now: dict[str, int] = {"push": 0, "process": 0, "pull": 0}
        stages: list[tuple[Callable[[], None], queue.Queue[Batch | None] | None]] = [
            (self._push_all, self._pushed), (self._process_all, self._processed), (self._pull_all, None),
        ]  # fmt: skip
        self._threads = [threading.Thread(target=self._guard, args=stage, daemon=True) for stage in stages]

    def start(self) -> None:
        """Start the three stages."""
        for thread in self._threads:
            thread.start()

    def alive(self) -> bool:
        """Whether a stage is still at work."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self, timeout: float | None) -> None:
        """Wait for the stages to end, `timeout` seconds for each at the most."""
        for thread in self._threads:
            thread.join(timeout)

    def _guard(self, stage: Callable[[], None], following: queue.Queue[Batch | None] | None) -> None:
        """Run a stage; a lost host is given up, and the stage after this one is told to end."""
        try:
            stage()
        except Stopped:
            pass
        except HostError as error:
            self._lose(str(error))
        except BaseException as error:  # raised in the main thread
            self.crash = error
            self.job.deck.stop()
        finally:
            self._ahead.release()
            if following is not None:
                following.put(None)

    def _lose(self, reason: str) -> None:
        if not self.tally.lost:
            self.tally.lost = reason
            count = self.job.deck.lose(self.name)
            logger.warning("{} is lost: {}; {} batches go to the others", self.name, reason, count)
            self.job.board.say(self.name, f"lost: {shown(reason)}")

    def _push_all(self) -> None:
        while True:
            self._ahead.acquire()
            batch = self.job.deck.take(self.name)
            if batch is None:
                return
            with self._timed("push", batch):
                self._push(batch)
            self._pushed.put(batch)

    def _process_all(self) -> None:
        while (batch := self._pushed.get()) is not None and not self.tally.lost:
            with self._timed("process", batch):
                self._process(batch)
            self._ahead.release()
            self._processed.put(batch)

    def _pull_all(self) -> None:
        while (batch := self._processed.get()) is not None and not self.tally.lost:
            with self._timed("pull", batch):
                self._pull(batch)

    def _push(self, batch: Batch) -> None:
        place = Place(self.job.run, batch.name)
        argv = commands.push_argv(rsync_shell(self.job.folder), self.job.src, self.name, place)
        self._retried("push", argv, commands.names([item.key for item in batch.inputs]), sent_what_there_is)

    def _process(self, batch: Batch) -> None:
        place = Place(self.job.run, batch.name)
        argv = commands.batch_argv(place, self.job.image, self.job.args, self.probe)
        done = self.job.executor.call(ssh_argv(self.job.folder, self.name, argv))
        if done.exit_code != 0:
            raise HostError(f"could not run a batch ({done.reason})", host=self.name)

    def _pull(self, batch: Batch) -> None:
        place = Place(self.job.run, batch.name)
        staging = os.path.join(self.job.staging, f"{self.name}-{batch.name}")
        argv = commands.pull_argv(rsync_shell(self.job.folder), self.name, place, staging)
        self._retried("pull", argv, b"", lambda done: done.exit_code == 0)
        outcome, manifest = self._judge(batch, staging)
        again = regroup(batch, outcome.open)
        if self.job.deck.settle(self.name, batch, again):
            self._land(batch, outcome, manifest, os.path.join(staging, "data"))
        shutil.rmtree(staging, ignore_errors=True)
        self.job.executor.call(ssh_argv(self.job.folder, self.name, commands.forget_argv(place)))

    def _retried(self, what: str, argv: Sequence[str], stdin: bytes, fine: Callable[[Done], bool]) -> None:
        """Run an rsync, once more if it failed; what arrived the first time doesn't travel again."""
        done = self.job.executor.call(argv, stdin=stdin)
        if not fine(done):
            logger.debug("{}: {} failed ({}), trying once more", self.name, what, done.reason)
            done = self.job.executor.call(argv, stdin=stdin)
        if not fine(done):
            raise HostError(f"could not {what} a batch ({done.reason})", host=self.name)

    def _judge(self, batch: Batch, staging: str) -> tuple[results.Outcome, dict[bytes, str]]:
        """Read what the batch left in staging: its outcome and its manifest."""

        def read(name: str) -> bytes:
            try:
                with open(os.path.join(staging, name), "rb") as file:
                    return file.read()
            except OSError as error:
                raise HostError(f"lost the {name} of a batch ({error.strerror})", host=self.name) from error

        code = int(read("exit"))
        log = read("log").decode(errors="replace")
        said = results.last_words(log)
        if code == 125:  # docker's own: the container did not start
            raise HostError(f"could not start a container ({said})", host=self.name)
        if code != 0:
            logger.debug("{}: batch {} ended with {}:\n{}", self.name, batch.name, code, log)
        manifest = results.parse_manifest(read("manifest"))
        report = results.parse_report(read("report.jsonl"))
        if results.cannot_start(code, log):
            reason = f"the program can't be started: {said}"
            return results.Outcome(failed={item.key: reason for item in batch.inputs}), manifest
        outcome = results.judge(batch.inputs, code, report, manifest, said)
        if outcome.open and not self._warned:
            # Wrong arguments fail every batch, and halving them all takes long: time to press Ctrl-C.
            self._warned = True
            logger.warning(
                "{}: the program failed on a batch ({}: {}); trying its {} inputs in smaller ones",
                self.name, results.explain(code), said, len(outcome.open),
            )  # fmt: skip
        return outcome, manifest

    def _land(self, batch: Batch, outcome: results.Outcome, manifest: dict[bytes, str], staging: str) -> None:
        """Rename verified results into DST, and count each input once."""
        job, tally = self.job, self.tally
        source, dst = os.fsencode(staging), os.fsencode(job.dst)
        sizes = {item.key: item.size for item in batch.inputs}
        failed = dict(outcome.failed)
        for key, paths in outcome.results.items():
            for path in paths:
                reason = results.land(source, dst, path, manifest[path])
                if reason:
                    failed[key] = reason
                    break
                tally.bytes_out += os.path.getsize(os.path.join(dst, path))
                tally.results += 1
            else:
                tally.done += 1
                tally.bytes_in += sizes[key]
        for path in outcome.extra:
            if results.land(source, dst, path, manifest[path]) is None:
                tally.extra += 1
        for key, reason in failed.items():
            if not os.access(os.path.join(os.fsencode(job.src), key), os.R_OK):
                reason = "it can't be read in SRC any more"
            tally.failed[key] = reason
            logger.debug("failed: {} on {}: {}", os.fsdecode(key).encode(errors="replace"), self.name, reason)
        job.board.advance(len(outcome.results) + len(outcome.failed))
        self._show()

    @contextlib.contextmanager
    def _timed(self, stage: str, batch: Batch) -> Iterator[None]:
        """Log and show that a stage is at work on a batch, and add up its seconds."""
        begun = time.monotonic()
        logger.debug("{}: {} {} ({} inputs)", self.name, stage, batch.name, len(batch.inputs))
        self._now[stage] = len(batch.inputs)
        self._show()
        yield
        self._now[stage] = 0
        self.tally.seconds[stage] += time.monotonic() - begun
        self._show()

    def _show(self) -> None:
        """Write the worker's line: what each stage has in hand, and what is done."""
        if self.tally.lost:
            return
        failed = f", {len(self.tally.failed)} failed" if self.tally.failed else ""
        busy = "".join(f", {stage} {count}" for stage, count in self._now.items() if count)
        self.job.board.step(self.name, f"{self.tally.done} done{failed}{busy}")


def sent_what_there_is(done: Done) -> bool:
    """Whether a push brought every input that could be read here; the worker's own troubles are labelled otherwise."""
    if done.exit_code in VANISHED:
        return "[receiver]" not in done.error and "[generator]" not in done.error
    return done.exit_code == 0


def regroup(batch: Batch, unknown: Sequence[Input]) -> list[Batch]:
    """The batches in which inputs of unknown fate are tried again: fewer at a time, never the same lot."""
    if not unknown:
        return []
    if len(unknown) == len(batch.inputs):
        return list(batch.split())
    stem, _, turn = batch.name.partition("~")  # a name is a folder's on the worker: it may not grow without end
    return [Batch(f"{stem}~{int(turn or 0) + 1}", tuple(unknown))]
