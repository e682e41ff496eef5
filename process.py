"""Rotate every image under INPUT by 90 degrees into OUTPUT: python process.py INPUT OUTPUT [--workers N]

Every regular file, at any depth, comes to the same relative path in the same format, byte for byte what
`Image.open(a).rotate(90, expand=True).save(b)` writes, or the right pixels where those would be wrong; or what
--size, --how, --margin, --grayscale, --rotate, --format and --strip ask for. The operations are in imaging/.
Links to files are read through, links to folders not entered. A result is there only when complete; a file that
fails is told on stderr and has no result. Exit codes: 0 all done, 1 some files failed, 2 usage; 129, 130, 143
stopped by SIGHUP, SIGINT, SIGTERM.
Where FANRUN_REPORT names a file, a JSON line for each input is appended to it as results come: {"path": name,
"ok": bool, "seconds": float, "error": null or text}, and with --format "results": [name]. The name is the relative
path in ASCII; a byte not UTF-8 is a lone surrogate (0xff is "\\udcff"), so that os.fsencode of the loaded name gives
the path's own bytes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing, suppress
from itertools import islice, takewhile
from os.path import dirname, isfile, join, realpath, splitext
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from imaging.rules import DEFAULT_LIMITS, MAX_SIDE, PILLOW_PIXELS, ImageError, Limits, Operations

if TYPE_CHECKING:  # other modules are imported where needed: batches are many and small, Ctrl-C may be early
    import argparse
    from collections.abc import Callable, Generator, Iterable, Iterator
    from decimal import Decimal
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

EXTENSIONS = {  # of files -> the format that they name; what has another one keeps it before the new
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".apng": "PNG", ".webp": "WEBP",
    ".tif": "TIFF", ".tiff": "TIFF", ".gif": "GIF", ".bmp": "BMP", ".dib": "BMP", ".avif": "AVIF", ".heic": "HEIF",
    ".heif": "HEIF",
}  # fmt: skip
NEW_EXTENSIONS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}

stopped: list[int] = []  # the signals that told this program to stop


class Job(NamedTuple):
    """What is done to every input; without operations it is rotated."""

    operations: Operations | None = None
    limits: Limits = DEFAULT_LIMITS


class Task(NamedTuple):
    """An input: its relative path, its file, final and temporary name of the result; why it is not to be done."""

    key: str
    source: str
    target: str
    partial: str
    error: str | None = None


class Result(NamedTuple):
    """What became of an input; `error`: why it failed, `permanent`: another try would fail as well."""

    key: str
    error: str | None
    seconds: float
    permanent: bool = False


def process(task: Task, job: Job) -> Result:
    """Bring one input to its place under OUTPUT, whole or not at all; no Exception leaves here."""
    started, error, permanent = time.perf_counter(), task.error, False
    try:
        if not error:
            produce(task, job)
    except Exception as problem:
        error, permanent = reason(problem, task.source), is_refused(problem)
    if error:
        discard(task.partial)
        discard(task.target)
    return Result(task.key, error, time.perf_counter() - started, permanent)


def produce(task: Task, job: Job) -> None:
    """Make the result of an input; raises ImageError, and whatever Pillow and the disk raise."""
    operations = job.operations
    if operations:
        from imaging.transform import transform

        with open(task.source, "rb") as file:
            place(task.target, task.partial, lambda result: transform(file, result, operations, job.limits))
    else:
        from imaging.rotate import rotate

        rotate(task.source, lambda fill: place(task.target, task.partial, fill), job.limits)
    os.replace(task.partial, task.target)


def place(target: str, partial: str, fill: Callable[[IO[bytes]], None]) -> None:
    """Have a result written to a temporary file."""
    os.makedirs(dirname(target), exist_ok=True)
    shown = target.encode("utf-8", "replace").decode()  # JPEG 2000, IM and SGI look at the name
    with open(shown, "xb+", opener=lambda _, flags: os.open(partial, flags, 0o666)) as file:
        fill(file)


def discard(path: str) -> None:
    """Remove a file if it is there."""
    with suppress(OSError):
        os.unlink(path)


def is_refused(error: Exception) -> bool:
    """Whether it is the image that can't be processed, however often it is tried."""
    return isinstance(error, ImageError) or type(error).__name__ == "UnidentifiedImageError"


