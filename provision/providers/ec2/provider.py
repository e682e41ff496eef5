"""Hosts that are instances of Amazon's EC2.

What a fleet has is known by its tags.  One call launches all hosts of a role, with everything tagged in that call, so
that nothing is ever there that `fab down` can't find.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from fanrun.fleet.config import me
from fanrun.fleet.errors import ProviderError, UsageError
from fanrun.fleet.model import Host, Role
from fanrun.fleet.store import Folder
from provision.providers.base import Bill, FoundHost, HostSpec, OtherFleet, Provider, Say
from provision.providers.ec2 import amis, instance, network, other_fleets, prices
from provision.providers.ec2.api import Api
from provision.providers.ec2.cleanup import Cleanup
from provision.providers.ec2.fleet_instances import FleetInstances, found_host, list_named
from provision.providers.ec2.launch_journal import LaunchJournal
from provision.providers.ec2.launcher import Launcher, instance_type
from provision.providers.ec2.options import Ec2Options


class Ec2Provider(Provider):
    """Instances of one region, of one account."""

    name = "ec2"
    options: Ec2Options

    def __init__(self, folder: Folder, options: Ec2Options, fleet_id: str = "") -> None:
        super().__init__(folder, options, fleet_id)
        self.boot_timeout, self.lease = float(options.boot_timeout), options.ttl
        self._owner = options.owner or me()
        self._filters = instance.of_name(folder.name)
        self._journal = LaunchJournal(folder.path / "launching.json")
        self._made: Api | None = None

    @property
    def _api(self) -> Api:
        if self._made is None:
            made = Api(self.options.region, self._profile)
            if self.options.account not in ("", made.account):
                raise UsageError(
                    f"fleet {self.folder.name} is of AWS account {self.options.account}, these credentials are of "
                    f"{made.account}; AWS_PROFILE or AWS_ACCESS_KEY_ID choose others"
                )
            self._made = made
        return self._made

    @property
    def _instances(self) -> FleetInstances:
        return FleetInstances(self._api, self.folder, self.ids)

    @property
    def _launcher(self) -> Launcher:
        return Launcher(self._instances, self.options, self._owner, self._name, self._tags, self._journal)

    @property
    def _profile(self) -> str:
        return self.options.profile or os.environ.get("AWS_PROFILE", "")

    @property
    def is_placed(self) -> bool:
        return bool(self.options.account)

    def resolved_options(self) -> dict[str, str]:
        api = self._api
        return {"account": api.account, "region": api.region, "profile": self._profile, "owner": self._owner}

    @property
    def _name(self) -> str:
        return f"fanrun-{self.folder.name}-{self.ids[0][:8]}"

    @property
    def _tags(self) -> instance.Tags:
        return instance.fleet_tags(self.folder.name, self.ids[0], self._owner, str(self.folder.path), self.options.ttl)

    def check(self) -> None:
        """Raise UsageError or ProviderError for credentials that can't be used: the first call checks them."""
        _ = self._api

    def adoptable(self) -> list[str]:
        named = list_named(self._api, self.folder.name)
        old = [item for item in named if "id" not in instance.tags(item) and self._is_known(item)]
        return sorted({instance.fleet_id(item) for item in old})

    def _is_known(self, item: Mapping[str, Any]) -> bool:
        """Return whether the folder has the host key of an instance, which is of this owner."""
        return instance.tags(item).get("owner") == self._owner and self.folder.host_keys.has(instance.address(item))

    def others(self, *, everywhere: bool = False) -> list[OtherFleet]:
        if everywhere:
            return other_fleets.find(other_fleets.regions(self._api), self._api.region, self.folder.name, self.ids)
        return other_fleets.hosts(self._api, list_named(self._api, self.folder.name), self.ids)

    def excludes(self, other: OtherFleet) -> bool:
        """Return whether it has the same owner, who would pay for two fleets: the folder of one may be lost."""
        return other.owner == self._owner

    def search_scope(self) -> str:
        regions = ", ".join(api.region for api in other_fleets.regions(self._api))
        return f"AWS account {self._api.account}, in its enabled regions ({regions})"

    def find(self) -> list[FoundHost]:
        return [found_host(name, item) for name, item in self._instances.by_host().items()]

    def launch(self, specs: Sequence[HostSpec], say: Say) -> list[Host]:
        names, instances = [item.name for item in specs], self._instances
        instances.await_listing(self._journal)
        # Those without a name of their own are of no use either.
        ended = {
            item["InstanceId"]: name
            for name, item in instances.by_host().items()
            if name in (*names, item["InstanceId"])
        }
        instances.terminate(ended, say)
        launcher = self._launcher
        network.ensure_key(self._api, self._name, launcher.public_key(), self._tags)
        launched = launcher.launch(specs, self._ensure_group(say), say)
        for name, (host, key) in launched.items():
            self.folder.host_keys.pin(host.address, host.port, key, first=True)
            say(name, f"launched at {host.address}")
        self._journal.clear()
        return [host for host, _ in launched.values()]

    def ensure_access(self, say: Say) -> None:
        self._ensure_group(say)

    def _ensure_group(self, say: Say) -> str:
        allowed = network.allowed(self.options.allow)
        wanted = network.Group(self.ids, self._name, self.options.subnet, self._filters, self._tags)
        group, changes = network.ensure_group(self._api, wanted, allowed)
        for what in changes:
            say("network", what)
        return group

    def terminate(self, names: Sequence[str], say: Say) -> None:
        if names:
            self._instances.terminate(self._instances.by_id(names), say)

    def end_unreachable(self, names: Sequence[str], say: Say) -> dict[str, str]:
        instances = self._instances
        ids = instances.by_id(names)
        checks = instances.failed_checks(ids)
        instances.terminate(ids, say)
        return {name: f"{checks.get(name, '')}it was ended, and `fab up` launches another" for name in names}

    def clean(self, say: Say) -> None:
        """Remove the network, volumes, and hosts of an `up` that was killed before they were listed."""
        cleanup = Cleanup(self._api, "`fab down`")
        self._instances.await_listing(self._journal)
        try:
            self.terminate([item.host.name for item in self.find()], say)
        except ProviderError as error:
            cleanup.leave("hosts", str(error))
        in_use = bool(self._instances.listed())
        for volume in cleanup.all("describe_volumes", "Volumes", Filters=self._filters):
            if volume["State"] != "deleting" and not in_use and instance.fleet_id(volume) in self.ids:
                identity = volume["VolumeId"]
                busy, gone = ["VolumeInUse"], "InvalidVolume.NotFound"
                cleanup.gone("delete_volume", gone, what=f"volume {identity}", busy=busy, VolumeId=identity)
        network.remove(cleanup, self._filters, self.ids, in_use=in_use)
        for what in cleanup.removed:
            say(self.name, f"{what} removed")
        cleanup.end()

    def termination_reasons(self) -> dict[str, str]:
        return self._instances.termination_reasons()

    def bake(self, name: str, say: Say) -> str:
        found = self._instances.by_host().get(name)
        if not found:
            raise ProviderError(f"{name} is not there any more; `fab up` makes it anew", provider=self.name)
        say(name, "is made into an image; that takes some minutes")
        now = datetime.now(timezone.utc)
        return amis.bake(self._api, found["InstanceId"], f"fanrun-{now:%Y%m%d-%H%M%S}", self.folder.name, self._owner)

    def baked(self) -> str:
        names = ", ".join(item["ImageId"] for item in amis.baked(self._api, self._owner)) or "none is listed"
        return (
            f"every image that `fab bake` made for {self._owner} in region {self._api.region} of AWS account "
            f"{self._api.account} ({names}), and its snapshots"
        )

    def unbake(self) -> list[str]:
        return amis.unbake(self._api, self._owner)

    def bill(self) -> Bill:
        table, now = prices.load(self.options.prices), datetime.now(timezone.utc)
        hours, costs = list[float | None](), list[float | None]()
        for item in self._instances.listed():
            price = table.hour(self._api.region, item["InstanceType"], self.options.disk)
            hours.append(price)
            costs.append(None if price is None else price * (now - item["LaunchTime"]).total_seconds() / 3600)
        return Bill(prices.total(hours), prices.total(costs), table.date)

    def plan(self, specs: Sequence[HostSpec]) -> list[str]:
        roles: list[Role] = ["hub", "worker"]
        counts = {role: len([item for item in specs if item.role == role]) for role in roles}
        kinds = {role: (count, instance_type(self.options, role)) for role, count in counts.items() if count}
        return [
            f"region {self._api.region}",
            *prices.lines(
                prices.load(self.options.prices), self._api.region, kinds, self.options.disk, self.options.spot
            ),
            f"they end themselves {self.options.ttl // 60} min after the last fab command that worked on them",
        ]


PROVIDER = Ec2Provider
