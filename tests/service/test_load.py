"""The load generator, against gRPC servers on loopback whose speed and answers are known."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from PIL import Image

from service.protos import imagescaler_pb2, imagescaler_pb2_grpc
from tests.service.authority import Authority
from tests.service.servers import Farm
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
Answer = Callable[[bytes, grpc.ServicerContext], bytes]


@dataclass
class Server(imagescaler_pb2_grpc.ImageScalerServicer):
    """Answers as it is told to, and remembers what came, from whom, and how many were there at once."""

    answer: Answer
    came: list[bytes] = field(default_factory=list)
    peers: set[str] = field(default_factory=set)
    inside: int = 0
    most: int = 0
    target: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ScaleImage(
        self, request: imagescaler_pb2.ScaleImageRequest, context: grpc.ServicerContext
    ) -> imagescaler_pb2.ScaleImageReply:
        """Count, and answer."""
        with self.lock:
            self.came.append(request.image.content)
            self.peers.add(context.peer())
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            return imagescaler_pb2.ScaleImageReply(content=self.answer(request.image.content, context))
        finally:
            with self.lock:
                self.inside -= 1


@contextmanager
def serving(answer: Answer, threads: int = 64) -> Iterator[Server]:
    """A server on a free port of loopback; at its end all its calls are ended."""
    servicer = Server(answer)
    server = grpc.server(futures.ThreadPoolExecutor(threads))
    imagescaler_pb2_grpc.add_ImageScalerServicer_to_server(servicer, server)
    servicer.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield servicer
    finally:
        server.stop(None).wait()


def echo(content: bytes, _: grpc.ServicerContext) -> bytes:
    """Give back what came."""
    return content


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images in two folders, and a file that is none."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("it's [1].jpg", "b.PNG", "more/c.webp")):
        Image.new("RGB", (8 + number, 8)).save(folder / name, format=("JPEG", "PNG", "WEBP")[number])
    (folder / "readme.txt").write_text("no image")
    return folder


def begin(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start the program."""
    plain = [] if "--ca" in arguments else ["--plaintext"]
    argv = [sys.executable, "-m", "service.loadtest.load", *map(str, arguments), *plain]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def load(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
    """Run the program to its end, which must be `code`; returns what it wrote."""
    process = begin(*arguments)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    return out, err


def measured(server: Server, images: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Load a server and return what was written of it."""
    path = images.parent / "load.json"
    load("--images", images, "--target", server.target, "--json", path, *arguments, code=code)
    return dict(json.loads(path.read_text()))


def test_a_rate_is_kept_however_long_answers_take(images: Path) -> None:
    def slowly(content: bytes, _: grpc.ServicerContext) -> bytes:
        time.sleep(0.3)
        return content

    with serving(slowly) as server:
        report = measured(server, images, "--rate", "20:40", "--seconds", "2")
    assert len(server.came) == report["requests"] == report["ok"] == 60  # 30 a second on average
    assert report["latency_ms"]["p50"] >= 300
    assert report["mode"] == "rate"
    assert report["ramp"] == {"first": 20, "last": 40, "seconds": 2}
    first, second = (sum(row["ended"] for row in report["series"] if low <= row["second"] < high)
                     for low, high in ((0, 1), (1, 99)))  # fmt: skip
    assert first < second


def test_images_are_sent_in_turn_and_files_that_are_none_are_not(images: Path) -> None:
    with serving(echo) as server:
        measured(server, images, "--rate", "30", "--seconds", "1", "--connections", "1")
    files = [images / name for name in ("b.PNG", "it's [1].jpg", "more/c.webp")]
    assert {content: server.came.count(content) for content in server.came} == {path.read_bytes(): 10 for path in files}


def test_so_many_are_under_way_at_once(images: Path) -> None:
    def briefly(content: bytes, _: grpc.ServicerContext) -> bytes:
        time.sleep(0.02)
        return content

    with serving(briefly) as server:
        report = measured(server, images, "--concurrency", "1:6", "--seconds", "2")
    assert server.most == 6
    assert report["codes"] == {"OK": len(server.came)}
    assert report["series"][0]["ended"] < report["series"][1]["ended"]


def test_connections_are_as_many_as_asked_for(images: Path) -> None:
    with serving(echo) as server:
        measured(server, images, "--rate", "20", "--seconds", "1", "--connections", "3")
    assert len(server.peers) == 3


def test_a_stall_is_seen_by_all_who_came_in_it(images: Path) -> None:
    """Coordinated omission: one second's stall at 50 a second is no single slow request but fifty."""
    begun: list[float] = []

    def stall(content: bytes, _: grpc.ServicerContext) -> bytes:
        begun.append(time.monotonic())
        while 0.5 < time.monotonic() - begun[0] < 1.5:
            time.sleep(0.01)
        return content

    with serving(stall) as server:
        report = measured(server, images, "--rate", "50", "--seconds", "2")
        # Even if no more than one may be on its way: the others' time runs while they wait here.
        begun.clear()
        limited = measured(server, images, "--rate", "50", "--seconds", "2", "--limit", "1")
    for each in (report, limited):
        assert each["requests"] == 100
        assert each["latency_ms"]["p90"] > 700
        assert each["latency_ms"]["p99"] > 900


def test_what_waits_here_too_long_has_failed(images: Path) -> None:
    def slowly(content: bytes, _: grpc.ServicerContext) -> bytes:
        time.sleep(0.2)
        return content

    with serving(slowly) as server:
        report = measured(server, images, "--rate", "40", "--seconds", "1", "--limit", "1", "--timeout", "0.5", code=1)
    assert report["requests"] == 40
    assert report["codes"]["DEADLINE_EXCEEDED"] > 20
    assert report["latency_of_all_ms"]["max"] < 1000


def test_failures_are_counted_by_their_codes(images: Path) -> None:
    numbers = iter(range(10_000))

    def now_and_then(content: bytes, context: grpc.ServicerContext) -> bytes:
        if next(numbers) % 4 == 0:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
        return content

    with serving(now_and_then) as server:
        report = measured(server, images, "--rate", "40", "--seconds", "1", code=1)
    assert report["codes"] == {"OK": 30, "RESOURCE_EXHAUSTED": 10}
    assert (report["ok"], report["failed"]) == (30, 10)
    assert report["messages"] == {"RESOURCE_EXHAUSTED": "the queue is full"}
    assert sum(row["codes"].get("RESOURCE_EXHAUSTED", 0) for row in report["series"]) == 10


def test_a_closed_loop_does_not_spin_on_refusals(images: Path) -> None:
    def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    with serving(refuse) as server:
        report = measured(server, images, "--concurrency", "2", "--seconds", "1", code=1)
    assert report["ok"] == 0
    assert report["latency_ms"] == {}
    assert 2 <= report["requests"] <= 22


def test_a_server_that_goes_away_is_a_failure_and_no_crash(images: Path) -> None:
    path = images.parent / "load.json"
    with serving(echo) as server:
        process = begin("--images", images, "--target", server.target, "--rate", "50", "--seconds", "2", "--json", path)
        wait_until(lambda: len(server.came) > 20)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    report = json.loads(path.read_text())
    assert report["requests"] == 100
    assert report["ok"] > 20
    assert report["codes"]["UNAVAILABLE"] > 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("ramp", ["--rate", "--concurrency"])
def test_what_was_measured_is_written_when_it_is_stopped(
    images: Path, ramp: str, number: signal.Signals, code: int
) -> None:
    path, release = images.parent / "load.json", threading.Event()

    def stuck_in_the_end(content: bytes, _: grpc.ServicerContext) -> bytes:
        if len(server.came) > 10:
            release.wait(30)
        return content

    with serving(stuck_in_the_end) as server:
        process = begin("--images", images, "--target", server.target, ramp, "20", "--seconds", "60", "--json", path)
        try:
            wait_until(lambda: len(server.came) > 15)
            process.send_signal(number)
            _, err = process.communicate(timeout=20)
        finally:
            release.set()
    assert process.returncode == code
    assert "Traceback" not in err
    report = json.loads(path.read_text())
    assert report["interrupted"] is True
    assert report["ok"] == report["requests"] == 10
    assert report["unfinished"] > 5
    assert report["seconds"] < 30


def test_it_tells_a_line_now_and_then(images: Path) -> None:
    with serving(echo) as server:
        out, err = load("--images", images, "--target", server.target, "--rate", "10", "--seconds", "5.5")
    (line,) = err.splitlines()
    latency = r"p50 \d+  p90 \d+  p99 \d+ ms"
    assert re.fullmatch(rf" +5 s  asked 10\.0/s  under way \d+  done [\d.]+/s  {latency}  OK \d+", line)
    assert out.startswith("55 of 55 requests answered in 5.")
    assert re.search(r"^latency  p50 [\d.]+ ms  p90 [\d.]+ ms  p99 [\d.]+ ms", out, re.MULTILINE)


def test_on_a_terminal_it_keeps_to_one_line(images: Path) -> None:
    ours, theirs = pty.openpty()
    with serving(echo) as server:
        argv = [sys.executable, "-m", "service.loadtest.load", "--images", str(images), "--target", server.target]
        argv += ["--plaintext", "--rate", "10", "--seconds", "2"]
        done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=True)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how the end of a terminal is told
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert b"\n" not in shown
    assert shown.count(b"\r\033[K") >= 4
    assert shown.endswith(b"\r\033[K")
    assert done.stdout.startswith(b"20 of 20")


def test_it_draws_a_plot(images: Path) -> None:
    path = images.parent / "load.png"
    with serving(echo) as server:
        measured(server, images, "--rate", "5:20", "--seconds", "1", "--plot", str(path))
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 10


def test_it_speaks_tls_and_shows_a_token_to_the_api_itself(farm: Farm, images: Path, tmp_path: Path) -> None:
    authority, tokens, token = Authority(tmp_path), tmp_path / "tokens", tmp_path / "token"
    pair = authority.sign("localhost")
    tokens.write_text("loader secret-of-the-loader\n")
    token.write_text("secret-of-the-loader\n")
    processor = f"127.0.0.1:{farm.processor().ready['listen']}"
    flags = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--tokens", str(tokens), "--size", "6x4"]
    target = f"localhost:{farm.api('--processor', processor, *flags).ready['listen']}"
    arguments: list[str | Path] = [
        "--images",
        images,
        "--target",
        target,
        "--ca",
        authority.cert,
        "--rate",
        "10",
        "--seconds",
        "1",
    ]
    out, _ = load(*arguments, "--token-file", token)
    assert out.startswith("10 of 10 requests answered")
    out, _ = load(*arguments, code=1)
    assert out.startswith("0 of 10 requests answered")
    assert "UNAUTHENTICATED  10" in out


def closed_port() -> int:
    """A port of loopback at which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_where_nothing_answers_it_says_so_in_a_line(images: Path) -> None:
    target = f"127.0.0.1:{closed_port()}"
    out, err = load("--images", images, "--target", target, code=2)
    assert out == ""
    reason = "Connection refused): start it with `fab serve`, or name another address"
    assert err == f"load: {target}: nothing answers there ({reason}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rate", "a"], "--rate must be A:B or A"),
        (["--rate=-1:5"], "--rate must be A:B or A"),
        (["--concurrency", "0:0"], "--concurrency must be A:B or A"),
        (["--rate", "1", "--concurrency", "1"], "not allowed with"),
        (["--seconds", "0"], "above 0"),
        (["--seconds", "inf"], "above 0"),
        (["--connections", "0"], "at least 1"),
        (["--images", "nowhere"], "nowhere has no images"),
        (["--json", "nowhere/load.json"], "nowhere/load.json can't be written"),
        (["--plot", "load.doc"], "load.doc is no picture's name"),
    ],
)
def test_what_cannot_be_meant_is_told(images: Path, arguments: list[str], words: str) -> None:
    out, err = load("--images", images, "--target", "127.0.0.1:1", *arguments, code=2)
    assert out == ""
    assert words in err.splitlines()[-1]
