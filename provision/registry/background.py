"""A build that goes on beside other work, and that ends with it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import IO

KILL_AFTER = 5.0
"""Seconds that a docker client may take to end when it is asked to."""


class Cancelled(Exception):
    """The build was cancelled: nothing more is started for it."""


class Cancellation:
    """Ends a build's docker client from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._client: subprocess.Popen[str] | None = None

    def start(
        self, argv: Sequence[str], stdin: IO[bytes], environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a docker client whose output is piped; raises Cancelled if `cancel` was called before."""
        with self._lock:
            if self._cancelled:
                raise Cancelled
            self._client = subprocess.Popen(
                argv,
                env=environ,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            return self._client

    def cancel(self) -> None:
        """Ask the client to end, kill it after KILL_AFTER seconds, and let no other be started."""
        with self._lock:
            self._cancelled = True
            client = self._client
        if client is None or client.poll() is not None:
            return
        client.terminate()
        try:
            client.wait(KILL_AFTER)
        except subprocess.TimeoutExpired:
            client.kill()
            client.wait()


class BackgroundBuild:
    """Builds in a thread, no longer than the `with` block of it: where that is left early, the build is cancelled."""

    def __init__(self, work: Callable[[Cancellation], str]) -> None:
        self._work, self._cancellation = work, Cancellation()
        self._image_id = ""
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._call, daemon=True)

    def __enter__(self) -> BackgroundBuild:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancellation.cancel()

    def start(self) -> None:
        """Begin to build."""
        self._thread.start()

    def result(self) -> str:
        """Wait for the build; return the id of the image, or raise what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._image_id

    def _call(self) -> None:
        try:
            self._image_id = self._work(self._cancellation)
        except BaseException as error:  # raised by result()
            self._error = error
