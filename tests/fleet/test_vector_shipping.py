"""Logs from a worker's files to the hub's, by two real Vectors on this machine, where there is a `vector` on PATH."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.hosts import ca
from tests.fleet.mounts import root, small_disk
from tests.fleet.vector_pair import Pair, answers, numbers
from tests.unit.filtering import Filtered, run_filter, run_python
from tests.waiting import wait_until

AWAY = 12.0
"""Seconds for which a hub is away.  Vector waits 1, 1, 2, 3, 5 … seconds before each retry, as it does for a minute."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    if shutil.which("vector") is None:
        pytest.skip("no vector on PATH, so nothing is shipped here: install Vector 0.57 to run this")
    made = Pair(tmp_path)
    yield made
    made.kill(*list(made.running))


def test_lines_arrive_once_and_in_order_though_both_are_killed(pair: Pair) -> None:
    pair.start("hub", "worker")
    pair.print_lines(1000)
    wait_until(pair.has_arrived)
    for name in ("worker", "hub", "worker", "hub"):
        pair.print_lines(1000)
        pair.kill(name)
        pair.start(name)
    wait_until(pair.has_arrived)
    assert numbers(pair.arrived()) == list(range(5000))
    assert {(line.host, line.batch, line.stream) for line in pair.arrived()} == {
        ("worker-1", "worker-1.0001", "stdout")
    }


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_hub_that_is_away_is_caught_up(pair: Pair, how: str) -> None:
    """It is, too, if it takes connections and says nothing."""
    pair.start("hub", "worker")
    pair.print_lines(100)
    wait_until(pair.has_arrived)
    signals = {"killed": ("KILL", ""), "frozen": ("STOP", "CONT")}[how]
    send(pair, signals[0])
    begun = time.monotonic()
    while time.monotonic() < begun + AWAY:
        pair.print_lines(100)
        with pytest.raises(AssertionError, match="waited in vain"):
            wait_until(pair.has_arrived, 0.5)
    if how == "killed":
        pair.kill("hub")
        pair.start("hub")
    else:
        send(pair, signals[1])
    wait_until(pair.has_arrived, 90)
    assert numbers(pair.arrived()) == list(range(pair.written))


def send(pair: Pair, name: str) -> None:
    """Send the hub a signal."""
    subprocess.run(["kill", f"-{name}", str(pair.running["hub"].pid)], check=True)


def test_a_worker_that_dies_with_lines_unsent_sends_them_when_it_is_back(pair: Pair) -> None:
    """It has read them: it tries to send them to where nobody answers."""
    with socket.create_server(("127.0.0.1", pair.port)) as listener:
        listener.settimeout(60)
        pair.print_lines(500)
        pair.start("worker")
        listener.accept()[0].close()
        pair.kill("worker")
    pair.start("hub", "worker")
    wait_until(pair.has_arrived)
    assert numbers(pair.arrived()) == list(range(500))


def test_requests_of_long_lines_are_not_too_large(pair: Pair) -> None:
    """All together are 187 MiB, and a hub takes at most 100 MiB at once; none is sent before all are there."""
    pair.print_lines(1000, " " + "\ufffd" * 65000)
    pair.start("worker", "hub")
    size = pair.spool.stat().st_size
    wait_until(lambda: pair.shipped.exists() and pair.shipped.stat().st_size > size, 120)
    wait_until(pair.has_arrived, 60)
    assert numbers(pair.arrived()) == list(range(1000))
    assert {len(line.message.split()[2]) for line in pair.arrived()} == {65000}


@pytest.mark.parametrize("kind", ["garbage", "long lines", "zeros", "ends at once"])
def test_whatever_a_container_prints_arrives(pair: Pair, kind: str) -> None:
    """From the program by way of the log filter and its spool to the hub's file, as `fab logs` reads it."""
    pair.start("hub", "worker")
    done = write(pair, kind)
    expected = [(line["stream"], line["message"]) for line in done.records()]
    assert expected
    wait_until(lambda: len(pair.arrived()) >= len(expected))
    for stream in ("stdout", "stderr"):
        found = [line.message for line in pair.arrived() if line.stream == stream]
        assert found == [message for name, message in expected if name == stream]


