"""Tasks about runs: run, retry and verify."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from fanrun.fanout import preflight
from fanrun.fanout import request as requests
from fanrun.fanout import verify as verdicts
from fanrun.fanout.expect import expected
from fanrun.fanout.grouping import FOLDER
from fanrun.fanout.request import RunRequest
from fanrun.fanout.results import report as reports
from fanrun.fanout.results import report_text
from fanrun.fleet.errors import UsageError
from fanrun.fleet.exit_codes import ExitCode
from fanrun.fleet.log_setup import log_to_terminal
from fanrun.fleet.store import Folder
from fanrun.tasks import costs, options, running, target
from fanrun.tasks.console import Console
from fanrun.tasks.options import FLEET, RESULTS
from fanrun.tasks.program_options import ProgramOptions
from fanrun.tasks.run_options import RETRY_OPTIONS, RUN_OPTIONS, RetryOptions, RunOptions
from fanrun.tasks.task import task


@dataclass(frozen=True)
class _Inputs:
    """Options of `fab run` that say which inputs there are, and where their results go; UsageError without SRC, DST.

    With --try (`is_try`) DST may be left out.
    """

    src: str | None
    dst: str | None
    include: Sequence[str] | None
    junk: bool
    is_try: bool

    def __post_init__(self) -> None:
        if not self.src and self.is_try:
            raise UsageError("fab run --try needs --src; `fab --help run` shows all it takes")
        if not self.src or not (self.dst or self.is_try):
            raise UsageError("fab run needs --src and --dst; `fab --help run` shows all it takes")


@dataclass(frozen=True)
class _Order:
    """A request, the name of the container image for it, and whether the report is printed as JSON.

    `tries` is the number of inputs that are tried on this machine, 0 for a run on the fleet.
    """

    request: RunRequest
    image: str
    as_json: bool
    tries: int = 0


@task(
    code=2,
    iterable=["include"],
    help={
        "src": "the folder of inputs",
        "dst": "the folder for results, made if it isn't there",
        "image": "an image to run instead of process.py's",
        "args": "arguments for the program, in one string, quoted as for a shell",
        "entrypoint": "the program to start instead of the image's ENTRYPOINT",
        "each": "a command that is run once per input, as 'ffmpeg -i {in} {out}.mp4'; also {stem}, {name} and {folder}",
        "include": "take only inputs that match this glob (of the name; of the path if it has a /); repeatable",
        "junk": "take also what file managers and editors leave, such as .DS_Store, Thumbs.db, *~",
        "force": "do again what is done already",
        "by-content": "take the results of an equal input, as of one that was renamed (default for the own image)",
        **RESULTS,
        "keep-going": "try every input, though every batch fails for the same reason",
        "dry-run": "print the plan and do nothing",
        "json_": "print the report (or the plan) as JSON",
        "fleet": FLEET,
    },
    group=RUN_OPTIONS,
)
def run(
    console: Console,
    more: RunOptions,
    src: str | None = None,
    dst: str | None = None,
    image: str | None = None,
    args: str = "",
    entrypoint: str | None = None,
    each: str | None = None,
    include: Sequence[str] | None = None,
    junk: bool = False,
    force: bool = False,
    by_content: bool = False,
    expect: str | None = None,
    ignore_results: str | None = None,
    keep_going: bool = False,
    dry_run: bool = False,
    json_: bool = False,
    fleet: str | None = None,
) -> None:
    """Bring every input under SRC through the image on all workers, and the results to DST.

    The same command again does only what is missing.
    """
    inputs = _Inputs(src, dst, include, junk, bool(more.tries))
    program = ProgramOptions(image, args, entrypoint, each, expect, ignore_results, by_content)
    folder = target.folder(console, fleet)
    order = _Order(_request(inputs, program, more, force=force, keep_going=keep_going), program.name, json_, more.tries)
    _print_plan(folder, order) if dry_run else _run(console, folder, order)


@task(
    code=2,
    help={
        "dst": "the folder with the results of a run",
        "json_": "print the report as JSON",
        "fleet": FLEET,
    },
    group=RETRY_OPTIONS,
)
def retry(
    console: Console,
    more: RetryOptions,
    dst: str | None = None,
    json_: bool = False,
    fleet: str | None = None,
) -> None:
    """Try again the inputs that failed in the last run into DST, with its image and arguments."""
    if not dst:
        raise UsageError("fab retry needs --dst; `fab --help retry` shows all it takes")
    folder = target.folder(console, fleet)
    request, name = requests.retry_request(options.path("dst", dst), *more)
    if not request.only:
        console.say(f"nothing failed in the last run into {dst}")
        return
    _run(console, folder, _Order(request, name, json_))


@task(code=2, help={"dst": "the folder with the results of a run", "json_": "print the verdict as JSON"})
def verify(console: Console, dst: str | None = None, json_: bool = False) -> None:
    """Prove that every input has its result, and that each is as it was made; asks no host."""
    if not dst:
        raise UsageError("fab verify needs --dst; `fab --help verify` shows all it takes")
    board = console.board(unit="inputs")
    with contextlib.closing(board):
        verdict = verdicts.verify(options.path("dst", dst), board.count)
    print(verdicts.to_json(verdict) if json_ else "\n".join(verdicts.lines(verdict)))
    if verdict.faults:
        raise SystemExit(ExitCode.FAILED)


def _request(
    inputs: _Inputs, program: ProgramOptions, more: RunOptions, *, force: bool, keep_going: bool
) -> RunRequest:
    """Return what the options of `fab run` ask for."""
    if program.each is not None and more.grouping.by:
        raise UsageError("--each runs a command for each file; for groups bring a program that reads /in, or `sh -c …`")
    if more.docker.platform and program.image is None:
        raise UsageError("--platform needs --image: Fanrun's own container image is built for your Docker's platform")
    return RunRequest(
        src=options.path("src", inputs.src or ""),
        dst=options.path("dst", inputs.dst) if inputs.dst else "",
        args=options.words(program.args),
        entrypoint=program.entrypoint,
        each=program.command,
        include=tuple(inputs.include or ()),
        force=force,
        expected=expected(program.expect, program.ignore_results, by_folder=more.grouping.by == FOLDER),
        by_content=program.by_content,
        keep_going=keep_going,
        junk=inputs.junk,
        **more.of_request,
    )


def _print_plan(folder: Folder, order: _Order) -> None:
    """Print what a run would do."""
    if order.tries:
        raise UsageError("--try runs the program; leave out --dry-run, or --try")
    fleet = target.undrained(folder, folder.load())
    plan = preflight.dry_run(order.request, fleet, fleet.images.get(order.image))
    print(reports.plan_json(plan, order.image) if order.as_json else report_text.plan_text(plan, order.image))


def _run(console: Console, folder: Folder, order: _Order) -> None:
    """Run what was ordered, and print the report; a try needs no fleet."""
    if order.tries:
        from fanrun.tasks import trial

        trial.run(console, folder, trial.Trial(order.request, order.image, order.tries, order.as_json))
        return
    report, provider = running.execute(console, folder, (order.request, order.image), log_to_terminal)
    if order.as_json:
        print(reports.to_json(report))
    else:
        console.show("\n".join(filter(None, [report_text.summary(report), costs.of_run(provider, report.seconds)])))
    if away := [worker.name for worker in report.workers if worker.away]:
        console.say(f"not back: {', '.join(away)}; `fab status` says what became of them, `fab up` makes them anew")
    if report.failed:
        raise SystemExit(ExitCode.FAILED)
