"""What a batch came to, and the way of its results into DST."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.plan import Batch, Input
from fanrun.fanout.program import MIB, SHM, TMP, USUAL, Scratch
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.container_end import (
    ContainerOutput,
    ReportLine,
    explain,
)
from fanrun.fanout.results.judge import MAX_LINE_CHARS, MAX_LINES, Judgement, add_full_hints, judge, lines_about
from tests.unit.container_ends import ended
from tests.unit.samples import HOSTILE

# Few names in few folders, so that results often are somebody's.
stems = st.sampled_from([b"a", b"ab", b"a.b", b".a", b"1", b"10", b"\xff"])
keys = st.builds(
    lambda folder, stem, end: folder + stem + end,
    st.sampled_from([b"", b"d/", b"d/e/"]),
    stems,
    st.sampled_from([b"", b".jpg", b".png", b"-2.jpg", b".tar.gz"]),
)
inputs = st.lists(keys, unique=True, min_size=1, max_size=8).map(lambda found: [Input(key, 1) for key in sorted(found)])
paths = st.lists(keys, unique=True, max_size=8)
lines = st.builds(ReportLine, st.booleans(), st.sampled_from(["", "too dark"]), st.sampled_from([None, 0.5]))
reports = st.dictionaries(keys, lines, max_size=8)


# ---- what comes from the worker may be anything


# ---- the fate of every input


@given(inputs, st.sampled_from([0, 1, 137]), reports, paths)
def test_every_input_has_one_fate(
    given_inputs: list[Input], code: int, report: dict[bytes, ReportLine], given_paths: list[bytes]
) -> None:
    outcome = judge(given_inputs, ContainerOutput(ended(code), report, given_paths))
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
        (
            [b"a", b"b"],
            1,
            {b"a": ReportLine(True, ""), b"b": ReportLine(False, "dark")},
            [b"a"],
            Judgement({b"a": [b"a"]}, {b"b": "dark"}),
        ),
        ([b"a"], 0, {b"a": ReportLine(False, "")}, [b"a"], Judgement(failed={b"a": MUTE})),
        ([b"a"], 1, {b"a": ReportLine(True, "")}, [], Judgement(failed={b"a": GONE})),
        (
            [b"a.jpg"],
            0,
            {},
            [b"a.png", b"a-2.png", b"index.html"],
            Judgement({b"a.jpg": [b"a.png", b"a-2.png"]}, extra=[b"index.html"]),
        ),
    ],
)
def test_judge(
    names: list[bytes], code: int, report: dict[bytes, ReportLine], results: list[bytes], expected: Judgement
) -> None:
    assert judge([Input(name, 1) for name in names], ContainerOutput(ended(code), report, results)) == expected


# ---- how a batch ended


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
    log = "" if reported else f"d/frog: {words}\nnewt: another matter\n"
    add_full_hints(failed, Attempt(Batch("b", tuple(Input(key, 1) for key in failed)), "w"), log, USUAL)
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
    log = "No space left on device\n" + "more words\n" * 50
    add_full_hints(failed, Attempt(Batch("b", (Input(b"a", 1),)), "w"), log, Scratch(tmp=1024 * MIB))
    assert failed[b"a"].endswith("left no result for it; /tmp was full (1024 MB), --tmp 4g gives it more")


def test_words_are_those_that_name_the_input_or_the_last_ones() -> None:
    log = "".join(f"line {n}\n\n" for n in range(20)) + "d/a.jpg: first\n a.jpg: second  \nb.jpg: third\n"
    assert lines_about(b"d/a.jpg", log) == ["d/a.jpg: first", " a.jpg: second"]
    assert lines_about(b"c.jpg", log) == ["line 18", "line 19", "d/a.jpg: first", " a.jpg: second", "b.jpg: third"]
    assert lines_about(b"c.jpg", "") == []
    assert lines_about(b"c.jpg", "x" * 999) == ["x" * MAX_LINE_CHARS]
    assert lines_about(b"\xff.jpg", "1\n?.jpg: bad\n2\n") == ["?.jpg: bad"]


@given(st.sampled_from(HOSTILE), st.text(max_size=300))
def test_words_are_few_and_short(key: bytes, log: str) -> None:
    found = lines_about(key, log * 9)
    assert len(found) <= MAX_LINES
    assert all(word.strip() and len(word) <= MAX_LINE_CHARS for word in found)


# ---- the hunt for the inputs that spoil a batch


# ---- into DST
