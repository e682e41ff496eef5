"""A fleet from nothing to ready, from ready to gone, and what it is like in between."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fanrun.fleet.config import Logs
from fanrun.fleet.errors import (
    FanrunError,
    FleetDamaged,
    FleetError,
    HostsFailed,
    HostUnreachable,
    ProviderError,
    UsageError,
)
from fanrun.fleet.model import HUB, Fleet, Host, Image, number
from fanrun.fleet.parallel import on_hosts
from fanrun.fleet.private_files import write_private
from fanrun.fleet.ssh import Remote, Result, disconnect_argv, wait_for_ssh
from fanrun.fleet.store import Folder
from provision.hosts import ca, setup, shipping
from provision.providers.base import Found, OtherFleet, Provider, Say, Wanted
from provision.registry import build, local_images, transfer
from provision.registry.background import BackgroundBuild

OWN = "process.py"
USUAL_LOGS = Logs()
KEEP = 120.0
SOON = 15.0
"""Seconds that a short task waits until hosts were told that they are worked with."""


@dataclass(frozen=True)
class Change:
    """What `up` has to do about the hosts: all by name, workers in the order of their numbers."""

    launch: tuple[Wanted, ...]
    keep: tuple[str, ...]
    terminate: tuple[str, ...]
    replace: tuple[str, ...] = ()
    """Those of `launch` that exist, are of no use, and are ended first."""

    @property
    def ends(self) -> str:
        """What is ended, in words for a person; "" if nothing is."""
        parts = [f"end {', '.join(self.terminate)}"] if self.terminate else []
        parts += [f"end {', '.join(self.replace)} and launch new ones"] if self.replace else []
        return "; ".join(parts)


@dataclass(frozen=True)
class Ended:
    """What `down` did: the hosts that it ended, and what carries the fleet's name and was left alone.

    `kept` says why the fleet's folder was not deleted; "" if it was.  `in_use` are the images on this machine that
    containers use, and so are still there.
    """

    hosts: tuple[str, ...]
    others: tuple[OtherFleet, ...] = ()
    kept: str = ""
    in_use: tuple[str, ...] = ()


def check_up(provider: Provider, taken: str = "") -> None:
    """Raise FanrunError for what prevents `up`, once what has the id `taken` is ended; changes nothing."""
    provider.check()
    provider.check_launch()
    if provider.folder.exists():
        provider.folder.load()
    provider.folder.require_ids()
    refuse_others(provider, taken)


def plan(provider: Provider, workers: int) -> list[str]:
    """Say what `up` would do with so many workers, in lines for a person; changes nothing."""
    todo = needed(provider, workers)
    lines = list[str]()
    lines += [f"keep {', '.join(todo.keep)}"] if todo.keep else []
    lines += [todo.ends] if todo.ends else []
    if todo.launch:
        lines += [f"launch {', '.join(item.name for item in todo.launch)}", *provider.plan(todo.launch)]
    return lines


def needed(provider: Provider, workers: int) -> Change:
    """Return what `up` has to do to make the fleet a hub and that many workers."""
    return change(_usable(provider), workers, provider.replaces)


def _usable(provider: Provider) -> list[Found]:
    """Return the hosts that exist; one whose key is not pinned can't be trusted, so it is of no use."""
    pinned = provider.folder.host_keys.has
    return [
        item if pinned(item.host.address, item.host.port) else dataclasses.replace(item, state="broken")
        for item in provider.find()
    ]


def change(found: Sequence[Found], workers: int, replaces: Callable[[Found], bool]) -> Change:
    """Compare what exists with a hub and that many workers; `replaces` is Provider.replaces."""
    names = [HUB, *(f"worker-{n}" for n in range(1, workers + 1))]
    running = {item.host.name for item in found if item.state == "running"}
    replaced = {item.host.name for item in found if item.state != "running" and replaces(item)}
    return Change(
        launch=tuple(Wanted(n, "hub" if n == HUB else "worker") for n in names if n not in running),
        keep=tuple(n for n in names if n in running),
        terminate=tuple(sorted((f.host.name for f in found if f.host.name not in names), key=number)),
        replace=tuple(n for n in names if n in replaced),
    )


