"""One run: SRC brought to DST by a fleet's workers."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from loguru import logger

from fanrun.fanout import history, plan, run_messages
from fanrun.fanout.context import RunContext
from fanrun.fanout.history import PastRun
from fanrun.fanout.plan import Input, Skipped
from fanrun.fanout.reference_content import read_all
from fanrun.fanout.results import records
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.faults import Blame
from fanrun.fanout.results.holding import hold_destination
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.results.opening import hold_ledger, open_destination
from fanrun.fanout.results.report import Report
from fanrun.fanout.results.summary import summarize
from fanrun.fanout.resume import ResumePlan, ResumeSource, plan_resume
from fanrun.fanout.schedule.scheduler import Scheduler
from fanrun.fanout.variables import hash_variables
from fanrun.fanout.workers.bandwidth import Bandwidth
from fanrun.fanout.workers.connections import Allowance, Connections
from fanrun.fanout.workers.course import work
from fanrun.fanout.workers.delivery import Delivery
from fanrun.fanout.workers.fitness import unfit
from fanrun.fanout.workers.input_cache import InputCache
from fanrun.fanout.workers.job import Job
from fanrun.fanout.workers.membership import Membership
from fanrun.fanout.workers.preparation import Preparation
from fanrun.fanout.workers.roster import Roster
from fanrun.fanout.workers.supervisor import Supervisor
from fanrun.fanout.workers.termination import ReasonSource
from fanrun.fleet.errors import FanrunError, RunUnfinished, UsageError
from fanrun.fleet.exit_codes import unfinished
from fanrun.fleet.log_setup import log_to_file
from fanrun.fleet.probe import Probe
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder
from fanrun.fleet.text import counted


def run(
    context: RunContext,
    found: tuple[list[Input], Skipped],
    folder: Folder,
    board: Board,
    termination_reasons: ReasonSource = dict,
) -> Report:
    """Bring the inputs that `check` found from SRC to DST; return a report on every input.

    `termination_reasons` is asked about workers that are lost.  Raises UsageError before anything has begun,
    RunUnfinished when inputs are left.
    """
    inputs, skipped = found
    with hold_destination(context):
        history.note(folder.path, PastRun(context.name, context.request.dst))
        with log_to_file(context.home / "run.log"), run_messages.logged_error(), unfinished():
            run_messages.log_request(context, inputs)
            if skipped.links:
                logger.warning("{} links to folders in SRC were not followed", skipped.links)
            run_messages.warn_of_groups(context.request, inputs)
            with hold_ledger(context.request.dst) as ledger:
                mounts = read_all(context.request.mounts, ledger, partial(board.step, "reference"))
                variables = hash_variables(context.request.variables, context.state)
                context = dataclasses.replace(context, reference=mounts, variables=variables)
                ledger.begin(context.name, context.program, context.remembered)
                allowance = Allowance(context.request.cache, Bandwidth(context.request.limits.rate))
                connections = Connections(context.name, context.image.ref, folder, allowance=allowance)
                report = Run(context, connections, board).execute(ledger, inputs, termination_reasons)
            run_messages.log_end(report)
            return report


class Run:
    """One run, from the resume plan to the report."""

    def __init__(self, context: RunContext, connections: Connections, board: Board) -> None:
        self.context, self.connections, self.board = context, connections, board
        bandwidth = connections.allowance.bandwidth
        self.delivery = Delivery(context.name, connections.folder, context.reference, board, bandwidth)
        self.cache = InputCache(context.name, context.request.src, is_used=context.request.cache != 0)

    def execute(self, ledger: Ledger, inputs: Sequence[Input], termination_reasons: ReasonSource) -> Report:
        """Process the inputs that have no results yet; leave a report, and nothing on the workers that answer.

        Raises UsageError when no worker can take part, and RunUnfinished, after the report is written, when
        inputs are left.
        """
        scheduler = Scheduler(retries=self.context.request.limits.retries)
        with self._no_connections_after_errors():
            resume = self._resume(ledger, inputs)
            destination = open_destination(self.context, ledger, resume, scheduler.is_settled)
        supervisor = self._supervisor(scheduler, destination, resume, termination_reasons)
        stopped = unwritten = ""
        try:
            if resume.todo:
                probes = self._open(supervisor)
                self._deal(scheduler, resume.todo, list(probes))
                stopped = work(supervisor, probes)
        finally:
            stopped = self._close(supervisor) or stopped
            self.connections.finish()
            destination.logs.close()
            unwritten = records.close_joblog(destination.joblog)
        vanished = frozenset(destination.vanished())
        report = summarize(self.context, resume, destination, supervisor.away, vanished)
        unwritten = records.write_report(report, self.context.home, unwritten)
        run_messages.warn_of_changed(self.context.reference)
        run_messages.log_summary(report)
        why = stopped or run_messages.why_left(destination, resume.count(vanished))
        run_messages.check_finished(report, why, unwritten, force=self.context.request.force)
        return report

    @contextlib.contextmanager
    def _no_connections_after_errors(self) -> Iterator[None]:
        """End the connections of a run that fails before it has a supervisor."""
        try:
            yield
        except BaseException:
            self.connections.give_up()
            raise

    def _resume(self, ledger: Ledger, inputs: Sequence[Input]) -> ResumePlan:
        """Return what is left to do; groups without the right number of files have failed."""
        accepted, refused = self.context.request.grouping.divide(inputs)
        resume = dataclasses.replace(self.plan_resume(ledger, accepted), refused=refused)
        ledger.fail(refused.items())
        self.board.skip(len(refused))
        run_messages.log_resume(resume)
        return resume

    def plan_resume(self, ledger: Ledger, inputs: Sequence[Input]) -> ResumePlan:
        """Find out what is done, and bring results of renamed inputs under their new names.

        As soon as an input is known to need a worker, the run connects to the workers, while more files are hashed.
        """
        if self.context.request.force:
            self._connect()
            return ResumePlan(list(inputs))
        request, context = self.context.request, self.context
        source = ResumeSource(
            ledger, request.src, request.dst, context.program, context.by_content, str(context.staging)
        )
        noun = "group" if request.grouping.by else "input"

        def step(count: int) -> None:
            if count % 1000 == 999:
                self.board.step("ledger", f"{count + 1} of {counted(len(inputs), noun)} compared")
            if errors := self.connections.all_failed():
                raise self._no_worker(errors)

        resume = plan_resume(source, inputs, step, self._connect)
        if done := plan.count_files(resume.before):
            copied = f", {len(resume.copied)} under another name" if resume.copied else ""
            self.board.say("ledger", f"{done} of {plan.count_files(inputs)} done before{copied}")
            self.board.skip(done)
        return resume

    def _connect(self) -> None:
        self.connections.begin([host.name for host in self.context.fleet.workers])

    def _supervisor(
        self, scheduler: Scheduler, destination: Destination, resume: ResumePlan, termination_reasons: ReasonSource
    ) -> Supervisor:
        """Return the supervisor of the workers, with all that they need."""
        context, request = self.context, self.context.request
        fleet = context.fleet.name
        program = request.program(context.image.ref, context.jobs, context.mounts)
        parts = (scheduler, destination, self.board)
        ready = Preparation(context.name, self.delivery, self.cache, request.variables, request.docker.network)
        job = Job(context.name, request.src, program, *parts, Blame(), fleet, request.logs, self.cache, ready.prepare)
        job = dataclasses.replace(job, check=partial(self._check, destination, plan.count_files(resume.todo)))
        largest = max((item.size for item in resume.todo), default=0)
        membership = Membership(Roster(self.connections.folder))
        return Supervisor(job, self.connections, partial(unfit, largest, program), termination_reasons, membership)

    def _check(self, destination: Destination, total: int) -> None:
        """Raise RunUnfinished if the run has to end: its caller wants that, or the condition of --halt is met."""
        self.context.caller.check()
        if halt := self.context.request.limits.halt:
            halt.check(list(destination.stats.values()), total)

    def _open(self, supervisor: Supervisor) -> Mapping[str, Probe]:
        """Return the workers that can take part, warn of each that can't; raise UsageError if none can."""
        self.delivery.to_hub()
        probes, errors = supervisor.open()
        if not probes:
            raise self._no_worker(errors)
        run_messages.warn_of_unfit(errors)
        fit = {host.name: probes[host.name] for host in self.context.fleet.workers if host.name in probes}
        run_messages.log_hosts(self.context.fleet, fit)
        return fit

    def _deal(self, scheduler: Scheduler, inputs: Sequence[Input], workers: Sequence[str]) -> None:
        """Deal the inputs to workers: an input in the cache of a worker to that worker."""
        holders = self.cache.holders(inputs)
        scheduler.deal(plan.deal(inputs, workers, holders), holders)

    def _no_worker(self, errors: Mapping[str, FanrunError]) -> UsageError:
        """Warn of each worker, and return the error of a run without any."""
        run_messages.warn_of_unfit(errors)
        reasons = "; ".join(f"{name}: {error}" for name, error in sorted(errors.items()))
        return UsageError(
            f"no worker of fleet {self.context.fleet.name} can take part ({reasons or 'it has none'}); "
            "`fab status` shows them, `fab up` repairs them"
        )

    def _close(self, supervisor: Supervisor) -> str:
        """End everything; return why the end was not orderly, "" if it was."""
        try:
            with contextlib.closing(self.delivery):
                supervisor.close()
        except RunUnfinished as error:
            return str(error)
        except KeyboardInterrupt:
            logger.warning("stopped at once; the next run on the fleet ends what still runs on the workers")
            with contextlib.suppress(KeyboardInterrupt):
                supervisor.abandon()
            return "interrupted"
        return ""
