"""Which inputs belong together, by the options --group-by and --group-size."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout import group_pattern
from fanrun.fanout.grouping import EACH_ALONE, Grouping, check, group, grouping, remarks, remembered
from fanrun.fanout.plan import HANDLING, MAX_BYTES, MAX_INPUTS, Batch, Input, count_files, weight, within_bounds
from fanrun.fanout.request import RunRequest
from fanrun.fleet.errors import UsageError

PAIRS = r"(.*)_R[12]\.fastq\.gz"
SHAPES = r"(.*)\.(shp|shx|dbf|prj)"


def files(*names: str, size: int = 1) -> list[Input]:
    return [Input(name.encode(), size) for name in sorted(names)]


def grouped(by: str, names: str) -> str:
    """The files of each group, with a + between them."""
    found = group(files(*names.split()), grouping(by))
    return " ".join("+".join(os.fsdecode(file.key) for file in item.files) for item in found)


@pytest.mark.parametrize(
    ("by", "names", "expected"),
    [
        (PAIRS, "x_R1.fastq.gz x_R2.fastq.gz y_R1.fastq.gz", "x_R1.fastq.gz+x_R2.fastq.gz y_R1.fastq.gz"),
        (PAIRS, "a/x_R1.fastq.gz b/x_R2.fastq.gz", "a/x_R1.fastq.gz b/x_R2.fastq.gz"),
        (r"(.*)_R[12]_(\d+)\.fq", "x_R1_1.fq x_R1_2.fq x_R2_1.fq x_R2_2.fq", "x_R1_1.fq+x_R2_1.fq x_R1_2.fq+x_R2_2.fq"),
        (r"(.*)_(tumor|normal)_R[12]\.fq", "p_normal_R1.fq p_tumor_R1.fq", "p_normal_R1.fq p_tumor_R1.fq"),
        (SHAPES, "a.dbf a.prj a.shp a.shp.xml a.shx d/a.shp", "a.dbf+a.prj+a.shp+a.shx a.shp.xml d/a.shp"),
        (r"(.*)(\.shp|\.dbf)", "a.dbf a.shp", "a.dbf+a.shp"),
        (r"(.*)\.(nii\.gz|json)", "s_1.json s_1.nii.gz s_2.json", "s_1.json+s_1.nii.gz s_2.json"),
        (r"(.*)\.(?:shp|dbf)", "a.dbf a.shp", "a.dbf+a.shp"),
        (r"(shp|dbf)_.*", "dbf_1 dbf_2 shp_1", "dbf_1+dbf_2 shp_1"),
        (r"(?:left|right)/(.*)", "left/1.png right/1.png right/2.png", "left/1.png+right/1.png right/2.png"),
        (r"(.*?)(_small)?\.png", "a.png a_small.png", "a.png a_small.png"),
        ("stem", "a.tfw a.tif a.tif.aux.xml b.tif", "a.tfw+a.tif+a.tif.aux.xml b.tif"),
        ("stem", "a.tif d/a.tfw", "a.tif d/a.tfw"),
        ("stem", "plate.1.tfw plate.1.tif plate.2.tif", "plate.1.tfw+plate.1.tif plate.2.tif"),
        ("stem", "a.tif.aux.xml b.tif", "a.tif.aux.xml b.tif"),
        ("stem", "x.bai x.bam x.bam.bai x.bam.bai.md5 x.fastq.gz", "x.bai+x.bam+x.bam.bai+x.bam.bai.md5 x.fastq.gz"),
        ("stem", ".hidden .hidden.txt a a.txt", ".hidden+.hidden.txt a+a.txt"),
        ("folder", "a b d/a d/b d/e/a", "a+b d/a+d/b d/e/a"),
    ],
)
def test_which_files_are_a_group(by: str, names: str, expected: str) -> None:
    assert grouped(by, names) == expected


def test_names_need_not_be_text() -> None:
    found = group([Input(b"\xff\n_R1", 1), Input(b"\xff\n_R2", 2)], grouping("(.*)_R[12]"))
    assert found == [Input(b"\xff\n_R1", 3, (Input(b"\xff\n_R1", 1), Input(b"\xff\n_R2", 2)), (b"\xff\n",))]


@pytest.mark.parametrize(
    ("by", "names", "stems"),
    [
        (PAIRS, "d/x_R1.fastq.gz d/x_R2.fastq.gz", "d/x"),
        (r"(.*_)R[12]\.fq", "x_R1.fq", "x"),
        (r"(.*)_R[12]_(\d+)\.fq", "x_R1_1.fq x_R2_1.fq", "x_1 x"),
        (r"(?:left|right)/(.*)\.png", "left/1.png right/1.png", "1"),
        (r"(.*)/(?:left|right)\.png", "d/1/left.png d/1/right.png", "d/1/1"),
        (r"(x?)\d\.fq", "1.fq 2.fq", "1"),
        ("stem", "d/a.tfw d/a.tif", "d/a"),
        ("folder", "d/a", "d"),
        (SHAPES, "readme", ""),
    ],
)
def test_stems_are_what_the_names_have_in_common(by: str, names: str, stems: str) -> None:
    (found,) = group(files(*names.split()), Grouping(by))
    assert [os.fsdecode(stem) for stem in found.stems] == stems.split()


names = st.lists(st.from_regex(r"\A(d/|d/e/|)[ab_.1]{1,5}\Z").map(str.encode), unique=True, max_size=12)


@given(names, st.sampled_from(["", "stem", "folder", "(.*)[ab]", "([ab]).*", r"(.*)\.(a|b)", "(.)(.*)", "(.*)/(.*)"]))
def test_each_file_is_in_one_group(keys: list[bytes], by: str) -> None:
    inputs = sorted(Input(key, len(key)) for key in keys)
    found = group(inputs, Grouping(by))
    assert sorted(file for item in found for file in item.files if not item.members) == sorted(
        item for item in found if not item.members
    )
    assert sorted(file.key for item in found for file in item.files) == [item.key for item in inputs]
    assert found == sorted(found)
    assert sum(item.size for item in found) == sum(item.size for item in inputs)
    assert sum(map(weight, found)) == sum(map(weight, inputs))
    assert count_files(found) == Batch("b", tuple(found)).files == len(inputs)
    for item in found:
        assert len(item.members) != 1
        assert item.key == min(file.key for file in item.files)


def test_a_batch_has_so_many_files_however_they_are_grouped() -> None:
    halves = [Input(b"a", 1, tuple(files(*map(str, range(MAX_INPUTS // 2))))), Input(b"b", 1)]
    assert within_bounds([halves[0], halves[0]])
    assert not within_bounds([halves[0], halves[0], halves[1]])
    assert weight(halves[0]) == 1 + HANDLING * MAX_INPUTS // 2


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("(", "is neither stem nor folder nor a regular expression"),
        ("(a{99999999999})", "is neither stem nor folder nor a regular expression"),
        ("", "has no group; write what files have in common in parentheses"),
        (r".*_R[12]", "has no group; write what files have in common in parentheses"),
    ],
)
def test_what_is_no_grouping(by: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        grouping(by)


def test_a_size_needs_a_grouping() -> None:
    assert grouping(None) == EACH_ALONE
    with pytest.raises(UsageError, match="--group-size needs --group-by"):
        grouping(None, 2)


def test_a_pattern_that_matches_nothing() -> None:
    how = grouping(PAIRS)
    found = group(files("a.txt", "b.txt"), how)
    assert found == files("a.txt", "b.txt")
    with pytest.raises(UsageError, match=r"matches no input, as 'a\.txt'; it has to match a whole name"):
        check(found, how)
    check(group(files("a.txt", "x_R1.fastq.gz"), how), how)
    check([], how)


def test_a_group_that_is_larger_than_a_batch() -> None:
    many = files(*(f"{number:04}" for number in range(MAX_INPUTS + 1)))
    with pytest.raises(UsageError, match=r"the group of '0000' has 2001 files, and a batch has at most 2000"):
        check(group(many, grouping("folder")), grouping("folder"))
    check(group(many[1:], grouping("folder")), grouping("folder"))
    large = files("a_R1.fastq.gz", "a_R2.fastq.gz", size=MAX_BYTES)
    with pytest.raises(
        UsageError, match=r"2 files of 1.1 GB, more than the 536.9 MB of a batch; .*--group-size 2 says"
    ):
        check(group(large, grouping(PAIRS)), grouping(PAIRS))
    check(group(large, grouping(PAIRS, 2)), grouping(PAIRS, 2))
    check(group(large[:1], grouping(PAIRS)), grouping(PAIRS))  # a single file may have any size


def test_a_pattern_that_would_never_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_pattern, "MATCH_SECONDS", 0.1)
    started = time.monotonic()
    with pytest.raises(UsageError, match="takes too long to be matched"):
        group(files("a" * 60), grouping("(a+)+b"))
    assert time.monotonic() - started < 30
    assert group(files("a" * 60), grouping("(a+)b?")), "the next one has its own time"


def test_what_is_told_of_groups() -> None:
    names = files("a.tfw", "a.tif", "a.tif.aux.xml", "b.tif")
    (line,) = remarks(names, EACH_ALONE)
    assert line.startswith("3 of 4 inputs have the same stem as others, as a.tfw, a.tif, a.tif.aux.xml, and are ")
    assert line.endswith("; --group-by stem keeps them together")
    assert remarks(files("a.tif", "b.tif"), EACH_ALONE) == []
    assert remarks(group(names, grouping("stem")), grouping("stem")) == []
    alone = group(files("a.tif", "b.tif"), grouping("stem"))
    assert remarks(alone, grouping("stem")) == ["--group-by 'stem': no two inputs are in one group"]
    pairs = r"(.*)_(R1|R2)\.fq"
    (line,) = remarks(group(files("x_R1.fq", "x_R2.fq"), grouping(pairs)), grouping(pairs))
    assert line.endswith("no two inputs are in one group; write (?:…) for what differs between the files of a group")
    how = grouping(PAIRS, 2)
    inputs = group(files("x_R1.fastq.gz", "x_R2.fastq.gz", "y_R1.fastq.gz", "read\nme", "z"), how)
    assert remarks(inputs, how) == [
        f"--group-by {PAIRS!r} does not match 2 inputs, as read\\nme: each is processed by itself",
        "1 group does not have 2 files, as y_R1.fastq.gz: not processed",
    ]
    accepted, refused = how.divide(inputs)
    assert [item.key for item in accepted] == [b"read\nme", b"x_R1.fastq.gz", b"z"]
    assert refused == {b"y_R1.fastq.gz": "its group has 1 file, and --group-size says 2"}


def test_a_grouping_is_remembered() -> None:
    for how in (EACH_ALONE, Grouping("stem"), Grouping(PAIRS, 2)):
        assert remembered(RunRequest("/src", "/dst", grouping=how).remembered("i")) == how
    assert remembered({}) == EACH_ALONE
