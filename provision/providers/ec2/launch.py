"""What one RunInstances call says: all hosts of a role, with everything that they need and are tagged with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from provision.providers.ec2 import amis
from provision.providers.ec2.instance import Tags
from provision.providers.ec2.options import Ec2Options

SPOT = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}


@dataclass(frozen=True)
class Launch:
    """Instances of one type, `count` of them at least and at most; `key` is the name of a key pair, `group` an id."""

    kind: str
    count: tuple[int, int]
    key: str
    group: str
    user_data: str
    tags: Tags
    spot: bool


def arguments(options: Ec2Options, image: dict[str, Any], launch: Launch) -> dict[str, Any]:
    """Return the call for these instances, but for its client token."""
    size = max(options.disk, amis.min_disk(image))
    disk = {"VolumeSize": size, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    network: dict[str, Any] = {
        "DeviceIndex": 0,
        "Groups": [launch.group],
        "DeleteOnTermination": True,
        "AssociatePublicIpAddress": True,
    }
    if options.subnet:
        network["SubnetId"] = options.subnet
    call: dict[str, Any] = {
        "ImageId": image["ImageId"],
        "InstanceType": launch.kind,
        "MinCount": launch.count[0],
        "MaxCount": launch.count[1],
        "KeyName": launch.key,
        "UserData": launch.user_data,
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
        "BlockDeviceMappings": [{"DeviceName": image.get("RootDeviceName", "/dev/xvda"), "Ebs": disk}],
        "NetworkInterfaces": [network],
        "TagSpecifications": [
            {"ResourceType": resource, "Tags": launch.tags} for resource in ("instance", "volume", "network-interface")
        ],
    }
    return {**call, "InstanceMarketOptions": SPOT} if launch.spot else call
