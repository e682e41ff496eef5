"""Each input has its own results, whatever the program calls them, however often it is run."""

from __future__ import annotations

import time

import pytest

from tests.fleet.harness import Runs, log, report, run_folder, tree
from tests.waiting import wait_until

EACH = 'find . -type f | while read -r f; do mkdir -p "$1/$(dirname "$f")"; {} ; done'
OWN_PATH = EACH.format('echo "$f" >"$1/$f"')
PNG = EACH.format('echo "$f" >"$1/${f%.*}.png"')


def test_equal_inputs_keep_results_of_their_own(runs: Runs) -> None:
    runs.write("cat/1.jpg", "dog/1.jpg", content="same")
    runs(OWN_PATH)
    assert runs.results() == {"cat/1.jpg": "./cat/1.jpg", "dog/1.jpg": "./dog/1.jpg"}
    runs.again(OWN_PATH)
    runs.write("owl/1.jpg", content="same")
    runs(OWN_PATH)
    assert runs.results()["owl/1.jpg"] == "./owl/1.jpg"
    runs.write("yak/1.jpg", content="same")
    runs(OWN_PATH, "--by-content")
    assert runs.results()["yak/1.jpg"] == "./cat/1.jpg", "as it was asked for"


def test_two_inputs_of_one_result_path(runs: Runs) -> None:
    """In one batch or in two, the first has it, and both are named."""
    runs.write(*(f"{n:02}" for n in range(40)), "scan.jpg", "scan.tif", "zoom.jpg", "zoom.tif")
    script = EACH.format('case ${f#./} in *.*) echo "$f" >"$1/${f%.*}.png" ;; *) echo "$f" >"$1/$f" ;; esac')
    said = runs(script, code=1)
    assert runs.results() | {"scan.png": "./scan.jpg", "zoom.png": "./zoom.jpg"} == runs.results()
    failed = {item["path"]: item["reason"] for item in report(runs.dst)["failed"]}
    assert failed == {
        f"{name}.tif": f"its result {name}.png has the same path as that of {name}.jpg, which keeps it"
        for name in ("scan", "zoom")
    }
    assert "scan.tif: its result scan.png has the same path as that of scan.jpg" in said
    assert "42 of 44 inputs" in runs.verify(code=1)
    before = runs.results()
    (runs.src / "zoom.bmp").write_text("earlier by name, later by time")
    runs(script, code=1)
    assert runs.results() == before, "an owner keeps its path"
    (runs.src / "scan.jpg").unlink()
    runs(script, code=1)
    assert runs.results()["scan.png"] == "./scan.tif", "its owner is gone"


@pytest.mark.long
def test_results_of_names_that_have_much_in_common(runs: Runs) -> None:
    logs = [
        "syslog",
        *(f"syslog.{n}" for n in range(1, 20)),
        "a.csv",
        "a.log",
        "a.txt",
        "x.fastq.gz",
        "p1.tif",
        "p10.tif",
    ]
    runs.write(*logs)
    script = EACH.format('echo "$f" >"$1/$f.gz"')
    runs(script)
    assert runs.results() == {f"{name}.gz": f"./{name}" for name in logs}
    runs.again(script)
    (runs.src / "syslog.3").rename(runs.src / "kern.3")
    runs(script)
    assert runs.results()["kern.3.gz"] == "./kern.3"
    assert not any(name.startswith("kern") and name != "kern.3.gz" for name in runs.results())


def test_an_input_that_is_passed_over_has_failed(runs: Runs) -> None:
    runs.write("a.csv", "a.log", "a.txt")
    said = runs(EACH.format('case $f in *.csv) ;; *) echo "$f" >"$1/$f.gz" ;; esac'), code=1)
    assert "2 of 3 inputs done" in said
    assert "a.csv: the program ended well but left no result for it" in said


def test_results_in_folders(runs: Runs) -> None:
    runs.write("a.jpg", "d/b.jpg")
    script = EACH.format(
        'mkdir -p "$1/64/$(dirname "$f")" "$1/${f%.*}"; echo "$f" >"$1/64/${f%.*}.png"; '
        'echo "$f" >"$1/${f%.*}/tile_0.png"'
    )
    runs(script)
    assert runs.results() == {
        "64/a.png": "./a.jpg",
        "a/tile_0.png": "./a.jpg",
        "64/d/b.png": "./d/b.jpg",
        "d/b/tile_0.png": "./d/b.jpg",
    }
    runs.again(script)


def test_files_of_nobody_are_kept_apart_and_counted_once(runs: Runs) -> None:
    runs.write(*(f"{n}.bin" for n in range(30)))
    said = runs('ls >"$1/summary.csv"; cp -R . "$1"')
    assert runs.results() == {f"{n}.bin": f"{n}.bin" for n in range(30)}
    extra = run_folder(runs.dst) / "extra"
    kept = sorted(extra.glob("*/summary.csv"))
    assert len(kept) == report(runs.dst)["extra"] >= 2
    assert sorted(name for path in kept for name in path.read_text().split()) == sorted(runs.results())
    assert f"to no input: in {extra}" in said


