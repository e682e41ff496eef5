"""DST held by one run, with the folders that the run needs there."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator

from fanrun.fanout.context import RunContext
from fanrun.fleet.errors import Busy, UsageError
from fanrun.fleet.lock import exclusive


@contextlib.contextmanager
def hold_destination(context: RunContext) -> Iterator[None]:
    """Hold DST for this run, with empty folders for staging and records.

    Raises UsageError with the name of the run that holds it already.
    """
    with contextlib.ExitStack() as held:
        holder = f"run {context.name} (process {os.getpid()} on {socket.gethostname()})"
        try:
            held.enter_context(exclusive(context.state / "lock", holder))
        except Busy as error:
            raise UsageError(
                f"--dst {context.request.dst!r} is in use by {error.holder}; wait for it, or give another"
            ) from error
        shutil.rmtree(context.staging.parent, ignore_errors=True)
        os.makedirs(context.staging)
        os.makedirs(context.home)
        try:
            yield
        finally:
            shutil.rmtree(context.staging, ignore_errors=True)
            with contextlib.suppress(OSError):
                context.staging.parent.rmdir()
