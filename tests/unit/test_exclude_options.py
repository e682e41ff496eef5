"""Which inputs are left out: globs as options, and in files as rsync reads them."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest

from fanrun.fanout.results.ledger import Ledger
from fanrun.fleet.errors import UsageError
from fanrun.tasks.exclude_options import excluded
from tests.unit.fab_world import FabWorld


def test_a_file_has_a_glob_on_each_line(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"# no\n; no\n\n  \n*.tmp\r\n a b \n[#]x\r\xff*\n-x\n+y\n")
    two.write_bytes(b"last")
    expected = ("first", "*.tmp", " a b ", "[#]x", os.fsdecode(b"\xff*"), "-x", "+y", "last")
    assert excluded(["first"], [str(one), str(two)]) == expected
    assert excluded([], []) == ()


@pytest.mark.parametrize("line", ["- *.tmp", "+ *.jpg", "!"])
def test_rules_of_rsync_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "file").write_text(f"# first\n{line}\n")
    with pytest.raises(UsageError) as caught:
        excluded([], [str(tmp_path / "file")])
    assert f"file', line 2: {line!r} is a rule of rsync; give patterns only" in str(caught.value)


def test_a_glob_that_matches_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a/\n")
    with pytest.raises(UsageError, match=r"file', line 1: 'a/' matches no file; write 'a/\*' for what is in"):
        excluded([], [str(tmp_path / "file")])


def test_a_run_leaves_them_out_and_a_retry_knows_them(fab_world: FabWorld) -> None:
    patterns, dst = fab_world.top / "patterns", fab_world.top / "excluded"
    patterns.write_text("# not these\nd/new*\n")
    argv = ["run", "--src={top}/src", f"--dst={dst}", f"--exclude-from={patterns}"]
    plan = json.loads(fab_world.fab(*argv, "--exclude=a*", "--dry-run", "--json").stdout)
    assert plan["inputs"] == 1
    assert fab_world.fab(*argv).returncode == 2, "the hosts are dead"
    with contextlib.closing(Ledger(dst / ".fanrun" / "ledger.db")) as ledger:
        last = ledger.last_run()
    assert last is not None
    assert last[2]["exclude"] == ["d/new*"]
