"""One run on a fleet, from a request to its report: for the tasks, and for Python programs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

from loguru import logger

from fanrun.fanout import preflight
from fanrun.fanout import run as runs
from fanrun.fanout.caller import TASK, Caller
from fanrun.fanout.context import RunContext
from fanrun.fanout.plan import count_files
from fanrun.fanout.request import RunRequest
from fanrun.fanout.results.report import Report
from fanrun.fleet.errors import HostsFailed
from fanrun.fleet.exit_codes import unfinished
from fanrun.fleet.model import Fleet, Image
from fanrun.fleet.places import SOURCES
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder
from fanrun.tasks import target
from fanrun.tasks.console import Console
from fanrun.tasks.program_options import check_image
from provision import deployment, keepalive
from provision.providers.base import Provider


def execute(
    console: Console,
    folder: Folder,
    order: tuple[RunRequest, str],
    log: Callable[[Callable[[str], None]], None],
    caller: Caller = TASK,
) -> tuple[Report, Provider]:
    """Bring all inputs of a request to DST; return the report, and the provider of the hosts.

    `order` is the request and the name of the container image; `log` is told where warnings go while there is a board.
    Raises UsageError before anything has begun, RunUnfinished when inputs are left.
    """
    request, name = order
    logs, cache = target.limits(console, folder.name)
    request = dataclasses.replace(request, logs=logs, cache=cache)
    provider, fleet = target.provider(console, folder.name), folder.load()
    preflight.check_mounts(request, fleet)
    # Inputs may take hours to be listed and hashed, before any worker is spoken to.
    with keepalive.keep(folder, provider, fleet.hosts):
        inputs, skipped = found = preflight.check(request)
        board = console.board(total=count_files(inputs), unit="files")
        with contextlib.closing(board), unfinished():
            log(board.write)
            check_image(name, request)
            image = _ensure_deployed(folder, fleet, name, board)
            context = RunContext(request, target.undrained(folder, fleet), image, skipped.junk, caller=caller)
            return runs.run(context, found, folder, board, provider.termination_reasons), provider


def _ensure_deployed(folder: Folder, known: Fleet, name: str, board: Board) -> Image:
    """Deploy the container image if it has changed since it last was; return it as the workers have it."""
    is_current = deployment.current(known, name, SOURCES)
    if is_current and known.uses_sudo:
        return known.images[name]
    try:
        if is_current:
            deployment.restore_image(folder, known, known.images[name], board.say)
            return known.images[name]
        board.say("deploy", f"{name} is new or has changed")
        return deployment.deploy(folder, SOURCES, board.say, name)
    except HostsFailed as error:  # whoever does not have it now, or can't pull it, is looked at by the run itself
        for host, why in error.errors.items():
            logger.warning("{}: {}", host, why)
        return folder.load().images[name]