def begin(folder: Folder, provider: str, workers: int | None, wishes: Mapping[str, str] | None = None) -> Fleet:
    """The fleet in this folder, made with its id, key and CA if it isn't there yet, as it is now asked for."""
    fleet = folder.load() if folder.exists() else Fleet(folder.name, provider)
    fleet = dataclasses.replace(fleet, size=workers or fleet.size, wishes={**fleet.wishes, **(wishes or {})})
    # First, as a folder with an id or a key and without it is one that has lost it.
    folder.create()
    folder.save(fleet)
    folder.ensure_id()
    if not folder.key.exists() or not folder.key.with_suffix(".pub").exists():
        private, public = ca.ssh_key()
        write_private(folder.key.with_suffix(".pub"), f"{public} fanrun-{folder.name}\n".encode())
        write_private(folder.key, private.encode())
    if not folder.ca_key.exists() or not folder.ca_cert.exists():
        key, certificate = ca.authority(folder.name)
        write_private(folder.ca_cert, certificate.encode())
        write_private(folder.ca_key, key.encode())
    return fleet


def up(
    folder: Folder,
    provider: Provider,
    workers: int | None,
    wishes: Mapping[str, str],
    root: Path,
    say: Say,
    step: Say,
    logs: Logs = USUAL_LOGS,
) -> tuple[Fleet, list[str]]:
    """Make the fleet be a hub and so many workers, ready to run; returns it and the changes made.

    Without a number it stays at the one last asked for; `wishes` are kept for the next time.
    `say` is told of each change, `step` of what is being done meanwhile.
    `root` is where the image's sources are, `logs` says how logs are shipped.  Safe to repeat after any failure: what
    exists is found, kept and completed.  Raises HostsFailed naming each host that could not be set up.
    """
    changes: list[str] = []

    def note(host: str, what: str) -> None:
        changes.append(f"{host}: {what}")
        say(host, what)

    shipping.check(logs)
    # Building takes the client's time, launching and setting up the hosts': so both at once.
    built = BackgroundBuild(lambda cancellation: local_images.build_process(root, folder, cancellation))
    with folder.lock(), built:
        check_up(provider)
        build.ensure_client_docker()
        if folder.outdated:
            folder.adopt(provider.adoptable())
        source = build.source_hash(root)
        fleet = begin(folder, provider.name, provider.workers(workers), {**wishes, **provider.settled()})
        built.start()
        fleet, launched = _match(folder, fleet, provider, note)
        # A machine may be the hub and a worker: then it is set up for one after the other.
        machines = {(host.address, host.port): threading.Lock() for host in fleet.hosts}

        def set_up(remote: Remote) -> None:
            with machines[remote.host.address, remote.host.port]:
                _set_up_host(remote, folder, fleet, provider, note, step)

        # Each host's lease begins anew while it is set up; then it waits for the others, and for its image.
        with keep(folder, provider, fleet.hosts, wait=KEEP):
            _, errors = on_hosts(folder, fleet.hosts, set_up)
            if errors:
                raise HostsFailed(_abandoned(provider, errors, launched, note))
            fleet = _deploy(folder, fleet, OWN, built.result(), source, note)
            config = shipping.read_config(root)
            shipping.ensure(shipping.Shipping(folder, fleet, config, logs, note, say))
    return fleet, changes


def deploy(folder: Folder, root: Path, say: Say, name: str = OWN) -> Image:
    """Bring an image to every worker: process.py's, built anew if needed, or any by its name."""
    with folder.lock():
        fleet = folder.load()
        build.ensure_client_docker()
        if name == OWN:
            image_id, source = local_images.build_process(root, folder), build.source_hash(root)
        else:
            image_id, source = transfer.inspect(name), ""
            platforms, _ = on_hosts(folder, fleet.workers, transfer.platform_host)  # _deploy names hosts that are away
            transfer.check_platform(name, transfer.platform_of(image_id), platforms)
        return _deploy(folder, fleet, name, image_id, source, say).images[name]


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


