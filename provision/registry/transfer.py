"""Images on their way from the client to the workers: pushed once to the hub, pulled by digest."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping

from fanrun.fleet import environment
from fanrun.fleet.errors import CommandFailed, FanrunError, HostUnreachable, ImageError, ToolMissing, UsageError
from fanrun.fleet.model import Host, Image
from fanrun.fleet.poll import RetryPolicy, poll, retry
from fanrun.fleet.ssh import Remote, shorten
from fanrun.fleet.store import Folder
from provision.hosts.scripts import host_argv
from provision.registry import daemon
from provision.registry.local_images import pushed_tag
from provision.registry.names import PORT, PUSH_PORT, REPOSITORY
from provision.registry.streaming import has_image_host, send_image, tagged

CONFIG = "{{json .Config.Entrypoint}}\n{{json .Config.Cmd}}"
SMALLER = {"linux/amd64": "linux/386", "linux/arm64": "linux/arm"}
"""The 32 bit programs that 64 bit processors run as well."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
OPENING = RetryPolicy(timeout=20, pause=0.02)
"""How long a tunnel may take to open."""
PUSHING = RetryPolicy(timeout=30, pause=2, attempts=5)
"""How often a push is tried whose connection ends, as when the registry is just starting."""
CUT_OFF = re.compile(r": EOF|connection refused|connection reset|broken pipe", re.IGNORECASE)
"""What docker says of a connection that can't be made, or that ends."""


def inspect(name: str) -> str:
    """Return the client's image id for a name, pulled if it isn't there; ImageError if it can't be had."""
    try:
        return _docker("image", "inspect", "--format={{.Id}}", "--", name, image=name).strip()
    except ImageError:
        pass
    try:
        _docker("pull", "--quiet", "--", name, image=name)
        return _docker("image", "inspect", "--format={{.Id}}", "--", name, image=name).strip()
    except ImageError as error:
        raise ImageError(
            f"there is no image {name!r} here and it can't be pulled ({error}); "
            "check its name, log in with `docker login` if its registry is private, or build it with `docker build -t`",
            image=name,
        ) from error


def check_command(name: str, image_id: str) -> None:
    """Raise UsageError for an image of the client that starts no program when it is run with /in /out alone."""
    lines = _docker("image", "inspect", f"--format={CONFIG}", image_id, image=name).splitlines()
    entrypoint, command = map(json.loads, lines[:2])
    if entrypoint:
        return
    why = "has a CMD, which /in /out would replace, and no ENTRYPOINT" if command else "has neither ENTRYPOINT nor CMD"
    raise UsageError(f"image {name!r} {why}; name the program in --args, or give the image an ENTRYPOINT")


def check_shell(name: str, image_id: str) -> None:
    """Raise UsageError for an image of the client without /bin/sh; it is looked for, not run."""
    container = _docker("create", "--network=none", image_id, "none", image=name).strip()
    try:
        with tempfile.TemporaryDirectory() as folder:
            _docker("cp", "--follow-link", f"{container}:/bin/sh", folder, image=name)
    except ImageError as error:
        raise UsageError(
            f"image {name!r} has no /bin/sh, which --each needs ({error}); build an image that has one, or a program "
            "of your own that processes all of /in"
        ) from error
    finally:
        _docker("rm", "--volumes", container, image=name)


def platform_of(image_id: str) -> str:
    """Return what an image of the client runs on, as "linux/amd64"."""
    return _docker("image", "inspect", "--format={{.Os}}/{{.Architecture}}", image_id, image=image_id).strip()


def platform_here() -> str:
    """Return what the client's Docker runs, as "linux/amd64"."""
    return _docker("version", "--format={{.Server.Os}}/{{.Server.Arch}}", image="").strip()


def platform_host(remote: Remote) -> str:
    """Return what a host's Docker runs, as "linux/amd64"."""
    argv = ["docker", "version", "--format={{.Server.Os}}/{{.Server.Arch}}"]
    return remote.run(argv, sudo=remote.host.layout.docker_by_sudo).stdout.strip()


def check_platform(name: str, wanted: str, hosts: Mapping[str, str]) -> None:
    """Raise UsageError if one of the hosts, {name: platform}, can't run an image for that platform."""
    for host, its in sorted(hosts.items()):
        if wanted not in (its, SMALLER.get(its)):
            raise UsageError(
                f"image {name!r} is for {wanted}, and {host} runs {its}; build it with `docker build --platform {its}`"
            )


