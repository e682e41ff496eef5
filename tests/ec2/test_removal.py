"""What can't be removed is named, and holds up nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ec2.calls import Fault
from tests.ec2.cloud import Cloud
from tests.ec2.killed import launched
from tests.ec2.test_up import ALLOW
from tests.fleet.harness import Fab

pytestmark = pytest.mark.long

Before = Callable[[str, dict[str, str]], None]


def refuse(*actions: str) -> Before:
    """Nobody may call these."""

    def before(called: str, arguments: dict[str, str]) -> None:
        if called in actions:
            raise Fault("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)

    return before


def at_first(action: str, code: str, times: int = 2) -> Before:
    """A call is answered so the first times."""
    seen = Counter[str]()

    def before(called: str, arguments: dict[str, str]) -> None:
        seen[called] += 1
        if called == action and seen[called] <= times:
            raise Fault(code)

    return before


def nothing(called: str, arguments: dict[str, str]) -> None:
    """All calls are answered."""


@pytest.fixture
def fab(api: Cloud, tmp_path: Path) -> Fab:
    """A fleet that is up, as far as Amazon is concerned."""
    fab = Fab(tmp_path / "home", "sky", environment=api.environment)
    launched(fab, "worker-1", "--hosts=1", "--provider=ec2", ALLOW)
    return fab


def spare_volume(api: Cloud) -> None:
    """One that did not go with its instance."""
    volume = api.backend.create_volume(size=8, zone_name="us-east-1a")
    tags = {tag["key"]: tag["value"] for each in api.alive().values() for tag in each.get_tags()}
    volume.add_tags({key: tags[key] for key in ("fanrun:fleet", "fanrun:id", "fanrun:owner", "fanrun:folder")})


@pytest.mark.parametrize(
    ("action", "how", "left"),
    [
        ("DescribeInstances", "docs/iam-policy.json", ("instance", "group", "key", "volume")),
        (
            "TerminateInstances",
            "`aws ec2 terminate-instances --region us-east-1 --instance-ids i-",
            ("instance", "group", "volume"),
        ),
        ("DescribeVolumes", "`aws ec2 describe-volumes --region us-east-1`", ("volume",)),
        ("DeleteVolume", "`aws ec2 delete-volume --region us-east-1 --volume-id vol-", ("volume",)),
        ("DescribeSecurityGroups", "`aws ec2 describe-security-groups --region us-east-1`", ("group",)),
        ("DeleteSecurityGroup", "`aws ec2 delete-security-group --region us-east-1 --group-id sg-", ("group",)),
        ("DescribeKeyPairs", "`aws ec2 describe-key-pairs --region us-east-1`", ("key",)),
        ("DeleteKeyPair", "`aws ec2 delete-key-pair --region us-east-1 --key-name fanrun-sky-", ("key",)),
    ],
)
def test_down_removes_what_it_may(api: Cloud, fab: Fab, action: str, how: str, left: tuple[str, ...]) -> None:
    spare_volume(api)
    api.before = refuse(action)
    done = fab("down", code=1)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert f"you may not call ec2:{action}; docs/iam-policy.json" in line
    assert how in line
    assert {each.split()[0] for each in api.left("sky")} == set(left)
    api.before = nothing
    fab("down")
    assert api.left("sky") == []


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("DeleteVolume", "VolumeInUse"),
        ("DeleteSecurityGroup", "DependencyViolation"),
        ("TerminateInstances", "InvalidInstanceID.NotFound"),
    ],
)
def test_what_is_still_in_use_is_waited_for(api: Cloud, fab: Fab, action: str, code: str) -> None:
    spare_volume(api)
    api.before = at_first(action, code)
    fab("down")
    assert api.left("sky") == []


def test_status_shows_the_hosts_whatever_amazon_refuses(api: Cloud, fab: Fab) -> None:
    api.before = refuse("DescribeInstances")
    done = fab("status", code=1)
    assert "worker-1" in done.stdout
    assert "you may not call ec2:DescribeInstances; docs/iam-policy.json" in done.stderr.splitlines()[-1]
    assert "worker-1" in fab("status", "--json", code=1).stdout
