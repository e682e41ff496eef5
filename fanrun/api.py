"""Runs for Python programs: `fanrun.run` yields each input as soon as it is done or has failed."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import fabric
from loguru import logger

from fanrun.fanout.caller import Caller, Settled
from fanrun.fanout.halt import Halted
from fanrun.fanout.request import RunRequest
from fanrun.fleet import environment, places
from fanrun.fleet.progress import Board
from fanrun.tasks import running, target
from fanrun.tasks.console import Console
from provision import deployment

LOG = logging.getLogger("fanrun")
OWN = ("fanrun", "provision")
"""The packages whose messages are meant here."""


@dataclass(frozen=True)
class Result:
    """An input that is done or has failed.

    `input` is its path below SRC.  `files` are its results, by their paths in the file system.  `error` says why it
    has none, and is "" for an input that is done.  `worker` processed it last ("" if none did).
    """

    input: Path
    files: tuple[Path, ...]
    error: str
    worker: str


class _Quiet(Console):
    """A console that says nothing: the caller is a program."""

    def say(self, text: str) -> None:
        pass

    def board(self, total: int | None = None, unit: str = "it") -> Board:
        return Board(total=total, unit=unit, stream=Path(os.devnull).open("w", encoding="utf-8"))


def run(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    image: str | None = None,
    fleet: str | None = None,
    args: Sequence[str] = (),
    **more: object,
) -> Generator[Result, None, None]:
    """Process every input under SRC on a fleet's workers, and yield each as soon as its results are in DST.

    Does what `fab run` does: inputs that have their results already are not processed again, and not yielded.  `image`
    is the name of a container image (None: that of process.py), `fleet` the name of a fleet that `fab up` has made
    (None: the usual one), `args` are the program's arguments.  `more` are other fields of
    `fanrun.fanout.request.RunRequest`, such as `include=("*.tif",)` or `force=True`.

    The run begins with the first item.  A loop that is left early ends the run: what is done is kept, and the next run
    continues.  Failed inputs are yielded as well, and raise nothing.  Warnings go to the logger `fanrun` of the module
    logging.  Variables of `os.environ` that would change what rsync or Docker do are removed.

    Raises UsageError before anything has begun, RunUnfinished if inputs are left, and other FanrunErrors.
    """
    paths = os.path.abspath(src), os.path.abspath(dst)
    request = RunRequest(*paths, tuple(args), **cast("dict[str, Any]", more))
    yield from _results(request, image or deployment.OWN, fleet)


def _results(request: RunRequest, image: str, fleet: str | None) -> Generator[Result, None, None]:
    """Run a request in a thread, and yield what it settles; whoever stops asking ends the run."""
    settled: queue.SimpleQueue[Settled | BaseException | None] = queue.SimpleQueue()
    over = threading.Event()

    def check() -> None:
        if over.is_set():
            raise Halted("the caller ended the run", now=True)

    def work() -> None:
        try:
            _execute(request, image, fleet, Caller(settled.put, check))
        except BaseException as error:
            settled.put(error)
        else:
            settled.put(None)

    thread = threading.Thread(target=work, name="fanrun.run", daemon=True)
    thread.start()
    try:
        while (item := settled.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield _result(request, item)
    finally:
        over.set()
        thread.join()


def _execute(request: RunRequest, image: str, fleet: str | None, caller: Caller) -> None:
    """Run a request as the task does, without a word on the terminal."""
    environment.clean(os.environ)
    console = _Quiet(_settings())
    handler = _log_to_logging()
    try:
        running.execute(console, target.folder(console, fleet), (request, image), lambda write: None, caller)
    finally:
        logger.remove(handler)


def _settings() -> Mapping[str, Any]:
    """Return the settings that `fab` reads: those of the machine, the person and the project."""
    config = fabric.Config(lazy=True)
    config.load_base_conf_files()
    config.set_project_location(places.settings_folder(os.environ))
    config.load_project()
    config.merge()
    settings: Mapping[str, Any] = config
    return settings


def _log_to_logging() -> int:
    """Send Fanrun's warnings to the module logging, and not to loguru's usual place, which is the terminal.

    Returns the number of loguru's handler.
    """
    with contextlib.suppress(ValueError):  # a program that has set up loguru itself has no usual handler
        logger.remove(0)
        logger.add(sys.stderr, filter=lambda record: not _is_own(record["name"]))

    def warn(text: str) -> None:
        LOG.warning("%s", text.rstrip("\n"))

    # What ends a run is raised, so it is not logged as well.
    return logger.add(
        warn,
        format="{message}",
        filter=lambda record: _is_own(record["name"]) and record["level"].name == "WARNING",
    )


def _is_own(module: str | None) -> bool:
    return str(module).partition(".")[0] in OWN


def _result(request: RunRequest, item: Settled) -> Result:
    files = tuple(Path(request.dst) / os.fsdecode(path) for path in item.results)
    return Result(Path(os.fsdecode(item.key)), files, item.reason, item.worker)
