"""The lines of one worker's log: as far as they were shipped from the hub, the others from the worker itself."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator

from loguru import logger

from fanrun.fanout.results.log_fresh import Fresh, Mark, check_of
from fanrun.fanout.results.log_lines import Line, Source, after_torn, is_torn, parse
from fanrun.fanout.results.log_remote import RemoteFile, in_order, shipped_offset, split, split_shipped
from fanrun.fleet.errors import HostError

QUIET = 5.0
"""Seconds without a new line at the hub after which the worker is asked whether it has one."""
REST = 15.0
"""Seconds for which a worker that did not answer is not asked again."""
ONLY_SHIPPED = "only what was shipped to the hub is shown"
NO_LOG = "it has no log of this run, or none any more"


class WorkerLog:
    """Reads a run's log of one worker, part by part.

    While the run goes on the hub is read as far as it goes, and then the worker from there: at first, and whenever the
    hub has had nothing new for a while. Once the run has ended the worker is read, and the hub only if the worker can't
    be. `is_at_end` is about the last part; `problem` says why lines may be missing.
    """

    def __init__(
        self,
        own: RemoteFile,
        shipped: RemoteFile | None,
        fresh: Fresh,
        run: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own, self._shipped, self._fresh, self._run, self._clock = own, shipped, fresh, run, clock
        self._host = own.remote.host.name
        self._error: HostError | None = None
        self._is_own_turn = shipped is None
        self._is_last = self._is_torn = self._is_distrusted = self._was_asked = self._is_hub_away = False
        self._heard, self._next_question = clock(), clock()
        self.is_at_end = False

    @property
    def problem(self) -> str:
        """Why lines may be missing, "" if none are."""
        return f"{self._error}; {ONLY_SHIPPED}" if self._error and self._shipped else str(self._error or "")

    def read_more(self, *, is_last: bool) -> Source:
        """Return the next part, which must be read to its end before the next one; `is_last` after the run has ended.

        Raises HostError if its lines can be had neither from the worker nor from the hub.
        """
        if is_last and not self._is_last:
            self._is_last = self._is_own_turn = True
            self._error, self.is_at_end = None, False
        elif is_last and self.is_at_end:
            return Source("", lambda: iter(()))
        if self._is_own_turn or self._shipped is None:
            try:
                return self._read_own()
            except HostError as error:
                if self._shipped is None:
                    raise
                self._give_up_own(error)
        return self._read_shipped(self._shipped)

    def read_first(self, *, is_last: bool) -> Source:
        """Return the first part, and connect to the worker where it will be asked later, one after the other."""
        part = self.read_more(is_last=is_last)
        if not self._is_last and self._shipped and not self._is_hub_away:
            try:
                self._own.remote.read(["true"], 0)
            except HostError as error:
                self._give_up_own(error)
                self.is_at_end = self._shipped.is_at_end
        return part

    def _give_up_own(self, error: HostError) -> None:
        self._error, self._is_own_turn = error, False
        self._next_question = self._clock() + REST

    def _read_own(self) -> Source:
        """Return the next lines that the worker has."""
        mark = self._jump()
        data = self._own.read_more()
        if mark and (self._own.start != mark.offset or not _begins_with(data, mark)):
            # What the hub has is not of this log: the worker was made anew, or another host has sent it.
            self._is_distrusted = True
            if self._own.start:
                self._own.offset = 0
                data = self._own.read_more()
        self._error = None
        if not self._own.is_there and (self._shipped or self._is_last):
            self._error = HostError(NO_LOG, host=self._host)
            if self._shipped:
                raise self._error
        self.is_at_end = self._own.is_at_end
        self._is_own_turn = self._is_hub_away or not self.is_at_end
        return self._source(data, is_shipped=False)

    def _jump(self) -> Mark | None:
        """Let the worker be read from the last line on that the hub has; returns that line if it does."""
        if self._is_torn:  # the worker was not there when the hub's torn line was read
            self._is_torn, self._own.offset = False, 0
            return None
        mark, place = self._fresh.last, self._own.offset
        if mark is None or self._is_distrusted or mark.offset <= place or not (place or self._fresh.has_start):
            return None
        self._own.offset = mark.offset
        return mark

    def _read_shipped(self, shipped: RemoteFile) -> Source:
        """Return the next lines that the hub has, and decide whether it is the worker's turn then."""
        now = self._clock()
        try:
            data = in_order(shipped.read_more())
        except HostError as error:
            if self._error and (self._is_last or now < self._next_question):  # neither answers
                raise self._error from error
            logger.debug("{}: {}", shipped.remote.host.name, error)
            self._is_hub_away = self._is_own_turn = True
            return self.read_more(is_last=self._is_last)
        self._is_hub_away, self.is_at_end = False, shipped.is_at_end
        if data:
            self._heard = now
        if self.is_at_end and not self._is_last and now >= self._next_question:
            self._is_own_turn = not self._was_asked or now - self._heard >= QUIET
            self._was_asked = self._was_asked or self._is_own_turn
            self.is_at_end = not self._is_own_turn
        return self._source(data, is_shipped=True)

    def _source(self, data: bytes, *, is_shipped: bool) -> Source:
        start = next((line.time for line in map(parse, io.BytesIO(data)) if line), "")
        if is_shipped:
            return Source(start, lambda: self._shipped_lines(data))
        place = self._own.start
        return Source(start, lambda: self._own_lines(data, place))

    def _own_lines(self, data: bytes, place: int) -> Iterator[Line]:
        """Yield the lines that are new; they are parsed one by one, as lines take much more memory than their text."""
        for offset, text in split(data, place):
            line = parse(text)
            # Without the hub no line comes twice.
            if line and self._is_own(line) and self._fresh.takes(line, offset if self._shipped else -1):
                yield line

    def _shipped_lines(self, data: bytes) -> Iterator[Line]:
        """Yield the lines that are new, up to one that is torn, if the worker can be asked for it."""
        place = mark.offset if (mark := self._fresh.last) else 0
        for offset, text in split_shipped(data):
            line = parse(text)
            if line is None and is_torn(text):
                if place >= self._own.offset and self._turns_to_worker():
                    return
                text = after_torn(text)
                line, offset = parse(text), shipped_offset(text)
            if line and self._is_own(line):
                offset = offset if self._is_placed(line) else -1
                place = max(place, offset)
                if self._fresh.takes(line, offset):
                    yield line

    def _turns_to_worker(self) -> bool:
        """Make it the worker's turn, and let the hub's last part be read again after it, if the worker can be asked."""
        if self._is_last or self._shipped is None or self._clock() < self._next_question:
            self._is_torn = True
            return False
        self._shipped.offset = self._shipped.start
        self._is_own_turn, self.is_at_end = True, False
        return True

    def _is_placed(self, line: Line) -> bool:
        """Return whether the place that a line at the hub names is one in this log."""
        return str(line.record.get("file", "")).rpartition("/")[2] == f"{self._run}.jsonl"

    def _is_own(self, line: Line) -> bool:
        """Return whether a line says that it is of this run and worker: a hostile host can send any line to the hub."""
        of_batch = line.batch.rpartition(".")[0]
        return line.host == self._host and line.record.get("run") == self._run and of_batch in ("", self._host)


def _begins_with(data: bytes, mark: Mark) -> bool:
    line = parse(data[: data.find(b"\n") + 1])
    return line is not None and check_of(line) == mark.check
