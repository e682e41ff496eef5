"""What a batch came to, and the way of its results into DST."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout import commands
from fanrun.fanout.commands import MIB, SHM, TMP, USUAL, BatchFolder, LogSource, Program, Scratch
from fanrun.fanout.plan import Batch, Input
from fanrun.fanout.results.container_end import Ending, ReportLine, explain, parse_ending, parse_manifest, parse_report
from fanrun.fanout.results.judge import KEPT_LINES, MAX_LINE_CHARS, Judgement, judge, tell_full, words_about
from fanrun.fanout.results.result_files import hash_file, move_into_place, safe, unfit
from fanrun.fanout.schedule.scheduler import Scheduler
from tests.unit.samples import HOSTILE, PROBE, read_tree, write_filter, write_tree
from tests.unit.schedulers import ScriptedPolicy, complete

ROOT = Path(__file__).resolve().parents[2]
DIGEST = "0123456789abcdef" * 4


def ended(code: int, log: str = "some words\nlast words\n") -> Ending:
    """An end with room to spare."""
    return Ending(code, log, 1.0, 10**9, 10**6)


# Few names in few folders, so that results often are somebody's.
stems = st.sampled_from([b"a", b"ab", b"a.b", b".a", b"1", b"10", b"\xff"])
keys = st.builds(
    lambda folder, stem, end: folder + stem + end,
    st.sampled_from([b"", b"d/", b"d/e/"]), stems, st.sampled_from([b"", b".jpg", b".png", b"-2.jpg", b".tar.gz"]),
)  # fmt: skip
inputs = st.lists(keys, unique=True, min_size=1, max_size=8).map(lambda found: [Input(key, 1) for key in sorted(found)])
paths = st.lists(keys, unique=True, max_size=8)
lines = st.builds(ReportLine, st.booleans(), st.sampled_from(["", "too dark"]), st.sampled_from([None, 0.5]))
reports = st.dictionaries(keys, lines, max_size=8)


# ---- what comes from the worker may be anything


@given(st.binary(max_size=200))
def test_a_garbled_manifest_is_read(data: bytes) -> None:
    parse_manifest(data)
    parse_manifest(data + b"  ./" + data)


@given(st.dictionaries(st.binary(min_size=1, max_size=20).filter(lambda path: 0 not in path), st.just(DIGEST)))
def test_a_manifest_is_what_sha256sum_wrote(manifest: dict[bytes, str]) -> None:
    data = b"".join(b"%s  ./%s\0" % (digest.encode(), path) for path, digest in manifest.items())
    assert parse_manifest(data) == manifest


FIELDS = ["path", "ok", "error", "seconds", ""]
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "ok", "error", "seconds", ""]), inner)
    ),
    max_leaves=8,
)


@given(st.one_of(st.binary(max_size=200), json_values.map(lambda value: json.dumps(value).encode())))
def test_a_garbled_report_is_read(data: bytes) -> None:
    good = b'\n{"path": "good", "ok": true}\n'
    found = parse_report(data + good + data)
    assert b"good" in found
    assert {(type(line.ok), type(line.error)) for line in found.values()} == {(bool, str)}
    assert all(line.seconds is None or line.seconds >= 0 for line in found.values())


@pytest.mark.parametrize(
    "data",
    [b"[" * 200_000, b'{"path":' * 200_000, b'{"path": "\\ud800", "ok": true}',
     b'{"path": "a", "ok": %s}' % (b"9" * 9999)],
    ids=["deep list", "deep object", "lone surrogate", "long number"],
)  # fmt: skip
def test_a_malicious_report_is_passed_over(data: bytes) -> None:
    assert set(parse_report(data + b'\n{"path": "good", "ok": true}')) <= {b"good", b"a"}


def test_a_report_is_read_line_by_line_and_the_last_one_wins() -> None:
    lines = [
        b'{"path": "a", "ok": false, "error": "first try"}', b"Warning: not JSON", b"", b'{"path": "a", "ok": true}',
        b'{"path": "caf\\u00e9\\udcff", "ok": false}', b'{"path": "n\\nl", "ok": "yes", "error": 7}', b'{"path": "cut',
        b'{"path": "b", "ok": true, "seconds": 1.5}', b'{"path": "c", "ok": true, "seconds": -1}',
        b'{"path": "d", "ok": true, "seconds": "long"}', b'{"path": "e", "ok": true, "seconds": 0}',
    ]  # fmt: skip
    assert parse_report(b"\n".join(lines)) == {
        b"a": ReportLine(True, ""), b"caf\xc3\xa9\xff": ReportLine(False, ""), b"n\nl": ReportLine(False, "7"),
        b"b": ReportLine(True, "", 1.5),
        b"c": ReportLine(True, ""), b"d": ReportLine(True, ""), b"e": ReportLine(True, "", 0.0),
    }  # fmt: skip


# ---- the fate of every input


@given(inputs, st.sampled_from([0, 1, 137]), reports, paths)
def test_every_input_has_one_fate(
    given_inputs: list[Input], code: int, report: dict[bytes, ReportLine], given_paths: list[bytes]
) -> None:
    outcome = judge(given_inputs, ended(code), report, given_paths)
    apart = [key for group in outcome.apart for key in group]
    fates = [*outcome.results, *outcome.failed, *(item.key for item in outcome.open), *apart]
    assert not apart or len(outcome.apart) > 1 or len(apart) < len(given_inputs), (
        "they are not tried again as they were"
    )
    assert sorted(fates) == sorted(item.key for item in given_inputs)
    assert all(outcome.failed.values()), "a reason for each"
    assert all(outcome.results.values()), "a result for each"
    assert not (outcome.open and code == 0)
    assert set(outcome.extra) <= set(given_paths)
    for key, line in report.items():
        assert line.ok or key not in outcome.results


GONE = "the program ended well but left no result for it"
MUTE = "the program reported a failure and gave no reason"


@pytest.mark.parametrize(
    ("names", "code", "report", "results", "expected"),
    [
        ([b"a", b"b"], 0, {}, [b"a", b"b"], Judgement({b"a": [b"a"], b"b": [b"b"]})),
        ([b"a", b"b"], 0, {}, [b"a"], Judgement({b"a": [b"a"]}, {b"b": GONE})),
        ([b"a", b"b"], 1, {}, [b"a"], Judgement(open=[Input(b"a", 1), Input(b"b", 1)], partial={b"a": [b"a"]})),
        ([b"a"], 137, {}, [], Judgement(failed={b"a": explain(ended(137))})),
        ([b"a", b"b"], 1, {b"a": ReportLine(True, "")}, [b"a"], Judgement({b"a": [b"a"]}, open=[Input(b"b", 1)])),
        ([b"a", b"b"], 1, {b"a": ReportLine(True, ""), b"b": ReportLine(False, "dark")}, [b"a"],
         Judgement({b"a": [b"a"]}, {b"b": "dark"})),
        ([b"a"], 0, {b"a": ReportLine(False, "")}, [b"a"], Judgement(failed={b"a": MUTE})),
        ([b"a"], 1, {b"a": ReportLine(True, "")}, [], Judgement(failed={b"a": GONE})),
        ([b"a.jpg"], 0, {}, [b"a.png", b"a-2.png", b"index.html"],
         Judgement({b"a.jpg": [b"a.png", b"a-2.png"]}, extra=[b"index.html"])),
    ],
)  # fmt: skip
def test_judge(
    names: list[bytes], code: int, report: dict[bytes, ReportLine], results: list[bytes], expected: Judgement
) -> None:
    assert judge([Input(name, 1) for name in names], ended(code), report, results) == expected


@pytest.mark.parametrize(
    ("code", "words"), [*((code, f"exit {code}") for code in (0, 1, 124, 126, 127, 255)), (137, "killed"),
                        (139, "segmentation fault")],
)  # fmt: skip
def test_explain(code: int, words: str) -> None:
    assert explain(ended(code)).startswith(f"the program ended with exit {code}")
    assert words in explain(ended(code))


def test_a_program_that_was_stopped_is_told_from_one_that_exits_so() -> None:
    """A program may exit with 124, 126 or 127 for reasons of its own."""
    late = dataclasses.replace(ended(137), late=True)
    assert explain(late) == "the program finished nothing within the timeout and was stopped: last words"
    assert "timeout" not in explain(ended(124))


@pytest.mark.parametrize(
    ("code", "log", "is_dockers"),
    [
        (125, "docker: Error response from daemon: no such image.\nSee 'docker run --help'.", True),
        (125, 'time="2026-01-01" level=error msg="error waiting for container: unexpected EOF"', True),
        (125, "I give up", False),
        (125, "", False),
        (1, "docker: not here", False),
    ],
)
def test_what_docker_could_not_do_is_told_from_a_program_that_exits_with_its_code(
    code: int, log: str, is_dockers: bool
) -> None:
    assert dataclasses.replace(ended(code), log=log).no_container == is_dockers


# ---- how a batch ended


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0",
        b"0\n9\n1",
        b"0\n9\n1 2 3",
        b"0\n1 2 3 4",
        b"x\n9\n1 2 3 4 0",
        b"0\n9\n1 2 3 4",
        b"0\n9\n1 2 3 4 5 6",
        b"\xff\n9\n1 2 3 4",
    ],
)
def test_an_end_that_is_not_whole_is_no_end(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_ending(data, b"")


def test_an_end_is_a_code_its_seconds_and_what_is_free() -> None:
    assert parse_ending(b"137\n2500000000\n5 4096 100 7 1\n", b"a\xff\n") == Ending(
        137, "a\ufffd\n", 2.5, 20480, 7, late=True
    )
    assert parse_ending(b"0\n1\n5 4096 0 0 0\n", b"").inodes is None, "a file system that doesn't count them"
    assert parse_ending(b"0\n1\n5 4096 9 0 0\n", b"").inodes == 0


@pytest.mark.parametrize(
    ("log", "said"),
    [("", "it said nothing"), (" \n\n", "it said nothing"), ("a\n b \n\n", "b"),
     ("docker: no such image.\nSee 'docker run --help'.\n", "docker: no such image.")],
)  # fmt: skip
def test_what_a_program_said_last(log: str, said: str) -> None:
    assert ended(1, log).said == said


# Which of them was full, by what real programs say of it.
ROOM = {
    "dd: error writing '/tmp/x': No space left on device": TMP,
    "OSError: [Errno 28] No space left on device": TMP,
    "java.io.IOException: No space left on device": TMP,
    "write /tmp/x: no space left on device": TMP,
    "Error: ENOSPC: no space left on device, write": TMP,
    "dd: error writing '/dev/shm/x': No space left on device": SHM,
    "RuntimeError: unable to write to file </torch_19_1>: No space left on device (28)": SHM,
    "could not resize shared memory segment: No space left on device": SHM,
    "Bus error (core dumped)": SHM,
    "the program ended with exit 135, a bus error: it said nothing": SHM,
    "cp: error writing '/out/a': No space left on device": "",
    "inotify_add_watch failed: No space left on device": "",
    "Error: ENOSPC: System limit for number of file watchers reached": "",
    "no such file or directory": "",
    "a blunderbus error": "",
    "": "",
}


@pytest.mark.parametrize(("words", "where"), ROOM.items())
@pytest.mark.parametrize("reported", [True, False])
def test_a_full_tmp_or_shm_is_named_with_what_gives_it_more(words: str, where: str, reported: bool) -> None:
    """Whether the program's report says so, or its output about that input; of another input nothing is said."""
    failed = {b"d/frog": words if reported else "exit 1", b"newt": "exit 1"}
    tell_full(failed, "" if reported else f"d/frog: {words}\nnewt: another matter\n", USUAL, alone=False)
    hints = {
        TMP: "; /tmp was full (256 MB), --tmp 1g gives it more",
        SHM: "/dev/shm was full (64 MB), --shm 256m gives it more",
        "": "",
    }
    assert failed[b"d/frog"].endswith(hints[where])
    assert ("full" in failed[b"d/frog"]) == bool(where)
    assert failed[b"newt"] == "exit 1"


