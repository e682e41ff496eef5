"""Rotate every image under INPUT by 90 degrees into OUTPUT: python process.py INPUT OUTPUT [--workers N]

Every regular file, at any depth, comes to the same relative path in the same format, byte for byte what
`Image.open(a).rotate(90, expand=True).save(b)` writes; or what --size, --how, --margin, --grayscale and --rotate
ask for. Links to files are read through, links to folders not entered. A result is there only when complete;
a file that fails is told on stderr and has no result. As a module: inspect, target_size and transform do one image.
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
    import argparse
    from collections.abc import Callable, Generator, Iterable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from PIL import Image, ImageFile

    # relative path, input file, final and temporary name of the result, what is to be done
    Task = tuple[str, str, str, str, "Operations | None"]
    # Relative path, None or why it failed, seconds, whether another try would fail as well.
    Result = tuple[str, str | None, float, bool]

MOST_PIXELS = 24_000_000  # what a service may be asked to decode
MOST_SIDE = 65_535  # there: scaling needs memory for as many weights as a side has pixels
QUALITY = 98  # of JPEGs: their grays differ by 48 dB even where all is noise
BEGINNINGS = {  # of files -> format and Pillow's plugin for it
    b"\xff\xd8\xff": ("JPEG", "Jpeg"), b"\x89PNG\r\n\x1a\n": ("PNG", "Png"), b"GIF8": ("GIF", "Gif"),
    b"BM": ("BMP", "Bmp"), b"RIFF": ("WEBP", "WebP"), b"II*\0": ("TIFF", "Tiff"), b"MM\0*": ("TIFF", "Tiff"),
    b"II+\0": ("TIFF", "Tiff"), b"MM\0+": ("TIFF", "Tiff"),
}  # fmt: skip
PLAIN = {  # modes that can be scaled, and those that become them
    "1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "RGB": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "PA": "RGBA",
    "RGBA": "RGBA", "RGBa": "RGBA", "CMYK": "CMYK",
}  # fmt: skip
TURNS = {0: None, 90: 2, 180: 3, 270: 4}  # degrees -> Image.Transpose
UPRIGHT = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's orientation -> the Image.Transpose that undoes it

stopped: list[int] = []  # the signals that told this program to stop


def rotate(image: Image.Image) -> Image.Image:
    """Turn an image by 90 degrees counter-clockwise: (width, height) becomes (height, width)."""
    return image.rotate(90, expand=True)


class Operations(NamedTuple):
    """What is done to an image, in this order: upright as EXIF says, gray, scaled, rotated."""

    width: int = 0  # pixels; 0 of both: not scaled; 0 of one: it follows from the other
    height: int = 0
    how: str = "exact"  # that very size; fit: the largest inside it; cover: fills it, the rest is cut off evenly
    margin: float = 0.0  # the share of each side by which an image may differ and is not scaled
    grayscale: bool = False
    rotate: int = 0  # degrees counter-clockwise: 0, 90, 180 or 270


class Header(NamedTuple):
    """What an image says of itself: pixels as they are shown; `turned`: its EXIF tells to turn or mirror it."""

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


def inspect(source: IO[bytes], most_pixels: int | None = None) -> Header:
    """Tell what an image is by its header alone; raises Refused, also when it has more than so many pixels."""
    with open_image(source, most_pixels) as image:
        turn, (width, height) = orientation(image), image.size
        if image.format == "TIFF":  # whose plugin may have swapped them already
            width, height = (image.tag_v2[tag] for tag in (256, 257))
        if turn > 4:
            width, height = height, width
        return Header(str(image.format), width, height, image.mode, turn > 1)


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
    """Do the operations to an image and write it in the format it came in; raises Refused.

    An image to which nothing is to be done is checked and copied as it is.
    """
    from PIL import Image

    with open_image(source, most_pixels) as image:
        mode = image.mode
        if wish.grayscale:
            image.draft("L", None)  # of a JPEG its luma alone is decoded, which is that of Rec. 601
        decode(image, source)
        turn = orientation(image) if image.format != "TIFF" else 1  # its plugin has turned it by now
        size = target_size(image.size if turn < 5 else image.size[::-1], wish)
        if size and most_pixels is not None and size[0] * size[1] > most_pixels:
            raise Refused("too large", f"a result of {size[0]} x {size[1]} pixels is too large")
        gray = wish.grayscale and mode not in ("1", "L", "LA")
        if not (size or gray or wish.rotate):
            source.seek(0)
            target.write(source.read())
            return
        result: Image.Image = to_plain(image, wish.grayscale) if size or gray else image
        if size:
            result = scale(result, size if turn < 5 else size[::-1], wish.how == "cover")
        for method in (UPRIGHT.get(turn), TURNS[wish.rotate]):
            if method is not None:
                result = result.transpose(Image.Transpose(method))
        write(result, target, str(image.format), kept(image, mode, result.mode, turn))


def open_image(source: IO[bytes], most_pixels: int | None) -> ImageFile.ImageFile:
    """Read an image's header, nothing else; raises Refused."""
    from importlib import import_module

    from PIL import Image

    source.seek(0)
    head = source.read(16)
    name, plugin = next((BEGINNINGS[magic] for magic in BEGINNINGS if head.startswith(magic)), ("", ""))
    if not name:
        raise unknown(head)
    import_module(f"PIL.{plugin}ImagePlugin")
    try:
        image = Image.open(source, formats=[name])
    except Image.DecompressionBombError:
        raise Refused("too large", "the image has too many pixels") from None
    except Exception as error:
        raise damaged(error) from None
    if most_pixels is not None and (image.width * image.height > most_pixels or max(image.size) > MOST_SIDE):
        raise Refused("too large", f"an image of {image.width} x {image.height} pixels is too large")
    if name == "BMP" and image.info.get("compression") in (1, 2):  # which Pillow decodes in Python, for minutes
        raise Refused("unsupported", "run-length encoded BMPs are not supported")
    if image.format == "MPO":  # a JPEG with more pictures behind the first
        image.format = "JPEG"
    return image


