"""Faults at random, under several runs at once: of the workers, of each run's DST, and of its inputs."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.chaos import WORKERS, Dst, Workers, write_inputs
from tests.fleet.harness import Fab, docker, tree
from tests.fleet.mounts import small_disk

TOGETHER = 5
"""So many seeds share the fleet, each with a run of its own: their faults meet each other's."""
COUNT = 120
AFTER = 3
"""Runs that may clean up: a Docker that was killed can't always remove a container at once."""
PATIENCE = 300.0


@dataclass
class Outcome:
    """What a seed's runs came to: their exit codes, what they said, and what was wrong after any of them.

    `done` is how often each input was done, `failed` why the last run has no result of it.
    """

    codes: list[int] = field(default_factory=list)
    said: str = ""
    wrong: list[str] = field(default_factory=list)
    done: Counter[bytes] = field(default_factory=Counter)
    failed: dict[bytes, str] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    def check(self, code: int, is_right: bool, *what: object) -> None:
        """Note what is wrong after a run that ended with `code`, unless it is right."""
        if not is_right:
            self.wrong.append(f"run {len(self.codes)} ended with {code}: {' '.join(map(str, what))}")


def survive(fab: Fab, program: str, src: Path, dst: Dst) -> Outcome:
    """Run the same command until all is done but poison, and check after each run."""
    outcome, wanted = Outcome(), tree(src)
    argv = ["run", f"--src={src}", f"--dst={dst.path}", f"--image={program}", "--timeout=8", "--memory=64m"]
    argv.append(f"--jobs={dst.options.jobs}")
    argv.append(f"--args=poison {'tells' if dst.options.tells else 'silent'} 0.3")
    argv += [r"--group-by=(\d\d)\d\..*"] if dst.options.groups else []
    settings = {} if dst.options.caches else {"FANRUN_CACHE_BYTES": "off"}
    end = time.monotonic() + PATIENCE
    while not is_over(outcome, dst) and time.monotonic() < end:
        ended = fab(*argv, code=None, **settings)
        with dst.lock:
            outcome.codes.append(ended.returncode)
            outcome.said += ended.stdout + ended.stderr
            check_run(fab, dst, wanted, outcome, ended.returncode)
    return outcome


def is_over(outcome: Outcome, dst: Dst) -> bool:
    """Whether the last run left nothing but poison, and what belongs to it."""
    return outcome.codes[-1:] == [0] or (outcome.codes[-1:] == [1] and outcome.failed.keys() <= dst.doomed)


def check_run(fab: Fab, dst: Dst, wanted: dict[bytes, bytes], outcome: Outcome, code: int) -> None:
    """Note what is wrong with the results, the report, the joblog and the proof of a run that has just ended."""
    outcome.check(code, code in range(4), "no such exit code")
    results = {key: content for key, content in tree(dst.path).items() if not key.endswith(b".moved")}
    strange = [key for key, content in results.items() if wanted.get(key) != content]
    outcome.check(code, not strange, "results of no input, or not of their own:", strange)
    folder = latest(dst.path)
    if folder is None or folder.name in outcome.runs:
        outcome.check(code, code in (2, 3), "there is no report")
        return
    outcome.runs.append(folder.name)
    last = account(folder, outcome)
    report = read_report(folder)
    outcome.check(code, report is not None or code in (2, 3), "there is no report")
    if report is None:
        return
    check_report(report, len(wanted), outcome, code)
    outcome.check(code, not outcome.failed.keys() & results.keys(), "inputs failed that have one:", outcome.failed)
    missing = wanted.keys() - results.keys() - outcome.failed.keys()
    # The run looks once more after the last input was done: what was taken away before that it must have noticed.
    unnoticed = {key for key in missing if dst.removed.get(key, 0) < last}
    outcome.check(code, code == 3 or not unnoticed, "inputs without a result or a reason:", unnoticed)
    proof = json.loads(fab("verify", f"--dst={dst.path}", "--json", code=None).stdout)
    faults = {key.encode() for key in proof["faults"]}
    outcome.check(code, proof["run"] == folder.name, "the proof is of another run:", proof["run"])
    unproven = wanted.keys() - results.keys() - faults
    done = faults - outcome.failed.keys() - dst.options.related(missing, wanted)
    outcome.check(code, not unproven, "the proof misses what has no result:", unproven, proof)
    outcome.check(code, not done, "the proof names inputs that are done:", done, proof)


def check_report(report: dict[str, Any], count: int, outcome: Outcome, code: int) -> None:
    """Note what is wrong with the numbers of a report about so many inputs."""
    outcome.failed = {key["path"].encode(): key["reason"] for key in report["failed"]}
    sums = report["done"] + report["kept"] + report["left"] + len(outcome.failed)
    outcome.check(code, sums == report["inputs"] == count, "it does not add up:", report)
    outcome.check(code, all(outcome.failed.values()), "an input failed for no reason:", outcome.failed)
    outcome.check(code, code != 0 or not outcome.failed, "inputs failed:", outcome.failed)
    outcome.check(code, code != 1 or bool(outcome.failed), "nothing failed")
    outcome.check(code, (code == 3) == (report["left"] > 0) or code == 3, "inputs are left:", report["left"])


