"""What a worker tells the scheduler of a batch that is over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Completion:
    """What is known of a batch's inputs when the batch is over, besides those that were claimed.

    `failed` inputs failed for themselves, and those in `final` would fail again.  Inputs of a group of `apart` are
    tried again together, with no others.  For the `suspects` this was a try, though it is not known which one failed.
    The `exclusive` are tried again together, while no other container runs beside theirs.
    """

    failed: Collection[bytes] = ()
    final: Collection[bytes] = ()
    apart: Sequence[Sequence[bytes]] = ()
    suspects: Collection[bytes] = ()
    exclusive: Collection[bytes] = ()


UNKNOWN = Completion()
"""Nothing is known of a batch's inputs."""
