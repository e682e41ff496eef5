"""The service on a fleet: processors on the workers, the API on the hub, all of them containers with a label.

The API reads the processors' addresses from a file and follows it, so replicas come and go while it answers.  Between
the two TLS is spoken under the fleet's own authority, both sides show a certificate.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision import build, ca, lifecycle, metrics
from provision.errors import FleetError, HostError, HostsFailed
from provision.fleet import Fleet, Folder, Host, Image
from provision.image import ensure_image_host
from provision.probe import WORK
from provision.remote import Remote, on_hosts
from service.settings import read_api

API_PORT, PROCESSOR_PORT = 50051, 50052
METRICS_PORT = 5001
FOLDER = f"{WORK}/service"
OWNER = "65532:65532"  # whom the image runs as
PROCESSORS = "processors"  # the name in their certificates
READY, DRAIN = 60.0, 40
"""Seconds that a server may take to be ready, and to end."""
Say = Callable[[str, str], None]


@dataclass(frozen=True)
class Container:
    """A server on a host; `metrics` is where they are, `spec` changes with all that needs it to be started anew."""

    host: Host
    name: str
    port: int
    metrics: str
    argv: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Which machine it is on, and its name there."""
        return self.host.inner, self.name

    @property
    def spec(self) -> str:
        return hashlib.sha256(json.dumps(self.argv).encode()).hexdigest()[:12]


def processors(fleet: Fleet, image: Image, replicas: int) -> list[Container]:
    """So many processors, dealt round robin to the workers; those of one worker at ports one after the other."""
    found = []
    for number in range(replicas):
        turn, place = divmod(number, len(fleet.workers))
        found.append(_processor(fleet.workers[place], image, turn))
    return found


def _processor(host: Host, image: Image, turn: int) -> Container:
    port, metrics_port, name = PROCESSOR_PORT + turn, METRICS_PORT + 1 + turn, f"fanrun-processor-{turn + 1}"
    published = [f"{host.inner}:{port}:{PROCESSOR_PORT}", f"{host.inner}:{metrics_port}:{METRICS_PORT}"]
    argv = (
        *_run(name, "processor", published, image), "service.processor",
        "--tls-cert=/service/cert.pem", "--tls-key=/service/key.pem", "--client-ca=/service/ca.pem",
    )  # fmt: skip
    return Container(host, name, port, f"{host.inner}:{metrics_port}", argv)


def api(fleet: Fleet, image: Image, args: Sequence[str], *, tokens: bool) -> Container:
    """The API, at the hub's address and its loopback; `args` are flags of service.api."""
    inner, name = fleet.hub.inner, "fanrun-api"
    ports = {
        f"{inner}:{API_PORT}": API_PORT,
        f"127.0.0.1:{API_PORT}": API_PORT,
        f"{inner}:{METRICS_PORT}": METRICS_PORT,
    }
    argv = (
        *_run(name, "api", [f"{outside}:{inside}" for outside, inside in ports.items()], image), "service.api",
        "--processor=file:/service/processors", f"--processor-name={PROCESSORS}", "--processor-ca=/service/ca.pem",
        "--processor-cert=/service/cert.pem", "--processor-key=/service/key.pem",
        *(["--tokens=/service/tokens"] if tokens else []), *args,
    )  # fmt: skip
    return Container(fleet.hub, name, API_PORT, f"{inner}:{METRICS_PORT}", argv)


def _run(name: str, role: str, published: Sequence[str], image: Image) -> tuple[str, ...]:
    """The docker command up to the program: unprivileged, nothing writable, back after a reboot."""
    return (
        "docker", "run", "--detach", f"--name={name}", "--restart=unless-stopped", f"--label=fanrun.service={role}",
        "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--user={OWNER}",
        "--pids-limit=1024", "--log-opt=max-size=10m", "--log-opt=max-file=3", f"--volume={FOLDER}/{role}:/service:ro",
        *(f"--publish={each}" for each in published), image.ref,
    )  # fmt: skip


