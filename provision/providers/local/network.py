"""The Docker network of a fleet's containers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from fanrun.fleet.store import Folder
from provision.providers.local import docker
from provision.providers.local.containers import resource


def ensure_network(folder: Folder, containers: Iterable[Mapping[str, Any]] = ()) -> str:
    """Return the network of a fleet: that of its containers if it has any, else one that is made for its id.

    Fixed addresses, as a VM has, need a subnet that is named when the network is created.
    """
    for item in containers:
        if used := next(iter(item["NetworkSettings"]["Networks"]), ""):
            return used
    network = resource(folder.name, folder.ensure_id(), "net")
    if not has_network(network):
        # Let Docker choose a subnet that is free here, then ask for that very one.
        trial, label = f"{network}-trial", f"--label=fanrun.id={folder.id}"
        if has_network(trial):
            docker.run("network", "rm", trial)
        docker.run("network", "create", label, trial)
        chosen = read_subnet(trial)
        docker.run("network", "rm", trial)
        docker.run("network", "create", f"--subnet={chosen}", label, network)
    return network


def has_network(network: str) -> bool:
    """Return whether there is a network of that name."""
    return bool(docker.run("network", "ls", "--quiet", f"--filter=name=^{network}$").strip())


def read_subnet(network: str) -> ipaddress.IPv4Network:
    """Return the addresses of a network."""
    shown = docker.run("network", "inspect", "--format={{(index .IPAM.Config 0).Subnet}}", network)
    return ipaddress.IPv4Network(shown.strip())
