"""One run: SRC brought to DST by a fleet's workers."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence

from loguru import logger

from fanrun.fanout import history, plan, run_messages
from fanrun.fanout.commands import Program
from fanrun.fanout.context import RunContext
from fanrun.fanout.history import PastRun
from fanrun.fanout.leftovers import Leftovers
from fanrun.fanout.plan import Input, Skipped
from fanrun.fanout.request import again_text
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.joblog import Joblog
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.results.opening import open_destination
from fanrun.fanout.results.report import Report, write
from fanrun.fanout.results.summary import summarize
from fanrun.fanout.resume import ResumePlan, Roots, plan_resume
from fanrun.fanout.schedule.scheduler import Scheduler
from fanrun.fanout.verify import ledger_path
from fanrun.fanout.workers.fitness import unfit
from fanrun.fanout.workers.job import Job
from fanrun.fanout.workers.supervisor import Supervisor
from fanrun.fanout.workers.termination import ReasonSource
from fanrun.fleet.errors import Busy, RunUnfinished, UsageError
from fanrun.fleet.exit_codes import unfinished
from fanrun.fleet.lock import exclusive
from fanrun.fleet.log_setup import log_to_file
from fanrun.fleet.probe import Probe
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder
from fanrun.fleet.text import counted


class Run:
    """One run, from the first connection to the report."""

    def __init__(self, context: RunContext, folder: Folder, board: Board) -> None:
        self.context, self.folder, self.board = context, folder, board
        self._leftovers = Leftovers(folder.path / "runs")
        self._dead: dict[str, set[str]] = {}

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold DST for this run; raise UsageError naming the run that holds it already."""
        context = self.context
        with contextlib.ExitStack() as held:
            me = f"run {context.name} (process {os.getpid()} on {socket.gethostname()})"
            try:
                held.enter_context(exclusive(context.state / "lock", me))
            except Busy as error:
                raise UsageError(
                    f"--dst {context.request.dst!r} is in use by {error.holder}; wait for it, or give another"
                ) from error
            shutil.rmtree(context.staging.parent, ignore_errors=True)
            os.makedirs(context.staging)
            os.makedirs(context.home)
            try:
                yield
            finally:
                shutil.rmtree(context.staging, ignore_errors=True)
                with contextlib.suppress(OSError):
                    context.staging.parent.rmdir()

    def plan_resume(self, ledger: Ledger, inputs: Sequence[Input]) -> ResumePlan:
        """Find out what is done, and bring results of renamed inputs under their new names."""
        context = self.context
        if context.request.force:
            return ResumePlan(list(inputs))
        roots = Roots(os.fsencode(context.request.src), os.fsencode(context.request.dst))

        def step(count: int) -> None:
            if count % 1000 == 999:
                self.board.step("ledger", f"{count + 1} of {counted(len(inputs), 'input')} compared")

        found = plan_resume(
            ledger, roots, context.program, inputs, step, str(context.staging), by_content=context.by_content
        )
        if done := len(found.before):
            copied = f", {len(found.copied)} under another name" if found.copied else ""
            self.board.say("ledger", f"{done} of {len(inputs)} done before{copied}")
            self.board.advance(done)
        return found

    def execute(self, ledger: Ledger, resume: ResumePlan, termination_reasons: ReasonSource) -> Report:
        """Do what is to do; always leave a report, and nothing on the workers that can be reached.

        Raises UsageError when no worker can take part, and RunUnfinished, after the report is written, when
        inputs are left.
        """
        scheduler = Scheduler(retries=self.context.request.limits.retries)
        destination = open_destination(self.context, ledger, resume, scheduler.is_settled)
        supervisor = self._supervisor(scheduler, destination, resume, termination_reasons)
        stopped = unwritten = ""
        workers = [host.name for host in self.context.fleet.workers]
        with self._leftovers.hold(self.context.name, workers) if resume.todo else contextlib.nullcontext():
            try:
                if resume.todo:
                    probes = self._open(supervisor)
                    run_messages.log_hosts(self.context.fleet, probes)
                    scheduler.deal(plan.deal(resume.todo, list(probes)))
                    stopped = self._work(supervisor, probes)
            finally:
                stopped = self._close(supervisor) or stopped
                self._note_cleaned(supervisor, workers)
                destination.logs.close()
                unwritten = self._end(destination.joblog)
        vanished = destination.vanished()
        report = summarize(self.context, resume, destination, supervisor.away, vanished)
        unwritten = self._write(report) or unwritten
        run_messages.log_summary(report)
        if report.left:
            why = stopped or _why_left(destination, len(vanished))
            left = f"{report.left} of {report.inputs} inputs are left"
            raise RunUnfinished(f"{why}; {left}, and {again_text(self.context.request.force)}")
        if unwritten:
            raise RunUnfinished(f"{unwritten}; all inputs are settled, and `fab verify` shows what is done")
        return report

    def _supervisor(
        self, scheduler: Scheduler, destination: Destination, resume: ResumePlan, termination_reasons: ReasonSource
    ) -> Supervisor:
        """Return what starts the workers, with all that they need."""
        context, request = self.context, self.context.request
        limits, fleet = request.limits, context.fleet.name
        program = Program(context.image.ref, request.args, limits.timeout, limits.memory, limits.scratch)
        job = Job(
            context.name, request.src, program, scheduler, destination, self.board, fleet=fleet, logs=request.logs
        )
        largest = max((item.size for item in resume.todo), default=0)
        self._dead = self._leftovers.dead()
        return Supervisor(
            job, self.folder, lambda probe: unfit(probe, largest, program), termination_reasons, self._dead
        )

    def _note_cleaned(self, supervisor: Supervisor, workers: Sequence[str]) -> None:
        """Note on which hosts nothing is left of this run and of dead ones."""
        for run in self._dead:
            self._leftovers.cleaned(run, supervisor.swept)
        self._leftovers.cleaned(self.context.name, {*workers} - supervisor.left)

    def _open(self, supervisor: Supervisor) -> Mapping[str, Probe]:
        """Return the workers that can take part, warn of each that can't; raise UsageError if none can."""
        names = [host.name for host in self.context.fleet.workers]
        probes, errors = supervisor.open(names)
        for name, error in sorted(errors.items()):
            logger.warning("{} can't take part: {}", name, error)
        if not probes:
            reasons = "; ".join(f"{name}: {error}" for name, error in sorted(errors.items()))
            raise UsageError(
                f"no worker of fleet {self.context.fleet.name} can take part ({reasons or 'it has none'}); "
                "`fab status` shows them, `fab up` repairs them"
            )
        return {name: probes[name] for name in names if name in probes}

    def _work(self, supervisor: Supervisor, probes: Mapping[str, Probe]) -> str:
        """Work until all is done or nobody is left; return why it ended early, "" if it didn't."""
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
        """End everything; return why the end was not orderly, "" if it was."""
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

    def _end(self, joblog: Joblog) -> str:
        """Close the joblog; return why what is left of it can't be written, "" if it is there."""
        try:
            joblog.close()
        except RunUnfinished as error:
            return str(error)
        return ""

    def _write(self, report: Report) -> str:
        """Write the report; return why it can't be, "" if it is there."""
        try:
            write(report, self.context.home / "report.json")
        except OSError as error:
            return f"the run's report can't be written to {self.context.home} ({error.strerror})"
        return ""


