"""A fleet's key pair and security group: made if they are not there, removed with it."""

from __future__ import annotations

import ipaddress
import urllib.request
from collections.abc import Sequence
from typing import Any

from provision.aws.api import Api
from provision.aws.instance import Tags
from provision.aws.removal import Removal
from provision.errors import UsageError

ASKED = "https://checkip.amazonaws.com"
GONE_GROUP, GONE_KEY = "InvalidGroup.NotFound", "InvalidKeyPair.NotFound"


def allowed(allow: str, asked: str = ASKED) -> list[str]:
    """The networks that may reach port 22: the caller's own address as Amazon sees it, and those that --allow names.

    UsageError for what is no network, and where the own address can't be asked and nothing else is named.
    """
    try:
        networks = [str(ipaddress.IPv4Network(text.strip())) for text in allow.split(",") if text.strip()]
    except ValueError as error:
        raise UsageError(f"--allow {allow!r}: {error}; give networks as 203.0.113.7/32,198.51.100.0/24") from error
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310 - ASKED, which is https; tests ask nobody
            return [f"{ipaddress.IPv4Address(answer.read().decode().strip())}/32", *networks]
    except (OSError, ValueError) as error:
        if networks:
            return networks
        raise UsageError(
            f"{asked} does not tell this machine's address ({error}); name it with --allow ADDRESS/32"
        ) from error


def ensure_key(api: Api, name: str, public: str, tags: Tags) -> None:
    """Make the key pair of that name be this public key: one that is there may be of a folder that was lost."""
    if api.call("describe_key_pairs", Filters=[{"Name": "key-name", "Values": [name]}])["KeyPairs"]:
        api.gone("delete_key_pair", GONE_KEY, KeyName=name)
    spec = [{"ResourceType": "key-pair", "Tags": tags}]
    api.call("import_key_pair", KeyName=name, PublicKeyMaterial=public.encode(), TagSpecifications=spec)


def ensure_group(api: Api, name: str, subnet: str, allowed: Sequence[str], tags: Tags) -> str:
    """The id of the fleet's group: port 22 from the networks `allowed`, everything among its members."""
    vpc = _vpc(api, subnet)
    filters = [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpc]}]
    found = api.call("describe_security_groups", Filters=filters)["SecurityGroups"]
    if found:
        group, rules = str(found[0]["GroupId"]), found[0]["IpPermissions"]
    else:
        spec = [{"ResourceType": "security-group", "Tags": tags}]
        made = api.call(
            "create_security_group", GroupName=name, Description="Made by Fanrun", VpcId=vpc, TagSpecifications=spec
        )
        group, rules = str(made["GroupId"]), []
    has_own = any(pair["GroupId"] == group for rule in rules for pair in rule.get("UserIdGroupPairs", []))
    has = {item["CidrIp"] for rule in rules if rule.get("FromPort") == 22 for item in rule.get("IpRanges", [])}
    wanted: list[dict[str, Any]] = []
    if not has_own:
        wanted.append({"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]})
    if missing := sorted(set(allowed) - has):
        ranges = [{"CidrIp": network, "Description": "Fanrun client"} for network in missing]
        wanted.append({"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": ranges})
    if wanted:
        api.call("authorize_security_group_ingress", GroupId=group, IpPermissions=wanted)
    return group


def remove(removal: Removal, filters: list[dict[str, Any]], *, in_use: bool) -> None:
    """Remove the groups and key pairs that these filters find; groups that hosts are known to use are left."""
    for group in removal.all("describe_security_groups", "SecurityGroups", Filters=filters):
        what = f"security group {group['GroupName']} {group['GroupId']}"
        if in_use:
            removal.leave(what, "the group goes when its hosts have gone")
            continue
        # An interface may hold on to it for a while after its instance is gone.
        removal.gone(
            "delete_security_group", GONE_GROUP, what=what, busy=["DependencyViolation"], GroupId=group["GroupId"]
        )
    for pair in removal.all("describe_key_pairs", "KeyPairs", Filters=filters):
        name = pair["KeyName"]
        removal.gone("delete_key_pair", GONE_KEY, what=f"key pair {name}", KeyName=name)


def _vpc(api: Api, subnet: str) -> str:
    """The VPC of the subnet, or the region's default one."""
    if subnet:
        return str(api.call("describe_subnets", SubnetIds=[subnet])["Subnets"][0]["VpcId"])
    found = api.call("describe_vpcs", Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not found:
        raise UsageError("the region has no default VPC; name a subnet with --subnet, or `aws ec2 create-default-vpc`")
    return str(found[0]["VpcId"])
