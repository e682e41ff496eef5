"""A gRPC server that the load generator is run against, and how it is run."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from service.protos import imagescaler_pb2, imagescaler_pb2_grpc

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