def test_all_words_are_about_an_input_that_was_alone() -> None:
    failed = {b"a": "the program ended well but left no result for it"}
    tell_full(failed, "No space left on device\n" + "more words\n" * 50, Scratch(tmp=1024 * MIB), alone=True)
    assert failed[b"a"].endswith("left no result for it; /tmp was full (1024 MB), --tmp 4g gives it more")


def test_only_docker_can_say_that_there_is_no_program() -> None:
    log = "docker: Error response from daemon: exec: \"x\": executable file not found\nSee 'docker run --help'.\n"
    assert [code for code in (0, 1, 125, 126, 127, 137) if ended(code, log).cannot_start] == [126, 127]
    assert not ended(127, "sh: convert: not found").cannot_start


def test_words_are_those_that_name_the_input_or_the_last_ones() -> None:
    log = "".join(f"line {n}\n\n" for n in range(20)) + "d/a.jpg: first\n a.jpg: second  \nb.jpg: third\n"
    assert words_about(b"d/a.jpg", log) == ["d/a.jpg: first", " a.jpg: second"]
    assert words_about(b"c.jpg", log) == ["line 18", "line 19", "d/a.jpg: first", " a.jpg: second", "b.jpg: third"]
    assert words_about(b"c.jpg", "") == []
    assert words_about(b"c.jpg", "x" * 999) == ["x" * MAX_LINE_CHARS]
    assert words_about(b"\xff.jpg", "1\n?.jpg: bad\n2\n") == ["?.jpg: bad"]


