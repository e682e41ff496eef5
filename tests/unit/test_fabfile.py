"""The real `fab`, given what can't be meant: exit code 2, one line that says why, no traceback.

Docker is out of reach of every command here, and the fleet's hosts are dead: they stand at port 1 of this machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from invoke.collection import Collection

import fabfile
from fanrun.fanout import request as requests
from fanrun.fanout.results import ledger as ledgers
from fanrun.fanout.results.ledger import Fact, Ledger
from fanrun.fleet.model import Fleet, Host, Image
from fanrun.fleet.store import Folder
from provision import deployment, lifecycle
from provision.registry import build
from tests.unit.samples import write_tree

ROOT = Path(__file__).resolve().parents[2]
FAB = str(Path(sys.executable).with_name("fab"))
DEAD = tuple(
    Host(name, "hub" if name == "hub" else "worker", "127.0.0.1", "127.0.0.1", "admin", 1)
    for name in ("hub", "worker-1", "worker-2")
)
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
    """The tasks by their names on the command line."""
    return [str(context.name) for context in Collection.from_module(fabfile).to_contexts()]


PROGRAM = ledgers.program(build.source_hash(ROOT), ())

Done = subprocess.CompletedProcess[str]


class World:
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
        mine = {key: value for key, value in os.environ.items() if not key.startswith("FANRUN_")}
        mine |= {
            "FANRUN_HOME": str(self.top / "homes" / home),
            "TMPDIR": str(self.top),
            "PATH": str(self.top / lacking),
        }
        filled = [part.replace("{top}", str(self.top)) for part in argv]
        return subprocess.run(
            [FAB, *filled], cwd=ROOT, env=mine, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=120, check=False,
        )  # fmt: skip


class Case(NamedTuple):
    """A command, a text of the line that must come, and where it is given."""

    argv: str
    words: str
    home: str = "fleet"
    lacking: str = "docker"


RUN = "run --src={top}/src --dst={top}/dst"
CASES = {
    "no hosts": Case("up --hosts=0", "--hosts=0: give a whole number from 1 to", "none"),
    "fewer than no hosts": Case("up --hosts=-3", "--hosts=-3: give a whole number from 1 to", "none"),
    "hosts in words": Case("up --hosts=abc", "--hosts=abc: give a whole number from 1 to", "none"),
    "unknown provider": Case("up --provider=nope", "there is no provider 'nope'; choose one of:", "none"),
    "no region": Case("up --provider=ec2 --region=moon", "--region 'moon' is none; they look like", "none"),
    "no time to live": Case("up --provider=ec2 --ttl=soon", "--ttl=soon: give 10m or more, as 90m, 4h or 2d", "none"),
    "no disk": Case("up --provider=ec2 --disk=none", "--disk=none: give a whole number from 8", "none"),
    "EC2's region": Case("up --region us-east-1", "local has no --region; did you mean --provider=ec2?", "none"),
    "static's machine": Case("up --host 2", "provider local has no --host; did you mean --provider=static?", "none"),
    "EC2's spot": Case("up --spot", "provider local has no --spot; did you mean --provider=ec2?", "none"),
    "no id to take over": Case("up --take-over=", "--take-over '' is not an id; `fab down` and `fab up` show", "none"),
    "no id to end": Case("down --take-over=", "--take-over '' is not an id", "none"),
    "a name for an id": Case("down --take-over=worker-1 --dry-run", "--take-over 'worker-1' is not an id", "none"),
    "static's scan": Case("up --scan --dry-run", "has no --scan; did you mean --provider=static?", "none"),
    "static's file for EC2": Case("up --provider=ec2 --known-hosts=x", "ec2 has no --known-hosts; did", "none"),
    "EC2's disk for static": Case("up --provider=static --host=a@b --disk=9", "static has no --disk; did you", "none"),
    "an empty option": Case("up --ami=", "provider local has no --ami; did you mean --provider=ec2?", "none"),
    "a region to end": Case("down --region us-east-1", "provider local has no --region; did you mean", "none"),
    "a machine to end": Case("down --host=a@b --dry-run", "has no --host; did you mean --provider=static?", "none"),
    "a region to bake in": Case("bake --delete --region us-east-1", "provider local has no --region; did", "none"),
    "a region of a fleet": Case("up --region us-east-1", "fleet default is of provider local, which has no --region;"),
    "a region of a fleet to end": Case("down --region us-east-1", "is of provider local, which has no --region; leave"),
    "a hub of a fleet": Case("up --hub x --dry-run", "fleet default is of provider local, which has no --hub; leave"),
    "an unreadable file of settings": Case("status --config={top}/bad.yaml", "bad.yaml can't be read: "),
    "the same before the task": Case("-f {top}/bad.yaml down", "bad.yaml can't be read: "),
    "no file of settings": Case("down -f {top}/none.yaml", "none.yaml' does not exist; name a file of settings"),
    "a list of settings": Case("status --config={top}/list.yaml", "list.yaml can't be used: it holds a list; write"),
    "settings that are a text": Case("status --config={top}/text.yaml", "`fanrun:` holds settings"),
    "a setting in a setting": Case("status --config={top}/deep.yaml", "hosts holds {'a': 1}; give a text, a number"),
    "settings of two kinds": Case("status --config={top}/kinds.yaml", "can't be used: the name 1 is not a text"),
    "a home that is a file": Case("up", "/homes/file/default can't be used: Not a directory; make it writable", "file"),
    "a number in words for Fabric": Case("down -t abc", "the command line can't be read: invalid literal for int()"),
    "a command behind": Case("down -- ls", "fab down takes nothing behind `--`; `fab exec"),
    "help as a value": Case("run --src {top}/src --dst -h", "--dst needs a value; `fab --help run` shows"),
    "another fleet in a hint": Case("status --fleet blue", "no fleet blue; `fab up --fleet blue` starts one"),
    "an image of local hosts": Case("bake", "there is no fleet default", "none"),
    "another provider": Case("up --provider=nope", "was begun with provider local, not nope; `fab down` ends it"),
    "bad fleet name": Case("status --fleet=../x", "'../x' is no name for a fleet; use", "none"),
    "unknown fleet": Case("status --fleet=blue", "there is no fleet blue; `fab up --fleet blue` starts one"),
    "no fleet: run": Case(RUN, "there is no fleet default; `fab up` starts one", "none"),
    "no fleet: status": Case("status", "there is no fleet default; `fab up` starts one", "none"),
    "no fleet: exec": Case("exec --command=true", "there is no fleet default; `fab up` starts one", "none"),
    "no fleet: ssh": Case("ssh", "there is no fleet default; `fab up` starts one", "none"),
    "no fleet: deploy": Case("deploy", "there is no fleet default; `fab up` starts one", "none"),
    "fleet in use": Case("deploy", f"is being changed by process {os.getpid()}; wait for it and try again", "locked"),
    "empty setting": Case("--config={top}/empty.yaml status --fleet=blue", "there is no fleet blue"),
    "no dst for the sample": Case("sample", "fab sample needs --dst"),
    "no command": Case("exec", "fab exec needs --command"),
    "unknown host": Case("ssh --host=worker-9", "has no host 'worker-9'; its hosts: hub, worker-1, worker-2"),
    "no src": Case("run --dst={top}/dst", "fab run needs --src and --dst; `fab --help run` shows"),
    "no dst": Case("run --src={top}/src", "fab run needs --src and --dst; `fab --help run` shows"),
    "src is not there": Case("run --src={top}/nowhere --dst={top}/dst", "does not exist; give the folder"),
    "src is empty": Case("run --src={top}/empty --dst={top}/dst", "there are no files in it"),
    "src is a file": Case("run --src={top}/file --dst={top}/dst", "is a file; give the folder that holds it"),
    "dst in src": Case("run --src={top}/src --dst={top}/src/dst", "is inside --src; give a folder elsewhere"),
    "dst is src": Case("run --src={top}/src --dst={top}/src/../src/", "is inside --src; give a folder elsewhere"),
    "dst is a file": Case("run --src={top}/src --dst={top}/file", "is a file; give a folder"),
    "nothing is included": Case(f"{RUN} --include=*.tiff", "no file matches; nothing to do"),
    "retries in words": Case(f"{RUN} --retries=some", "--retries=some: give a whole number from 0 to 100"),
    "half a second": Case(f"{RUN} --timeout=0.5", "--timeout=0.5: give a whole number from 0 to 10000000"),
    "damaged ledger": Case("verify --dst={top}/damaged", "ledger.db can't be read ("),
    "memory in words": Case(f"{RUN} --memory=lots", "--memory=lots: give a size of 6m or more, as 512m or 4g"),
    "too little memory": Case(f"{RUN} --memory=5m", "--memory=5m: give a size of 6m or more, as 512m or 4g"),
    "too little scratch": Case(f"{RUN} --tmp=1k", "--tmp=1k: give a size of 1m or more, as 512m or 4g"),
    "scratch in words": Case(f"{RUN} --shm=some", "--shm=some: give a size of 1m or more, as 512m or 4g"),
    "more tmp than memory": Case(
        f"{RUN} --tmp=2g --memory=1g", "--tmp=2g is more than --memory=1g, of which it is a part; give more --memory or"
    ),
    "more shm than memory": Case(
        "retry --dst={top}/failed --shm=65m --memory=64m", "--shm=65m is more than --memory=64m, of which it is a part"
    ),
    "retry without dst": Case("retry", "fab retry needs --dst; `fab --help retry` shows"),
    "retry of nothing": Case("retry --dst={top}/empty", "has no ledger; give a folder that `fab run` brought"),
    "retry of no run": Case("retry --dst={top}/begun", "no run has begun there yet; start one with `fab run`"),
    "retry, no fleet": Case("retry --dst={top}/failed", "there is no fleet default; `fab up` starts one", "none"),
    "retry, no src": Case("retry --dst={top}/srcless", "does not exist; give the folder that holds the inputs"),
    "retry, dead fleet": Case("retry --dst={top}/failed", "no worker of fleet default can take part (worker-1: "),
    "verify without dst": Case("verify", "fab verify needs --dst; `fab --help verify` shows"),
    "verify of nothing": Case("verify --dst={top}/empty", "has no ledger; give a folder that `fab run` brought"),
    "verify of no run": Case("verify --dst={top}/begun", "no run has begun there yet; start one with `fab run`"),
    "bad quote": Case(f"{RUN} --args=--op='x", "No closing quotation"),
    "no rsync": Case(RUN, "rsync is not installed here; script/setup installs it", lacking="rsync"),
    "no ssh": Case(RUN, "ssh is not installed here; script/setup installs it", lacking="ssh"),
    "no ssh to open": Case("ssh", "ssh is not installed", lacking="ssh"),
    "no docker: up": Case("up", "script/setup", "none"),
    "a fleet that can't be read": Case("down", "`fab down --provider=NAME`", "damaged"),
    "no docker: down": Case("down --provider=local", "script/setup", "damaged"),
    "no docker: an image": Case(f"{RUN} --image=another:1", "script/setup"),
    "dead fleet": Case(f"{RUN} --json", "no worker of fleet default can take part (worker-1: "),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("fab"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The project in a folder of its own."""
    for name in ("fabfile.py", "fanrun", "imaging", "provision", "service", "process.py"):
        source = ROOT / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    return tmp_path


