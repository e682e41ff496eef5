"""The commit of a batch: its results are checked, written into the ledger and renamed into DST."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence

from loguru import logger

from fanrun.fanout.results import judge, result_files
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.batch_outcome import BatchOutcome
from fanrun.fanout.results.container_end import ContainerOutput, Ending, explain
from fanrun.fanout.results.destination import NO_ROOM, Destination, unwritable
from fanrun.fanout.results.faults import divide, same
from fanrun.fanout.results.groups import as_ones
from fanrun.fanout.results.held import claim, release
from fanrun.fanout.results.judge import Judgement
from fanrun.fanout.results.report import shown
from fanrun.fanout.results.staged import Staged, check_worker, read_staged
from fanrun.fanout.schedule.completion import Completion
from fanrun.fanout.schedule.scheduler import Scheduler
from fanrun.fleet.errors import RunUnfinished


def commit_batch(attempt: Attempt, staging: str, scheduler: Scheduler, destination: Destination) -> BatchOutcome:
    """Judge what a batch left in staging and move what is good into DST.

    Each input counts once, whoever else had it.  Raises BatchFailed when the worker did not do its part,
    RunUnfinished when DST can't be written.
    """
    staged = read_staged(attempt, staging)
    return _Commit(attempt, staged, scheduler, destination).run()


def give_up(attempt: Attempt, reason: str, scheduler: Scheduler, destination: Destination) -> BatchOutcome:
    """Settle the only input of a batch that workers fail at; of several inputs each half is processed by itself."""
    outcome = BatchOutcome(attempt, Staged(Ending(1, "", 0.0, 0, None)))
    if len(attempt.keys) > 1:
        scheduler.complete(attempt.batch)
        return outcome
    (key,) = attempt.keys
    destination.reasons.new(reason, attempt.paths(), shown(f"{os.fsdecode(key)}: {reason}"))
    outcome.tries = scheduler.complete(attempt.batch, Completion([key], [key]))
    outcome.failed = dict.fromkeys(outcome.tries, reason)
    _release(outcome, list(outcome.failed), scheduler, destination)
    return outcome


class _Commit:
    """The steps of one batch's commit."""

    def __init__(self, attempt: Attempt, staged: Staged, scheduler: Scheduler, destination: Destination) -> None:
        self.attempt, self.staged, self.scheduler, self.destination = attempt, staged, scheduler, destination
        self.ending = staged.ending
        self.output = ContainerOutput(staged.ending, staged.report, staged.manifest, staged.links)
        self.report = as_ones(attempt.batch.inputs, self.output)
        self.judgement = self._judge()
        self.short_of_memory = self._short_of_memory()
        self.failed = self._failures()

    def run(self) -> BatchOutcome:
        """Take the steps in their order: what is written down comes before what depends on it."""
        suspects, others = self._suspects()
        hung = {key for group in suspects for key in group} if self.ending.late else set()
        self.failed |= {key: explain(self.ending) for key in hung if self._hung_elsewhere(key)}
        common = "" if self.scheduler.stopped else self._note_reasons()
        results = self.judgement.results
        claimed, rejected = claim(self.attempt, self.staged, results, self.scheduler, self.destination)
        self.failed |= rejected
        committed = {key: results[key] for key in claimed}
        blocked = self.destination.commit(self.attempt, self.staged, committed, self.staged.data)
        final = self._final(rejected)
        apart = [*self.judgement.apart, *suspects, others]
        completion = Completion(self.failed, final, apart, hung, self.short_of_memory)
        gone = self.scheduler.complete(self.attempt.batch, completion)
        outcome = BatchOutcome(self.attempt, self.staged, short_of_memory=self.short_of_memory)
        outcome.done = {key: paths for key, paths in committed.items() if key not in blocked}
        outcome.failed = {key: self.failed[key] for key in gone} | blocked
        outcome.tries = {key: self.scheduler.tries(key) + 1 for key in claimed} | gone
        self._finish(outcome, common)
        return outcome

    def _finish(self, outcome: BatchOutcome, common: str) -> None:
        """Do what may follow from the settled inputs; an error is part of the outcome, which is to be recorded."""
        try:
            # A program that was stopped may have left half a file; a batch that is tried again leaves all anew.
            is_held = any(key in self.destination.held for key in self.attempt.keys)
            if (outcome.done or outcome.failed or is_held) and self.ending.code == 0:
                self._keep_extra(outcome)
        except RunUnfinished as error:
            outcome.problem = error
            return
        _release(outcome, [*outcome.done, *outcome.failed], self.scheduler, self.destination)
        if outcome.problem is None and common and self.destination.reasons.every(self.attempt.batch, common):
            logger.warning(shown(self.destination.reasons.stop))
            outcome.given_up = self.scheduler.give_up_rest()

    def _judge(self) -> Judgement:
        """Decide what became of each input; raise BatchFailed if the worker did not do its part."""
        attempt, staged, destination = self.attempt, self.staged, self.destination
        judgement = judge.judge(
            [item for item in attempt.batch.inputs if item.key not in attempt.unreadable],
            self.output,
            destination.expected,
            destination.ownership.folders,
        )
        check_worker(attempt, staged.ending, judgement)
        if self.scheduler.stopped and staged.ending.code != 0:  # it ended with the run: only what it reported counts
            judgement.failed = {key: why for key, why in judgement.failed.items() if key in self.report}
        judge.add_full_hints(judgement.failed, attempt, staged.ending.log, destination.scratch)
        _warn_of_unusable(staged.odd, destination)
        return judgement

    def _short_of_memory(self) -> list[bytes]:
        """Return the inputs that were killed, or whose container was, beside others; they leave the judgement.

        The others may have taken the memory, so it is no failure yet.
        """
        if self.attempt.containers == 1 or self.scheduler.stopped:
            return []
        judgement, report = self.judgement, self.report
        keys = [key for key in judgement.failed if key in report and report[key].killed]
        if self.ending.was_killed:
            keys += [item.key for item in judgement.open] + [key for key in judgement.failed if key not in report]
            judgement.open, judgement.partial = [], {}
        for key in keys:
            judgement.failed.pop(key, None)
        return keys

    def _failures(self) -> dict[bytes, str]:
        """Return {key: reason} of the inputs that failed; those with damaged results leave the judgement's results."""
        if self.ending.cannot_start:
            return dict.fromkeys(self.attempt.keys, f"the program can't be started: {self.ending.said}")
        failed = self.judgement.failed | self.attempt.unreadable
        for key, paths in list(self.judgement.results.items()):
            reasons = (result_files.unfit(self.staged.data, path, self.staged.manifest[path]) for path in paths)
            if reason := next(filter(None, reasons), None):
                failed[key] = reason
                del self.judgement.results[key]
        return failed

    def _suspects(self) -> tuple[list[list[bytes]], list[bytes]]:
        """Divide the inputs of which nothing is known: (groups of those that may be the reason, the others)."""
        times = dict[bytes, int]()
        for key, paths in self.judgement.partial.items():
            for path in paths:
                with contextlib.suppress(OSError):
                    changed = os.stat(os.path.join(self.staged.data, path)).st_mtime_ns
                    times[key] = max(times.get(key, 0), changed)
        latest = max(times, key=lambda key: times[key], default=None)
        keys = [item.key for item in self.judgement.open]
        return divide(keys, self.judgement.partial, latest, hung=self.ending.late)

    def _hung_elsewhere(self, key: bytes) -> bool:
        worker = self.attempt.worker
        return self.destination.hung.get(key, worker) != worker

    def _final(self, rejected: Mapping[bytes, str]) -> set[bytes]:
        """Return the inputs that another try would not help."""
        final = {*self.attempt.unreadable, *self.judgement.permanent, *rejected}
        if self.ending.cannot_start:
            final |= self.failed.keys()
        if self.ending.late:  # a second timeout tells enough, if it is not the worker that hangs
            worker = self.attempt.worker
            final |= {key for key in self.failed if self.scheduler.has_failed_elsewhere(key, worker)}
            if len(self.attempt.keys) == 1:
                self.destination.hung.setdefault(self.attempt.keys[0], worker)
        return final

    def _note_reasons(self) -> str:
        """Tell of new reasons; return the one for which no input of the batch is done.

        Return "" if some input is done or there are several reasons.  Permanent failures don't count there: they tell
        of an input, not of how the program is run.
        """
        reasons, worker, keys, ending = self.destination.reasons, self.attempt.worker, self.attempt.keys, self.ending
        for key, reason in self.failed.items():
            reasons.new(reason, self.attempt.paths([key]), shown(f"{worker}: {os.fsdecode(key)}: {reason}"))
        is_open = bool(self.judgement.open) and not ending.cannot_start
        if is_open:
            paths = self.attempt.paths()
            line = f"{worker}: {explain(ending)} (a batch of {len(paths)} inputs)"
            reasons.new(explain(ending), paths, shown(line))
        if self.judgement.results or self.judgement.apart:
            reasons.went_well()
            return ""
        if self.judgement.partial and reasons.divided(keys):
            return ""
        found = {same(reason, self.attempt.paths([key])): reason for key, reason in self.failed.items()}
        if is_open:
            found[same(explain(ending), self.attempt.paths())] = explain(ending)
        is_for_all = len(self.judgement.partial) in (0, len(keys))
        is_for_all = is_for_all and not {*self.judgement.permanent, *self.attempt.unreadable}
        return found.popitem()[1] if len(found) == 1 and is_for_all else ""

    def _keep_extra(self, outcome: BatchOutcome) -> None:
        """Keep the files of a batch that belong to no input, apart from those of other batches."""
        target = os.fsencode(os.path.join(self.destination.extra, self.attempt.batch.name))
        for path in self.judgement.extra:
            reason = result_files.unfit(self.staged.data, path, self.staged.manifest[path])
            try:
                if not reason:
                    result_files.move_into_place(self.staged.data, target, path)
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise unwritable(error) from error
                reason = f"it can't be written ({error.strerror})"
            if reason:
                logger.warning("{!r}, which belongs to no input: {}", os.fsdecode(path), reason)
            else:
                outcome.extra += 1


def _release(outcome: BatchOutcome, settled: list[bytes], scheduler: Scheduler, destination: Destination) -> None:
    """Add what was committed of earlier batches, as it waited for these inputs; an error is part of the outcome."""
    try:
        for each in release(scheduler, destination, settled):
            outcome.released.append(each)
    except RunUnfinished as error:
        outcome.problem = error


def _warn_of_unusable(lines: Sequence[bytes], destination: Destination) -> None:
    """Warn once in a run of a line of a report that can't be used."""
    with destination.ownership.lock:
        if not lines or destination.told:
            return
        destination.told.append("report")
    text = lines[0][: judge.MAX_LINE_CHARS].decode(errors="replace")
    logger.warning(
        "the program's report has lines that can't be used, as {!r}: each is JSON with an input's path, and ok", text
    )