def serve(
    folder: Folder, root: Path, replicas: int, args: Sequence[str], tokens: str | None, say: Say
) -> list[Container]:
    """Make so many processors and the API run, and end those that are too many; returns what runs, the API first.

    Requests that come meanwhile are answered: new processors are ready before the API hears of them, and others
    are told to end after it has heard that they go.  `tokens` are the lines of a file of bearer tokens, None for none.
    Raises HostsFailed naming each host that failed, and SystemExit for a flag that can't be meant.
    """
    read_api(args, {})  # that ends here, not on the hub
    fleet = folder.load()
    if not fleet.workers:
        raise FleetError(f"fleet {fleet.name} has no worker; `fab up` makes one", fleet=fleet.name)
    image = _deploy(folder, root, say)
    with folder.lock():
        fleet = folder.load()
        wanted = processors(fleet, image, replicas)
        front = api(fleet, image, args, tokens=tokens is not None)
        _each(folder, fleet.hosts, lambda remote: _ensure_files_host(remote, folder, fleet, tokens))
        there = _found(folder, fleet)
        new = [one for one in wanted if one.key not in there]
        _each(folder, fleet.workers, lambda remote: _start(remote, new, say))
        _each(folder, [fleet.hub], lambda remote: _tell(remote, [one for one in wanted if one not in new] + new))
        if there.get(front.key) != front.spec:
            _each(folder, [fleet.hub], lambda remote: _start(remote, [front], say))
        for one in wanted:  # one after the other: the rest answer
            if one not in new and there[one.key] != one.spec:
                _each(folder, [one.host], lambda remote, one=one: _start(remote, [one], say))  # type: ignore[misc]
        places = {"api": [front.metrics], "processor": [one.metrics for one in wanted]}
        _each(folder, [fleet.hub], lambda remote: _scrape(remote, places, say))
        keep = {one.key for one in (front, *wanted)}
        _each(folder, _machines(fleet), lambda remote: _end(remote, keep, say))
    return [front, *wanted]


def end(folder: Folder, say: Say) -> None:
    """End the API, then the processors, each with what it is at; harmless where none runs."""
    with folder.lock():
        fleet = folder.load()
        _each(folder, [fleet.hub], lambda remote: _end(remote, set(), say, "api"))
        _each(folder, _machines(fleet), lambda remote: _end(remote, set(), say))
        _each(folder, [fleet.hub], metrics.forget_targets_host)


def _machines(fleet: Fleet) -> list[Host]:
    """One host for each machine: one may be the hub and a worker."""
    return list({host.inner: host for host in fleet.hosts}.values())


def _deploy(folder: Folder, root: Path, say: Say) -> Image:
    """Build the service's image on that of process.py, and bring it to the hub and the workers."""
    build.ensure_client_docker()
    process, name = f"fanrun/process:{folder.name}", f"fanrun/service:{folder.name}"
    build.build(root, process, log=lambda _: None)
    build.build(root, name, log=lambda _: None, process=process)
    image = lifecycle.deploy(folder, root, say, name)
    _each(folder, [folder.load().hub], lambda remote: ensure_image_host(remote, image))
    return image


def _each(folder: Folder, hosts: Sequence[Host], work: Callable[[Remote], object]) -> None:
    _, errors = on_hosts(folder, hosts, work)
    if errors:
        raise HostsFailed(errors)


def _ensure_files_host(remote: Remote, folder: Folder, fleet: Fleet, tokens: str | None) -> None:
    """Give a host the certificates of its servers, where it hasn't got them."""
    roles = (["api"] if remote.host == fleet.hub else []) + (["processor"] if remote.host in fleet.workers else [])
    authority = folder.ca_cert.read_text()
    for role in roles:
        place, names = f"{FOLDER}/{role}", [PROCESSORS, remote.host.inner]
        found = remote.run(["cat", f"{place}/cert.pem"], sudo=True, check=False)
        if found.exit_code != 0 or not ca.serves(found.stdout, names, authority):
            key, certificate = ca.server(folder.ca_key.read_text(), authority, names, client=role == "api")
            for file, text in (("ca.pem", authority), ("key.pem", key), ("cert.pem", certificate)):
                remote.put(text, f"{place}/{file}", mode="400", owner=OWNER)
    if tokens is not None and "api" in roles:
        remote.put(tokens, f"{FOLDER}/api/tokens", mode="400", owner=OWNER)


def _scrape(remote: Remote, places: dict[str, list[str]], say: Say) -> None:
    """Have the hub's Prometheus look at these."""
    if changed := metrics.ensure_prometheus_host(remote, places):
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
    limit = time.monotonic() + READY
    while True:
        said = remote.run(["docker", "logs", one.name], sudo=True, check=False).stderr.splitlines()
        state = remote.run(["docker", "inspect", "--format={{.State.Status}}", one.name], sudo=True).stdout.strip()
        if state == "running" and any('"ready"' in line for line in said):
            return
        if state != "running" or time.monotonic() > limit:
            remote.run(["docker", "rm", "--force", one.name], sudo=True)
            last = said[-1] if said else "it said nothing"
            raise HostError(f"{one.name} does not start: {last}", host=remote.host.name)
        time.sleep(0.2)


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