def unknown(head: bytes) -> Refused:
    """Say what is wrong with a file that begins so."""
    from PIL import Image

    if not head:
        return Refused("empty", "the image is empty")
    Image.init()
    with suppress(Exception):  # the plugins look at it, no more
        if any(accept and accept(head) is True for _, accept in Image.OPEN.values()):
            return Refused("unsupported", "images of this format are not supported")
    return Refused("not an image", "this is not an image")


def damaged(error: Exception) -> Exception:
    """Say that an image can't be read, unless it was the disk or the memory that failed."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
        return error
    return Refused("truncated", "the image is damaged, cut off, or of a kind that cannot be read")


def decode(image: ImageFile.ImageFile, source: IO[bytes]) -> None:
    """Read an image's pixels, all of them; raises Refused."""
    end = True
    try:
        image.load()
        if image.format == "PNG" and not getattr(image, "is_animated", False):  # Pillow has read as far as that now
            source.seek(-4, 1)
            end = source.read(8) == b"IEND\xaeB`\x82"
        elif image.format == "GIF":
            source.seek(-min(64, source.seek(0, 2)), 2)
            end = source.read().rstrip(b"\0\r\n").endswith(b";")
    except Exception as error:
        raise damaged(error) from None
    if not end:
        raise Refused("truncated", "the image is cut off: its end is missing")


def orientation(image: Image.Image) -> int:
    """Tell how EXIF wants an image to be shown, 1 to 8, as far as it was read: nothing is decoded for it."""
    from PIL import Image

    with suppress(Exception):  # EXIF that can't be read says nothing
        # Not the PNG plugin's own: it decodes all pixels to look behind them.
        found = Image.Image.getexif(image).get(0x0112)
        return found if found in UPRIGHT else 1
    return 1


def to_plain(image: ImageFile.ImageFile, gray: bool) -> Image.Image:
    """Bring an image to 8 bits a channel and no palette (L, LA, RGB, RGBA, CMYK), or to L or LA; raises Refused."""
    result: Image.Image = image
    if image.mode.startswith("I;16"):
        result = image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
        if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(262) == 0:
            result = result.point(lambda value: 255 - value)  # white is 0, which Pillow heeds at 8 bits alone
    elif "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        result = (image.convert("L") if image.mode == "1" else image).convert("LA" if image.mode in "1L" else "RGBA")
    if result.mode not in PLAIN:
        raise Refused("unsupported", f"images with pixels of type {image.mode} can only be rotated")
    mode = PLAIN[result.mode]
    if gray:
        mode = "LA" if mode in ("LA", "RGBA") else "L"
    if result.mode not in (mode, PLAIN[result.mode]):
        result = result.convert(PLAIN[result.mode])
    return result if result.mode == mode else result.convert(mode)


def scale(image: Image.Image, size: tuple[int, int], cover: bool) -> Image.Image:
    """Scale an image (L, LA, RGB, RGBA, CMYK) by Lanczos of 3 lobes, colours weighted by alpha."""
    import PIL
    from PIL import Image

    width, height = map(float, image.size)
    if cover:
        width, height = min(width, height * size[0] / size[1]), min(height, width * size[1] / size[0])
    left, top = (image.width - width) / 2, (image.height - height) / 2
    if image.mode != "LA" and PIL.__version__.startswith(("12.", "13.")):  # whose memory it knows
        with suppress(ImportError):
            from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer

            way, result = ResizeAlg.convolution(FilterType.lanczos3), Image.new(image.mode, size)
            Resizer().resize_pil(image, result, ResizeOptions(way, crop_box=CropBox(left, top, width, height)))
            return result
    return image.resize(size, Image.Resampling.LANCZOS, (left, top, left + width, top + height))


