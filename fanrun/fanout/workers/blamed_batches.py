"""Which batches may be the reason why a worker was lost."""

from __future__ import annotations

from fanrun.fanout.plan import Batch
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.batch_outcome import record
from fanrun.fanout.results.commit import give_up
from fanrun.fanout.results.faults import Cause
from fanrun.fanout.workers.job import Job
from fanrun.fanout.workers.pipeline import Worker


def blamed_batches(job: Job, worker: Worker) -> tuple[dict[str, int], Cause]:
    """Return the batches that may have made a worker fail, and what the cause is.

    The batches are {their names: into how many groups the inputs are divided}.  If it is known which input did it,
    that input fails.
    """
    if worker.failed_batch is not None:
        return {worker.failed_batch.name: 1}, Cause.WORKER
    batches = [batch for batch in worker.containers.slots.batches if job.scheduler.is_needed(batch)]
    if len(batches) > 1:  # each is processed by itself before any of them is blamed
        return {batch.name: 1 for batch in batches}, Cause.WORKER
    return _blame(job, worker, batches[0]) if batches else ({}, Cause.WORKER)


def _blame(job: Job, worker: Worker, batch: Batch) -> tuple[dict[str, int], Cause]:
    """Return what blamed_batches does for the only batch that was processed."""
    blame = job.blame
    cause = blame.failed(batch, worker.name, answers=False, worked=bool(worker.stats.done))
    if cause is Cause.INPUT:
        workers = blame.workers(batch.inputs[0].key)
        reason = f"{workers} did not survive processing it ({worker.lost})"
        attempt = Attempt(batch, worker.name)
        outcome = give_up(attempt, reason, job.scheduler, job.destination)
        record(outcome, job.destination)
        job.board.advance(outcome.settled)
        return {}, cause
    return {batch.name: 2 if cause is Cause.INPUTS else 1}, cause
