"""Calling the service from this machine: the certificate that a caller shows, and the command."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from fanrun.fleet.private_files import write_private
from fanrun.fleet.store import Folder
from fanrun.serving.containers import Container
from provision.hosts import ca

CLIENT_PAIR = ("client.crt", "client.key")
"""Files of the fleet's folder; service.loadtest.access knows them too."""
CALLER = "caller"  # the name in that certificate


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


def ensure_client_pair(folder: Folder) -> None:
    """Have a certificate of the fleet's CA, and its key, for those who call the API from this machine."""
    authority, names = folder.ca_cert.read_text(), [CALLER]
    certificate, key = (folder.path / name for name in CLIENT_PAIR)
    with contextlib.suppress(OSError):
        if key.stat().st_size and ca.serves(certificate.read_text(), names, authority):
            return
    made = ca.client(folder.ca_key.read_text(), authority, names)
    certificate.unlink(missing_ok=True)  # else an old one might stand beside a new key
    write_private(key, made[0].encode())
    write_private(certificate, made[1].encode())