def reason(error: Exception, source: str) -> str:
    """Say in one short line why a file failed."""
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if type(error).__name__ == "UnidentifiedImageError":
        text = "not an image (PIL: cannot identify image file)"
    elif isinstance(error, ImageError):
        text = str(error)
    elif isinstance(error, OSError):
        text = (error.strerror or str(error)) + ("" if error.filename in (None, source) else " (in OUTPUT)")
    return printable(text)[:200]


def printable(text: str) -> str:
    """Escape what would disturb a terminal or a log: control characters, line ends, bytes not UTF-8."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def walk(root: str) -> Iterator[str]:
    """Yield each file's path relative to `root`; a folder that cannot be listed stands for its files."""
    folders = [""]
    while folders and not stopped:
        folder = folders.pop()
        try:
            with os.scandir(join(root, folder)) as entries:
                for entry in takewhile(lambda _: not stopped, entries):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(join(folder, entry.name))
                    elif isfile(entry.path):
                        yield join(folder, entry.name)
        except OSError:
            yield folder


def walk_shard(root: str, number: int, shards: int) -> Iterator[str]:
    """Yield walk's paths that are in that shard, from 0: by a hash of the path alone, so nobody need see the others."""
    from binascii import crc32

    return (key for key in walk(root) if crc32(os.fsencode(key)) % shards == number)


def list_tasks(source: str, output: str, job: Job, shard: tuple[int, int] = (0, 1)) -> Iterator[Task]:
    """Yield a task for each file under `source` that is in the shard."""
    form = job.operations.format if job.operations else ""
    shared = find_shared(walk(source), form) if form else set()
    for key in walk_shard(source, *shard):
        name = result_name(key, form)
        error = f"another input would have the same result, {name}: give one of them another name"
        partial = join(output, dirname(key), f".{os.urandom(8).hex()}.tmp")
        yield Task(key, join(source, key), join(output, name), partial, error if name in shared else None)


def result_name(key: str, form: str) -> str:
    """Return the relative path of an input's result: its own, with the extension of the format if one is asked for."""
    stem, extension = splitext(key)
    known = EXTENSIONS.get(extension.lower())
    if not form or known == form:
        return key
    return (stem if known else key) + NEW_EXTENSIONS[form]


def find_shared(keys: Iterable[str], form: str) -> set[str]:
    """Return the results that more than one input would have."""
    seen: set[str] = set()
    shared: set[str] = set()
    for key in keys:
        name = result_name(key, form)
        (shared if name in seen else seen).add(name)
    return shared


