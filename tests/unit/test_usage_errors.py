"""The real `fab`, given what can't be meant: exit code 2, one line that says why, no traceback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.unit.fab_world import DEAD, Done, FabWorld


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
    "another fleet in a hint": Case("status --fleet blue", "(`--fleet default`); `fab up --fleet blue` starts one"),
    "an image of local hosts": Case("bake", "there is no fleet default", "none"),
    "another provider": Case("up --provider=nope", "was begun with provider local, not nope; `fab down` ends it"),
    "bad fleet name": Case("status --fleet=../x", "'../x' is no name for a fleet; use", "none"),
    "unknown fleet": Case(
        "status --fleet=blue", "no fleet blue; fleets here: default (`--fleet default`); `fab up --f"
    ),
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
    "no {in}": Case(f"{RUN} --image=x --each=ffmpeg", "--each 'ffmpeg': {in} is missing"),
    "mount of nothing": Case(f"{RUN} --mount={{top}}/nowhere:x", "does not exist; give a folder (what is behind"),
    "mount of a file": Case(f"{RUN} --mount={{top}}/file:x", "/file' is a file; give the folder that holds it"),
    "mount of an empty folder": Case(f"{RUN} --mount={{top}}/empty", "/empty': there are no files in it"),
    "mount of a root folder": Case(f"{RUN} --mount={{top}}/src:etc", "would hide /etc of the container; give another"),
    "mounts of one name": Case(f"{RUN} --mount=/a:x --mount=/b:x", "would both be /x; give one of them another name"),
    "mount with DST": Case(f"{RUN} --mount={{top}}:x", "are inside each other; give a folder elsewhere, or results"),
    "a variable of Fanrun's": Case(f"{RUN} --env=HOME=/x", "--env: Fanrun itself sets HOME in containers; use another"),
    "no file of variables": Case(f"{RUN} --env-file={{top}}/nowhere", "/nowhere' can't be read (No such file or dir"),
    "retry, other variables": Case("retry --dst={top}/failed --env=A=b", "the last run had no environment variables"),
    "no rate": Case(
        f"{RUN} --bwlimit=fast", "--bwlimit=fast: give bytes per second as rsync does, 1k or more, as 500k"
    ),
    "no condition": Case(f"{RUN} --halt=2", "--halt='2': give soon or now, and fail=, success= or done= with a number"),
    "no file of patterns": Case(f"{RUN} --exclude-from={{top}}/nowhere", "/nowhere' can't be read (No such file or"),
    "a folder of patterns": Case(f"{RUN} --exclude-from={{top}}/src", "/src' can't be read (Is a directory)"),
    "a folder to exclude": Case(f"{RUN} --exclude=d/", "--exclude: 'd/' matches no file; write 'd/*' for what is"),
    "clean, no fleet": Case("clean", "there is no fleet default; `fab up` starts one", "none"),
    "each of groups": Case(
        f"{RUN} --image=x --each=x{{in}}{{out}} --group-by=stem",
        "--each runs a command for each file; for groups",
    ),
    "a try of some": Case(f"{RUN} --try=some", "--try=some: give a whole number from 1 to 2000"),
    "a try of none": Case(f"{RUN} --try=0", "--try=0: give a whole number from 1 to 2000"),
    "a try of nothing": Case("run --try=3", "fab run --try needs --src; `fab --help run` shows"),
    "a try that is a plan": Case(f"{RUN} --try=3 --dry-run", "--try runs the program; leave out --dry-run"),
    "a try without Docker": Case("run --src={top}/src --try=3", "docker is not in PATH: install it", "none"),
    "a try from nowhere": Case("run --src={top}/nowhere --try=3", "does not exist; give the folder", "none"),
    "a try into SRC": Case("run --src={top}/src --dst={top}/src/x --try=3", "is inside --src; give a folder", "none"),
    "each of the own image": Case(f"{RUN} --each=x{{in}}{{out}}", "--each needs --image: Fanrun's own container image"),
    "each and args": Case(
        f"{RUN} --image=x --each=x --args=y", "--each has the program and its arguments; leave out --a"
    ),
    "each and entrypoint": Case(f"{RUN} --image=x --each=x --entrypoint=y", "leave out --entrypoint"),
    "an entrypoint that is none": Case(f"{RUN} --entrypoint=", "--entrypoint '' leaves no program to start; name it"),
    "no rsync": Case(RUN, "rsync is not installed here; script/setup installs it", lacking="rsync"),
    "no ssh": Case(RUN, "ssh is not installed here; script/setup installs it", lacking="ssh"),
    "no ssh to open": Case("ssh", "ssh is not installed", lacking="ssh"),
    "no docker: up": Case("up", "script/setup", "none"),
    "a fleet that can't be read": Case("down", "`fab down --provider=NAME`", "damaged"),
    "no docker: down": Case("down --provider=local", "script/setup", "damaged"),
    "no docker: an image": Case(f"{RUN} --image=another:1", "script/setup"),
    "dead fleet": Case(f"{RUN} --json", "no worker of fleet default can take part (worker-1: "),
}


@pytest.fixture(scope="module")
def asked(fab_world: FabWorld) -> Iterator[dict[str, Future[Done]]]:
    """Every case's command, as many at once as there are processors: half a second each is Python's start."""
    with fab_world.folder("locked").lock(), ThreadPoolExecutor(os.cpu_count()) as pool:

        def ask(case: Case) -> Done:
            return fab_world.fab(*case.argv.split(" "), home=case.home, lacking=case.lacking)

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


def test_hosts_that_could_not_be_asked_are_not_told_as_none(fab_world: FabWorld) -> None:
    done = fab_world.fab("up", "--hosts=1", home="unasked")
    assert done.returncode == 2
    assert "no hosts yet" not in done.stderr
    assert "provider local could not be asked what exists" in done.stderr


@pytest.mark.parametrize("task", ["up", "down", "down --dry-run"])
def test_a_fleet_is_not_taken_over_from_itself(fab_world: FabWorld, task: str) -> None:
    own = fab_world.folder("fleet").id
    done = fab_world.fab(*task.split(), f"--take-over={own}")
    assert done.returncode == 2
    assert f"--take-over {own} is the id of fleet default itself; `fab down` ends it" in done.stderr
    assert fab_world.folder("fleet").load().hosts == DEAD


def test_nothing_was_left_behind(asked: dict[str, Future[Done]], fab_world: FabWorld) -> None:
    for future in asked.values():
        future.result(300)
    assert os.listdir(fab_world.top / "dst") == [".fanrun"], "the dead fleet's run has its log there"
    assert sorted(os.listdir(fab_world.top / "src")) == ["a.jpg", "d"]
    assert fab_world.folder("fleet").load().hosts == DEAD
    assert fab_world.folder("damaged").fleet_json.exists(), "a fleet that could not be ended is not forgotten"
