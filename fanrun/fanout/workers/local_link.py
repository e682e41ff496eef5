"""A link to this machine itself, in the place of a worker."""

from __future__ import annotations

from collections.abc import Sequence

from fanrun.fanout import transfer_commands
from fanrun.fanout.commands import BatchFolder
from fanrun.fanout.workers.executor import CommandResult, Executor
from fanrun.fanout.workers.link import Link
from fanrun.fleet.layout import Layout

HERE = "here"
"""The name of this machine as a worker."""


class LocalLink(Link):
    """Runs commands, and rsync, on this machine, without SSH; all files are under the folders of `layout`."""

    def __init__(self, layout: Layout) -> None:
        # There is no connection to set up, and so nothing of Link's own.
        self.host, self.layout = HERE, layout
        self._executor = Executor()

    def argv(self, argv: list[str]) -> list[str]:
        """Return the command as it is."""
        return argv

    def run(self, argv: list[str], *, timeout: float | None = None, slot: int = 0, stdin: bytes = b"") -> CommandResult:
        """Run argv to its end, with `stdin` to read."""
        return self._executor.call(argv, timeout=timeout, stdin=stdin)

    def push(self, src: str, place: BatchFolder, keys: Sequence[bytes]) -> CommandResult:
        """Copy the inputs of those keys to the batch's place."""
        argv = transfer_commands.push_argv("", src, "", place)
        return self._executor.call(argv, stdin=transfer_commands.names(keys))

    def pull(self, place: BatchFolder, staging: str, *, apart: bool) -> CommandResult:
        """Copy what the batch left."""
        return self._executor.call(transfer_commands.pull_argv("", "", place, staging))
