"""A fleet of instances, from nothing to gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from moto.ec2.models.instances import Instance

from fanrun.fleet.probe import LEASE
from provision.hosts.ssh_key import ssh_key
from tests.ec2.cloud import Cloud
from tests.ec2.killed import launched
from tests.fleet.harness import Fab, docker, tree
from tests.waiting import wait_until

ALLOW = "--allow=192.0.2.0/24"


@pytest.mark.long
def test_the_whole_way(bare_cloud: Cloud, tmp_path: Path, src: Path) -> None:
    fab = Fab(tmp_path / "home", "sky", environment=bare_cloud.environment)
    fab("up", "--hosts=2", "--provider=ec2", ALLOW, "--ttl=3h")
    assert len(bare_cloud.alive()) == 3
    for each in bare_cloud.alive().values():
        look_at(each)
    look_at_access(bare_cloud, tmp_path / "home" / "sky" / "known_hosts")

    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"))
    assert len(tree(tmp_path / "dst")) == 12
    renew_lease(bare_cloud, fab, src, tmp_path / "dst")
    scale(bare_cloud, fab)
    replace_keys(fab, tmp_path / "home" / "sky" / "known_hosts")
    let_lease_run_out(bare_cloud, fab)

    assert "security group fanrun-sky-" in fab("down").stderr
    assert bare_cloud.left("sky") == []
    assert "there were no hosts" in fab("down", "--provider=ec2").stderr


def look_at_access(cloud: Cloud, known_hosts: Path) -> None:
    """SSH is open to one network, and the keys that are trusted are the hosts' own."""
    (group,) = cloud.groups("sky")
    within, outside = sorted(group["IpPermissions"], key=lambda rule: len(rule["IpRanges"]))
    assert (within["IpProtocol"], within["UserIdGroupPairs"][0]["GroupId"]) == ("-1", group["GroupId"])
    assert (outside["IpProtocol"], outside["FromPort"], outside["ToPort"]) == ("tcp", 22, 22)
    assert {each["CidrIp"] for each in outside["IpRanges"]} >= {"192.0.2.0/24"}
    assert {each["CidrIp"] for each in outside["IpRanges"]}.isdisjoint({"0.0.0.0/0"})
    known = known_hosts.read_text()
    assert "first-login" not in known, "a key that stands in user data is not trusted any more"
    assert len({str(each.user_data) for each in cloud.alive().values()}) == 2, (
        "a launch for the hub, one for the workers"
    )
    assert len({line.split()[2] for line in known.splitlines()}) == 3


def renew_lease(cloud: Cloud, fab: Fab, src: Path, dst: Path) -> None:
    """A command that uses the hosts does it; one that looks at them does not."""
    for container in cloud.hosts().values():
        docker("exec", container, "touch", "-d", "-2 hours", LEASE)
    assert all(3500 < host["lease"] <= 3600 for host in fab.status().values()), "looking changes nothing"
    shown = fab("status").stdout
    assert "an hour" in shown
    assert "ends itself in 59 min" in shown
    fab("run", "--src", str(src), "--dst", str(dst), "--force")
    fab("exec", "--command", "true")
    assert fab.status()["worker-1"]["lease"] > 3 * 3600 - 60


def scale(cloud: Cloud, fab: Fab) -> None:
    """To three workers, and to one."""
    fab("up", "--hosts=3")
    assert sorted(cloud.hosts()) == ["hub", "worker-1", "worker-2", "worker-3"]
    fab("up", "--hosts=1")
    assert sorted(cloud.hosts()) == ["hub", "worker-1"]
    assert "nothing to change" in fab("up").stderr


def replace_keys(fab: Fab, known_hosts: Path) -> None:
    """As if `up` had been killed while it replaced a key."""
    lines = known_hosts.read_text().splitlines()
    stranger = ssh_key()[1]
    known_hosts.write_text("\n".join([*(f"{line.split()[0]} {stranger} first-login" for line in lines), *lines, ""]))
    fab("up")
    assert len(known_hosts.read_text().splitlines()) == 2
    assert all(host["reachable"] for host in fab.status().values())


def let_lease_run_out(cloud: Cloud, fab: Fab) -> None:
    """The worker ends itself, and `up` starts another."""
    docker("exec", cloud.hosts()["worker-1"], "sh", "-c", f"echo 1 >{LEASE}; touch -d '-1 min' {LEASE}")
    wait_until(lambda: not fab.status(code=None)["worker-1"]["reachable"])
    assert "it has ended itself" in fab.status(code=1)["worker-1"]["error"]
    fab("up")
    assert all(host["reachable"] for host in fab.status().values())


def look_at(instance: Instance) -> None:
    """Launched as it should be."""
    assert instance.metadata_options.http_tokens == "required"
    assert instance.instance_initiated_shutdown_behavior == "terminate"
    assert re.fullmatch("fanrun-sky-[0-9a-f]{8}", str(instance.key_name))
    tags = {tag["key"] for tag in instance.get_tags()}
    assert {"fanrun:fleet", "fanrun:role", "fanrun:owner", "fanrun:expiry"} <= tags
    (disk,) = [device for _, device in instance.get_block_device_mapping]
    assert disk.delete_on_termination


def test_a_dry_run_changes_nothing(api: Cloud, tmp_path: Path) -> None:
    fab = Fab(tmp_path / "home", "sky", environment=api.environment)
    done = fab("up", "--dry-run", "--hosts=100", "--provider=ec2", "--instance-type=c6i.large", "--spot")
    assert "100 workers: c6i.large" in done.stdout
    assert "spot, at most $0.09" in done.stdout
    assert "an hour, by prices of" in done.stdout
    assert set(api.calls) == {"GetCallerIdentity", "DescribeInstances"}
    assert not (tmp_path / "home" / "sky").exists()
    done = fab("up", "--dry-run", "--provider=ec2", "--instance-type=x99.huge")
    assert "in all unknown an hour" in done.stdout


