"""Two replicas and more, under a DNS name on loopback: they share, come, drain and die while requests flow."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from service.common.balancing import options
from tests.service.conftest import picture
from tests.service.servers import Farm, Name, Served, content, scaler
from tests.variants import some
from tests.waiting import wait_until

pytestmark = pytest.mark.alone
TWO = ("127.0.0.2", "127.0.0.3")


class Flow:
    """Calls to an API, one after the other in some threads, until it is left; `failed` has what went wrong."""

    def __init__(self, api: Served, retries: bool = False) -> None:
        self.stub = scaler(api, options("imagescaler.ImageScaler") if retries else ())
        self.image = picture()
        self.done, self.failed = 0, list[grpc.RpcError]()
        self.stopped = threading.Event()

    def pour(self) -> None:
        """Call and call again."""
        while not self.stopped.is_set():
            try:
                self.stub.ScaleImage(content(self.image), timeout=20)
                self.done += 1
            except grpc.RpcError as error:
                self.failed.append(error)

    @contextmanager
    def flowing(self, threads: int = 4) -> Iterator[Flow]:
        """Calls flow as long as this is open."""
        workers = [threading.Thread(target=self.pour) for _ in range(threads)]
        for worker in workers:
            worker.start()
        try:
            wait_until(lambda: self.done > 20 or self.failed)
            yield self
        finally:
            self.stopped.set()
            for worker in workers:
                worker.join()

    def more(self, count: int = 40) -> None:
        """Wait for so many more calls."""
        before = self.done
        wait_until(lambda: self.done > before + count)


def replicas(farm: Farm, *hosts: str, port: int = 0) -> list[Served]:
    """Processors at these addresses, all at one port."""
    found = []
    for host in hosts:
        found.append(farm.processor("--slots", "1", host=host, port=port))
        port = found[0].ready["listen"]
    return found


def start(farm: Farm, *hosts: str) -> tuple[Name, list[Served], Served]:
    """A name, the replicas behind it, and an API that uses it."""
    found = replicas(farm, *hosts)
    name = Name(*hosts)
    return name, found, farm.api("--size", "40x30", "--processor", name.target(found[0].ready["listen"]))


def test_two_replicas_share(farm: Farm) -> None:
    _, found, api = start(farm, *TWO)
    with Flow(api).flowing() as flow:
        flow.more(300)
    shares = [replica.handled() / flow.done for replica in found]
    assert flow.failed == []
    assert shares == pytest.approx([0.5, 0.5], abs=0.05)  # 50/50 within 10 %


def test_a_list_of_addresses_is_shared_too(farm: Farm) -> None:
    found = replicas(farm, *TWO)
    places = ",".join(f"{host}:{found[0].ready['listen']}" for host in TWO)
    with Flow(farm.api("--size", "40x30", "--processor", places)).flowing() as flow:
        flow.more(200)
    assert flow.failed == []
    assert [replica.handled() / flow.done for replica in found] == pytest.approx([0.5, 0.5], abs=0.05)


def test_a_new_replica_gets_traffic_within_5_s(farm: Farm) -> None:
    name, found, api = start(farm, *TWO)
    with Flow(api).flowing() as flow:
        third = replicas(farm, "127.0.0.4", port=found[0].ready["listen"])[0]
        name.addresses.append("127.0.0.4")
        began = time.monotonic()
        wait_until(lambda: third.handled() > 0, 30)
        seconds = time.monotonic() - began
        flow.more(150)
    assert seconds < 5
    assert flow.failed == []


def test_a_drained_replica_loses_no_request(farm: Farm) -> None:
    name, found, api = start(farm, *TWO)
    with Flow(api).flowing() as flow:
        name.addresses.remove(TWO[0])
        assert found[0].stop() == 0
        flow.more()
    assert flow.failed == []
    assert {line["code"] for line in found[0].lines("call")} == {"OK"}


@pytest.mark.parametrize("round_", some(range(3), 0))
def test_a_replica_that_drains_unannounced_loses_none_either(farm: Farm, round_: int) -> None:
    found = replicas(farm, *TWO)
    hasty = farm.processor("--announce", "0", host="127.0.0.4", port=found[0].ready["listen"])
    name = Name(*TWO, "127.0.0.4")
    api = farm.api("--size", "40x30", "--processor", name.target(found[0].ready["listen"]))
    with Flow(api).flowing(8) as flow:
        wait_until(lambda: hasty.handled() > 0)
        assert hasty.stop() == 0
        flow.more()
    assert flow.failed == []


def test_a_killed_replica_loses_no_request(farm: Farm) -> None:
    _, found, api = start(farm, *TWO)
    with Flow(api).flowing(8) as flow:
        found[0].stop(signal.SIGKILL)
        flow.more(100)
    assert flow.failed == []


def test_a_replica_that_comes_back_gets_traffic_again(farm: Farm) -> None:
    _, found, api = start(farm, *TWO)
    with Flow(api).flowing() as flow:
        found[0].stop(signal.SIGKILL)
        flow.more()
        again = replicas(farm, TWO[0], port=found[0].ready["listen"])[0]
        wait_until(lambda: again.handled() > 0, 15)
    assert flow.failed == []


def test_a_drained_api_finishes_what_it_has(farm: Farm) -> None:
    _, _, api = start(farm, *TWO)
    with Flow(api).flowing() as flow:
        api.process.send_signal(signal.SIGTERM)
        flow.more(5)  # it still answers: clients have yet to learn of it
        wait_until(lambda: api.lines("draining"))
        flow.stopped.set()
    assert flow.failed == []
    assert api.process.wait(20) == 0


def test_an_api_hands_its_port_over_and_loses_no_request(farm: Farm) -> None:
    """To clients that try again, as service/loadtest/client.py does."""
    processor = farm.processor()
    flags = ("--share-port", "--size", "40x30", "--processor", f"127.0.0.1:{processor.ready['listen']}")
    old = farm.api(*flags)
    with Flow(old, retries=True).flowing() as flow:
        new = farm.launch("api", *flags, port=old.ready["listen"]).wait_ready()
        assert old.stop() == 0
        flow.more()
    assert flow.failed == []
    assert new.handled() > 0


def test_a_file_of_addresses_is_followed(farm: Farm, tmp_path: Path) -> None:
    """What it holds in between that can't be meant changes nothing."""
    found, file = replicas(farm, *TWO), tmp_path / "replicas"
    port = found[0].ready["listen"]

    def name(text: str) -> None:
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(file)

    name(f"{TWO[0]}:{port}\n")
    api = farm.api("--size", "40x30", "--processor", f"file:{file}")
    with Flow(api).flowing() as flow:
        name("nonsense\n")
        wait_until(lambda: api.lines("processors"))
        flow.more()
        assert found[1].handled() == 0
        name(f"{TWO[0]}:{port}\n{TWO[1]}:{port}\n")
        wait_until(lambda: found[1].handled() > 10)
        name(f"{TWO[1]}:{port}\n")
        wait_until(lambda: f"{TWO[0]}" not in str(api.lines("processors")[-1]))
        before = found[0].handled()
        flow.more()
    assert flow.failed == []
    assert found[0].handled() <= before + 4  # what was on its way there
