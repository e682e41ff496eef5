"""`fab` and the folders that it is run over: Docker is out of its reach, and the fleet's hosts are dead.

The hosts stand at port 1 of this machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fanrun.fanout import request as requests
from fanrun.fanout.results import ledger as ledgers
from fanrun.fanout.results.ledger import Fact, Ledger
from fanrun.fleet.model import Fleet, Host, Image
from fanrun.fleet.store import Folder
from fanrun.tasks.collection import TASKS
from provision import deployment, lifecycle
from provision.registry import build
from tests.fleet.forked import Forked, Start, can_fork
from tests.unit.samples import write_tree

ROOT = Path(__file__).resolve().parents[2]
FAB = str(Path(sys.executable).with_name("fab"))
DEAD = tuple(
    Host(name, "hub" if name == "hub" else "worker", "127.0.0.1", "127.0.0.1", "admin", 1)
    for name in ("hub", "worker-1", "worker-2")
)
OWN = {key: value for key, value in os.environ.items() if not key.startswith("FANRUN_")}
"""The variables of this process, read before pytest changes them while threads start `fab`."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

SETTINGS = {
    "empty": "fanrun:\n",
    "bad": "fanrun: {",
    "list": "- fanrun\n",
    "text": "fanrun: hosts\n",
    "deep": "fanrun: {hosts: {a: 1}}\n",
    "kinds": "fanrun: {1: 2, fleets: 3}\n",
    "away": "fanrun: {region: us-east-1, spot: true, host: a@b, fleet: blue}\n",
}
"""Files for --config."""


def fabfile_tasks() -> list[str]:
    """Return the tasks by their names on the command line."""
    # Not from to_contexts(): that takes the help texts out of the tasks, and other tests read them.
    return list(TASKS.task_names)


PROGRAM = ledgers.program(build.source_hash(ROOT), ())

Done = subprocess.CompletedProcess[str]


def run_fab(argv: Sequence[str], environment: Mapping[str, str]) -> Done:
    """Run fab: as a fork of a process that has imported everything, or as a program if coverage is measured."""
    start = Start([FAB, *argv], ROOT, environment)
    if "COVERAGE_PROCESS_CONFIG" not in os.environ and can_fork(start):
        process: subprocess.Popen[str] = Forked.piped(start, subprocess.DEVNULL)
    else:
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        process = subprocess.Popen(
            start.argv, cwd=ROOT, env=environment, stdin=null, stdout=pipe, stderr=pipe, text=True, errors="replace"
        )
    out, err = process.communicate(timeout=120)
    return Done(start.argv, process.returncode, out, err)


class FabWorld:
    """Folders for fab to stumble over: `homes` with and without a fleet, sources, and PATHs that lack a program."""

    def __init__(self, top: Path) -> None:
        self.top = top
        write_tree(top / "src", (b"a.jpg", b"d/b\xff.jpg", b"d/new\nline.jpg"))
        write_tree(top, (b"file",))
        (top / "empty" / "folder").mkdir(parents=True)
        for name in ("fleet", "locked", "damaged"):
            self.make_fleet(name)
        self.folder("damaged").fleet_json.write_text("{")
        for lacking in ("docker", "rsync", "ssh"):
            self.make_path(lacking)
        for name, text in SETTINGS.items():
            (top / f"{name}.yaml").write_text(text)
        (top / "homes" / "file").write_text("")
        write_tree(top, (b"damaged/.fanrun/ledger.db",))
        self.make_dst("begun").close()
        for name, src in (("failed", "src"), ("srcless", "nowhere"), ("proven", "src"), ("tampered", "src")):
            ledger = self.make_dst(name)
            request = requests.RunRequest(str(top / src), str(top / name), exclude=("d/*",))
            ledger.begin("r1", PROGRAM, request.remembered(deployment.OWN))
            ledger.fail([] if name == "proven" else [(b"a.jpg", "too dark")])
            ledger.close()

    def make_dst(self, name: str) -> Ledger:
        """A DST in which a.jpg is done: its result is as it is."""
        content = (self.top / "src" / "a.jpg").read_bytes()
        (self.top / name / ".fanrun").mkdir(parents=True)
        ledger = Ledger(self.top / name / ".fanrun" / "ledger.db")
        if name in ("proven", "tampered"):
            (self.top / name / "a.jpg").write_bytes(content if name == "proven" else b"tampered")
            digest = hashlib.sha256(content).hexdigest()
            ledger.record(PROGRAM, [Fact(b"a.jpg", digest, {b"a.jpg": digest})])
        return ledger

    def folder(self, home: str) -> Folder:
        return Folder(self.top / "homes" / home, "default")

    def make_fleet(self, home: str, hosts: tuple[Host, ...] = DEAD) -> None:
        folder = self.folder(home)
        lifecycle.begin(folder, "local", None)
        image = Image(deployment.OWN, "sha256:00", "127.0.0.1:5000/fanrun/image@sha256:00", build.source_hash(ROOT))
        folder.save(Fleet("default", "local", hosts, {deployment.OWN: image}))
        folder.host_keys.pin("127.0.0.1", 1, KEY)

    def make_path(self, lacking: str) -> None:
        """A folder of programs without docker, and without the one named."""
        (self.top / lacking).mkdir()
        for program in {"sh", "env", "ssh", "rsync", "ps", "git", "uname"} - {lacking}:
            found = shutil.which(program)
            if found:
                (self.top / lacking / program).symlink_to(found)

    def fab(self, *argv: str, home: str = "fleet", lacking: str = "docker") -> Done:
        """Run fab; {top} and {src} in its arguments stand for the folders here."""
        mine = OWN | {
            "FANRUN_HOME": str(self.top / "homes" / home),
            "TMPDIR": str(self.top),
            "PATH": str(self.top / lacking),
        }
        return run_fab([part.replace("{top}", str(self.top)) for part in argv], mine)
