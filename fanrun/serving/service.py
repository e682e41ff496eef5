"""The service on a fleet: processors on the workers, the API on the hub, all of them containers with a label.

The API reads the processors' addresses from a file and follows it, so replicas come and go while it answers.  The two
speak TLS under the fleet's own authority, and both sides show a certificate.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from fanrun.fleet.errors import FleetError, HostsFailed, UsageError
from fanrun.fleet.model import Fleet, Host, Image
from fanrun.fleet.parallel import on_hosts
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from fanrun.serving.client import ensure_client_pair
from fanrun.serving.containers import FOLDER, PROCESSORS, Container, api, processors
from fanrun.serving.files import ApiChanges, ensure_files_host, ensure_options_host
from fanrun.serving.servers import Say, end_servers_host, find_servers_host, start_servers_host
from provision import deployment
from provision.hosts import prometheus
from provision.registry import build, local_images
from provision.registry.transfer import ensure_image_host
from service.common.settings import read_api
from service.common.tokens import read_tokens

T = TypeVar("T")


def serve(folder: Folder, root: Path, replicas: int, changes: ApiChanges, say: Say) -> list[Container]:
    """Make so many processors and the API run, and end those that are too many; return what runs, the API first.

    Requests that come meanwhile are answered: new processors are ready before the API gets their addresses, and others
    are told to end after it has lost theirs.  Raises HostsFailed naming each host that failed, UsageError and
    SystemExit for options that a server would refuse.
    """
    _check(changes)  # that ends here, not on the hub
    fleet = folder.load()
    if not fleet.workers:
        raise FleetError(f"fleet {fleet.name} has no worker; `fab up` makes one", fleet=fleet.name)
    image = _deploy(folder, root, say)
    with folder.lock():
        fleet = folder.load()
        front, backends = _plan(folder, fleet, image, replicas, changes)
        _start_changed(folder, fleet, front, backends, say)
        targets = {"api": [front.metrics], "processor": [each.metrics for each in backends]}
        _each(folder, [fleet.hub], lambda remote: _scrape(remote, folder, targets, say))
        keep = {each.key for each in (front, *backends)}
        _each(folder, _machines(fleet), lambda remote: end_servers_host(remote, keep, say))
    return [front, *backends]


def _plan(
    folder: Folder, fleet: Fleet, image: Image, replicas: int, changes: ApiChanges
) -> tuple[Container, list[Container]]:
    """Bring certificates and options to the hosts; return the API's container and the processors' that shall run."""
    ensure_client_pair(folder)
    options = _each(folder, [fleet.hub], lambda remote: ensure_options_host(remote, changes))[fleet.hub.name]
    setups = _each(folder, fleet.hosts, lambda remote: ensure_files_host(remote, folder, fleet, options))
    return api(fleet, image, options, setups[fleet.hub.name]), processors(fleet, image, replicas, setups)


def _start_changed(folder: Folder, fleet: Fleet, front: Container, backends: Sequence[Container], say: Say) -> None:
    """Start the containers that do not run yet, or run with another configuration."""
    answers = _each(folder, _machines(fleet), find_servers_host)
    running = {key: spec for servers in answers.values() for key, spec in servers.items()}
    new = [each for each in backends if each.key not in running]
    _each(folder, fleet.workers, lambda remote: start_servers_host(remote, new, say))
    _each(folder, [fleet.hub], lambda remote: _write_addresses(remote, backends))
    if running.get(front.key) != front.spec:
        _each(folder, [fleet.hub], lambda remote: start_servers_host(remote, [front], say))
    for each in backends:  # one after the other: the rest answer
        if each not in new and running[each.key] != each.spec:
            _each(folder, [each.host], functools.partial(start_servers_host, containers=[each], say=say))


def end(folder: Folder, say: Say) -> None:
    """End the API, then the processors, each after the requests that it is working on; harmless where none runs."""
    with folder.lock():
        fleet = folder.load()
        _each(folder, [fleet.hub], lambda remote: end_servers_host(remote, set(), say, "api"))
        _each(folder, _machines(fleet), lambda remote: end_servers_host(remote, set(), say))
        _each(folder, [fleet.hub], prometheus.forget_targets_host)


def _machines(fleet: Fleet) -> list[Host]:
    """Return one host for each machine: a machine may be the hub and a worker."""
    return list({host.inner: host for host in fleet.hosts}.values())


def _deploy(folder: Folder, root: Path, say: Say) -> Image:
    """Build the service's image on that of process.py, and bring it to the hub and the workers."""
    build.ensure_client_docker()
    image = deployment.deploy(folder, root, say, local_images.build_service(root, folder))
    _each(folder, [folder.load().hub], lambda remote: ensure_image_host(remote, image))
    return image


def _each(folder: Folder, hosts: Sequence[Host], work: Callable[[Remote], T]) -> dict[str, T]:
    """Do something on each host; return the results by name, or raise HostsFailed."""
    results, errors = on_hosts(folder, hosts, work)
    if errors:
        raise HostsFailed(errors)
    return results


def _check(changes: ApiChanges) -> None:
    """Raise UsageError or SystemExit for what a server would refuse."""
    read_api(changes.args or [], {})
    if changes.tokens:
        try:
            read_tokens(changes.tokens)
        except ValueError as error:
            raise UsageError(f"--tokens: {error}") from error


def _scrape(remote: Remote, folder: Folder, targets: dict[str, list[str]], say: Say) -> None:
    """Make the hub's Prometheus read the metrics of these addresses, by role."""
    if changed := prometheus.ensure_prometheus_host(remote, folder, targets, PROCESSORS):
        say(remote.host.name, changed)


def _write_addresses(remote: Remote, backends: Sequence[Container]) -> None:
    """Write the processors' addresses into the file that the API follows."""
    lines = "".join(f"{each.host.inner}:{each.port}\n" for each in backends)
    remote.put(lines, f"{FOLDER}/api/new", mode="444")
    remote.run(["mv", f"{FOLDER}/api/new", f"{FOLDER}/api/processors"], sudo=True)
