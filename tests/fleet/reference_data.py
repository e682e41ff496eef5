"""A fleet for reference data, and data for it."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Iterator
from pathlib import Path

from tests.fleet.harness import Fab, Runs, log

KEPT = "/var/lib/fanrun/reference"
HOSTS = ("hub", "worker-1", "worker-2")
LOOKS = """for file in *; do
  cat /words/list >$1/$file; touch /words/x /words/list || echo no >>$1/$file
  cat "/model-1/it is/big" | wc -c >>$1/$file; /model-1/tool >>$1/$file
done"""
WORDS_OF_BIG = "for file in *; do cat /big/list | wc -c >$1/$file; done"
READS = "for file in *; do cat /words/list >$1/$file; done"


@contextlib.contextmanager
def pair_of_workers(top: Path) -> Iterator[Fab]:
    """Make a fleet of two workers that tests may change."""
    fab = Fab(top / "home", f"{top.name}-{top.parent.name[-8:]}".lower().replace("_", "-").strip("-"))
    try:
        fab("up", "--hosts=2")
        yield fab
    finally:
        fab("down")


def runs_without_data(fab: Fab, shell: str, top: Path) -> Runs:
    """Return runs of two inputs on a fleet, where nothing is kept from now on."""
    fab("clean", "--yes")
    runs = Runs(fab, shell, top)
    runs.write("a", "b")
    return runs


class Data:
    """Two folders of reference data."""

    def __init__(self, top: Path) -> None:
        self.words, self.model = top / "some words", top / "model-1"
        (self.model / "it is").mkdir(parents=True)
        self.words.mkdir()
        (self.words / "list").write_text("one\n")
        (self.model / "it is" / "big").write_bytes(random.Random(1).randbytes(8_000_000))
        (self.model / "tool").write_text("#!/bin/sh\necho runs\n")
        (self.model / "tool").chmod(0o750)
        for number in range(20):
            (self.model / f"{number} it's").write_bytes(random.Random(number).randbytes(100_000))

    @property
    def options(self) -> list[str]:
        return ["--mount", f"{self.words}:words", "--mount", str(self.model)]


def sent(dst: Path) -> list[int]:
    """Return the bytes of each folder that the latest run has sent to the hub."""
    return [int(count.replace(",", "")) for count in re.findall(r"reference data \S+: ([\d,]+) bytes sent", log(dst))]
