"""The load generator, against gRPC servers on loopback whose speed and answers are known."""

from __future__ import annotations

import json
import time
from pathlib import Path

import grpc

from tests.service.load_target import begin, echo, measured, serving
from tests.waiting import wait_until


def test_a_rate_is_kept_however_long_answers_take(images: Path) -> None:
    def slowly(content: bytes, _: grpc.ServicerContext) -> bytes:
        time.sleep(0.3)
        return content

    with serving(slowly) as server:
        report = measured(server, images, "--rate", "20:40", "--seconds", "2")
    assert len(server.came) == report["requests"] == report["ok"] == 60  # 30 a second on average
    assert report["latency_ms"]["p50"] >= 300
    assert report["mode"] == "rate"
    assert report["ramp"] == {"first": 20, "last": 40, "seconds": 2}
    first, second = (
        sum(row["ended"] for row in report["series"] if low <= row["second"] < high) for low, high in ((0, 1), (1, 99))
    )
    assert first < second


def test_images_are_sent_in_turn_and_files_that_are_none_are_not(images: Path) -> None:
    with serving(echo) as server:
        measured(server, images, "--rate", "30", "--seconds", "1", "--connections", "1")
    files = [images / name for name in ("b.PNG", "it's [1].jpg", "more/c.webp")]
    assert {content: server.came.count(content) for content in server.came} == {path.read_bytes(): 10 for path in files}


def test_so_many_are_under_way_at_once(images: Path) -> None:
    def briefly(content: bytes, _: grpc.ServicerContext) -> bytes:
        time.sleep(0.02)
        return content

    with serving(briefly) as server:
        report = measured(server, images, "--concurrency", "1:6", "--seconds", "2")
    assert server.most == 6
    assert report["codes"] == {"OK": len(server.came)}
    assert report["series"][0]["ended"] < report["series"][1]["ended"]


def test_connections_are_as_many_as_asked_for(images: Path) -> None:
    with serving(echo) as server:
        measured(server, images, "--rate", "20", "--seconds", "1", "--connections", "3")
    assert len(server.peers) == 3


def test_a_stall_is_seen_by_all_who_came_in_it(images: Path) -> None:
    """Coordinated omission: one second's stall at 50 a second is no single slow request but fifty."""
    begun: list[float] = []

    def stall(content: bytes, _: grpc.ServicerContext) -> bytes:
        begun.append(time.monotonic())
        while 0.5 < time.monotonic() - begun[0] < 1.5:
            time.sleep(0.01)
        return content

    with serving(stall) as server:
        report = measured(server, images, "--rate", "50", "--seconds", "2")
        # Even if no more than one may be on its way: the others' time runs while they wait here.
        begun.clear()
        limited = measured(server, images, "--rate", "50", "--seconds", "2", "--limit", "1")
    for each in (report, limited):
        assert each["requests"] == 100
        assert each["latency_ms"]["p90"] > 700
        assert each["latency_ms"]["p99"] > 900


def test_what_waits_here_too_long_has_failed(images: Path) -> None:
    def slowly(content: bytes, _: grpc.ServicerContext) -> bytes:
        time.sleep(0.2)
        return content

    with serving(slowly) as server:
        report = measured(server, images, "--rate", "40", "--seconds", "1", "--limit", "1", "--timeout", "0.5", code=1)
    assert report["requests"] == 40
    assert report["codes"]["DEADLINE_EXCEEDED"] > 20
    assert report["latency_of_all_ms"]["max"] < 1000


def test_failures_are_counted_by_their_codes(images: Path) -> None:
    numbers = iter(range(10_000))

    def now_and_then(content: bytes, context: grpc.ServicerContext) -> bytes:
        if next(numbers) % 4 == 0:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
        return content

    with serving(now_and_then) as server:
        report = measured(server, images, "--rate", "40", "--seconds", "1", code=1)
    assert report["codes"] == {"OK": 30, "RESOURCE_EXHAUSTED": 10}
    assert (report["ok"], report["failed"]) == (30, 10)
    assert report["messages"] == {"RESOURCE_EXHAUSTED": "the queue is full"}
    assert sum(row["codes"].get("RESOURCE_EXHAUSTED", 0) for row in report["series"]) == 10


def test_a_closed_loop_does_not_spin_on_refusals(images: Path) -> None:
    def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    with serving(refuse) as server:
        report = measured(server, images, "--concurrency", "2", "--seconds", "1", code=1)
    assert report["ok"] == 0
    assert report["latency_ms"] == {}
    assert 2 <= report["requests"] <= 22


def test_a_server_that_goes_away_is_a_failure_and_no_crash(images: Path) -> None:
    path = images.parent / "load.json"
    with serving(echo) as server:
        process = begin("--images", images, "--target", server.target, "--rate", "50", "--seconds", "2", "--json", path)
        wait_until(lambda: len(server.came) > 20)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    report = json.loads(path.read_text())
    assert report["requests"] == 100
    assert report["ok"] > 20
    assert report["codes"]["UNAVAILABLE"] > 0
