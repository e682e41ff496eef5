"""One run: SRC brought to DST by a fleet's workers."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loguru import logger

from fanrun.fanout import history, plan
from fanrun.fanout.commands import MIB, USUAL, LogLimits, Program, Scratch, memory_limit
from fanrun.fanout.expect import BY_NAME, Expected
from fanrun.fanout.expect import UNFINISHED as UNFINISHED_NAMES
from fanrun.fanout.history import PastRun
from fanrun.fanout.leftovers import Leftovers
from fanrun.fanout.plan import Input, Skipped
from fanrun.fanout.results import ledger as ledgers
from fanrun.fanout.results.destination import Destination, unwritable
from fanrun.fanout.results.faults import Reasons
from fanrun.fanout.results.joblog import Joblog
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.results.logs import RunLogs
from fanrun.fanout.results.ownership import Ownership, fold_of
from fanrun.fanout.results.report import Failure, Plan, Report, WorkerReport, write
from fanrun.fanout.resume import ResumePlan, Roots, plan_resume
from fanrun.fanout.runlog import RunLog
from fanrun.fanout.schedule.scheduler import Scheduler
from fanrun.fanout.verify import ledger_path, open_ledger
from fanrun.fanout.workers.job import Job
from fanrun.fanout.workers.supervisor import Supervisor
from fanrun.fanout.workers.termination import ReasonSource
from fanrun.fleet.errors import Busy, RunUnfinished, ToolMissing, UsageError
from fanrun.fleet.lock import exclusive
from fanrun.fleet.model import Fleet, Image, number
from fanrun.fleet.probe import Probe
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder

SPARE_BYTES = 64 * 1024 * 1024
RSYNC = 3
"""The version that rsync must have here; older ones, and those that only resemble it, lack options that are used."""


@dataclass(frozen=True)
class Limits:
    """How often a failed input is tried again, the seconds in which a program has to finish something, its bytes.

    `scratch` is a part of its memory.  0 means: never tried again; however long it takes; the worker's own limit.
    """

    retries: int = 2
    timeout: int = 3600
    memory: int = 0
    scratch: Scratch = USUAL


@dataclass(frozen=True)
class Request:
    """What a person asked for; `src` and `dst` are absolute paths.

    `force` does again what is done; `only` are the keys to do, None for all that are chosen.  `expected` says what
    results are.  With `by_content` an input takes the results of an equal one.  With `keep_going` every input is tried
    though all fail for the same reason.  With `junk` files of plan.JUNK are inputs.
    """

    src: str
    dst: str
    args: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limits: Limits = Limits()
    force: bool = False
    only: frozenset[bytes] | None = None
    expected: Expected = BY_NAME
    by_content: bool = False
    keep_going: bool = False
    junk: bool = False
    logs: LogLimits = field(default_factory=LogLimits)

    def remembered(self, image: str) -> dict[str, Any]:
        """What `fab retry` and `fab verify` need of it later, fit for JSON."""
        kept: dict[str, Any] = {"src": self.src, "image": image, "args": list(self.args)}
        kept |= {"include": list(self.include), "exclude": list(self.exclude), "by_content": self.by_content}
        kept["junk"] = self.junk
        return {**kept, "expect": list(self.expected.patterns), "ignore_results": list(self.expected.ignored)}


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
    """Make DST and the run's folder in it; UsageError if that can't be, RunUnfinished if there is no room for it."""
    try:
        state = Path(dst) / os.fsdecode(plan.STATE)
        state.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=state):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise unwritable(error) from error
        raise UsageError(
            f"--dst {dst!r} can't be written ({error.strerror}); choose another or change its owner"
        ) from error


def find_inputs(request: Request) -> tuple[list[Input], Skipped]:
    """Walk SRC: its inputs and what was skipped; UsageError if there are no inputs."""
    inputs, skipped = plan.walk(request.src, plan.chooser(request.include, request.exclude, junk=request.junk))
    if request.only is not None:
        inputs = [item for item in inputs if item.key in request.only]
        if not inputs:
            raise UsageError(f"none of the inputs that failed is in {request.src!r} any more; nothing to do")
        return inputs, skipped
    if not inputs:
        why = "no file matches" if request.include or request.exclude else "there are no files in it"
        why = f"{why} but for {skipped.junk} that --junk takes" if skipped.junk else why
        raise UsageError(f"--src {request.src!r}: {why}; nothing to do")
    return inputs, skipped


def check_tools(*tools: str) -> None:
    """Raise ToolMissing unless these programs are here: ssh, and an rsync of version 3."""
    for tool in tools:
        if shutil.which(tool) is None:
            raise ToolMissing(
                f"{tool} is not installed here; script/setup installs it (macOS: `brew install {tool}`)", tool=tool
            )
    if "rsync" in tools:
        done = subprocess.run(["rsync", "--version"], capture_output=True, text=True, errors="replace", check=False)
        if why := unfit_rsync(done.stdout):
            raise ToolMissing(
                f"{shutil.which('rsync')} is {why}, and version 3 is needed; install it (macOS: `brew install rsync`), "
                "so that it comes first in PATH",
                tool="rsync",
            )


def unfit_rsync(said: str) -> str:
    """Return what an rsync is that a run can't use, by what `rsync --version` prints; "" for one that it can."""
    first = said.strip().partition("\n")[0]
    if "openrsync" in said:
        return "openrsync"
    found = re.match(r"rsync +version v?(\d+)\.", first)
    if not found:
        return f"no rsync that tells its version ({first or 'it prints nothing'})"
    return "" if int(found[1]) >= RSYNC else first