def _why_left(destination: Destination, vanished: int) -> str:
    """Return why inputs are left in a run that was not stopped."""
    if vanished:
        inputs = counted(vanished, "input")
        return f"results of {inputs} were removed from DST during the run"
    lost = "; ".join(f"{name}: {stats.lost[-1]}" for name, stats in destination.stats.items() if stats.lost)
    return f"the workers were lost ({lost}); `fab up` repairs the fleet"


def run(
    context: RunContext,
    found: tuple[list[Input], Skipped],
    folder: Folder,
    board: Board,
    termination_reasons: ReasonSource = dict,
) -> Report:
    """Bring the inputs that `check` found from SRC to DST; the report says what became of every one.

    `termination_reasons` is asked for workers that are lost.  Raises UsageError before anything has begun,
    RunUnfinished when inputs are left.
    """
    inputs, skipped = found
    current = Run(context, folder, board)
    with current.hold():
        history.note(folder.path, PastRun(context.name, context.request.dst))
        with log_to_file(context.home / "run.log"), run_messages.logged_error(), unfinished():
            run_messages.log_request(context, inputs)
            if skipped.links:
                logger.warning("{} links to folders in SRC were not followed", skipped.links)
            with _ledger(context.request.dst) as ledger:
                ledger.begin(context.name, context.program, context.request.remembered(context.image.name))
                resume = current.plan_resume(ledger, inputs)
                run_messages.log_resume(resume)
                report = current.execute(ledger, resume, termination_reasons)
            run_messages.log_end(report)
            return report


@contextlib.contextmanager
def _ledger(dst: str) -> Iterator[Ledger]:
    """Open the ledger of DST; of two errors raise the first."""
    ledger = Ledger(ledger_path(dst))
    try:
        yield ledger
    except BaseException:
        with contextlib.suppress(RunUnfinished):
            ledger.close()
        raise
    ledger.close()