@given(st.sampled_from(HOSTILE), st.text(max_size=300))
def test_words_are_few_and_short(key: bytes, log: str) -> None:
    found = words_about(key, log * 9)
    assert len(found) <= KEPT_LINES
    assert all(word.strip() and len(word) <= MAX_LINE_CHARS for word in found)


# ---- the hunt for the inputs that spoil a batch

RunOf = tuple[int, dict[bytes, ReportLine], list[bytes]]


def hunt(inputs: Sequence[Input], program: Callable[[Batch], RunOf]) -> tuple[Judgement, int]:
    """Run a program over inputs and what becomes of them, as workers do; returns all fates and the number of starts."""
    whole, scheduler, starts = Judgement(), Scheduler(policy=ScriptedPolicy()), 0
    scheduler.deal({"worker-1": inputs})
    while part := scheduler.next_batch("worker-1"):
        assert len(part.name) < 200, "its name is that of a folder on the worker"
        starts += 1
        assert starts < 100_000, "it never ends"
        code, report, paths = program(part)
        outcome = judge(part.inputs, ended(code), report, paths)
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


# ---- into DST


@pytest.mark.parametrize("path", [b"a", b"a/b", b"...", b"a..b", b"..a", b"a/.fanrun/b", b".fanrun2", *HOSTILE])
def test_safe_paths(path: bytes) -> None:
    assert safe(path)