class Run:
    """One run, from the first connection to the report.

    `image` is what the workers pull, `junk` is the number of files that are skipped.
    """

    def __init__(
        self, request: Request, fleet: Fleet, folder: Folder, image: Image, board: Board, junk: int = 0
    ) -> None:
        now = datetime.datetime.now(datetime.timezone.utc)
        self.name = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.request, self.fleet, self.folder, self.image, self.board = request, fleet, folder, image, board
        self.state = os.path.join(request.dst, os.fsdecode(plan.STATE))
        self.home = os.path.join(self.state, "runs", self.name)
        # The run's own name tells whether it is still the same DST.
        self._staging = os.path.join(self.state, "staging", self.name)
        self._program = ledgers.program(image.program_id, request.args)
        # What Fanrun built makes results of content and arguments alone.
        self._by_content = request.by_content or bool(image.source)
        self._begun = time.monotonic()
        self._started = now
        self._junk = junk
        self._leftovers = Leftovers(folder.path / "runs")

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold DST for this run; UsageError naming the run that holds it already."""
        with contextlib.ExitStack() as held:
            me = f"run {self.name} (process {os.getpid()} on {socket.gethostname()})"
            try:
                held.enter_context(exclusive(Path(self.state) / "lock", me))
            except Busy as error:
                raise UsageError(
                    f"--dst {self.request.dst!r} is in use by {error.holder}; wait for it, or give another"
                ) from error
            staging = os.path.dirname(self._staging)
            shutil.rmtree(staging, ignore_errors=True)
            os.makedirs(self._staging)
            os.makedirs(self.home)
            try:
                yield
            finally:
                shutil.rmtree(self._staging, ignore_errors=True)
                with contextlib.suppress(OSError):
                    os.rmdir(staging)

    def plan_resume(self, ledger: Ledger, inputs: Sequence[Input]) -> ResumePlan:
        """Find out what is done, and bring results of renamed inputs under their new names."""
        if self.request.force:
            return ResumePlan(list(inputs))
        roots = Roots(os.fsencode(self.request.src), os.fsencode(self.request.dst))

        def step(count: int) -> None:
            if count % 1000 == 999:
                self.board.step("ledger", f"{count + 1} of {len(inputs)} inputs compared")

        found = plan_resume(ledger, roots, self._program, inputs, step, self._staging, by_content=self._by_content)
        if found.kept or found.copied:
            copied = f", {len(found.copied)} under another name" if found.copied else ""
            self.board.say("ledger", f"{len(found.kept) + len(found.copied)} of {len(inputs)} done before{copied}")
            self.board.advance(len(found.kept) + len(found.copied))
        return found

    def execute(self, ledger: Ledger, found: ResumePlan, termination_reasons: ReasonSource) -> Report:
        """Do what is to do; always leaves a report, and nothing on the workers that can be reached.

        Raises UsageError when no worker can take part, RunUnfinished, after the report is written, when
        inputs are left.
        """
        request = self.request
        joblog = Joblog(Path(self.home) / "joblog.tsv")
        largest = max((item.size for item in found.todo), default=0)
        scheduler = Scheduler(retries=request.limits.retries)
        destination = self._destination(ledger, joblog, found, scheduler)
        limits = request.limits
        program = Program(self.image.ref, request.args, limits.timeout, limits.memory, limits.scratch)
        job = Job(
            self.name,
            request.src,
            program,
            scheduler,
            destination,
            self.board,
            fleet=self.fleet.name,
            logs=request.logs,
        )
        dead = self._leftovers.dead()
        supervisor = Supervisor(
            job, self.folder, lambda probe: unfit(probe, largest, program), termination_reasons, dead
        )
        stopped = ""
        workers = [host.name for host in self.fleet.workers]
        with self._leftovers.hold(self.name, workers) if found.todo else contextlib.nullcontext():
            try:
                if found.todo:
                    probes = self._open(supervisor)
                    scheduler.deal(plan.deal(found.todo, list(probes)))
                    stopped = self._work(supervisor, probes)
            finally:
                stopped = self._close(supervisor) or stopped
                for run in dead:
                    self._leftovers.cleaned(run, supervisor.swept)
                self._leftovers.cleaned(self.name, {*workers} - supervisor.left)
                destination.logs.close()
                unwritten = self._end(joblog)
        vanished = destination.vanished()
        report = self._report(found, supervisor, destination, vanished)
        unwritten = self._write(report) or unwritten
        if report.left:
            lost = "; ".join(f"{name}: {stats.lost[-1]}" for name, stats in destination.stats.items() if stats.lost)
            why = f"the workers were lost ({lost}); `fab up` repairs the fleet"
            left = f"{report.left} of {report.inputs} inputs are left"
            inputs = "1 input" if len(vanished) == 1 else f"{len(vanished)} inputs"
            why = f"results of {inputs} were removed from DST during the run" if vanished else why
            raise RunUnfinished(f"{stopped or why}; {left}, and {again_text(request.force)}")
        if unwritten:
            raise RunUnfinished(f"{unwritten}; all inputs are settled, and `fab verify` shows what is done")
        return report

    def _destination(self, ledger: Ledger, joblog: Joblog, found: ResumePlan, scheduler: Scheduler) -> Destination:
        """Return where results go, and to which inputs the paths there belong."""
        src = os.fsencode(self.request.src)
        try:
            fold = fold_of(Path(self.state))
        except OSError as error:
            raise unwritable(error) from error
        todo, kept = ([item.key for item in items] for items in (found.todo, [*found.kept, *found.copied]))
        owners = ledger.owners(self._program)
        done: dict[bytes, list[bytes]] = {key: [] for key in kept}
        for path, key in owners:
            if key in done:
                done[key].append(path)
        # Inputs that are not in this run keep their results, whatever program made them.
        mine = {*todo, *kept}
        others = [(path, key) for path, key in ledger.owners_by_others(self._program) if key not in mine]
        ownership = Ownership(
            todo,
            kept,
            [*others, *owners],
            scheduler.is_settled,
            lambda key: os.path.lexists(os.path.join(src, key)),
            fold,
            self.request.expected.paths if self.request.expected.patterns else None,
        )
        extra = os.path.join(self.home, "extra")
        reasons = Reasons(logger.warning, self.request.keep_going)
        return Destination(
            self.request.dst,
            self._staging,
            extra,
            self._program,
            ledger,
            joblog,
            ownership,
            reasons,
            RunLogs(Path(self.home) / "logs"),
            self.request.expected,
            scratch=self.request.limits.scratch,
            done=done,
        )

    def _open(self, supervisor: Supervisor) -> Mapping[str, Probe]:
        """The workers that can take part.  One that can't is named in a warning; UsageError if none can."""
        names = [host.name for host in self.fleet.workers]
        probes, errors = supervisor.open(names)
        for name, error in sorted(errors.items()):
            logger.warning("{} can't take part: {}", name, error)
        if not probes:
            reasons = "; ".join(f"{name}: {error}" for name, error in sorted(errors.items()))
            raise UsageError(
                f"no worker of fleet {self.fleet.name} can take part ({reasons or 'it has none'}); "
                "`fab status` shows them, `fab up` repairs them"
            )
        return {name: probes[name] for name in names if name in probes}

    def _work(self, supervisor: Supervisor, probes: Mapping[str, Probe]) -> str:
        """Work until all is done or nobody is left; returns why it ended early, "" if it didn't."""
        try:
            supervisor.work(probes)
        except RunUnfinished as error:
            return str(error)
        except KeyboardInterrupt:
            logger.warning("interrupted: what is done is brought home; Ctrl-C again stops at once")
            try:
                supervisor.wind_down()
            except KeyboardInterrupt:
                logger.warning("stopped at once")
            return "interrupted"
        return ""

    def _close(self, supervisor: Supervisor) -> str:
        """End everything; returns why that was not the end one would wish for, "" if it was."""
        try:
            supervisor.close()
        except RunUnfinished as error:
            return str(error)
        except KeyboardInterrupt:
            logger.warning("stopped at once; the next run on the fleet ends what still runs on the workers")
            with contextlib.suppress(KeyboardInterrupt):
                supervisor.abandon()
            return "interrupted"
        return ""

    def _report(
        self, found: ResumePlan, supervisor: Supervisor, destination: Destination, vanished: Collection[bytes]
    ) -> Report:
        """Return what the run came to; inputs whose results `vanished` are left."""
        worker_stats = destination.stats
        failed = [failure for stats in worker_stats.values() for failure in stats.failed.values()]
        reasons = destination.reasons
        for item in destination.given_up:
            tries = 1 if item.key in reasons.failed else 0
            failed.append(Failure(os.fsdecode(item.key), reasons.of(item.key), "", tries))
        before = {item.key for item in (*found.kept, *found.copied)}
        kept = len(before.difference(vanished))
        done = sum(stats.done for stats in worker_stats.values()) - len(set(vanished) - before)
        inputs = len(found.todo) + len(before)
        return Report(
            run=self.name,
            fleet=self.fleet.name,
            src=self.request.src,
            dst=self.request.dst,
            image=self.image.ref,
            args=list(self.request.args),
            started=self._started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self._begun, 3),
            inputs=inputs,
            done=done,
            kept=kept,
            left=inputs - kept - done - len(failed),
            results=sum(stats.results for stats in worker_stats.values()),
            extra=sum(stats.extra for stats in worker_stats.values()),
            bytes_in=sum(stats.bytes_in for stats in worker_stats.values()),
            bytes_out=sum(stats.bytes_out for stats in worker_stats.values()),
            failed=sorted(failed, key=lambda item: item.path),
            stopped=reasons.stop,
            junk=self._junk,
            workers=[
                WorkerReport(
                    name,
                    stats.done,
                    len(stats.failed),
                    stats.bytes_in,
                    stats.bytes_out,
                    {stage: round(seconds, 3) for stage, seconds in stats.seconds.items()},
                    stats.lost,
                    name in supervisor.away,
                )
                for name, stats in sorted(worker_stats.items(), key=lambda item: number(item[0]))
            ],
        )

    def _end(self, joblog: Joblog) -> str:
        """Close the joblog; returns why what is left of it can't be written, "" if it is there."""
        try:
            joblog.close()
        except RunUnfinished as error:
            return str(error)
        return ""

    def _write(self, report: Report) -> str:
        """Write the report; returns why it can't be, "" if it is there."""
        try:
            write(report, Path(self.home) / "report.json")
        except OSError as error:
            return f"the run's report can't be written to {self.home} ({error.strerror})"
        return ""


