"""Container images on their way to a fleet: built or found here, pushed to the hub, pulled by the workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fanrun.fleet.errors import HostsFailed, UsageError
from fanrun.fleet.model import HUB, Fleet, Image
from fanrun.fleet.parallel import on_hosts
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from provision.hosts import lease
from provision.providers.base import Say
from provision.registry import build, daemon, local_images, streaming, transfer

OWN = "process.py"


@dataclass(frozen=True)
class LocalImage:
    """A container image in the client's docker; `source` is the hash of its sources, "" if it was built elsewhere."""

    name: str
    id: str
    source: str = ""


def deploy(folder: Folder, root: Path, say: Say, name: str = OWN) -> Image:
    """Bring an image to every worker: process.py's, built anew if needed, or any by its name."""
    with folder.lock():
        fleet = folder.load()
        build.ensure_client_docker()
        if name == OWN:
            image = LocalImage(name, local_images.build_process(root, folder), build.source_hash(root))
        else:
            image = LocalImage(name, transfer.inspect(name))
            # Hosts that are away are named below.
            platforms, _ = on_hosts(folder, fleet.workers, transfer.platform_host)
            transfer.check_platform(name, transfer.platform_of(image.id), platforms)
        return deploy_image(folder, fleet, image, say).images[name]


def find_image(root: Path, name: str) -> LocalImage:
    """Return an image for a container on this machine: process.py's, built anew if needed, or any by its name.

    Raises UsageError for an image that this machine's Docker can't run.
    """
    if name == OWN:
        return LocalImage(name, local_images.build_without_fleet(root), build.source_hash(root))
    image_id = transfer.inspect(name)
    transfer.check_platform(name, transfer.platform_of(image_id), {"this machine": transfer.platform_here()})
    return LocalImage(name, image_id)


def check_own_docker() -> None:
    """Raise ToolMissing unless Docker answers, UsageError unless its containers see this machine's files and users."""
    build.ensure_client_docker()
    found = daemon.find()
    if not found.shares_network:
        raise UsageError(
            f"--try needs the Docker of this machine itself, run by root on Linux, and {found.endpoint} is another; "
            "`fab up` starts a fleet, and `fab run` with --include tries some inputs there"
        )


def check_command(name: str) -> None:
    """Raise UsageError for an image that starts no program when it is run with /in /out alone."""
    build.ensure_client_docker()
    transfer.check_command(name, transfer.inspect(name))


def check_platform(name: str, platform: str) -> None:
    """Raise UsageError for an image that is not for this platform, such as linux/arm64; a variant is not compared."""
    build.ensure_client_docker()
    its = transfer.platform_of(transfer.inspect(name))
    if its.split("/") != platform.split("/")[:2]:
        raise UsageError(
            f"image {name!r} is for {its}, not for {platform}; get the other one with `docker pull --platform "
            f"{platform} {name}`, or build it with `docker build --platform {platform}`"
        )


def check_shell(name: str) -> None:
    """Raise UsageError for an image without /bin/sh, which runs a command for each input."""
    build.ensure_client_docker()
    transfer.check_shell(name, transfer.inspect(name))


def current(fleet: Fleet, name: str, root: Path) -> bool:
    """Return whether the image of that name is deployed as it stands here now."""
    known = fleet.images.get(name)
    if known is None:
        return False
    if name == OWN:
        return known.source == build.source_hash(root)
    build.ensure_client_docker()
    return known.id == transfer.inspect(name)


def deploy_image(folder: Folder, fleet: Fleet, image: LocalImage, note: Say) -> Fleet:
    """Push the image, of which only missing layers travel, and pull it where it is missing.

    What it and the one before it have replaced is removed, on the hosts before they pull, as disks may be full.
    Raises HostsFailed naming the workers that could not pull it.
    """
    if not fleet.uses_sudo:
        return _deploy_by_ssh(folder, fleet, image, note)
    on_hosts(folder, [fleet.hub], lease.extend_host)
    digest = transfer.push(folder, fleet.hub, image.id)
    deployed = Image(image.name, image.id, transfer.ref(fleet.hub, digest), image.source)
    if fleet.images.get(image.name) != deployed:
        note(HUB, f"holds {image.name} {digest[:19]}")
    fleet = fleet.with_image(deployed)
    folder.save(fleet)
    local_images.remove_old(folder, [each.id for each in fleet.known_images])
    refs = [each.ref for each in fleet.known_images]
    on_hosts(folder, [fleet.hub], lambda remote: transfer.remove_old_images_host(remote, refs))

    def pull(remote: Remote) -> None:
        lease.extend_host(remote)
        transfer.remove_old_images_host(remote, refs)
        changed = transfer.ensure_image_host(remote, deployed)
        if changed:
            note(remote.host.name, changed)

    _, errors = on_hosts(folder, fleet.workers, pull)
    if errors:
        raise HostsFailed(errors)
    return fleet


def _deploy_by_ssh(folder: Folder, fleet: Fleet, image: LocalImage, note: Say) -> Fleet:
    """Send the image as a whole to each worker that has it not; there is no registry where sudo is not used."""
    deployed = Image(image.name, image.id, streaming.streamed_ref(folder, image.id), image.source)
    fleet = fleet.with_image(deployed)
    folder.save(fleet)
    local_images.remove_old(folder, [each.id for each in fleet.known_images])
    refs = [each.ref for each in fleet.known_images]
    on_hosts(folder, fleet.workers, lambda remote: streaming.remove_old_images_host(remote, folder, refs))
    restore_image(folder, fleet, deployed, note)
    return fleet


def restore_image(folder: Folder, fleet: Fleet, image: Image, note: Say) -> None:
    """Send an image to the workers that have it not, where there is no registry; raises HostsFailed naming the others.

    Docker can't pull it there again: somebody may have removed it.
    """
    found, errors = on_hosts(folder, fleet.workers, lambda remote: streaming.has_image_host(remote, image))
    lacking = [host for host in fleet.workers if found.get(host.name) is False]
    if lacking:
        with streaming.tagged(folder, image.id) as tag:

            def load(remote: Remote) -> None:
                note(remote.host.name, streaming.load_image_host(remote, folder, image, tag))

            errors |= on_hosts(folder, lacking, load)[1]
    if errors:
        raise HostsFailed(errors)
