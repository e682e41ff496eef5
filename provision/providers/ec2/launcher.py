"""Launching the instances of a fleet: all hosts of a role in one call, then waiting until they run."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fanrun.fleet.errors import ProviderError
from fanrun.fleet.model import Host, Role, number
from fanrun.fleet.poll import RetryPolicy, poll
from fanrun.fleet.text import counted
from provision.hosts.ssh_key import ssh_key
from provision.providers.base import HostSpec, Say
from provision.providers.ec2 import amis, instance, launch
from provision.providers.ec2.api import PAUSE, ApiError
from provision.providers.ec2.fleet_instances import PROVIDER, USER, FleetInstances, found_host
from provision.providers.ec2.launch_journal import LaunchJournal
from provision.providers.ec2.options import Ec2Options
from provision.providers.ec2.userdata import user_data

TYPES = {"x86_64": ("c6i.large", "t3.small"), "arm64": ("c7g.large", "t4g.small")}
"""The default types of workers and the hub, by the client's architecture: its Docker builds the image for that."""


def instance_type(options: Ec2Options, role: Role) -> str:
    """Return the type of instances that hosts of this role are."""
    arm = platform.machine().lower() in ("arm64", "aarch64")
    worker, hub = TYPES["arm64" if arm else "x86_64"]
    return (options.instance_type or worker) if role == "worker" else (options.hub_type or hub)


@dataclass(frozen=True)
class LaunchedInstance:
    """An instance, and the host key that it was told to have."""

    id: str
    host_key: str


@dataclass(frozen=True)
class Launcher:
    """Launch instances of a fleet; `name` is that of its key pair and security group, `tags` those of all it has."""

    fleet: FleetInstances
    options: Ec2Options
    owner: str
    name: str
    tags: instance.Tags
    journal: LaunchJournal

    def launch(self, specs: Sequence[HostSpec], group: str, say: Say) -> dict[str, tuple[Host, str]]:
        """Launch these hosts in a security group, and wait until they run: {name: (host, its host key)}.

        Raises ProviderError naming those that end or take too long; then all of them are terminated.
        """
        launched: dict[str, LaunchedInstance] = {}
        try:
            for role in ("hub", "worker"):
                names = [item.name for item in specs if item.role == role]
                if names:
                    launched |= self._launch_role(role, names, group)
            hosts = self._wait_until_running(launched, say)
        except BaseException:
            # Their host keys are not pinned: nobody can use them any more.
            self.fleet.terminate({each.id: name for name, each in launched.items()}, say)
            raise
        return {host.name: (host, launched[host.name].host_key) for host in hosts}

    def public_key(self) -> str:
        """Return the fleet's public key, which its instances let in."""
        return self.fleet.folder.key.with_suffix(".pub").read_text().strip()

    def _launch_role(self, role: Role, names: Sequence[str], group: str) -> dict[str, LaunchedInstance]:
        """Launch the hosts of a role in one call: {name: instance} of those that Amazon gave."""
        kind = instance_type(self.options, role)
        private, public = ssh_key()
        minimum = len(names) if role == "hub" else min(self.options.min_hosts or len(names), len(names))
        spot = self.options.spot and role == "worker"
        request = launch.Launch(
            kind,
            (minimum, len(names)),
            key=self.name,
            group=group,
            user_data=user_data(USER, self.public_key(), (private, public), self.options.ttl, spot=spot),
            tags=[*self.tags, *instance.name_tags(role, names, f"{self.name}-{role}")],
            spot=spot,
        )
        given = self._run_instances(launch.arguments(self.options, self._image(kind), request))
        return {
            names[item["AmiLaunchIndex"]]: LaunchedInstance(item["InstanceId"], public) for item in given["Instances"]
        }

    def _image(self, kind: str) -> dict[str, Any]:
        """Return what an instance of that type starts from: --ami, else the newest baked image, else Debian's."""
        api = self.fleet.api
        if self.options.ami:
            return amis.image(api, self.options.ami)
        architecture = amis.architecture(api, kind)
        return amis.newest_own(api, architecture, self.owner) or amis.newest_debian(api, architecture)

    def _run_instances(self, arguments: Mapping[str, object]) -> dict[str, Any]:
        """Call RunInstances; the journal notes the call first, and forgets one that Amazon refused."""
        token = self.journal.add()
        try:
            return self.fleet.api.soon("run_instances", ClientToken=token, **arguments)
        except ApiError as error:
            if error.refused:
                self.journal.remove(token)
            raise

    def _wait_until_running(self, launched: Mapping[str, LaunchedInstance], say: Say) -> list[Host]:
        """Wait until these run and have addresses; ProviderError naming those that end, or take too long."""
        names = {each.id: host for host, each in launched.items()}
        say(PROVIDER, f"waiting for {counted(len(launched), 'instance')}")
        timeout = float(self.options.boot_timeout)
        running = poll(
            lambda: self.fleet.running(names), lambda found: len(found) == len(names), RetryPolicy(timeout, PAUSE)
        )
        if missing := sorted(launched.keys() - running.keys()):
            raise ProviderError(
                f"{', '.join(missing)} did not start within {timeout:.0f} s; "
                "`fab up` tries again, FANRUN_BOOT_TIMEOUT waits longer",
                provider=PROVIDER,
            )
        return [found_host(name, running[name]).host for name in sorted(launched, key=number)]
