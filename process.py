r"""Rotate every image under INPUT by 90 degrees into OUTPUT: python process.py INPUT OUTPUT [--workers N]

Every regular file, at any depth, comes to the same relative path in the same format, byte for byte what
`Image.open(a).rotate(90, expand=True).save(b)` writes, or the right pixels where those would be wrong; or what
--size, --how, --margin, --grayscale, --rotate, --format and --strip ask for. The operations are in imaging/.
Links to files are read through, links to folders not entered. A result is there only when complete; a file that
fails is told on stderr and has no result. Exit codes: 0 all done, 1 some files failed, 2 usage; 129, 130, 143
stopped by SIGHUP, SIGINT, SIGTERM.
Where FANRUN_REPORT names a file, a JSON line for each input is appended to it as results come: {"path": name,
"ok": bool, "seconds": float, "error": null or text}, and with --format "results": [name]. The name is the relative
path in ASCII; a byte not UTF-8 is a lone surrogate (0xff is "\udcff"), so that os.fsencode of the loaded name gives
the path's own bytes.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing, suppress
from itertools import islice
from os.path import realpath
from typing import TYPE_CHECKING, Any

from imaging.files import Job, Result, Task, printable, process_file
from imaging.inputs import Inputs, preload, result_name
from imaging.rules import MAX_SIDE, PILLOW_PIXELS, Limits, Operations

if TYPE_CHECKING:  # other modules are imported where needed: batches are many and small, Ctrl-C may be early
    import argparse
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from decimal import Decimal

stopped: list[int] = []  # the signals that told this program to stop


def record(results: Iterable[Result], new_format: str, report: int, tell: Callable[..., None]) -> int:
    """Tell what became of each input, on stderr and in the report; returns the exit code."""
    import json

    done = failed = 0
    for result in results:
        if result.error is None:
            done += 1
        else:
            failed += 1
        with suppress(OSError):  # nobody may be listening, the disk may be full: it is the results that count
            if result.error is not None:
                tell(f"process.py: {printable(result.key)}: {result.error}", file=sys.stderr)
            os.write(report, f"{json.dumps(report_entry(result, new_format))}\n".encode())
    if failed:
        tell(f"process.py: {done} done, {failed} failed", file=sys.stderr)
    return 128 + stopped[0] if stopped else min(1, failed)


def report_entry(result: Result, new_format: str) -> dict[str, Any]:
    """Return what the report says of an input."""
    seconds = round(result.seconds, 6)
    entry: dict[str, Any] = {"path": result.key, "ok": result.error is None, "seconds": seconds, "error": result.error}
    if result.permanent:
        entry["permanent"] = True
    if new_format and result.error is None:
        entry["results"] = [result_name(result.key, new_format)]
    return entry


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
        number, shards = map(int, text.split("/"))
        if 0 <= number < shards:
            return number, shards
    raise ArgumentTypeError("give K/N, with K from 0 to N-1, as in 0/4")


def operations_of(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Operations | None:
    """Return the operations that the options name; None if they name none."""
    if options.size is None and (options.how or options.margin):
        parser.error(f"argument --{'how' if options.how else 'margin'}: needs --size")
    if options.size is None and options.rotate is None and not (options.grayscale or options.format or options.strip):
        return None
    width, height = options.size or (0, 0)
    return Operations(
        width,
        height,
        how=options.how or "exact",
        margin=options.margin or 0.0,
        grayscale=options.grayscale,
        rotate=options.rotate or 0,
        format=(options.format or "").upper(),
        strip=options.strip,
    )


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


def parse() -> tuple[argparse.Namespace, Job]:
    """Return the options and what is to be done; raises SystemExit."""
    import argparse

    parser = argparse.ArgumentParser("process.py", description="Rotate the images under INPUT into OUTPUT.")
    parser.add_argument("input", metavar="INPUT", help="the folder to read")
    parser.add_argument("output", metavar="OUTPUT", help="the folder to fill, made when missing")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--workers", metavar="N", type=int, default=cores, help="default: one a core")
    parser.add_argument("--shard", metavar="K/N", type=shard_of, default=(0, 1), help="of N shards, only K (from 0)")
    add_operations(parser)
    parser.add_argument("--version", action="version", version="process.py 0.1.0")
    options = parser.parse_args()
    job = Job(operations_of(options, parser), Limits(options.max_pixels, options.max_result_pixels))
    if options.workers < 1:
        parser.error("argument --workers: must be at least 1")
    return options, job


def open_folders(source: str, output: str) -> int:
    """Check INPUT, make OUTPUT, and return the open report; raises SystemExit."""
    try:
        os.scandir(source).close()
        if (realpath(output) + os.sep).startswith(realpath(source).rstrip(os.sep) + os.sep):
            raise OSError(0, "OUTPUT must not be INPUT or lie inside it", output)
        os.makedirs(output, exist_ok=True)
        if not os.access(output, os.W_OK | os.X_OK):
            raise OSError(0, "OUTPUT cannot be written", output)
        return os.open(os.getenv("FANRUN_REPORT") or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        sys.stderr.write(f"process.py: error: {printable(str(error.filename))}: {error.strerror}\n")
        raise SystemExit(2) from None


def catch_signals() -> None:
    """Have the signals that end a program noted in `stopped`."""
    for number in (each for each in signal.Signals if each.name in ("SIGHUP", "SIGINT", "SIGTERM")):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda number, _: stopped.append(number))


def process_tasks(tasks: Iterator[Task], job: Job, first: Sequence[str], workers: int) -> Generator[Result, None, None]:
    """Yield results as they come; `first` holds two inputs, or the only one, which needs no child process."""
    import logging

    from PIL import Image

    Image.preinit()  # once, before children are forked
    logging.captureWarnings(True)
    logging.disable()  # a line on stderr is a failed file
    if min(len(first), workers) > 1:
        from imaging.pool import Pool

        preload(job, first)
        return Pool(job, workers, stopped).run(tasks)
    return (process_file(task, job) for task in tasks)


def show_progress(results: Iterable[Result], total: int) -> tuple[Iterable[Result], Callable[..., None]]:
    """Draw a bar on the terminal as results come; returns them, and the function that prints lines beside the bar."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # its thread would be there when children are forked
    columns = os.get_terminal_size(2).columns or 80  # some terminals say 0
    return tqdm(results, total=total, unit="file", ncols=columns, nrows=9), tqdm.write


def main() -> int:
    """Run the program; returns its exit code."""
    catch_signals()
    options, job = parse()
    report = open_folders(options.input, options.output)
    inputs = Inputs(options.input, options.shard, stopped)
    first = list(islice(inputs.list_keys(), 2))
    if not first and not stopped:
        number, shards = options.shard
        where = printable(options.input) + ("" if shards == 1 else f" in shard {number}/{shards}")
        print(f"process.py: nothing to do: no file under {where}", file=sys.stderr)
        return 0
    tasks = inputs.list_tasks(options.output, job)
    with closing(process_tasks(tasks, job, first, options.workers)) as results:
        if not os.isatty(2):
            return record(results, job.format, report, print)
        bar, tell = show_progress(results, sum(1 for _ in inputs.list_keys()))
        return record(bar, job.format, report, tell)


if __name__ == "__main__":
    sys.exit(main())
