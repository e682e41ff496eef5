"""Lines of the service's containers, as `docker logs` gives them."""

from __future__ import annotations

import pytest

from fanrun.tasks.service_logs import parse

TIME = "2026-11-27T19:04:39.123456789Z"


@pytest.mark.parametrize("message", ["ready", "", "  two  words ", "a\rb", "a\x0bb\x0cc\x1cd", "a\x85b\u2028c\u2029d"])
def test_a_line_is_whole(message: str) -> None:
    found = list(parse(f"{TIME} {message}\n{TIME} next\n", host="worker-1", container="api", stream="stdout"))
    assert [line.message for _, line in found] == [message, "next"]
    assert {time for time, _ in found} == {TIME}
    assert found[0][1].record == {
        "timestamp": "2026-11-27T19:04:39.123Z", "host": "worker-1", "service": "api", "stream": "stdout",
        "message": message,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("message", "level"),
    [('{"level": "error", "message": "x"}', "error"), ('{"level": "loud"}', ""), ("[1]", ""), ("error: x", "")],
)
def test_a_level_is_that_of_the_services_json(message: str, level: str) -> None:
    ((_, line),) = parse(f"{TIME} {message}\n", host="worker-1", container="api", stream="stderr")
    assert (line.level, line.record.get("level", "")) == (level, level)


def test_what_docker_itself_says_is_no_line() -> None:
    assert list(parse("Error response from daemon: none\n", host="h", container="c", stream="stderr")) == []
