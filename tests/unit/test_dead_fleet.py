"""What `fab` tells about a fleet of which no host answers, and what it does without any host."""

from __future__ import annotations

import dataclasses
import json
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from tests.unit.fab_world import DEAD, FabWorld


def test_a_retry_of_a_run_without_failures_is_done_at_once(fab_world: FabWorld) -> None:
    done = fab_world.fab("retry", "--dst={top}/proven")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"nothing failed in the last run into {fab_world.top}/proven\n"


def test_a_proof_without_any_host(fab_world: FabWorld) -> None:
    done = fab_world.fab("verify", "--dst={top}/proven", home="none")
    assert done.returncode == 0
    assert done.stdout == f"1 of 1 input in {fab_world.top}/src have their results: 1 file, as made\n"


def test_a_proof_that_fails_ends_with_1(fab_world: FabWorld) -> None:
    done = fab_world.fab("verify", "--dst={top}/tampered", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["faults"] == {"a.jpg": "its result a.jpg is not what was made"}
    assert (told["inputs"], told["proven"]) == (1, 0)
    assert "error" not in done.stderr


def test_the_status_of_a_dead_fleet_has_a_row_for_every_host(fab_world: FabWorld) -> None:
    done = fab_world.fab("status", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    assert [(row["name"], row["reachable"]) for row in json.loads(done.stdout)["hosts"]] == [
        (host.name, False) for host in DEAD
    ]


def test_a_command_on_a_dead_fleet_fails_on_every_worker(fab_world: FabWorld) -> None:
    done = fab_world.fab("exec", "--command=true")
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.split(" no SSH")[0] for line in done.stderr.splitlines()] == ["worker-1: error:", "worker-2: error:"]


@pytest.fixture
def rude() -> Iterator[int]:
    """The port of a server that resets every connection, as a host does whose sshd has just been killed."""

    def hang_up() -> None:
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            caller.recv(1)  # its first word is waited for: it waits for ours then
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=hang_up)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_host_that_hangs_up_is_told_in_one_line(fab_world: FabWorld, rude: int) -> None:
    fab_world.make_fleet("rude", tuple(dataclasses.replace(host, port=rude) for host in DEAD))
    done = fab_world.fab("exec", "--command=true", home="rude")
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.split(" no SSH")[0] for line in done.stderr.splitlines()] == ["worker-1: error:", "worker-2: error:"]
