"""What the load generator prints and writes, how it is stopped, and what it does not accept."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from PIL import Image

from tests.service.authority import Authority
from tests.service.load_target import ROOT, begin, echo, load, measured, serving
from tests.service.servers import Farm
from tests.waiting import wait_until


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("ramp", ["--rate", "--concurrency"])
def test_what_was_measured_is_written_when_it_is_stopped(
    images: Path, ramp: str, number: signal.Signals, code: int
) -> None:
    path, release, calls = images.parent / "load.json", threading.Event(), itertools.count()

    def stuck_in_the_end(content: bytes, _: grpc.ServicerContext) -> bytes:
        if next(calls) >= 10:
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


@pytest.mark.long
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


@pytest.mark.long
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