@pytest.fixture(scope="module")
def asked(world: World) -> Iterator[dict[str, Future[Done]]]:
    """Every case's command, as many at once as there are processors: half a second each is Python's start."""
    with world.folder("locked").lock(), ThreadPoolExecutor(os.cpu_count()) as pool:

        def ask(case: Case) -> Done:
            return world.fab(*case.argv.split(" "), home=case.home, lacking=case.lacking)

        yield {name: pool.submit(ask, case) for name, case in CASES.items()}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", CASES)
def test_what_can_not_be_meant_is_told_in_one_line(asked: dict[str, Future[Done]], name: str) -> None:
    done = asked[name].result(300)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "Traceback" not in done.stderr + done.stdout
    assert len(errors) == 1, done.stderr
    assert CASES[name].words in errors[0]
    assert done.returncode == 2
    assert done.stdout == ""


def fates(top: Path) -> dict[str, bytes]:
    """{path: content} of every file below a folder."""
    return {str(path): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


TASKS = tuple(fabfile_tasks())
FLAGS = [
    *((f"{task} {flag}", "usage") for task in TASKS for flag in ("-h", "--help")),
    *((f"{flag} {task}", "usage") for task in TASKS for flag in ("--help",)),
    *((f"{task} -R", "refused") for task in TASKS),
    *((f"-H a,b {task}", "refused") for task in TASKS),
    *((f"{flag} down", "refused") for flag in ("--hosts 1", "-R", "--dry", "-e", "-w", "-p", "-T 5", "-t 5", "-i x")),
    *((f"down {flag}", "refused") for flag in ("--hosts 1", "-H x", "--dry", "-e", "-w", "-p", "-T 5", "-t 5", "-i x")),
    ("--hosts=8 up", "refused"), ("-S x up", "refused"), ("up -S x", "refused"), ("up --dry", "refused"),
    ("--no-dedupe up", "refused"), ("--hide=both down", "refused"), ("-R status down", "refused"),
    ("down -y", "unknown"), ("down -f", "unknown"), ("run -y", "unknown"), ("run -f", "unknown"), ("up -y", "unknown"),
    ("down x", "unknown"), ("x down", "unknown"), ("sample x", "unknown"), ("serve -r 0", "refused"),
    ("-y down", "unknown"),
]  # fmt: skip
"""Command lines with flags of Fabric's, or with nobody's, and what becomes of them."""


def test_no_flag_of_fabrics_destroys_or_writes(world: World) -> None:
    before = fates(world.top / "homes" / "fleet")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(lambda case: world.fab(*case[0].split(" ")), FLAGS))
    assert fates(world.top / "homes" / "fleet") == before
    codes = {"usage": 0, "refused": 2, "unknown": 1}
    for (argv, kind), ended in zip(FLAGS, done, strict=True):
        name = next(part for part in argv.split(" ") if part in TASKS)
        assert (argv, ended.returncode, "Traceback" in ended.stderr) == (argv, codes[kind], False), ended.stderr
        assert ended.stdout.startswith(f"Usage: fab [--core-opts] {name} " if kind == "usage" else ""), argv
        assert (ended.stdout == "") == (kind != "usage")
        assert f"fab {name} does not take --" in ended.stderr or kind != "refused", ended.stderr