def down(folder: Folder, provider: Provider, say: Say) -> Ended:
    """End every host that carries the fleet's id, then forget the fleet.

    Of hosts that should be there and are not it is said what became of them.  Where no host carries its id, the fleet
    is forgotten only if nothing can be left of it: others that carry its name may be its hosts, and where fleet.json
    can't be read its hosts may be with another provider.  Only a person can tell.
    """
    provider.check()
    with folder.lock():
        disconnect(folder)
        with contextlib.suppress(FleetDamaged):  # without an id that can be read no host is known to be the fleet's
            if folder.outdated and (ids := provider.adoptable()):
                folder.adopt(ids)
        names = sorted((item.host.name for item in provider.find()), key=number)
        others, kept = look_around(folder, provider, names)
        for host, fate in _missing(folder, provider, names).items():
            say(host.name, fate or f"was not there any more (it had {host.address}), and nobody knows why")
        _end(provider, names, say)
        if kept:
            return Ended(tuple(names), others, kept)
        in_use = local_images.remove_all(local_images.tags_of(folder.name, folder.ids))
        folder.remove()
    return Ended(tuple(names), others, in_use=tuple(in_use))


def look_around(folder: Folder, provider: Provider, names: Sequence[str]) -> tuple[tuple[OtherFleet, ...], str]:
    """Return what else carries the fleet's name, where `names` are its hosts, and why `down` keeps its folder.

    That is "" where no host of the fleet can be left.
    """
    others = tuple(provider.others(everywhere=not names))
    return others, _why_kept(folder, provider, names, others)


def _why_kept(folder: Folder, provider: Provider, names: Sequence[str], others: Sequence[OtherFleet]) -> str:
    forget = f"`rm -r {shlex.quote(str(folder.path))}` forgets the fleet"
    if not folder.exists():
        if names or not others:
            return ""
        return (
            f"no fleet {folder.name} is known in {folder.path.parent}, and the hosts above carry its name; if they are "
            "yours, their command ends them"
        )
    if any(other.id in folder.ids for other in others):
        return "hosts of the fleet are elsewhere; the command above ends them"
    if not folder.complete:
        if names and not (places := provider.unseen()):
            return ""
        where = f"on {', '.join(places)}, which known_hosts names" if names else "elsewhere"
        found = "" if names else f"no host of the fleet is in {provider.looked()}; "
        return (
            f"{folder.fleet_json} is missing or can't be read; {found}if the fleet has hosts {where}, "
            f"`fab down --provider=…` with the options that name them ends them; if not, {forget}"
        )
    if names:
        return ""
    if others and not folder.id:
        return f"the fleet's id is lost; if hosts above are its own, their command ends them; then {forget}"
    if others:
        return (
            f"no host is left with the id {folder.id}, and those above carry the same name; if none of them is yours, "
            f"{forget}"
        )
    missing = _missing(folder, provider, names)
    if missing and not provider.is_placed and not any(missing.values()):
        hosts = ", ".join(host.name for host in missing)
        return (
            f"an older Fanrun did not note where {hosts} are, and they are not in {provider.looked()}; "
            f"look where they may be, for example with DOCKER_HOST or AWS_PROFILE; if they are gone, {forget}"
        )
    return ""


def take_over(folder: Folder, provider: Provider, say: Say) -> Ended:
    """End every host that carries the id that `provider` was loaded with; UsageError if there is none.

    The fleet in the folder is another, and stays as it is.
    """
    provider.check()
    with folder.lock():
        names = sorted((item.host.name for item in provider.find()), key=number)
        removed: list[str] = []

        def note(host: str, what: str) -> None:
            removed.append(what)
            say(host, what)

        _end(provider, names, note)
    if not removed:
        raise UsageError(
            f"nothing of a fleet {folder.name} has the id {provider.ids[0]}; `fab down` shows what there is"
        )
    in_use = local_images.remove_all(local_images.tags_of(folder.name, provider.ids))
    return Ended(tuple(names), in_use=tuple(in_use))


