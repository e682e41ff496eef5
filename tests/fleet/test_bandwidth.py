"""--bwlimit on a real fleet: inputs, results and reference data take as long as the limit says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.fleet.harness import Runs, log, report

MIB = 1024**2
SENT = re.compile(r"hub: reference data ref: [\d,]+ bytes sent in ([\d.]+) s")


@pytest.mark.long
def test_a_run_sends_and_fetches_no_faster(runs: Runs, tmp_path: Path) -> None:
    runs.write("first")
    runs("cp * $1")  # the container image is there
    for number in range(8):
        (runs.src / f"{number}").write_bytes(os.urandom(MIB // 2))
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref" / "data").write_bytes(os.urandom(2 * MIB))
    runs("cp * $1", "--bwlimit=1m", "--mount", str(tmp_path / "ref"), "--exclude=first")
    # Each of the two workers has half of the limit; the first piece of each transfer is not limited.
    for worker in report(runs.dst)["workers"]:
        size = worker["bytes_in"] / (MIB / 2)
        assert worker["seconds"]["push"] > 0.8 * size, worker
        assert worker["seconds"]["pull"] > 0.8 * size, worker
    found = SENT.search(log(runs.dst))
    assert found, log(runs.dst)
    assert float(found[1]) > 1.6