def unfit(probe: Probe, largest: int, program: Program) -> str:
    """Why a host can't take part in a run of a program whose largest input has so many bytes; "" if it can."""
    if not probe.docker:
        return "its Docker does not answer; `fab up` repairs it"
    if not probe.python:
        return "it has no python3; `fab up` installs it"
    needed = 4 * largest + SPARE_BYTES
    if probe.disk_free < needed:
        return f"{probe.disk_free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB needed; free some with `fab ssh`"
    memory = memory_limit(program, probe)
    for name, size, usual in (("tmp", program.scratch.tmp, USUAL.tmp), ("shm", program.scratch.shm, USUAL.shm)):
        if size > max(memory, usual):
            return (
                f"its containers may have {memory // MIB} MB of memory, and --{name} wants {size // MIB} MB of that; "
                f"give a smaller --{name}"
            )
    return ""


def again_text(force: bool) -> str:
    """Return what the next command does after a run that did not finish."""
    if force:
        return "the same command without --force does those that have no result yet (with --force it begins anew)"
    return "the same command again goes on from here"


def check(request: Request) -> tuple[list[Input], Skipped]:
    """Return the inputs; raise for what can be known before any host is asked.

    That is UsageError, ToolMissing, or RunUnfinished for a DST that is full.
    """
    check_tools("ssh", "rsync")
    check_paths(request.src, request.dst)
    found = find_inputs(request)
    check_writable(request.dst)
    return found


