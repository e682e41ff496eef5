"""The one way into a host: a Fabric connection and an ssh argv, both from the fleet's ssh_config."""

from __future__ import annotations

import contextlib
import logging
import shlex
import socket
from dataclasses import dataclass
from typing import TypeVar

import paramiko
from fabric import Config, Connection
from invoke.exceptions import CommandTimedOut, Failure, ThreadException

from fanrun.fleet import shell
from fanrun.fleet.channel import Collected, TooMuch, collect
from fanrun.fleet.errors import CommandFailed, FanrunError, HostError, HostUnreachable
from fanrun.fleet.model import Host, known_as
from fanrun.fleet.poll import RetryPolicy, retry
from fanrun.fleet.script import read_script, script_argv
from fanrun.fleet.store import Folder
from fanrun.fleet.sudo import ASKING, explain_refusal, root_argv

T = TypeVar("T")

# Paramiko's errors are raised here and told in one line; without a handler Python prints them once more, as tracebacks.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

LIMIT = 120.0
"""Seconds a command of Fanrun's own may take on a host, unless it is known to take longer."""
NOISE = 64 * 1024
"""Bytes that a login may print before a command whose output is bounded."""
MAX_OUTPUT = 16 * 1024**2
"""Bytes that a command may write which gets a text on its standard input."""
PASSWORD_SECONDS = 30.0
"""Seconds that sudo may take to check a password: it waits some where one is wrong."""
SSH_ERRORS = (paramiko.SSHException, OSError, EOFError, ThreadException)

PUT = read_script("fanrun.fleet", "put.sh")
TIMED_OUT = 124
"""The exit code of timeout(1) for a command that it had to end."""


@dataclass(frozen=True)
class Result:
    """What a command on a host left: its exit code and the text it wrote; `noise` is what the login printed."""

    exit_code: int
    stdout: str
    stderr: str
    noise: str = ""


class Remote:
    """One host, reached through one Fabric connection that opens at the first command."""

    def __init__(self, folder: Folder, host: Host) -> None:
        self.host = host
        self._connection = Connection(
            host.name, config=_config(folder), connect_kwargs={"allow_agent": False, "look_for_keys": False}
        )
        # ssh wants a % doubled in an IdentityFile, paramiko doesn't.
        self._connection.connect_kwargs["key_filename"] = str(folder.key)
        # Fabric's own client would accept any unknown host key.
        self._connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        self._known_hosts, self._sudo = folder.known_hosts, folder.sudo
        self._read_keys()

    def run(self, argv: list[str], *, sudo: bool = False, check: bool = True, timeout: float = LIMIT) -> Result:
        """Run argv on the host and wait for it; after `timeout` seconds the host ends it, with exit code 124.

        Raises HostUnreachable when there is no session or the host keeps silent, HostError when the login shell runs
        no commands, CommandFailed on a non-zero exit unless `check` is off.
        """
        bounded, shown = _bounded(argv, timeout), shlex.join(argv)
        if sudo and self.host.sudo == "password":
            done = self._exchange(root_argv("password", bounded), self.root_input(), MAX_OUTPUT, timeout + 15)
            return self._checked(done, shown, check=check)
        as_root = root_argv(self.host.sudo, bounded) if sudo else bounded
        return self._run(as_root, shown, check=check, timeout=timeout + 15)

    def read(self, argv: list[str], most: int, *, sudo: bool = False) -> str:
        """Run argv on the host and return what it writes; HostError if that is more than `most` bytes.

        Otherwise like `run`, for what a host must not fill this machine's memory with.
        """
        bounded, given = _bounded(argv, LIMIT), b""
        if sudo:
            given = self.root_input()
            bounded = root_argv(self.host.sudo, bounded)
        return self._checked(self._exchange(bounded, given, most, LIMIT + 15), shlex.join(argv), check=True).stdout

    def shell(self, command: str, *, check: bool = True) -> Result:
        """Run a line of sh, as a person typed it, however long it takes; otherwise like `run`."""
        return self._run(["sh", "-c", command], command, check=check, timeout=None)

    def _read_keys(self) -> None:
        """Know the keys that are pinned now: some may have changed since, and the connection opens late."""
        if self._known_hosts.exists() and not self._connection.is_connected:
            self._connection.client.get_host_keys().clear()
            self._connection.client.load_host_keys(str(self._known_hosts))

    def _run(self, argv: list[str], shown: str, *, check: bool, timeout: float | None) -> Result:
        self._read_keys()
        try:
            done = self._connection.run(shell.line(argv), hide=True, warn=True, in_stream=False, timeout=timeout)
        except CommandTimedOut as error:
            raise unreachable(self.host, OSError(f"no sign of it for {timeout:g} s")) from error
        except (*SSH_ERRORS, Failure) as error:
            raise unreachable(self.host, error) from error
        return self._checked(Collected(done.stdout, done.stderr, done.exited), shown, check=check)

    def _checked(self, done: Collected, shown: str, *, check: bool) -> Result:
        """Take apart what a command left; raise what `run` raises."""
        out, err = shell.read(done.out), shell.read(done.error)
        if done.exit_code < 0:
            raise unreachable(self.host, EOFError("the connection was lost"))
        if not out.began:
            raise HostError(shell.refusal(out.noise, err.noise), host=self.host.name)
        if check and done.exit_code != 0:
            raise self._failed(shown, done.exit_code, err.text or out.text)
        return Result(done.exit_code, out.text, err.text, out.noise)

    def put(self, data: str, path: str, *, mode: str = "644", owner: str = "root:root") -> None:
        """Write a text file on the host as root, whole or not at all.

        The text may be secret: until it has its owner and mode it is in no file, and never in a command line.
        """
        user, _, group = owner.partition(":")
        content = data.encode()
        given = self.root_input()
        bounded = ["timeout", f"{LIMIT:g}", *put_argv(len(content), mode, user, group, path)]
        done = self._exchange(root_argv(self.host.sudo, bounded), given + content, MAX_OUTPUT, LIMIT + 15)
        self._checked(done, f"install {path}", check=True)

    def _exchange(self, argv: list[str], given: bytes, most: int, seconds: float) -> Collected:
        """Run argv with this on its standard input; HostError if it writes more than `most` bytes."""
        self._read_keys()
        try:
            self._connection.open()
            with self._connection.transport.open_session(timeout=LIMIT) as channel:
                channel.settimeout(seconds)
                channel.exec_command(shell.line(argv))
                with contextlib.suppress(OSError):  # what ends without reading says why itself
                    channel.sendall(given)
                    channel.shutdown_write()
                return collect(channel, most + NOISE, seconds)
        except TooMuch as error:
            raise HostError(str(error), host=self.host.name) from error
        except SSH_ERRORS as error:
            raise unreachable(self.host, error) from error

    def root_input(self) -> bytes:
        """Return what a command that runs as root gets first on its standard input: the line for sudo, or nothing.

        Raises HostError where sudo takes no password that was given.
        """
        if self.host.sudo != "password":
            return b""

        def check(line: bytes) -> str:
            argv = _bounded([*ASKING, "true"], PASSWORD_SECONDS)
            done = self._checked(self._exchange(argv, line, NOISE, PASSWORD_SECONDS + 15), "sudo", check=False)
            return explain_refusal(done.stderr) if done.exit_code else ""

        return self._sudo.line(known_as(self.host.address, self.host.port), check)

    def close(self) -> None:
        """End the connection; harmless when there is none."""
        self._connection.close()

    def _failed(self, command: str, code: int, output: str) -> CommandFailed:
        last = next((line for line in reversed(output.splitlines()) if line.strip()), "no output")
        ended = "took too long, its last words" if code == TIMED_OUT else f"ended with {code}"
        text = f"`{shorten(command)}` {ended}: {last.strip()}"
        return CommandFailed(text, host=self.host.name, command=command, exit_code=code, stderr=output)


