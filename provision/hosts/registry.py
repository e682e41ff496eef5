"""The hub's registry: two processes over one store.

One listens at the fleet's address. It is read-only, and answers callers with a certificate of the fleet's CA. The other
listens on loopback: images are pushed to it through SSH. Neither deletes anything.
"""

from __future__ import annotations

from fanrun.fleet.errors import HostError
from fanrun.fleet.model import Host
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from provision.hosts import ca, footprint
from provision.hosts.common import (
    ANY,
    bind_address,
    ensure_client_pair,
    ensure_file,
    ensure_service,
    has_pair,
    outdated,
    read_file,
    write,
)
from provision.hosts.scripts import host_argv
from provision.registry.names import PORT, PUSH_PORT

FOLDER = "/etc/docker/registry"
PUSH_CONFIG, CONFIG = f"{FOLDER}/config.yml", f"{FOLDER}/fanrun.yml"
"""The first is the one of the package's own service."""
CA, CERTIFICATE, KEY = f"{FOLDER}/fanrun-ca.crt", f"{FOLDER}/fanrun.crt", f"{FOLDER}/fanrun.key"
SERVICE, PUSH_SERVICE = "fanrun-registry", "docker-registry"
UNIT, SCRIPT = f"/etc/systemd/system/{SERVICE}.service", f"/etc/init.d/{SERVICE}"
PORTS = [str(PORT), str(PUSH_PORT)]


def push_config() -> str:
    """Return the settings of the process that images are pushed to."""
    return read_file("registry-push.yml", port=str(PUSH_PORT))


def config(address: str) -> str:
    """Return the settings of the process that the fleet's members pull from, at this address."""
    return read_file("registry.yml", address="" if address == ANY else address, port=str(PORT))


def places(address: str) -> set[str]:
    """Return where the process for the members listens, as `ss` may name it."""
    return {f"{one}:{PORT}" for one in (("*", ANY, "[::]") if address == ANY else (address,))}


def ensure_no_registry_host(remote: Remote) -> str | None:
    """Refuse a host whose registry, or whatever has one of its ports, is somebody else's; changes nothing."""
    argv = host_argv("registry-foreign.sh", footprint.ADDED, *PORTS)
    found = remote.run(argv, sudo=True).stdout.splitlines()
    if found:
        raise HostError(
            f"has {' and '.join(found)}, which is not Fanrun's; make another host the hub", host=remote.host.name
        )
    return None


def ensure_push_config_host(remote: Remote) -> str | None:
    """Write the settings of the package's own service, which must be there before the package is.

    The package starts its service at once, and with its own settings that would be open to everybody. A registry that
    runs with other settings is stopped first: after an interruption none goes on with settings that are gone.
    """
    if outdated(remote, {PUSH_CONFIG: push_config()}):
        stop_host(remote)
        write(remote, PUSH_CONFIG, push_config())
    return None


def ensure_closed_host(remote: Remote) -> str | None:
    """Close the registry of a machine that was a hub once: an older one was open to everybody."""
    if remote.run(["grep", "-qs", "^# Written by Fanrun", PUSH_CONFIG], check=False).exit_code == 0:
        return ensure_push_config_host(remote)
    return None


def ensure_registry_host(remote: Remote, folder: Folder) -> str | None:
    """Run both processes, and nothing else of the registry at their ports."""
    address, names = bind_address(remote), [remote.host.inner]
    push_place = {f"127.0.0.1:{PUSH_PORT}"}
    texts = {CONFIG: config(address), CA: folder.ca_cert.read_text(), **_service_file(remote)}
    stale = outdated(remote, texts)
    renewed = not has_pair(remote, folder, KEY, CERTIFICATE, names)
    if stale or renewed or listeners(remote) - places(address) - push_place:
        stop_host(remote)
        for path in stale:
            write(remote, path, texts[path], mode="755" if path == SCRIPT else "644")
        if renewed:
            _write_pair(remote, folder, names)
    _enable(remote)
    started = [
        ensure_service(remote, PUSH_SERVICE, lambda: bool(listeners(remote) & push_place)),
        ensure_service(remote, SERVICE, lambda: bool(listeners(remote) & places(address))),
    ]
    if stale or renewed:
        return "registry set up"
    return "registry started" if any(started) else None


def ensure_trust_host(remote: Remote, folder: Folder, hub: Host) -> str | None:
    """Make the host's Docker trust the fleet's CA for the hub's registry alone, and show it a certificate."""
    place = f"/etc/docker/certs.d/{hub.inner}:{PORT}"
    trusts = ensure_file(remote, f"{place}/ca.crt", folder.ca_cert.read_text())
    shows = ensure_client_pair(remote, folder, f"{place}/client.key", f"{place}/client.cert")
    return "trusts the hub's registry" if trusts or shows else None


def listeners(remote: Remote) -> set[str]:
    """Return where something listens at the registry's ports, as "address:port"."""
    argv = ["ss", "-Hltn", " or ".join(f"sport = :{port}" for port in PORTS)]
    return {line.split()[3] for line in remote.run(argv).stdout.splitlines()}


def stop_host(remote: Remote) -> None:
    """Stop both processes; raises HostError if one does not end."""
    argv = host_argv("registry-stop.sh", *PORTS)
    if remote.run(argv, sudo=True, check=False).exit_code != 0:
        raise HostError("docker-registry does not end; end it, then `fab up` goes on", host=remote.host.name)


def _service_file(remote: Remote) -> dict[str, str]:
    """Return the file that makes the machine's init system know the service: {path: text}."""
    if remote.run(["test", "-d", "/run/systemd/system"], check=False).exit_code == 0:
        return {UNIT: read_file("fanrun-registry.service")}
    return {SCRIPT: read_file("fanrun-registry.init")}


def _write_pair(remote: Remote, folder: Folder, names: list[str]) -> None:
    key, certificate = ca.server(folder.ca_key.read_text(), folder.ca_cert.read_text(), names)
    remote.run(["rm", "-f", CERTIFICATE], sudo=True)
    write(remote, KEY, key, mode="600", owner="docker-registry:docker-registry")
    write(remote, CERTIFICATE, certificate)


def _enable(remote: Remote) -> None:
    """Have the service start with the machine, and go with the rest when the machine is given back."""
    remote.run(footprint.note_service_argv(SERVICE), sudo=True)
    remote.run(host_argv("registry-service.sh"), sudo=True)
