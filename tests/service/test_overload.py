"""Too many calls: who waits, who is sent away, who is dropped; and health answers all the while."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from PIL import Image

from service.protos import imageprocessor_pb2 as pb
from tests.service.conftest import picture
from tests.service.servers import Failure, Farm, Served, content, failure, health, processor, scaler
from tests.variants import some
from tests.waiting import wait_until


def heavy() -> bytes:
    """An image that takes a good part of a second."""
    target = io.BytesIO()
    Image.effect_noise((4000, 3000), 60).convert("RGB").save(target, "PNG", compress_level=1)
    return target.getvalue()


HEAVY = heavy()
WORK = pb.ProcessRequest(image=HEAVY, scale=pb.Scale(width=2000, height=1500))


def in_background(call: Callable[[], object], count: int) -> tuple[list[threading.Thread], list[Failure]]:
    """Threads that make this call, and the failures they will have met."""
    failures: list[Failure] = []

    def once() -> None:
        try:
            call()
        except grpc.RpcError as error:
            failures.append(Failure(error.code().name, error.details() or "", {}))

    threads = [threading.Thread(target=once) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, failures


def retry_delay(failed: Failure) -> float:
    """Seconds that google.rpc.RetryInfo asks to wait."""
    status, info = status_pb2.Status(), error_details_pb2.RetryInfo()
    details = failed.trailers["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    status.ParseFromString(details)
    assert status.details[0].Unpack(info)
    return float(info.retry_delay.ToMilliseconds()) / 1000


def test_who_finds_the_queue_full_is_told_when_to_come_again(farm: Farm) -> None:
    served = farm.processor("--slots", "1", "--queue", "1")
    stub = processor(served)
    threads, failures = in_background(lambda: stub.Process(WORK, timeout=60), 2)
    wait_until(lambda: served.metrics()["imageprocessor_queue_depth"] == 1, 20)
    assert served.metrics()["imageprocessor_busy"] == 1
    failed = failure(lambda: stub.Process(WORK, timeout=60))
    assert failed.code == "RESOURCE_EXHAUSTED"
    assert 0 < retry_delay(failed) <= 10
    for thread in threads:
        thread.join()
    assert failures == []
    found = served.metrics()
    assert (found["imageprocessor_rejected_total"], found["imageprocessor_busy"]) == (1, 0)


def test_the_api_passes_that_on(farm: Farm) -> None:
    served = farm.processor("--slots", "1", "--queue", "0")
    api = farm.api("--processor", f"127.0.0.1:{served.ready['listen']}")
    threads, failures = in_background(lambda: processor(served).Process(WORK, timeout=60), 1)
    wait_until(lambda: served.metrics()["imageprocessor_busy"] == 1, 20)
    failed = failure(lambda: scaler(api).ScaleImage(content(picture()), timeout=10))
    assert (failed.code, retry_delay(failed) > 0) == ("RESOURCE_EXHAUSTED", True)
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_api_that_is_full_says_so(farm: Farm) -> None:
    served = farm.processor("--slots", "1")
    api = farm.api("--processor", f"127.0.0.1:{served.ready['listen']}", "--calls", "1")
    threads, _ = in_background(lambda: scaler(api).ScaleImage(content(HEAVY), timeout=60), 1)
    wait_until(lambda: served.metrics()["imageprocessor_busy"] == 1, 20)
    failed = failure(lambda: scaler(api).ScaleImage(content(picture()), timeout=10))
    assert (failed.code, retry_delay(failed) > 0) == ("RESOURCE_EXHAUSTED", True)
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("gone", some(["cancelled", "late"], "cancelled"))
def test_who_is_gone_is_dropped_before_work(farm: Farm, gone: str) -> None:
    served = farm.processor("--slots", "1", "--queue", "9")
    stub = processor(served)
    threads, failures = in_background(lambda: stub.Process(WORK, timeout=60), 4)
    wait_until(lambda: served.metrics()["imageprocessor_queue_depth"] == 3, 20)
    small = pb.ProcessRequest(image=picture(), rotate=90)
    waiting = [stub.Process.future(small, timeout=1 if gone == "late" else 60) for _ in range(5)]
    if gone == "cancelled":
        wait_until(lambda: served.metrics()["imageprocessor_queue_depth"] == 8, 20)
        for call in waiting:
            call.cancel()
    for thread in threads:
        thread.join()
    wait_until(lambda: served.handled("CANCELLED") + served.handled("DEADLINE_EXCEEDED") == 5, 20)
    found = served.metrics()
    assert (found["imageprocessor_queue_depth"], found["imageprocessor_busy"], failures) == (0, 0, [])
    assert found["imageprocessor_queue_seconds_count"] == 4  # nobody else came to work


@pytest.mark.long
def test_a_deadline_goes_with_the_call(farm: Farm) -> None:
    served = farm.processor("--slots", "1")
    api = farm.api("--processor", f"127.0.0.1:{served.ready['listen']}")
    threads, failures = in_background(lambda: processor(served).Process(WORK, timeout=60), 3)
    wait_until(lambda: served.metrics()["imageprocessor_queue_depth"] == 2, 20)
    failed = failure(lambda: scaler(api).ScaleImage(content(picture()), timeout=1))  # it would wait longer than that
    assert failed.code == "DEADLINE_EXCEEDED"
    wait_until(lambda: served.handled("DEADLINE_EXCEEDED") + served.handled("CANCELLED") == 1, 20)
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_call_without_a_deadline_gets_one(farm: Farm) -> None:
    served = farm.processor("--slots", "1", "--deadline", "0.2")
    failed = failure(lambda: processor(served).Process(WORK))
    assert (failed.code, "0.2 s" in failed.details) == ("DEADLINE_EXCEEDED", True)


def check_health(served: Served, worst: list[float], stopped: threading.Event) -> None:
    """Ask for health over a connection of its own each time, as a prober does, and note how long it took."""
    while not stopped.is_set():
        began = time.monotonic()
        with grpc.insecure_channel(f"127.0.0.1:{served.ready['listen']}") as channel:
            assert health(channel, timeout=10) == "SERVING"
        worst.append(time.monotonic() - began)
        stopped.wait(0.1)


@contextmanager
def one_core() -> Iterator[None]:
    """What is started meanwhile has one core, the same one."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.alone
def test_health_answers_within_a_second_with_64_clients_at_one_core(farm: Farm) -> None:
    with one_core():
        served = farm.processor()
        api = farm.api("--processor", f"127.0.0.1:{served.ready['listen']}")
    assert served.metrics()["imageprocessor_slots"] == 1
    image, end = picture(1400, 1316), time.monotonic() + 6
    codes: list[str] = []

    def hammer() -> None:
        stub = scaler(api)
        while time.monotonic() < end:
            try:
                stub.ScaleImage(content(image), timeout=20)
                codes.append("OK")
            except grpc.RpcError as error:
                codes.append(error.code().name)

    taken: dict[str, list[float]] = {"api": [], "processor": []}
    stopped = threading.Event()
    with ThreadPoolExecutor(66) as pool:
        probes = [pool.submit(check_health, served, taken["processor"], stopped)]
        probes.append(pool.submit(check_health, api, taken["api"], stopped))
        for client in [pool.submit(hammer) for _ in range(64)]:
            client.result()
        stopped.set()
        for probe in probes:
            probe.result()
    assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}
    assert max(taken["api"] + taken["processor"]) < 1
    assert min(len(each) for each in taken.values()) > 10