def test_settings_of_another_provider_wait_for_it(world: World) -> None:
    """Only flags are refused: these come from a file, and from the environment."""
    done = world.fab("--config={top}/away.yaml", "down", "--dry-run", home="none")
    assert (done.returncode, "script/setup" in done.stderr) == (2, True), "Docker is asked: the provider is local"
    assert "--region" not in done.stderr


def test_a_fleet_that_a_setting_names_is_named_in_hints(world: World) -> None:
    for argv, fleet in (("status", "blue"), ("status --fleet=default", "default")):
        done = world.fab("--config={top}/away.yaml", *argv.split(" "), home="none")
        assert f"no fleet {fleet}; `fab up --fleet {fleet}` starts one" in done.stderr


@pytest.mark.parametrize(
    ("content", "tasks"),
    [("fanrun: {", TASKS), ("- a", ("down", "sample")), ("a", ("down", "sample")), (None, ("down", "sample"))],
)
def test_a_broken_fabric_yaml_is_one_line(checkout: Path, content: str | None, tasks: Sequence[str]) -> None:
    file = checkout / "fabric.yaml"
    file.mkdir() if content is None else file.write_text(content)
    for task in tasks:
        done = subprocess.run([FAB, task], cwd=checkout, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
        assert done.stderr.startswith(f"error: {file} can't be ")


@pytest.mark.parametrize(
    ("text", "variables", "named"),
    [
        ("ssh_config_path: /nowhere", {}, "{home}/.fabric.yaml"),
        ("tasks: {executor_class: none}", {}, "{home}/.fabric.yaml"),
        ("", {"FABRIC_PORT": "ssh", "FABRIC_USER": "me"}, "FABRIC_PORT, FABRIC_USER"),
    ],
)
def test_settings_that_fabric_stops_at_are_named(
    tmp_path: Path, text: str, variables: dict[str, str], named: str
) -> None:
    if text:
        (tmp_path / ".fabric.yaml").write_text(text)
    done = subprocess.run(
        [FAB, "status"], cwd=ROOT, env={**os.environ, **variables, "HOME": str(tmp_path)}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert done.stderr.startswith("error: Fabric stops at its settings (")
    assert done.stderr.endswith(f"); correct them: {named.format(home=tmp_path)}\n")


def test_packages_that_are_missing_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "loguru.py").write_text("raise ModuleNotFoundError('No module', name='loguru')")
    done = subprocess.run(
        [FAB, "status"], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "error: Python's package loguru is not installed here; script/setup installs it, use .venv/bin/fab\n"
    )


def test_hosts_that_could_not_be_asked_are_not_told_as_none(world: World) -> None:
    done = world.fab("up", "--hosts=1", home="unasked")
    assert done.returncode == 2
    assert "no hosts yet" not in done.stderr
    assert "provider local could not be asked what exists" in done.stderr


@pytest.mark.parametrize("task", ["up", "down", "down --dry-run"])
def test_a_fleet_is_not_taken_over_from_itself(world: World, task: str) -> None:
    own = world.folder("fleet").id
    done = world.fab(*task.split(), f"--take-over={own}")
    assert done.returncode == 2
    assert f"--take-over {own} is the id of fleet default itself; `fab down` ends it" in done.stderr
    assert world.folder("fleet").load().hosts == DEAD


def test_nothing_was_left_behind(asked: dict[str, Future[Done]], world: World) -> None:
    for future in asked.values():
        future.result(300)
    assert os.listdir(world.top / "dst") == [".fanrun"], "the dead fleet's run has its log there"
    assert sorted(os.listdir(world.top / "src")) == ["a.jpg", "d"]
    assert world.folder("fleet").load().hosts == DEAD
    assert world.folder("damaged").fleet_json.exists(), "a fleet that could not be ended is not forgotten"


def test_a_dry_run_prints_the_plan_and_does_nothing(world: World) -> None:
    done = world.fab("run", "--src={top}/src", "--dst={top}/planned", "--dry-run", "--args=--op rotate")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("3 inputs, ")
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:]] == [
        ["worker-1", "2", "inputs,"], ["worker-2", "1", "input,"],
    ]  # fmt: skip
    assert not (world.top / "planned").exists()