def kept(image: ImageFile.ImageFile, before: str, after: str, turn: int) -> dict[str, Any]:
    """Choose what is written beside the pixels, whose mode may have changed: options of Image.save."""
    from PIL import Image

    options: dict[str, Any] = {"icc_profile": None}
    if (before[0] in "1IL") == (after[0] in "1IL"):  # a profile of colours is none of grays
        options["icc_profile"] = image.info.get("icc_profile")
    if before == after and "transparency" in image.info:
        options["transparency"] = image.info["transparency"]
    if image.format == "TIFF":
        found = image.info.get("compression")
        fits = after == "1" or found in ("raw", "tiff_lzw", "packbits")
        options["compression"] = found if fits else "tiff_adobe_deflate"
    with suppress(Exception):  # nonsense is dropped
        if all(0 < value < MOST_SIDE for value in image.info["dpi"]):
            options["dpi"] = image.info["dpi"]
    with suppress(Exception):
        exif = image.info["exif"]
        if turn > 1:
            tags = Image.Exif()
            tags.load(exif)
            tags.pop(0x0112, None)
            exif = tags.tobytes()
        if image.format != "TIFF" and len(exif) < MOST_SIDE:
            options["exif"] = exif
    return options


def write(image: Image.Image, target: IO[bytes], name: str, options: dict[str, Any]) -> None:
    """Write an image, without loss where the format can; raises Refused."""
    if name == "JPEG":
        options.update(quality=QUALITY, subsampling=0)
    elif name == "WEBP":
        options.update(lossless=True, quality=0, method=0)  # quickly; its other way halves the colours' resolution
    elif name == "BMP" and image.mode == "LA":
        image = image.convert("RGBA")
    elif name == "GIF" and image.mode not in ("1", "L", "P"):
        image, options["transparency"] = to_palette(image)
    image.info = {}  # or the plugins would take from it what was left out
    try:
        image.save(target, name, **{key: value for key, value in options.items() if value is not None})
    except (OSError, ValueError, OverflowError) as error:  # GIF has no side of more than 65,535
        if isinstance(error, OSError) and error.errno:
            raise
        raise Refused("unsupported", f"the result cannot be written as {name}") from None


def to_palette(image: Image.Image) -> tuple[Image.Image, int | None]:
    """Bring an image (LA, RGB, RGBA) to a GIF's 256 colours; returns also the one that is transparent, if any.

    All shades of gray are kept; what is transparent to the half becomes so wholly.
    """
    hidden = image.getchannel("A").point(lambda alpha: 255 * (alpha < 128)) if "A" in image.mode else None
    if hidden is None or not hidden.getbbox():
        return image.convert("L") if image.mode == "LA" else image.convert("RGB").quantize(256), None
    if image.mode == "LA":
        result, index = image.getchannel("L").point(lambda shade: max(shade, 1)), 0
    else:
        result, index = image.convert("RGB").quantize(255), 255
    result.paste(index, mask=hidden)
    return result, index


def process(key: str, source: str, target: str, partial: str, wish: Operations | None = None) -> Result:
    """Bring one input to its place under OUTPUT, whole or not at all; no Exception leaves here."""
    started, error, permanent = time.perf_counter(), None, False
    try:
        if wish:
            with open(source, "rb") as file:
                place(target, partial, lambda result: transform(file, result, wish))
        else:
            turn(source, target, partial)
        os.replace(partial, target)
    except Exception as problem:
        discard(partial)
        discard(target)
        error, permanent = reason(problem, source), is_refused(problem)
    return key, error, time.perf_counter() - started, permanent


def turn(source: str, target: str, partial: str) -> None:
    """Do what is done when no operation is asked for."""
    from PIL import Image

    # The usual plugins or all, not those of the names met so far: their order decides doubtful files.
    Image.preinit()
    if splitext(source)[1].lower() not in ("", *Image.EXTENSION):
        Image.init()
    with Image.open(source) as image:
        result = rotate(image)
        if str(image.format).upper() not in Image.SAVE:
            raise OSError(f"Pillow reads {image.format} but cannot write it")
        place(target, partial, lambda file: result.save(file, format=image.format))


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
    return isinstance(error, Refused) or type(error).__name__ == "UnidentifiedImageError"


def reason(error: Exception, source: str) -> str:
    """Say in one short line why a file failed."""
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if type(error).__name__ == "UnidentifiedImageError":
        text = "not an image (PIL: cannot identify image file)"
    elif isinstance(error, Refused):
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


