"""Which image an instance starts from."""

from __future__ import annotations

from typing import Any

from fanrun.fleet.errors import ProviderError, UsageError
from fanrun.fleet.poll import RetryPolicy, wait_until
from provision.providers.ec2.api import Api, ApiError
from provision.providers.ec2.cleanup import Cleanup
from provision.providers.ec2.instance import tag

DEBIAN = "136693071363"
"""Debian's account at Amazon: https://wiki.debian.org/Cloud/AmazonEC2Image"""
RELEASE = "debian-13"
BAKED = "fanrun:baked"
"""The tag of images that Fanrun made, and of their snapshots: no fleet's, as they outlive it."""
GONE = ("InvalidAMIID.Unavailable", "InvalidAMIID.NotFound")
BAKING = 1800.0
ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}


def architecture(api: Api, instance_type: str) -> str:
    """Return the architecture of an instance type, as images name it (x86_64, arm64)."""
    types = api.call("describe_instance_types", InstanceTypes=[instance_type])["InstanceTypes"]
    found = [
        name for kind in types for name in kind["ProcessorInfo"]["SupportedArchitectures"] if name in ARCHITECTURES
    ]
    if not found:
        raise UsageError(f"instance type {instance_type} has no architecture that Fanrun knows: x86_64 or arm64")
    return str(found[-1])


def newest_debian(api: Api, kind: str) -> dict[str, Any]:
    """Return Debian's newest official image for an architecture."""
    name = f"{RELEASE}-{ARCHITECTURES[kind]}-*"
    filters = [
        {"Name": "name", "Values": [name]},
        {"Name": "architecture", "Values": [kind]},
        {"Name": "state", "Values": ["available"]},
    ]
    images = api.call("describe_images", Owners=[DEBIAN], Filters=filters)["Images"]
    if not images:
        raise UsageError(f"there is no official image {name} in region {api.region}; name one with --ami")
    newest: dict[str, Any] = max(images, key=lambda image: image["CreationDate"])
    return newest


def image(api: Api, ami: str) -> dict[str, Any]:
    """Return the image of that id."""
    found: list[dict[str, Any]] = api.call("describe_images", ImageIds=[ami])["Images"]
    if not found:
        raise UsageError(
            f"there is no image {ami} in region {api.region} any more; leave --ami out for Debian's newest"
        )
    return found[0]


def min_disk(image: dict[str, Any]) -> int:
    """Return the GiB that an image needs for its root."""
    root = [each for each in image.get("BlockDeviceMappings", []) if each["DeviceName"] == image["RootDeviceName"]]
    return int(root[0].get("Ebs", {}).get("VolumeSize", 0)) if root else 0


def newest_own(api: Api, kind: str, owner: str) -> dict[str, Any] | None:
    """Return the newest image that its owner's `fab bake` made for an architecture, None if there is none."""
    images = [image for image in baked(api, owner) if image["State"] == "available" and image["Architecture"] == kind]
    return max(images, key=lambda image: str(image["CreationDate"]), default=None)


def baked(api: Api, owner: str) -> list[dict[str, Any]]:
    """Return every image that its owner's `fab bake` made in this region, ready or not."""
    found: list[dict[str, Any]] = api.call("describe_images", Owners=["self"], Filters=_filters(owner))["Images"]
    return found


def _filters(owner: str) -> list[dict[str, Any]]:
    return [{"Name": "tag-key", "Values": [BAKED]}, {"Name": "tag:fanrun:owner", "Values": [owner]}]


def bake(api: Api, instance: str, name: str, fleet: str, owner: str) -> str:
    """Make an image of a running instance, and wait until it is ready; returns its id.

    The instance is not stopped for it: what was written before is in the image.
    """
    tags = [{"Key": BAKED, "Value": fleet}, tag("owner", owner), tag("Name", name)]
    spec = [{"ResourceType": resource, "Tags": tags} for resource in ("image", "snapshot")]
    made = str(
        api.call("create_image", InstanceId=instance, Name=name, NoReboot=True, TagSpecifications=spec)["ImageId"]
    )

    def ready() -> bool:
        states = [image["State"] for image in baked(api, owner) if image["ImageId"] == made]
        if states and states[0] not in ("pending", "available"):
            raise ProviderError(f"image {made} came to nothing ({states[0]}); `fab bake` again", provider="ec2")
        return states == ["available"]

    try:
        done = wait_until(ready, RetryPolicy(BAKING, pause=5))
    except ApiError as error:
        raise ProviderError(
            f"image {made} is being made, but {error}; `fab bake --delete` removes it", provider="ec2"
        ) from error
    if not done:
        raise ProviderError(f"image {made} is not ready after {BAKING / 60:.0f} min; it may yet be", provider="ec2")
    return made


def unbake(api: Api, owner: str) -> list[str]:
    """Remove every image that its owner's `fab bake` made in this region, with its snapshots; returns their names."""
    cleanup = Cleanup(api, "`fab bake --delete`")
    for image in baked(api, owner):
        name = image["ImageId"]
        cleanup.gone("deregister_image", *GONE, what=f"image {name}", ImageId=name)
    for snapshot in cleanup.all("describe_snapshots", "Snapshots", OwnerIds=["self"], Filters=_filters(owner)):
        name = snapshot["SnapshotId"]
        busy = ["InvalidSnapshot.InUse"] if cleanup.complete else []
        cleanup.gone("delete_snapshot", "InvalidSnapshot.NotFound", what=f"snapshot {name}", busy=busy, SnapshotId=name)
    cleanup.end()
    return cleanup.removed