def _end(provider: Provider, names: Sequence[str], say: Say) -> None:
    """End these hosts and remove what belongs to their fleet; raises FanrunError naming what is left."""
    failed: list[str] = []
    steps: list[Callable[[], None]] = [lambda: provider.terminate(names, say), lambda: provider.clean(say)]
    for step in steps:
        try:
            step()
        except ProviderError as error:  # what can be removed is removed all the same
            failed.append(str(error))
    if failed:
        raise FanrunError("; ".join(dict.fromkeys(failed)))
    left = [provider.left(item.host.name) for item in provider.find()]
    if left:
        raise FanrunError(f"still there: {', '.join(left)}; run `fab down` again")


def refuse_others(provider: Provider, taken: str = "") -> None:
    """Raise UsageError where hosts of another fleet of this name, but not with the id `taken`, prevent `up`."""
    others = [other for other in provider.others() if other.id != taken and provider.excludes(other)]
    if others:
        raise UsageError(
            f"hosts of another fleet have this name: {'; '.join(map(describe, others))}.  Use the folder that knows "
            f"them, choose another name with --fleet, or end them first with `fab up --take-over={others[0].id}`"
        )


def describe(other: OtherFleet, now: float | None = None) -> str:
    """Say in words what another fleet is: id, owner, hosts, age, and where."""
    age = (now or time.time()) - other.created if other.created is not None else None
    words = [f"id {other.id}", f"of {other.owner}" if other.owner else "of an unknown owner"]
    count = f"{len(other.hosts)} host{'' if len(other.hosts) == 1 else 's'}"
    words.append(f"{count} ({', '.join(other.hosts)})" if 0 < len(other.hosts) <= 4 else count)
    words += other.rest
    words += [f"made {_ago(age)} ago"] if age is not None else []
    words += [other.where] if other.where else []
    words += [f"begun in {other.folder}"] if other.folder else []
    return ", ".join(words)


def _ago(seconds: float) -> str:
    """Say a time span in words: "50 s", "12 min", "3 h", "2 days"."""
    for most, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < most:
            return f"{max(0, seconds) // unit:.0f} {name}"
    return f"{seconds // 86400:.0f} days"


def _missing(folder: Folder, provider: Provider, names: Sequence[str]) -> dict[Host, str]:
    """What became of the hosts that the folder knows and the provider no longer has; "" where nobody knows."""
    hosts: tuple[Host, ...] = ()
    with contextlib.suppress(FleetError):
        hosts = folder.load().hosts
    gone = [host for host in hosts if host.name not in names]
    fates = provider.fates() if gone else {}
    return {host: fates.get(host.name, "") for host in gone}


def disconnect(folder: Folder) -> None:
    """End the shared SSH connections to the fleet's hosts; those that are not there are no error."""
    if not folder.ssh_config.exists() or shutil.which("ssh") is None:
        return
    for line in folder.ssh_config.read_text("utf-8", "replace").splitlines():
        if line.startswith("Host ") and line != "Host *":
            argv = disconnect_argv(folder, line.removeprefix("Host "))
            subprocess.run(argv, capture_output=True, check=False)


def check_command(name: str) -> None:
    """Raise UsageError for an image that starts no program when it is run with /in /out alone."""
    build.ensure_client_docker()
    transfer.check_command(name, transfer.inspect(name))


def current(fleet: Fleet, name: str, root: Path) -> bool:
    """Whether the image of that name is deployed as it stands here now."""
    known = fleet.images.get(name)
    if known is None:
        return False
    if name == OWN:
        return known.source == build.source_hash(root)
    build.ensure_client_docker()
    return known.id == transfer.inspect(name)