def serve(pipe: Connection, parents: Connection, job: Job) -> None:
    """Be a child: answer tasks with results until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the children too, but the parent decides
    parents.close()  # a pipe ends when the last copy of its other end is closed
    with suppress(EOFError, OSError):
        while True:
            pipe.send(process(pipe.recv(), job))


def start(job: Job) -> tuple[BaseProcess, Connection]:
    """Start a child; returns it and our end of its pipe, raises OSError where a limit forbids."""
    from multiprocessing import get_context

    context = get_context("fork") if sys.platform == "linux" else get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=serve, args=(theirs, ours, job), daemon=True)
    child.start()
    theirs.close()
    return child, ours


def end(child: BaseProcess, task: Task) -> Result:
    """End a child, dead or alive; returns the result of the task it had, a failure."""
    child.kill()
    child.join()
    discard(task.partial)
    how = f"signal {-code}" if (code := child.exitcode or 0) < 0 else f"exit code {code}"
    return Result(task.key, f"the process that worked on it died ({how})", 0.0)


def run_pool(tasks: Iterator[Task], job: Job, limit: int) -> Generator[Result, None, None]:
    """Process tasks in up to `limit` children, one at a time; a task that kills its child fails alone."""
    from multiprocessing.connection import wait

    idle: list[tuple[BaseProcess, Connection]] = []
    busy: dict[Any, tuple[BaseProcess, Connection, Task]] = {}
    try:
        while not stopped:
            for task in islice(tasks, limit - len(busy)):
                try:
                    child, pipe = idle.pop() if idle else start(job)
                    pipe.send(task)
                except OSError:  # a limit on processes, or an idle child was killed: do it here
                    yield process(task, job)
                    break
                busy[pipe] = child, pipe, task
            else:
                if not busy:
                    return
            for ready in wait(list(busy), 0.1):
                child, pipe, task = busy[ready]
                try:
                    result = pipe.recv()
                    idle.append((child, pipe))
                except (EOFError, OSError):
                    result = end(child, task)
                    discard(task.target)
                del busy[ready]
                yield result
    finally:
        for child, _ in idle:
            child.kill()
        for child, _, task in busy.values():
            end(child, task)


def record(results: Iterable[Result], form: str, report: int, tell: Callable[..., None]) -> int:
    """Tell what became of each input, on stderr and in the report; returns the exit code."""
    import json

    tally = [0, 0]
    for key, error, seconds, permanent in results:
        entry: dict[str, Any] = {"path": key, "ok": error is None, "seconds": round(seconds, 6), "error": error}
        if permanent:
            entry["permanent"] = True
        if form and error is None:
            entry["results"] = [result_name(key, form)]
        line = json.dumps(entry)
        tally[error is not None] += 1
        with suppress(OSError):  # nobody may be listening, the disk may be full: it is the results that count
            if error is not None:
                tell(f"process.py: {printable(key)}: {error}", file=sys.stderr)
            os.write(report, f"{line}\n".encode())
    if tally[1]:
        tell(f"process.py: {tally[0]} done, {tally[1]} failed", file=sys.stderr)
    return 128 + stopped[0] if stopped else min(1, tally[1])


def size_of(text: str) -> tuple[int, int]:
    """Read 1024x768; a side may be missing, as in 1024x."""
    from argparse import ArgumentTypeError

    with suppress(ValueError):
        width, height = (int(side or 0) for side in text.split("x"))
        if min(width, height) >= 0 and 0 < max(width, height) <= MAX_SIDE:
            return width, height
    raise ArgumentTypeError(f"give WIDTHxHEIGHT in pixels, each up to {MAX_SIDE}, as in 1024x768")


def share_of(text: str) -> Decimal:
    """Read 0.05 or 5%."""
    from argparse import ArgumentTypeError
    from decimal import Decimal, InvalidOperation

    with suppress(InvalidOperation):  # which comparing with NaN raises too
        share = Decimal(text[:-1]) / 100 if text.endswith("%") else Decimal(text)
        if 0 <= share < 1:
            return share
    raise ArgumentTypeError("give a share below 1, as in 0.05 or 5%")


def pixels_of(text: str) -> int:
    """Read a number of pixels."""
    from argparse import ArgumentTypeError

    if text.isascii() and text.isdigit() and int(text[:20]) > 0:
        return int(text[:20])
    raise ArgumentTypeError("give a number of pixels, as in 24000000")


def shard_of(text: str) -> tuple[int, int]:
    """Read 0/4."""
    from argparse import ArgumentTypeError

    with suppress(ValueError):
        number, shards = (int(side) for side in text.split("/"))
        if 0 <= number < shards:
            return number, shards
    raise ArgumentTypeError("give K/N, with K from 0 to N-1, as in 0/4")


def operations_of(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Operations | None:
    """Return the operations that are asked for; None: none."""
    if options.size is None and (options.how or options.margin):
        parser.error(f"argument --{'how' if options.how else 'margin'}: needs --size")
    asked = (options.grayscale, options.format, options.strip)
    if options.size is None and options.rotate is None and not any(asked):
        return None
    width, height = options.size or (0, 0)
    return Operations(
        width, height, options.how or "exact", options.margin or 0.0, options.grayscale, options.rotate or 0,
        (options.format or "").upper(), options.strip,
    )  # fmt: skip


def add_operations(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is done to an image, and how large it may be."""
    group = parser.add_argument_group("operations", "with any of them: these alone, and upright as EXIF says")
    group.add_argument("--size", metavar="WxH", type=size_of, help="scale, as in 1024x768; 1024x: keep the ratio")
    group.add_argument("--how", choices=("exact", "fit", "cover"), help="to that size (default), inside it, filling it")
    group.add_argument("--margin", metavar="SHARE", type=share_of, help="don't if each side is as near: 0.05 or 5%%")
    group.add_argument("--grayscale", action="store_true", help="make gray")
    group.add_argument("--rotate", type=int, choices=(0, 90, 180, 270), help="degrees counter-clockwise")
    group.add_argument("--format", choices=("jpeg", "png", "webp"), help="convert; a.tif becomes a.png")
    group.add_argument("--strip", action="store_true", help="keep no metadata but the colour profile")
    group = parser.add_argument_group("limits", f"what is larger fails; default: {PILLOW_PIXELS}, as in Pillow")
    for name, what in (("--max-pixels", "an input"), ("--max-result-pixels", "a result")):
        group.add_argument(name, metavar="N", type=pixels_of, default=PILLOW_PIXELS, help=f"width by height of {what}")


