"""Reference data on their way: once from this machine to the hub, and from there to each worker that lacks them."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from functools import partial

from loguru import logger

from fanrun.fanout import reference_commands as commands
from fanrun.fanout.reference import Version
from fanrun.fanout.reference_content import Content, changed
from fanrun.fanout.results.report import amount
from fanrun.fanout.workers.bandwidth import Bandwidth
from fanrun.fanout.workers.executor import SSH_FAILED, CommandResult
from fanrun.fanout.workers.link import Link
from fanrun.fanout.workers.transfer import VANISHED
from fanrun.fleet.errors import FanrunError, HostError, HostUnreachable, UsageError
from fanrun.fleet.model import HUB
from fanrun.fleet.parallel import FAN_OUT, fan_out
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder

SECONDS = 40
"""Seconds that a command may take which neither reads nor sends much."""
SENT = re.compile(r"^Total bytes sent: ([\d,.]+)", re.MULTILINE)


class Delivery:
    """The reference data of one run; safe to use from many threads."""

    def __init__(
        self, run: str, folder: Folder, contents: Sequence[Content], board: Board, bandwidth: Bandwidth
    ) -> None:
        self._bandwidth = bandwidth
        self._run, self._folder, self._contents, self._board = run, folder, contents, board
        self._hub = Link(folder, HUB, f"{run}-{HUB}", threading.BoundedSemaphore(FAN_OUT))
        self._lock = threading.Lock()
        self._let_in: set[str] = set()
        self._away: FanrunError | None = None

    def to_hub(self) -> None:
        """Send what the hub lacks.

        A hub that can't be reached is an error for those workers alone that lack something.  Raises RunUnfinished for a
        folder that changes meanwhile, UsageError if the hub has no room.
        """
        if not self._contents:
            return
        try:
            _, errors = fan_out([HUB], lambda name: self._to_hub())
        except BaseException:
            self._hub.close()
            raise
        for error in errors.values():
            if not isinstance(error, HostUnreachable):
                raise error
            self._away = error

    def to_worker(self, link: Link) -> None:
        """Bring to a worker what it lacks, and note there what the run uses; raise HostUnreachable if that fails."""
        if not self._contents:
            return
        versions = [content.version for content in self._contents]
        said = self._checked(link, link.run(commands.look_argv(self._run, versions))).output.decode().splitlines()
        lacking = {line.removeprefix("lack ") for line in said if line.startswith("lack ")}
        if not lacking:
            return
        if self._away:
            raise HostUnreachable(
                f"it lacks reference data, and the hub does not answer ({self._away})", host=link.host
            )
        key = next(line.removeprefix("key ") for line in said if line.startswith("key "))
        self._to_hub()
        self._admit(link.host, key)
        try:
            for version in versions:
                if version.name in lacking:
                    self._fetch(link, version)
        finally:
            self._admit(link.host, "")

    def close(self) -> None:
        """Let no key in any more, and end the connection to the hub."""
        if not self._contents:
            return
        for worker in list(self._let_in):
            self._hub.last(commands.let_in_argv(self._run, worker), timeout=SECONDS)
        self._hub.close()

    def _to_hub(self, *, read: bool = False) -> None:
        """Send what the hub lacks; with `read` all that it has is read."""
        with self._lock:
            for content in self._contents:
                argv = commands.receive_argv(self._run, content.version, read=read)
                answer, *options = self._checked(self._hub, self._hub.run(argv)).output.decode().split()
                if answer != "have":
                    self._send(content, options)

    def _send(self, content: Content, options: Sequence[str]) -> None:
        version, path = content.version, content.mount.path
        self._board.say(HUB, f"gets reference data {version.name}, {amount(version.size)}")
        to = f"{HUB}:{commands.sent_folder(self._run, version)}"
        began = time.monotonic()
        # A file may look as one of another version, and be different: then the contents are compared.
        for how in ([], ["--checksum"]):
            every = [*options, *how, *self._bandwidth.of_hub()]
            make = partial(commands.send_argv, path=path, version=version, to=to, options=every)
            result = self._hub.send(make, list(content.stats))
            self._check_sent(content, result)
            done = self._hub.run(commands.complete_argv(self._run, version))
            if done.exit_code != commands.WRONG:
                self._checked(self._hub, done)
                sent = SENT.search(result.output.decode(errors="replace"))
                seconds, count = time.monotonic() - began, sent[1] if sent else "?"
                logger.info("hub: reference data {}: {} bytes sent in {:.1f} s", version.name, count, seconds)
                self._board.say(HUB, f"has reference data {version.name}")
                return
            if content.changed():
                raise changed(content.mount)
        raise HostError(f"what it has of --mount {path!r} is not what was sent; look at its disk", host=HUB)

    def _check_sent(self, content: Content, result: CommandResult) -> None:
        """Raise the error for an rsync to the hub that failed."""
        if result.exit_code == 0:
            return
        if content.changed():
            raise changed(content.mount)
        if "No space left on device" in result.error or "Disk quota exceeded" in result.error:
            self._checked(self._hub, self._hub.run(commands.complete_argv(self._run, content.version, full=True)))
        if result.exit_code in VANISHED:
            raise UsageError(f"--mount {content.mount.path!r} can't be read ({result.reason})")
        raise HostUnreachable(f"reference data can't be sent to the hub ({result.reason})", host=HUB)

    def _admit(self, worker: str, key: str) -> None:
        """Let a worker's key read at the hub; without a key let it do so no more."""
        with self._lock:
            if key:
                self._let_in.add(worker)
            argv = commands.let_in_argv(self._run, worker, key)
            if key:
                self._checked(self._hub, self._hub.run(argv, timeout=SECONDS))
            elif self._hub.last(argv, timeout=SECONDS).exit_code == 0:
                self._let_in.discard(worker)

    def _fetch(self, link: Link, version: Version) -> None:
        hub = self._folder.load().hub
        host_key = self._folder.host_keys.key(hub.address, hub.port)
        self._board.say(link.host, f"gets reference data {version.name}, {amount(version.size)}")
        began = time.monotonic()
        argv = commands.fetch_argv(self._run, version, hub, host_key)
        done = link.run(argv)
        if done.exit_code == commands.WRONG:
            logger.debug("{}: {} is not what it should be at the hub", link.host, version.name)
            self._to_hub(read=True)
            done = link.run(argv)
        if done.exit_code == commands.WRONG:
            raise HostUnreachable(f"its copy of the reference data {version.name} is damaged again", host=link.host)
        self._checked(link, done)
        seconds = time.monotonic() - began
        logger.info("{}: reference data {} fetched from the hub in {:.1f} s", link.host, version.name, seconds)
        self._board.say(link.host, f"has reference data {version.name}")

    def _checked(self, link: Link, done: CommandResult) -> CommandResult:
        """Return the result of a command that succeeded; raise HostUnreachable, UsageError for a hub that is full."""
        if done.exit_code == 0:
            return done
        reason = done.reason
        if link is self._hub:
            if done.exit_code == commands.NO_ROOM:
                raise UsageError(f"hub: {reason}")
            away = f"the hub can't be used ({reason})" if done.exit_code != SSH_FAILED else f"no SSH to it ({reason})"
            raise HostUnreachable(away, host=HUB)
        raise HostUnreachable(reason, host=link.host)