def test_a_dry_run_as_json(world: World) -> None:
    wanted = ["--include=a*", "--include=new*", "--include=b*", "--exclude=d/b*"]
    done = world.fab("run", "--src={top}/src", "--dst={top}/planned", "--dry-run", "--json", *wanted)
    assert (done.returncode, done.stderr) == (0, "")
    plan = json.loads(done.stdout)
    assert (plan["image"], plan["inputs"]) == ("process.py", 2)
    assert {name: share["inputs"] for name, share in plan["workers"].items()} == {"worker-1": 1, "worker-2": 1}
    assert not (world.top / "planned").exists()


def test_a_dry_run_knows_what_is_done_and_force_does_it_again(world: World) -> None:
    argv = ["run", "--src={top}/src", "--dst={top}/proven", "--dry-run", "--json"]
    kept = [json.loads(world.fab(*argv, *more).stdout)["kept"] for more in ([], ["--force"])]
    assert kept == [1, 0]


def test_limits_that_can_be_meant_are_taken(world: World) -> None:
    limits = ["--retries=0", "--timeout=0", "--memory=6m", "--tmp=6m", "--shm=1m"]
    done = world.fab("run", "--src={top}/src", "--dst={top}/planned", "--dry-run", *limits)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_retry_of_a_run_without_failures_is_done_at_once(world: World) -> None:
    done = world.fab("retry", "--dst={top}/proven")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"nothing failed in the last run into {world.top}/proven\n"


