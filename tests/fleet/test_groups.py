"""Inputs that belong together: they are processed as one, and done, failed and tried again as one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, Runs, joblog, log, report, tree

# For each .tif a copy with the world file and the metadata that lie beside it; without them it fails.
MERGE = (
    'find . -name "*.tif" | while read -r f; do '
    'cat "${f%.tif}.tfw" "$f.aux.xml" >/dev/null || exit 3; mkdir -p "$1/$(dirname "$f")"; '
    'cat "$f" "${f%.tif}.tfw" "$f.aux.xml" >"$1/$f"; done'
)
# For each pair of reads one file, named after the sample.
ALIGN = (
    "code=0; out=$1; "
    'tell() { echo "{\\"path\\": \\"$1\\", \\"ok\\": $2, \\"error\\": \\"$3\\"}" >>$FANRUN_REPORT; }; '
    "for f in *_R1.fastq.gz; do s=${f%_R1.fastq.gz}; cat $f ${s}_R2.fastq.gz >$out/$s.part || exit 3; "
    'if grep -q bad $out/$s.part; then tell ${s}_R2.fastq.gz false "bad reads"; rm $out/$s.part; code=1; continue; fi; '
    "mv $out/$s.part $out/$s.bam; tell ${s}_R1.fastq.gz true; tell ${s}_R2.fastq.gz true; done; exit $code"
)
PAIRS = ["--group-by", r"(.*)_R[12]\.fastq\.gz"]


def triple(name: str) -> tuple[str, str, str]:
    return f"{name}.tif", f"{name}.tfw", f"{name}.tif.aux.xml"


def test_an_image_travels_with_its_side_files(runs: Runs) -> None:
    names = [f"d{number % 3}/{number:02}" for number in range(59)]
    for name in names:
        runs.write(*triple(name))
    said = runs(MERGE, "--group-by", "stem")
    assert "177 of 177 inputs done" in said
    assert "same stem" not in said
    assert runs.results() == {
        f"{name}.tif": "".join((f"{name}.tif", f"{name}.tfw", f"{name}.tif.aux.xml")) for name in names
    }
    batches = {line["Input"]: line["Batch"] for line in joblog(runs.dst)}
    assert len(batches) == 177
    assert all(len({batches[file] for file in triple(name)}) == 1 for name in names)
    runs.again(MERGE, "--group-by", "stem")


@pytest.mark.long
def test_a_group_is_done_again_when_one_of_its_files_is_another(runs: Runs) -> None:
    """Changed, new or gone: and what is made of half a group is not taken for its result."""
    changed, grown, shrunk, *others = (f"d/{number}" for number in range(9))
    for name in (changed, grown, shrunk, *others):
        runs.write(*triple(name))
    runs(MERGE, "--group-by", "stem")
    runs.write(f"{changed}.tfw", content="moved")
    runs.write(f"{grown}.prj")
    (runs.src / f"{shrunk}.tfw").unlink()
    runs(MERGE, "--group-by", "stem", "--retries=0", code=1)
    found = report(runs.dst)
    assert (found["kept"], found["done"]) == (len(others) * 3, 3 + 4)
    half = {f"{shrunk}.tif", f"{shrunk}.tif.aux.xml"}
    assert {item["path"] for item in found["failed"]} == half
    assert runs.results()[f"{changed}.tif"] == f"{changed}.tifmoved{changed}.tif.aux.xml"
    assert set(json.loads(runs.fab("verify", "--dst", str(runs.dst), "--json", code=1).stdout)["faults"]) == half
    runs.write(f"{shrunk}.tfw")
    done = runs.fab("retry", "--dst", str(runs.dst), "--json")
    assert json.loads(done.stdout)["inputs"] == 3, "the file that came back belongs to the group that failed"
    runs.verify()


def test_pairs_are_done_and_fail_as_one(runs: Runs) -> None:
    for sample in ("ant", "bee", "cat"):
        runs.write(f"{sample}_R1.fastq.gz", f"{sample}_R2.fastq.gz")
    runs.write("bee_R2.fastq.gz", content="bad")
    said = runs(ALIGN, *PAIRS, "--retries=1", code=1)
    found = report(runs.dst)
    assert runs.results() == {f"{name}.bam": f"{name}_R1.fastq.gz{name}_R2.fastq.gz" for name in ("ant", "cat")}
    assert {item["path"]: (item["reason"], item["tries"]) for item in found["failed"]} == {
        f"bee_R{number}.fastq.gz": ("bee_R2.fastq.gz of its group: bad reads", 2) for number in (1, 2)
    }, said
    assert {(line["Input"], line["Exitval"]) for line in joblog(runs.dst) if line["Input"].startswith("bee")} == {
        ("bee_R1.fastq.gz", "1"),
        ("bee_R2.fastq.gz", "1"),
    }
    runs.write("bee_R2.fastq.gz", content="good")
    runs(ALIGN, *PAIRS)
    assert (report(runs.dst)["kept"], report(runs.dst)["done"]) == (4, 2)
    assert runs.results()["bee.bam"] == "bee_R1.fastq.gzgood"


@pytest.mark.long
def test_a_failing_batch_is_divided_between_groups_alone(runs: Runs) -> None:
    """Without a report, and with one group in which the program dies."""
    names = [f"{number:02}" for number in range(12)]
    for name in names:
        runs.write(*triple(name))
    (runs.src / "07.tfw").unlink()
    runs(MERGE, "--group-by", "stem", "--retries=0", code=1)
    assert {item["path"] for item in report(runs.dst)["failed"]} == {"07.tif", "07.tif.aux.xml"}
    assert set(runs.results()) == {f"{name}.tif" for name in names if name != "07"}


def test_what_is_told_of_groups(runs: Runs) -> None:
    runs.write(*triple("a"), *triple("b"), "readme.txt")
    said = runs(MERGE, "--dry-run")
    assert said.count("6 of 7 inputs have the same stem as others, as a.tfw, a.tif, a.tif.aux.xml") == 1
    runs("ls", code=1)
    assert log(runs.dst).count("6 of 7 inputs have the same stem as others") == 1
    pattern = r"(.*?)\.(tif|tfw|tif\.aux\.xml)"
    said = runs(MERGE, "--group-by", pattern, "--dry-run")
    assert "2 groups of inputs that are processed as one:\n  a.tfw, a.tif, a.tif.aux.xml\n  b.tfw" in said
    assert "does not match 1 input, as readme.txt: each is processed by itself" in said
    (runs.src / "b.tfw").unlink()
    said = runs(MERGE, "--group-by", pattern, "--group-size=3", "--exclude=*.txt", code=1)
    assert "1 group does not have 3 files, as b.tif, b.tif.aux.xml: not processed" in said
    assert {item["path"] for item in report(runs.dst)["failed"]} == {"b.tif", "b.tif.aux.xml"}
    assert set(runs.results()) == {"a.tif"}


def test_bad_groups_leave_nothing(runs: Runs) -> None:
    runs.write(*(f"{number:04}" for number in range(2001)))
    for argv, words in (
        (["--group-by=("], "neither stem nor folder nor a regular expression"),
        (["--group-by=nothing(.*)"], "matches no input, as '0000'"),
        (["--group-by=folder"], "the group of '0000' has 2001 files, and a batch has at most 2000"),
        (["--group-size=2"], "--group-size needs --group-by"),
    ):
        said = runs("ls", *argv, code=2)
        assert words in said.splitlines()[-1], said
    assert not os.path.exists(runs.dst)


@pytest.mark.long
@pytest.mark.parametrize("tells", ["tells", "silent"])
def test_half_a_group_leaves_no_result(fab: Fab, program: str, tmp_path: Path, tells: str) -> None:
    """The program dies, or hangs, at the second file of a group whose first one has its result already."""
    src, dst = tmp_path / "src", tmp_path / "dst"
    src.mkdir()
    for number in range(10):
        for name in (f"{number}_1.bin", f"{number}_2.{({3: 'exits', 7: 'hangs'}).get(number, 'bin')}"):
            (src / name).write_text(name)
    argv = ["run", f"--src={src}", f"--dst={dst}", f"--image={program}", f"--args=poison {tells} 0.05"]
    fab(*argv, r"--group-by=(\d)_.*", "--group-size=2", "--retries=1", "--timeout=3", code=1)
    failed = {item["path"]: item["reason"] for item in report(dst)["failed"]}
    assert failed.keys() == {"3_1.bin", "3_2.exits", "7_1.bin", "7_2.hangs"}
    assert failed["3_1.bin"] == failed["3_2.exits"]
    assert "exit 3" in failed["3_1.bin"]
    assert "timeout" in failed["7_2.hangs"]
    wanted = {key: content for key, content in tree(src).items() if os.fsdecode(key) not in failed}
    assert tree(dst) == wanted
    assert report(dst)["left"] == 0
    assert fab("verify", "--dst", str(dst), "--json", code=1).stdout.count("it failed: ") == 4
