"""A run's way to one worker: SSH connections of its own, over which everything goes."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fanrun.fanout import transfer_commands
from fanrun.fanout.commands import BatchFolder
from fanrun.fanout.workers.bandwidth import Bandwidth
from fanrun.fanout.workers.executor import SSH_FAILED, CommandResult, Executor
from fanrun.fleet import shell
from fanrun.fleet.private_files import control_folder
from fanrun.fleet.ssh import TIMED_OUT
from fanrun.fleet.ssh_commands import connected_argv, disconnect_argv, rsync_shell, ssh_argv
from fanrun.fleet.store import Folder

PUSH, PULL = "push", "pull"
SLOTS_PER_CONNECTION = 4
"""How many of a worker's containers share a connection for their commands."""


class Link:
    """Runs commands on a host, and rsync to and from it, over multiplexed connections of the run's own.

    One carries all; where the line is what a run waits for, a second one what comes home, and a third one commands,
    begun when they are first wanted: in one alone either direction takes half of the other's speed, and the news that
    a container has ended would wait behind a second's worth of results.  Where many containers run at the same time,
    every SLOTS_PER_CONNECTION of them have one: sshd allows ten commands at a time in each.  Two runs on a fleet
    neither crowd nor end each other's.
    """

    def __init__(
        self, folder: Folder, host: str, name: str, slots: threading.Semaphore, bandwidth: Bandwidth | None = None
    ) -> None:
        """`name` is the connections': another name is others; a place in `slots` is held while one begins.

        `bandwidth` limits what is sent to a worker and fetched from it.
        """
        self.host, self.layout = host, folder.layout(host)
        self._executor = Executor()
        self._folder, self._slots = folder, slots
        self._control = control_folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:12]}-{host}"
        self._homeward = self._control.with_name(f"{self._control.name}-home")
        self._commands = self._control.with_name(f"{self._control.name}-run")
        self._lock = threading.Lock()
        self._bandwidth = bandwidth or Bandwidth()
        self._turns = {PUSH: threading.Lock(), PULL: threading.Lock()}
        self._begun = False
        self._more: dict[int, Path] = {}

    def argv(self, argv: list[str]) -> list[str]:
        """The local command that runs argv on the host, where it waits behind no file if there is such a way.

        `shell.read` takes what it writes apart.
        """
        return ssh_argv(self._folder, self.host, argv, control=self._commands if self._begun else self._control)

    def run(self, argv: list[str], *, timeout: float | None = None, slot: int = 0, stdin: bytes = b"") -> CommandResult:
        """Run argv on the host to its end, with `stdin` to read; Stopped when the link is being closed.

        The commands of SLOTS_PER_CONNECTION slots share a connection.
        """
        local = self.argv(argv)
        number = slot // SLOTS_PER_CONNECTION
        if number and (control := self._connection(number)):
            local = ssh_argv(self._folder, self.host, argv, control=control)
        return heard(self._executor.call(local, timeout=timeout, stdin=stdin))

    def _connection(self, number: int) -> Path | None:
        """Return a further connection for commands, begun if it is not there; None if it can't be."""
        with self._lock:
            control = self._control.with_name(f"{self._control.name}-{number}")
            if number not in self._more:
                with self._slots:
                    if not self._begin(control):
                        return None
                self._more[number] = control
            return control

    def push(self, src: str, place: BatchFolder, keys: Sequence[bytes]) -> CommandResult:
        """Send the inputs of those keys to the batch's place."""
        shell = rsync_shell(self._folder, control=self._control)
        with self._turn(PUSH) as limit:
            argv = transfer_commands.push_argv(shell, src, self.host, place, limit)
            return self._executor.call(argv, stdin=transfer_commands.names(keys), group=PUSH)

    @contextlib.contextmanager
    def _turn(self, direction: str) -> Iterator[list[str]]:
        """Yield rsync's options for the bandwidth of a transfer; where it is limited, no other is in this direction."""
        with self._turns[direction] if self._bandwidth.rate else contextlib.nullcontext():
            yield self._bandwidth.of_worker()

    def send(self, make: Callable[[str], list[str]], keys: Sequence[bytes]) -> CommandResult:
        """Run the rsync that `make` returns for its --rsh; it reads these keys."""
        argv = make(rsync_shell(self._folder, control=self._control))
        return self._executor.call(argv, stdin=transfer_commands.names(keys), group=PUSH)

    def pull(self, place: BatchFolder, staging: str, *, apart: bool) -> CommandResult:
        """Fetch what the batch left, with `apart` over a connection of its own."""
        with self._lock:
            if apart and not self._begun:
                with self._slots:
                    self._begun = self._begin(self._homeward) and self._begin(self._commands)
        shell = rsync_shell(self._folder, control=self._homeward if self._begun else self._control)
        with self._turn(PULL) as limit:
            return self._executor.call(transfer_commands.pull_argv(shell, self.host, place, staging, limit))

    def _begin(self, control: Path) -> bool:
        """Begin a connection; whether it is there."""
        argv = ssh_argv(self._folder, self.host, ["true"], control=control)
        return self._executor.call(argv, timeout=40).exit_code == 0

    def end_pushes(self) -> None:
        """End the push that is under way, and let no other begin."""
        self._executor.stop(PUSH)

    def stop(self) -> None:
        """End all commands, and start no more but by `last`."""
        self._executor.stop()

    def last(self, argv: list[str], *, timeout: float) -> CommandResult:
        """Run argv on the host although everything else was stopped."""
        return heard(Executor().call(self.argv(argv), timeout=timeout))

    def is_connected(self) -> bool:
        """Whether there is a connection; asks nobody but this machine's ssh."""
        argv = connected_argv(self._folder, self.host, control=self._control)
        return Executor().call(argv, timeout=30).exit_code == 0

    def disconnect(self) -> None:
        """End the connections; harmless when there are none."""
        for control in (self._control, self._homeward, self._commands, *self._more.values()):
            Executor().call(disconnect_argv(self._folder, self.host, control=control), timeout=30)

    def close(self) -> None:
        """End all commands and the connection."""
        self.stop()
        self.disconnect()


def heard(done: CommandResult) -> CommandResult:
    """Take what the login printed out of what a command on a host wrote."""
    out, err = shell.read(done.output.decode(errors="replace")), shell.read(done.error)
    if out.began:
        return CommandResult(done.exit_code, out.text.encode(), err.text, out.noise)
    if done.exit_code in (SSH_FAILED, TIMED_OUT):
        return done
    return CommandResult(done.exit_code or SSH_FAILED, b"", shell.refusal(out.noise, done.error))
