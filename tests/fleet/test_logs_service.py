"""`fab logs --service`: what the service's containers wrote, to the letter, of each host."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest
from PIL import Image

from fanrun.fleet.store import Folder
from service.protos import imagescaler_pb2 as pb
from service.protos import imagescaler_pb2_grpc as pb_grpc
from tests.fleet.harness import Fab
from tests.fleet.log_checks import show
from tests.waiting import wait_until

pytestmark = pytest.mark.long

CONTAINERS = {"hub": "fanrun-api", "worker-1": "fanrun-processor-1", "worker-2": "fanrun-processor-1"}


@pytest.fixture(scope="module", autouse=True)
def service(fab: Fab) -> Iterator[None]:
    """A service of a processor on each worker."""
    none = fab("logs", "--service")
    hint = f"the service: nothing of it is there; `fab serve --replicas 2 --fleet {fab.fleet}` starts it\n"
    assert (none.stdout, none.stderr) == ("", hint)
    fab("serve", "--replicas=2", "--args=", "--tokens=")
    yield
    fab("serve", "--replicas=0")


def call(fab: Fab, *names: str) -> None:
    """Have an image scaled for each of these names, by which its lines are told."""
    picture = io.BytesIO()
    Image.radial_gradient("L").save(picture, "PNG")
    folder = fab.home / fab.fleet
    pair = [(folder / file).read_bytes() for file in ("ca.crt", "client.key", "client.crt")]
    address = f"{Folder(fab.home, fab.fleet).load().hub.address}:50051"
    request = pb.ScaleImageRequest(image=pb.Image(content=picture.getvalue()))
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(*pair)) as channel:
        for name in names:
            ask = pb_grpc.ImageScalerStub(channel).ScaleImage
            ask(request, timeout=20, wait_for_ready=True, metadata=(("x-request-id", name),))


def lines(fab: Fab, *argv: str) -> list[dict[str, Any]]:
    """Return what is shown, which is in the order of time; lines of one time are ordered here by their text."""
    found = show(fab, "--service", *argv).lines
    assert [line["timestamp"] for line in found] == sorted(line["timestamp"] for line in found)
    return sorted(found, key=as_text)


def as_text(line: dict[str, Any]) -> str:
    """Return a line as it is shown without --json."""
    return f"{line['timestamp']} {line['host']}/{line['service']} | {line['message']}"


def written(fab: Fab, host: str) -> Counter[str]:
    """What the host's Docker has of its container."""
    said = fab.on(host, f"docker logs {CONTAINERS[host]} 2>&1")
    return Counter(said.removesuffix("\n").split("\n"))


def about(name: str, found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the hosts and the containers that wrote of a call."""
    asked = [line for line in found if json.loads(line["message"]).get("request_id") == name]
    return sorted((line["host"], line["service"]) for line in asked)


def test_each_line_of_each_host_is_shown_once(fab: Fab) -> None:
    names = [f"many-{number}" for number in range(4)]
    call(fab, *names)
    wait_until(lambda: all(len(about(name, lines(fab))) == 2 for name in names))
    found = lines(fab)
    for host, container in CONTAINERS.items():
        mine = [line for line in found if line["host"] == host]
        assert Counter(line["message"] for line in mine) == written(fab, host)
        assert {(line["service"], line["stream"]) for line in mine} == {(container, "stderr")}
        assert lines(fab, "--host", host) == mine
    for name in names:
        assert about(name, found)[0] == ("hub", "fanrun-api"), "and then a processor"
    assert sorted(fab("logs", "--service").stdout.splitlines()) == [as_text(line) for line in found]


def test_lines_are_chosen(fab: Fab) -> None:
    before = lines(fab)[-1]["timestamp"]
    call(fab, "one", "two")
    wait_until(lambda: len(about("two", lines(fab))) == 2)
    found = lines(fab)
    assert lines(fab, "--grep", '"tw[o]"') == [line for line in found if '"two"' in line["message"]]
    assert lines(fab, "--since", before) == [line for line in found if line["timestamp"] >= before]
    assert lines(fab, "--level", "info", "--since", "1h") == found
    assert about("two", lines(fab, "--host", "hub", "--grep", '"two"', "--level", "info")) == [("hub", "fanrun-api")]
    none = show(fab, "--service", "--level", "critical")
    assert (none.lines, none.error) == ([], "the service: no line is as asked for\n")
    assert f"is not in fleet {fab.fleet}; give one of hub, " in show(fab, "--service", "--host", "x", code=2).error


class Follower:
    """`fab logs --service --json --follow`, and what it has shown."""

    def __init__(self, fab: Fab) -> None:
        self.process = fab.start("logs", "--service", "--json", "--follow")
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(json.loads(line) for line in self.process.stdout)

    def end(self) -> tuple[int, str]:
        """Press Ctrl-C; returns the exit code and what was said."""
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reader.join()
        assert self.process.stderr is not None
        return code, self.process.stderr.read()


def by_host(found: list[dict[str, Any]]) -> Mapping[str, list[dict[str, Any]]]:
    return {host: [line for line in found if line["host"] == host] for host in CONTAINERS}


def test_they_are_followed_while_a_container_is_killed_and_comes_back(fab: Fab) -> None:
    call(fab, "first")
    follower = Follower(fab)
    try:
        wait_until(lambda: len(about("first", follower.lines)) == 2)
        call(fab, "second")
        wait_until(lambda: len(about("second", follower.lines)) == 2)
        fab.on("worker-1", "docker kill fanrun-processor-1 && docker start fanrun-processor-1")
        wait_until(lambda: ready(follower.lines, "worker-1") == 2)
        call(fab, "third")
        wait_until(lambda: len(about("third", follower.lines)) == 2)
    finally:
        code, said = follower.end()
    assert (code, said) == (130, "error: interrupted\n")
    whole = lines(fab)
    assert by_host(follower.lines) == by_host(whole), "each line once, and in order"
    assert ready(whole, "worker-1") == 2
    assert ready(whole, "worker-2") == 1
    assert Counter(line["message"] for line in by_host(whole)["worker-1"]) == written(fab, "worker-1")


def ready(found: list[dict[str, Any]], host: str) -> int:
    """Return how often a host's container has begun to serve."""
    return sum(json.loads(line["message"])["message"] == "ready" for line in found if line["host"] == host)


def test_a_container_that_has_ended_has_its_lines(fab: Fab) -> None:
    before = lines(fab, "--host", "worker-2")
    fab.on("worker-2", "docker kill fanrun-processor-1")
    assert lines(fab, "--host", "worker-2") == before != []