@pytest.mark.parametrize(
    "path",
    [b"", b"/", b"/etc/passwd", b"..", b"../a", b"a/../../b", b"a/..", b".fanrun", b".fanrun/runs", b"./.fanrun/runs",
     b"././.fanrun", b".//.fanrun/a"],
)  # fmt: skip
def test_unsafe_paths(path: bytes) -> None:
    assert not safe(path)


def landed(tmp_path: Path, path: bytes) -> None:
    """Land staging/PATH in tmp_path/dst."""
    move_into_place(os.fsencode(tmp_path / "staging"), os.fsencode(tmp_path / "dst"), path)


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    (tmp_path / "staging" / "d").mkdir(parents=True)
    (tmp_path / "dst").mkdir()
    for name in ("a", "d/b"):
        (tmp_path / "staging" / name).write_bytes(b"new")
    return tmp_path


def test_a_result_lands_in_its_folder(staged: Path) -> None:
    landed(staged, b"d/b")
    assert read_tree(staged / "dst") == {b"d/b": b"new"}
    assert not (staged / "staging" / "d" / "b").exists()


def test_a_reader_never_sees_half_a_file(staged: Path) -> None:
    """The old file is replaced, not written to: who has it open keeps it."""
    (staged / "dst" / "a").write_bytes(b"old")
    with (staged / "dst" / "a").open("rb") as reader:
        landed(staged, b"a")
        assert reader.read() == b"old"
    assert (staged / "dst" / "a").read_bytes() == b"new"


def test_a_link_in_the_way_is_replaced_not_followed(staged: Path) -> None:
    (staged / "outside").write_bytes(b"precious")
    (staged / "dst" / "a").symlink_to(staged / "outside")
    landed(staged, b"a")
    assert (staged / "outside").read_bytes() == b"precious"
    assert not (staged / "dst" / "a").is_symlink()


