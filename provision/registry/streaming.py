"""Send container images to hosts by SSH: to a hub whose registry can't be reached from here, or without a registry."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Collection, Iterator

from fanrun.fleet import shell
from fanrun.fleet.errors import FanrunError, ImageError
from fanrun.fleet.model import NOWHERE, Host, Image
from fanrun.fleet.ssh import Remote, shorten
from fanrun.fleet.ssh_commands import ssh_argv
from fanrun.fleet.store import Folder
from provision.hosts.scripts import host_argv
from provision.registry import build
from provision.registry.local_images import pushed_tag
from provision.registry.names import PUSH_PORT, REPOSITORY


def streamed_ref(folder: Folder, image_id: str) -> str:
    """Return what an image is called on hosts without a registry; no registry has that name, so nothing is pulled."""
    return f"{NOWHERE}/{pushed_tag(folder, image_id)}"


@contextlib.contextmanager
def tagged(folder: Folder, image_id: str) -> Iterator[str]:
    """Give the image a name while it is sent, and yield that name."""
    tag = f"127.0.0.1:{PUSH_PORT}/{pushed_tag(folder, image_id)}"
    if (done := build.docker_run("tag", image_id, tag)).returncode:
        raise ImageError(f"docker tag: {shorten(done.stderr, 300)}", image=image_id)
    try:
        yield tag
    finally:
        build.docker_run("rmi", "--no-prune", tag)


def send_image(folder: Folder, host: Host, tag: str) -> None:
    """Load an image of the client, by its name here, into the Docker of a host; ImageError if that fails."""
    load = ssh_argv(folder, host.name, [*host.layout.prefix, "docker", "load", "--quiet"])
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(["docker", "save", tag], stdout=subprocess.PIPE, stderr=log) as save:
            loaded = subprocess.run(load, stdin=save.stdout, stdout=subprocess.DEVNULL, stderr=log, check=False)
        if save.returncode or loaded.returncode:
            log.seek(0)
            heard = shell.read(log.read().decode(errors="replace"))
            last = (heard.text.splitlines() or heard.noise.splitlines() or ["no output"])[-1]
            raise ImageError(f"the image can't be sent to {host.name}: {shorten(last)}", image=tag)


def has_image_host(remote: Remote, image: Image) -> bool:
    """Return whether a host has an image."""
    argv = ["docker", "image", "inspect", image.ref]
    return remote.run(argv, sudo=remote.host.layout.docker_by_sudo, check=False).exit_code == 0


def load_image_host(remote: Remote, folder: Folder, image: Image, tag: str) -> str:
    """Send an image to a host without a registry, and give it the name that it has there."""
    send_image(folder, remote.host, tag)
    remote.run(["docker", "tag", tag, image.ref])
    remote.run(["docker", "rmi", "--no-prune", tag], check=False)
    return f"has {image.name}"


def remove_old_images_host(remote: Remote, folder: Folder, kept: Collection[str]) -> None:
    """Remove the fleet's images from a host without a registry, but for these refs and those that containers use."""
    argv = host_argv("remove-own-images.sh", REPOSITORY, " ".join(folder.ids), *kept)
    with contextlib.suppress(FanrunError):
        remote.run(argv, check=False, timeout=600)