def latest(dst: Path) -> Path | None:
    """Return the folder of the latest run into DST, if there is one."""
    with contextlib.suppress(OSError):
        return max((dst / ".fanrun" / "runs").iterdir(), key=lambda path: path.name, default=None)
    return None


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return a run's report; None where it could not be written."""
    with contextlib.suppress(FileNotFoundError):
        data: dict[str, Any] = json.loads((folder / "report.json").read_text())
        return data
    return None


def account(folder: Path, outcome: Outcome) -> float:
    """Count what a run's joblog says was done; returns when the last input was, in seconds since 1970."""
    path = folder / "joblog.tsv"
    lines = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    done = Counter(line[0].encode() for line in lines if line[-1] != "-")
    outcome.wrong += [f"{key!r} was done {times} times in one run" for key, times in done.items() if times > 1]
    outcome.done.update(done)
    return path.stat().st_mtime


def leavings(fab: Fab) -> list[str]:
    """Return what runs have left on the hosts and in the fleet's folder."""
    found = []
    for host in ("hub", *WORKERS):
        look = (
            "docker ps --all --format '{{.Names}}' --filter label=fanrun.run; ls /var/lib/fanrun/runs 2>/dev/null || :"
        )
        found += [f"{host}: {line}" for line in fab.on(host, look).split()]
    runs = (fab.home / fab.fleet / "runs").iterdir()
    return found + [f"{path.name}: {', '.join(path.read_text().split())}" for path in runs]


@dataclass
class Chaos:
    """What the seeds came to that ran together, and what was left on the hosts after them and a few more runs."""

    outcomes: dict[int, Outcome]
    dsts: dict[int, Dst]
    left: list[str]


def let_loose(fab: Fab, program: str, top: Path, seeds: range) -> Chaos:
    """Let the faults of some seeds happen to their runs, all at once; then repair the fleet and run once more."""
    with contextlib.ExitStack() as disks:
        dsts = {}
        for seed in seeds:
            write_inputs(top / f"src-{seed}", seed, COUNT)
            disk = disks.enter_context(small_disk(top / f"disk-{seed}", mib=64))
            dsts[seed] = Dst(disk, seed, frozenset(tree(top / f"src-{seed}")))
        workers = Workers(fab)
        with ThreadPoolExecutor(4 * TOGETHER) as pool:
            runs = {seed: pool.submit(survive, fab, program, top / f"src-{seed}", dsts[seed]) for seed in seeds}
            torments = [pool.submit(workers.torment, seed) for seed in seeds]
            torments += [pool.submit(dsts[seed].torment) for seed in seeds]
            if joining := [seed for seed in seeds if dsts[seed].options.joins]:
                torments.append(pool.submit(workers.join, joining[0]))
            for each in torments:
                each.result()
            fab("up", "--hosts=3")
            outcomes = {seed: run.result() for seed, run in runs.items()}
        for number in range(AFTER):
            dst = top / f"after-{number}"
            fab("run", f"--src={top / f'src-{seeds[0]}'}", f"--dst={dst}", f"--image={program}", "--args=copy")
            if not (left := leavings(fab)):
                break
        return Chaos(outcomes, dsts, left)


@pytest.fixture(scope="module")
def chaos(
    fab: Fab, program: str, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Callable[[int], Chaos]]:
    """What the seeds came to that ran beside the given one."""
    known: dict[int, Chaos] = {}
    count = pytestconfig.getoption("--chaos-seeds")

    def of(seed: int) -> Chaos:
        first = seed - seed % TOGETHER
        if first not in known:
            seeds = range(first, min(first + TOGETHER, count))
            known[first] = let_loose(fab, program, tmp_path_factory.mktemp("chaos"), seeds)
        return known[first]

    fab("up", "--hosts=3")
    try:
        yield of
    finally:
        for worker in WORKERS:  # what a failed test may have left so
            container = fab.containers()[worker]
            if "true" in docker("inspect", "--format={{.State.Paused}}", container):
                docker("unpause", container)
        fab("up", "--hosts=2")


def test_every_input_has_its_own_result_or_a_reason_whatever_happens(chaos: Callable[[int], Chaos], seed: int) -> None:
    together = chaos(seed)
    outcome, dst = together.outcomes[seed], together.dsts[seed]
    assert outcome.wrong == [], outcome.said
    assert "Traceback" not in outcome.said
    assert is_over(outcome, dst), (outcome.codes, outcome.said)
    assert outcome.failed.keys() == dst.doomed, outcome.said
    again = {key for key, times in outcome.done.items() if times > 1}
    assert again <= dst.removed.keys(), "done again, though nobody took the results away"
    assert together.left == []
