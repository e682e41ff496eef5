"""The instances of one fleet, as Amazon lists them by tags."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fanrun.fleet.errors import ProviderError
from fanrun.fleet.model import HUB, Host, Role
from fanrun.fleet.poll import RetryPolicy, wait_until
from fanrun.fleet.store import Folder
from provision.providers.base import FoundHost, Say
from provision.providers.ec2 import instance
from provision.providers.ec2.api import PAUSE, Api, ApiError
from provision.providers.ec2.cleanup import Cleanup
from provision.providers.ec2.launch_journal import LaunchJournal

PROVIDER = "ec2"
USER = "fanrun"
"""The account on an instance that Fanrun logs in to."""
ALIVE = ("pending", "running", "stopping", "stopped")
ENDED = ("stopping", "stopped", "shutting-down", "terminated")
TERMINATION_TIMEOUT = 300.0
"""Seconds that instances may take to end."""


def list_named(api: Api, fleet: str, states: Sequence[str] = ALIVE) -> list[dict[str, Any]]:
    """Return the instances in these states that carry the name of a fleet, whatever their id."""
    reservations = api.all("describe_instances", "Reservations", Filters=instance.in_states(fleet, states))
    return instance.of_reservations(reservations, fleet)


def found_host(name: str, item: Mapping[str, Any]) -> FoundHost:
    """Return an instance as a host; a stopped one has lost its address, so it is broken."""
    role: Role = "hub" if name == HUB else "worker"
    host = Host(name, role, instance.address(item), str(item.get("PrivateIpAddress", "")), USER)
    return FoundHost(host, "running" if instance.state(item) == "running" else "broken")


@dataclass(frozen=True)
class FleetInstances:
    """List and terminate the instances of the fleet that has these ids."""

    api: Api
    folder: Folder
    ids: tuple[str, ...]

    def listed(self, states: Sequence[str] = ALIVE) -> list[dict[str, Any]]:
        """Return the descriptions of the instances that are in these states."""
        return [item for item in list_named(self.api, self.folder.name, states) if instance.fleet_id(item) in self.ids]

    def by_host(self) -> dict[str, dict[str, Any]]:
        """Return the instances by the names of their hosts.

        An interrupted `up` may have left several instances of one name.  The one whose host key is pinned gets the
        name; the others can't be used, and have their ids as names.
        """
        hosts: dict[str, dict[str, Any]] = {}
        for item in sorted(self.listed(), key=lambda item: not self.folder.host_keys.has(instance.address(item))):
            name = instance.name(item)
            hosts[item["InstanceId"] if name in hosts else name] = item
        return hosts

    def by_id(self, names: Sequence[str]) -> dict[str, str]:
        """Return the instances of these hosts: {id: name of the host}."""
        return {item["InstanceId"]: name for name, item in self.by_host().items() if name in names}

    def running(self, names: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
        """Return those of the instances, {id: host's name}, that run and have addresses, by their hosts' names.

        Raises ProviderError naming those that ended.
        """
        mine = [item for item in self.listed(["pending", "running", *ENDED]) if item["InstanceId"] in names]
        ended = [f"{instance.name(item)}: {instance.reason(item)}" for item in mine if instance.state(item) in ENDED]
        if ended:
            raise ProviderError(f"instances ended while they were booting ({'; '.join(ended)})", provider=PROVIDER)
        return {
            names[item["InstanceId"]]: item
            for item in mine
            if instance.state(item) == "running" and instance.address(item)
        }

    def failed_checks(self, ids: Mapping[str, str]) -> dict[str, str]:
        """Return what Amazon's own checks say of these instances, {id: host's name}, by their hosts' names."""
        if not ids:
            return {}
        with contextlib.suppress(ApiError):  # they are ended, whatever the checks say
            listed = self.api.all("describe_instance_status", "InstanceStatuses", InstanceIds=sorted(ids))
            return {ids[each["InstanceId"]]: instance.checks(each) for each in listed}
        return {}

    def termination_reasons(self) -> dict[str, str]:
        """Return why hosts have ended, by name; of several instances of one name the newest one counts."""
        listed = sorted(self.listed([*ALIVE, *ENDED]), key=lambda item: item["LaunchTime"])
        latest = {instance.name(item): item for item in listed}
        return {
            name: instance.termination_reason(item) for name, item in latest.items() if instance.state(item) in ENDED
        }

    def terminate(self, ids: Mapping[str, str], say: Say) -> None:
        """Terminate instances, {id: host's name}, and wait until they are gone.

        Raises ProviderError naming those that do not end.
        """
        if not ids:
            return
        cleanup = Cleanup(self.api, "`fab down`")
        hosts = ", ".join(f"{name} {identity}" for identity, name in sorted(ids.items()))
        # An instance that was launched a moment ago may not be known everywhere yet.
        cleanup.gone("terminate_instances", what=hosts, busy=["InvalidInstanceID.NotFound"], InstanceIds=sorted(ids))
        cleanup.end()
        if not wait_until(lambda: self._are_gone(ids), RetryPolicy(TERMINATION_TIMEOUT, PAUSE)):
            raise ProviderError(
                f"{', '.join(sorted(ids))} do not end; look at them with "
                f"`aws ec2 describe-instances --region {self.api.region}`, then `fab down` again",
                provider=PROVIDER,
            )
        for identity, name in ids.items():
            say(name, f"terminated {identity}")

    def _are_gone(self, ids: Mapping[str, str]) -> bool:
        return ids.keys().isdisjoint(item["InstanceId"] for item in self.listed([*ALIVE, "shutting-down"]))

    def await_listing(self, journal: LaunchJournal) -> None:
        """Wait until launches in the journal are listed, in any state, but no longer than listings may be late."""
        tokens = journal.tokens()

        def are_listed() -> bool:
            return tokens <= {item.get("ClientToken") for item in self.listed([*ALIVE, *ENDED])}

        if tokens:
            wait_until(are_listed, RetryPolicy(journal.listing_delay(), PAUSE))
