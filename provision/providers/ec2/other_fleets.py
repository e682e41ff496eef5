"""Other fleets of the same name in an AWS account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fanrun.fleet.model import number
from fanrun.fleet.parallel import fan_out
from provision.providers.base import OtherFleet, SearchIncomplete
from provision.providers.ec2 import instance
from provision.providers.ec2.api import Api
from provision.providers.ec2.fleet_instances import list_named

Thing = dict[str, Any]
NAMES = {"volume": "VolumeId", "security group": "GroupName", "key pair": "KeyName"}
"""The kinds of things besides instances, and what their descriptions call their names."""


def regions(api: Api) -> list[Api]:
    """Return the API of each region that the account has enabled, in the order of their names."""
    names = sorted(each["RegionName"] for each in api.call("describe_regions")["Regions"])
    return [api if name == api.region else api.in_region(name) for name in names]


def find(apis: Sequence[Api], home: str, fleet: str, ids: Sequence[str]) -> list[OtherFleet]:
    """Return what carries the fleet's name in these regions, hosts or not; in region `home`, what has none of its ids.

    Raises SearchIncomplete naming each region that could not be searched.
    """
    by_region = {api.region: api for api in apis}
    found, errors = fan_out(
        by_region, lambda region: _in_region(by_region[region], fleet, ids if region == home else ())
    )
    others = [other for region in sorted(found) for other in found[region]]
    if errors:
        raise SearchIncomplete({f"region {region}": error for region, error in errors.items()}, others)
    return others


def hosts(api: Api, instances: Sequence[Thing], ids: Sequence[str]) -> list[OtherFleet]:
    """Return the other fleets that these instances, which carry the fleet's name, belong to."""
    return [_other(api, each, {"instance": items}) for each, items in sorted(_by_id(instances, ids).items())]


def _in_region(api: Api, fleet: str, ids: Sequence[str]) -> list[OtherFleet]:
    # One call tells that nothing is there, which is so in almost all regions.
    tagged = [{"Name": "key", "Values": ["fanrun:fleet"]}, {"Name": "value", "Values": [fleet]}]
    if not api.all("describe_tags", "Tags", Filters=tagged):
        return []
    filters = instance.of_name(fleet)
    kinds = {
        "instance": list_named(api, fleet),
        "volume": api.all("describe_volumes", "Volumes", Filters=filters),
        "security group": api.all("describe_security_groups", "SecurityGroups", Filters=filters),
        "key pair": api.all("describe_key_pairs", "KeyPairs", Filters=filters),
    }
    things = {kind: _by_id(items, ids) for kind, items in kinds.items()}
    return [
        _other(api, each, {kind: found.get(each, []) for kind, found in things.items()})
        for each in sorted({each for found in things.values() for each in found})
    ]


def _by_id(items: Iterable[Thing], ids: Sequence[str]) -> dict[str, list[Thing]]:
    found: dict[str, list[Thing]] = {}
    for item in items:
        if (each := instance.fleet_id(item)) not in ids:
            found.setdefault(each, []).append(item)
    return found


def _other(api: Api, fleet_id: str, kinds: Mapping[str, Sequence[Thing]]) -> OtherFleet:
    """Describe a fleet by its things, {kind: descriptions}; what goes with its hosts is not named."""
    instances = kinds["instance"]
    told = instance.tags(next(item for items in kinds.values() for item in items))
    rest = [
        f"{kind} {item[NAMES[kind]]}"
        for kind, items in kinds.items()
        for item in items
        if kind in NAMES and not (instances if kind != "volume" else item.get("Attachments"))
    ]
    begun = [item["LaunchTime"].timestamp() for item in instances]
    begun += [item["CreateTime"].timestamp() for item in kinds.get("volume", [])]
    return OtherFleet(
        fleet_id,
        told.get("owner", ""),
        tuple(sorted(map(instance.name, instances), key=number)),
        tuple(rest),
        created=min(begun, default=None),
        folder=told.get("folder", ""),
        where=f"in region {api.region} of AWS account {api.account}",
        options=("--provider=ec2", f"--region={api.region}"),
    )
