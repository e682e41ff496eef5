"""An attempt: a batch on its way through one worker."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field

from fanrun.fanout.plan import Batch, Input


@dataclass
class Attempt:
    """A batch with a worker; `ended` is when its program did (seconds since 1970), 0 before that.

    `hashes` are those of the inputs as they were sent, `unreadable` has the reasons of those that could not be.  Both
    have a group by its key, as one input.  A `provisional` one was sized before it was known how long a container
    takes.  `containers` is how many of them share the worker's memory.
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

    def files(self, key: bytes) -> tuple[Input, ...]:
        """Return the files of an input of the batch: of a group all."""
        return self._inputs[key].files

    def paths(self, keys: Iterable[bytes] | None = None) -> list[bytes]:
        """Return the paths in SRC of the files of these inputs, of all by default."""
        return [file.key for key in (self.keys if keys is None else keys) for file in self.files(key)]

    @functools.cached_property
    def _inputs(self) -> dict[bytes, Input]:
        return {item.key: item for item in self.batch.inputs}
