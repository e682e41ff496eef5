"""Running `fab` as a person would, and looking past it at what it did."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fanrun.tasks.console import WITHOUT_FLEET
from tests.fleet.forked import Forked, Start, can_fork
from tests.terminal import Talk, talk, talk_to

ROOT = Path(__file__).resolve().parents[2]
FAB = Path(sys.executable).with_name("fab")

SMALL_DISK = "mount -t tmpfs -o size=200m,mode=700,uid=1000 none /var/lib/fanrun"
BIG_DISK = "umount --lazy /var/lib/fanrun || :"
CUT_OFF = "ip route show default >/run/route; ip link set eth0 down"
CONNECT = "[ ! -e /run/route ] || { ip link set eth0 up; ip route add $(cat /run/route) || :; rm /run/route; }"
"""A link that goes down loses its routes, and does not get them back when it comes up."""


@dataclass
class Fab:
    """Runs `fab` as a person would, for one fleet of its own home.

    Where that makes no difference, it is forked from a process that has imported all that it needs (`forks`).
    """

    home: Path
    fleet: str
    root: Path = ROOT
    environment: Mapping[str, str] = field(default_factory=dict)
    forks: bool = True

    def program(self) -> Fab:
        """Return the same as the installed program: it starts Python, imports what it needs, and takes its time."""
        return dataclasses.replace(self, forks=False)

    def start(self, *argv: str, stdin: int = subprocess.DEVNULL, **more: str) -> subprocess.Popen[str]:
        """Start a task with `more` in its environment; its output is piped."""
        start = self._start(argv, more)
        if self.forks and can_fork(start):
            return Forked.piped(start, stdin)
        return subprocess.Popen(
            start.argv,
            cwd=start.cwd,
            env=dict(start.environment),
            text=True,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            errors="surrogateescape",
        )

    def talk(self, prompt: str, answer: bytes, *argv: str, **more: str) -> Talk:
        """Run a task at a terminal of its own and give the answer once the prompt is there."""
        start = dataclasses.replace(self._start(argv, more), terminal=True)
        if self.forks and can_fork(start):
            return talk_to(lambda terminal: Forked(start, terminal, terminal, terminal), prompt, answer)
        return talk(start.argv, start.environment, prompt, answer, cwd=start.cwd)

    def _start(self, argv: Sequence[str], more: Mapping[str, str]) -> Start:
        environment = {**os.environ, "FANRUN_HOME": str(self.home), **self.environment, **more}
        fleet = [] if argv[0] in WITHOUT_FLEET else ["--fleet", self.fleet]
        return Start([str(FAB), *argv, *fleet], self.root, environment)

    def __call__(self, *argv: str, code: int | None = 0, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a task to its end; fails unless it ends with `code` (None: whatever it is)."""
        process = self.start(*argv, stdin=subprocess.DEVNULL, **more)
        try:
            out, err = process.communicate(timeout=400)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            looks = [f"{host}\n{self.on(host, 'ps axf -o pid,etimes,stat,wchan,args')}" for host in self.containers()]
            raise AssertionError("\n".join(["it does not end", out, err, *looks])) from None
        assert "Traceback" not in err, err
        if code is not None:
            assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def status(self, code: int | None = 0) -> dict[str, Any]:
        """The hosts of `fab status --json` by name."""
        rows = json.loads(self("status", "--json", code=code).stdout)["hosts"]
        return {row["name"]: row for row in rows}

    def containers(self, *filters: str) -> dict[str, str]:
        """The fleet's containers on this machine: {host: id}, running or not unless filtered."""
        out = docker(
            "ps",
            "--all",
            "--no-trunc",
            '--format={{.Label "fanrun.name"}} {{.ID}}',
            f"--filter=label=fanrun.folder={self.home / self.fleet}",
            *(f"--filter={item}" for item in filters),
        )
        return dict(line.split() for line in out.splitlines())

    def on(self, host: str, script: str) -> str:
        """Run a shell script as root on a host, past SSH: for faults, and for looking."""
        return docker("exec", self.containers()[host], "sh", "-c", script)


def docker(*argv: str) -> str:
    """Run docker; returns what it prints.  Where processes begin too fast to be paused it is tried again."""
    for _ in range(10):
        done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=False)
        if "unable to freeze" not in done.stderr:
            break
    assert done.returncode == 0, f"docker {argv}: {done.stderr}"
    return done.stdout


def ssh(fab: Fab, host: str, command: str) -> subprocess.CompletedProcess[str]:
    config = fab.home / fab.fleet / "ssh_config"
    return subprocess.run(
        ["ssh", "-F", str(config), "-o", "ControlPath=none", host, command], capture_output=True, text=True, check=False
    )


def tree(top: Path) -> dict[bytes, bytes]:
    """{path relative to top, as bytes: content} of all files, without Fanrun's own folder."""
    found = {}
    for folder, folders, files in os.walk(os.fsencode(top)):
        folders[:] = [name for name in folders if name != b".fanrun"]
        for name in files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, os.fsencode(top))] = Path(os.fsdecode(path)).read_bytes()
    return found


def report(dst: Path) -> dict[str, Any]:
    """The report.json of the latest run into DST."""
    data: dict[str, Any] = json.loads((run_folder(dst) / "report.json").read_text())
    return data


def run_folder(dst: Path) -> Path:
    """The folder of the latest run into DST."""
    return max((dst / ".fanrun" / "runs").iterdir(), key=lambda path: path.name)


def joblog(dst: Path) -> list[dict[str, str]]:
    """The lines of the latest run's joblog."""
    head, *lines = (run_folder(dst) / "joblog.tsv").read_text().splitlines()
    return [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]


def log(dst: Path) -> str:
    """What the latest run into DST has logged; "" before it began."""
    try:
        return (run_folder(dst) / "run.log").read_text()
    except (FileNotFoundError, ValueError):
        return ""


class Runs:
    """Runs of one program from one SRC into one DST."""

    def __init__(self, fab: Fab, shell: str, top: Path) -> None:
        self.fab, self.shell, self.src, self.dst = fab, shell, top / "src", top / "dst"

    def write(self, *names: str, content: str = "") -> None:
        for name in names:
            path = self.src / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content or name)

    def __call__(self, script: str, *argv: str, code: int = 0) -> str:
        """Run the script in /in over all inputs; returns what is said."""
        args = f"'cd $0; {script}'"
        done = self.fab(
            "run",
            "--src",
            str(self.src),
            "--dst",
            str(self.dst),
            "--image",
            self.shell,
            "--args",
            args,
            *argv,
            code=code,
        )
        return done.stdout + done.stderr

    def verify(self, code: int = 0) -> str:
        return self.fab("verify", "--dst", str(self.dst), code=code).stdout

    def results(self) -> dict[str, str]:
        return {os.fsdecode(key): content.decode().strip() for key, content in tree(self.dst).items()}

    def again(self, script: str, *argv: str) -> None:
        """After a run that ended well `fab verify` agrees, and the same command again changes no file."""
        self.verify()
        before = {path: (path.stat(), path.read_bytes()) for path in self.files()}
        assert "nothing to do: " in self(script, *argv)
        assert report(self.dst)["done"] == 0
        assert {path: (path.stat(), path.read_bytes()) for path in self.files()} == before

    def files(self) -> list[Path]:
        return [self.dst / os.fsdecode(key) for key in tree(self.dst)]
