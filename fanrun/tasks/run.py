"""Tasks about runs: run, retry, verify, and sample, which makes inputs to try them with."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from loguru import logger

from fanrun import sample as samples
from fanrun.fanout import preflight
from fanrun.fanout import request as requests
from fanrun.fanout import run as runs
from fanrun.fanout import verify as verdicts
from fanrun.fanout.context import RunContext
from fanrun.fanout.expect import expected
from fanrun.fanout.results import report as reports
from fanrun.fleet import values
from fanrun.fleet.errors import HostsFailed, RunUnfinished, UsageError
from fanrun.fleet.model import Fleet, Image
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder
from fanrun.fleet.text import counted
from fanrun.tasks import boundary, options, target
from fanrun.tasks.boundary import ROOT
from fanrun.tasks.console import Console
from fanrun.tasks.options import FLEET, LIMITS, RESULTS
from fanrun.tasks.task import task
from provision import deployment, keepalive
from provision.providers import base as providers


@task(
    code=2,
    iterable=["include", "exclude"],
    help={
        "src": "the folder of inputs",
        "dst": "the folder for results, made if it isn't there",
        "image": "an image to run instead of process.py's",
        "args": "arguments for the program, in one string, quoted as for a shell",
        "include": "take only inputs that match this glob (of the name; of the path if it has a /); repeatable",
        "exclude": "leave out inputs that match this glob; repeatable",
        "junk": "take also what file managers and editors leave, such as .DS_Store, Thumbs.db, *~",
        "force": "do again what is done already",
        "by-content": "take the results of an equal input, as of one that was renamed (default for the own image)",
        **RESULTS,
        **LIMITS,
        "keep-going": "try every input, though every batch fails for the same reason",
        "dry-run": "print the plan and do nothing",
        "json_": "print the report (or the plan) as JSON",
        "fleet": FLEET,
    },
)
def run(
    console: Console,
    src: str | None = None,
    dst: str | None = None,
    image: str | None = None,
    args: str = "",
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    junk: bool = False,
    force: bool = False,
    by_content: bool = False,
    expect: str | None = None,
    ignore_results: str | None = None,
    retries: str | None = None,
    timeout: str | None = None,
    memory: str | None = None,
    tmp: str | None = None,
    shm: str | None = None,
    keep_going: bool = False,
    dry_run: bool = False,
    json_: bool = False,
    fleet: str | None = None,
) -> None:
    """Bring every input under SRC through the image on all workers, and the results to DST.

    The same command again does only what is missing.
    """
    if not src or not dst:
        raise UsageError("fab run needs --src and --dst; `fab --help run` shows all it takes")
    folder = target.folder(console, fleet)
    request = requests.Request(
        options.path("src", src), options.path("dst", dst), options.words(args), tuple(include or ()),
        tuple(exclude or ()), options.limits(retries, timeout, memory, tmp, shm), force, None,
        expected(expect, ignore_results), by_content, keep_going, junk, target.log_limits(console, fleet),
    )  # fmt: skip
    name = image or deployment.OWN
    if dry_run:
        known = folder.load()
        planned = preflight.dry_run(request, known, known.images.get(name))
        print(reports.plan_json(planned, name) if json_ else reports.plan_text(planned, name))
        return
    _run(console, folder, target.provider(console, fleet), request, name, json_)


@task(
    code=2,
    help={
        "dst": "the folder with the results of a run",
        **LIMITS,
        "json_": "print the report as JSON",
        "fleet": FLEET,
    },
)
def retry(
    console: Console,
    dst: str | None = None,
    retries: str | None = None,
    timeout: str | None = None,
    memory: str | None = None,
    tmp: str | None = None,
    shm: str | None = None,
    json_: bool = False,
    fleet: str | None = None,
) -> None:
    """Try again the inputs that failed in the last run into DST, with its image and arguments."""
    if not dst:
        raise UsageError("fab retry needs --dst; `fab --help retry` shows all it takes")
    folder = target.folder(console, fleet)
    request, name = requests.retry_request(options.path("dst", dst), options.limits(retries, timeout, memory, tmp, shm))
    request = dataclasses.replace(request, logs=target.log_limits(console, fleet))
    if not request.only:
        console.say(f"nothing failed in the last run into {dst}")
        return
    _run(console, folder, target.provider(console, fleet), request, name, json_)


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
        raise SystemExit(1)


@task(help={"dst": "the folder for them, made if it isn't there", "count": "how many, 1 or more (default: 59)"})
def sample(console: Console, dst: str | None = None, count: str = "59") -> None:
    """Draw images to try Fanrun with: JPEG plates of plants, the same ones every time."""
    if not dst:
        raise UsageError("fab sample needs --dst; `fab --help sample` shows all it takes")
    folder, number = Path(options.path("dst", dst)), values.whole_number("count", count, 1, samples.MOST)
    size = samples.make(folder, number)
    console.say(f"{counted(number, 'plate')}, {reports.amount(size)}, in {folder}")


@contextlib.contextmanager
def _unfinished() -> Iterator[None]:
    """Treat a run that is interrupted before it works, or finds no room, as unfinished like any other."""
    try:
        yield
    except KeyboardInterrupt:
        raise RunUnfinished("interrupted before anything was done; the same command again begins anew") from None
    except OSError as error:
        text, _ = boundary.told(error, None, 3)
        if not text:
            raise
        raise RunUnfinished(text) from error


def _run(
    console: Console, folder: Folder, chosen: providers.Provider, request: requests.Request, name: str, as_json: bool
) -> None:
    """Do what is asked for with the image of that name, and tell what came of it."""
    known = folder.load()
    # Inputs may take hours to be listed and hashed, before any worker is spoken to.
    with keepalive.keep(folder, chosen, known.hosts):
        found = preflight.check(request)
        board = console.board(total=len(found[0]), unit="files")
        with contextlib.closing(board), _unfinished():
            logger.remove()
            logger.add(board.write, level="WARNING", format="{level}: {message}")
            if name != deployment.OWN and not request.args:
                deployment.check_command(name)
            image = _deployed(folder, known, name, board)
            done = runs.run(
                RunContext(request, known, image, found[1].junk), found, folder, board, chosen.termination_reasons
            )
    print(reports.to_json(done) if as_json else reports.summary(done))
    if away := [worker.name for worker in done.workers if worker.away]:
        console.say(f"not back: {', '.join(away)}; `fab status` says what became of them, `fab up` makes them anew")
    if done.failed:
        raise SystemExit(1)


def _deployed(folder: Folder, known: Fleet, name: str, board: Board) -> Image:
    """The image as the workers have it: deployed now, if it changed since it last was."""
    if deployment.current(known, name, ROOT):
        return known.images[name]
    board.say("deploy", f"{name} is new or has changed")
    try:
        return deployment.deploy(folder, ROOT, board.say, name)
    except HostsFailed as error:  # the hub has it; whoever can't pull it now is looked at by the run itself
        for host, why in error.errors.items():
            logger.warning("{}: {}", host, why)
        return folder.load().images[name]
