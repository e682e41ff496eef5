"""A run's way to one worker: one SSH connection of its own, over which everything goes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fanout import commands
from fanout.commands import Place
from fanout.execute import Done, Executor
from provision.fleet import Folder, control_folder
from provision.remote import disconnect_argv, rsync_shell, ssh_argv

PUSH = "push"


class Link:
    """Runs commands on a host, and rsync to and from it, over one multiplexed connection.

    The connection is the run's alone: two runs on a fleet neither crowd nor end each other's.
    """

    def __init__(self, folder: Folder, host: str, name: str) -> None:
        """`name` is the connection's: another name is another connection."""
        self.host = host
        self._executor = Executor()
        self._folder = folder
        self._control = control_folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:12]}-{host}"
        self._shell = rsync_shell(folder, control=self._control)

    def argv(self, argv: list[str]) -> list[str]:
        """The local command that runs argv on the host."""
        return ssh_argv(self._folder, self.host, argv, control=self._control)

    def run(self, argv: list[str], *, timeout: float | None = None) -> Done:
        """Run argv on the host to its end; Stopped when the link is being closed."""
        return self._executor.call(self.argv(argv), timeout=timeout)

    def push(self, src: str, place: Place, keys: Sequence[bytes]) -> Done:
        """Send the inputs of those keys to the batch's place."""
        argv = commands.push_argv(self._shell, src, self.host, place)
        return self._executor.call(argv, stdin=commands.names(keys), group=PUSH)

    def pull(self, place: Place, staging: str) -> Done:
        """Bring home what the batch left."""
        return self._executor.call(commands.pull_argv(self._shell, self.host, place, staging))

    def end_pushes(self) -> None:
        """End the push that is under way, and let no other begin."""
        self._executor.stop(PUSH)

    def stop(self) -> None:
        """End all commands, and start no more but by `last`."""
        self._executor.stop()

    def last(self, argv: list[str], *, timeout: float) -> Done:
        """Run argv on the host although everything else was stopped."""
        return Executor().call(self.argv(argv), timeout=timeout)

    def disconnect(self) -> None:
        """End the connection; harmless when there is none."""
        argv = disconnect_argv(self._folder, self.host, control=self._control)
        Executor().call(argv, timeout=30)

    def close(self) -> None:
        """End all commands and the connection."""
        self.stop()
        self.disconnect()
