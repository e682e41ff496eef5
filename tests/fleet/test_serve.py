"""The service on a fleet: it comes, grows and shrinks while requests flow, and goes."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from PIL import Image

from service.protos import imagescaler_pb2 as pb
from service.protos import imagescaler_pb2_grpc as pb_grpc
from tests.fleet.harness import Fab
from tests.waiting import wait_until


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(fab: Fab) -> Iterator[None]:
    yield
    fab("serve", "--replicas=0")


class Flow:
    """Calls to the API, one after the other in some threads, as long as it is open."""

    def __init__(self, fab: Fab, token: str = "") -> None:
        folder = fab.home / fab.fleet
        files = [(folder / name).read_bytes() for name in ("ca.crt", "client.key", "client.crt")]
        # Who shows a token needs no certificate.
        credentials = grpc.ssl_channel_credentials(*(files[:1] if token else files))
        channel = grpc.secure_channel(f"{fab.status()['hub']['address']}:50051", credentials)
        self.stub = pb_grpc.ImageScalerStub(channel)
        picture = io.BytesIO()
        Image.effect_noise((300, 200), 40).convert("RGB").save(picture, "JPEG")
        self.request = pb.ScaleImageRequest(image=pb.Image(content=picture.getvalue()))
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self.failed, self.done, self.over = list[grpc.RpcError](), 0, threading.Event()

    def call(self) -> Image.Image:
        reply = self.stub.ScaleImage(self.request, timeout=20, metadata=self.metadata)
        return Image.open(io.BytesIO(reply.content))

    def pour(self) -> None:
        while not self.over.is_set():
            try:
                self.call()
                self.done += 1
            except grpc.RpcError as error:
                self.failed.append(error)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.pour) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            yield
            before = self.done
            wait_until(lambda: self.done > before + 20)
        finally:
            self.over.set()
            for thread in threads:
                thread.join()


def names(fab: Fab) -> dict[str, list[str]]:
    return {host: row["services"] for host, row in fab.status().items()}


def scraped(fab: Fab) -> set[str]:
    """What the hub's Prometheus says of whom it scrapes."""
    ask = "promtool query instant http://127.0.0.1:9090 'sum by (instance) (up > -1)' || :"
    found = re.findall(r'\{(instance="[^"]*")\} => (\d)', fab.on("hub", ask))
    return {f"up{{{name}}} {value}" for name, value in found}


def calls_as_it_says(fab: Fab, told: str, tmp_path: Path) -> None:
    """The last line of `fab serve` is a command that works."""
    Image.effect_noise((300, 200), 40).convert("RGB").save(tmp_path / "it's.jpg")
    command = told.splitlines()[-1].removeprefix("call it: ").removesuffix(" IMAGE")
    environment = {**os.environ, "FANRUN_HOME": str(fab.home)}
    argv = [*shlex.split(command), str(tmp_path / "it's.jpg")]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(tmp_path / "it's.out.jpg") as scaled:
        assert scaled.size == (60, 40)


def ups_of_one_processor_each(fab: Fab) -> set[str]:
    """Return what Prometheus tells of the API and of a processor on each of two workers that are up."""
    workers = [f"{fab.status()[name]['address']}:5002" for name in ("worker-1", "worker-2")]
    return {f'up{{instance="{place}"}} 1' for place in ("127.0.0.1:5001", *workers)}


@pytest.mark.long
def test_it_grows_and_shrinks_while_requests_flow_and_ends(fab: Fab, tmp_path: Path) -> None:
    told = fab("serve", "--replicas=2", "--args=--size 60x40 --grayscale").stderr
    hub = fab.status()["hub"]["address"]
    assert f"2 processors, the API at {hub}:50051" in told
    calls_as_it_says(fab, told, tmp_path)
    one, two = "fanrun-processor-1 running", "fanrun-processor-2 running"
    assert names(fab) == {"hub": ["fanrun-api running"], "worker-1": [one], "worker-2": [one]}
    assert "serving on worker-2: fanrun-processor-1 running" in fab("status").stdout
    image = Flow(fab).call()
    assert (image.size, image.mode) == ((60, 40), "L")
    ups = ups_of_one_processor_each(fab)
    wait_until(lambda: scraped(fab) == ups, 40)

    flow = Flow(fab)
    with flow.flowing():
        fab("serve", "--replicas=4")
        assert names(fab) == {"hub": ["fanrun-api running"], "worker-1": [one, two], "worker-2": [one, two]}
        busy = fab.on("worker-2", "docker ps --quiet --filter name=fanrun-processor-2").strip()
        wait_until(lambda: '"call"' in fab.on("worker-2", f"docker logs {busy} 2>&1"), 30)
        fab("serve", "--replicas=1")
        assert names(fab) == {"hub": ["fanrun-api running"], "worker-1": [one], "worker-2": []}
    assert flow.failed == []
    image = Flow(fab).call()
    assert (image.size, image.mode) == ((60, 40), "L")  # as was asked for at first

    assert "has ended" in fab("serve", "--replicas=0").stderr
    assert names(fab) == {"hub": [], "worker-1": [], "worker-2": []}
    wait_until(lambda: scraped(fab) == set(), 40)
    fab("serve", "--replicas=0")


@pytest.mark.long
def test_callers_need_a_token_where_there_are_some(fab: Fab, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("ada a-secret-of-20-bytes\n")
    fab("serve", "--replicas=1", "--args=", "--tokens", str(tmp_path / "tokens"))
    with pytest.raises(grpc.RpcError) as refused:
        Flow(fab).call()
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert Flow(fab, "a-secret-of-20-bytes").call().size == (1024, 768)
    (tmp_path / "tokens").write_text("ada another-secret-of-28-bytes\n")
    fab("serve", "--replicas=1", "--tokens", str(tmp_path / "tokens"))
    with pytest.raises(grpc.RpcError):
        Flow(fab, "a-secret-of-20-bytes").call()
    fab("serve", "--replicas=1")
    assert Flow(fab, "another-secret-of-28-bytes").call().size == (1024, 768)
    fab("serve", "--replicas=1", "--tokens=")
    assert Flow(fab).call().size == (1024, 768)


def test_processors_take_no_calls_but_the_apis(fab: Fab) -> None:
    fab("serve", "--replicas=1")
    channel = grpc.insecure_channel(f"{fab.status()['worker-1']['address']}:50052")
    with pytest.raises(grpc.FutureTimeoutError):
        grpc.channel_ready_future(channel).result(timeout=3)
    channel.close()


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        ([], 2, "needs --replicas"),
        (["--replicas=x"], 2, "give a whole number"),
        (["--replicas=1", "--args=--size huge"], 2, "is no size as 1024x768"),
        (["--replicas=1", "--args='"], 2, "--args"),
        (["--replicas=1", "--tokens=/nowhere"], 2, "/nowhere can't be read"),
        (["--replicas=1", "--tokens=/etc/hostname"], 2, "--tokens: line 1"),
    ],
)
def test_what_can_not_be_meant(fab: Fab, argv: list[str], code: int, message: str) -> None:
    assert message in fab("serve", *argv, code=code).stderr
