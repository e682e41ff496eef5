"""The containers that are local hosts: how they are created, and what Docker says of them."""

from __future__ import annotations

import io
import socket
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from fanrun.fleet.model import Host, number, old_id
from provision.providers.base import FoundHost, OtherFleet, State
from provision.providers.local.host_image import IMAGE, USER

AUTHORIZED_KEYS = f"/home/{USER}/.ssh/authorized_keys"


# What a nested dockerd needs where the machine itself may not grant --privileged (a
# bounding set without CAP_SYS_RESOURCE); elsewhere it is enough as well.
NESTED = [
    "--cap-add=ALL",
    "--cap-drop=SYS_RESOURCE",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=systempaths=unconfined",
]
CGROUP = ["--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw"]


def create_argv(labels: Mapping[str, str], network: str, host: Host, *, privileged: bool) -> list[str]:
    """Return the docker command that creates, but doesn't start, one host; `labels` are its fleet's."""
    labels = {
        **labels,
        "name": host.name,
        "role": host.role,
        "address": host.address,
        "port": str(host.port),
        "inner": host.inner,
    }
    published = [f"--publish=127.0.0.1:{host.port}:22"] if host.port != 22 else []
    return [
        "docker",
        "create",
        f"--name={resource(labels['fleet'], labels['id'], host.name)}",
        f"--hostname={host.name}",
        *(f"--label=fanrun.{key}={value}" for key, value in labels.items()),
        f"--network={network}",
        f"--ip={host.inner}",
        *published,
        "--tmpfs=/run:exec",
        "--volume=/var/lib/docker",
        *(["--privileged"] if privileged else NESTED),
        *CGROUP,
        IMAGE,
    ]


def resource(fleet: str, fleet_id: str, name: str) -> str:
    """Return the name of a container or network; those of two fleets of one name differ."""
    return f"fanrun-{fleet}-{fleet_id[:8]}-{name}"


def labels_of(inspected: Mapping[str, Any]) -> dict[str, Any]:
    """Return Fanrun's labels of a container, without their prefix."""
    return {key.removeprefix("fanrun."): value for key, value in inspected["Config"]["Labels"].items()}


def is_old(inspected: Mapping[str, Any]) -> bool:
    """Return whether a container is from before fleets had ids."""
    return "id" not in labels_of(inspected)


def fleet_id(inspected: Mapping[str, Any]) -> str:
    """Return the id of a container's fleet."""
    label = labels_of(inspected)
    return str(label.get("id") or old_id(label["folder"]))


def by_fleet(containers: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return what Docker says of containers, by the id of their fleet."""
    found: dict[str, list[dict[str, Any]]] = {}
    for item in containers:
        found.setdefault(fleet_id(item), []).append(item)
    return found


def other_fleet(fleet_id: str, containers: Sequence[Mapping[str, Any]]) -> OtherFleet:
    """Describe the containers of another fleet."""
    created = min(datetime.fromisoformat(f"{item['Created'][:19]}+00:00").timestamp() for item in containers)
    label = labels_of(containers[0])
    hosts = sorted((found_host(item).host.name for item in containers), key=number)
    return OtherFleet(
        fleet_id,
        label.get("owner", ""),
        tuple(hosts),
        created=created,
        folder=label["folder"],
        where="in the Docker of this machine",
        options=("--provider=local",),
    )


def found_host(inspected: Mapping[str, Any]) -> FoundHost:
    """Read one element of `docker inspect` as a host."""
    label = labels_of(inspected)
    host = Host(label["name"], label["role"], label["address"], label["inner"], USER, int(label["port"]))
    # "created" is a container whose keys may not be planted yet.
    states: dict[str, State] = {"running": "running", "created": "broken", "dead": "broken"}
    return FoundHost(host, states.get(inspected["State"]["Status"], "stopped"))


def tar(files: Mapping[str, tuple[str, int]]) -> bytes:
    """Return a tar archive of files, {path: (text, mode)}, that are owned by root, as sshd demands."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, (text, mode) in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), mode
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
