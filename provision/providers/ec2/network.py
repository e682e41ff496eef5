"""A fleet's key pair and security group: made if they are not there, removed with it."""

from __future__ import annotations

import ipaddress
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanrun.fleet.errors import UsageError
from provision.providers.ec2.api import Api
from provision.providers.ec2.cleanup import Cleanup
from provision.providers.ec2.instance import Tags, fleet_id

ADDRESS_SERVICE = "https://checkip.amazonaws.com"
CLIENT, ALLOW_OPTION = "Fanrun: the client", "Fanrun: --allow"
"""What the rules of Fanrun's own are marked with."""
GONE_GROUP, GONE_KEY = "InvalidGroup.NotFound", "InvalidKeyPair.NotFound"


def allowed(allow: str, service: str = ADDRESS_SERVICE) -> tuple[str, list[str]]:
    """Return the networks that may reach port 22: the caller's own ("" if unknown), and those of --allow.

    UsageError for what is no network, and where the own address can't be asked and nothing else is named.
    """
    try:
        networks = [str(ipaddress.IPv4Network(text.strip())) for text in allow.split(",") if text.strip()]
    except ValueError as error:
        raise UsageError(f"--allow {allow!r}: {error}; give networks as 203.0.113.7/32,198.51.100.0/24") from error
    try:
        with urllib.request.urlopen(service, timeout=10) as answer:  # noqa: S310 - the URL is https; tests use a closed port
            return f"{ipaddress.IPv4Address(answer.read().decode().strip())}/32", networks
    except (OSError, ValueError) as error:
        if networks:
            return "", networks
        raise UsageError(
            f"{service} does not tell this machine's address ({error}); name it with --allow ADDRESS/32"
        ) from error


def ensure_key(api: Api, name: str, public: str, tags: Tags) -> None:
    """Make the key pair of that name be this public key: one that is there may be of a folder that was lost."""
    if api.call("describe_key_pairs", Filters=[{"Name": "key-name", "Values": [name]}])["KeyPairs"]:
        api.gone("delete_key_pair", GONE_KEY, KeyName=name)
    spec = [{"ResourceType": "key-pair", "Tags": tags}]
    api.soon("import_key_pair", KeyName=name, PublicKeyMaterial=public.encode(), TagSpecifications=spec)


@dataclass(frozen=True)
class Group:
    """A fleet's security group: one of these ids, made in the subnet's VPC with this name and these tags if missing."""

    ids: tuple[str, ...]
    name: str
    subnet: str
    filters: list[dict[str, Any]]
    tags: Tags


def ensure_group(api: Api, wanted: Group, allowed: tuple[str, Sequence[str]]) -> tuple[str, list[str]]:
    """Return the id of the fleet's group, and what was changed: port 22 from `allowed`, all among its members.

    Networks that were let in before and are not wanted any more are shut out; rules of somebody else's stay.
    """
    vpc, name, tags = _vpc(api, wanted.subnet), wanted.name, wanted.tags
    filters = [*wanted.filters, {"Name": "vpc-id", "Values": [vpc]}]
    listed = api.call("describe_security_groups", Filters=filters)["SecurityGroups"]
    found = [group for group in listed if fleet_id(group) in wanted.ids]
    if found:
        group, rules = str(found[0]["GroupId"]), found[0]["IpPermissions"]
    else:
        spec = [{"ResourceType": "security-group", "Tags": tags}]
        made = api.call(
            "create_security_group", GroupName=name, Description="Made by Fanrun", VpcId=vpc, TagSpecifications=spec
        )
        group, rules = str(made["GroupId"]), []
    opened, shut = _changes(rules, *allowed)
    if not any(pair["GroupId"] == group for rule in rules for pair in rule.get("UserIdGroupPairs", [])):
        inner = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}]
        api.soon("authorize_security_group_ingress", GroupId=group, IpPermissions=[*inner, *_ssh(opened)])
    elif opened:
        api.soon("authorize_security_group_ingress", GroupId=group, IpPermissions=_ssh(opened))
    if shut:
        api.call("revoke_security_group_ingress", GroupId=group, IpPermissions=_ssh(shut))
    return group, [f"SSH is open to {each['CidrIp']}" for each in opened] + [
        f"SSH is shut to {each['CidrIp']}" for each in shut
    ]


def _changes(
    rules: Sequence[dict[str, Any]], own: str, others: Sequence[str]
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the ranges to add and those to remove; the last address of the client stays if the new one is unknown."""
    has = [item for rule in rules if rule.get("FromPort") == 22 for item in rule.get("IpRanges", [])]
    wanted = dict.fromkeys(others, ALLOW_OPTION) | ({own: CLIENT} if own else {})
    ours = {CLIENT, ALLOW_OPTION} if own else {ALLOW_OPTION}
    missing = sorted(wanted.keys() - {item["CidrIp"] for item in has})
    shut = [item for item in has if item.get("Description") in ours and item["CidrIp"] not in wanted]
    return [{"CidrIp": network, "Description": wanted[network]} for network in missing], shut


def _ssh(ranges: list[dict[str, str]]) -> list[dict[str, Any]]:
    return [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": ranges}] if ranges else []


def remove(cleanup: Cleanup, filters: list[dict[str, Any]], ids: Sequence[str], *, in_use: bool) -> None:
    """Remove the groups and key pairs with these ids that the filters find; groups that hosts use are left."""
    for group in cleanup.all("describe_security_groups", "SecurityGroups", Filters=filters):
        if fleet_id(group) not in ids:
            continue
        what = f"security group {group['GroupName']} {group['GroupId']}"
        if in_use:
            cleanup.leave(what, "the group goes when its hosts have gone")
            continue
        # An interface may hold on to it for a while after its instance is gone.
        cleanup.gone(
            "delete_security_group", GONE_GROUP, what=what, busy=["DependencyViolation"], GroupId=group["GroupId"]
        )
    for pair in cleanup.all("describe_key_pairs", "KeyPairs", Filters=filters):
        name = pair["KeyName"]
        if fleet_id(pair) not in ids:
            continue
        cleanup.gone("delete_key_pair", GONE_KEY, what=f"key pair {name}", KeyName=name)


def _vpc(api: Api, subnet: str) -> str:
    """Return the VPC of the subnet, or the region's default one."""
    if subnet:
        return str(api.call("describe_subnets", SubnetIds=[subnet])["Subnets"][0]["VpcId"])
    found = api.call("describe_vpcs", Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not found:
        raise UsageError("the region has no default VPC; name a subnet with --subnet, or `aws ec2 create-default-vpc`")
    return str(found[0]["VpcId"])
