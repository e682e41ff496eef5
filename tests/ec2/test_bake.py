"""Images of Fanrun's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.ec2.cloud import Cloud
from tests.ec2.killed import launched
from tests.ec2.test_removal import at_first, nothing, refuse
from tests.ec2.test_up import ALLOW
from tests.fleet.harness import Fab, docker

MADE = ("up", "--hosts=1", "--provider=ec2", ALLOW)


@pytest.mark.long
def test_the_next_hosts_start_from_it(bare_cloud: Cloud, tmp_path: Path) -> None:
    fab = Fab(tmp_path / "home", "sky", environment=bare_cloud.environment)
    assert "no fleet sky" in fab("bake", "--provider=ec2", code=2).stderr
    assert "installed" in fab(*MADE).stderr
    old = (tmp_path / "home" / "sky" / "key.pub").read_text().split()[1]
    made = bake(bare_cloud, fab)
    fab("down")
    assert bare_cloud.left("sky") == []

    stranger = Fab(tmp_path / "home", "sun", environment={**bare_cloud.environment, "FANRUN_OWNER": "ben"})
    assert "there were no images" in stranger("bake", "--delete", "--provider=ec2").stderr
    launched(stranger, "worker-1", "--hosts=1", "--provider=ec2", ALLOW)
    assert made not in {each.image_id for each in bare_cloud.alive().values()}, "each owner has images of their own"
    stranger("down")

    again = Fab(tmp_path / "home", "sea", environment=bare_cloud.environment)
    lines = again(*MADE).stderr.splitlines()
    assert {each.image_id for each in bare_cloud.alive().values()} == {made}
    assert not [line for line in lines if line.startswith("worker-1") and "installed" in line]
    for container in bare_cloud.hosts().values():
        keys = docker("exec", container, "cat", "/home/fanrun/.ssh/authorized_keys")
        assert old not in keys, "the fleet that it was made from may not come in"
        assert len(keys.splitlines()) == 1
    again("down")
    delete(bare_cloud, again)


def bake(cloud: Cloud, fab: Fab) -> str:
    """Make an image, after calls that were refused and an image that was deleted; return its ID."""
    cloud.before = refuse("CreateImage")
    assert "you may not call ec2:CreateImage; docs/iam-policy.json" in fab("bake", code=1).stderr
    cloud.before = refuse("DescribeImages")
    begun = fab("bake", code=1).stderr
    assert re.search(
        r"image ami-\w+ is being made, but you may not call ec2:DescribeImages.*`fab bake --delete --fleet s..`", begun
    )
    cloud.before = nothing
    assert re.search(r"image ami-\w+, snapshot snap-\w+", fab("bake", "--delete").stderr)
    made = re.search(r"ami-\w+", fab("bake").stderr)
    assert made
    return made[0]


def delete(cloud: Cloud, again: Fab) -> None:
    """Delete the image and its snapshot, after calls that were refused."""
    for action, what in (("DeregisterImage", "image"), ("DeleteSnapshot", "snapshot")):
        cloud.before = refuse(action)
        line = again("bake", "--delete", "--provider=ec2", code=1).stderr.splitlines()[-1]
        assert f"you may not call ec2:{action}; docs/iam-policy.json" in line
        assert re.search(rf"left: .*`aws ec2 {action[:6].lower()}.* --{what}-id ", line)
        assert line.endswith("then `fab bake --delete --fleet sea` again")
    cloud.before = at_first("DeleteSnapshot", "InvalidSnapshot.InUse")
    assert "removed: snapshot snap-" in again("bake", "--delete", "--provider=ec2").stderr
    tagged = [each for each in cloud.backend.amis.values() if each.get_tags()]
    assert tagged == []
    assert [each for each in cloud.backend.snapshots.values() if each.get_tags()] == []
    assert "there were no images" in again("bake", "--delete", "--provider=ec2").stderr


def test_local_hosts_need_no_image(tmp_path: Path) -> None:
    fab = Fab(tmp_path / "home", "sky")
    assert "to remove those of EC2, use --provider=ec2" in fab("bake", "--delete", code=2).stderr
    assert "no fleet sky" in fab("bake", code=2).stderr