def dry_run(request: Request, fleet: Fleet, image: Image | None) -> Plan:
    """The plan that `run` would start with if every worker takes part; changes nothing."""
    check_paths(request.src, request.dst)
    inputs, skipped = find_inputs(request)
    found = ResumePlan(inputs)
    if image is not None and not request.force:
        roots = Roots(os.fsencode(request.src), os.fsencode(request.dst))
        ledger = Ledger(ledger_path(request.dst), write=False)
        found = plan_resume(
            ledger,
            roots,
            ledgers.program(image.program_id, request.args),
            inputs,
            lambda count: None,
            by_content=request.by_content or bool(image.source),
        )
    kept = len(found.kept) + len(found.copied)
    shares = plan.deal(found.todo, [host.name for host in fleet.workers])
    return Plan(len(inputs), kept, shares, skipped.junk)


def run(
    request: Request,
    found: tuple[list[Input], Skipped],
    fleet: Fleet,
    folder: Folder,
    image: Image,
    board: Board,
    termination_reasons: ReasonSource = dict,
) -> Report:
    """Bring the inputs that `check` found from SRC to DST; the report says what became of every one.

    `termination_reasons` is asked for workers that are lost.
    Raises UsageError before anything has begun, RunUnfinished when inputs are left.
    """
    inputs, skipped = found
    current = Run(request, fleet, folder, image, board, skipped.junk)
    with current.hold():
        history.note(folder.path, PastRun(current.name, request.dst))
        lines = RunLog(Path(current.home) / "run.log")
        log = logger.add(lines.write, level="DEBUG")
        ledger = Ledger(ledger_path(request.dst))
        try:
            if skipped.links:
                logger.warning("{} links to folders in SRC were not followed", skipped.links)
            ledger.begin(current.name, ledgers.program(image.program_id, request.args), request.remembered(image.name))
            report = current.execute(ledger, current.plan_resume(ledger, inputs), termination_reasons)
        except BaseException:
            with contextlib.suppress(RunUnfinished):  # the first reason is the one to tell
                ledger.close()
            raise
        else:
            ledger.close()
            return report
        finally:
            logger.remove(log)
            lines.close()
            if lines.problem:
                logger.warning("{} lacks lines that could not be written ({})", lines.path, lines.problem)


def again(dst: str, limits: Limits) -> tuple[Request, str]:
    """The request that does once more what failed in DST, and its image's name.

    UsageError when DST has no ledger.
    """
    with contextlib.closing(open_ledger(dst)) as ledger:
        last = ledger.last_run()
        if last is None:
            raise UsageError(f"--dst {dst!r}: no run has begun there yet; start one with `fab run`")
        kept = last[2]
        request = Request(
            kept["src"],
            dst,
            tuple(kept["args"]),
            tuple(kept["include"]),
            tuple(kept["exclude"]),
            limits,
            only=frozenset(ledger.failures()),
            expected=Expected(tuple(kept.get("expect", ())), tuple(kept.get("ignore_results", UNFINISHED_NAMES))),
            by_content=bool(kept.get("by_content")),
            keep_going=True,
            junk=bool(kept.get("junk", True)),
        )
        return request, kept["image"]
