"""A worker's Vector and a hub's on this machine, with the configurations of hosts; for tests with the real one."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fanrun.fanout.results.log_fresh import Fresh
from fanrun.fanout.results.log_lines import Line, after_torn, parse
from fanrun.fanout.worker_files.log_spool import Spool
from provision.hosts import ca
from provision.hosts.shipping import read_config
from provision.hosts.vector import receiver_config, shipper_config
from tests.fleet.harness import ROOT

GIB = 1024**3
ENVIRONMENT = {"worker": {"VECTOR_THREADS": "1"}, "hub": {}}
"""What the services have besides."""


class Pair:
    """Both halves under one folder; only paths and ports are not those of hosts."""

    def __init__(self, top: Path) -> None:
        self.top, self.port = top, free_port()
        self.key, self.certificate = ca.authority("tests")
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.written = 0
        for name in ("spool", "logs", "docker/containers", "data/hub", "etc"):
            (top / name).mkdir(parents=True)
        self.write("ca.crt", self.certificate)
        self.write_pair("hub", *ca.server(self.key, self.certificate, ["127.0.0.1"]))
        self.write_pair("host", *ca.client(self.key, self.certificate, ["127.0.0.1"]))
        self.write("worker.toml", self.placed(shipper_config(read_config(ROOT), "worker-1", "127.0.0.1"), "spool"))
        self.write("hub.toml", self.placed(receiver_config("127.0.0.1"), "logs"))

    @property
    def spool(self) -> Path:
        """The file of run r1 on the worker."""
        return self.top / "spool" / "r1.jsonl"

    @property
    def shipped(self) -> Path:
        """The same at the hub."""
        return self.top / "logs" / "r1" / "worker-1.jsonl"

    def placed(self, text: str, logs: str) -> str:
        """Return a configuration with paths of this folder and ports that are free."""
        pairs = {
            "/var/log/fanrun": str(self.top / logs),
            "/var/lib/docker": str(self.top / "docker"),
            "/var/lib/fanrun-vector": str(self.top / "data"),
            "/etc/fanrun/vector": str(self.top / "etc"),
            ":6000": f":{self.port}",
            ":6001": f":{free_port()}",
            ":6002": f":{free_port()}",
        }
        for old, new in pairs.items():
            text = text.replace(old, new)
        return text.partition("\n[[tests]]")[0]

    def config(self, name: str) -> Path:
        return self.top / "etc" / f"{name}.toml"

    def write(self, name: str, text: str) -> None:
        (self.top / "etc" / name).write_text(text)

    def write_pair(self, name: str, key: str, certificate: str) -> None:
        self.write(f"{name}.key", key)
        self.write(f"{name}.crt", certificate)

    def context(self, *, member: bool) -> ssl.SSLContext:
        """Return how a client speaks TLS with the hub, with a certificate of the CA or without."""
        context = ssl.create_default_context(cadata=self.certificate)
        context.set_alpn_protocols(["h2"])
        if member:
            context.load_cert_chain(self.top / "etc/host.crt", self.top / "etc/host.key")
        return context

    def start(self, *names: str) -> None:
        for name in names:
            with (self.top / f"{name}.log").open("ab") as log:
                argv, environment = ["vector", "--config", str(self.config(name))], {**os.environ, **ENVIRONMENT[name]}
                self.running[name] = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)

    def kill(self, *names: str) -> None:
        """End them at once, with no chance to write anything."""
        for name in names:
            process = self.running.pop(name)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=90)

    def print_lines(self, count: int, padding: str = "") -> None:
        """Append so many more lines of a container to the spool, as the log filter does."""
        made = []
        for number in range(self.written, self.written + count):
            record = {
                "timestamp": "2026-11-27T19:04:39.123Z",
                "run": "r1",
                "host": "worker-1",
                "batch": "worker-1.0001",
            }
            record |= {"stream": "stdout", "message": f"line {number}{padding}"}
            made.append(json.dumps(record, ensure_ascii=False) + "\n")
        self.written += count
        spool = Spool(str(self.spool), GIB, note)
        spool.write("".join(made).encode())
        os.close(spool.file)

    def arrived(self, folder: str = "r1") -> list[Line]:
        """Return the lines at the hub, each one once, as `fab logs` reads them."""
        path = self.top / "logs" / folder / "worker-1.jsonl"
        fresh = Fresh(())
        texts = path.read_bytes().splitlines() if path.exists() else []
        found = (parse(text) or parse(after_torn(text)) for text in texts)
        return [line for line in found if line and fresh.takes(line, line.record["offset"])]

    def has_arrived(self) -> bool:
        """Return whether as many lines are at the hub as were printed."""
        return len(self.arrived()) == self.written


def note(text: str, more: str = "") -> bytes:
    """Return a line of the log's own, as the filter makes it."""
    head = '{"timestamp":"2026-11-27T19:04:39.123Z","run":"r1","host":"worker-1","stream":"fanrun",'
    return f'{head}{more}"message":"{text}"}}\n'.encode()


def numbers(lines: Sequence[Line]) -> list[int]:
    """Return the numbers of lines that print_lines wrote."""
    return [int(line.message.split()[1]) for line in lines]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int, context: ssl.SSLContext | None) -> bytes:
    """What comes back for the start of HTTP/2, with TLS or without; b"" where nothing does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            wrapped = context.wrap_socket(plain, server_hostname="127.0.0.1") if context else plain
            wrapped.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            return wrapped.recv(100)
    except OSError:
        return b""