@contextlib.contextmanager
def keep(folder: Folder, provider: Provider, hosts: Sequence[Host], *, wait: float = 0) -> Iterator[None]:
    """Tell these hosts that they are worked with, where hosts end themselves: after `wait` seconds, and now and then.

    All the time that a task takes, whatever it does meanwhile: a host that can't be told now is told the next time.
    """
    if not provider.leases:
        yield
        return
    over, told = threading.Event(), threading.Event()

    def tell() -> None:
        over.wait(wait)
        while not over.is_set():
            on_hosts(folder, hosts, setup.extend_host)  # who can't be told is another's matter
            told.set()
            over.wait(KEEP)

    threading.Thread(target=tell, daemon=True).start()
    try:
        yield
    except FanrunError:
        told.set()  # an error is told at once
        raise
    finally:
        over.set()
        if not wait:
            told.wait(SOON)


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
    found = _usable(provider)
    todo = change(found, fleet.size, provider.replaces)
    if todo.launch or todo.terminate:
        disconnect(folder)  # a shared connection would outlive the host at its end
    if todo.ends:
        say("fleet", f"needs to {todo.ends}")
    provider.terminate(todo.terminate, say)
    kept = {item.host.name: item.host for item in found if item.host.name in todo.keep}
    launched = provider.launch(todo.launch, say) if todo.launch else []
    if not launched:
        provider.admit(say)
    hosts = sorted([*kept.values(), *launched], key=lambda host: number(host.name))
    # A hub that was made anew holds no image yet.
    if HUB in {item.name for item in todo.launch}:
        fleet = dataclasses.replace(fleet, images={}, previous={})
    fleet = dataclasses.replace(fleet, hosts=tuple(hosts))
    folder.save(fleet)
    folder.host_keys.keep_only(hosts)
    return fleet, launched


def _abandoned(
    provider: Provider, errors: Mapping[str, FanrunError], launched: Sequence[Host], say: Say
) -> dict[str, FanrunError]:
    """The errors; hosts that were launched and never answered are ended, where that is how it is done."""
    silent = [host.name for host in launched if isinstance(errors.get(host.name), HostUnreachable)]
    fates: dict[str, str] = {}
    if silent:
        try:
            fates = provider.abandon(silent, say)
        except FanrunError as error:
            fates = dict.fromkeys(silent, str(error))
    return {
        name: HostUnreachable(f"{error}; {fates[name]}", host=name) if name in fates else error
        for name, error in errors.items()
    }


def _set_up_host(remote: Remote, folder: Folder, fleet: Fleet, provider: Provider, note: Say, step: Say) -> None:
    step(remote.host.name, "waiting for SSH")
    wait_for_ssh(folder, remote.host, timeout=provider.patience)
    ttl = provider.wishes.ttl if provider.leases else 0
    for title, ensure in setup.steps(folder, fleet, remote.host, ttl):
        step(remote.host.name, title)
        changed = ensure(remote)
        if changed:
            note(remote.host.name, changed)
    step(remote.host.name, "is set up")


def _deploy(folder: Folder, fleet: Fleet, name: str, image_id: str, source: str, note: Say) -> Fleet:
    """Push the image, of which only missing layers travel, and pull it where it is missing.

    What it and the one before it have replaced is removed, on the hosts before they pull, as disks may be full.
    """
    on_hosts(folder, [fleet.hub], setup.extend_host)
    digest = transfer.push(folder, fleet.hub, image_id)
    deployed = Image(name, image_id, transfer.ref(fleet.hub, digest), source)
    if fleet.images.get(name) != deployed:
        note(HUB, f"holds {name} {digest[:19]}")
    fleet = fleet.with_image(deployed)
    folder.save(fleet)
    local_images.remove_old(folder, [each.id for each in fleet.known_images])
    refs = [each.ref for each in fleet.known_images]
    on_hosts(folder, [fleet.hub], lambda remote: transfer.remove_old_images_host(remote, refs))

    def pull(remote: Remote) -> None:
        setup.extend_host(remote)
        transfer.remove_old_images_host(remote, refs)
        changed = transfer.ensure_image_host(remote, deployed)
        if changed:
            note(remote.host.name, changed)

    _, errors = on_hosts(folder, fleet.workers, pull)
    if errors:
        raise HostsFailed(errors)
    return fleet
