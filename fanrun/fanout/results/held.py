"""Results that wait for other inputs: it is not known yet whose path it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.batch_outcome import BatchOutcome
from fanrun.fanout.results.destination import Destination, Held
from fanrun.fanout.results.staged import Staged
from fanrun.fanout.schedule.scheduler import Scheduler


def claim(
    attempt: Attempt, staged: Staged, results: dict[bytes, list[bytes]], scheduler: Scheduler, destination: Destination
) -> tuple[list[bytes], dict[bytes, str]]:
    """Settle the inputs whose results may be moved to DST now.

    Return their keys, and {key: reason} of the inputs whose results may never be moved there, which leave `results`.
    Results that must wait for another input are held.
    """
    claimed, rejected = list[bytes](), dict[bytes, str]()
    ownership = destination.ownership
    with ownership.lock:
        for key, paths in results.items():
            if reason := ownership.refusal(key, paths):
                rejected[key] = reason
            elif blockers := ownership.waits_for(key, paths):
                if scheduler.hold([key]):
                    folder = os.fsencode(os.path.join(destination.staging, "held", attempt.batch.name))
                    for path in paths:
                        destination.set_aside(staged.data, folder, path)
                    _wait(Held(key, paths, folder, attempt, staged, blockers), destination)
            elif scheduler.claim([key]):
                ownership.take(key, paths)
                claimed.append(key)
    for key in rejected:
        del results[key]
    return claimed, rejected


def release(scheduler: Scheduler, destination: Destination, settled: Iterable[bytes]) -> Iterator[BatchOutcome]:
    """Move results to DST that waited only for these settled inputs; yield what that settles, by their batches.

    An input whose path another one took meanwhile has failed.
    """
    while free := _free(scheduler, destination, settled):
        by_batch: dict[int, list[Held]] = {}
        for held, _ in free:
            by_batch.setdefault(id(held.attempt), []).append(held)
        reasons = {held.key: reason for held, reason in free if reason}
        for group in by_batch.values():
            first = group[0]
            good = {held.key: held.paths for held in group if held.key not in reasons}
            bad = {held.key: reasons[held.key] for held in group if held.key in reasons}
            bad |= destination.commit(first.attempt, first.staged, good, first.data)
            done = {key: paths for key, paths in good.items() if key not in bad}
            tries = {held.key: scheduler.tries(held.key) + 1 for held in group}
            yield BatchOutcome(first.attempt, first.staged, done, bad, tries)
        settled = [held.key for held, _ in free]


def _free(scheduler: Scheduler, destination: Destination, settled: Iterable[bytes]) -> list[tuple[Held, str]]:
    """Settle the held inputs that need not wait any more; return each with the reason why it fails, "" if it is done.

    If every input that is left is held, they wait for each other: then the first one is released.
    """
    with destination.ownership.lock:
        free = []
        for key in settled:
            for held in destination.waiting.pop(key, ()):
                held.blockers.discard(key)
                if not held.blockers and held.key in destination.held and not _waits_again(held, destination):
                    free.append(held)
        if not free and destination.held and scheduler.left == len(destination.held):
            free = [min(destination.held.values(), key=lambda held: held.key)]
        found = []
        for held in sorted(free, key=lambda held: held.key):
            del destination.held[held.key]
            reason = destination.ownership.refusal(held.key, held.paths)
            if not reason:
                destination.ownership.take(held.key, held.paths)
            scheduler.release([held.key])
            found.append((held, reason))
        return found


def _wait(held: Held, destination: Destination) -> None:
    destination.held[held.key] = held
    for blocker in held.blockers:
        destination.waiting.setdefault(blocker, []).append(held)


def _waits_again(held: Held, destination: Destination) -> bool:
    """Return whether an input has to wait for others than those that it waited for, and note them."""
    held.blockers.update(destination.ownership.waits_for(held.key, held.paths))
    for blocker in held.blockers:
        destination.waiting.setdefault(blocker, []).append(held)
    return bool(held.blockers)
