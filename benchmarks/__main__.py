"""Measures `fab run` against a shell script and GNU parallel on a fleet of its own, and pixels: see script/bench."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import breakdown, contest, logs, machine, pixels, results
from benchmarks.contest import SETTLED, BenchError, Job, Ratio, Rival
from benchmarks.handicap import little_cpu, slow_links
from fanrun.fanout.plan import deal, walk
from fanrun.fleet import config
from fanrun.fleet.ssh_commands import ssh_argv
from fanrun.fleet.store import Folder
from provision import deployment

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
FAB = (str(Path(sys.executable).with_name("fab")), "--search-root", str(ROOT))
FLEET = "bench"
WORKERS = 2
PLATES = 59
TIMES, FEWER = 40, 5
MBIT = 20
HEAVY = "fanrun-bench-heavy"
PIXELS, LOGS = "pixels", "logs"
STOPS = (signal.SIGHUP, signal.SIGTERM)
FANRUN, SHELL, PARALLEL, SHARED = "fab run", "shell script", "GNU parallel", "GNU parallel, shared connections"


def say(text: str) -> None:
    """Tell how it goes."""
    print(f"==> {text}", file=sys.stderr, flush=True)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """What was typed; ends with 2 where it can't be meant."""
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


def fab(*argv: str) -> None:
    """Run a task, its output shown; BenchError if it fails."""
    done = subprocess.run([*FAB, *argv], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise BenchError(f"fab {argv[0]} ended with {done.returncode}")


@contextlib.contextmanager
def fleet() -> Iterator[Folder]:
    """A fleet of two workers, gone afterwards whatever happens."""
    home = config.settings(ROOT, {}, os.environ, {}).home
    os.environ["FANRUN_HOME"] = str(home)  # fabric.yaml may name another
    try:
        fab("up", f"--hosts={WORKERS}", "--fleet", FLEET)
        yield Folder(home, FLEET)
    finally:
        # A second Ctrl-C would leave hosts behind.
        for number in (signal.SIGINT, *STOPS):
            signal.signal(number, signal.SIG_IGN)
        fab("down", "--yes", "--fleet", FLEET)


def copy(src: Path, dst: Path) -> None:
    """A copy of a folder's regular files, by hard links where that can be."""

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    shutil.copytree(src, dst, copy_function=link)


def lists(src: Path, folder: Path, names: Sequence[str]) -> Path:
    """Write the files under SRC, ended by NULs: all of them to `all`, each worker's share to its name."""
    folder.mkdir()
    inputs, _ = walk(str(src))
    for name, share in {"all": inputs, **deal(inputs, names)}.items():
        (folder / name).write_bytes(b"".join(item.key + b"\0" for item in share))
    return folder


def rivals(folder: Folder, src: Path, image_name: str = deployment.OWN) -> dict[str, Rival]:
    """The ways to do the job of SRC on the fleet with an image; their lists of files are made beforehand."""
    names = [host.name for host in folder.load().workers]
    files = lists(src, src.parent / "lists", names)
    count = -(-len((files / "all").read_bytes().split(b"\0")[1:]) // len(names))

    def image() -> str:
        return folder.load().images[image_name].ref

    def clean() -> None:
        argv = ["sudo", "-n", "rm", "-rf", "/var/lib/fanrun/bench.in", "/var/lib/fanrun/bench.out"]
        for name in names:
            subprocess.run(ssh_argv(folder, name, argv), stdout=subprocess.DEVNULL, check=True)

    def run(dst: Path) -> list[str]:
        chosen = [] if image_name == deployment.OWN else ["--image", image_name]
        return [*FAB, "run", "--src", str(src), "--dst", str(dst), "--fleet", FLEET, *chosen]

    def shell(dst: Path) -> list[str]:
        place = [str(folder.ssh_config), image(), str(files), str(src), str(dst)]
        return [str(HERE / "shell.sh"), *place, *names]

    def parallel(dst: Path, *options: str) -> list[str]:
        ssh = shlex.join(["ssh", "-F", str(folder.ssh_config), *options])
        place = [ssh, image(), str(files / "all"), str(src), str(dst), str(count)]
        return [str(HERE / "parallel.sh"), *place, *names]

    def alone(dst: Path) -> list[str]:
        return parallel(dst, "-o", "ControlPath=none")

    found = [
        Rival(FANRUN, run), Rival(SHELL, shell, before=clean), Rival(PARALLEL, alone, "out"),
        Rival(SHARED, parallel, "out"),
    ]  # fmt: skip
    return {rival.name: rival for rival in found}


def jobs(folder: Folder, scratch: Path, src: Path, pairs: int | None) -> list[Job]:
    """The folder as it is; 40 times over, on links as they are and on slow ones; and heavy work for unequal workers."""
    small, large, middle = scratch / "small" / "in", scratch / "large" / "in", scratch / "middle" / "in"
    copy(src, small)
    for turn in range(TIMES):
        copy(small, large / f"{turn:02}")
    for turn in range(FEWER):
        copy(small, middle / f"{turn:02}")
    of_small, of_large, of_middle = rivals(folder, small), rivals(folder, large), rivals(folder, middle, heavy(folder))
    count = len(walk(str(small))[0])
    names = [host.name for host in folder.load().workers]

    def pair(found: dict[str, Rival], most: float) -> tuple[tuple[Rival, ...], tuple[Ratio, ...]]:
        return (found[FANRUN], found[SHELL]), (Ratio(FANRUN, SHELL, most=most),)

    return [
        Job(
            f"{count} images", small, pairs or 5, tuple(of_small.values()),
            (Ratio(FANRUN, SHELL, most=1.5), Ratio(PARALLEL, FANRUN, least=8), Ratio(SHARED, FANRUN)),
        ),
        Job(f"{count * TIMES:,} images", large, pairs or 3, *pair(of_large, 1.1), pause=SETTLED),
        Job(
            f"{count * TIMES:,} images, links of {MBIT} Mbit/s each way", large, pairs or 3, *pair(of_large, 0.6),
            handicap=lambda: slow_links(folder, MBIT),
        ),
        Job(
            f"{count * FEWER:,} images, a heavier operation, {names[1]} with a quarter of {names[0]}'s processor",
            middle, pairs or 3, *pair(of_middle, 0.6),
            handicap=lambda: little_cpu(folder, {names[0]: 1.0, names[1]: 0.25}),
        ),
    ]  # fmt: skip


def heavy(folder: Folder) -> str:
    """Build the image with the heavier operation, and bring it to the workers; returns its name."""
    base = folder.load().images[deployment.OWN].id
    argv = ["docker", "build", "--quiet", f"--build-arg=BASE={base}", f"--tag={HEAVY}", str(HERE / "heavy")]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"docker build ended with {done.returncode}: {done.stderr.strip()}")
    deployment.deploy(folder, ROOT, lambda name, text: say(f"{name}: {text}"), HEAVY)
    return HEAVY


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
    for turn in range(TIMES):
        copy(plates, src / f"{turn:02}")
    with fleet() as folder:
        cpu, wall = logs.measure(src, FLEET, scratch, options.pairs or 10, say)
        return logs.report(cpu, wall, machine.lines(folder))


def bench_fleet(options: argparse.Namespace, scratch: Path) -> tuple[list[str], bool]:
    """Measure runs on a fleet, then pixels; lines of Markdown, and whether a goal was missed."""
    src = options.src
    if src is None:
        src = scratch / "sample"
        fab("sample", "--dst", str(src), f"--count={PLATES}")
    with fleet() as folder:
        todo = [job for job in jobs(folder, scratch, src.resolve(), options.pairs) if (options.only or "") in job.name]
        if not todo:
            raise BenchError(f"no job has {options.only!r} in its name")
        today = datetime.datetime.now(datetime.timezone.utc).date()
        lines = ["# Results", "", f"Made by script/bench on {today}:", "", *machine.lines(folder), ""]
        # Nobody is measured cold: a first run fills the caches of everybody's disk.
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
        found, missed_there = pixels.measure(options.src, options.pairs or 7, say)
        lines, missed = lines + found, missed or missed_there
    return lines, missed


def main(argv: Sequence[str] | None = None) -> int:
    """Everything, and the exit code."""
    options = arguments(argv)
    for number in STOPS:
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
