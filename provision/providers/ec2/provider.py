"""Hosts that are instances of Amazon's EC2.

What a fleet has is known by its tags.  One call launches all hosts of a role, with everything tagged in that call, so
that nothing is ever there that `fab down` can't find.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from fanrun.fleet.config import me
from fanrun.fleet.errors import ProviderError, UsageError
from fanrun.fleet.model import HUB, Host, Role, number
from fanrun.fleet.poll import RetryPolicy, poll, wait_until
from fanrun.fleet.store import Folder
from fanrun.fleet.text import counted
from provision.hosts.ca import ssh_key
from provision.providers.base import Bill, FoundHost, HostSpec, OtherFleet, Provider, Say
from provision.providers.ec2 import amis, instance, launch, namesakes, network, prices
from provision.providers.ec2.api import PAUSE, Api, ApiError
from provision.providers.ec2.cleanup import Cleanup
from provision.providers.ec2.launch_journal import LaunchJournal
from provision.providers.ec2.options import Ec2Options
from provision.providers.ec2.userdata import user_data

USER = "fanrun"
ALIVE = ["pending", "running", "stopping", "stopped"]
ENDED = ("stopping", "stopped", "shutting-down", "terminated")
ENDING = 300.0
"""Seconds that instances may take to end."""
TYPES = {"x86_64": ("c6i.large", "t3.small"), "arm64": ("c7g.large", "t4g.small")}
"""What workers and the hub are by default, by the client's architecture: its Docker builds the image for that."""


