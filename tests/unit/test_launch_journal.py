"""Launches that were begun, as a file of the fleet's folder has them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from provision.providers.ec2.api import LAG
from provision.providers.ec2.launch_journal import Begun


def test_a_launch_is_known_until_it_is_seen_through(tmp_path: Path) -> None:
    begun = Begun(tmp_path / "launching.json")
    assert (begun.tokens(), begun.lag() <= 0) == (set(), True)
    first, second = begun.note(), begun.note()
    begun.refused(first)
    again = Begun(tmp_path / "launching.json")
    assert again.tokens() == {second}
    assert LAG - 10 < again.lag() <= LAG
    again.done()
    assert begun.tokens() == set()


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff", b'{"tokens": 1, "time": 2}', b'{"tokens": [], "time": "x"}'])
def test_a_damaged_file_stands_for_a_launch_that_is_waited_for(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "launching.json"
    path.write_bytes(text)
    begun = Begun(path)
    assert len(begun.tokens()) == 1
    assert LAG - 10 < begun.lag() <= LAG + (path.stat().st_mtime - time.time()) + 1