def test_what_is_in_the_way_is_told_and_stays(staged: Path) -> None:
    (staged / "dst" / "a").mkdir()
    (staged / "dst" / "d").write_bytes(b"a file where a folder is needed")
    for path in (b"a", b"d/b", b"gone"):
        with pytest.raises(OSError, match=r"directory|exists|No such file"):
            landed(staged, path)
    assert read_tree(staged / "dst") == {b"d": b"a file where a folder is needed"}


@pytest.mark.parametrize("digest", ["0" * 64, "", "not a hash"])
def test_a_damaged_result_is_unfit(staged: Path, digest: str) -> None:
    staging = os.fsencode(staged / "staging")
    assert unfit(staging, b"a", hash_file(staging + b"/a")) is None
    assert unfit(staging, b"a", digest) == "its result is not what the worker computed (damaged on the way)"


@pytest.mark.parametrize("path", [b"../escaped", b"/tmp/escaped", b"d/../../escaped", b".fanrun/report.json", b""])
def test_a_path_that_leads_elsewhere_is_unfit(staged: Path, path: bytes) -> None:
    (staged / "escaped").write_bytes(b"new")
    reason = unfit(os.fsencode(staged / "staging"), path, hashlib.sha256(b"new").hexdigest())
    assert reason == f"its result's path {os.fsdecode(path)!r} is not one that may be written"


def test_a_result_that_did_not_arrive_is_unfit(staged: Path) -> None:
    reason = unfit(os.fsencode(staged / "staging"), b"gone", DIGEST)
    assert reason == "its result gone did not arrive (No such file or directory)"


def test_a_result_of_a_name_that_dst_cannot_hold_is_unfit(staged: Path) -> None:
    reason = unfit(os.fsencode(staged / "staging"), b"long" * 64, DIGEST)
    assert reason is not None
    assert reason.endswith("did not arrive (DST can't hold that name: File name too long)")


@given(st.binary(max_size=3000))
def test_a_files_hash_is_its_sha256(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content * 999)
        file.flush()
        assert hash_file(os.fsencode(file.name)) == hashlib.sha256(content * 999).hexdigest()


def test_from_a_program_to_dst(tmp_path: Path) -> None:
    """BATCH, the pull and the landing together, on names that could mean something else."""
    written = write_tree(tmp_path / "made")
    write_tree(tmp_path, (b"identity/env",))
    place = BatchFolder("r", "b")
    target, staging, dst = tmp_path / "out", tmp_path / "staging", tmp_path / "dst"
    program = ["cp", "-r", f"{tmp_path}/made/.", f"{target}/data/"]
    write_filter(tmp_path)
    argv = commands.batch_argv(place, Program("i"), PROBE, LogSource("f", "h"))
    user, log = f"{os.getuid()}:{os.getgid()}", [f"{tmp_path}/spool", '"run":"r"', "1000", "1000"]
    subprocess.run([*argv[:4], str(target), "name", user, "0", "0", *log, "15", "0", *program], check=True)
    argv = [part for part in commands.pull_argv("ssh", "h", place, str(staging)) if not part.startswith("--rsh=")]
    subprocess.run([*argv[:-2], f"{target}/", argv[-1]], check=True)
    manifest = parse_manifest((staging / "manifest").read_bytes())
    end = parse_ending((staging / "exit").read_bytes(), (staging / "log").read_bytes())
    assert (end.code, end.log) == (0, "")
    assert end.free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    outcome = judge([Input(key, 0) for key in written], end, {}, manifest)
    assert set(outcome.results) == set(written)
    data = os.fsencode(staging / "data")
    for path in [path for mine in outcome.results.values() for path in mine]:
        assert unfit(data, path, manifest[path]) is None
        move_into_place(data, os.fsencode(dst), path)
    assert read_tree(dst) == written


@pytest.mark.parametrize("seconds", [b"1" + b"0" * 400, b"Infinity", b"NaN", b"-1", b'"x"', b"null"])
def test_seconds_that_no_program_takes_are_passed_over(seconds: bytes) -> None:
    assert parse_report(b'{"path": "a", "ok": true, "seconds": %s}' % seconds) == {b"a": ReportLine(True, "")}
