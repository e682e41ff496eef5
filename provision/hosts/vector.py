"""Vector at work on a host: it ships logs to the hub, and at the hub it takes them.

Two services of Fanrun's own, so that a Vector of somebody else's on the same machine is not touched: every machine has
fanrun-vector, whose configuration is vector.toml, and the hub has fanrun-vector-hub as well.  Both run as user vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fanrun.fleet.config import Logs
from fanrun.fleet.errors import HostError
from fanrun.fleet.model import Fleet, Host
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from provision.hosts import ca, footprint
from provision.hosts.common import (
    bind_address,
    ensure_client_pair,
    ensure_service,
    has_pair,
    outdated,
    read_file,
    write,
)
from provision.hosts.scripts import host_argv
from provision.hosts.spool import LOGS
from provision.hosts.vector_install import VectorState

PORT = 6000
DATA, FOLDER = "/var/lib/fanrun-vector", "/etc/fanrun/vector"
SHIPPER, RECEIVER, EXPIRY = "fanrun-vector", "fanrun-vector-hub", "fanrun-logs"
CA = f"{FOLDER}/ca.crt"
CERTIFICATE, KEY = f"{FOLDER}/host.crt", f"{FOLDER}/host.key"
HUB_CERTIFICATE, HUB_KEY = f"{FOLDER}/hub.crt", f"{FOLDER}/hub.key"
EXPIRE, CRON = f"{FOLDER}/expire-logs.sh", f"/etc/cron.d/{EXPIRY}"
FORMER_CRON = f"/etc/cron.daily/{EXPIRY}"
"""Where older versions of Fanrun had it."""
OWNER = "vector:vector"
AS_VECTOR = ["setpriv", "--reuid=vector", "--regid=vector", "--init-groups", "--inh-caps=-all", "--no-new-privs"]
READS_ALL = "--inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search"
READS_OWN = "--inh-caps=-all"
"""The options of setpriv for the shipper, as Docker's files are root's, and for the receiver."""
ONE_THREAD = "VECTOR_THREADS=1"
"""What the shipper's environment has besides; fanrun-vector.service says why."""


@dataclass(frozen=True)
class VectorHost:
    """Hold a machine of the fleet: the name in its log lines, and whether it is the hub.

    A machine that is the hub and a worker has the worker's name.
    """

    host: Host
    is_hub: bool


def places(fleet: Fleet) -> list[VectorHost]:
    """Return the fleet's machines, each one once."""
    hub = fleet.hub
    machines = {(host.address, host.port): host for host in (hub, *fleet.workers)}
    return [VectorHost(host, (host.address, host.port) == (hub.address, hub.port)) for host in machines.values()]


def at(address: str) -> str:
    """Return an address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def shipper_config(text: str, host: str, hub: str) -> str:
    """Return vector.toml, whose text is given, for the host of that name and the hub at that address."""
    return text.replace('"HOST"', f'"{host}"').replace('"ADDRESS:', f'"{at(hub)}:')


def receiver_config(address: str) -> str:
    """Return the hub's half, to listen at that address."""
    return read_file("vector-hub.toml").replace('"ADDRESS:', f'"{at(address)}:')


def service_files(name: str, found: VectorState) -> dict[str, str]:
    """Return the file that makes the machine's init system know a service: {path: text}."""
    if found.systemd:
        text = read_file(f"{name}.service").replace("PROGRAM", found.program)
        return {f"/etc/systemd/system/{name}.service": text}
    capabilities, threads = (READS_ALL, ONE_THREAD) if name == SHIPPER else (READS_OWN, "")
    text = read_file("fanrun-vector.init").replace("NAME", name).replace("CAPABILITIES", capabilities)
    text = text.replace(" THREADS ", f" {threads} ".replace("  ", " "))
    return {f"/etc/init.d/{name}": text.replace("PROGRAM", found.program)}


def expiry_files(logs: Logs, found: VectorState) -> dict[str, str]:
    """Return what removes old logs at the hub, once a minute: {path: text}."""
    texts = {EXPIRE: read_file("expire-logs.sh")}
    if found.systemd:
        texts |= {f"/etc/systemd/system/{name}": read_file(name) for name in (f"{EXPIRY}.service", f"{EXPIRY}.timer")}
    else:
        texts[CRON] = read_file(f"{EXPIRY}.cron")
    return {path: text.replace("DAYS BYTES", f"{logs.days} {logs.bytes}") for path, text in texts.items()}


def ensure_shipper_host(remote: Remote, folder: Folder, text: str, hub: Host, found: VectorState) -> str | None:
    """Ship this host's logs to the hub; `text` is vector.toml."""
    _ensure_folders(remote)
    renewed = ensure_client_pair(remote, folder, KEY, CERTIFICATE, owner=OWNER)
    config = shipper_config(text, remote.host.name, hub.inner)
    texts = {CA: folder.ca_cert.read_text(), **service_files(SHIPPER, found)}
    return _ensure_service(remote, SHIPPER, Half(config, texts, found.program, renewed))


