"""How fast a run may send and receive."""

from __future__ import annotations

KIB = 1024
"""The unit of rsync's --bwlimit, in bytes per second."""


class Bandwidth:
    """Divides a limit of `rate` bytes per second in each direction among workers; 0 is no limit.

    A worker gets an equal part, and transfers one batch at a time in each direction.  So the workers together never
    exceed the limit, and do not reach it if some of them have nothing to transfer.
    """

    def __init__(self, rate: int = 0) -> None:
        self.rate, self.workers = rate, 1

    def of_hub(self) -> list[str]:
        """Return rsync's options for a transfer to the hub, before workers get anything."""
        return self._options(self.rate)

    def of_worker(self) -> list[str]:
        """Return rsync's options for a transfer to or from one of the workers."""
        return self._options(self.rate // max(self.workers, 1))

    def _options(self, rate: int) -> list[str]:
        return [f"--bwlimit={max(rate // KIB, 1)}"] if self.rate else []
