"""Groups of inputs: whose a result is, and what became of each group."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.expect import BY_NAME, Expected, expected
from fanrun.fanout.grouping import Grouping, group
from fanrun.fanout.plan import Input
from fanrun.fanout.results.attribution import attribute, part
from fanrun.fanout.results.container_end import ContainerOutput, ReportLine
from fanrun.fanout.results.groups import digest, groups_of, is_of_group
from fanrun.fanout.results.judge import Judgement, judge
from fanrun.fanout.results.names import Layout
from fanrun.fanout.results.ownership import Ownership, RunInputs
from tests.unit.container_ends import ended
from tests.unit.test_attribution import PROGRAMS, split
from tests.unit.test_attribution import keys as names

PAIRS = r"(.*)_R[12]\.fq"
READS = "x_R1.fq x_R2.fq y_R1.fq y_R2.fq"
SCANS = "a.tfw a.tif a.tif.aux.xml b.tfw b.tif"
OK, BAD = ReportLine(ok=True, error=""), ReportLine(ok=False, error="dark")


def units(by: str, names: str) -> list[Input]:
    return group([Input(name.encode(), 1) for name in names.split()], Grouping(by))


def words(names: str) -> list[bytes]:
    return [name.encode() for name in names.split()]


Report = Mapping[str, ReportLine]
NONE: Report = {}


def judged(by: str, names: str, made: str, *, report: Report = NONE, wanted: Expected = BY_NAME) -> Judgement:
    """What became of these inputs; one that failed in the report makes the exit code 1."""
    code = 0 if all(line.ok for line in report.values()) else 1
    return judged_at(code, units(by, names), made, report, wanted)


def judged_at(code: int, inputs: list[Input], made: str, report: Report, wanted: Expected = BY_NAME) -> Judgement:
    lines = {key.encode(): line for key, line in report.items()}
    return judge(inputs, ContainerOutput(ended(code), lines, words(made)), wanted)


def owned(found: Judgement) -> dict[str, str]:
    return {key.decode(): b" ".join(paths).decode() for key, paths in found.results.items()}


@pytest.mark.parametrize(
    ("by", "names", "made", "owners"),
    [
        (PAIRS, READS, "x.bam y.bam y.bam.bai", {"x_R1.fq": "x.bam", "y_R1.fq": "y.bam y.bam.bai"}),
        (PAIRS, READS, "x_R1.txt x_R2.txt y_R2.txt", {"x_R1.fq": "x_R1.txt x_R2.txt", "y_R1.fq": "y_R2.txt"}),
        (PAIRS, READS, "x/1.txt y/1.txt", {"x_R1.fq": "x/1.txt", "y_R1.fq": "y/1.txt"}),
        ("stem", SCANS, "a.tif b.tif", {"a.tfw": "a.tif", "b.tfw": "b.tif"}),
        ("stem", SCANS, "a.png a.tif.aux.xml b_1.png", {"a.tfw": "a.png a.tif.aux.xml", "b.tfw": "b_1.png"}),
        ("stem", "d/a.tfw d/a.tif", "64/d/a.tif", {"d/a.tfw": "64/d/a.tif"}),
        ("folder", "a/1 a/2 b/1", "a/all.csv b.csv b/c/d", {"a/1": "a/all.csv", "b/1": "b.csv b/c/d"}),
        ("folder", "1 2 a/1", "all.csv a/all.csv x/y", {"1": "all.csv x/y", "a/1": "a/all.csv"}),
        (r"(?:l|r)/(.*)\.png", "l/1.png r/1.png", "1.png l/1.png", {"l/1.png": "1.png l/1.png"}),
    ],
)
def test_a_result_belongs_to_the_group_of_any_of_its_files(
    by: str, names: str, made: str, owners: dict[str, str]
) -> None:
    found = judged(by, names, made)
    assert owned(found) == owners
    assert (found.failed, found.apart, found.extra) == ({}, [], [])


def test_a_result_that_fits_two_groups_is_nobodys_yet() -> None:
    inputs = units(PAIRS, "x_R1.fq x_R2.fq x_1_R1.fq x_1_R2.fq")
    found = attribute([item.key for item in inputs], [b"x_1.bam"], layout=Layout(groups=groups_of(inputs)))
    assert found.undecided <= {item.key for item in inputs}
    assert not found.nobody


@pytest.mark.parametrize(
    ("code", "report", "made", "fates"),
    [
        (0, {}, "x.bam", "x done, y: the program ended well but left no result for it"),
        (0, {"x_R1.fq": OK}, "x.bam y.bam", "x done, y done"),
        (0, {"x_R1.fq": OK}, "y.bam", "y done, x: the program ended well but left no result for it"),
        (0, {"x_R2.fq": BAD}, "x.bam y.bam", "y done, x: x_R2.fq of its group: dark"),
        (1, {"x_R1.fq": OK, "x_R2.fq": BAD}, "x.bam", "x: x_R2.fq of its group: dark, y open"),
        (1, {"x_R1.fq": OK, "x_R2.fq": OK}, "x.bam", "x done, y open"),
        (1, {"x_R1.fq": OK}, "x.bam", "x open, y open"),
        (1, {}, "x.bam", "x open, y open"),
    ],
)
def test_what_becomes_of_a_group(code: int, report: Report, made: str, fates: str) -> None:
    found = judged_at(code, units(PAIRS, READS), made, report)
    names = {b"x_R1.fq": "x", b"y_R1.fq": "y"}
    done = [f"{names[key]} done" for key in found.results]
    failed = [f"{names[key]}: {reason}" for key, reason in found.failed.items()]
    assert ", ".join([*done, *failed, *(f"{names[item.key]} open" for item in found.open)]) == fates


def test_a_group_that_would_fail_again() -> None:
    never = ReportLine(ok=False, error="", permanent=True)
    found = judged(PAIRS, "x_R1.fq x_R2.fq", "", report={"x_R1.fq": BAD, "x_R2.fq": never})
    assert found.failed == {b"x_R1.fq": "x_R1.fq of its group: dark"}
    assert found.permanent == {b"x_R1.fq"}


def test_a_report_names_the_results_of_a_group() -> None:
    named = {"x_R1.fq": ReportLine(ok=True, error="", results=(b"1/out",)), "x_R2.fq": OK}
    assert owned(judged(PAIRS, READS, "1/out y.bam", report=named)) == {"x_R1.fq": "1/out", "y_R1.fq": "y.bam"}


@pytest.mark.parametrize(
    ("by", "names", "text", "paths"),
    [
        (PAIRS, "d/x_R1.fq d/x_R2.fq", "{stem}.bam", "d/x.bam"),
        (PAIRS, "d/x_R1.fq d/x_R2.fq", "{name}.bam,{folder}/{stem}/1", "d/x_R1.fq.bam d/x/1"),
        ("stem", "a.tfw a.tif", "{stem}.png", "a.png"),
        ("folder", "a/b/1 a/b/2", "{folder}/all.csv,{stem}.txt", "a/b/all.csv a/b/b.txt"),
        ("folder", "1 2", "{folder}/all.csv", "all.csv"),
        (r"(?:l|r)/(.*)\.png", "l/1.png r/1.png", "{stem}.png", "1.png"),
    ],
)
def test_what_is_expected_of_a_group(by: str, names: str, text: str, paths: str) -> None:
    wanted = expected(text, None, by_folder=by == "folder")
    (item,) = units(by, names)
    assert wanted.paths(item.key, item) == words(paths)
    assert judged(by, names, paths, wanted=wanted).results == {item.key: words(paths)}
    missing = judged(by, names, "", wanted=wanted).failed[item.key]
    assert missing == f"its result {paths.split()[0]} is missing"


def test_the_owner_of_a_path_is_a_group() -> None:
    """The first group in the order of keys, if two have the same result."""
    inputs = units(r"(.*)_R[12]\.(fq|fa)", "x_R1.fa x_R2.fa") + units(r"(.*)_R[12]\.(fq|fa)", "x_R1.fq x_R2.fq")
    keys = [item.key for item in inputs]
    settled = set[bytes]()
    ownership = Ownership(RunInputs(keys, groups=groups_of(inputs)), settled.__contains__, lambda key: True)
    assert ownership.waits_for(b"x_R1.fq", [b"x.bam"]) == {b"x_R1.fa"}
    assert ownership.waits_for(b"x_R1.fa", [b"x.bam"]) == set()
    assert ownership.waits_for(b"x_R1.fa", [b"x_R2.fa"]) == set()
    ownership.take(b"x_R1.fa", [b"x.bam"])
    assert "as that of x_R1.fa" in ownership.refusal(b"x_R1.fq", [b"x.bam"])
    assert Ownership(RunInputs([], groups={}), settled.__contains__, lambda key: True).folders == frozenset()
    (both,) = units(r"(?:l|r)/(.*)\.png", "l/1.png r/1.png")
    owners = Ownership(RunInputs([both.key], groups=groups_of([both])), settled.__contains__, lambda key: True)
    assert owners.folders == {b"l", b"r"}


def test_the_hash_of_a_group_is_that_of_all_names_and_contents() -> None:
    (scan,) = units("stem", "a.tfw a.tif")
    contents = {b"a.tfw": "1", b"a.tif": "2", b"a.prj": "3"}
    found = digest(scan, contents.__getitem__)
    assert is_of_group(found)
    assert digest(scan, {b"a.tfw": "2", b"a.tif": "1"}.__getitem__) != found
    assert digest(units("stem", "a.prj a.tfw a.tif")[0], contents.__getitem__) != found
    (alone,) = units("stem", "a.tif")
    assert digest(alone, contents.__getitem__) == "2"


groupings = st.sampled_from(["", "stem", "folder", r"(.*?)[._].*", r"(.*)\.(jpg|tif|tar\.gz)"])


@given(names, groupings, st.sampled_from([0, 1]), st.lists(st.integers(0, 8)), st.sets(st.integers(0, 8)))
def test_every_group_has_one_fate(keys: list[bytes], by: str, code: int, told: list[int], left: set[int]) -> None:
    inputs = group([Input(key, 1) for key in sorted(keys)], Grouping(by))
    report = {key: ReportLine(ok=bool(number % 3), error="") for number, key in zip(told, sorted(keys), strict=False)}
    paths = [key + b".png" for number, key in enumerate(keys) if number in left]
    found = judge(inputs, ContainerOutput(ended(code), report, paths))
    apart = [key for each in found.apart for key in each]
    fates = [*found.results, *found.failed, *(item.key for item in found.open), *apart]
    assert sorted(fates) == [item.key for item in inputs]
    for item in inputs:
        if any(file.key in report and not report[file.key].ok for file in item.files):
            assert item.key in found.failed, "one of its files failed"


@given(names, groupings, st.sampled_from(sorted(PROGRAMS)))
def test_no_group_gets_another_ones_result(keys: list[bytes], by: str, program: str) -> None:
    """The program marks each result with its file; where it is not clear whose it is, groups are processed apart."""
    inputs = group([Input(key, 1) for key in sorted(keys)], Grouping(by))
    owner = {file.key: item.key for item in inputs for file in item.files}
    can_make = {item.key: {p for file in item.files for p in PROGRAMS[program](*split(file.key))} for item in inputs}
    made = dict[bytes, bytes]()
    for key in sorted(keys):
        for path in PROGRAMS[program](*split(key)):
            made.setdefault(path, owner[key])
    waiting, settled = [[item.key for item in inputs]], dict[bytes, list[bytes]]()
    layout = Layout(groups=groups_of(inputs))
    while waiting:
        batch = waiting.pop()
        found = attribute(batch, [path for path, key in made.items() if key in batch], layout=layout)
        settled |= {key: paths for key, paths in found.results.items() if key not in found.undecided}
        parts = part(batch, found.unclear)
        assert all(len(each) < len(batch) for each in parts), "they are not tried again as they were"
        waiting += parts
    for key, paths in settled.items():
        assert set(paths) <= can_make[key], f"{key!r} has results of others"
    for key, possible in can_make.items():
        if possible == {path for path, maker in made.items() if maker == key}:
            assert set(settled.get(key, [])) == possible, f"{key!r} has not what it made"