def _bounded(argv: list[str], seconds: float) -> list[str]:
    """Return the command that runs argv and ends it after so many seconds."""
    return ["timeout", "--kill-after=5", f"{seconds:g}", *argv]


def _config(folder: Folder) -> Config:
    """Return settings for a connection: those of the fleet's folder alone, not those of a person's fabric.yaml."""
    config = Config(lazy=True, runtime_ssh_path=str(folder.ssh_config), overrides={"run": {"encoding": "utf-8"}})
    config.load_ssh_config()
    return config


def put_argv(size: int, mode: str, user: str, group: str, path: str) -> list[str]:
    """Return the command that makes a file of the `size` bytes of text on its standard input."""
    return script_argv(PUT, str(size), mode, user, group, path)


def shorten(text: str, most: int = 90) -> str:
    """The text on one line, cut to `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def unreachable(host: Host, error: BaseException) -> HostUnreachable:
    """The one message for "no SSH to this host", whatever library found out."""
    reason = str(error) or type(error).__name__
    if isinstance(error, paramiko.BadHostKeyException):
        reason = "its host key is not the pinned one"
    return HostUnreachable(f"no SSH to {host.address}:{host.port} ({shorten(reason)})", host=host.name)


def wait_for_ssh(folder: Folder, host: Host, *, timeout: float = 120) -> None:
    """Wait until the host answers on its SSH port and lets the fleet's key in.

    A refused or silent port is waited for; a wrong host key is not.  Raises
    HostUnreachable after `timeout` seconds.
    """

    def log_in() -> None:
        try:
            _log_in(folder, host)
        except HostUnreachable as error:
            if not (_is_wrong_key(error) and folder.host_keys.prefer_next(host.address, host.port)):
                raise
            _log_in(folder, host)  # its key was being replaced when an earlier `up` was interrupted

    def is_temporary(error: Exception) -> bool:
        return isinstance(error, (OSError, FanrunError)) and not _is_wrong_key(error)

    try:
        retry(log_in, is_temporary, RetryPolicy(timeout, pause=0.2))
    except (OSError, FanrunError) as error:
        raise unreachable(host, error.__cause__ or error) from error


def _is_wrong_key(error: Exception) -> bool:
    return isinstance(error.__cause__, paramiko.BadHostKeyException)


def _log_in(folder: Folder, host: Host) -> None:
    """Open a session on the host and end it; OSError or FanrunError if that fails."""
    remote = Remote(folder, host)
    try:
        if not host.proxy:
            with socket.create_connection((host.address, host.port), timeout=5):
                pass
        remote.run(["true"], timeout=20)
    finally:
        remote.close()
