"""The options --group-by and --group-size of the real `fab run`."""

from __future__ import annotations

import json

import pytest

from tests.unit.fab_world import FabWorld
from tests.unit.samples import write_tree


def test_a_dry_run_shows_the_groups(fab_world: FabWorld) -> None:
    write_tree(fab_world.top / "scans", (b"a.tfw", b"a.tif", b"b.tfw", b"b.tif", b"c.tif"))
    argv = ["run", "--src={top}/scans", "--dst={top}/planned", "--dry-run", "--group-by=stem"]
    shown = fab_world.fab(*argv)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "2 groups of inputs that are processed as one:\n  a.tfw, a.tif\n  b.tfw, b.tif\n" in shown.stdout
    plan = json.loads(fab_world.fab(*argv, "--json", "--group-size=2").stdout)
    assert plan["groups"] == [["a.tfw", "a.tif"], ["b.tfw", "b.tif"]]
    assert plan["remarks"] == ["1 group does not have 2 files, as c.tif: not processed"]
    assert plan["inputs"] == sum(share["inputs"] for share in plan["workers"].values()) == 4
    neighbours = fab_world.fab(*argv[:-1])
    assert "4 of 5 inputs have the same stem as others, as a.tfw, a.tif, and are processed" in neighbours.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--group-by=(", "--group-by '(' is neither stem nor folder nor a regular expression"),
        ("--group-by=.*", "--group-by '.*' has no group; write what files have in common in parentheses"),
        ("--group-by=(x).*", "--group-by '(x).*' matches no input, as 'a.jpg'"),
        ("--group-size=2", "--group-size needs --group-by"),
        ("--group-by=stem --group-size=1", "--group-size=1: give a whole number from 2 to 2000"),
        ("--group-by=stem --expect={folder}/x", "all inputs would have the same result"),
    ],
)
def test_bad_options_are_told_in_a_line(fab_world: FabWorld, options: str, words: str) -> None:
    done = fab_world.fab("run", "--src={top}/src", "--dst={top}/planned", *options.split(), "--dry-run")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (fab_world.top / "planned").exists()
