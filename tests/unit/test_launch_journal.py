"""Launches that were begun, as a file of the fleet's folder has them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from provision.providers.ec2.api import LAG
from provision.providers.ec2.launch_journal import LaunchJournal


def test_a_launch_is_known_until_it_is_seen_through(tmp_path: Path) -> None:
    journal = LaunchJournal(tmp_path / "launching.json")
    assert (journal.tokens(), journal.listing_delay() <= 0) == (set(), True)
    first, second = journal.add(), journal.add()
    journal.remove(first)
    again = LaunchJournal(tmp_path / "launching.json")
    assert again.tokens() == {second}
    assert LAG - 10 < again.listing_delay() <= LAG
    again.clear()
    assert journal.tokens() == set()


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff", b'{"tokens": 1, "time": 2}', b'{"tokens": [], "time": "x"}'])
def test_a_damaged_file_stands_for_a_launch_that_is_waited_for(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "launching.json"
    path.write_bytes(text)
    journal = LaunchJournal(path)
    assert len(journal.tokens()) == 1
    assert LAG - 10 < journal.listing_delay() <= LAG + (path.stat().st_mtime - time.time()) + 1
