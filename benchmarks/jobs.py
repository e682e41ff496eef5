"""What is measured on the fleet: the jobs, and the rivals that do each of them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.contest import SETTLED, Job, Ratio, Rival
from benchmarks.fleet import FAB, FLEET, HERE, deploy_image
from benchmarks.handicap import little_cpu, slow_links
from fanrun.fanout.plan import deal, walk
from fanrun.fleet.ssh_commands import ssh_argv
from fanrun.fleet.store import Folder
from provision import deployment

TIMES, FEWER, SINGLE = 40, 5, 400
MBIT = 20
FANRUN, AUTO, SHELL, MULTIPLEXED, PARALLEL, SHARED = (
    "fab run",
    "--jobs auto",
    "shell script",
    "shell script, one connection a host",
    "GNU parallel",
    "GNU parallel, shared connections",
)


FEW_GOALS = (
    Ratio(FANRUN, SHELL, most=1.5),
    Ratio(FANRUN, MULTIPLEXED, most=1.5),
    Ratio(PARALLEL, FANRUN, least=8),
    Ratio(SHARED, FANRUN),
)


def copy(src: Path, dst: Path) -> None:
    """Copy a folder's regular files, as hard links where possible."""

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    shutil.copytree(src, dst, copy_function=link)


def copy_times(src: Path, dst: Path, times: int) -> Path:
    """Copy a folder so many times into another, and return that."""
    for turn in range(times):
        copy(src, dst / f"{turn:02}")
    return dst


def write_lists(src: Path, folder: Path, names: Sequence[str]) -> Path:
    """Write the files under SRC, ended by NULs: all of them to `all`, each worker's share to its name."""
    folder.mkdir()
    inputs, _ = walk(str(src))
    for name, share in {"all": inputs, **deal(inputs, names)}.items():
        (folder / name).write_bytes(b"".join(item.key + b"\0" for item in share))
    return folder


