"""Who may come in."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.providers.ec2 import network
from provision.providers.ec2.api import Api
from provision.providers.ec2.instance import fleet_tags, of_name
from tests.ec2.cloud import Cloud
from tests.ec2.killed import launched, until_said
from tests.fleet.harness import Fab

HOME, CAFE, OFFICE = "203.0.113.7/32", "192.0.2.9/32", "198.51.100.0/24"


def open_to(cloud: Cloud) -> set[str]:
    (group,) = cloud.groups("sky")
    return {item["CidrIp"] for rule in group["IpPermissions"] for item in rule["IpRanges"]}


def test_the_group_follows_the_client(api: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in api.environment.items():
        monkeypatch.setenv(name, value)
    tags = fleet_tags("sky", "0123", "me", "/home", 3600)
    wanted = network.Group(("0123",), "fanrun-sky", "", of_name("sky"), tags)

    def ensure(own: str, *others: str) -> list[str]:
        return network.ensure_group(Api("us-east-1"), wanted, (own, others))[1]

    assert ensure(HOME, OFFICE) == [f"SSH is open to {OFFICE}", f"SSH is open to {HOME}"]
    assert open_to(api) == {HOME, OFFICE}
    assert ensure(HOME, OFFICE) == []
    assert ensure(CAFE, OFFICE) == [f"SSH is open to {CAFE}", f"SSH is shut to {HOME}"]
    assert open_to(api) == {CAFE, OFFICE}
    assert ensure("", "192.0.2.0/24") == ["SSH is open to 192.0.2.0/24", f"SSH is shut to {OFFICE}"]
    assert open_to(api) == {CAFE, "192.0.2.0/24"}, "where the client is now nobody could tell"
    (group,) = api.groups("sky")
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    Api("us-east-1").call("authorize_security_group_ingress", GroupId=group["GroupId"], IpPermissions=[rule])
    ensure(HOME)
    assert open_to(api) == {HOME, "10.0.0.0/8"}, "somebody else's rule stays"


def test_up_brings_the_group_to_what_is_asked(api: Cloud, tmp_path: Path) -> None:
    fab = Fab(tmp_path / "home", "sky", environment=api.environment)
    launched(fab, "worker-1", "--hosts=1", "--provider=ec2", f"--allow={HOME}")
    assert open_to(api) == {HOME}
    seen = until_said(fab.start("up", f"--allow={OFFICE}"), "SSH is shut to")
    assert open_to(api) == {OFFICE}, seen
    fab("down")
    assert api.left("sky") == []
