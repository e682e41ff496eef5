"""process.py's children: signals, children that are killed, cores, memory, limits."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.process_program import command, files, picture, rotated, run
from tests.waiting import wait_until


@dataclass(frozen=True)
class Running:
    """The program at work on a folder of `total` names of one slow image."""

    process: subprocess.Popen[str]
    output: Path
    total: int
    expected: bytes

    def done(self) -> int:
        return sum(1 for _ in self.output.glob("[!.]*"))

    def children(self) -> list[int]:
        folder = Path(f"/proc/{self.process.pid}/task")
        try:
            return [int(pid) for task in folder.iterdir() for pid in (task / "children").read_text().split()]
        except OSError:
            return []

    def wait(self) -> str:
        """Wait for its end; everything it leaves is complete."""
        _, errors = self.process.communicate(timeout=60)
        assert "Traceback" not in errors
        assert all(path.read_bytes() == self.expected for path in self.output.iterdir())
        return errors


def state(pid: int) -> str:
    """Tell a process's state as ps does; Z is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def alive(pid: int) -> bool:
    return state(pid) != "Z"


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[subprocess.Popen[str]] = []

    def launch(total: int, *options: str, prefix: list[str] | None = None, **variables: str | Path) -> Running:
        source = tmp_path / "in"
        source.mkdir()
        picture(width=400, height=300).save(source / "0.png")
        for number in range(1, total):
            (source / f"{number}.png").hardlink_to(source / "0.png")
        argv = command(source, tmp_path / "out", *options, prefix=prefix)
        environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        process = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return Running(process, tmp_path / "out", total, rotated(source / "0.png", tmp_path / "expected"))

    yield launch
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", STOPS)
def test_a_signal_ends_it(launch: Callable[..., Running], number: signal.Signals, workers: str) -> None:
    running = launch(2000, "--workers", workers)
    wait_until(lambda: running.done() > 1)
    children = running.children()
    assert len(children) == (0 if workers == "1" else 2)
    running.process.send_signal(number)
    assert running.wait() == ""
    assert running.process.returncode == 128 + number
    assert 1 < running.done() < running.total
    assert not any(alive(pid) for pid in children)


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_to_the_whole_group_ends_it(launch: Callable[..., Running], number: signal.Signals) -> None:
    running = launch(2000, "--workers", "3")
    wait_until(lambda: running.done() > 1)
    os.killpg(running.process.pid, number)
    assert running.wait() == ""
    assert running.process.returncode == 128 + number


def test_a_signal_does_not_wait_for_the_children(launch: Callable[..., Running]) -> None:
    running = launch(2000, "--workers", "2")
    wait_until(lambda: running.done() > 1)
    children = running.children()
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    naps: list[str] = []

    def sleeps() -> bool:
        """Tell whether the program has nothing to do but to wait for its children."""
        naps.append(state(running.process.pid))
        return len(naps) > 25 and set(naps[-25:]) == {"S"}

    wait_until(sleeps)
    running.process.send_signal(signal.SIGTERM)
    assert running.wait() == ""
    assert running.process.returncode == 128 + signal.SIGTERM
    assert len(children) == 2
    assert not any(alive(pid) for pid in children)


def test_many_signals_at_once_end_it(launch: Callable[..., Running]) -> None:
    running = launch(2000)
    wait_until(lambda: running.done() > 1)
    for number in STOPS * 3:
        running.process.send_signal(number)
    assert running.wait() == ""
    assert running.process.returncode in {128 + number for number in STOPS}


def test_a_killed_child_costs_only_its_file(launch: Callable[..., Running], tmp_path: Path) -> None:
    running = launch(30, "--workers", "2", FANRUN_REPORT=tmp_path / "report")
    wait_until(running.children)
    victim = running.children()[0]
    # Stopped, it keeps whatever it is at or will be given next: once others go on, it does have a file in its hands.
    os.kill(victim, signal.SIGSTOP)
    before = running.done()
    wait_until(lambda: running.done() >= before + 3)
    for name in {f"{number}.png" for number in range(30)} - files(running.output):
        with suppress(FileExistsError), (running.output / name).open("xb") as file:
            file.write(b"stale")
    os.kill(victim, signal.SIGKILL)
    lines = running.wait().splitlines()
    assert running.process.returncode == 1
    assert len(lines) == 2
    found = re.fullmatch(r"process\.py: (\d+\.png): the process that worked on it died \(signal 9\)", lines[0])
    assert found
    assert lines[1] == "process.py: 29 done, 1 failed"
    assert files(running.output) == {f"{number}.png" for number in range(30)} - {found[1]}
    entries = [json.loads(line) for line in (tmp_path / "report").read_text().splitlines()]
    assert len(entries) == 30
    assert [entry["path"] for entry in entries if not entry["ok"]] == [found[1]]


def test_children_do_not_outlive_it(launch: Callable[..., Running]) -> None:
    running = launch(2000, "--workers", "3")
    wait_until(lambda: len(running.children()) == 3 and running.done() > 2)
    children = running.children()
    running.process.kill()
    wait_until(lambda: not any(alive(pid) for pid in children))


def test_every_core_it_may_use_is_used(launch: Callable[..., Running]) -> None:
    running = launch(2000)
    wait_until(lambda: running.done() > 2)
    cores = len(os.sched_getaffinity(0))
    assert len(running.children()) == (cores if cores > 1 else 0)


def test_only_cores_it_may_use_are_used(launch: Callable[..., Running]) -> None:
    core = min(os.sched_getaffinity(0))
    running = launch(2000, prefix=["taskset", "--cpu-list", str(core)])
    wait_until(lambda: running.done() > 2)
    assert not running.children()


@pytest.mark.parametrize("limit", range(6, 12))
def test_where_no_more_processes_may_start_no_file_is_lost(limit: int, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(12):
        picture().save(tmp_path / f"in/{number}.png")
    finished = run(tmp_path / "in", tmp_path / "out", "--workers", "9", prefix=["prlimit", f"--nofile={limit}"])
    failures = [line for line in finished.stderr.splitlines() if line.endswith(": Too many open files")]
    assert finished.returncode == (1 if failures else 0)
    assert len(files(tmp_path / "out")) + len(failures) == 12


def peak(folder: Path, count: int) -> int:
    """Tell the peak memory of a run over so many files, in KiB."""
    source = folder / str(count)
    source.mkdir()
    picture(width=1, height=1).save(source / "first.bmp")
    for number in range(1, count):
        (source / f"{number:0100}.bmp").hardlink_to(source / "first.bmp")
    process = subprocess.Popen(command(source, folder / "out"))
    peaks = [0]

    def ended() -> bool:
        # Not ru_maxrss: it begins with what pytest itself had at the fork.
        peaks.extend(map(int, re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())))
        return process.poll() is not None

    wait_until(ended, 60)
    assert process.returncode == 0
    return max(peaks)


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    assert peak(tmp_path, 4_000) - peak(tmp_path, 100) < 1_500