def test_calls_do_not_grow_with_the_instances(api: Cloud, tmp_path: Path) -> None:
    """They are launched, then found not to answer: SSH is another test's matter."""
    fab = Fab(tmp_path / "home", "sky", environment=api.environment)
    launched(fab, "worker-100", "--hosts=100", "--provider=ec2", ALLOW)
    assert len(api.alive()) == 101
    assert len(api.calls) < 25
    api.calls.clear()
    fab("down")
    assert len(api.calls) <= 14
    assert api.left("sky") == []


def test_fleets_of_one_name_and_two_owners(api: Cloud, tmp_path: Path) -> None:
    """Neither sees, nor ends, what is the other's; and each ends its own, whatever the environment says later."""
    fleets = [
        Fab(tmp_path / who, "sky", environment={**api.environment, "FANRUN_OWNER": who}) for who in ("ann", "ben")
    ]
    for count, fab in enumerate(fleets, start=1):
        launched(fab, "worker-1", "--hosts=1", "--provider=ec2", ALLOW)
        assert len(api.alive()) == 2 * count
    other = Fab(tmp_path / "elsewhere", "sky", environment=fleets[0].environment)
    refused = other("up", "--provider=ec2", ALLOW, code=2).stderr
    assert f"begun in {fleets[0].home / 'sky'}" in refused
    assert f"--take-over={(fleets[0].home / 'sky' / 'id').read_text().strip()} --fleet sky`" in refused
    assert len(api.alive()) == 4
    assert "was begun with region 'us-east-1'" in fleets[0]("up", "--region=eu-north-1", code=2).stderr
    for count, fab in enumerate(fleets, start=1):
        done = fab("down", AWS_REGION="eu-north-1", FANRUN_OWNER="")
        assert "hub, worker-1" in done.stderr
        assert ("of ben, 2 hosts" in done.stderr) == (count == 1), "the other one's is told, and left alone"
        assert len(api.alive()) == 4 - 2 * count
    assert api.left("sky") == []


def test_a_fleet_is_not_looked_for_in_another_account(api: Cloud, tmp_path: Path) -> None:
    fab = Fab(tmp_path / "home", "sky", environment=api.environment)
    launched(fab, "worker-1", "--hosts=1", "--provider=ec2", ALLOW)
    api.accounts["stranger"] = "999999999999"
    for task in (["down"], ["up"], ["up", "--dry-run"], ["status"], ["bake", "--delete"]):
        (line,) = fab(*task, AWS_ACCESS_KEY_ID="stranger", code=2).stderr.splitlines()[-1:]
        assert "is of AWS account 123456789012, these credentials are of 999999999999" in line
        assert "AWS_PROFILE" in line
    assert len(api.alive()) == 2
    assert "hub, worker-1" in fab("down").stderr
    assert api.left("sky") == []


def test_of_hosts_that_are_gone_it_is_said_before_they_are_forgotten(api: Cloud, tmp_path: Path) -> None:
    fab = Fab(tmp_path / "home", "sky", environment=api.environment)
    launched(fab, "worker-2", "--hosts=2", "--provider=ec2", ALLOW)
    hub, first, second = api.alive()
    api.end(first, "Server.SpotInstanceTermination", "taken")
    api.end(second, "Client.UserInitiatedShutdown", "by hand")
    del api.backend.reservations[
        next(key for key, each in api.backend.reservations.items() if each.instances[0].id == first)
    ]
    said = fab("down").stderr
    assert re.search(r"worker-1 +was not there any more \(it had [0-9.]+\)", said)
    assert hub not in api.alive()


def test_a_damaged_folder_does_not_hide_the_fleet(api: Cloud, tmp_path: Path) -> None:
    fab = Fab(tmp_path / "home", "sky", environment=api.environment)
    launched(fab, "worker-1", "--hosts=1", "--provider=ec2", ALLOW)
    (fab.home / "sky" / "fleet.json").write_text("{")
    for task in ("down", "up", "status"):
        assert "`fab down --provider=NAME --fleet sky`" in fab(task, FANRUN_PROVIDER="local", code=2).stderr
    assert len(api.alive()) == 2
    assert "hub, worker-1" in fab("down", "--provider=ec2").stderr
    assert api.left("sky") == []


@pytest.mark.long
def test_an_image_of_ubuntu_is_another_root(api: Cloud, tmp_path: Path) -> None:
    """Its disk is called otherwise: there is still one, as large as was asked for, or as the image needs."""
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 15}}
    made = api.client.register_image(
        Name="ubuntu-noble-24.04", Architecture="x86_64", RootDeviceName="/dev/sda1", BlockDeviceMappings=[disk]
    )
    fab = Fab(tmp_path / "home", "sky", environment=api.environment)
    launched(fab, "worker-1", "--hosts=1", "--provider=ec2", ALLOW, f"--ami={made['ImageId']}", "--disk=12")
    for each in api.alive().values():
        assert each.image_id == made["ImageId"]
        ((name, device),) = each.get_block_device_mapping
        assert name == "/dev/sda1"
        assert device.delete_on_termination
        volume = api.backend.volumes[device.volume_id]
        assert (volume.size, volume.encrypted, volume.volume_type) == (15, True, "gp3")
        assert "fanrun:fleet" in {tag["key"] for tag in volume.get_tags()}
    fab("down")
    assert api.left("sky") == []
