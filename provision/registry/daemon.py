"""Which Docker daemon this machine's docker client talks to, and where that daemon is."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import subprocess
from dataclasses import dataclass
from urllib.parse import urlsplit

from fanrun.fleet.errors import ToolMissing

START = "start Docker (script/setup does it on Debian and Ubuntu; on macOS start Docker Desktop)"
HERE = ("unix", "npipe", "fd")
"""The schemes of endpoints that are files of this machine."""


@dataclass(frozen=True)
class Endpoint:
    """Where the client finds its daemon: `context` is the docker context, `host` its URL; "" if unknown."""

    context: str = ""
    host: str = ""

    @property
    def is_chosen(self) -> bool:
        """Return whether a person chose it, by a context or by a variable."""
        return self.context not in ("", "default") or bool(os.environ.get("DOCKER_HOST"))

    @property
    def is_file(self) -> bool:
        """Return whether it is a socket or pipe of this machine."""
        return not self.host or urlsplit(self.host).scheme in HERE

    def __str__(self) -> str:
        name = "DOCKER_HOST" if os.environ.get("DOCKER_HOST") else f"docker context {self.context!r}"
        return f"{name} ({self.host})" if self.host else name

    @property
    def advice(self) -> str:
        """Return the words on how to choose another daemon."""
        set_by = next((name for name in ("DOCKER_HOST", "DOCKER_CONTEXT") if os.environ.get(name)), "")
        return f"unset {set_by}" if set_by else "choose another with `docker context use`"


@dataclass(frozen=True)
class Daemon:
    """A daemon that answers: its `endpoint`, the `name` and operating `system` of its machine."""

    endpoint: Endpoint
    name: str
    system: str
    is_rootless: bool

    @property
    def shares_network(self) -> bool:
        """Return whether it has this machine's loopback and bridges: not one in a VM, without root, or elsewhere."""
        return (
            platform.system() == "Linux"
            and self.endpoint.is_file
            and self.name == socket.gethostname()
            and "Docker Desktop" not in self.system
            and not self.is_rootless
        )

    @property
    def is_remote(self) -> bool:
        """Return whether it is on another machine, and so are the ports that it publishes."""
        if self.endpoint.is_file or "Docker Desktop" in self.system:
            return False
        return self.name != socket.gethostname() or not _is_own(urlsplit(self.endpoint.host).hostname or "")


def endpoint() -> Endpoint:
    """Return where the client looks for its daemon, as the client itself says."""
    told = _docker("context", "inspect", "--format={{.Name}}\t{{.Endpoints.docker.Host}}")
    context, tab, host = told.partition("\t")
    return Endpoint(context, host) if tab else Endpoint(os.environ.get("DOCKER_CONTEXT", ""))


def find() -> Daemon:
    """Return the daemon that answers; raises ToolMissing if none does."""
    told = _docker("info", "--format={{.Name}}\t{{.OperatingSystem}}\t{{.SecurityOptions}}").split("\t")
    if len(told) != 3:
        raise no_answer("docker info failed")
    return Daemon(endpoint(), told[0], told[1], "name=rootless" in told[2])


def no_answer(said: str) -> ToolMissing:
    """Return the error for a daemon that doesn't answer, from what the client has said of it."""
    found = endpoint()
    if "permission denied" in said.lower() and found.is_file:
        text = "docker runs, but not for this user: sudo usermod -aG docker $USER, then log out and in again"
    elif not found.host and "context" in said:
        text = f"docker has no daemon to ask ({said}): {found.advice}"
    elif found.is_chosen:
        text = f"{found} does not answer ({said}): start Docker there, or {found.advice}"
    else:
        text = f"the docker daemon does not answer ({said}): {START}"
    return ToolMissing(text, tool="docker")


def _is_own(host: str) -> bool:
    """Return whether an address, or a name, is this machine's."""
    with contextlib.suppress(OSError):
        family, kind, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as trial:
            trial.bind(address)
            return True
    return False


def _docker(*argv: str) -> str:
    """Return the line that docker prints, "" if it fails or takes too long."""
    try:
        done = subprocess.run(
            ["docker", *argv], capture_output=True, text=True, errors="replace", timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
