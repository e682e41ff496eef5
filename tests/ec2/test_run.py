"""A run on instances that Amazon ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ec2.cloud import Cloud
from tests.ec2.test_up import ALLOW
from tests.fleet.harness import Fab, docker, report, tree
from tests.waiting import wait_until

SPOT = "ended by Amazon: spot interruption"


@pytest.mark.long
def test_a_spot_interruption_is_told_as_one(cloud: Cloud, tmp_path: Path, src: Path, program: str) -> None:
    fab = Fab(tmp_path / "home", "sky", environment=cloud.environment)
    fab("up", "--hosts=2", "--provider=ec2", "--spot", ALLOW)
    argv = ["run", f"--src={src}", f"--image={program}", "--args=slow 5"]
    assert interrupted(cloud, fab, argv, tmp_path / "one", "worker-2") == 0
    assert len(tree(tmp_path / "one")) == 12, "the other worker has done all of it"
    assert interrupted(cloud, fab, argv, tmp_path / "two", "worker-1") == 3
    assert SPOT in fab.status(code=1)["worker-1"]["error"]
    fab("down")
    assert cloud.left("sky") == []


def interrupted(cloud: Cloud, fab: Fab, argv: list[str], dst: Path, worker: str) -> int:
    """The exit code of a run in whose midst a worker is taken back; says so in its output and in its report."""
    body = cloud.hosts()[worker]
    instance = next(key for key, each in cloud.containers.items() if each == body)
    process = fab.start(*argv, f"--dst={dst}")
    wait_until(lambda: docker("exec", body, "docker", "ps", "--quiet"))
    cloud.calls.clear()
    cloud.end(instance, "Server.SpotInstanceTermination", "Spot instance termination")
    _, said = process.communicate(timeout=120)
    assert f"{worker} is gone: {SPOT}" in said, said
    assert len([call for call in cloud.calls if call == "DescribeInstances"]) <= 2, "no question is asked in a loop"
    lost = {each["name"]: each["lost"] for each in report(dst)["workers"]}
    assert [text.partition(";")[0] for text in lost[worker]] == [SPOT]
    return int(process.returncode)