def test_a_proof_without_any_host(world: World) -> None:
    done = world.fab("verify", "--dst={top}/proven", home="none")
    assert done.returncode == 0
    assert done.stdout == f"1 of 1 input in {world.top}/src have their results: 1 file, as made\n"


def test_a_proof_that_fails_ends_with_1(world: World) -> None:
    done = world.fab("verify", "--dst={top}/tampered", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["faults"] == {"a.jpg": "its result a.jpg is not what was made"}
    assert (told["inputs"], told["proven"]) == (1, 0)
    assert "error" not in done.stderr


def test_the_status_of_a_dead_fleet_has_a_row_for_every_host(world: World) -> None:
    done = world.fab("status", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    assert [(row["name"], row["reachable"]) for row in json.loads(done.stdout)["hosts"]] == [
        (host.name, False) for host in DEAD
    ]


def test_a_command_on_a_dead_fleet_fails_on_every_worker(world: World) -> None:
    done = world.fab("exec", "--command=true")
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.split(" no SSH")[0] for line in done.stderr.splitlines()] == ["worker-1: error:", "worker-2: error:"]


@pytest.fixture
def rude() -> Iterator[int]:
    """The port of a server that resets every connection, as a host does whose sshd has just been killed."""

    def hang_up() -> None:
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            caller.recv(1)  # its first word is waited for: it waits for ours then
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=hang_up)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_host_that_hangs_up_is_told_in_one_line(world: World, rude: int) -> None:
    world.make_fleet("rude", tuple(dataclasses.replace(host, port=rude) for host in DEAD))
    done = world.fab("exec", "--command=true", home="rude")
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.split(" no SSH")[0] for line in done.stderr.splitlines()] == ["worker-1: error:", "worker-2: error:"]