def write(pair: Pair, kind: str) -> Filtered:
    """Run a program that prints these, with the log filter over it."""
    if kind == "ends at once":
        return run_filter(pair.top / "batch", "sh", "-c", "echo one; echo two >&2; exit 3", spool=pair.spool)
    script = {
        "garbage": "out.write(bytes(range(256)) * 20 + os.urandom(300_000)); err.write(os.urandom(100_000))",
        "long lines": "for n in range(40): out.write(b'%d ' % n + b'x' * 150_000 + b'\\n')",
        "zeros": "out.write(bytes(3_000_000))",
    }[kind]
    return run_python(pair.top / "batch", script, spool=pair.spool)


def test_a_full_disk_at_the_hub_loses_no_line(pair: Pair) -> None:
    """One line is torn; what is sent again after it begins with lines of the same request that came before it."""
    logs, count = pair.top / "logs", 5000
    logs.rmdir()
    with small_disk(logs, mib=1):
        pair.start("hub", "worker")
        pair.print_lines(count, " " + "x" * 500)
        wait_until(lambda: os.statvfs(logs).f_bavail == 0)
        assert 0 < len(pair.arrived()) < count
        root("mount", "-o", "remount,size=64m", str(logs))
        wait_until(pair.has_arrived, 90)
        assert sorted(numbers(pair.arrived())) == list(range(count))
        pair.kill("worker", "hub")


def test_a_services_lines_arrive(pair: Pair) -> None:
    pair.start("hub", "worker")
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
    path = pair.top / "logs/api/worker-1.jsonl"
    wait_until(lambda: path.exists() and path.read_bytes().endswith(b"\n"))
    (line,) = map(json.loads, path.read_bytes().splitlines())
    assert (line["message"], line["stream"], line["service"]) == ("ready", "stderr", "api")
    assert [each.name for each in (pair.top / "logs").iterdir()] == ["api"]


@pytest.mark.parametrize("whose", ["another CA's", "a server's of another name"])
def test_a_certificate_that_is_wrong_ships_nothing(pair: Pair, whose: str) -> None:
    if whose == "another CA's":
        key, certificate = ca.authority("tests")
        pair.write_pair("host", *ca.client(key, certificate, ["127.0.0.1"]))
    else:
        pair.write_pair("hub", *ca.server(pair.key, pair.certificate, ["10.9.8.7"]))
    pair.start("hub", "worker")
    pair.print_lines(10)
    with pytest.raises(AssertionError, match="waited in vain"):
        wait_until(pair.arrived, 10)
    pair.write_pair("host", *ca.client(pair.key, pair.certificate, ["127.0.0.1"]))
    pair.write_pair("hub", *ca.server(pair.key, pair.certificate, ["127.0.0.1"]))
    pair.kill("hub", "worker")
    pair.start("hub", "worker")
    wait_until(pair.has_arrived)


def test_nobody_is_answered_without_a_certificate(pair: Pair) -> None:
    pair.start("hub")
    wait_until(lambda: answers(pair.port, pair.context(member=True)))
    assert answers(pair.port, pair.context(member=False)) == b""
    assert not answers(pair.port, None).startswith((b"HTTP/", b"\0"))


@pytest.mark.parametrize("name", ["worker", "hub"])
def test_vector_checks_each_half_with_its_certificates(pair: Pair, name: str) -> None:
    """Unlike `validate --no-environment` this opens files and builds the sources and sinks."""
    argv = ["vector", "validate", str(pair.config(name))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (pair.top / "etc" / ("host.key" if name == "worker" else "hub.key")).unlink()
    assert subprocess.run(argv, capture_output=True, check=False).returncode != 0
