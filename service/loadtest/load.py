"""Loads the API with the images of a folder, more and more, and tells how it bears that.

A rate is an open loop: requests begin when they are due. A concurrency is a closed one: a request begins when another
has ended. Exit codes: 0 all were answered, 1 some were not, 2 usage, or nothing answers there; 130 and 143 stopped by
SIGINT and SIGTERM: what was measured by then is written all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

if not __package__:  # as python service/loadtest/load.py
    sys.path[0] = str(Path(__file__).resolve().parents[2])

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core would write lines of its own; `explain` says what is wrong

try:
    import grpc
except ModuleNotFoundError:
    sys.exit("load: gRPC is not installed here: run `script/setup --dev`, then .venv/bin/python")

from service.common.settings import path
from service.loadtest import stats
from service.loadtest.access import Access, AccessError, add_flags, explain, read_access
from service.loadtest.loadgen import Pressure
from service.loadtest.plot import FORMATS, can_plot, draw
from service.loadtest.ramp import Ramp, parse_ramp
from service.protos import imagescaler_pb2

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MOST_BYTES = 1024**3
CONNECT = 5.0
"""Seconds that the target has to answer at first."""
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", 32 * 1024 * 1024),
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    ("grpc.use_local_subchannel_pool", 1),  # else all channels to one address would share a connection
)


class LoadError(Exception):
    """Why nothing can begin, in a line that ends with the next step."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line, its ramp as a Ramp; raises SystemExit with 2."""
    parser = argparse.ArgumentParser("python -m service.loadtest.load", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--images", metavar="DIR", type=path, required=True, help="the images to send in turn, at any depth")
    add("--target", metavar="HOST:PORT", required=True, help="the API")
    add("--seconds", metavar="N", type=float, default=60.0, help="how long requests begin (60)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--rate", metavar="A:B", help="requests a second, from A to B")
    kind.add_argument("--concurrency", metavar="A:B", help="requests at once, from A to B (1:8)")
    add("--timeout", metavar="SECONDS", type=float, default=10.0, help="what a request may take (10)")
    add("--connections", metavar="N", type=int, default=4, help="a Service's replicas share connections, not calls (4)")
    add("--limit", metavar="N", type=int, default=1000, help="most requests on the way; what is due then waits (1000)")
    add_flags(parser)
    add("--json", metavar="FILE", type=path, help="write the measurements, second by second")
    add("--plot", metavar="FILE", type=path, help=f"draw them ({', '.join(FORMATS)}); needs matplotlib")
    options = parser.parse_args(arguments)
    if not (0 < options.seconds < float("inf") and 0 < options.timeout < float("inf")):
        parser.error("--seconds and --timeout must be above 0")
    if min(options.connections, options.limit) < 1:
        parser.error("--connections and --limit must be at least 1")
    options.mode = "rate" if options.rate else "concurrency"
    try:
        options.ramp = parse_ramp(options.rate or options.concurrency or "1:8", options.seconds)
    except ValueError:
        parser.error(f"--{options.mode} must be A:B or A, numbers of at least 0 and not both 0, as in 5:50")
    return options


def check_files(options: argparse.Namespace) -> None:
    """Raise LoadError if a result could not be written in the end."""
    for file in filter(None, (options.json, options.plot)):
        if file.is_dir() or not os.access(file.parent, os.W_OK):
            raise LoadError(f"{file} can't be written: name a file in a folder that is there")
    if options.plot and options.plot.suffix not in FORMATS:
        raise LoadError(f"{options.plot} is no picture's name: end it with {', '.join(FORMATS)}")
    if options.plot and not can_plot():
        raise LoadError("--plot needs matplotlib: pip install matplotlib, or do without --plot")


def read_requests(folder: Path) -> list[bytes]:
    """Return a request for each image under `folder`, in the order of their names; raises LoadError."""
    requests: list[bytes] = []
    size = 0
    try:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                image = imagescaler_pb2.Image(content=path.read_bytes())
                requests.append(imagescaler_pb2.ScaleImageRequest(image=image).SerializeToString())
                size += len(requests[-1])
            if size > MOST_BYTES:
                raise LoadError(f"{folder} has more than 1 GiB of images: name a smaller folder")
    except OSError as error:
        raise LoadError(f"{error.filename} can't be read ({error.strerror}): name another folder") from error
    if not requests:
        raise LoadError(f"{folder} has no images ({', '.join(SUFFIXES)}): name a folder that has")
    return requests


def open_channels(options: argparse.Namespace, access: Access) -> list[grpc.aio.Channel]:
    """Return as many channels as were asked for."""
    target, more = options.target, [*OPTIONS, *access.options(options.target)]
    if access.credentials:
        return [grpc.aio.secure_channel(target, access.credentials, more) for _ in range(options.connections)]
    return [grpc.aio.insecure_channel(target, more) for _ in range(options.connections)]


async def connect(options: argparse.Namespace, access: Access) -> list[grpc.aio.Channel]:
    """Return the channels, all connected; raises LoadError if nothing answers."""
    channels = open_channels(options, access)
    try:
        await asyncio.wait_for(asyncio.gather(*(channel.channel_ready() for channel in channels)), CONNECT)
    except asyncio.TimeoutError as error:
        await close(channels)
        told = await asyncio.to_thread(explain, access, options.target, "nothing answers gRPC there")
        raise LoadError(told) from error
    return channels


async def close(channels: Sequence[grpc.aio.Channel]) -> None:
    """End the connections."""
    for channel in channels:
        await channel.close()


async def show(pressure: Pressure, options: argparse.Namespace) -> None:
    """Tell on stderr how the run goes, until cancelled: in place on a terminal, else a line each five seconds."""
    terminal, unit = sys.stderr.isatty(), "/s" if options.mode == "rate" else " at once"
    before, seen = 0.0, 0
    while True:
        await asyncio.sleep(0.5 if terminal else 5)
        now, recent = pressure.seconds, pressure.samples[seen:]
        asked = f"asked {options.ramp.level(now):.1f}{unit}  under way {pressure.under_way}"
        text = f"{now:4.0f} s  {asked}  {stats.line(recent, now - before, pressure.codes)}"
        if terminal:
            text = "\r\033[K" + text[: shutil.get_terminal_size().columns - 1]
        print(text, end="" if terminal else "\n", file=sys.stderr, flush=True)
        before, seen = now, seen + len(recent)


async def press(pressure: Pressure, options: argparse.Namespace) -> int:
    """Run the ramp to its end, or until a signal comes; returns the signal's number, or 0."""
    stopped: list[int] = []
    ramp: Ramp = options.ramp
    main = asyncio.create_task(pressure.open_loop(ramp) if options.mode == "rate" else pressure.closed_loop(ramp))

    def stop(number: int) -> None:
        stopped.append(number)
        main.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    screen = asyncio.create_task(show(pressure, options))
    with suppress(asyncio.CancelledError):
        await main
    screen.cancel()
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return stopped[0] if stopped else 0


async def measure(options: argparse.Namespace, requests: Sequence[bytes]) -> tuple[dict[str, Any], int]:
    """Load the target; returns the report and the number of the signal that ended it, or 0; raises LoadError."""
    access = read_access(options, options.target)
    channels = await connect(options, access)
    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    pressure = Pressure(channels, requests, limit=options.limit, timeout=options.timeout, token=access.token)
    number = await press(pressure, options)
    seconds, unfinished = pressure.seconds, pressure.under_way
    await pressure.stop()
    await close(channels)
    return {
        "target": options.target,
        "mode": options.mode,
        "ramp": options.ramp._asdict(),
        "settings": {name: getattr(options, name) for name in ("connections", "limit", "timeout")},
        "images": {"folder": str(options.images), "files": len(requests)},
        "began": began,
        "seconds": round(seconds, 3),
        "interrupted": bool(number),
        "unfinished": unfinished,
        **stats.totals(pressure.samples, seconds),
        "messages": pressure.messages,
        "series": stats.series(pressure.samples, seconds, options.ramp.level),
    }, number


def summary(report: dict[str, Any]) -> str:
    """Say in a few lines what came out."""
    counts = f"{report['ok']} of {report['requests']} requests answered in {report['seconds']:.1f} s"
    lines = [f"{counts} ({report['ok_per_second']:.1f}/s), {report['unfinished']} given up"]
    if report["ok"]:
        lines += ["latency  " + "  ".join(f"{name} {value:.1f} ms" for name, value in report["latency_ms"].items())]
    for code, number in report["codes"].items():
        lines += [f"{code}  {number}  {report['messages'].get(code, '')}".rstrip()]
    return "\n".join(lines)


def write(path: Path, content: bytes) -> None:
    """Put a file in its place, whole."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    options = parse(arguments)
    try:
        check_files(options)
        report, number = asyncio.run(measure(options, read_requests(options.images)))
        print(summary(report))
        if options.json:
            write(options.json, (json.dumps(report, indent=1) + "\n").encode())
        if options.plot:
            write(options.plot, draw(report, options.plot.suffix))
    except (AccessError, LoadError) as error:
        print(f"load: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"load: {error.filename} can't be written ({error.strerror}): make room, and run it again", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return 128 + number if number else int(report["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
