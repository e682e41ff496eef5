"""The commands of a batch, as argv lists: pure, so that tests compare them to the letter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fanrun.fanout import each
from fanrun.fanout.program import MIB, TMP, Program, memory_limit
from fanrun.fleet.layout import USUAL, Layout
from fanrun.fleet.probe import EXPIRY, Probe
from fanrun.fleet.script import read_script, script_argv

PIDS = 1024
UNPRIVILEGED = 65532
"""The user and group id of a program where the login is root.

"nonroot" has this id in many container images, ours too; Debian gives accounts lower ones.
"""


@dataclass(frozen=True)
class LogLimits:
    """The bytes of lines that are kept of a batch (the first and the last so many), and of a run on each worker."""

    batch: int = 32 * MIB
    spool: int = 1024 * MIB


@dataclass(frozen=True)
class LogSource:
    """Whose lines they are that containers write on one worker, and how many are kept."""

    fleet: str
    host: str
    limits: LogLimits = LogLimits()


@dataclass(frozen=True)
class Turn:
    """When a batch is processed: after the others of its `slot`, beside those of other slots.

    `containers` is how many run on the worker at the same time, `spent` are folders of batches that are not needed any
    more.
    """

    slot: int = 0
    containers: int = 1
    spent: Sequence[BatchFolder] = ()


@dataclass(frozen=True)
class BatchFolder:
    """Where a batch lies on a worker."""

    run: str
    batch: str
    layout: Layout = USUAL

    @property
    def home(self) -> str:
        """The folder of the run."""
        return run_folder(self.run, self.layout)

    @property
    def source(self) -> str:
        """The folder of the inputs."""
        return f"{self.home}/{self.batch}.in"

    @property
    def target(self) -> str:
        """The folder of the results and of what tells about them."""
        return f"{self.home}/{self.batch}.out"

    @property
    def container(self) -> str:
        """The name of the container."""
        return f"fanrun-{self.run}-{self.batch}"

    @property
    def container_id(self) -> str:
        """The file with the id of the container; not among the results, as the login may not be able to read it."""
        return f"{self.home}/{self.batch}.container"

    @property
    def identity(self) -> str:
        """The folder with the names of the container's user and group."""
        return f"{self.home}/identity"

    @property
    def variables(self) -> str:
        """The file with the environment variables that a person gave to the run."""
        return variables_path(self.run, self.layout)


SCRIPTS = "fanrun.fanout.worker_files"
BY_SUDO = read_script(SCRIPTS, "docker-by-sudo.sh")
BATCH = BY_SUDO + read_script(SCRIPTS, "batch.sh")
LINES = read_script(SCRIPTS, "lines.sh")
RUNS = USUAL.runs


def layout_argv(layout: Layout, script: str, *arguments: str) -> list[str]:
    """Return the command that runs a script which begins with BY_SUDO; that is left out where it is not needed."""
    return script_argv(script if layout.docker_by_sudo else script.removeprefix(BY_SUDO), *arguments)


def run_folder(run: str, layout: Layout = USUAL) -> str:
    """Return the folder of one run on a worker."""
    return f"{layout.runs}/{run}"


def variables_path(run: str, layout: Layout = USUAL) -> str:
    """Return the file on a worker that has the environment variables of a run's program."""
    return f"{run_folder(run, layout)}/variables"


def spool_path(run: str, layout: Layout = USUAL) -> str:
    """Return the file on a worker that has the lines of all batches of a run."""
    return f"{layout.logs}/{run}.jsonl"


def rest_argv(run: str, batches: Sequence[str], limit: int, layout: Layout = USUAL) -> list[str]:
    """Write the lines of these batches, up to so many bytes."""
    return script_argv(LINES, spool_path(run, layout), str(limit), *batches)


