"""What one RunInstances call says: all hosts of a role, with everything that they need and are tagged with."""

from __future__ import annotations

from typing import Any

from fanrun.fleet.config import ProviderOptions
from provision.providers.ec2 import amis
from provision.providers.ec2.instance import Tags

SPOT = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}


def arguments(
    options: ProviderOptions, image: dict[str, Any], kind: str, count: tuple[int, int], *,
    key: str, group: str, user_data: str, tags: Tags, spot: bool,
) -> dict[str, Any]:  # fmt: skip
    """The call for instances of that type, `count` of them at least and at most, but for its client token."""
    size = max(options.disk, amis.min_disk(image))
    disk = {"VolumeSize": size, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    network: dict[str, Any] = {
        "DeviceIndex": 0, "Groups": [group], "DeleteOnTermination": True, "AssociatePublicIpAddress": True,
    }  # fmt: skip
    if options.subnet:
        network["SubnetId"] = options.subnet
    asked: dict[str, Any] = {
        "ImageId": image["ImageId"], "InstanceType": kind, "MinCount": count[0], "MaxCount": count[1],
        "KeyName": key, "UserData": user_data, "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
        "BlockDeviceMappings": [{"DeviceName": image.get("RootDeviceName", "/dev/xvda"), "Ebs": disk}],
        "NetworkInterfaces": [network],
        "TagSpecifications": [
            {"ResourceType": resource, "Tags": tags} for resource in ("instance", "volume", "network-interface")
        ],
    }  # fmt: skip
    return {**asked, "InstanceMarketOptions": SPOT} if spot else asked
