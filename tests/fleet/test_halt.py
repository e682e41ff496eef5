"""A run that --halt ends: what runs is finished, or ended, and the same command continues."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.fleet.harness import Runs, joblog, log, report

# Of one worker all inputs fail; those of the other take a while.
COMMAND = 'sh -c \'case $1 in *bad*) exit 3;; esac; sleep 0.1; cp "$1" "$2.out"\' sh {in} {out}'
NAMES = [f"{number:03}{'bad' if number % 2 else 'good'}" for number in range(200)]
PROCESSED = re.compile(r": process (worker-\d+\.\d+) \((\d+) inputs\)")


def incomplete(runs: Runs) -> list[str]:
    """Return the batches that a worker got, and of which not all inputs are done or failed."""
    settled = Counter(line["Batch"] for line in joblog(runs.dst))
    return [batch for batch, count in PROCESSED.findall(log(runs.dst)) if settled[batch] < int(count)]


@pytest.mark.long
@pytest.mark.parametrize("when", ["soon", "now"])
def test_a_run_ends_once_inputs_have_failed(runs: Runs, when: str) -> None:
    runs.write(*NAMES)
    argv = ["run", "--src", str(runs.src), "--dst", str(runs.dst), "--image", runs.shell, "--each", COMMAND]
    argv += ["--retries=0", "--jobs=1", "--keep-going"]
    done = runs.fab(*argv, f"--halt={when},fail=1", code=3)
    assert re.search(rf"error: halted: \d+ of 200 inputs have failed \(--halt {when},fail=1\); \d+ of 200", done.stderr)
    before = report(runs.dst)
    assert before["left"] > 0
    started = [batch for batch in incomplete(runs) if batch in {line["Batch"] for line in joblog(runs.dst)}]
    if when == "soon":
        assert before["done"] > 0
        assert started == [], "each batch that has begun was finished"
    else:
        assert incomplete(runs) != []
    runs.fab(*argv, "--halt=soon,fail=100%", code=1)
    after = report(runs.dst)
    assert (after["left"], after["kept"], len(after["failed"])) == (0, before["done"], 100)
    assert after["done"] + after["kept"] == 100