@dataclass(frozen=True)
class _Launched:
    """An instance, and the host key that it was told to have."""

    id: str
    host_key: str


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
        """Whatever a call needs is checked by the first call."""
        _ = self._api

    def adoptable(self) -> list[str]:
        old = [item for item in self._named() if "id" not in instance.tags(item) and self._is_known(item)]
        return sorted({instance.fleet_id(item) for item in old})

    def others(self, *, everywhere: bool = False) -> list[OtherFleet]:
        if everywhere:
            return namesakes.find(namesakes.regions(self._api), self._api.region, self.folder.name, self.ids)
        return namesakes.hosts(self._api, self._named(), self.ids)

    def excludes(self, other: OtherFleet) -> bool:
        """Whoever has lost a folder, or works from another machine, would pay for two fleets; others pay themselves."""
        return other.owner == self._owner

    def looked(self) -> str:
        regions = ", ".join(api.region for api in namesakes.regions(self._api))
        return f"AWS account {self._api.account}, in its enabled regions ({regions})"

    def find(self) -> list[FoundHost]:
        return [_found(name, item) for name, item in self._hosts().items()]

    def launch(self, specs: Sequence[HostSpec], say: Say) -> list[Host]:
        names = [item.name for item in specs]
        self._await_listing()
        self.terminate([name for name, item in self._hosts().items() if name in (*names, item["InstanceId"])], say)
        network.ensure_key(self._api, self._name, self._public_key(), self._tags)
        group = self._ensure_group(say)
        launched: dict[str, _Launched] = {}
        try:
            for role in ("hub", "worker"):
                mine = [item.name for item in specs if item.role == role]
                if mine:
                    launched |= self._launch_role(role, mine, group)
            hosts = self._booted(launched, say)
        except BaseException:
            # Nobody knows their host keys: they are of no use any more.
            self._end({each.id: name for name, each in launched.items()}, say)
            raise
        for host in hosts:
            self.folder.host_keys.pin(host.address, host.port, launched[host.name].host_key, first=True)
            say(host.name, f"launched at {host.address}")
        self._journal.clear()
        return hosts

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
            self._end({item["InstanceId"]: name for name, item in self._hosts().items() if name in names}, say)

    def end_unreachable(self, names: Sequence[str], say: Say) -> dict[str, str]:
        ids = {item["InstanceId"]: name for name, item in self._hosts().items() if name in names}
        said: dict[str, str] = {}
        if ids:
            with contextlib.suppress(ApiError):  # they are ended whatever Amazon says of them
                listed = self._api.all("describe_instance_status", "InstanceStatuses", InstanceIds=sorted(ids))
                said = {ids[each["InstanceId"]]: instance.checks(each) for each in listed}
        self._end(ids, say)
        return {name: f"{said.get(name, '')}it was ended, and `fab up` launches another" for name in names}

    def clean(self, say: Say) -> None:
        """Also what an `up` launched that was killed before it saw it: listings may lag behind."""
        cleanup = Cleanup(self._api, "`fab down`")
        self._await_listing()
        try:
            self.terminate([item.host.name for item in self.find()], say)
        except ProviderError as error:
            cleanup.leave("hosts", str(error))
        in_use = bool(self._instances())
        for volume in cleanup.all("describe_volumes", "Volumes", Filters=self._filters):
            if volume["State"] != "deleting" and not in_use and instance.fleet_id(volume) in self.ids:
                cleanup.gone("delete_volume", "InvalidVolume.NotFound", what=f"volume {volume['VolumeId']}",
                             busy=["VolumeInUse"], VolumeId=volume["VolumeId"])  # fmt: skip
        network.remove(cleanup, self._filters, self.ids, in_use=in_use)
        for what in cleanup.removed:
            say(self.name, f"{what} removed")
        cleanup.end()

    def fates(self) -> dict[str, str]:
        listed = sorted(self._instances([*ALIVE, *ENDED]), key=lambda item: item["LaunchTime"])
        latest = {instance.name(item): item for item in listed}
        return {name: instance.fate(item) for name, item in latest.items() if instance.state(item) in ENDED}

    def bake(self, name: str, say: Say) -> str:
        found = self._hosts().get(name)
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
        for item in self._instances():
            price = table.hour(self._api.region, item["InstanceType"], self.options.disk)
            hours.append(price)
            costs.append(None if price is None else price * (now - item["LaunchTime"]).total_seconds() / 3600)
        return Bill(prices.total(hours), prices.total(costs), table.date)

    def plan(self, specs: Sequence[HostSpec]) -> list[str]:
        counts = {role: sum(item.role == role for item in specs) for role in ("hub", "worker")}
        kinds = {role: (count, self._type(role)) for role, count in counts.items() if count}
        return [
            f"region {self._api.region}",
            *prices.lines(
                prices.load(self.options.prices), self._api.region, kinds, self.options.disk, self.options.spot
            ),
            f"they end themselves {self.options.ttl // 60} min after the last fab command that worked on them",
        ]

    def _end(self, ids: Mapping[str, str], say: Say) -> None:
        """Terminate instances, {id: host's name}, and wait until they are gone; ProviderError names what is left."""
        if not ids:
            return

        def gone() -> bool:
            return ids.keys().isdisjoint(item["InstanceId"] for item in self._instances([*ALIVE, "shutting-down"]))

        cleanup = Cleanup(self._api, "`fab down`")
        hosts = ", ".join(f"{name} {identity}" for identity, name in sorted(ids.items()))
        # What was launched a moment ago may not be known everywhere yet.
        cleanup.gone("terminate_instances", what=hosts, busy=["InvalidInstanceID.NotFound"], InstanceIds=sorted(ids))
        cleanup.end()
        if not wait_until(gone, RetryPolicy(ENDING, PAUSE)):
            raise ProviderError(
                f"{', '.join(sorted(ids))} do not end; look at them with "
                f"`aws ec2 describe-instances --region {self._api.region}`, then `fab down` again",
                provider=self.name,
            )
        for identity, name in ids.items():
            say(name, f"terminated {identity}")

    def _launch_role(self, role: Role, names: Sequence[str], group: str) -> dict[str, _Launched]:
        """Launch the hosts of a role in one call: {name: instance} of those that Amazon gave."""
        kind = self._type(role)
        private, public = ssh_key()
        least = len(names) if role == "hub" else self._minimum(len(names))
        request = launch.Launch(
            kind,
            (least, len(names)),
            key=self._name,
            group=group,
            user_data=user_data(USER, self._public_key(), (private, public), self.options.ttl),
            tags=[*self._tags, *instance.name_tags(role, names, f"{self._name}-{role}")],
            spot=self.options.spot and role == "worker",
        )
        given = self._run_instances(launch.arguments(self.options, self._image(kind), request))
        return {names[item["AmiLaunchIndex"]]: _Launched(item["InstanceId"], public) for item in given["Instances"]}

    def _image(self, kind: str) -> dict[str, Any]:
        """What an instance of that type starts from: what was asked for, else its owner's newest, else Debian's."""
        if self.options.ami:
            return amis.image(self._api, self.options.ami)
        architecture = amis.architecture(self._api, kind)
        return amis.newest_own(self._api, architecture, self._owner) or amis.newest_debian(self._api, architecture)

    def _run_instances(self, arguments: Mapping[str, object]) -> dict[str, Any]:
        """Launch instances."""
        token = self._journal.add()
        try:
            return self._api.soon("run_instances", ClientToken=token, **arguments)
        except ApiError as error:
            if error.refused:
                self._journal.remove(token)
            raise

    def _await_listing(self) -> None:
        """Wait until what was begun is listed, whatever became of it; not for longer than listings may lag behind."""

        def listed() -> bool:
            return tokens <= {item.get("ClientToken") for item in self._instances([*ALIVE, *ENDED])}

        tokens = self._journal.tokens()
        if tokens:
            wait_until(listed, RetryPolicy(self._journal.listing_delay(), PAUSE))

    def _booted(self, launched: Mapping[str, _Launched], say: Say) -> list[Host]:
        """Wait until these run and have addresses; ProviderError naming those that end, or take too long."""
        names = {each.id: host for host, each in launched.items()}
        say(self.name, f"waiting for {counted(len(launched), 'instance')}")
        policy = RetryPolicy(self.boot_timeout, PAUSE)
        running = poll(lambda: self._running(names), lambda found: len(found) == len(names), policy)
        if missing := sorted(launched.keys() - running.keys()):
            raise ProviderError(
                f"{', '.join(missing)} did not start within {self.boot_timeout:.0f} s; "
                "`fab up` tries again, FANRUN_BOOT_TIMEOUT waits longer",
                provider=self.name,
            )
        return [_found(name, running[name]).host for name in sorted(launched, key=number)]

    def _running(self, names: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
        """Return those of the instances, {id: host's name}, that run and have addresses, by their hosts' names.

        Raises ProviderError naming those that ended.
        """
        mine = [item for item in self._instances(["pending", "running", *ENDED]) if item["InstanceId"] in names]
        ended = [f"{instance.name(item)}: {instance.reason(item)}" for item in mine if instance.state(item) in ENDED]
        if ended:
            raise ProviderError(f"instances ended while they were booting ({'; '.join(ended)})", provider=self.name)
        return {
            names[item["InstanceId"]]: item
            for item in mine
            if instance.state(item) == "running" and instance.address(item)
        }

    def _instances(self, states: Sequence[str] = ALIVE) -> list[dict[str, Any]]:
        """Return the fleet's own instances that are in these states."""
        ids = self.ids
        return [item for item in self._named(states) if instance.fleet_id(item) in ids]

    def _named(self, states: Sequence[str] = ALIVE) -> list[dict[str, Any]]:
        """Return the instances that carry the fleet's name, whatever their id."""
        return instance.of_reservations(
            self._api.all("describe_instances", "Reservations", Filters=instance.in_states(self.folder.name, states)),
            self.folder.name,
        )

    def _is_known(self, item: Mapping[str, Any]) -> bool:
        """Whether the folder has the host key of an instance of this owner."""
        return instance.tags(item).get("owner") == self._owner and self.folder.host_keys.has(instance.address(item))

    def _hosts(self) -> dict[str, dict[str, Any]]:
        """The instances by their hosts' names.  Of several of one name, which an `up` left that was killed, the one
        whose key is pinned has it, and the others, of no use, go by their ids.
        """
        hosts: dict[str, dict[str, Any]] = {}
        for item in sorted(self._instances(), key=lambda item: not self.folder.host_keys.has(instance.address(item))):
            name = instance.name(item)
            hosts[item["InstanceId"] if name in hosts else name] = item
        return hosts

    def _minimum(self, count: int) -> int:
        """How few workers will do of so many: as --min-hosts says, else all."""
        return min(self.options.min_hosts or count, count)

    def _type(self, role: str) -> str:
        arm = platform.machine().lower() in ("arm64", "aarch64")
        worker, hub = TYPES["arm64" if arm else "x86_64"]
        return (self.options.instance_type or worker) if role == "worker" else (self.options.hub_type or hub)

    def _public_key(self) -> str:
        return self.folder.key.with_suffix(".pub").read_text().strip()


def _found(name: str, item: Mapping[str, Any]) -> FoundHost:
    """An instance as a host.  One that stands still has lost its address: it is as good as none."""
    role: Role = "hub" if name == HUB else "worker"
    host = Host(name, role, instance.address(item), str(item.get("PrivateIpAddress", "")), USER)
    return FoundHost(host, "running" if instance.state(item) == "running" else "broken")


PROVIDER = Ec2Provider