def parse() -> tuple[argparse.Namespace, Job, int]:
    """Return the options (OUTPUT is made), what is to be done, and the open report; raises SystemExit."""
    import argparse

    parser = argparse.ArgumentParser("process.py", description="Rotate the images under INPUT into OUTPUT.")
    parser.add_argument("input", metavar="INPUT", help="the folder to read")
    parser.add_argument("output", metavar="OUTPUT", help="the folder to fill, made when missing")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--workers", metavar="N", type=int, default=cores, help="default: one a core")
    parser.add_argument("--shard", metavar="K/N", type=shard_of, default=(0, 1), help="of N shards, only K (from 0)")
    add_operations(parser)
    parser.add_argument("--version", action="version", version="process.py 1.1.0")
    options = parser.parse_args()
    job = Job(operations_of(options, parser), Limits(options.max_pixels, options.max_result_pixels))
    if options.workers < 1:
        parser.error("argument --workers: must be at least 1")
    try:
        os.scandir(options.input).close()
        if (realpath(options.output) + os.sep).startswith(realpath(options.input).rstrip(os.sep) + os.sep):
            raise OSError(0, "OUTPUT must not be INPUT or lie inside it", options.output)
        os.makedirs(options.output, exist_ok=True)
        if not os.access(options.output, os.W_OK | os.X_OK):
            raise OSError(0, "OUTPUT cannot be written", options.output)
        log = os.open(os.getenv("FANRUN_REPORT") or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        parser.exit(2, f"process.py: error: {printable(str(error.filename))}: {error.strerror}\n")
    return options, job, log


def preload(job: Job, keys: Iterable[str]) -> None:
    """Import what inputs like these need, before children are forked: they may be out of files to open."""
    from importlib import import_module

    names = {"colour", "decode", "encode", "metadata", "scale", "transform"} if job.operations else {"rotate"}
    formats = {EXTENSIONS.get(splitext(key)[1].lower(), "") for key in keys} & {"BMP", "GIF", "PNG", "TIFF"}
    if formats:
        names |= {"decode", *map(str.lower, formats)}
    for name in names:
        import_module(f"imaging.{name}")


def main() -> int:
    """Run the program; returns its exit code."""
    for number in (each for each in signal.Signals if each.name in ("SIGHUP", "SIGINT", "SIGTERM")):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda number, _: stopped.append(number))
    options, job, report = parse()
    source, shard = options.input, options.shard
    files = list(islice(walk_shard(source, *shard), 2))
    if not files and not stopped:
        where = printable(source) if shard[1] == 1 else f"{printable(source)} in shard {shard[0]}/{shard[1]}"
        print(f"process.py: nothing to do: no file under {where}", file=sys.stderr)
        return 0
    import logging

    from PIL import Image

    Image.preinit()  # once, before children are forked
    pool = min(len(files), options.workers) > 1
    if pool:
        preload(job, files)
    logging.captureWarnings(True)
    logging.disable()  # a line on stderr is a failed file
    tasks = list_tasks(source, options.output, job, shard)
    serial = (process(task, job) for task in tasks)
    form = job.operations.format if job.operations else ""
    with closing(run_pool(tasks, job, options.workers) if pool else serial) as results:
        if not os.isatty(2):
            return record(results, form, report, print)
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # its thread would be there when children are forked
        total, columns = sum(1 for _ in walk_shard(source, *shard)), os.get_terminal_size(2).columns or 80  # some say 0
        return record(tqdm(results, total=total, unit="file", ncols=columns, nrows=9), form, report, tqdm.write)


if __name__ == "__main__":
    sys.exit(main())
