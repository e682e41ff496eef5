"""Which image an instance starts from."""

from __future__ import annotations

from typing import Any

from provision.aws.api import Api
from provision.errors import UsageError

DEBIAN = "136693071363"
"""Debian's account at Amazon: https://wiki.debian.org/Cloud/AmazonEC2Image"""
RELEASE = "debian-13"
ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}


def architecture(api: Api, instance_type: str) -> str:
    """The architecture of an instance type, as images name it (x86_64, arm64)."""
    types = api.call("describe_instance_types", InstanceTypes=[instance_type])["InstanceTypes"]
    found = [
        name for kind in types for name in kind["ProcessorInfo"]["SupportedArchitectures"] if name in ARCHITECTURES
    ]
    if not found:
        raise UsageError(f"instance type {instance_type} has no architecture that Fanrun knows: x86_64 or arm64")
    return str(found[-1])


def newest_debian(api: Api, kind: str) -> dict[str, Any]:
    """Debian's newest official image for an architecture."""
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
    """The image of that id."""
    found: dict[str, Any] = api.call("describe_images", ImageIds=[ami])["Images"][0]
    return found
