"""The service on a fleet: processors on the workers, the API on the hub, all of them containers with a label.

The API reads the processors' addresses from a file and follows it, so replicas come and go while it answers.  Between
the two TLS is spoken under the fleet's own authority, both sides show a certificate.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fanrun.fleet.errors import FleetError, HostError, HostsFailed, UsageError
from fanrun.fleet.model import Fleet, Host, Image
from fanrun.fleet.parallel import on_hosts
from fanrun.fleet.poll import RetryPolicy, poll
from fanrun.fleet.private_files import write_private
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from fanrun.serving.containers import FOLDER, OWNER, PROCESSORS, ApiOptions, Container, HostSetup, api, processors
from provision import deployment
from provision.hosts import ca, prometheus
from provision.hosts.common import bind_address
from provision.registry import build, local_images
from provision.registry.transfer import ensure_image_host
from service.common.settings import read_api
from service.common.tokens import read_tokens

READY, DRAIN = 60.0, 40
"""Seconds that a server may take to be ready, and to end."""
CLIENT_PAIR = ("client.crt", "client.key")
"""Files of the fleet's folder; service.loadtest.access knows them too."""
CALLER = "caller"  # the name in that certificate
Say = Callable[[str, str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """What somebody asks for of the API's options; None leaves it as it is."""

    args: Sequence[str] | None = None
    tokens: str | None = None


def serve(folder: Folder, root: Path, replicas: int, asked: Asked, say: Say) -> list[Container]:
    """Make so many processors and the API run, and end those that are too many; returns what runs, the API first.

    Requests that come meanwhile are answered: new processors are ready before the API hears of them, and others
    are told to end after it has heard that they go.  Raises HostsFailed naming each host that failed, UsageError and
    SystemExit for what can't be meant.
    """
    _check(asked)  # that ends here, not on the hub
    fleet = folder.load()
    if not fleet.workers:
        raise FleetError(f"fleet {fleet.name} has no worker; `fab up` makes one", fleet=fleet.name)
    image = _deploy(folder, root, say)
    with folder.lock():
        fleet = folder.load()
        _ensure_client_pair(folder)
        options = _each(folder, [fleet.hub], lambda remote: _ensure_options_host(remote, asked))[fleet.hub.name]
        setups = _each(folder, fleet.hosts, lambda remote: _ensure_files_host(remote, folder, fleet, options))
        wanted = processors(fleet, image, replicas, setups)
        front = api(fleet, image, options, setups[fleet.hub.name])
        there = _found(folder, fleet)
        new = [one for one in wanted if one.key not in there]
        _each(folder, fleet.workers, lambda remote: _start(remote, new, say))
        _each(folder, [fleet.hub], lambda remote: _tell(remote, wanted))
        if there.get(front.key) != front.spec:
            _each(folder, [fleet.hub], lambda remote: _start(remote, [front], say))
        for one in wanted:  # one after the other: the rest answer
            if one not in new and there[one.key] != one.spec:
                _each(folder, [one.host], functools.partial(_start, containers=[one], say=say))
        places = {"api": [front.metrics], "processor": [one.metrics for one in wanted]}
        _each(folder, [fleet.hub], lambda remote: _scrape(remote, folder, places, say))
        keep = {one.key for one in (front, *wanted)}
        _each(folder, _machines(fleet), lambda remote: _end(remote, keep, say))
    return [front, *wanted]


def how_to_call(folder: Folder, root: Path, front: Container, environment: Mapping[str, str]) -> list[str]:
    """Return what a person at this machine types to call the API, in lines: a tunnel where one is needed, the client.

    The client finds the fleet's folder by itself, unless fabric.yaml says where it is.
    """
    hub, port = front.host, front.port
    lines, server = [], ["--server", f"{hub.inner}:{port}"]
    if hub.address != hub.inner:
        tunnel = ["ssh", "-F", str(folder.ssh_config), "-N", "-L", f"{port}:127.0.0.1:{port}", hub.name]
        lines, server = [f"first, in another terminal: {shlex.join(tunnel)}"], ["--server", f"localhost:{port}"]
    home = root / Path(environment.get("FANRUN_HOME") or ".fanrun").expanduser()
    if folder.path.parent != home:
        certificate, key = (str(folder.path / name) for name in CLIENT_PAIR)
        server += ["--ca", str(folder.ca_cert), "--cert", certificate, "--key", key]
    elif folder.name != (environment.get("FANRUN_FLEET") or "default"):
        server += ["--fleet", folder.name]
    tokens = " --token-file FILE" if any(flag.startswith("--tokens=/") for flag in front.argv) else ""
    argv = [sys.executable, str(root / "service" / "loadtest" / "client.py")]
    return [*lines, f"call it: {shlex.join([*argv, *server])}{tokens} IMAGE"]


def end(folder: Folder, say: Say) -> None:
    """End the API, then the processors, each with what it is at; harmless where none runs."""
    with folder.lock():
        fleet = folder.load()
        _each(folder, [fleet.hub], lambda remote: _end(remote, set(), say, "api"))
        _each(folder, _machines(fleet), lambda remote: _end(remote, set(), say))
        _each(folder, [fleet.hub], prometheus.forget_targets_host)


def _machines(fleet: Fleet) -> list[Host]:
    """One host for each machine: one may be the hub and a worker."""
    return list({host.inner: host for host in fleet.hosts}.values())


def _deploy(folder: Folder, root: Path, say: Say) -> Image:
    """Build the service's image on that of process.py, and bring it to the hub and the workers."""
    build.ensure_client_docker()
    image = deployment.deploy(folder, root, say, local_images.build_service(root, folder))
    _each(folder, [folder.load().hub], lambda remote: ensure_image_host(remote, image))
    return image


def _each(folder: Folder, hosts: Sequence[Host], work: Callable[[Remote], T]) -> dict[str, T]:
    results, errors = on_hosts(folder, hosts, work)
    if errors:
        raise HostsFailed(errors)
    return results


def _check(asked: Asked) -> None:
    """Raise UsageError or SystemExit for what a server would refuse."""
    read_api(asked.args or [], {})
    if asked.tokens:
        try:
            read_tokens(asked.tokens)
        except ValueError as error:
            raise UsageError(f"--tokens: {error}") from error


def _ensure_client_pair(folder: Folder) -> None:
    """Keep a certificate of the fleet's CA, and its key, for those who call the API from this machine."""
    authority, names = folder.ca_cert.read_text(), [CALLER]
    certificate, key = (folder.path / name for name in CLIENT_PAIR)
    with contextlib.suppress(OSError):
        if key.stat().st_size and ca.serves(certificate.read_text(), names, authority):
            return
    made = ca.client(folder.ca_key.read_text(), authority, names)
    certificate.unlink(missing_ok=True)  # else an old one might stand beside a new key
    write_private(key, made[0].encode())
    write_private(certificate, made[1].encode())


def _ensure_options_host(remote: Remote, asked: Asked) -> ApiOptions:
    """What the API shall be: what is asked for now, else what the hub was told the last time; it is told anew."""
    kept = remote.run(["cat", f"{FOLDER}/wish.json"], sudo=True, check=False)
    old = ApiOptions(**json.loads(kept.stdout)) if kept.exit_code == 0 else ApiOptions()
    options = ApiOptions(
        old.args if asked.args is None else list(asked.args), old.tokens if asked.tokens is None else asked.tokens
    )
    if options != old or kept.exit_code != 0:
        remote.put(json.dumps(dataclasses.asdict(options)), f"{FOLDER}/wish.json", mode="400")
    return options


def _ensure_files_host(remote: Remote, folder: Folder, fleet: Fleet, options: ApiOptions) -> HostSetup:
    """Give a host the files that its servers read, where it hasn't got them."""
    roles = (["api"] if remote.host == fleet.hub else []) + (["processor"] if remote.host in fleet.workers else [])
    authority, files = folder.ca_cert.read_text(), dict[str, str]()
    for role in roles:
        place, names = f"{FOLDER}/{role}", [PROCESSORS, remote.host.inner]
        names += ["localhost", "127.0.0.1"] if role == "api" else []  # where a tunnel to it begins
        certificate = remote.run(["cat", f"{place}/cert.pem"], sudo=True, check=False).stdout
        if not ca.serves(certificate, names, authority):
            key, certificate = ca.server(folder.ca_key.read_text(), authority, names, client=role == "api")
            for file, text in (("ca.pem", authority), ("key.pem", key), ("cert.pem", certificate)):
                remote.put(text, f"{place}/{file}", mode="400", owner=OWNER)
        files[role] = hashlib.sha256(certificate.encode()).hexdigest()
    if "api" in roles:
        if options.tokens:
            remote.put(options.tokens, f"{FOLDER}/api/tokens", mode="400", owner=OWNER)
        else:
            remote.run(["rm", "-f", f"{FOLDER}/api/tokens"], sudo=True)
        files["api"] += hashlib.sha256(options.tokens.encode()).hexdigest()
    return HostSetup(bind_address(remote), files)


def _scrape(remote: Remote, folder: Folder, places: dict[str, list[str]], say: Say) -> None:
    """Have the hub's Prometheus look at these."""
    if changed := prometheus.ensure_prometheus_host(remote, folder, places, PROCESSORS):
        say(remote.host.name, changed)


def _tell(remote: Remote, wanted: Sequence[Container]) -> None:
    """Name the processors to the API."""
    lines = "".join(f"{one.host.inner}:{one.port}\n" for one in wanted)
    remote.put(lines, f"{FOLDER}/api/new", mode="444")
    remote.run(["mv", f"{FOLDER}/api/new", f"{FOLDER}/api/processors"], sudo=True)


def _found(folder: Folder, fleet: Fleet) -> dict[tuple[str, str], str]:
    """The servers that run: {(machine, name): spec}; those that don't are removed."""

    def look(remote: Remote) -> dict[tuple[str, str], str]:
        ended = ["docker", "ps", "--all", "--quiet", "--filter=label=fanrun.service", "--filter=status=exited"]
        if ids := remote.run([*ended, "--filter=status=created", "--filter=status=dead"], sudo=True).stdout.split():
            remote.run(["docker", "rm", "--force", *ids], sudo=True)
        listed = remote.run(
            ["docker", "ps", "--filter=label=fanrun.service", '--format={{.Names}} {{.Label "fanrun.spec"}}'], sudo=True
        )
        return {(remote.host.inner, line.split()[0]): line.split()[1] for line in listed.stdout.splitlines()}

    answers, errors = on_hosts(folder, _machines(fleet), look)
    if errors:
        raise HostsFailed(errors)
    return {key: spec for found in answers.values() for key, spec in found.items()}


def _start(remote: Remote, containers: Sequence[Container], say: Say) -> None:
    """Start those of this host, in place of what has their name, and wait until they answer."""
    mine = [one for one in containers if one.host == remote.host]
    for one in mine:
        remote.run(["docker", "stop", f"--time={DRAIN}", one.name], sudo=True, check=False, timeout=DRAIN + 20)
        remote.run(["docker", "rm", "--force", one.name], sudo=True, check=False)
        label = ["--label", f"fanrun.spec={one.spec}"]
        remote.run([*one.argv[:3], *label, *one.argv[3:]], sudo=True)
    for one in mine:
        _wait_ready(remote, one)
        say(remote.host.name, f"{one.name} answers at {remote.host.inner}:{one.port}")


def _wait_ready(remote: Remote, one: Container) -> None:
    """Wait for the line that says so; raises HostError with its last words."""

    def read() -> tuple[str, list[str]]:
        said = remote.run(["docker", "logs", one.name], sudo=True, check=False).stderr.splitlines()
        state = remote.run(["docker", "inspect", "--format={{.State.Status}}", one.name], sudo=True).stdout.strip()
        return state, said

    def is_ready(seen: tuple[str, list[str]]) -> bool:
        return seen[0] == "running" and any('"ready"' in line for line in seen[1])

    seen = poll(read, lambda seen: seen[0] != "running" or is_ready(seen), RetryPolicy(READY, pause=0.2))
    if not is_ready(seen):
        remote.run(["docker", "rm", "--force", one.name], sudo=True)
        last = seen[1][-1] if seen[1] else "it said nothing"
        raise HostError(f"{one.name} does not start: {last}", host=remote.host.name)


def _end(remote: Remote, keep: set[tuple[str, str]], say: Say, role: str = "") -> None:
    """End the servers of this host that are not to be kept; each drains first."""
    label = f"fanrun.service={role}" if role else "fanrun.service"
    names = remote.run(
        ["docker", "ps", "--all", f"--filter=label={label}", "--format={{.Names}}"], sudo=True
    ).stdout.split()
    surplus = [name for name in names if (remote.host.inner, name) not in keep]
    if surplus:
        remote.run(["docker", "stop", f"--time={DRAIN}", *surplus], sudo=True, timeout=DRAIN * len(surplus) + 20)
        remote.run(["docker", "rm", "--force", *surplus], sudo=True)
        for name in surplus:
            say(remote.host.name, f"{name} ended")
