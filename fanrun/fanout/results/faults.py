"""Find out what a failure is due to: an input, a worker, or the way the program is run."""

from __future__ import annotations

import enum
import itertools
import os
import re
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from fanrun.fanout.plan import Batch
from fanrun.fleet.errors import HostError

FEW_GROUPS, MANY_GROUPS = 8, 32
"""Into how many groups suspects are divided: after a failure, and where each failure costs a whole timeout."""
ENDED_WITH = "the program ended "
"""How the reason of a batch begins whose program ended badly."""
MIN_FAILURES, MIN_LOSSES = 2, 3
"""So often must workers fail before an input is taken for the cause; the second is for workers that are lost."""
MAX_TOLD = 10
"""How many different reasons are told while the run goes on; all are in its report."""


class BatchFailed(HostError):
    """A worker could not do its part of one batch, though it answers: it, or the batch's inputs, are the reason."""


class Cause(enum.Enum):
    """What made a worker fail that had a batch in hand."""

    WORKER = "perhaps the worker itself"
    INPUTS = "one of the inputs, and it is not known which"
    INPUT = "the only input"


@dataclass
class _Record:
    """The workers that failed with an input in hand, those that did with nothing beside it, and what that says.

    The failure of an input alone counts when it is another worker's, or one's that has processed other inputs.
    """

    workers: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)
    count: int = 0


class Blame:
    """Finds inputs that are the reason why workers fail: such a failure follows them from one worker to the next."""

    def __init__(self) -> None:
        self._records: dict[bytes, _Record] = {}
        self._lock = threading.Lock()

    def failed(self, batch: Batch, worker: str, *, answers: bool, worked: bool) -> Cause:
        """Note that a worker failed with this batch in hand; return what the cause is.

        `answers` is whether the worker itself seems to be well, `worked` whether it has processed others in this run.
        A batch of several inputs is divided at its second failure, whoever fails: that does no harm.  An input is given
        up when it was alone MIN_FAILURES times, and for lost workers not before MIN_LOSSES of them.
        """
        with self._lock:
            for item in batch.inputs:
                record = self._records.setdefault(item.key, _Record())
                is_single = len(batch.inputs) == 1
                seen = record.alone if is_single else record.workers
                if worker not in seen or worked or answers or not is_single:
                    seen.append(worker)
                    record.count += 1
            records = [self._records[item.key] for item in batch.inputs]
            if any(record.count < MIN_FAILURES for record in records):
                return Cause.WORKER
            if len(records) > 1:
                return Cause.INPUTS
            enough = len(records[0].alone) >= MIN_FAILURES and (answers or records[0].count >= MIN_LOSSES)
            return Cause.INPUT if enough else Cause.WORKER

    def workers(self, key: bytes) -> str:
        """Return the workers that failed with an input, for people: worker-1 and worker-2."""
        record = self._records[key]
        *others, last = sorted({*record.workers, *record.alone})
        return f"{', '.join(others)} and {last}" if others else last


def divide(
    keys: Sequence[bytes], partial: Collection[bytes], latest: bytes | None, *, hung: bool
) -> tuple[list[list[bytes]], list[bytes]]:
    """Divide the inputs of a batch that failed as a whole: (small groups of suspects, the others).

    Each is to be processed with no others.  Suspects left nothing, or the file that was written last; `partial` are
    the inputs that left something, `latest` is the last of them.  Both are empty where nothing tells inputs apart.
    """
    left = [key for key in keys if key in partial]
    if not keys or (not hung and len(left) in (0, len(keys))):
        return [], []
    others = [key for key in left if key != latest]
    together = set(others)
    return _parts([key for key in keys if key not in together], MANY_GROUPS if hung else FEW_GROUPS), others


def _parts(keys: Sequence[bytes], most: int) -> list[list[bytes]]:
    """Return the keys in `most` groups of about the same number, or one each if they are fewer."""
    count = min(most, len(keys))
    ends = [len(keys) * place // count for place in range(count + 1)]
    return [list(keys[start:end]) for start, end in itertools.pairwise(ends)]


def same(reason: str, keys: Collection[bytes]) -> str:
    """Return a reason without the names of the inputs and without numbers, to be compared with another's."""
    for key in sorted(keys, key=len, reverse=True):
        for name in map(os.fsdecode, (key, os.path.basename(key))):
            if name in reason:  # a batch may have thousands of names, and compiling a pattern takes long
                reason = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", reason)
    return re.sub(r"[0-9]+", "0", reason)


@dataclass
class Reasons:
    """Why inputs fail: tells each new reason once, and knows when every batch ends with the same one.

    `tell` writes a line for the person; with `keep_going` no reason stops the run.  `stop` is the line that says why it
    was stopped, "" if it wasn't; `why` is the reason in it, and `failed` are the inputs that failed for it.
    """

    tell: Callable[[str], None]
    keep_going: bool = False
    stop: str = ""
    why: str = ""
    failed: set[bytes] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)
    _first: str = ""
    _counted: set[bytes] = field(default_factory=set)
    _whole: dict[bytes, frozenset[bytes]] = field(default_factory=dict)
    _any_well: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new(self, reason: str, keys: Collection[bytes], line: str) -> None:
        """Tell the line if its reason is a new one; `keys` are the inputs that the reason may name."""
        plain = same(reason, keys)
        with self._lock:
            if plain in self._told or len(self._told) > MAX_TOLD:
                return
            self._told.add(plain)
            last = len(self._told) > MAX_TOLD
        self.tell("there are more reasons; the summary has all" if last else line)

    def went_well(self) -> None:
        """Some input of the run is done."""
        self._any_well = True

    def divided(self, keys: Collection[bytes]) -> bool:
        """Note that a batch failed and left some results; return whether it is a whole batch of several inputs.

        It is divided from now on, and the parts with the bad inputs may be processed first.  So the batch counts as
        failed only when all its inputs have failed.
        """
        with self._lock:
            if len(keys) == 1 or any(key in self._whole for key in keys):
                return False
            self._whole.update(dict.fromkeys(keys, frozenset(keys)))
            return True

    def every(self, batch: Batch, reason: str) -> bool:
        """Note that no input of a batch is done, all for this reason; return whether the run is to be stopped now.

        It is, once, when another batch with none of these inputs ended so before, and no input is done.  A batch
        that was divided has ended so when all its inputs have.
        """
        keys = [item.key for item in batch.inputs]
        plain = same(reason, [file.key for item in batch.inputs for file in item.files])
        with self._lock:
            if self._any_well or self.keep_going or self.stop:
                return False
            if plain != self._first:
                self._first, self.failed, self._counted = plain, set(), set()
            self.failed.update(keys)
            whole = frozenset[bytes]().union(*(self._whole.get(key, {key}) for key in keys))
            if not whole <= self.failed:
                return False
            is_second = bool(self._counted) and self._counted.isdisjoint(whole)
            self._counted |= whole
            if is_second:
                self.why = reason
                how = "ends" if reason.startswith(ENDED_WITH) else "fails:"
                self.stop = (
                    f"every batch {how} {reason.removeprefix(ENDED_WITH)}; stopped (--keep-going tries every input)"
                )
            return is_second

    def of(self, key: bytes) -> str:
        """Return why an input has no result that was given up when the run was stopped."""
        return self.why if key in self.failed else f"not tried: {self.stop}"
