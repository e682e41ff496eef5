"""Whose instances are whose: by the fleet's id, in every region, and in fleets from before there were ids."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.ec2.calls import ROOT_KEY, Fault
from tests.ec2.cloud import ACCOUNT, REGION, Cloud
from tests.ec2.killed import launched, until_said
from tests.ec2.test_removal import nothing, spare_volume
from tests.ec2.test_removal import refuse as refuse_calls
from tests.ec2.test_up import ALLOW
from tests.fleet.harness import Fab

pytestmark = pytest.mark.long

FAR = "eu-west-1"
UP = ("--hosts=1", "--provider=ec2", ALLOW)


@pytest.fixture
def fab(api: Cloud, tmp_path: Path) -> Fab:
    return Fab(tmp_path / "home", "sky", environment=api.environment)


def identity(fab: Fab) -> str:
    return (fab.home / fab.fleet / "id").read_text().strip()


def elsewhere(api: Cloud) -> Any:  # noqa: ANN401 - boto3 makes its classes as it runs
    """The API of another region, by one who may do all."""
    return boto3.client("ec2", FAR, endpoint_url=api.url, aws_access_key_id=ROOT_KEY, aws_secret_access_key="x")


def far_host(api: Cloud, fleet_id: str, owner: str = "eve@lab") -> str:
    """An instance in another region that carries the fleet's name."""
    tags = {"fleet": "sky", "id": fleet_id, "owner": owner, "folder": "/lab/sky", "names": "worker-1", "role": "worker"}
    spec = [{"ResourceType": "instance", "Tags": [{"Key": f"fanrun:{key}", "Value": tags[key]} for key in tags]}]
    image = elsewhere(api).describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    made = elsewhere(api).run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=spec)
    return str(made["Instances"][0]["InstanceId"])


def far_states(api: Cloud) -> list[str]:
    found = elsewhere(api).describe_instances()["Reservations"]
    return [each["State"]["Name"] for item in found for each in item["Instances"]]


@pytest.mark.long
def test_without_the_folder_hosts_are_listed_and_ended_by_their_id(api: Cloud, fab: Fab) -> None:
    launched(fab, "worker-1", *UP)
    spare_volume(api)
    known = identity(fab)
    shutil.rmtree(fab.home)
    told = fab("down", "--provider=ec2", code=1).stderr
    assert re.search(
        rf"left alone: id {known}, of \S+@\S+, 2 hosts \(hub, worker-1\), volume vol-\w+, made \d+ s ago, "
        rf"in region {REGION} of AWS account {ACCOUNT}, begun in {fab.home / 'sky'}; ",
        told,
    ), told
    assert f"`fab down --provider=ec2 --region={REGION} --fleet=sky --take-over={known}` ends it" in told
    assert len(api.alive()) == 2
    fab("down", "--provider=ec2", f"--region={REGION}", f"--take-over={known}")
    assert api.left("sky") == []
    told = fab("down", "--provider=ec2").stderr
    assert f"there were no hosts in AWS account {ACCOUNT}, in its enabled regions (" in told
    assert REGION in told
    assert FAR in told


def test_every_enabled_region_is_looked_at(api: Cloud, fab: Fab) -> None:
    far_host(api, "0123456789abcdef")
    told = fab("down", "--provider=ec2", code=1).stderr
    known = rf"id 0123456789abcdef, of eve@lab, 1 host \(worker-1\), made \d+ s ago, in region {FAR} of AWS"
    assert re.search(known, told)
    command = f"fab down --provider=ec2 --region={FAR} --fleet=sky --take-over=0123456789abcdef"
    assert command in told
    assert far_states(api) == ["running"]
    fab(*command.split()[1:3], f"--region={FAR}", "--take-over=0123456789abcdef")
    assert far_states(api) == ["terminated"]


def test_a_damaged_folder_and_another_region_are_no_all_clear(api: Cloud, fab: Fab) -> None:
    launched(fab, "worker-1", *UP)
    (fab.home / "sky" / "fleet.json").write_text("{")
    told = fab("down", "--provider=ec2", f"--region={FAR}", code=1).stderr
    assert re.search(
        rf"id {identity(fab)}, of \S+, 2 hosts \(hub, worker-1\), made \d+ s ago, in region {REGION}", told
    )
    assert f"`fab down --provider=ec2 --region={REGION} --fleet=sky` ends it" in told
    assert len(api.alive()) == 2
    assert "hub, worker-1" in fab("down", "--provider=ec2", f"--region={REGION}").stderr
    assert api.left("sky") == []


