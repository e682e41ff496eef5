"""A try: some inputs processed by the Docker of this machine as a worker processes them, before there is a fleet."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from loguru import logger

from fanrun.fanout import commands, reference_commands, run_commands
from fanrun.fanout.commands import BatchFolder, LogSource, Turn
from fanrun.fanout.context import RunContext
from fanrun.fanout.plan import Batch, Input
from fanrun.fanout.preflight import check_writable
from fanrun.fanout.reference import Mount, Version
from fanrun.fanout.reference_content import look
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.batch_outcome import BatchOutcome, record
from fanrun.fanout.results.commit import commit_batch
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.faults import Reasons
from fanrun.fanout.results.holding import hold_destination
from fanrun.fanout.results.opening import hold_ledger, open_destination
from fanrun.fanout.resume import ResumePlan
from fanrun.fanout.schedule.scheduler import Scheduler
from fanrun.fanout.transfer_commands import names
from fanrun.fanout.workers.executor import CommandResult
from fanrun.fanout.workers.local_link import HERE, LocalLink
from fanrun.fanout.workers.preparation import check_network, send_variables
from fanrun.fanout.workers.transfer import Transfer
from fanrun.fleet.errors import FanrunError
from fanrun.fleet.layout import Layout
from fanrun.fleet.model import Fleet, Host
from fanrun.fleet.probe import Probe, parse, probe_argv

FLEET = Fleet("try", "local", (Host(HERE, "worker", "127.0.0.1", "127.0.0.1", ""),))
"""This machine as a fleet of one worker."""
ALIVE_SECONDS = 60
"""How often the run's folder says that the try goes on: see batch.sh."""


@dataclass(frozen=True)
class TriedInput:
    """What became of an input: `reason` is why it failed, "" if it is done; `words` are the program's last lines then.

    `seconds` are the input's own if the program reports them, else those of its container.
    """

    item: Input
    reason: str
    seconds: float
    words: list[str] = field(default_factory=list)


def try_inputs(
    context: RunContext, inputs: Sequence[Input], versions: Sequence[Version], work: str
) -> Generator[TriedInput, None, None]:
    """Process inputs here, each with its results in the DST of the context; yield each as soon as it is settled.

    `versions` are the reference data of the request's mounts, `work` is an empty folder for what a worker has in its
    own.  Containers run one at a time.  Raises HostError if Docker can't run a container.
    """
    link = LocalLink(Layout(work, os.path.join(work, "logs"), docker_by_sudo=False))
    scheduler = Scheduler()
    check_writable(context.request.dst)
    with hold_destination(context), hold_ledger(context.request.dst) as ledger:
        opened = open_destination(context, ledger, ResumePlan(list(inputs)), scheduler.is_settled)
        # Each input is told of with its reason, so reasons need not be told as well.
        destination = dataclasses.replace(opened, reasons=Reasons(logger.debug, keep_going=True))
        scheduler.deal({HERE: inputs})
        trial = _Trial(context, link, scheduler, destination, versions)
        with contextlib.closing(destination.joblog), trial.opened() as probe:
            while (batch := scheduler.next_batch(HERE)) is not None:
                yield from trial.settle(batch, probe)


class _Trial:
    """The steps of a try."""

    def __init__(
        self,
        context: RunContext,
        link: LocalLink,
        scheduler: Scheduler,
        destination: Destination,
        versions: Sequence[Version],
    ) -> None:
        request = context.request
        self.context, self.link, self.scheduler, self.destination = context, link, scheduler, destination
        self.versions = {each.name: each for each in versions}
        self.program = request.program(context.image.ref, 1, tuple(versions))
        self.transfer = Transfer(link, request.src, destination)
        # So that a container has as much memory as beside the others of a worker.
        self.turn = Turn(containers=request.limits.jobs or 1)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Probe]:
        """Make the folder of a run as on a worker; at the end nothing of it is left, and no container."""
        name, image, layout = self.context.name, self.context.image, self.link.layout
        try:
            _check(self.link.run(run_commands.open_argv(name, image.ref, layout=layout)), "begin")
            check_network(self.link, self.program.docker.network)
            send_variables(self.link, name, self.context.request.variables)
            for mount in self.context.request.mounts:
                self._copy(mount, self.versions[mount.name].data(layout.work))
            asked = self.link.run(probe_argv(layout.work, layout.prefix))
            with _kept_alive(commands.run_folder(name, layout)):
                yield parse(asked.output.decode(errors="replace"))
        finally:
            # Inputs are not kept for later runs: see end.sh.  That is done in the background, and would make a folder.
            self.link.run(["env", "keep_none=yes", *run_commands.stop_argv(name, layout)])

    def _copy(self, mount: Mount, to: str) -> None:
        """Copy reference data as they are sent to a hub: links as files, all readable."""
        os.makedirs(to)
        argv = reference_commands.send_argv("", mount.path, self.versions[mount.name], to, [])
        _check(self.link.run(argv, stdin=names(list(look(mount)))), f"copy --mount {mount.path!r}")

    def settle(self, batch: Batch, probe: Probe) -> Iterator[TriedInput]:
        """Process a batch; yield the inputs that it settles."""
        attempt = Attempt(batch, HERE)
        folder = BatchFolder(self.context.name, batch.name, self.link.layout)
        staging = os.path.join(self.destination.staging, batch.name)
        self.transfer.send(attempt, folder)
        source = LogSource(FLEET.name, HERE, self.context.request.logs)
        _check(self.link.run(commands.batch_argv(folder, self.program, probe, source, self.turn)), "run a batch")
        attempt.ended = time.time()
        self.transfer.fetch(folder, staging, apart=False)
        self.destination.logs.keep(HERE, batch.name, self.context.staging / batch.name)
        outcome = commit_batch(attempt, staging, self.scheduler, self.destination)
        record(outcome, self.destination)
        shutil.rmtree(staging, ignore_errors=True)
        self.link.run(commands.discard_argv(folder))
        for each in (outcome, *outcome.released):
            yield from self._tried(each)

    def _tried(self, outcome: BatchOutcome) -> Iterator[TriedInput]:
        """Yield what an outcome says of each input."""
        failures = self.destination.stats_of(HERE).failed
        for item in outcome.attempt.batch.inputs:
            if item.key not in outcome.done and item.key not in outcome.failed:
                continue
            line = outcome.staged.report.get(item.key)
            seconds = outcome.seconds if line is None or line.seconds is None else line.seconds
            words = failures[item.key].words if item.key in outcome.failed else []
            yield TriedInput(item, outcome.failed.get(item.key, ""), seconds, words)


@contextlib.contextmanager
def _kept_alive(folder: str) -> Iterator[None]:
    """Say that a run is alive, as a heartbeat does on a worker."""
    over = threading.Event()

    def touch() -> None:
        while not over.wait(ALIVE_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(folder)

    threading.Thread(target=touch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _check(result: CommandResult, what: str) -> None:
    if result.exit_code:
        raise FanrunError(f"this machine could not {what} ({result.reason})")
