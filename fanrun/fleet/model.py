"""A fleet and its hosts."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from fanrun.fleet.errors import FleetError, UsageError
from fanrun.fleet.layout import USUAL, Layout
from fanrun.fleet.sudo import KINDS, Sudo

Role = Literal["hub", "worker"]
HUB = "hub"
NOWHERE = "fanrun.invalid"
"""What stands for the registry in the name of an image where there is none: no machine has this name (RFC 2606)."""
KEY_TYPE = "ssh-ed25519"
"""The one type of host keys that is used."""
VERSION = 2
"""The version of what Fanrun writes into the fleet's folder and on its hosts; 1 had no ids."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
ID = re.compile(r"[0-9a-f]{16}|old-[0-9a-f]{12}")
"""The id of a fleet; the second form is that of `old_id`."""


@dataclass(frozen=True)
class Host:
    """One machine of a fleet.

    `address` and `port` are where the client's SSH reaches it, `inner` is the address
    by which the fleet's other members do; `user` logs in.  `proxy` is the command that leads to its port where it can't
    be reached straight, as ssh_config's ProxyCommand.  `sudo` says how `user` gets root's rights; where sudo is not
    used, `work` is the folder in the login's home with all of Fanrun's files.
    """

    name: str
    role: Role
    address: str
    inner: str
    user: str
    port: int = 22
    proxy: str = ""
    sudo: Sudo = "free"
    work: str = ""

    @property
    def layout(self) -> Layout:
        """Where Fanrun's files are on the host, and how its Docker is called."""
        if self.sudo == "none":
            return Layout(self.work, f"{self.work}/logs", docker_by_sudo=False)
        return Layout(docker_by_sudo=False) if self.sudo == "password" else USUAL


@dataclass(frozen=True)
class Image:
    """An image that the hub's registry holds, or the workers where there is no registry.

    `name` is what the person calls it, `id` the client's image id, `ref` what workers
    pull (hub:port/repository@sha256:…) or have, `source` the hash of the files it was built
    from (empty for an image that Fanrun did not build).
    """

    name: str
    id: str
    ref: str
    source: str = ""

    @property
    def repository(self) -> str:
        """Its name without tag and digest."""
        name = self.name.partition("@")[0]
        head, _, tail = name.rpartition(":")
        return name if "/" in tail or not head else head

    @property
    def digest(self) -> str:
        """Its digest in the registry, or else its id."""
        return self.ref.partition("@")[2] or self.id

    @property
    def program_id(self) -> str:
        """What tells it from programs that make other results.

        Each build of the same sources has another id, and `fab down` removes what was built.
        """
        return self.source or self.id


@dataclass(frozen=True)
class Fleet:
    """One hub and N workers under a name, and the images that were deployed to them.

    `images` are by name, what was deployed last at the end; `previous`, by repository, what was deployed before that.
    `size` is the number of workers last asked for, whether or not they exist yet, `provider_options` what was asked for
    besides, as config.ProviderOptions reads it.
    """

    name: str
    provider: str
    hosts: tuple[Host, ...] = ()
    images: dict[str, Image] = field(default_factory=dict)
    size: int = 2
    provider_options: dict[str, str] = field(default_factory=dict)
    previous: dict[str, Image] = field(default_factory=dict)

    @property
    def known_images(self) -> tuple[Image, ...]:
        """The images that stay on the hosts: the last one of each repository, and the one before it."""
        return (*self.images.values(), *self.previous.values())

    def with_image(self, image: Image) -> Fleet:
        """Return the fleet after a deploy of this image; of its repository only the one before it is still known."""
        rest = {name: each for name, each in self.images.items() if each.repository != image.repository}
        mine = {name: each for name, each in self.images.items() if each.repository == image.repository}
        before = next((each for each in reversed(mine.values()) if each.ref != image.ref), None)
        before = before or self.previous.get(image.repository)
        known = {image.ref, before.ref} if before else {image.ref}
        mine = {name: each for name, each in mine.items() if each.ref in known and name != image.name}
        previous = {**self.previous, image.repository: before} if before else self.previous
        return dataclasses.replace(self, images={**rest, **mine, image.name: image}, previous=previous)

    @property
    def uses_sudo(self) -> bool:
        """Whether root's rights are used on its hosts: without them there is no registry and nothing on the hub."""
        return not any(host.sudo == "none" for host in self.hosts)

    @property
    def hub(self) -> Host:
        """The central host; FleetError while there is none."""
        for host in self.hosts:
            if host.role == "hub":
                return host
        raise FleetError(f"fleet {self.name} has no hub; `fab up` makes one", fleet=self.name)

    @property
    def workers(self) -> tuple[Host, ...]:
        """The hosts that run batches, in the order of their numbers."""
        found = [host for host in self.hosts if host.role == "worker"]
        return tuple(sorted(found, key=lambda host: number(host.name)))

    def host(self, name: str) -> Host:
        """The host of that name; UsageError names the ones there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        names = ", ".join(host.name for host in self.hosts) or "none"
        raise UsageError(f"fleet {self.name} has no host {name!r}; its hosts: {names}")


def number(name: str) -> int:
    """The number at the end of a host's name: worker-12 -> 12, hub -> 0."""
    tail = name.rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0


def old_id(text: str) -> str:
    """Return the id of a fleet from before fleets had ids, made from something that all its hosts share."""
    return f"old-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def known_as(address: str, port: int) -> str:
    """An address as known_hosts names it."""
    return address if port == 22 else f"[{address}]:{port}"


def to_json(fleet: Fleet) -> dict[str, Any]:
    """Return what fleet.json holds of a fleet; it calls the provider's options wishes.

    How sudo is used is left out of usual hosts, so that earlier versions of Fanrun can read of them.
    """
    data = {"wishes" if key == "provider_options" else key: value for key, value in dataclasses.asdict(fleet).items()}
    for host in data["hosts"]:
        if host["sudo"] == "free":
            del host["sudo"], host["work"]
    return data


def from_json(data: dict[str, Any]) -> Fleet:
    """Return the fleet that `to_json` described; KeyError, TypeError or ValueError if it isn't one."""
    fleet = Fleet(
        name=data["name"],
        provider=data["provider"],
        hosts=tuple(Host(**host) for host in data["hosts"]),
        images={name: Image(**image) for name, image in data["images"].items()},
        previous={name: Image(**image) for name, image in data.get("previous", {}).items()},
        size=data.get("size", Fleet.size),
        provider_options=dict(data.get("wishes", {})),
    )
    parts = [vars(part) for part in (*fleet.hosts, *fleet.known_images)]
    texts: list[object] = [fleet.name, fleet.provider, *fleet.provider_options, *fleet.provider_options.values()]
    texts += [value for part in parts for name, value in part.items() if name != "port"]
    numbers: list[object] = [fleet.size, *(part["port"] for part in parts if "port" in part)]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("it has something else where a text belongs")
    if not all(host.sudo in KINDS for host in fleet.hosts):
        raise ValueError("it has another word where it says how sudo is used")
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        raise ValueError("it has something else where a whole number belongs")
    return fleet


def with_paths(fleet: Fleet, old: str, new: str) -> Fleet:
    """Return the fleet with another folder in its paths: in what was asked for, and in the commands of its proxies."""

    def moved(text: str) -> str:
        return re.sub(rf"(?<![^\s'\"=]){re.escape(old)}", lambda _: new, text)

    return dataclasses.replace(
        fleet,
        provider_options={name: moved(text) for name, text in fleet.provider_options.items()},
        hosts=tuple(dataclasses.replace(host, proxy=moved(host.proxy)) for host in fleet.hosts),
    )
