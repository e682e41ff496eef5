"""Batches that are judged and tried again until every input is settled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.plan import Batch, Input
from fanrun.fanout.results.container_end import (
    ContainerOutput,
    ReportLine,
)
from fanrun.fanout.results.judge import Judgement, judge
from fanrun.fanout.schedule.scheduler import Scheduler
from tests.unit.container_ends import ended
from tests.unit.schedulers import ScriptedPolicy, complete

RunOf = tuple[int, dict[bytes, ReportLine], list[bytes]]


def hunt(inputs: Sequence[Input], program: Callable[[Batch], RunOf]) -> tuple[Judgement, int]:
    """Process inputs until none has to be tried again; return the outcomes and the number of batches."""
    whole, scheduler, starts = Judgement(), Scheduler(policy=ScriptedPolicy()), 0
    scheduler.deal({"worker-1": inputs})
    while part := scheduler.next_batch("worker-1"):
        assert len(part.name) < 200, "its name is that of a folder on the worker"
        starts += 1
        assert starts < 100_000, "it never ends"
        code, report, paths = program(part)
        outcome = judge(part.inputs, ContainerOutput(ended(code), report, paths))
        assert scheduler.claim(outcome.results) == list(outcome.results), "processed and counted once"
        whole.results |= outcome.results
        whole.failed |= outcome.failed
        assert complete(scheduler, part, outcome.failed).keys() == outcome.failed.keys()
    assert scheduler.left == 0
    return whole, starts


def dies_at(bad: set[bytes], *, reports: bool) -> Callable[[Batch], RunOf]:
    """A program that ends at its first bad input; with `reports` it says which ones went well before."""

    def program(batch: Batch) -> RunOf:
        found = [item.key for item in batch.inputs]
        first = next((place for place, key in enumerate(found) if key in bad), len(found))
        done = found[:first]
        return int(first < len(found)), dict.fromkeys(done, ReportLine(True, "")) if reports else {}, done

    return program


@given(st.integers(1, 300), st.sets(st.integers(0, 299), max_size=6), st.booleans())
def test_bad_inputs_alone_fail_and_soon(count: int, places: set[int], reports: bool) -> None:
    found = [Input(b"%04d" % n, 1) for n in range(count)]
    bad = {b"%04d" % n for n in places if n < count}
    whole, starts = hunt(found, dies_at(bad, reports=reports))
    assert set(whole.failed) == bad
    assert set(whole.results) == {item.key for item in found} - bad
    # A batch that fails makes two; no more than one batch of each size fails for each bad input.
    assert starts <= 1 + len(bad) * (2 * math.ceil(math.log2(count)) + 1)


def test_a_program_that_manages_one_input_at_a_time_comes_through() -> None:
    """It leaks, say, and is killed at its second; the names of what is left must not outgrow a file's name."""
    found = [Input(b"%04d" % n, 1) for n in range(250)]

    def program(part: Batch) -> RunOf:
        first = part.inputs[0].key
        return int(len(part.inputs) > 1) * 137, {first: ReportLine(True, "")}, [first]

    whole, starts = hunt(found, program)
    assert set(whole.results) == {item.key for item in found}
    assert starts == 250


def test_an_all_bad_batch_is_failed_one_by_one() -> None:
    whole, starts = hunt([Input(b"%04d" % n, 1) for n in range(100)], lambda part: (1, {}, []))
    assert len(whole.failed) == 100
    assert starts == 199
