"""What runs a command for each input on a worker, under the shells that a container image may have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout import each
from fanrun.fanout.results.container_end import parse_report
from fanrun.fanout.worker_files.each import Ends, make_folders
from tests.unit.samples import HOSTILE, write_tree

EVERY_BYTE = bytes(number for number in range(1, 256) if number not in b"/")
"""In a name of several parts, as a name has at most 255 bytes."""
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}


@dataclass
class Batch:
    """A batch on a worker, whose container is a shell on this machine."""

    top: Path
    shell: list[str]

    def run(self, *words: str, jobs: int = 1, keys: tuple[bytes, ...] = (b"a",)) -> subprocess.CompletedProcess[bytes]:
        """Run a command for each input."""
        source, target = self.top / "batch.in", self.top / "batch.out"
        write_tree(source, keys)
        (target / "data").mkdir(parents=True)
        (target / "report.jsonl").touch()
        argv = each.argv(words, str(source), str(target))
        argv[6] = str(jobs)
        program = [*self.shell, each.script(str(source)), str(jobs)]
        environment = os.environ | {"HOME": str(self.top)}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:  # pipes could be kept open
            done = subprocess.run(
                [*argv, *program],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=30,
                check=False,
            )
            out.seek(0)
            err.seek(0)
            assert not Path(each.script(str(source))).exists()
            return subprocess.CompletedProcess(words, done.returncode, out.read(), err.read())

    def report(self) -> dict[str, dict[str, Any]]:
        """Return the lines of the report by the paths in them; each input has one."""
        lines = [json.loads(line) for line in (self.top / "batch.out" / "report.jsonl").read_text("ascii").splitlines()]
        found = {line["path"]: line for line in lines}
        assert len(found) == len(lines)
        return found


@pytest.fixture(params=SHELLS)
def batch(tmp_path: Path, request: pytest.FixtureRequest) -> Batch:
    return Batch(tmp_path, SHELLS[request.param])


@pytest.mark.parametrize("jobs", [1, 3])
def test_commands_get_any_name_as_it_is(batch: Batch, jobs: int) -> None:
    names = tuple(EVERY_BYTE[start : start + 60] for start in range(0, 255, 60))
    keys = (*HOSTILE, *names, b"a.tar.gz", b".hidden", b"d.x/plain", "café/ä.b".encode())
    fields = ["{in}", "{out}.x", "{stem}", "{name}", "{folder}", "-{name}-{{in}}", "", "it's {{ $HOME `id` \\ }}"]
    done = batch.run("printf", "%s\\0", *fields, jobs=jobs, keys=keys)
    assert (done.returncode, done.stderr) == (0, b"")
    expected = list[tuple[bytes, ...]]()
    for key in keys:
        folder, name = os.path.split(key)
        stem = os.path.splitext(name)[0]
        out = os.path.join(b"/out", folder, stem)
        words = [b"/in/" + key, out + b".x", stem, name, folder or b".", b"-" + name + b"-{in}", b""]
        expected.append((*words, b"it's { $HOME `id` \\ }"))
    found = iter(done.stdout.split(b"\0")[:-1])
    assert sorted(zip(*[found] * len(fields), strict=True)) == sorted(expected)
    assert {os.fsencode(path) for path in batch.report()} == set(keys)
    report = parse_report((batch.top / "batch.out" / "report.jsonl").read_bytes())
    assert {key for key, line in report.items() if line.ok} == set(keys)
    folders = {os.fsencode(path.relative_to(batch.top / "batch.out/data")) for path in batch.top.rglob("data/**/*")}
    assert folders == {b"deep", b"deep/er", b"- dash", b"- dash/# hash", b"sp ace", b"sp ace/qu'o\"te", b"dir\xff"} | {
        b"d.x",
        "café".encode(),
    }


def test_a_failure_has_its_exit_code_and_the_last_line(batch: Batch) -> None:
    script = r"""case $1 in
      a) echo one >&2; printf 'two\n\n  \n' >&2; exit 3 ;;
      b) printf 'half a line' >&2; exit 4 ;;
      c) exit 5 ;;
      d) printf 'frame 1\rframe 2\r' >&2; printf 'bad \377 byte\n' >&2; kill -9 $$ ;;
      e) echo fine >&2 ;;
      f) exit 0 ;;
      g) echo "to stdout"; exit 6 ;;
    esac"""
    done = batch.run("sh", "-c", script, "sh", "{name}", keys=(b"a", b"b", b"c", b"d", b"e", b"f", b"g"))
    assert done.returncode == 1
    assert done.stdout == b"to stdout\n"
    assert done.stderr == b"one\ntwo\n\n  \nhalf a line\nframe 1\rframe 2\rbad \xff byte\nfine\n"
    report = batch.report()
    assert {path: (line["ok"], line["error"]) for path, line in report.items()} == {
        "a": (False, "exit 3: two"),
        "b": (False, "exit 4: half a line"),
        "c": (False, "exit 5"),
        "d": (False, "exit 137, it was killed, as the memory limit does: bad \ufffd byte"),
        "e": (True, None),
        "f": (True, None),
        "g": (False, "exit 6"),
    }
    assert [path for path, line in report.items() if line.get("killed")] == ["d"]


def test_lines_of_commands_that_run_at_once_are_no_reason(batch: Batch) -> None:
    done = batch.run("sh", "-c", "echo why >&2; exit 3", jobs=2, keys=(b"a", b"b", b"c"))
    assert (done.returncode, done.stderr) == (1, b"why\n" * 3)
    assert [line["error"] for line in batch.report().values()] == ["exit 3"] * 3


def test_commands_run_at_the_same_time_and_each_input_once(batch: Batch) -> None:
    """Each waits until the two others have begun."""
    script = 'cd "$1"; : >began.$2; until [ -e began.a ] && [ -e began.b ] && [ -e began.c ]; do sleep 0.01; done'
    done = batch.run("sh", "-c", script, "sh", str(batch.top), "{name}", jobs=3, keys=(b"a", b"b", b"c"))
    assert done.returncode == 0
    assert set(batch.report()) == {"a", "b", "c"}


@pytest.mark.parametrize("word", ["exit", "each", "each_take", "return", "cd", ":"])
def test_a_word_of_the_shell_is_no_command(batch: Batch, word: str) -> None:
    done = batch.run(word, "0", keys=(b"a", b"b"))
    assert done.returncode == 1
    assert [line["ok"] for line in batch.report().values()] == [False, False]
    assert all(line["error"].startswith(f"exit 127: {word}: ") for line in batch.report().values())


def test_what_ran_when_the_container_was_stopped_has_failed(batch: Batch) -> None:
    """Others, which did not begin, have not."""
    script = 'case $2 in b) echo thinking >&2; : >"$1/batch.out/late"; kill -9 $PPID ;; esac'
    done = batch.run("sh", "-c", script, "sh", str(batch.top), "{name}", keys=(b"a", b"b", b"c"))
    assert done.returncode == 137
    assert {path: line["error"] for path, line in batch.report().items()} == {
        "a": None,
        "b": "it finished nothing within the timeout and was stopped: thinking",
    }


def test_a_container_that_is_killed_tells_of_what_has_ended(batch: Batch) -> None:
    script = "case $1 in b) kill -9 $PPID ;; esac"
    done = batch.run("sh", "-c", script, "sh", "{name}", keys=(b"a", b"b", b"c"))
    assert (done.returncode, set(batch.report())) == (137, {"a"})


def test_a_program_that_can_not_be_run_is_told(batch: Batch) -> None:
    (batch.top / "plain").write_text("")
    batch.run(str(batch.top / "plain"), "{in}")
    assert batch.report()["a"]["error"].startswith(f"exit 126: {batch.top}/plain: ")


def test_seconds_are_measured(batch: Batch) -> None:
    batch.run("sleep", "0.3")
    assert 0.29 <= batch.report()["a"]["seconds"] < 30


def test_commands_have_the_variables_of_the_image(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANRUN_REPORT", "/report.jsonl")
    monkeypatch.setenv("each", "mine")
    monkeypatch.setenv("IFS", "a")
    batch.run("sh", "-c", 'echo "${FANRUN_REPORT-none} $each" >&2; exit 1')
    assert batch.report()["a"]["error"] == "exit 1: none mine"


def test_a_command_reads_nothing_and_has_no_files_of_the_loop(batch: Batch) -> None:
    script = "cat; for file in /proc/self/fd/*; do echo ${file##*/}; done | sort -n | tail -n 1"
    done = batch.run("sh", "-c", script)
    assert (done.returncode, done.stdout) in [(0, b"3\n"), (0, b"2\n")]


def test_what_a_command_left_running_keeps_nobody_waiting(batch: Batch) -> None:
    done = batch.run("sh", "-c", "sleep 100 & echo went >&2; exit 3", keys=(b"a", b"b"))
    assert done.returncode == 1
    assert [line["error"] for line in batch.report().values()] == ["exit 3: went"] * 2
    assert max(line["seconds"] for line in batch.report().values()) < 50


def test_a_chatty_command_is_heard_to_the_end(batch: Batch) -> None:
    script = "import sys; sys.stderr.write('x' * 300_000 + chr(10) + 'y' * 100_000); sys.exit(1)"
    done = batch.run(sys.executable, "-c", script)
    assert done.stderr == b"x" * 300_000 + b"\n" + b"y" * 100_000 + b"\n"
    assert batch.report()["a"]["error"] == "exit 1: " + "y" * 500


def test_a_command_that_makes_stderr_non_blocking_and_fills_it(batch: Batch) -> None:
    fill = "  while True: os.write(2, b'z' * 4095 + bytes([10]))"
    script = f"import os, sys\nos.set_blocking(2, False)\ntry:\n{fill}\nexcept OSError: sys.exit(7)"
    done = batch.run(sys.executable, "-c", script, keys=(b"a", b"b", b"c"))
    assert done.returncode == 1
    assert [line["error"][:8] for line in batch.report().values()] == ["exit 7: "] * 3


def test_the_folders_of_results_belong_to_the_program(tmp_path: Path) -> None:
    owner = (os.getuid() or 65532, os.getgid() or 65533)  # only root can give a file to another
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", *owner)
    make_folders(os.fsencode(tmp_path / "data"), [b"a/b/c", b"a/d/e", b"f"])
    owners = {str(path.relative_to(tmp_path)): (path.stat().st_uid, path.stat().st_gid) for path in tmp_path.rglob("*")}
    assert owners == dict.fromkeys(("data", "data/a", "data/a/b", "data/a/d"), owner)


@given(
    st.lists(st.sampled_from([b"one\n", b"two", b"\r", b"MARK 0 3 7\n", b"MARK 1 0 100\n", b"MA", b"\n"])), st.data()
)
def test_ends_are_found_wherever_the_data_are_cut(pieces: list[bytes], data: st.DataObject) -> None:
    """What is passed on and reported does not depend on how the data arrive."""
    text, found = b"".join(pieces), []
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    for starts in ([0], [0, *cuts]):
        with tempfile.NamedTemporaryFile() as report:
            ends = Ends(os.fsencode(report.name), b"MARK ", [b"a", b"b"], alone=True)
            passed = b"".join(
                ends.take(text[start:end]) for start, end in zip(starts, [*starts[1:], None], strict=True)
            )
            found.append((passed + ends.rest, report.read()))
    assert found[0] == found[1]
    assert b"MARK 0 3 7\n" not in found[0][0]
    assert found[0][1].count(b"\n") == sum(piece.startswith(b"MARK") for piece in pieces)


def test_what_is_no_end_of_a_command_is_not_reported(tmp_path: Path) -> None:
    (tmp_path / "report").touch()
    ends = Ends(os.fsencode(tmp_path / "report"), b"MARK ", [b"a"], alone=True)
    assert ends.take(b"MARK 1 0 1\nMARK\nMARK 0 0\nMARK x y z\nnone\n") == b"MARK\nnone\n"
    assert (tmp_path / "report").read_bytes() == b""