def test_what_is_no_result_is_named(runs: Runs) -> None:
    runs.write("a.jpg", "b.jpg", "c.jpg")
    said = runs('ln -s /in/a.jpg "$1/a.jpg"; : >"$1/b.png.part"; echo c >"$1/c.jpg"', code=1)
    assert "a.jpg is not a regular file, so it is no result" in said
    assert "b.png.part has a name that --ignore-results passes over" in said
    assert runs.results() == {"c.jpg": "c"}


def test_results_that_are_expected(runs: Runs) -> None:
    runs.write("a.jpg", "b.jpg")
    script = 'for f in *; do : >"$1/${f%.*}.txt"; done; : >"$1/a.pdf"; : >"$1/a.log"'
    said = runs(script, "--expect={stem}.txt,{stem}.pdf", code=1)
    assert "b.jpg: its result b.pdf is missing" in said
    assert set(runs.results()) == {"a.txt", "a.pdf"}


def test_links_that_lead_nowhere_are_inputs_that_fail(runs: Runs) -> None:
    runs.write("a.jpg")
    (runs.src / "annexed.jpg").symlink_to("../objects/1")
    said = runs(OWN_PATH, code=1)
    assert "annexed.jpg: it is a link to ../objects/1, which can't be read (No such file or directory)" in said
    assert runs.results() == {"a.jpg": "./a.jpg"}
    assert "annexed.jpg: it is a link to ../objects/1" in runs.verify(code=1)


def test_a_program_has_a_home_and_may_run_what_it_unpacks(runs: Runs) -> None:
    runs.write("a")
    script = 'mkdir -p ~/.cache && printf "#!/bin/sh\\necho ran in $HOME\\n" >/tmp/x; chmod +x /tmp/x; /tmp/x >"$1/a"'
    runs(script)
    assert runs.results() == {"a": "ran in /tmp"}


@pytest.mark.parametrize("code", [124, 126, 127])
def test_a_programs_own_exit_code_is_told_as_it_is(runs: Runs, code: int) -> None:
    runs.write("a")
    said = runs(f"echo no luck >&2; exit {code}", "--retries=0", code=1)
    assert f"a: the program ended with exit {code}: no luck" in said
    assert "timeout" not in said


def test_lines_of_a_report_may_name_inputs_as_the_program_sees_them(runs: Runs) -> None:
    runs.write("f1.txt", "f2.txt", "f3.txt")
    script = (
        'echo "not JSON" >>$FANRUN_REPORT; for f in *; do echo "$f" >"$1/$f"; '
        'echo "{\\"path\\": \\"$PRE$f\\", \\"ok\\": true}" >>$FANRUN_REPORT; done; exit 1'
    )
    for prefix in ("./", "/in/"):
        said = runs(script.replace("$PRE", prefix), "--force")
        assert said.count("the program's report has lines that can't be used, as 'not JSON'") == 1
    assert len(runs.results()) == 3
    assert "the program's report has lines" in (run_folder(runs.dst) / "run.log").read_text()


@pytest.mark.parametrize("instead", ["nothing", "another"])
def test_a_dst_that_is_removed_ends_the_run_at_once(runs: Runs, instead: str) -> None:
    """Though there may be another one in its place."""
    runs.write(*(f"{n}.bin" for n in range(40)))
    where = ["--src", str(runs.src), "--dst", str(runs.dst), "--image", runs.shell]
    script = "'cd $0; for f in *; do sleep 0.5; cp $f $1; done'"
    run = runs.fab.start("run", *where, "--args", script)
    wait_until(lambda: "process" in log(runs.dst))
    runs.dst.rename(runs.dst.with_name("elsewhere"))
    if instead == "another":
        (runs.dst / ".fanrun" / "staging").mkdir(parents=True)
    begun = time.monotonic()
    out, err = run.communicate(timeout=30)
    assert (run.returncode, "Traceback" in err) == (3, False), out + err
    assert f"{str(runs.dst)!r} was removed or renamed during the run; 40 of 40 inputs are left" in err
    assert time.monotonic() - begun < 20
    for host in ("worker-1", "worker-2"):
        assert "fanrun-" not in runs.fab.on(host, "docker ps --all")
    assert not runs.dst.exists() or tree(runs.dst) == {}


@pytest.mark.long
@pytest.mark.parametrize("when", ["during the run", "before the run"])
def test_a_result_that_is_removed_during_the_run_is_made_again(runs: Runs, when: str) -> None:
    """Be it one that the run made itself, or one that was there before."""
    where = ["--src", str(runs.src), "--dst", str(runs.dst), "--image", runs.shell]
    script = "'cd $0; for f in *; do sleep 0.2; cp $f $1; done'"
    if when == "before the run":
        runs.write("40.bin")
        runs.fab("run", *where, "--args", script)
    runs.write(*(f"{n:02}.bin" for n in range(40 if when == "during the run" else 39)))
    run = runs.fab.start("run", *where, "--args", script)
    wait_until(lambda: runs.dst.exists() and b"0" in {name[:1] for name in tree(runs.dst)})
    gone = runs.files()[0] if when == "during the run" else runs.dst / "40.bin"
    gone.unlink()
    out, err = run.communicate(timeout=60)
    assert (run.returncode, "Traceback" in err) == (3, False), out + err
    assert "results of 1 input were removed from DST during the run; 1 of 40 inputs are left" in err
    done = runs.fab("run", *where, "--args", script)
    assert done.stdout.startswith("1 of 40 inputs done")
    assert tree(runs.dst) == tree(runs.src)