def batch_argv(place: BatchFolder, program: Program, probe: Probe, source: LogSource, turn: Turn = Turn()) -> list[str]:
    """Run the program over a batch, keep what it prints, and hash every result where it was made.

    What the `spent` batches left is deleted if less than half the room is left that was there.
    """
    old = [path for each in turn.spent for path in (each.source, each.target)]
    head = [place.target, place.container, container_user(probe)]
    limits = [str(program.timeout), str(probe.disk_free // 2)]
    kept = [str(source.limits.batch), str(source.limits.spool)]
    log = [spool_path(place.run, place.layout), log_fields(place, source), *kept]
    tail = [str(EXPIRY), str(turn.slot), str(len(old)), *old]
    runner = each.argv(program.each, place.source, place.target) if program.each else []
    docker = docker_argv(place, program, probe, turn.containers)
    return layout_argv(place.layout, BATCH, *head, *limits, *log, *tail, *runner, *docker)


def log_fields(place: BatchFolder, source: LogSource) -> str:
    """Return the part of a line's JSON that is the same for a whole batch."""
    fields = {"fleet": source.fleet, "run": place.run, "host": source.host, "batch": place.batch}
    return json.dumps(fields, separators=(",", ":"))[1:-1]


def discard_argv(place: BatchFolder) -> list[str]:
    """Delete what a batch left, inputs and results."""
    return ["rm", "-rf", "--", place.source, place.target]


def container_user(probe: Probe) -> str:
    """Return UID:GID for a container: those of the login, but neither is ever root's."""
    return f"{probe.uid or UNPRIVILEGED}:{probe.gid or UNPRIVILEGED}"


def docker_argv(place: BatchFolder, program: Program, probe: Probe, containers: int = 1) -> list[str]:
    """Start one of some containers as the contract says.

    It has no network unless one was asked for, can write to /out alone, and has bounded memory and processes.
    """
    memory, scratch = str(memory_limit(program, probe, containers)), program.scratch
    name = ["--name", place.container, "--label", f"fanrun.run={place.run}"]
    if program.jobs != 1:
        name += ["--cidfile", place.container_id]  # by which heartbeat.sh finds what it uses
    rights = ["--network", program.docker.network, "--read-only", "--cap-drop", "ALL"]
    rights += ["--security-opt", "no-new-privileges"]
    limits = ["--memory", memory, "--memory-swap", memory, "--pids-limit", str(PIDS)]
    limits += ["--cpus", f"{program.cpus:g}"] if program.cpus else []
    # Without a mode it would have that of the image's own /tmp, where the program may not be able to write.
    tmp = ["--tmpfs", f"{TMP}:rw,exec,nosuid,nodev,mode=1777,size={scratch.tmp}", "--shm-size", str(scratch.shm)]
    tmp += program.docker.argv
    options = [*name, *rights, "--user", container_user(probe), *limits, *tmp, "--log-driver", "none"]
    entrypoint, arguments = _start(place, program)
    files = [*_files(place, program), *_mounts(place, program)]
    return [*place.layout.prefix, "docker", "run", "--rm", *options, *files, *entrypoint, program.ref, *arguments]


def _start(place: BatchFolder, program: Program) -> tuple[list[str], list[str]]:
    """Return what a container starts: docker's options for it, and the arguments."""
    if program.each:
        script = _bind(each.script(place.source), each.SCRIPT, writable=False)
        return [*script, "--entrypoint", "/bin/sh"], [each.SCRIPT, each.JOBS]
    entrypoint = [] if program.entrypoint is None else ["--entrypoint", program.entrypoint]
    return entrypoint, [*program.args, "/in", "/out"]


def _files(place: BatchFolder, program: Program) -> list[str]:
    """Return docker's options for a container's variables and for what it sees of the host."""
    variables = ["--env", "FANRUN_REPORT=/report.jsonl", "--env", f"HOME={TMP}", "--env-file", f"{place.identity}/env"]
    variables += ["--env-file", place.variables] if program.has_variables else []
    passwd = _bind(f"{place.identity}/passwd", "/etc/passwd", writable=False)
    group = _bind(f"{place.identity}/group", "/etc/group", writable=False)
    inputs = _bind(place.source, "/in", writable=False)
    results = _bind(f"{place.target}/data", "/out")
    report = _bind(f"{place.target}/report.jsonl", "/report.jsonl")
    return [*variables, *passwd, *group, *inputs, *results, *report]


def _mounts(place: BatchFolder, program: Program) -> list[str]:
    """Return docker's options for the reference data that a container sees."""
    work = place.layout.work
    return [word for each in program.mounts for word in _bind(each.data(work), f"/{each.name}", writable=False)]


def _bind(source: str, target: str, *, writable: bool = True) -> list[str]:
    """Return docker's options to show a path of the host in a container.

    It fails for a path that is gone, as after the end of a run; --volume would make a folder of root's there.
    """
    return ["--mount", f"type=bind,source={source},target={target}{'' if writable else ',readonly'}"]
