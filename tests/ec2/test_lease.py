"""Hosts end themselves when nobody works with them, whatever became of their boot."""

from __future__ import annotations

import signal
import threading
from functools import partial
from pathlib import Path

import pytest

from fanrun.fanout.commands import RUNS
from fanrun.fleet.probe import LEASE
from tests.ec2.cloud import Cloud
from tests.ec2.test_removal import refuse
from tests.ec2.test_up import ALLOW
from tests.fleet.harness import Fab, docker
from tests.waiting import wait_until

HOURS = 3600


@pytest.mark.long
def test_a_lease_lasts(cloud: Cloud, tmp_path: Path) -> None:
    """Also where the boot commands fail: then it is `up` that begins it."""
    cloud.boot_commands = False
    fab = Fab(tmp_path / "home", "sky", environment=cloud.environment)
    assert "ends itself 180 min after" in fab("up", "--hosts=1", "--provider=ec2", ALLOW, "--ttl=3h").stderr
    assert "nothing to change" in fab("up").stderr
    bodies = cloud.hosts()

    def leases() -> list[int]:
        return [host["lease"] for host in fab.status(code=None).values() if host["reachable"]]

    def age() -> None:
        for body in bodies.values():
            docker("exec", body, "touch", "-d", "-2 hours", LEASE)

    for task in (["ssh"], ["exec", "--command", "true"]):
        age()
        fab(*task)
        assert min(leases()) > 3 * HOURS - 120, f"fab {task} works with the hosts"

    age()
    docker("restart", "--time=0", bodies["worker-1"])
    wait_until(lambda: len(leases()) == 2)
    assert max(leases()) <= HOURS, "a reboot is no work"

    docker("exec", bodies["worker-1"], "sh", "-c", f"echo 1 >{LEASE}; touch -d '-1 min' {LEASE}")
    wait_until(lambda: not fab.status(code=None)["worker-1"]["reachable"])
    assert "it has ended itself" in fab.status(code=1)["worker-1"]["error"]
    fab("down")
    assert cloud.left("sky") == []


@pytest.mark.long
def test_leases_last_while_the_client_is_busy(cloud: Cloud, tmp_path: Path, program: str) -> None:
    """A resumed run reads its inputs before it speaks to a worker, and an image takes time to be built and pushed."""
    fab = Fab(tmp_path / "home", "sky", environment=cloud.environment)
    fab("up", "--hosts=1", "--provider=ec2", ALLOW)
    src, dst = tmp_path / "src", tmp_path / "dst"
    src.mkdir()
    (src / "small").write_text("done")
    run = ("run", f"--src={src}", f"--dst={dst}", "--image", program, "--args", "copy")
    fab(*run)
    with (src / "large").open("wb") as large:
        large.truncate(10**12)  # a hole: it takes no room, and hours to be read
    held, refused = threading.Event(), refuse("CreateImage")

    def hold(called: str, arguments: dict[str, str]) -> None:
        if called == "CreateImage":
            held.wait(120)
        refused(called, arguments)

    cloud.before = hold
    for argv in (run, ("bake",)):
        newest = max(age(cloud))
        process = fab.start(*argv)
        wait_until(partial(are_newer, cloud, newest))
        assert process.poll() is None
        assert docker("exec", cloud.hosts()["worker-1"], "sh", "-c", f"ls {RUNS}").split() == [], "no run is there yet"
        process.send_signal(signal.SIGINT)
        held.set()
        process.communicate()
    fab("down")
    assert cloud.left("sky") == []


def ages(cloud: Cloud) -> list[int]:
    """When each host's lease was last extended, in seconds since 1970."""
    return [int(docker("exec", body, "stat", "-c", "%Y", LEASE)) for _, body in sorted(cloud.hosts().items())]


def are_newer(cloud: Cloud, time: int) -> bool:
    return min(ages(cloud)) > time


def age(cloud: Cloud) -> list[int]:
    """Make all leases look as if nobody had worked with the hosts for two hours."""
    for body in cloud.hosts().values():
        docker("exec", body, "touch", "-d", "-2 hours", LEASE)
    return ages(cloud)