def list_tasks(source: str, output: str, wish: Operations | None, shard: tuple[int, int] = (0, 1)) -> Iterator[Task]:
    """Yield a task for each file under `source` that is in the shard."""
    for key in walk_shard(source, *shard):
        partial = join(output, dirname(key), f".{os.urandom(8).hex()}.tmp")
        yield key, join(source, key), join(output, key), partial, wish


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
    return task[0], f"the process that worked on it died ({how})", 0.0, False


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
    for key, error, seconds, permanent in results:
        entry = {"path": key, "ok": error is None, "seconds": round(seconds, 6), "error": error}
        line = json.dumps({**entry, "permanent": True} if permanent else entry)
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
        if min(width, height) >= 0 and 0 < max(width, height) <= MOST_SIDE:
            return width, height
    raise ArgumentTypeError("give WIDTHxHEIGHT in pixels, as in 1024x768")


def share_of(text: str) -> float:
    """Read 0.05 or 5%."""
    from argparse import ArgumentTypeError

    with suppress(ValueError):
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        if 0 <= share < 1:
            return share
    raise ArgumentTypeError("give a share below 1, as in 0.05 or 5%")


def shard_of(text: str) -> tuple[int, int]:
    """Read 0/4."""
    from argparse import ArgumentTypeError

    with suppress(ValueError):
        number, shards = (int(side) for side in text.split("/"))
        if 0 <= number < shards:
            return number, shards
    raise ArgumentTypeError("give K/N, with K from 0 to N-1, as in 0/4")


def wish_of(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Operations | None:
    """Tell which operations are asked for; None: none."""
    if options.size is None and (options.how or options.margin):
        parser.error(f"argument --{'how' if options.how else 'margin'}: needs --size")
    if options.size is None and not options.grayscale and options.rotate is None:
        return None
    width, height = options.size or (0, 0)
    how, margin = options.how or "exact", options.margin or 0.0
    return Operations(width, height, how, margin, options.grayscale, options.rotate or 0)


def parse() -> tuple[str, str, int, int, Operations | None, tuple[int, int]]:
    """Return INPUT, OUTPUT (which is made), workers, the open report, operations and the shard; raises SystemExit."""
    import argparse

    parser = argparse.ArgumentParser("process.py", description="Rotate the images under INPUT into OUTPUT.")
    parser.add_argument("input", metavar="INPUT", help="the folder to read")
    parser.add_argument("output", metavar="OUTPUT", help="the folder to fill, made when missing")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--workers", metavar="N", type=int, default=cores, help="default: one a core")
    parser.add_argument("--shard", metavar="K/N", type=shard_of, default=(0, 1), help="of N shards, only K (from 0)")
    group = parser.add_argument_group("operations", "with any of them: these alone, and upright as EXIF says")
    group.add_argument("--size", metavar="WxH", type=size_of, help="scale, as in 1024x768; 1024x: keep the ratio")
    group.add_argument("--how", choices=("exact", "fit", "cover"), help="to that size (default), inside it, filling it")
    group.add_argument("--margin", metavar="SHARE", type=share_of, help="don't if each side is as near: 0.05 or 5%%")
    group.add_argument("--grayscale", action="store_true", help="make gray")
    group.add_argument("--rotate", type=int, choices=(0, 90, 180, 270), help="degrees counter-clockwise")
    parser.add_argument("--version", action="version", version="process.py 1.1.0")
    options = parser.parse_args()
    wish = wish_of(options, parser)
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
    return options.input, options.output, options.workers, log, wish, options.shard


def main() -> int:
    """Run the program; returns its exit code."""
    for number in (each for each in signal.Signals if each.name in ("SIGHUP", "SIGINT", "SIGTERM")):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda number, _: stopped.append(number))
    source, output, workers, report, wish, shard = parse()
    if not (files := sum(1 for _ in islice(walk_shard(source, *shard), 2))) and not stopped:
        where = printable(source) if shard[1] == 1 else f"{printable(source)} in shard {shard[0]}/{shard[1]}"
        print(f"process.py: nothing to do: no file under {where}", file=sys.stderr)
        return 0
    import logging

    from PIL import Image

    Image.preinit()  # once, before children are forked
    logging.captureWarnings(True)
    logging.disable()  # a line on stderr is a failed file
    tasks = list_tasks(source, output, wish, shard)
    serial = (process(*task) for task in tasks)
    with closing(run_pool(tasks, workers) if min(files, workers) > 1 else serial) as results:
        if not os.isatty(2):
            return record(results, report, print)
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # its thread would be there when children are forked
        total, columns = sum(1 for _ in walk_shard(source, *shard)), os.get_terminal_size(2).columns or 80  # some say 0
        return record(tqdm(results, total=total, unit="file", ncols=columns, nrows=9), report, tqdm.write)


if __name__ == "__main__":
    sys.exit(main())
