"""One run: SRC brought to DST by a fleet's workers."""

from __future__ import annotations

import datetime
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from fanout import commands, plan
from fanout.deck import Deck
from fanout.execute import Executor
from fanout.plan import Batch, Input
from fanout.report import Failure, Report, WorkerReport, write
from fanout.worker import Job, Worker
from provision.errors import HostUnreachable, RunUnfinished, ToolMissing, UsageError
from provision.fleet import Fleet, Folder
from provision.probe import Probe, parse, probe_argv
from provision.progress import Board
from provision.remote import fan_out, ssh_argv

PATIENCE = 0.2
SPARE = 64 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    """What a person asked for; `src` and `dst` are absolute paths."""

    src: str
    dst: str
    args: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a run would do: its inputs and, for each worker by name, its batches."""

    inputs: list[Input]
    links: int
    batches: dict[str, list[Batch]]

    @property
    def size(self) -> int:
        """Bytes of all inputs."""
        return sum(item.size for item in self.inputs)


def check_paths(src: str, dst: str) -> None:
    """Raise UsageError for a SRC or DST that can't be meant; changes nothing."""
    if not os.path.exists(src):
        raise UsageError(f"--src {src!r} does not exist; give the folder that holds the inputs")
    if not os.path.isdir(src):
        raise UsageError(f"--src {src!r} is a file; give the folder that holds it, and --include to choose it")
    real_src, real_dst = os.path.realpath(src), os.path.realpath(dst)
    if real_src == real_dst or real_dst.startswith(real_src.rstrip("/") + "/"):
        raise UsageError(f"--dst {dst!r} is inside --src; give a folder elsewhere, or results would become inputs")
    below = os.path.relpath(real_src, real_dst)
    if not below.startswith("..") and os.path.lexists(os.path.join(real_src, below)):
        raise UsageError(
            f"--dst {dst!r} holds --src, and results would replace inputs in {below}; give a folder elsewhere"
        )
    if os.path.exists(dst) and not os.path.isdir(dst):
        raise UsageError(f"--dst {dst!r} is a file; give a folder")


def check_writable(dst: str) -> None:
    """Make DST and the run's folder in it; UsageError if that can't be."""
    try:
        state = Path(dst) / os.fsdecode(plan.STATE)
        state.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=state):
            pass
    except OSError as error:
        raise UsageError(
            f"--dst {dst!r} can't be written ({error.strerror}); choose another or change its owner"
        ) from error


def find_inputs(request: Request) -> tuple[list[Input], int]:
    """Walk SRC: its inputs and the number of links not followed; UsageError if there are no inputs."""
    inputs, links = plan.walk(request.src, plan.chooser(request.include, request.exclude))
    if not inputs:
        why = "no file matches" if request.include or request.exclude else "there are no files in it"
        raise UsageError(f"--src {request.src!r}: {why}; nothing to do")
    return inputs, links


def make_plan(inputs: list[Input], links: int, workers: Sequence[str]) -> Plan:
    """Deal the inputs to the workers named, and cut each share into batches."""
    dealt = plan.deal(inputs, workers)
    return Plan(inputs, links, {name: plan.batches(name, share) for name, share in dealt.items()})


def check_tools() -> None:
    """Raise ToolMissing unless ssh and an rsync of version 3 are here."""
    for tool in ("ssh", "rsync"):
        if shutil.which(tool) is None:
            raise ToolMissing(
                f"{tool} is not installed here; script/setup installs it (macOS: `brew install {tool}`)", tool=tool
            )


