"""Machines that were there before Fanrun, reached as their owner reaches them: by the person's own ssh.

Their ssh_config says how (user, port, jump hosts, identities), their known_hosts which key the machine has.  No key is
accepted that nobody vouched for.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko

from fanrun.fleet import shell
from fanrun.fleet.errors import CommandFailed, HostError, HostUnreachable, UsageError
from fanrun.fleet.model import KEY_TYPE, known_as
from fanrun.fleet.shell import Heard
from fanrun.fleet.ssh import shorten

ENTRY = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[0-9a-fA-F:.%]+\]|[\w.-]+)(?::(?P<port>[0-9]{1,5}))?")
ALIAS = "the-machine"
TIMEOUT = 20


@dataclass(frozen=True)
class SshTarget:
    """How to get into a machine: what ssh made of `given`; `proxy` is the command that leads there, "" for none.

    `known_hosts` are the files that may know its key, under the name `alias`; `identities` the person's keys for it.
    """

    given: str
    address: str
    port: int
    user: str
    proxy: str = ""
    alias: str = ""
    known_hosts: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Return the machine's name in known_hosts."""
        return known_as(self.address, self.port)


def resolve(given: str, ssh_config: str = "") -> SshTarget:
    """Return how the user's ssh reaches "[user@]host[:port]"; UsageError if that is no machine.

    `ssh_config` is another file than ~/.ssh/config.
    """
    if not ENTRY.fullmatch(given):
        raise UsageError(f"{given!r} is no machine; they look like admin@10.0.0.5 or admin@10.0.0.5:2222")
    if _name(given).count(":"):
        raise UsageError(f"{given!r} is an address of IPv6, which Docker's names of images can't have; give a name")
    done = subprocess.run(
        ["ssh", *_file(ssh_config), "-G", *_destination(given)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise UsageError(f"ssh can't make anything of {given!r}: {_last(done.stderr)}")
    return parse(given, done.stdout, ssh_config)


def parse(given: str, settings: str, ssh_config: str = "") -> SshTarget:
    """Return the SshTarget that `ssh -G` describes in these lines of "name value"."""
    found = dict(line.partition(" ")[::2] for line in settings.splitlines())
    address, port = found["hostname"], int(found["port"])
    files = shlex.split(f"{found.get('userknownhostsfile', '')} {found.get('globalknownhostsfile', '')}")
    identities = tuple(line.split(" ", 1)[1] for line in settings.splitlines() if line.startswith("identityfile "))
    proxy = ""
    if found.get("proxyjump", "none") != "none":
        *before, last = found["proxyjump"].split(",")
        jumps = ["-J", ",".join(before)] if before else []
        proxy = shlex.join(
            ["ssh", *_file(ssh_config), "-o", "BatchMode=yes", *jumps, "-W", f"[{address}]:{port}", f"ssh://{last}"]
        )
    elif found.get("proxycommand", "none") != "none":
        values = {"%h": address, "%p": str(port), "%r": found["user"], "%n": _name(given), "%%": "%"}
        proxy = re.sub("%[hprn%]", lambda match: values[match[0]], found["proxycommand"])
    return SshTarget(
        given, address, port, found["user"], proxy, found.get("hostkeyalias", ""), tuple(files), identities
    )


def known_key(target: SshTarget, file: str = "") -> str:
    """Return the machine's host key, "ssh-ed25519 AAAA…", from `file`, else from ssh's own files; "" if unknown."""
    names = [target.alias] if target.alias and not file else [target.place]
    for each in [file] if file else target.known_hosts:
        for name in names:
            if key := _find_key(name, os.path.expanduser(each)):
                return key
    return ""


def offered_key(target: SshTarget) -> str:
    """Return the host key that a machine offers, for a person to check; HostUnreachable if nothing answers."""
    try:
        sock = _connect(target)
        transport = paramiko.Transport(sock)
        try:
            transport.get_security_options().key_types = (KEY_TYPE,)
            transport.start_client(timeout=TIMEOUT)
            key = transport.get_remote_server_key()
        finally:
            transport.close()
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise HostUnreachable(
            f"no {KEY_TYPE} host key from {target.place} ({shorten(str(error) or type(error).__name__)})",
            host=target.given,
        ) from error
    return f"{key.get_name()} {key.get_base64()}"


def fingerprint(key: str) -> str:
    """Return the fingerprint of a key, as SHA256:…"""
    shown = subprocess.run(["ssh-keygen", "-lf", "-"], input=key, capture_output=True, text=True, check=True)
    return shown.stdout.split()[1]


@dataclass(frozen=True)
class SshAccess:
    """Say how a machine is logged in to: its host key, a private key to try before the person's own, an ssh_config."""

    target: SshTarget
    host_key: str
    identity: Path
    ssh_config: str = ""

    def argv(self, known_hosts: str) -> list[str]:
        """Return the ssh command up to the destination; `known_hosts` is a file that has the host key under ALIAS."""
        proxy = self.target.proxy.replace("%", "%%")
        options = {
            "UserKnownHostsFile": known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": ALIAS,
            "StrictHostKeyChecking": "yes",
            "HostKeyAlgorithms": KEY_TYPE,
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "ServerAliveInterval": "5",
            "ControlPath": "none",
            "RemoteCommand": "none",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "LogLevel": "ERROR",
            **({"ProxyCommand": proxy} if proxy else {}),
        }
        # An identity that is named here takes the place of all that ssh would try by itself.
        first = [str(self.identity).replace("%", "%%")] if self.identity.exists() else []
        keys = [f'-oIdentityFile="{each}"' for each in (*first, *self.target.identities)]
        return ["ssh", *_file(self.ssh_config), "-T", *keys, *(f"-o{name}={value}" for name, value in options.items())]


def run(access: SshAccess, argv: Sequence[str], seconds: int, given: bytes = b"") -> Heard:
    """Run a command on the machine, with `given` on its standard input; returns what it wrote to standard output.

    Raises HostUnreachable if there is no session, HostError if the login shell runs no commands, CommandFailed if the
    command ends otherwise than with 0 or not within `seconds`.
    """
    host = access.target.given
    done = _run_ssh(access, argv, seconds, given)
    out, err = (shell.read(each.decode(errors="replace")) for each in (done.stdout, done.stderr))
    if done.returncode == 255:
        raise HostUnreachable(f"no SSH to {host} ({_last(err.text or err.noise)})", host=host)
    if not out.began:
        raise HostError(shell.refusal(out.noise, err.noise), host=host)
    if done.returncode != 0:
        raise CommandFailed(_last(err.text), host=host, command=argv[0], exit_code=done.returncode, stderr=err.text)
    return out


def _run_ssh(access: SshAccess, argv: Sequence[str], seconds: int, given: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run ssh with a known_hosts file that has the machine's key alone; CommandFailed after `seconds`."""
    host = access.target.given
    with tempfile.NamedTemporaryFile("w", prefix="fanrun-known-") as known:
        known.write(f"{ALIAS} {access.host_key}\n")
        known.flush()
        try:
            return subprocess.run(
                [*access.argv(known.name), *_destination(host), shell.line(argv)],
                input=given,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(
                f"took more than {seconds} s", host=host, command=argv[0], exit_code=124, stderr=""
            ) from error


def _file(ssh_config: str) -> list[str]:
    return ["-F", ssh_config] if ssh_config else []


def _destination(given: str) -> list[str]:
    match = ENTRY.fullmatch(given)
    port = ["-p", match["port"]] if match and match["port"] else []
    user = ["-l", match["user"]] if match and match["user"] else []
    return [*port, *user, "--", _name(given)]


def _name(given: str) -> str:
    match = ENTRY.fullmatch(given)
    return match["host"].strip("[]") if match else given


def _connect(target: SshTarget) -> socket.socket | paramiko.ProxyCommand:
    if target.proxy:
        return paramiko.ProxyCommand(target.proxy)
    return socket.create_connection((target.address, target.port), timeout=TIMEOUT)


def _find_key(name: str, file: str) -> str:
    """Return the ed25519 key of that name in a known_hosts file, whose names may be hashed; a revoked one is none."""
    found = subprocess.run(["ssh-keygen", "-F", name, "-f", file], capture_output=True, text=True, check=False)
    lines = [line.split() for line in found.stdout.splitlines() if not line.startswith("#")]
    revoked = {tuple(words[2:4]) for words in lines if words[:1] == ["@revoked"]}
    for words in lines:
        if len(words) >= 3 and words[1] == KEY_TYPE and tuple(words[1:3]) not in revoked:
            return " ".join(words[1:3])
    return ""


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return shorten(lines[-1], 200) if lines else "it said nothing"
