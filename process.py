"""Rotate every image under INPUT by 90 degrees into OUTPUT: python process.py INPUT OUTPUT [--workers N]

Every regular file, at any depth, comes to the same relative path in the same format, byte for byte what
`Image.open(a).rotate(90, expand=True).save(b)` writes. Links to files are read through, links to folders not
entered. A result is there only when complete; a file that fails is told on stderr and has no result.
Exit codes: 0 all done, 1 some files failed, 2 usage; 129, 130, 143 stopped by SIGHUP, SIGINT, SIGTERM.
Where FANRUN_REPORT names a file, a JSON line for each input is appended to it as results come: {"path": name,
"ok": bool, "seconds": float, "error": null or text}. The name is the relative path in ASCII; a byte not UTF-8
is a lone surrogate (0xff is "\\udcff"), so that os.fsencode of the loaded name gives the path's own bytes.
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

if TYPE_CHECKING:  # other modules are imported where needed: batches are many and small, Ctrl-C may be early
    from collections.abc import Callable, Generator, Iterable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from PIL import Image, ImageFile

    Task = tuple[str, str, str, str]  # relative path, input file, final and temporary name of the result
    Result = tuple[str, str | None, float]  # relative path, None or why it failed, seconds

MOST_PIXELS = 24_000_000  # what a service may be asked to decode
UPRIGHT = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's orientation -> the Image.Transpose that undoes it
BEGINNINGS = {  # of files -> format and Pillow's plugin for it
    b"\xff\xd8\xff": ("JPEG", "Jpeg"), b"\x89PNG\r\n\x1a\n": ("PNG", "Png"), b"GIF8": ("GIF", "Gif"),
    b"BM": ("BMP", "Bmp"), b"RIFF": ("WEBP", "WebP"), b"II*\0": ("TIFF", "Tiff"), b"MM\0*": ("TIFF", "Tiff"),
    b"II+\0": ("TIFF", "Tiff"), b"MM\0+": ("TIFF", "Tiff"),
}  # fmt: skip

stopped: list[int] = []  # the signals that told this program to stop


def rotate(image: Image.Image) -> Image.Image:
    """Turn an image by 90 degrees counter-clockwise: (width, height) becomes (height, width)."""
    return image.rotate(90, expand=True)


class Operations(NamedTuple):
    """What is to be done to an image, in this order: upright as EXIF says, scaled, made gray, rotated."""

    width: int = 0
    """Pixels; 0 of both: not scaled; 0 of one: it follows from the other."""
    height: int = 0
    how: str = "exact"
    """exact: to this very size; fit: to the largest inside it; cover: to fill it, what hangs over is cut off evenly."""
    margin: float = 0.0
    """The share of each side by which an image may differ and is not scaled."""
    grayscale: bool = False
    rotate: int = 0
    """Degrees counter-clockwise: 0, 90, 180 or 270."""


class Header(NamedTuple):
    """What an image says of itself: pixels as they are shown, `turned`: its EXIF tells to turn or mirror it."""

    format: str
    width: int
    height: int
    mode: str
    turned: bool


class Refused(ValueError):
    """An image that can't be processed; `kind`: empty, not an image, truncated, unsupported or too large."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def open_image(source: IO[bytes], most_pixels: int | None = None) -> ImageFile.ImageFile:
    """Read an image's header, nothing else; raises Refused."""
    from importlib import import_module

    from PIL import Image

    source.seek(0)
    head = source.read(16)
    if not head:
        raise Refused("empty", "the image is empty")
    name, plugin = next((BEGINNINGS[magic] for magic in BEGINNINGS if head.startswith(magic)), ("", ""))
    if not name:
        Image.init()
        known = any(accept and accept(head) is True for _, accept in Image.OPEN.values())
        raise Refused(*(("unsupported", "images of this format are not supported") if known else
                        ("not an image", "this is not an image")))  # fmt: skip
    import_module(f"PIL.{plugin}ImagePlugin")
    try:
        image = Image.open(source, formats=[name])
    except Image.DecompressionBombError:
        raise Refused("too large", "the image has too many pixels") from None
    except Exception:
        raise Refused("truncated", "the image is damaged or cut off") from None
    if most_pixels is not None and image.width * image.height > most_pixels:
        raise Refused("too large", f"the image has {image.width} x {image.height} pixels, at most {most_pixels} may be")
    return image


