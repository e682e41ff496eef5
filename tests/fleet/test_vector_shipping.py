"""Logs from a worker's files to the hub's, by two real Vectors on this machine, where there is a `vector` on PATH."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from fanrun.fanout.results.log_lines import parse
from provision.hosts import ca
from provision.hosts.shipping import read_config
from provision.hosts.vector import receiver_config, shipper_config
from tests.fleet.harness import ROOT
from tests.fleet.mounts import root
from tests.waiting import wait_until


class Pair:
    """A worker and a hub under one folder, with the configurations that hosts get, but for paths and ports."""

    def __init__(self, top: Path) -> None:
        self.top, self.port = top, free_port()
        self.key, self.certificate = ca.authority("tests")
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("spool", "logs", "docker/containers", "data/hub", "etc"):
            (top / name).mkdir(parents=True)
        self.write("ca.crt", self.certificate)
        self.write_pair("hub", *ca.server(self.key, self.certificate, ["127.0.0.1"]))
        self.write_pair("host", *ca.client(self.key, self.certificate, ["127.0.0.1"]))
        self.write("worker.toml", self.placed(shipper_config(read_config(ROOT), "worker-1", "127.0.0.1"), "spool"))
        self.write("hub.toml", self.placed(receiver_config("127.0.0.1"), "logs"))

    def placed(self, text: str, logs: str) -> str:
        """Return a configuration with paths of this folder and ports that are free."""
        pairs = {
            "/var/log/fanrun": str(self.top / logs), "/var/lib/docker": str(self.top / "docker"),
            "/var/lib/fanrun-vector": str(self.top / "data"), "/etc/fanrun/vector": str(self.top / "etc"),
            ":6000": f":{self.port}", ":6001": f":{free_port()}", ":6002": f":{free_port()}",
        }  # fmt: skip
        for old, new in pairs.items():
            text = text.replace(old, new)
        return text.partition("\n[[tests]]")[0]

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

    def start(self, name: str) -> None:
        with (self.top / f"{name}.log").open("ab") as log:
            argv = ["vector", "--config", str(self.top / "etc" / f"{name}.toml")]
            self.running[name] = subprocess.Popen(argv, stdout=log, stderr=log)

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        process = self.running.pop(name)
        process.send_signal(number)
        process.wait(timeout=90)

    def spool(self, start: int, count: int) -> None:
        """Append so many lines to the file of a run."""
        with (self.top / "spool" / "r1.jsonl").open("a") as file:
            for number in range(start, start + count):
                record = {
                    "timestamp": "2026-11-27T19:04:39.123Z",
                    "run": "r1",
                    "host": "worker-1",
                    "batch": "worker-1.0001",
                }
                record |= {"stream": "stdout", "message": f"line {number}"}
                file.write(json.dumps(record) + "\n")

    def arrived(self, folder: str = "r1") -> list[Mapping[str, object]]:
        """The lines at the hub, each one once."""
        path = self.top / "logs" / folder / "worker-1.jsonl"
        lines = map(parse, path.read_bytes().splitlines()) if path.exists() else []
        records = [line.record for line in lines if line]  # a line may have been torn
        return list({(record["file"], record["offset"]): record for record in records}.values())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    if shutil.which("vector") is None:
        pytest.skip("no vector on PATH, so nothing is shipped here: install Vector 0.57 to run this")
    made = Pair(tmp_path)
    yield made
    for name in list(made.running):
        made.end(name, signal.SIGKILL)


def test_lines_arrive_once_and_in_order_though_both_are_killed(pair: Pair) -> None:
    pair.start("hub")
    pair.start("worker")
    pair.spool(0, 1000)
    wait_until(lambda: len(pair.arrived()) == 1000)
    for name in ("worker", "hub"):
        pair.spool(len(pair.arrived()), 1000)
        pair.end(name, signal.SIGKILL)
        pair.start(name)
    wait_until(lambda: len(pair.arrived()) == 3000)
    assert [line["message"] for line in pair.arrived()] == [f"line {number}" for number in range(3000)]
    assert {line["host"] for line in pair.arrived()} == {"worker-1"}


def test_a_hub_that_is_away_is_caught_up(pair: Pair) -> None:
    pair.start("worker")
    pair.spool(0, 500)
    pair.start("hub")
    wait_until(lambda: len(pair.arrived()) == 500)


def test_a_full_disk_at_the_hub_loses_no_line(pair: Pair) -> None:
    logs, count = pair.top / "logs", 5000
    root("mount", "-t", "tmpfs", "-o", f"size=256k,uid={os.getuid()},gid={os.getgid()}", "none", str(logs))
    try:
        pair.start("hub")
        pair.start("worker")
        pair.spool(0, count)
        wait_until(lambda: os.statvfs(logs).f_bavail == 0)
        assert 0 < len(pair.arrived()) < count
        root("mount", "-o", "remount,size=64m", str(logs))
        wait_until(lambda: len(pair.arrived()) == count, 60)
        assert {record["message"] for record in pair.arrived()} == {f"line {number}" for number in range(count)}
        for name in ("worker", "hub"):
            pair.end(name, signal.SIGKILL)
    finally:
        root("umount", "--lazy", str(logs))


def test_a_services_lines_arrive(pair: Pair) -> None:
    pair.start("hub")
    pair.start("worker")
    folder = pair.top / "docker/containers/0123456789abcdef"
    folder.mkdir()
    record = {
        "log": "ready\n",
        "stream": "stderr",
        "time": "2026-11-27T19:04:39.1Z",
        "attrs": {"fanrun.service": "api"},
    }
    other = {"log": "secret\n", "stream": "stderr", "time": "2026-11-27T19:04:39.2Z"}
    (folder / "0123456789abcdef-json.log").write_text(f"{json.dumps(other)}\n{json.dumps(record)}\n")
    wait_until(lambda: pair.arrived("api"))
    assert [line["message"] for line in pair.arrived("api")] == ["ready"]
    assert [path.name for path in (pair.top / "logs").iterdir()] == ["api"]


@pytest.mark.parametrize("whose", ["another CA's", "a server's of another name"])
def test_a_certificate_that_is_wrong_ships_nothing(pair: Pair, whose: str) -> None:
    if whose == "another CA's":
        key, certificate = ca.authority("tests")
        pair.write_pair("host", *ca.client(key, certificate, ["127.0.0.1"]))
    else:
        pair.write_pair("hub", *ca.server(pair.key, pair.certificate, ["10.9.8.7"]))
    pair.start("hub")
    pair.start("worker")
    pair.spool(0, 10)
    with pytest.raises(AssertionError, match="waited in vain"):
        wait_until(pair.arrived, 10)
    pair.write_pair("host", *ca.client(pair.key, pair.certificate, ["127.0.0.1"]))
    pair.write_pair("hub", *ca.server(pair.key, pair.certificate, ["127.0.0.1"]))
    for name in ("hub", "worker"):
        pair.end(name, signal.SIGKILL)
        pair.start(name)
    wait_until(lambda: len(pair.arrived()) == 10)


def test_nobody_is_answered_without_a_certificate(pair: Pair) -> None:
    pair.start("hub")
    wait_until(lambda: answers(pair.port, pair.context(member=True)))
    assert answers(pair.port, pair.context(member=False)) == b""
    assert not answers(pair.port, None).startswith((b"HTTP/", b"\0"))


def answers(port: int, context: ssl.SSLContext | None) -> bytes:
    """What comes back for the start of HTTP/2, with TLS or without; b"" where nothing does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            wrapped = context.wrap_socket(plain, server_hostname="127.0.0.1") if context else plain
            wrapped.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            return wrapped.recv(100)
    except OSError:
        return b""