@dataclass(frozen=True)
class Commands:
    """The commands that do the job of SRC on the fleet with a container image."""

    folder: Folder
    src: Path
    image_name: str
    workers: Sequence[str]
    lists: Path

    @property
    def image(self) -> str:
        """Return the reference of the container image."""
        return self.folder.load().images[self.image_name].ref

    def clean(self) -> None:
        """Remove what a run of shell.sh left on the workers."""
        argv = ["sudo", "-n", "rm", "-rf", "/var/lib/fanrun/bench.in", "/var/lib/fanrun/bench.out"]
        for name in self.workers:
            subprocess.run(ssh_argv(self.folder, name, argv), stdout=subprocess.DEVNULL, check=True)

    def fab_run(self, dst: Path, *options: str) -> list[str]:
        """Return the command of `fab run`."""
        image = [] if self.image_name == deployment.OWN else ["--image", self.image_name]
        return [*FAB, "run", "--src", str(self.src), "--dst", str(dst), "--fleet", FLEET, *image, *options]

    def shell(self, dst: Path, connections: str = "each") -> list[str]:
        """Return the command of the shell script, which makes a connection for each command, or a shared one."""
        paths = [str(self.folder.ssh_config), self.image, str(self.lists), str(self.src), str(dst)]
        return [str(HERE / "shell.sh"), connections, *paths, *self.workers]

    def parallel(self, dst: Path) -> list[str]:
        """Return the command of GNU parallel, with one connection for each batch."""
        return self.parallel_shared(dst, "-o", "ControlPath=none")

    def parallel_shared(self, dst: Path, *options: str, jobs: int = 1) -> list[str]:
        """Return the command of GNU parallel, with connections shared by batches unless ssh's options say otherwise.

        Each host runs so many containers at the same time, and each of these takes an equal part of the files.
        """
        ssh = shlex.join(["ssh", "-F", str(self.folder.ssh_config), *options])
        every = self.lists / "all"
        count = -(-every.read_bytes().count(b"\0") // (jobs * len(self.workers)))
        return [
            str(HERE / "parallel.sh"),
            ssh,
            self.image,
            str(every),
            str(self.src),
            str(dst),
            str(count),
            str(jobs),
            *self.workers,
        ]


def rivals(folder: Folder, src: Path, image_name: str = deployment.OWN) -> dict[str, Rival]:
    """Return the ways to do the job of SRC on the fleet; their lists of files are made beforehand."""
    names = [host.name for host in folder.load().workers]
    commands = Commands(folder, src, image_name, names, write_lists(src, src.parent / "lists", names))
    found = [
        Rival(FANRUN, commands.fab_run),
        Rival(SHELL, commands.shell, before=commands.clean),
        Rival(MULTIPLEXED, partial(commands.shell, connections="shared"), before=commands.clean),
        Rival(PARALLEL, commands.parallel, "out"),
        Rival(SHARED, commands.parallel_shared, "out"),
    ]
    return {rival.name: rival for rival in found}


def list_jobs(folder: Folder, scratch: Path, src: Path, pairs: int | None) -> list[Job]:
    """Return the jobs: the folder as it is; 40 times over, on links as they are and on slow ones; and heavy work."""
    small = scratch / "small" / "in"
    copy(src, small)
    large = copy_times(small, scratch / "large" / "in", TIMES)
    count = len(walk(str(small))[0])
    few = Job(
        f"{count} images",
        small,
        pairs or 5,
        tuple(rivals(folder, small).values()),
        FEW_GOALS,
    )
    found, rounds = rivals(folder, large), pairs or 3
    pair = (found[FANRUN], found[SHELL])
    goals = Ratio(FANRUN, SHELL, most=1.1), Ratio(FANRUN, MULTIPLEXED, most=1.05)
    many = Job(f"{count * TIMES:,} images", large, rounds, (*pair, found[MULTIPLEXED]), goals, pause=SETTLED)
    slow = Job(
        f"{count * TIMES:,} images, links of {MBIT} Mbit/s each way",
        large,
        rounds,
        pair,
        (Ratio(FANRUN, SHELL, most=0.6),),
        handicap=lambda: slow_links(folder, MBIT),
    )
    heavy = heavy_job(folder, copy_times(small, scratch / "middle" / "in", FEWER), rounds)
    return [few, many, slow, heavy, single_job(folder, scratch / "single" / "in", pairs or 5)]


def heavy_job(folder: Folder, src: Path, rounds: int) -> Job:
    """Return the job of heavy work for workers that are unequal."""
    names = [host.name for host in folder.load().workers]
    found = rivals(folder, src, deploy_image(folder, "heavy"))
    count = len(walk(str(src))[0])
    return Job(
        f"{count:,} images, a heavier operation, {names[1]} with a quarter of {names[0]}'s processor",
        src,
        rounds,
        (found[FANRUN], found[SHELL]),
        (Ratio(FANRUN, SHELL, most=0.6),),
        handicap=lambda: little_cpu(folder, {names[0]: 1.0, names[1]: 0.25}),
    )


def single_job(folder: Folder, src: Path, rounds: int) -> Job:
    """Return the job of a program that uses one core, on workers that may use two."""
    src.mkdir(parents=True)
    for number in range(SINGLE):
        (src / f"{number:03}").write_text(f"{number}")
    names = [host.name for host in folder.load().workers]
    lists = write_lists(src, src.parent / "lists", names)
    commands = Commands(folder, src, deploy_image(folder, "single"), names, lists)
    fixed = {f"--jobs {number}": str(number) for number in (1, 2, 4)}
    return Job(
        f"{SINGLE} inputs, a program that uses one core for 0.2 s each, workers with two cores",
        src,
        rounds,
        (
            Rival(AUTO, partial(_with_jobs, commands, "auto")),
            *(Rival(name, partial(_with_jobs, commands, number)) for name, number in fixed.items()),
            Rival(SHARED, partial(commands.parallel_shared, jobs=2), "out"),
        ),
        (*(Ratio(AUTO, name, most=1.1) for name in fixed), Ratio(AUTO, SHARED, most=1.1)),
        handicap=lambda: little_cpu(folder, dict.fromkeys(names, 2.0)),
    )


def _with_jobs(commands: Commands, jobs: str, dst: Path) -> list[str]:
    return commands.fab_run(dst, f"--jobs={jobs}")
