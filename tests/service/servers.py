"""Real servers on loopback: APIs and processors as processes of their own, a DNS server, an origin of images."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.protos import imageprocessor_pb2_grpc, imagescaler_pb2, imagescaler_pb2_grpc
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
BIG = [("grpc.max_receive_message_length", 2**25), ("grpc.max_send_message_length", 2**26)]


class Served:
    """A server of ours in a process of its own; `log` is what it wrote."""

    def __init__(self, log: Path, argv: Sequence[str], environment: dict[str, str] | None = None) -> None:
        own = {key: value for key, value in os.environ.items() if not key.startswith(("IMAGE", "GRPC_"))}
        self.file = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(argv, cwd=ROOT, stderr=stderr, env=own | (environment or {}))
        self.ready: dict[str, Any] = {}

    def wait_ready(self) -> Served:
        """Wait for the line that says so."""
        wait_until(lambda: self.process.poll() is not None or self.lines("ready"), 30)
        assert self.process.poll() is None, self.file.read_text()
        self.ready = self.lines("ready")[0]
        return self

    def lines(self, message: str = "") -> list[dict[str, Any]]:
        """Its log's whole lines, those with this message."""
        found = [json.loads(line) for line in self.file.read_text().splitlines(keepends=True) if line.endswith("}\n")]
        return [line for line in found if message in ("", line["message"])]

    def metrics(self) -> Counter[str]:
        """Its metrics: name with labels -> value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ready['metrics']}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        words = [line.rpartition(" ") for line in lines if not line.startswith("#")]
        return Counter({name: float(value) for name, _, value in words})

    def handled(self, code: str = "OK") -> float:
        """How many calls ended so."""
        found = self.metrics().items()
        return sum(value for name, value in found if name.startswith("grpc_server_handled") and f'"{code}"' in name)

    def memory(self) -> int:
        """Bytes of memory that it has."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024

    def stop(self, number: int = signal.SIGTERM, timeout: float = 40) -> int:
        """End it; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)


class Farm:
    """Starts servers, and ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.all = folder, list[Served]()

    def launch(
        self,
        name: str,
        *flags: str,
        host: str = "127.0.0.1",
        port: int = 0,
        environment: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Served:
        """Begin a server; flags later in the line win; `prefix` is a command that runs another."""
        common = ["--listen", f"{host}:{port}", "--metrics", "127.0.0.1:0", "--announce", "0.5"]
        log = self.folder / f"{name}-{len(self.all)}.log"
        argv = [*prefix, sys.executable, "-m", f"service.{name}", *common, *flags]
        self.all.append(Served(log, argv, environment))
        return self.all[-1]

    def processor(self, *flags: str, host: str = "127.0.0.1", port: int = 0) -> Served:
        """A processor that answers."""
        return self.launch("processor", *flags, host=host, port=port).wait_ready()

    def api(self, *flags: str, environment: dict[str, str] | None = None) -> Served:
        """An API that answers."""
        return self.launch("api", *flags, environment=environment).wait_ready()

    def pair(self, *flags: str) -> tuple[Served, Served]:
        """An API and its one processor."""
        processor = self.processor()
        return self.api("--processor", f"127.0.0.1:{processor.ready['listen']}", *flags), processor

    def end(self) -> None:
        """Kill what still runs."""
        for served in self.all:
            served.stop(signal.SIGKILL)


class Name(socketserver.ThreadingUDPServer):
    """A DNS server whose answer to every name is `addresses`; while it is `silent` it answers nothing."""

    allow_reuse_address = True

    def __init__(self, *addresses: str, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), Question)
        self.addresses = list(addresses)
        self.asked = 0
        self.silent = False
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def target(self, port: int) -> str:
        """What gRPC calls it."""
        return f"dns://127.0.0.1:{self.server_address[1]}/processors.test:{port}"


class Question(socketserver.BaseRequestHandler):
    """Answers A with the server's addresses, all else with nothing."""

    def handle(self) -> None:
        data, reply_from = self.request
        assert isinstance(self.server, Name)
        end = data.index(b"\0", 12) + 5
        question, (kind,) = data[12:end], struct.unpack("!H", data[end - 4 : end - 2])
        answers = [socket.inet_aton(address) for address in self.server.addresses] if kind == 1 else []
        self.server.asked += kind == 1
        if self.server.silent:
            return
        head = data[:2] + struct.pack("!HHHHH", 0x8180, 1, len(answers), 0, 0)
        records = [b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + answer for answer in answers]
        reply_from.sendto(head + question + b"".join(records), self.client_address)


class Origin(ThreadingHTTPServer):
    """An HTTP server of pages: path -> a function of the handler; `seen` are the paths asked for."""

    daemon_threads = True

    def __init__(self, pages: dict[str, Callable[[BaseHTTPRequestHandler], None]], host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Page)
        self.pages, self.seen, self.headers = pages, list[str](), list[dict[str, str]]()
        self.url = f"http://{host}:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class Page(BaseHTTPRequestHandler):
    """Looks the path up."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Origin)
        self.server.seen.append(self.path)
        self.server.headers.append(dict(self.headers))
        self.server.pages[self.path](self)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def answer(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """A page that is always the same."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for key, value in ({"content_length": str(len(body))} | headers).items():
            handler.send_header(key.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return send


def scaler(served: Served, more: Sequence[tuple[str, int | str]] = ()) -> imagescaler_pb2_grpc.ImageScalerStub:
    """A client of an API."""
    channel = grpc.insecure_channel(f"127.0.0.1:{served.ready['listen']}", [*BIG, *more])
    return imagescaler_pb2_grpc.ImageScalerStub(channel)


def processor(served: Served) -> imageprocessor_pb2_grpc.ImageProcessorStub:
    """A client of a processor."""
    channel = grpc.insecure_channel(f"127.0.0.1:{served.ready['listen']}", BIG)
    return imageprocessor_pb2_grpc.ImageProcessorStub(channel)


def content(image: bytes = b"", uri: str = "") -> imagescaler_pb2.ScaleImageRequest:
    """A request of the API."""
    source = imagescaler_pb2.ImageSource(http_uri=uri) if uri else None
    return imagescaler_pb2.ScaleImageRequest(image=imagescaler_pb2.Image(content=image, source=source))


def health(channel: grpc.Channel, name: str = "", timeout: float = 5) -> str:
    """What a server says of its health."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    reply = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=timeout)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


class Failure(NamedTuple):
    """How a call failed."""

    code: str
    details: str
    trailers: dict[str, str | bytes]


def failure(call: Callable[[], object]) -> Failure:
    """How a call fails, which it must."""
    try:
        call()
    except grpc.RpcError as error:
        return Failure(error.code().name, error.details() or "", dict(error.trailing_metadata() or ()))  # type: ignore[arg-type]
    raise AssertionError("it went well")
