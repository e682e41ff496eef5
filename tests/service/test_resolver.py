"""A resolver that answers late or never: the API answers, follows its file again afterwards, and ends when told."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import grpc
import pytest

from service.api import replicas
from service.api.replicas import Replicas
from service.common.settings import read_api
from tests.service.conftest import picture
from tests.service.servers import Farm, Name, Served, content, failure, health, scaler
from tests.waiting import wait_until

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="a resolv.conf of its own and port 53 need root")
ADDRESS = f"127.53.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
# Five tries of five seconds for a name, in turn to the one server.
RESOLV = f"nameserver {ADDRESS}\noptions timeout:5 attempts:5\n"


class Resolved:
    """Starts APIs for which `name` is the one DNS server."""

    def __init__(self, farm: Farm, folder: Path) -> None:
        self.farm, self.name = farm, Name("127.0.0.2", host=ADDRESS, port=53)
        self.conf, self.file = folder / "resolv.conf", folder / "processors"
        self.conf.write_text(RESOLV)

    def tell(self, *places: str) -> None:
        """Name these processors in the file."""
        new = self.file.with_name("new")
        new.write_text("\n".join(places))
        new.replace(self.file)

    def launch(self, *flags: str) -> Served:
        """Begin an API whose resolv.conf is `conf`."""
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return self.farm.launch(
            "api", "--size", "40x30", *flags, prefix=["unshare", "--mount", "sh", "-c", script, str(self.conf)]
        )

    def hang(self) -> None:
        """Answer nothing more, and wait until a look-up hangs."""
        self.name.silent = True
        asked = self.name.asked
        wait_until(lambda: self.name.asked > asked)


@pytest.fixture
def resolved(farm: Farm, tmp_path: Path) -> Iterator[Resolved]:
    made = Resolved(farm, tmp_path)
    yield made
    made.name.shutdown()
    made.name.server_close()


def threads(api: Served) -> int:
    """How many threads a server has."""
    return len(os.listdir(f"/proc/{api.process.pid}/task"))


@ROOT_ONLY
@pytest.mark.alone
@pytest.mark.long
def test_calls_are_answered_while_a_look_up_hangs_and_the_file_is_followed_afterwards(resolved: Resolved) -> None:
    farm = resolved.farm
    first = farm.processor(host="127.0.0.2")
    port = first.ready["listen"]
    second = farm.processor(host="127.0.0.3", port=port)
    resolved.tell(f"127.0.0.2:{port}", f"processors.test:{port}")
    api = resolved.launch("--processor", f"file:{resolved.file}").wait_ready()
    stub, image = scaler(api), picture()
    stub.ScaleImage(content(image), timeout=20)
    resolved.hang()
    before, seconds = threads(api), list[float]()
    with grpc.insecure_channel(f"127.0.0.1:{api.ready['listen']}") as channel:
        while not api.lines("processors"):  # the warning comes after LOOKUP_TIMEOUT
            began = time.monotonic()
            assert health(channel, timeout=20) == "SERVING"
            seconds.append(time.monotonic() - began)
            stub.ScaleImage(content(image), timeout=20)
    assert "not resolved within" in str(api.lines("processors")[0])
    assert median(seconds) < 0.1
    assert max(seconds) < 1
    assert threads(api) <= before + 4, "look-ups pile up"
    resolved.tell(f"127.0.0.3:{port}", f"processors.test:{port}")
    resolved.name.addresses = ["127.0.0.3"]
    resolved.name.silent = False
    target = f"ipv4:127.0.0.3:{port},127.0.0.3:{port}"
    wait_until(lambda: api.lines("processors")[-1].get("target") == target)
    handled = second.handled()
    stub.ScaleImage(content(image), timeout=20)
    assert second.handled() > handled


@ROOT_ONLY
@pytest.mark.parametrize("way", ["file", "name", "url"])
def test_a_look_up_that_hangs_does_not_hold_up_the_end(resolved: Resolved, way: str) -> None:
    port = resolved.farm.processor(host="127.0.0.2").ready["listen"]
    resolved.tell(f"127.0.0.2:{port}", f"processors.test:{port}")
    places = {"file": f"file:{resolved.file}", "name": f"processors.test:{port}", "url": f"127.0.0.2:{port}"}
    resolved.name.silent = way == "name"  # gRPC looks the name up when it is used first
    api = resolved.launch("--processor", places[way]).wait_ready()
    if way == "file":
        resolved.hang()
    else:
        resolved.name.silent = True
        request = content(picture()) if way == "name" else content(uri="http://origin.test/image.jpg")
        told = failure(lambda: scaler(api).ScaleImage(request, timeout=8))
        assert told.code in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
        assert resolved.name.asked > 0
    began = time.monotonic()
    assert api.stop() == 0
    assert time.monotonic() - began < 5


@ROOT_ONLY
def test_an_api_does_not_wait_for_ever_at_its_start(resolved: Resolved) -> None:
    resolved.tell("127.0.0.2:1", "processors.test:1")
    resolved.name.silent = True
    began = time.monotonic()
    api = resolved.launch("--processor", f"file:{resolved.file}")
    assert api.process.wait(30) == 2
    assert time.monotonic() - began < replicas.LOOKUP_TIMEOUT + 8
    assert api.file.read_text().splitlines() == [
        "service.api: --tokens or --processor can't be used: the names in it are not resolved within 10 s"
    ]


def test_there_is_one_look_up_at_a_time_and_a_late_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is real, the resolver is the test's own."""
    monkeypatch.setattr(replicas, "LOOKUP_TIMEOUT", 0.05)
    begun, released = list[str](), threading.Event()

    def read(text: str) -> str:
        begun.append(text)
        released.wait(20)
        return f"ipv4:127.0.0.2:{len(begun)}"

    async def look() -> str:
        found = Replicas(read_api(["--processor", "a:1,b:1"], {}), read)
        for _ in range(3):
            with pytest.raises(TimeoutError, match=r"not resolved within 0\.05 s"):
                await found.find()
        assert begun == ["a:1,b:1"]
        monkeypatch.setattr(replicas, "LOOKUP_TIMEOUT", 20)
        released.set()
        return await found.find()

    assert asyncio.run(look()) == "ipv4:127.0.0.2:1"
