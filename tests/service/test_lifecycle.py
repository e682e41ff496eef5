"""How both servers start, tell their health, and end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest

from tests.service.conftest import picture
from tests.service.servers import ROOT, Farm, content, failure, health, processor, scaler
from tests.service.test_overload import WORK, in_background
from tests.waiting import wait_until

NAMES = {"api": "imagescaler.ImageScaler", "processor": "imageprocessor.ImageProcessor"}


@pytest.mark.parametrize("name", NAMES)
def test_health_from_the_first_to_the_last(farm: Farm, name: str) -> None:
    served = farm.launch(name, "--announce", "60").wait_ready()
    with grpc.insecure_channel(f"127.0.0.1:{served.ready['listen']}") as channel:
        for asked in ("", NAMES[name], "liveness"):
            assert health(channel, asked) == "SERVING"
        assert failure(lambda: health(channel, "another")).code == "NOT_FOUND"
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: health(channel) == "NOT_SERVING", 5)
        assert [health(channel, asked) for asked in (NAMES[name], "liveness")] == ["NOT_SERVING", "SERVING"]
        began = time.monotonic()
        assert served.stop() == 0  # the second signal
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", NAMES)
def test_it_ends_without_a_word_too_many(farm: Farm, name: str, number: int) -> None:
    served = farm.launch(name).wait_ready()
    assert served.stop(number) == 0
    assert [line["message"] for line in served.lines()] == ["ready", "draining", "stopped"]
    assert len(served.file.read_text().splitlines()) == 3


def test_what_runs_is_finished(farm: Farm) -> None:
    served = farm.processor("--slots", "1", "--announce", "0")
    stub = processor(served)
    threads, failures = in_background(lambda: stub.Process(WORK, timeout=60), 3)
    wait_until(lambda: served.metrics()["imageprocessor_queue_depth"] == 2, 20)
    assert served.stop() == 0
    for thread in threads:
        thread.join()
    assert failures == []


def test_who_is_served_slower_than_the_grace_is_cut_off(farm: Farm) -> None:
    served = farm.processor("--slots", "1", "--announce", "0", "--grace", "0.3")
    threads, failures = in_background(lambda: processor(served).Process(WORK, timeout=60), 6)
    wait_until(lambda: served.metrics()["imageprocessor_queue_depth"] == 5, 20)
    assert served.stop() == 0
    for thread in threads:
        thread.join()
    assert failures
    assert "CANCELLED" in [line["code"] for line in served.lines("call")]


def test_a_watcher_that_takes_nothing_keeps_nobody(farm: Farm) -> None:
    """A client that watches health, and another whose connection stands still."""
    served = farm.processor("--announce", "0")
    with socket.create_connection(("127.0.0.1", served.ready["listen"])) as idle:
        idle.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        began = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - began < 10


USAGE = [
    ("api", ["--size", "big"]),
    ("api", ["--size", "100000x100000"]),
    ("api", ["--margin", "-1"]),
    ("api", ["--how", "so"]),
    ("api", ["--grayscale", "maybe"]),
    ("api", ["--listen", "50051"]),
    ("api", ["--rate", "5"]),
    ("api", ["--nonsense"]),
    ("api", ["--tls-cert", "/nowhere"]),
    ("api", ["--allow-networks", "10.0.0.1/8"]),
    ("api", ["--processor", "nowhere"]),
    ("api", ["--tokens", "pyproject.toml"]),
    ("api", ["--tls-cert", "README.md", "--tls-key", "README.md"]),
    ("api", ["--processor", "127.0.0.1:1,[::1]:1"]),
    ("api", ["--client-ca", "README.md"]),
    ("processor", ["--slots", "0"]),
    ("processor", ["--queue", "-1"]),
    ("processor", ["--deadline", "soon"]),
    ("processor", ["--listen", "192.0.2.1:50052"]),
    ("processor", ["--metrics", "192.0.2.1:5001"]),
]


@pytest.mark.parametrize(("name", "flags"), USAGE)
def test_a_mistake_is_told_in_one_line(name: str, flags: list[str]) -> None:
    argv = [sys.executable, "-m", f"service.{name}", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", *flags]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30)
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (2, 1), done.stderr
    assert lines[0].startswith(f"service.{name}: ")


def test_a_port_that_is_taken_is_not_shared(farm: Farm) -> None:
    served = farm.processor()
    again = farm.launch("processor", port=served.ready["listen"])
    assert again.process.wait(20) == 2
    assert "choose another --listen" in again.file.read_text()


def test_settings_come_from_the_environment_and_flags_win(farm: Farm) -> None:
    variables = {"IMAGEPROCESSOR_SLOTS": "3", "IMAGEPROCESSOR_QUEUE": "0"}
    served = farm.launch("processor", environment=variables).wait_ready()
    assert served.metrics()["imageprocessor_slots"] == 3
    served = farm.launch("processor", "--slots", "2", environment=variables).wait_ready()
    assert served.metrics()["imageprocessor_slots"] == 2
    wrong = farm.launch("processor", environment={"IMAGEPROCESSOR_SLOTS": "many"})
    assert wrong.process.wait(20) == 2
    assert "IMAGEPROCESSOR_SLOTS: 'many'" in wrong.file.read_text()


@pytest.mark.parametrize("script", ["service/api", "service/processor"])
def test_they_run_as_files_from_anywhere(tmp_path: Path, script: str) -> None:
    done = subprocess.run([sys.executable, ROOT / script, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "--connection-age" in done.stdout) == (0, True)


def test_the_client(farm: Farm, tmp_path: Path) -> None:
    api, _ = farm.pair("--size", "80x60", "--grayscale")
    (tmp_path / "plate (1).jpg").write_bytes(picture())
    where = f"127.0.0.1:{api.ready['listen']}"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        plain = [] if "--ca" in words else ["--plaintext"]
        argv = [sys.executable, str(ROOT / "service/loadtest/client.py"), *words, "--server", where, *plain]
        return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    done = run("plate (1).jpg")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("plate (1).out.jpg: 160x120 -> 80x60, scale+grayscale (")
    assert run("plate (1).jpg", "-o", "b.jpg").returncode == 0
    assert (tmp_path / "b.jpg").read_bytes() == (tmp_path / "plate (1).out.jpg").read_bytes()
    for words, code, text in [
        (("nobody.jpg",), 2, "nobody.jpg: No such file"),
        (("plate (1).jpg", "-o", "no/such/b.jpg"), 2, "no/such/b.jpg"),
        (("http://127.0.0.1:1/a.jpg",), 1, "PERMISSION_DENIED"),
        (("plate (1).jpg", "--ca", "none.pem"), 2, "none.pem"),
    ]:
        done = run(*words)
        assert (done.returncode, len(done.stderr.splitlines()), text in done.stderr) == (code, 1, True), done.stderr
    api.stop()
    told = run("plate (1).jpg").stderr
    assert told.startswith(
        f"service/loadtest/client.py: UNAVAILABLE: {where}: nothing answers there (Connection refused)"
    )


def test_threads_do_not_gather(farm: Farm) -> None:
    api, _ = farm.pair("--size", "80x60")
    stub = scaler(api)
    for _ in range(20):
        stub.ScaleImage(content(picture()), timeout=5)
    threads = len(list(Path(f"/proc/{api.process.pid}/task").iterdir()))
    workers = [threading.Thread(target=lambda: stub.ScaleImage(content(picture()), timeout=20)) for _ in range(50)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(list(Path(f"/proc/{api.process.pid}/task").iterdir())) <= threads + 40
