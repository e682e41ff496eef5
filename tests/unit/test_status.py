"""What `fab status` prints of a fleet."""

from __future__ import annotations

import dataclasses

from provision.status import HostStatus, problems, table

DIGEST = "sha256:" + "0123456789ab" * 5 + "cdef"
HUB = HostStatus(
    "hub", "hub", "192.168.176.10", True, docker="26.1.5+dfsg1", load=0.5, cpus=2, disk_free=10**10, disk_total=10**11
)
WORKER = dataclasses.replace(HUB, name="worker-12", role="worker", images=(f"process.py {DIGEST}",))


def test_a_host_has_a_line() -> None:
    assert table([HUB, WORKER]).splitlines() == [
        "HOST       ADDRESS         REACHABLE  DOCKER  LOAD       DISK FREE  IMAGE",
        "hub        192.168.176.10  yes        26.1.5  0.50 of 2  10.0 GB    -",
        "worker-12  192.168.176.10  yes        26.1.5  0.50 of 2  10.0 GB    process.py 0123456789ab",
    ]


def test_the_image_that_was_deployed_last_is_named_and_the_others_counted() -> None:
    images = tuple(f"localhost:5000/team/image-{number}:1.0 {DIGEST}" for number in range(20))
    *_, line = table([HUB, dataclasses.replace(WORKER, images=images)]).splitlines()
    assert line.endswith("localhost:5000/team/image-19:1.0 0123456789ab + 19")
    assert all(
        len(line) <= 100
        for line in table([HUB, WORKER, dataclasses.replace(WORKER, images=("a " + DIGEST,) * 20)]).splitlines()
    )


def test_why_a_host_can_not_be_reached_stands_below() -> None:
    away = HostStatus("worker-2", "worker", "10.0.0.2", False, "Connection timed out")
    assert table([HUB, away]).splitlines()[2:] == [
        "worker-2  10.0.0.2        no         -       -          -          -",
        "worker-2: Connection timed out",
    ]
    assert problems([HUB, away, dataclasses.replace(WORKER, docker="")]) == [
        "worker-2 can't be reached",
        "worker-12: its Docker does not answer",
    ]
