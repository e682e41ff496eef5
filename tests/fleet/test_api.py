"""Runs from Python programs."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fanrun
from fanrun.fleet.errors import FleetError, UsageError
from tests.fleet.harness import ROOT, Fab, report
from tests.unit.pages import read
from tests.unit.samples import write_tree

EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(fab: Fab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with inputs in `dataset`, for a program that knows the fleet by its environment."""
    monkeypatch.setenv("FANRUN_HOME", str(fab.home))
    monkeypatch.setenv("FANRUN_FLEET", fab.fleet)
    write_tree(tmp_path / "dataset", tuple(b"%02d.txt" % number for number in range(20)))
    return tmp_path


def test_each_input_is_yielded_once_it_is_done(here: Path, program: str) -> None:
    runs = fanrun.run(here / "dataset", here / "dst", image=program, args=["each", "0.1"])
    first = next(runs)
    assert (first.error, first.files) == ("", (here / "dst" / first.input,))
    assert first.files[0].read_bytes() == (here / "dataset" / first.input).read_bytes()
    rest = list(runs)
    assert len({first.input, *(each.input for each in rest)}) == 20
    assert all(each.worker in ("worker-1", "worker-2") for each in rest)
    assert list(fanrun.run(here / "dataset", here / "dst", image=program, args=["each", "0.1"])) == []


def test_failed_inputs_are_yielded_and_raise_nothing(
    here: Path, program: str, caplog: pytest.LogCaptureFixture
) -> None:
    (here / "dataset" / "bad.txt").write_text("x")
    with caplog.at_level(logging.WARNING, "fanrun"):
        found = {
            each.input.name: each for each in fanrun.run(here / "dataset", here / "dst", image=program, args=["dies"])
        }
    assert len(found) == 21
    assert {name for name, each in found.items() if each.error} == {"bad.txt"}
    assert "can't stand" in found["bad.txt"].error
    assert found["bad.txt"].files == ()
    assert any("bad.txt" in record.getMessage() for record in caplog.records)


def test_a_loop_that_is_left_ends_the_run(here: Path, program: str) -> None:
    for _ in fanrun.run(here / "dataset", here / "dst", image=program, args=["each", "0.5"]):
        break
    left = report(here / "dst")
    assert 0 < left["done"] < 20
    assert left["left"] == 20 - left["done"]
    rest = list(fanrun.run(here / "dataset", here / "dst", image=program, args=["each", "0.5"]))
    assert len(rest) == left["left"]


def test_errors_are_those_of_the_tree(here: Path, program: str) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        next(fanrun.run(here / "nowhere", here / "dst", image=program))
    with pytest.raises(FleetError, match="there is no fleet blue"):
        next(fanrun.run(here / "dataset", here / "dst", image=program, fleet="blue"))
    with pytest.raises(TypeError, match="nosuch"):
        next(fanrun.run(here / "dataset", here / "dst", image=program, nosuch=1))


def test_the_example_of_the_page_runs(here: Path, program: str) -> None:
    (code,) = EXAMPLE.findall(read("docs/python.md"))
    code = code.replace('"media"', repr(program)).replace('["--width", "800"]', '["copy"]')
    argv = [sys.executable, "-c", f"import sys; sys.path.append({str(ROOT)!r})\n{code}"]
    done = subprocess.run(argv, cwd=here, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
    assert sorted(done.stdout.splitlines()) == [f"{n:02}.txt: {here}/output/{n:02}.txt" for n in range(20)]
