"""An attempt: a batch on its way through one worker."""

from __future__ import annotations

from dataclasses import dataclass, field

from fanrun.fanout.plan import Batch


@dataclass
class Attempt:
    """A batch with a worker; `ended` is when its program did (seconds since 1970), 0 before that.

    `hashes` are those of the inputs as they were sent, `unreadable` has the reasons of those that could not be.  A
    `provisional` one was sized before it was known how long a container takes.  `containers` is how many of them share
    the worker's memory.
    """

    batch: Batch
    worker: str
    hashes: dict[bytes, str] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)
    ended: float = 0.0
    provisional: bool = False
    containers: int = 1

    @property
    def keys(self) -> list[bytes]:
        """The keys of the batch's inputs."""
        return [item.key for item in self.batch.inputs]