def test_a_region_that_can_not_be_looked_at_is_no_all_clear(api: Cloud, fab: Fab) -> None:
    """What the other regions have is listed all the same."""
    far = far_host(api, "0123456789abcdef")
    near = Fab(fab.home.with_name("near"), "sky", environment=api.environment)
    launched(near, "worker-1", *UP)
    calls = Counter[str]()

    def refuse(called: str, arguments: dict[str, str]) -> None:
        calls[called] += 1
        if called == "DescribeTags" and calls[called] == 5:
            raise Fault("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)

    api.before = refuse
    told = fab("down", "--provider=ec2", code=1).stderr
    assert re.search(r"region [a-z]+-[a-z]+-\d: you may not call ec2:DescribeTags", told)
    assert "is gone" not in told
    assert re.search(r"left alone: id [0-9a-f]{16}, of \S+, [12] hosts? \(", told)
    api.before = nothing
    assert not fab.home.exists() or not list(fab.home.iterdir())
    near("down")
    elsewhere(api).terminate_instances(InstanceIds=[far])


@pytest.mark.parametrize("spared", ["volume", "security group", "key pair"])
def test_what_is_left_without_hosts_is_listed_too(api: Cloud, fab: Fab, spared: str) -> None:
    launched(fab, "worker-1", *UP)
    spare_volume(api)
    action = {"volume": "DeleteVolume", "security group": "DeleteSecurityGroup", "key pair": "DeleteKeyPair"}[spared]
    api.before = refuse_calls(action)
    fab("down", code=1)
    api.before = nothing
    known = identity(fab)
    shutil.rmtree(fab.home)
    told = fab("down", "--provider=ec2", code=1).stderr
    assert re.search(rf"id {known}, of \S+, 0 hosts, {spared} \S+", told), told
    fab("down", "--provider=ec2", f"--take-over={known}")
    assert api.left("sky") == []


def test_another_ones_host_does_not_fail_a_down_that_ended_its_own(api: Cloud, fab: Fab, tmp_path: Path) -> None:
    launched(fab, "worker-1", *UP)
    other = Fab(tmp_path / "other", "sky", environment={**api.environment, "FANRUN_OWNER": "eve@lab"})
    launched(other, "worker-1", *UP)
    told = fab("down").stderr
    assert "of eve@lab, 2 hosts" in told
    assert "fleet sky is gone: hub, worker-1" in told
    assert len(api.alive()) == 2
    assert "nothing was ended" in fab("down", "--provider=ec2", code=1).stderr
    assert len(api.alive()) == 2
    other("down")
    assert api.left("sky") == []


def test_up_starts_no_second_fleet_of_one_owner(api: Cloud, fab: Fab) -> None:
    """As when two jobs share neither folder nor host, but the account and the name of their user."""
    launched(fab, "worker-1", *UP)
    known, before = identity(fab), set(api.alive())
    fab.home.rename(fab.home.with_name("of another job"))
    told = fab("up", *UP, code=2).stderr
    assert f"`fab up --take-over={known} --fleet sky`" in told
    assert set(api.alive()) == before
    assert api.calls.count("RunInstances") == 2
    until_said(fab.start("up", *UP, f"--take-over={known}"), "launched at")
    assert before.isdisjoint(api.alive())
    fab("down", "--provider=ec2")
    assert api.left("sky") == []


def make_old(api: Cloud, fab: Fab) -> None:
    """Make a fleet be one of the version before ids: no tag has one, nor has its folder."""
    tagged = api.client.describe_tags(Filters=[{"Name": "key", "Values": ["fanrun:id"]}])["Tags"]
    assert {each["ResourceType"] for each in tagged} >= {"instance", "volume", "security-group", "key-pair"}
    api.client.delete_tags(Resources=[each["ResourceId"] for each in tagged], Tags=[{"Key": "fanrun:id"}])
    folder = fab.home / fab.fleet
    (folder / "id").unlink()
    data = json.loads((folder / "fleet.json").read_text())
    (folder / "fleet.json").write_text(json.dumps(data["fleet"]))


def test_a_fleet_of_an_older_version_is_ended_by_the_folder_with_its_keys(api: Cloud, fab: Fab, tmp_path: Path) -> None:
    launched(fab, "worker-1", *UP)
    make_old(api, fab)
    other = Fab(tmp_path / "other", "sky", environment=api.environment)
    told = other("down", "--provider=ec2", code=1).stderr
    assert re.search(r"id old-[0-9a-f]{12}, of \S+, 2 hosts", told)
    moved = Fab(tmp_path / "moved", "sky", environment=api.environment)
    fab.home.rename(moved.home)
    assert "hub, worker-1" in moved("down").stderr
    assert api.left("sky") == []


def test_a_fleet_of_an_older_version_is_ended_without_its_fleet_json(api: Cloud, fab: Fab) -> None:
    """What it is known by must be noted before its instances are gone: volumes and groups carry no address."""
    launched(fab, "worker-1", *UP)
    spare_volume(api)
    make_old(api, fab)
    (fab.home / fab.fleet / "fleet.json").write_text("{")
    assert "hub, worker-1" in fab("down", "--provider=ec2", f"--region={REGION}").stderr
    assert api.left("sky") == []


def test_a_fleet_of_an_older_version_is_not_taken_over_from_itself(api: Cloud, fab: Fab, tmp_path: Path) -> None:
    launched(fab, "worker-1", *UP)
    make_old(api, fab)
    other = Fab(tmp_path / "other", "sky", environment=api.environment)
    known = re.search("id (old-[0-9a-f]{12}), ", other("down", "--provider=ec2", code=1).stderr)
    assert known
    assert "is the id of fleet sky itself" in fab("down", f"--take-over={known[1]}", code=2).stderr
    assert len(api.alive()) == 2
    fab("down")
    assert api.left("sky") == []


def test_a_fleet_of_an_older_version_grows(api: Cloud, fab: Fab) -> None:
    """New instances join the group that the old ones are in; all of it goes in the end."""
    launched(fab, "worker-1", *UP)
    make_old(api, fab)
    before = set(api.alive())
    (group,) = api.groups("sky")
    launched(fab, "worker-2", "--hosts=2")
    assert before < set(api.alive())
    assert [each["GroupId"] for each in api.groups("sky")] == [group["GroupId"]]
    fab("down")
    assert api.left("sky") == []
