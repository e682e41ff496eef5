"""What carries a fleet's name in an account and is of another fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from provision.aws import instance
from provision.aws.api import Api
from provision.errors import HostsFailed
from provision.fleet import number
from provision.providers.base import OtherFleet
from provision.remote import fan_out

ALIVE = ["pending", "running", "stopping", "stopped"]


def regions(api: Api) -> list[Api]:
    """Return the API of each region that the account has enabled, in the order of their names."""
    names = sorted(each["RegionName"] for each in api.call("describe_regions")["Regions"])
    return [api if name == api.region else api.in_region(name) for name in names]


def find(apis: Sequence[Api], fleet: str, ids: Sequence[str], *, volumes: bool) -> list[OtherFleet]:
    """Return what carries the fleet's name in these regions and none of its ids; `volumes`: also what has no host.

    Raises HostsFailed naming each region that could not be looked at.
    """
    by_region = {api.region: api for api in apis}
    found, errors = fan_out(by_region, lambda region: _in_region(by_region[region], fleet, ids, volumes=volumes))
    if errors:
        raise HostsFailed({f"region {region}": error for region, error in errors.items()})
    return [other for region in sorted(found) for other in found[region]]


def _in_region(api: Api, fleet: str, ids: Sequence[str], *, volumes: bool) -> list[OtherFleet]:
    filters = instance.of_name(fleet)
    alive = [*filters, {"Name": "instance-state-name", "Values": ALIVE}]
    listed = api.all("describe_instances", "Reservations", Filters=alive)
    hosts = _by_id([item for reservation in listed for item in reservation["Instances"]], ids)
    disks = _by_id(api.all("describe_volumes", "Volumes", Filters=filters), ids) if volumes else {}
    where = f"in region {api.region} of AWS account {api.account}"
    options = ("--provider=ec2", f"--region={api.region}")
    return [_other(each, hosts.get(each, []), disks.get(each, []), where, options) for each in sorted({*hosts, *disks})]


def _by_id(items: Sequence[dict[str, Any]], ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        if (each := instance.fleet_id(item)) not in ids:
            found.setdefault(each, []).append(item)
    return found


def _other(
    fleet_id: str, hosts: Sequence[Mapping[str, Any]], disks: Sequence[Mapping[str, Any]], where: str,
    options: tuple[str, ...],
) -> OtherFleet:  # fmt: skip
    told = instance.tags([*hosts, *disks][0])
    begun = [item["LaunchTime"].timestamp() for item in hosts] or [item["CreateTime"].timestamp() for item in disks]
    spare = [disk["VolumeId"] for disk in disks if not disk.get("Attachments")]
    return OtherFleet(
        fleet_id, told.get("owner", ""), tuple(sorted(map(instance.name, hosts), key=number)),
        tuple(f"volume {name}" for name in sorted(spare)), min(begun), told.get("folder", ""), where, options,
    )  # fmt: skip