class Run:
    """One run, from the first connection to the report."""

    def __init__(self, request: Request, fleet: Fleet, folder: Folder, image: str, board: Board) -> None:
        now = datetime.datetime.now(datetime.timezone.utc)
        self.name = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.request, self.fleet, self.folder, self.image, self.board = request, fleet, folder, image, board
        self.home = os.path.join(request.dst, os.fsdecode(plan.STATE), "runs", self.name)
        self._staging = os.path.join(self.home, "staging")
        self._executor = Executor()
        self._begun = time.monotonic()
        self._started = now

    def open(self) -> dict[str, Probe]:
        """Open the shared connection to every worker and make room for the run there.

        Returns the workers that can take part.  One that can't is named in a warning; UsageError
        if none can.
        """

        def one(name: str) -> Probe:
            argv = ["sh", "-c", '"$@" && exec sh -c "$0"', probe_argv()[2], *commands.open_argv(self.name)]
            done = self._executor.call(ssh_argv(self.folder, name, argv), timeout=40)
            if done.exit_code != 0:
                raise HostUnreachable(done.reason, host=name)
            return parse(done.output.decode(errors="replace"))

        names = [host.name for host in self.fleet.workers]
        answers, errors = fan_out(names, one)
        for name, probe in list(answers.items()):
            if not probe.docker:
                errors[name] = HostUnreachable("its Docker does not answer; `fab up` repairs it", host=name)
                del answers[name]
        for name, error in sorted(errors.items()):
            logger.warning("{} can't take part: {}", name, error)
        if not answers:
            reasons = "; ".join(f"{name}: {error}" for name, error in sorted(errors.items()))
            raise UsageError(
                f"no worker of fleet {self.fleet.name} can take part ({reasons or 'it has none'}); "
                "`fab status` shows them, `fab up` repairs them"
            )
        return {name: answers[name] for name in names if name in answers}

    def check_space(self, probes: Mapping[str, Probe], todo: Plan) -> dict[str, Probe]:
        """The workers with room for what they hold at once; UsageError if none has it."""
        largest = max(batch.size for batches in todo.batches.values() for batch in batches)
        needed = 4 * largest + SPARE
        roomy = {name: probe for name, probe in probes.items() if probe.disk_free >= needed}
        for name in sorted(set(probes) - set(roomy)):
            logger.warning(
                "{} can't take part: {:.0f} MB free, {:.0f} MB needed", name, probes[name].disk_free / 1e6, needed / 1e6
            )
        if not roomy:
            raise UsageError(
                f"no worker has {needed / 1e6:.0f} MB free for its batches; free some with `fab ssh`, "
                "or `fab down` and `fab up` for new ones"
            )
        return roomy

    def execute(self, probes: Mapping[str, Probe], todo: Plan) -> Report:
        """Work through the plan; always leaves a report, and nothing on the workers.

        Raises RunUnfinished, after the report is written, when inputs are left.
        """
        os.makedirs(self._staging)
        deck = Deck(todo.batches)
        job = Job(
            self.name, self.folder, self.request.src, self.request.dst, self._staging, self.image,
            self.request.args, deck, self._executor, self.board,
        )  # fmt: skip
        workers = [Worker(job, name, probe) for name, probe in probes.items()]
        stopped = ""
        try:
            for worker in workers:
                worker.start()
            while any(worker.alive() for worker in workers):
                for worker in workers:
                    worker.join(PATIENCE)
        except KeyboardInterrupt:
            stopped = "interrupted"
        finally:
            deck.stop()
            self._executor.stop()
            for worker in workers:
                worker.join(None)
            self._clean(list(probes))
        report = self._report(todo, workers)
        for worker in workers:
            if worker.crash is not None:
                raise worker.crash
        if report.left:
            lost = "; ".join(f"{w.name}: {w.tally.lost}" for w in workers if w.tally.lost)
            raise RunUnfinished(
                f"{stopped or 'the workers were lost'} with {report.left} of {report.inputs} inputs left"
                f"{f' ({lost})' if lost else ''}; `fab up` repairs the fleet, then run the same command again"
            )
        return report

    def _clean(self, names: Sequence[str]) -> None:
        """End what runs on the workers and delete the run's folders there; a host that is gone is passed over."""
        executor = Executor()

        def one(name: str) -> None:
            done = executor.call(ssh_argv(self.folder, name, commands.stop_argv(self.name)), timeout=20)
            if done.exit_code != 0:
                logger.debug("{}: could not be cleaned ({})", name, done.reason)

        fan_out(names, one)
        shutil.rmtree(self._staging, ignore_errors=True)

    def _report(self, todo: Plan, workers: Sequence[Worker]) -> Report:
        tallies = {worker.name: worker.tally for worker in workers}
        failed = [
            Failure(os.fsdecode(key), reason, name)
            for name, tally in tallies.items()
            for key, reason in tally.failed.items()
        ]
        done = sum(tally.done for tally in tallies.values())
        report = Report(
            run=self.name, fleet=self.fleet.name, src=self.request.src, dst=self.request.dst,
            image=self.image, args=list(self.request.args), started=self._started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self._begun, 3), inputs=len(todo.inputs), done=done,
            left=len(todo.inputs) - done - len(failed),
            results=sum(tally.results for tally in tallies.values()),
            extra=sum(tally.extra for tally in tallies.values()),
            bytes_in=sum(tally.bytes_in for tally in tallies.values()),
            bytes_out=sum(tally.bytes_out for tally in tallies.values()),
            failed=sorted(failed, key=lambda item: item.path),
            workers=[
                WorkerReport(
                    name, tally.done, len(tally.failed), tally.bytes_in, tally.bytes_out,
                    {stage: round(seconds, 3) for stage, seconds in tally.seconds.items()}, tally.lost,
                )
                for name, tally in tallies.items()
            ],
        )  # fmt: skip
        write(report, Path(self.home) / "report.json")
        return report


def check(request: Request) -> tuple[list[Input], int]:
    """Raise UsageError or ToolMissing for what can be known before any host is asked; returns the inputs."""
    check_tools()
    check_paths(request.src, request.dst)
    found = find_inputs(request)
    check_writable(request.dst)
    return found


def dry_run(request: Request, fleet: Fleet) -> Plan:
    """The plan that `run` would start with if every worker takes part; changes nothing."""
    check_paths(request.src, request.dst)
    return make_plan(*find_inputs(request), [host.name for host in fleet.workers])


def run(
    request: Request, found: tuple[list[Input], int], fleet: Fleet, folder: Folder, image: str, board: Board
) -> Report:
    """Bring the inputs that `check` found from SRC to DST; the report says what became of every one.

    Raises UsageError before anything has begun, RunUnfinished when inputs are left.
    """
    current = Run(request, fleet, folder, image, board)
    log = logger.add(os.path.join(current.home, "run.log"), level="DEBUG")
    try:
        probes = current.open()
        probes = current.check_space(probes, make_plan(*found, list(probes)))
        todo = make_plan(*found, list(probes))
        if todo.links:
            logger.warning("{} links to folders in SRC were not followed", todo.links)
        return current.execute(probes, todo)
    finally:
        logger.remove(log)
