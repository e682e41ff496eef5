"""A fleet from nothing to ready."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fanrun.fleet.config import Logs
from fanrun.fleet.errors import (
    FanrunError,
    FleetError,
    HostsFailed,
    HostUnreachable,
)
from fanrun.fleet.model import HUB, Fleet, Host, number
from fanrun.fleet.parallel import on_hosts
from fanrun.fleet.private_files import write_private
from fanrun.fleet.ssh import Remote, Result, wait_for_ssh
from fanrun.fleet.store import Folder
from provision.connections import disconnect
from provision.deployment import OWN, LocalImage, deploy_image
from provision.host_changes import change, usable
from provision.hosts import bare, ca, setup, shipping
from provision.hosts.ssh_key import ssh_key
from provision.keepalive import KEEP, keep
from provision.other_fleets import refuse_others
from provision.providers.base import Provider, Say
from provision.registry import build, local_images
from provision.registry.background import BackgroundBuild


def check_up(provider: Provider, taken: str = "") -> None:
    """Raise FanrunError for what prevents `up`, once what has the id `taken` is ended; changes nothing."""
    provider.check()
    provider.check_launch()
    if provider.folder.exists():
        provider.folder.load()
    provider.folder.require_ids()
    refuse_others(provider, taken)


def begin(
    folder: Folder, provider: str, workers: int | None, provider_options: Mapping[str, str] | None = None
) -> Fleet:
    """Return the fleet in this folder with this size and these options; a new one gets its id, key and CA."""
    fleet = folder.load() if folder.exists() else Fleet(folder.name, provider)
    fleet = dataclasses.replace(
        fleet, size=workers or fleet.size, provider_options={**fleet.provider_options, **(provider_options or {})}
    )
    # First, as a folder with an id or a key and without it is one that has lost it.
    folder.create()
    folder.save(fleet)
    folder.ensure_id()
    if not folder.key.exists() or not folder.key.with_suffix(".pub").exists():
        private, public = ssh_key()
        write_private(folder.key.with_suffix(".pub"), f"{public} fanrun-{folder.name}\n".encode())
        write_private(folder.key, private.encode())
    if not folder.ca_key.exists() or not folder.ca_cert.exists():
        key, certificate = ca.authority(folder.name)
        write_private(folder.ca_cert, certificate.encode())
        write_private(folder.ca_key, key.encode())
    return fleet


@dataclass(frozen=True)
class UpRequest:
    """What the fleet shall be: `workers` is None where it stays at the number last asked for.

    `provider_options` are kept for the next time, `root` is where the image's sources are, `logs` says how logs are
    shipped.
    """

    workers: int | None
    provider_options: Mapping[str, str]
    root: Path
    logs: Logs


class Reporter:
    """Tells a person of changes, with `say`, and of what is being done, with `step`; keeps the changes."""

    def __init__(self, say: Say, step: Say) -> None:
        self.say, self.step = say, step
        self.changes: list[str] = []

    def note(self, host: str, what: str) -> None:
        """Tell of a change, and keep it."""
        self.changes.append(f"{host}: {what}")
        self.say(host, what)


def up(folder: Folder, provider: Provider, request: UpRequest, reporter: Reporter) -> Fleet:
    """Make the fleet be a hub and so many workers, ready to run; return it.

    Safe to repeat after any failure: what exists is found, kept and completed.  Raises HostsFailed naming each host
    that could not be set up.
    """
    shipping.check(request.logs)
    # Building takes the client's time, launching and setting up the hosts': so both at once.
    built = BackgroundBuild(lambda cancellation: local_images.build_process(request.root, folder, cancellation))
    with folder.lock(), built:
        check_up(provider)
        build.ensure_client_docker()
        if folder.outdated:
            folder.adopt(provider.adoptable())
        source = build.source_hash(request.root)
        provider_options = {**request.provider_options, **provider.resolved_options()}
        fleet = begin(folder, provider.name, provider.workers(request.workers), provider_options)
        built.start()
        fleet, launched = _match(folder, fleet, provider, reporter.note)
        # Each host's lease begins anew while it is set up; then it waits for the others, and for its image.
        with keep(folder, provider, fleet.hosts, wait=KEEP):
            _set_up_hosts(folder, fleet, provider, launched, reporter)
            fleet = deploy_image(folder, fleet, LocalImage(OWN, built.result(), source), reporter.note)
            config = shipping.read_config(request.root)
            shipping.ensure(shipping.Shipping(folder, fleet, config, request.logs, reporter.note, reporter.say))
    return fleet


def bake(folder: Folder, provider: Provider, say: Say) -> str:
    """Make an image of the first worker, from which the next hosts start with all installed; returns its id."""
    with folder.lock():
        fleet = folder.load()
        if not fleet.workers:
            raise FleetError(f"fleet {fleet.name} has no worker; `fab up` makes one", fleet=fleet.name)
        worker = fleet.workers[0]
        with keep(folder, provider, fleet.hosts):
            remote = Remote(folder, worker)
            try:
                remote.run(["sync"])
            finally:
                remote.close()
            return provider.bake(worker.name, say)


def execute(
    folder: Folder, provider: Provider, fleet: Fleet, command: str
) -> tuple[dict[str, Result], dict[str, FanrunError]]:
    """Run a line of shell on every worker: (results, errors) by name."""

    def call(remote: Remote) -> Result:
        return remote.shell(command, check=False)

    with keep(folder, provider, fleet.hosts):
        return on_hosts(folder, fleet.workers, call)


def _match(folder: Folder, fleet: Fleet, provider: Provider, say: Say) -> tuple[Fleet, list[Host]]:
    """Terminate what is too much, launch what is missing, and save who is there; also returns who was launched.

    A host whose key is not pinned is launched anew, never trusted.
    """
    found = usable(provider)
    todo = change(found, fleet.size, provider.replaces)
    if todo.launch or todo.terminate:
        disconnect(folder)  # a shared connection would outlive the host at its end
    if todo.ends:
        say("fleet", f"needs to {todo.ends}")
    provider.terminate(todo.terminate, say)
    kept = {item.host.name: item.host for item in found if item.host.name in todo.keep}
    launched = provider.launch(todo.launch, say) if todo.launch else []
    if not launched:
        provider.ensure_access(say)
    hosts = sorted([*kept.values(), *launched], key=lambda host: number(host.name))
    # A hub that was made anew holds no image yet.
    if HUB in {item.name for item in todo.launch}:
        fleet = dataclasses.replace(fleet, images={}, previous={})
    fleet = dataclasses.replace(fleet, hosts=tuple(hosts))
    folder.save(fleet)
    folder.host_keys.keep_only(hosts)
    return fleet, launched


def _end_unreachable(
    provider: Provider, errors: Mapping[str, FanrunError], launched: Sequence[Host], say: Say
) -> dict[str, FanrunError]:
    """End hosts that were launched and never answered; return the errors, with what became of those hosts."""
    silent = [host.name for host in launched if isinstance(errors.get(host.name), HostUnreachable)]
    reasons: dict[str, str] = {}
    if silent:
        try:
            reasons = provider.end_unreachable(silent, say)
        except FanrunError as error:
            reasons = dict.fromkeys(silent, str(error))
    return {
        name: HostUnreachable(f"{error}; {reasons[name]}", host=name) if name in reasons else error
        for name, error in errors.items()
    }


def _set_up_hosts(
    folder: Folder, fleet: Fleet, provider: Provider, launched: Sequence[Host], reporter: Reporter
) -> None:
    """Set up all hosts at the same time; HostsFailed names those that could not be."""
    # A machine may be the hub and a worker: then it is set up for one after the other.
    machines = {(host.address, host.port): threading.Lock() for host in fleet.hosts}

    def set_up_host(remote: Remote) -> None:
        with machines[remote.host.address, remote.host.port]:
            _set_up_host(remote, folder, fleet, provider, reporter)

    _, errors = on_hosts(folder, fleet.hosts, set_up_host)
    if errors:
        raise HostsFailed(_end_unreachable(provider, errors, launched, reporter.note))


def _set_up_host(remote: Remote, folder: Folder, fleet: Fleet, provider: Provider, reporter: Reporter) -> None:
    reporter.step(remote.host.name, "waiting for SSH")
    wait_for_ssh(folder, remote.host, timeout=provider.boot_timeout)
    is_bare = remote.host.sudo == "none"
    steps = bare.steps(folder) if is_bare else setup.steps(folder, fleet, remote.host, provider.lease)
    for title, ensure in steps:
        reporter.step(remote.host.name, title)
        changed = ensure(remote)
        if changed:
            reporter.note(remote.host.name, changed)
    reporter.step(remote.host.name, "is set up")