def orientation(image: Image.Image) -> int:
    """Tell how EXIF wants an image to be shown, 1 to 8: as far as its header says, no pixel is decoded."""
    from PIL import Image

    with suppress(Exception):  # EXIF that can't be read says nothing
        # Not the PNG plugin's own: it decodes all pixels to look behind them.
        found = Image.Image.getexif(image).get(0x0112, 1)
        return found if found in UPRIGHT else 1
    return 1


def inspect(source: IO[bytes], most_pixels: int | None = None) -> Header:
    """Tell what an image is by its header alone; raises Refused, also when it has more than so many pixels."""
    with open_image(source, most_pixels) as image:
        turn, (width, height) = orientation(image), image.size
        if turn > 4 and image.format != "TIFF":  # whose plugin has swapped them already
            width, height = height, width
        return Header("JPEG" if image.format == "MPO" else str(image.format), width, height, image.mode, turn > 1)


def target_size(size: tuple[int, int], wish: Operations) -> tuple[int, int] | None:
    """Tell to which size (width, height) one of `size` is scaled; None: it is not scaled."""
    if not (wish.width or wish.height):
        return None
    width = wish.width or max(1, round(size[0] * wish.height / size[1]))
    height = wish.height or max(1, round(size[1] * wish.width / size[0]))
    if wish.how == "fit":
        share = min(width / size[0], height / size[1])
        width, height = max(1, round(size[0] * share)), max(1, round(size[1] * share))
    if abs(size[0] - width) <= wish.margin * width and abs(size[1] - height) <= wish.margin * height:
        return None
    return width, height


