"""What runs of this client may have left on hosts: a file for each run in the fleet's folder, held while it lives.

So the next run on a host, into whatever DST, knows which earlier ones are over and ends what is left of them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from loguru import logger

from fanrun.fleet.lock import is_held
from fanrun.fleet.private_files import write_private


class Leftovers:
    """The runs' files in `folder`; each holds the names of the hosts that are to be cleaned, a line each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def hold(self, run: str, hosts: Collection[str]) -> Iterator[None]:
        """Know of a run while it lives, and after that too until `cleaned` has named all these hosts.

        A folder that can't be written is no reason not to run: hosts sweep what gives no sign of life.
        """
        handle = -1
        try:
            handle = self._begin(run, hosts)
        except OSError as error:
            logger.debug("{} can't be written ({})", self._folder, error.strerror)
        try:
            yield
        finally:
            if handle >= 0:
                os.close(handle)

    def _begin(self, run: str, hosts: Collection[str]) -> int:
        """Write a run's file; returns the handle that holds it, as it does from before the file has its name."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=f".{run}.")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            os.write(handle, _text(hosts))
            os.replace(temporary, self._folder / run)
        except BaseException:
            os.close(handle)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        return handle

    def add(self, run: str, host: str) -> None:
        """Note one more host where a run that is at work may leave something."""
        try:
            with (self._folder / run).open("a") as file:
                file.write(f"{host}\n")
        except OSError as error:
            logger.debug("{} can't be written ({})", self._folder / run, error.strerror)

    def dead(self) -> dict[str, set[str]]:
        """Return the runs that are over, each with the hosts where something of it may be left."""
        found = {}
        with contextlib.suppress(OSError):  # there is no such folder yet
            for path in sorted(self._folder.iterdir()):
                if not path.name.startswith(".") and not is_held(path):
                    with contextlib.suppress(OSError):
                        found[path.name] = set(path.read_text("utf-8", "replace").split())
        return found

    def cleaned(self, run: str, hosts: Collection[str]) -> None:
        """Note that nothing of the run is left on these hosts."""
        path = self._folder / run
        try:
            left = set(path.read_text("utf-8", "replace").split()) - set(hosts)
            if left:
                write_private(path, _text(left))
            else:
                path.unlink()
        except FileNotFoundError:  # another run was there as well
            pass
        except OSError as error:
            logger.debug("{} can't be written ({})", path, error.strerror)

    def forget_all_but(self, hosts: Collection[str]) -> None:
        """Forget the hosts that the fleet no longer has: no later run can clean them."""
        for run, named in self.dead().items():
            if gone := named.difference(hosts):
                self.cleaned(run, gone)


def _text(hosts: Collection[str]) -> bytes:
    return "".join(f"{name}\n" for name in sorted(hosts)).encode()
