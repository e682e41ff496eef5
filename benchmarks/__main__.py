"""Measures `fab run` against a shell script and GNU parallel on a fleet of its own, and pixels: see script/bench."""

from __future__ import annotations

import argparse
import datetime
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import breakdown, contest, logs, machine, pixels, results
from benchmarks.contest import BenchError
from benchmarks.fleet import FAB, FLEET, HERE, STOP_SIGNALS, fab, say, start_fleet
from benchmarks.jobs import TIMES, copy_times, list_jobs

PLATES = 59
PIXELS, LOGS = "pixels", "logs"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; ends the program with 2 if it is wrong."""
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument("src", nargs="?", type=Path, help=f"a folder of images (default: {PLATES} that are drawn)")
    parser.add_argument("--pairs", type=int, help="rounds of each job (default: 5 of the small, 3 of the large)")
    parser.add_argument(
        "--only", help="measure the jobs whose name contains this, or `pixels`, which need no fleet, or `logs`"
    )
    parser.add_argument(
        "--write", action="store_true", help="write to benchmarks/results.md; parts that were not measured stay"
    )
    parser.add_argument("--profile", action="store_true", help="tell where the time of `fab run` goes")
    found = parser.parse_args(argv)
    if found.pairs is not None and found.pairs < 1:
        parser.error("--pairs: give 1 or more")
    if found.src is not None and not found.src.is_dir():
        parser.error(f"{found.src} is not a folder")
    return found


def bench(options: argparse.Namespace, scratch: Path) -> int:
    """Measure, print, and write what was asked for; 1 when a goal is missed."""
    if options.only == PIXELS:
        lines, missed = pixels.measure(options.src, options.pairs or 7, say)
    elif options.only == LOGS:
        lines, missed = bench_logs(options, scratch)
    else:
        lines, missed = bench_fleet(options, scratch)
    print("\n".join(lines))
    if options.write:
        path = HERE / "results.md"
        path.write_text(results.merge(path.read_text() if path.exists() else "", "\n".join(lines)))
    return int(missed)


def bench_logs(options: argparse.Namespace, scratch: Path) -> tuple[list[str], bool]:
    """Measure what it costs to keep logs; lines of Markdown, and whether the goal was missed."""
    plates, src = scratch / "plates", scratch / "in"
    fab("sample", "--dst", str(plates), f"--count={PLATES}")
    copy_times(plates, src, TIMES)
    with start_fleet() as folder:
        cpu, wall = logs.measure(src, FLEET, scratch, options.pairs or 10, say)
        return logs.report(cpu, wall, machine.lines(folder))


def bench_fleet(options: argparse.Namespace, scratch: Path) -> tuple[list[str], bool]:
    """Measure runs on a fleet, then pixels; lines of Markdown, and whether a goal was missed."""
    src = options.src
    if src is None:
        src = scratch / "sample"
        fab("sample", "--dst", str(src), f"--count={PLATES}")
    with start_fleet() as folder:
        todo = [
            job for job in list_jobs(folder, scratch, src.resolve(), options.pairs) if (options.only or "") in job.name
        ]
        if not todo:
            raise BenchError(f"no job has {options.only!r} in its name")
        today = datetime.datetime.now(datetime.timezone.utc).date()
        lines = ["# Results", "", f"Made by script/bench on {today}:", "", *machine.lines(folder), ""]
        # The first run of each fills the caches of all disks, so it is not measured.
        for rival in todo[0].rivals[:2]:
            contest.run_rival(rival, scratch / f"warm-{rival.name}")
        missed = False
        for job in todo:
            with job.handicap():
                seconds = contest.run_job(job, scratch, say)
            lines += contest.to_markdown(job, seconds)
            missed = missed or not all(ratio.met(seconds) for ratio in job.ratios)
        if options.profile:
            lines += breakdown.measure(FAB, todo[0].src, scratch, todo[0].rounds)
    if not options.only:
        more, missed_there = pixels.measure(options.src, options.pairs or 7, say)
        lines, missed = lines + more, missed or missed_there
    return lines, missed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    options = arguments(argv)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="fanrun-bench-") as scratch:
            return bench(options, Path(scratch))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