def ensure_receiver_host(remote: Remote, folder: Folder, found: VectorState) -> str | None:
    """Take the logs of the fleet's hosts, at the fleet's address and from those with a certificate of its CA alone."""
    _ensure_folders(remote)
    names = [remote.host.inner]
    renewed = not has_pair(remote, folder, HUB_KEY, HUB_CERTIFICATE, names)
    if renewed:
        key, certificate = ca.server(folder.ca_key.read_text(), folder.ca_cert.read_text(), names)
        remote.run(["rm", "-f", HUB_CERTIFICATE], sudo=True)
        write(remote, HUB_KEY, key, mode="600", owner=OWNER)
        write(remote, HUB_CERTIFICATE, certificate)
    texts = {CA: folder.ca_cert.read_text(), **service_files(RECEIVER, found)}
    half = Half(receiver_config(bind_address(remote)), texts, found.program, renewed)
    return _ensure_service(remote, RECEIVER, half)


def ensure_expiry_host(remote: Remote, logs: Logs, found: VectorState) -> str | None:
    """Remove old logs at the hub, now and once a minute; without systemd and cron, at each `fab up` alone."""
    texts = expiry_files(logs, found)
    if not found.systemd and remote.run(["test", "-d", "/etc/cron.d"], check=False).exit_code != 0:
        del texts[CRON]
    stale = outdated(remote, texts)
    for path in stale:
        write(remote, path, texts[path])
    remote.run(["rm", "-f", FORMER_CRON], sudo=True)
    if found.systemd:
        remote.run(footprint.note_service_argv(EXPIRY), sudo=True)
        remote.run(["systemctl", "daemon-reload"], sudo=True)
        remote.run(["systemctl", "enable", "--quiet", "--now", f"{EXPIRY}.timer"], sudo=True)
    remote.run([*AS_VECTOR, "sh", EXPIRE, LOGS, str(logs.days), str(logs.bytes)], sudo=True, check=False)
    return "removes old logs" if stale else None


def end_host(remote: Remote, names: list[str]) -> str | None:
    """Stop these services; their files stay until the machine is given back."""
    done = remote.run(host_argv("service-end.sh", *names), sudo=True)
    return f"{' and '.join(done.stdout.split())} ended" if done.stdout.strip() else None


@dataclass(frozen=True)
class Half:
    """One of the two services: its configuration, its other files, the program, whether its certificate is new."""

    config: str
    texts: dict[str, str]
    program: str
    renewed: bool


def _ensure_folders(remote: Remote) -> None:
    """Make the folders of the configuration and of what Vector keeps, noted as Fanrun's first."""
    for path, owner in ((FOLDER, "root"), (DATA, "vector")):
        remote.run(footprint.note_tree_argv(path), sudo=True)
        remote.run(["install", "-d", "-m", "755", "-o", owner, path], sudo=True)
    remote.run(["install", "-d", "-m", "755", "-o", "vector", f"{DATA}/hub"], sudo=True)


def _ensure_service(remote: Remote, name: str, half: Half) -> str | None:
    """Have a service run with these files; a configuration that Vector refuses is not taken, and it runs on."""
    path = f"{FOLDER}/{name}.toml"
    stale = outdated(remote, {path: half.config, **half.texts})
    begin = host_argv("service-start.sh", name)
    if not stale and not half.renewed:
        anew = "started anew" in remote.run(begin, sudo=True).stdout
        started = ensure_service(remote, name, lambda: _runs(remote, name))
        return f"{name} started anew" if anew else started
    remote.run(footprint.note_service_argv(name), sudo=True)
    remote.run(footprint.note_file_argv(f"/var/log/{name}.log"), sudo=True)
    if path in stale:
        _write_config(remote, path, half)
    for other in stale:
        if other != path:
            write(remote, other, half.texts[other], mode="755" if other.startswith("/etc/init.d/") else "644")
    remote.run([*begin, "anew"], sudo=True)
    ensure_service(remote, name, lambda: _runs(remote, name))
    return f"{name} set up"


def _write_config(remote: Remote, path: str, half: Half) -> None:
    new = f"{Path(path).with_suffix('')}.new.toml"
    remote.put(half.config, new)
    argv = [*AS_VECTOR, half.program, "validate", "--no-environment", new]
    done = remote.run(argv, sudo=True, check=False)
    if done.exit_code != 0:
        remote.run(["rm", "-f", new], sudo=True)
        said = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise HostError(
            f"Vector refuses its configuration ({said[-1] if said else 'it said nothing'}); it goes on as before",
            host=remote.host.name,
        )
    remote.run(footprint.note_file_argv(path), sudo=True)
    remote.run(["mv", new, path], sudo=True)


def _runs(remote: Remote, name: str) -> bool:
    return remote.run(["service", name, "status"], sudo=True, check=False, timeout=20).exit_code == 0