def push(folder: Folder, hub: Host, image_id: str, *, direct: bool | None = None) -> str:
    """Bring an image of the client to the hub's registry; returns its digest, "sha256:…".

    `direct` pushes from the client's daemon through a tunnel, so that only layers that the
    registry lacks travel.  Where the daemon is in a VM of its own (macOS), on another machine or without root, it
    doesn't see the client's loopback; then the whole image goes by SSH, and the hub pushes it to itself.
    """
    if direct is None:
        direct = daemon.find().shares_network
    said = _push_direct(folder, hub, image_id) if direct else _push_by_ssh(folder, hub, image_id)
    found = DIGEST.findall(said)
    if not found:
        raise ImageError(f"docker push named no digest: {shorten(said[-200:])}", image=image_id)
    return str(found[-1])


def _push_direct(folder: Folder, hub: Host, image_id: str) -> str:
    """Push to a loopback port that leads to the registry's own: for such an address Docker asks for no TLS."""
    with tunnel(folder, hub, PUSH_PORT) as port:
        target = f"127.0.0.1:{port}/{pushed_tag(folder, image_id)}"
        _docker("tag", image_id, target, image=image_id)
        try:
            return retry(lambda: _docker("push", target, image=image_id), _is_cut_off, PUSHING)
        except ImageError as error:
            raise ImageError(
                f"the hub's registry does not take the image ({error}); `fab up` sets it up or repairs it",
                image=image_id,
            ) from error
        finally:
            _docker("rmi", "--no-prune", target, image=image_id)


def _is_cut_off(error: Exception) -> bool:
    return isinstance(error, ImageError) and CUT_OFF.search(str(error)) is not None


def _push_by_ssh(folder: Folder, hub: Host, image_id: str) -> str:
    """Load the image into the hub's Docker, and push it from there; returns what that printed."""
    with tagged(folder, image_id) as tag:
        send_image(folder, hub, tag)
    remote, by_sudo = Remote(folder, hub), hub.layout.docker_by_sudo
    try:
        return remote.run(["docker", "push", tag], sudo=by_sudo, timeout=1800).stdout
    finally:
        remote.run(["docker", "rmi", "--force", tag], sudo=by_sudo, check=False)
        remote.close()


def ref(hub: Host, digest: str) -> str:
    """Return the name that a worker pulls: the hub's registry and the digest."""
    return f"{hub.inner}:{PORT}/{REPOSITORY}@{digest}"


def ensure_image_host(remote: Remote, image: Image) -> str | None:
    """Pull an image from the hub on a worker that doesn't have it."""
    if has_image_host(remote, image):
        return None
    try:
        remote.run(["docker", "pull", "--quiet", image.ref], sudo=remote.host.layout.docker_by_sudo, timeout=1800)
    except CommandFailed as error:
        raise ImageError(
            f"{remote.host.name} can't pull {image.name} from the hub ({error}); `fab up` repairs the hub",
            image=image.name,
        ) from error
    return f"pulled {image.name}"


def remove_old_images_host(remote: Remote, kept: Collection[str]) -> None:
    """Remove the images of deploys from a host, but for these refs and those that containers use.

    What can't be removed stays until the next time: nothing fails for it.
    """
    pulled, pushed = f":{PORT}/{REPOSITORY}", f"127.0.0.1:{PUSH_PORT}/{REPOSITORY}"
    argv = host_argv("remove-images.sh", pulled, pushed, *kept)
    with contextlib.suppress(FanrunError):
        remote.run(argv, sudo=remote.host.layout.docker_by_sudo, check=False, timeout=600)


@contextlib.contextmanager
def tunnel(folder: Folder, host: Host, remote_port: int) -> Iterator[int]:
    """Yield a loopback port of the client that leads to a loopback port of the host."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    options = ["-F", str(folder.ssh_config), "-N", "-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes"]
    argv = ["ssh", *options, "-L", f"127.0.0.1:{port}:127.0.0.1:{remote_port}", host.name]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _wait_for_port(process, port, host)
            yield port
        finally:
            process.terminate()
            process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], port: int, host: Host) -> None:
    is_open = poll(lambda: _is_open(port), lambda is_open: is_open or process.poll() is not None, OPENING)
    if not is_open or process.poll() is not None:
        raise HostUnreachable(f"no SSH tunnel to {host.address}:{host.port}", host=host.name)


def _is_open(port: int) -> bool:
    """Return whether something on this machine listens on the port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _docker(*argv: str, image: str) -> str:
    """Run the client's docker; ImageError with its last line when it fails."""
    environ = None if argv[0] == "pull" else environment.without_trust()
    try:
        done = subprocess.run(
            ["docker", *argv], env=environ, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError as error:
        raise ToolMissing(
            "docker is not in PATH; script/setup installs it on Debian and Ubuntu", tool="docker"
        ) from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise ImageError(f"docker {argv[0]}: {shorten(lines[-1], 300)}", image=image)
    return done.stdout
