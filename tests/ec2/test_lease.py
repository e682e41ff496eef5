"""Hosts end themselves when nobody works with them, whatever became of their boot."""

from __future__ import annotations

from pathlib import Path

from provision.probe import LEASE
from tests.ec2.cloud import Cloud
from tests.ec2.test_up import ALLOW
from tests.fleet.harness import Fab, docker
from tests.waiting import wait_until

HOURS = 3600


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
