"""A fleet as the version before fleets had ids made it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from fanrun.fleet.model import Fleet, Host
from fanrun.fleet.private_files import write_private
from fanrun.fleet.store import Folder
from provision.hosts import ca
from provision.hosts.ssh_key import ssh_key
from provision.providers.local import containers, host_image
from provision.providers.local import docker as local_docker
from provision.providers.local.network import read_subnet
from tests.fleet.harness import docker


def old_fleet(home: Path, name: str) -> Folder:
    """A hub and a worker, and the folder that knows them, as the version before fleets had ids made them."""
    folder = Folder(home, name)
    folder.create()
    private, public = ssh_key()
    write_private(folder.key, private.encode())
    write_private(folder.key.with_suffix(".pub"), f"{public} fanrun-{name}\n".encode())
    for path, text in zip((folder.ca_key, folder.ca_cert), ca.authority(name), strict=True):
        write_private(path, text.encode())
    host_image.ensure_host_image(lambda host, what: None)
    old = f"fanrun-{name}-{hashlib.sha256(str(folder.path).encode()).hexdigest()[:8]}"
    docker("network", "create", f"{old}-draft")
    subnet = read_subnet(f"{old}-draft")
    docker("network", "rm", f"{old}-draft")
    docker("network", "create", f"--subnet={subnet}", f"{old}-net")
    hub, worker = str(subnet[10]), str(subnet[11])
    hosts = (
        Host("hub", "hub", hub, hub, host_image.USER),
        Host("worker-1", "worker", worker, worker, host_image.USER),
    )
    made = [create_as_before(folder, f"{old}-{host.name}", f"{old}-net", host) for host in hosts]
    folder.save(Fleet(name, "local", tuple(made), size=1))
    data = json.loads(folder.fleet_json.read_text())["fleet"]
    folder.fleet_json.write_text(json.dumps(data))
    files = "ca.crt ca.key fleet.json key key.pub known_hosts ssh_config"
    assert sorted(path.name for path in folder.path.iterdir()) == files.split()
    return folder


def create_as_before(folder: Folder, container: str, network: str, host: Host) -> Host:
    """Start a host whose labels know of no id."""
    labels = {key: getattr(host, key) for key in ("name", "role", "address", "inner")}
    labels |= {"fleet": folder.name, "folder": str(folder.path), "port": "22"}
    docker(
        "create",
        f"--name={container}",
        f"--hostname={host.name}",
        *(f"--label=fanrun.{key}={value}" for key, value in labels.items()),
        f"--network={network}",
        f"--ip={host.inner}",
        "--tmpfs=/run:exec",
        "--volume=/var/lib/docker",
        *containers.NESTED,
        *containers.CGROUP,
        host_image.IMAGE,
    )
    private, public = ssh_key()
    files = {
        "etc/ssh/ssh_host_ed25519_key": (private, 0o600),
        containers.AUTHORIZED_KEYS.lstrip("/"): (folder.key.with_suffix(".pub").read_text(), 0o644),
    }
    local_docker.run("cp", "-", f"{container}:/", stdin=containers.tar(files))
    docker("start", container)
    folder.host_keys.pin(host.address, host.port, public)
    return dataclasses.replace(host)
