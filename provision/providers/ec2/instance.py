"""What an instance's description tells, and the tags that Fanrun gives it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from fanrun.fleet.model import old_id
from provision.providers.ec2.api import strange

Tags = list[dict[str, str]]


def tag(key: str, value: str) -> dict[str, str]:
    """Return a tag of Fanrun; Name, which Amazon's console shows, has no prefix."""
    return {"Key": key if key == "Name" else f"fanrun:{key}", "Value": value}


def fleet_tags(fleet: str, identity: str, owner: str, folder: str, ttl: int) -> Tags:
    """Return the tags of everything in a fleet; `identity` is its id, `folder` its folder on its owner's machine.

    `ttl` are the seconds until it ends itself if nobody comes back.
    """
    expiry = datetime.fromtimestamp(time.time() + ttl, timezone.utc)
    common = [tag("fleet", fleet), tag("id", identity), tag("owner", owner), tag("folder", folder[-256:])]
    return [*common, tag("expiry", f"{expiry:%Y-%m-%dT%H:%M:%SZ}")]


def of_name(fleet: str) -> list[dict[str, Any]]:
    """Return the filters that find what has a fleet's name in its tags; several fleets may have the same name."""
    return [{"Name": "tag:fanrun:fleet", "Values": [fleet]}]


def in_states(fleet: str, states: Sequence[str]) -> list[dict[str, Any]]:
    """Return the filters that find the instances in these states with a fleet's name in their tags."""
    return [*of_name(fleet), {"Name": "instance-state-name", "Values": list(states)}]


def of_reservations(reservations: Sequence[Mapping[str, Any]], fleet: str) -> list[dict[str, Any]]:
    """Return the instances in an answer to a request by the fleet's name; ApiError if there are others in it."""
    found = [item for each in reservations for item in each["Instances"]]
    for item in found:
        if tags(item).get("fleet") != fleet:
            raise strange("ec2:DescribeInstances", f"there is an instance in it that is not of a fleet {fleet}")
    return found


def fleet_id(item: Mapping[str, Any]) -> str:
    """Return the id of the fleet that a thing is tagged as being of."""
    found = tags(item)
    return found.get("id") or old_id(f"{found.get('owner', '')} {found.get('folder', '')}")


def name_tags(role: str, names: Sequence[str], shown: str) -> Tags:
    """Return the further tags of the instances of one launch; all have the same, `name` finds each one's name."""
    return [tag("role", role), tag("names", packed(names)), tag("Name", shown)]


def packed(names: Sequence[str]) -> str:
    """Return names as ranges of their numbers, "hub" or "worker-1..26 worker-28": a tag holds 256 characters."""
    ranges: list[list[str]] = []
    for each in names:
        last = ranges[-1][-1].rpartition("-") if ranges else ("", "", "")
        if last[0] and each == f"{last[0]}-{int(last[2]) + 1}":
            ranges[-1] = [ranges[-1][0], each]
        else:
            ranges.append([each])
    return " ".join(f"{each[0]}..{each[1].rpartition('-')[2]}" if each[1:] else each[0] for each in ranges)


def unpacked(text: str) -> list[str]:
    """Return the names in a text that `packed` made."""
    names = []
    for part in text.split():
        first, _, last = part.partition("..")
        stem, _, start = first.rpartition("-")
        names += [f"{stem}-{number}" for number in range(int(start), int(last) + 1)] if last else [first]
    return names


def tags(item: Mapping[str, Any]) -> dict[str, str]:
    """Return Fanrun's own tags, by their short names."""
    return {each["Key"].removeprefix("fanrun:"): each["Value"] for each in item.get("Tags", [])}


def name(item: Mapping[str, Any]) -> str:
    """Return the host's name: its index in the launch is the index among the names of that launch."""
    names, place = unpacked(tags(item).get("names", "")), item.get("AmiLaunchIndex", 0)
    return str(names[place]) if place < len(names) else str(item["InstanceId"])


def state(item: Mapping[str, Any]) -> str:
    """Return the state, as Amazon names it."""
    return str(item["State"]["Name"])


def address(item: Mapping[str, Any]) -> str:
    """Return the address for the client: the public one, else the private one, "" if there is none yet."""
    return str(item.get("PublicIpAddress") or item.get("PrivateIpAddress") or "")


def reason(item: Mapping[str, Any]) -> str:
    """Return why it is in its state, as Amazon says."""
    said = item.get("StateReason", {})
    hint = ", often as the key of its volumes may not be used: docs/ec2.md has the permissions of KMS that it needs"
    return str(said.get("Message") or state(item)) + (hint if said.get("Code") == "Client.InternalError" else "")


def termination_reason(item: Mapping[str, Any]) -> str:
    """Return why an instance ended, in words for a person."""
    code = str(item.get("StateReason", {}).get("Code", ""))
    if code.startswith("Server.SpotInstance"):
        return "ended by Amazon: spot interruption; `fab up` launches another"
    if code == "Client.InstanceInitiatedShutdown":
        return "it has ended itself, as nobody worked with it (--ttl); `fab up` launches another"
    return f"the instance is {state(item)}: {reason(item)}; `fab up` launches another"


def checks(status: Mapping[str, Any]) -> str:
    """Return which of Amazon's own checks of an instance have failed, in words; "" if none has."""
    kinds = {"InstanceStatus": "instance", "SystemStatus": "system"}
    bad = [kinds[key] for key in kinds if status.get(key, {}).get("Status") == "impaired"]
    return f"Amazon says that its {' and '.join(bad)} status is impaired; " if bad else ""