def transform(source: IO[bytes], target: IO[bytes], wish: Operations, most_pixels: int | None = None) -> None:
    """Do the operations to an image and write it in the format it came in; raises Refused."""
    from PIL import Image, ImageOps

    with open_image(source, most_pixels) as opened:
        name = "JPEG" if opened.format == "MPO" else str(opened.format)
        try:
            image = ImageOps.exif_transpose(opened)
        except Exception:
            raise Refused("truncated", "the image is damaged or cut off") from None
    size = target_size(image.size, wish)
    if size and most_pixels is not None and size[0] * size[1] > most_pixels:
        raise Refused("too large", f"a result of {size[0]} x {size[1]} pixels is too large")
    if size and image.mode in ("1", "P"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if size and wish.how == "cover":
        image = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    elif size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    if wish.grayscale and image.mode != "L":
        image = image.convert("LA" if "A" in image.mode else "L")
    if wish.rotate:
        image = image.transpose({90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180,
                                 270: Image.Transpose.ROTATE_270}[wish.rotate])  # fmt: skip
    image.save(target, name, **({"quality": 95} if name == "JPEG" else {}))


def process(key: str, source: str, target: str, partial: str) -> Result:
    """Bring one input to its place under OUTPUT, whole or not at all; no Exception leaves here."""
    from PIL import Image

    started, error = time.perf_counter(), None
    try:
        # The usual plugins or all, not those of the names met so far: their order decides doubtful files.
        Image.preinit()
        if splitext(source)[1].lower() not in ("", *Image.EXTENSION):
            Image.init()
        with Image.open(source) as image:
            result = rotate(image)
            if str(image.format).upper() not in Image.SAVE:
                raise OSError(f"Pillow reads {image.format} but cannot write it")
            os.makedirs(dirname(target), exist_ok=True)
            shown = target.encode("utf-8", "replace").decode()  # JPEG 2000, IM and SGI look at the name
            with open(shown, "xb+", opener=lambda _, flags: os.open(partial, flags, 0o666)) as file:
                result.save(file, format=image.format)
        os.replace(partial, target)
    except Exception as problem:
        discard(partial)
        discard(target)
        error = reason(problem, source)
    return key, error, time.perf_counter() - started


def discard(path: str) -> None:
    """Remove a file if it is there."""
    with suppress(OSError):
        os.unlink(path)


def reason(error: Exception, source: str) -> str:
    """Say in one short line why a file failed."""
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if type(error).__name__ == "UnidentifiedImageError":
        text = "not an image (PIL: cannot identify image file)"
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


def list_tasks(source: str, output: str) -> Iterator[Task]:
    """Yield a task for each file under `source`."""
    for key in walk(source):
        partial = join(output, dirname(key), f".{os.urandom(8).hex()}.tmp")
        yield key, join(source, key), join(output, key), partial


def serve(pipe: Connection, parents: Connection) -> None:
    """Be a child: answer tasks with results until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the children too, but the parent decides
    parents.close()  # a pipe ends when the last copy of its other end is closed
    with suppress(EOFError, OSError):
        while True:
            pipe.send(process(*pipe.recv()))


def start() -> tuple[BaseProcess, Connection]:
    """Start a child; returns it and our end of its pipe, raises OSError where a limit forbids."""
    from multiprocessing import get_context

    context = get_context("fork") if sys.platform == "linux" else get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=serve, args=(theirs, ours), daemon=True)
    child.start()
    theirs.close()
    return child, ours


def end(child: BaseProcess, task: Task) -> Result:
    """End a child, dead or alive; returns the result of the task it had, a failure."""
    child.kill()
    child.join()
    discard(task[3])
    how = f"signal {-code}" if (code := child.exitcode or 0) < 0 else f"exit code {code}"
    return task[0], f"the process that worked on it died ({how})", 0.0


def run_pool(tasks: Iterator[Task], limit: int) -> Generator[Result, None, None]:
    """Process tasks in up to `limit` children, one at a time; a task that kills its child fails alone."""
    from multiprocessing.connection import wait

    idle: list[tuple[BaseProcess, Connection]] = []
    busy: dict[Any, tuple[BaseProcess, Connection, Task]] = {}
    try:
        while not stopped:
            for task in islice(tasks, limit - len(busy)):
                try:
                    child, pipe = idle.pop() if idle else start()
                    pipe.send(task)
                except OSError:  # a limit on processes, or an idle child was killed: do it here
                    yield process(*task)
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
                    discard(task[2])
                del busy[ready]
                yield result
    finally:
        for child, _ in idle:
            child.kill()
        for child, _, task in busy.values():
            end(child, task)


def record(results: Iterable[Result], report: int, tell: Callable[..., None]) -> int:
    """Tell what became of each input, on stderr and in the report; returns the exit code."""
    import json

    tally = [0, 0]
    for key, error, seconds in results:
        line = json.dumps({"path": key, "ok": error is None, "seconds": round(seconds, 6), "error": error})
        tally[error is not None] += 1
        with suppress(OSError):  # nobody may be listening, the disk may be full: it is the results that count
            if error is not None:
                tell(f"process.py: {printable(key)}: {error}", file=sys.stderr)
            os.write(report, f"{line}\n".encode())
    if tally[1]:
        tell(f"process.py: {tally[0]} done, {tally[1]} failed", file=sys.stderr)
    return 128 + stopped[0] if stopped else min(1, tally[1])


def parse() -> tuple[str, str, int, int]:
    """Return INPUT, OUTPUT (which is made), the workers and the open report; raises SystemExit."""
    import argparse

    parser = argparse.ArgumentParser("process.py", description="Rotate the images under INPUT into OUTPUT.")
    parser.add_argument("input", metavar="INPUT", help="the folder to read")
    parser.add_argument("output", metavar="OUTPUT", help="the folder to fill, made when missing")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--workers", metavar="N", type=int, default=cores, help="default: one a core")
    parser.add_argument("--version", action="version", version="process.py 1.0.0")
    options = parser.parse_args()
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
    return options.input, options.output, options.workers, log


def main() -> int:
    """Run the program; returns its exit code."""
    for number in (each for each in signal.Signals if each.name in ("SIGHUP", "SIGINT", "SIGTERM")):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda number, _: stopped.append(number))
    source, output, workers, report = parse()
    if not (files := sum(1 for _ in islice(walk(source), 2))) and not stopped:
        print(f"process.py: nothing to do: no file under {printable(source)}", file=sys.stderr)
        return 0
    import logging

    from PIL import Image

    Image.preinit()  # once, before children are forked
    logging.captureWarnings(True)
    logging.disable()  # a line on stderr is a failed file
    tasks = list_tasks(source, output)
    serial = (process(*task) for task in tasks)
    with closing(run_pool(tasks, workers) if min(files, workers) > 1 else serial) as results:
        if not os.isatty(2):
            return record(results, report, print)
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # its thread would be there when children are forked
        total, columns = sum(1 for _ in walk(source)), os.get_terminal_size(2).columns or 80  # some say 0
        return record(tqdm(results, total=total, unit="file", ncols=columns, nrows=9), report, tqdm.write)


if __name__ == "__main__":
    sys.exit(main())
