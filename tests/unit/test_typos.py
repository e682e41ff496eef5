"""What people mistype: each gets exit code 2, and one line that says what to type instead."""

from __future__ import annotations

import shlex

import pytest

from tests.unit.fab_world import FabWorld

HELP = "shows what it takes"
LINES = {
    # tasks
    "rnu": "there is no task 'rnu'; did you mean run?",
    "runn": "there is no task 'runn'; did you mean run?",
    "Run": "there is no task 'Run'; did you mean run?",
    "stauts": "there is no task 'stauts'; did you mean status?",
    "verfiy": "there is no task 'verfiy'; did you mean verify?",
    "dwon": "there is no task 'dwon'; did you mean down?",
    "strat": "there is no task 'strat'; did you mean up?",
    "start --hosts 2": "there is no task 'start'; did you mean up?",
    "create": "there is no task 'create'; did you mean up?",
    "stop": "there is no task 'stop'; did you mean down?",
    "destroy": "there is no task 'destroy'; did you mean down?",
    "ps": "there is no task 'ps'; did you mean status?",
    "ls": "there is no task 'ls'; did you mean status?",
    "log": "there is no task 'log'; did you mean logs?",
    "shell": "there is no task 'shell'; did you mean ssh?",
    "help": "there is no task 'help'; did you mean --help?",
    "help up": "there is no task 'help'; did you mean `fab --help up`?",
    "version": "there is no task 'version'; did you mean --version?",
    "list": "there is no task 'list'; did you mean --list?",
    "xyzzy": "there is no task 'xyzzy'; `fab --list` shows those that there are",
    "./a ./b": "there is no task './a'; give folders as `fab run --src A --dst B`",
    "--help rnu": "there is no task 'rnu'; did you mean run?",
    "--list up": "--list takes no 'up'; `fab --help up` shows the options of a task",
    # options before the task, and general ones
    "--hlep": "fab has no --hlep; did you mean --help?",
    "--verison": "fab has no --verison; did you mean --version?",
    "--dry-run up": "--dry-run stands before the task; write `fab up --dry-run …`",
    "--src a --dst b run": "--src stands before the task; write `fab run --src …`",
    "-src a run": "-src stands before the task; write `fab run --src …`",
    "run --hlep": "run has no --hlep; did you mean --help?",
    # values without an option
    "run ./a ./b": "run takes no './a' by itself; give folders as `--src A --dst B`",
    "run and verify": "run takes no 'and' by itself; give folders as `--src A --dst B`",
    "up 4": "up takes no '4' by itself; did you mean --hosts=4?",
    "up hosts=2": "up takes no 'hosts=2' by itself; did you mean --hosts=2?",
    "up four": f"up takes no 'four' by itself; `fab --help up` {HELP}",
    "status blue": "status takes no 'blue' by itself; did you mean --fleet=blue?",
    "down blue": "down takes no 'blue' by itself; did you mean --fleet=blue?",
    "exec ls": "exec takes no 'ls' by itself; did you mean --command=ls?",
    "exec 'ls -l'": "exec takes no 'ls -l' by itself; did you mean --command='ls -l'?",
    "ssh worker-1": "ssh takes no 'worker-1' by itself; did you mean --host=worker-1?",
    "drain worker-2": "drain takes no 'worker-2' by itself; did you mean --host=worker-2?",
    "verify ./out": "verify takes no './out' by itself; did you mean --dst=./out?",
    "retry ./out": "retry takes no './out' by itself; did you mean --dst=./out?",
    "logs ./out": "logs takes no './out' by itself; did you mean --dst=./out?",
    "init my-program": "init takes no 'my-program' by itself; did you mean --dir=my-program?",
    "sample ./data": "sample takes no './data' by itself; did you mean --dst=./data?",
    "serve 2": "serve takes no '2' by itself; did you mean --replicas=2?",
    "clean worker-1": f"clean takes no 'worker-1' by itself; `fab --help clean` {HELP}",
    # options
    "run --scr ./a --dst ./b": "run has no --scr; did you mean --src?",
    "run --src ./a --dest ./b": "run has no --dest; did you mean --dst?",
    "run --source=./a": "run has no --source; did you mean --src?",
    "run --input ./a": "run has no --input; did you mean --src?",
    "run --output ./b": "run has no --output; did you mean --dst?",
    "run -src ./a": "run has no -src; did you mean --src?",
    "run --dryrun": "run has no --dryrun; did you mean --dry-run?",
    "run --dry_run": "run has no --dry_run; did you mean --dry-run?",
    "run --DRY-RUN": "run has no --DRY-RUN; did you mean --dry-run?",
    "run --dry-run=yes": "--dry-run takes no value; leave out =yes",
    "run --job 4": "run has no --job; did you mean --jobs?",
    "run --img x": "run has no --img; did you mean --image?",
    "run --arg '--rotate 90'": "run has no --arg; did you mean --args?",
    "run --rotate 90": f"run has no --rotate; `fab --help run` {HELP}",
    "run -q": f"run has no -q; `fab --help run` {HELP}",
    "up --nodes=2": "up has no --nodes; did you mean --hosts?",
    "up --workers 2": "up has no --workers; did you mean --hosts?",
    "up -hosts=2": "up has no -hosts; did you mean --hosts?",
    "up \N{EM DASH}hosts=2": "up has no \N{EM DASH}hosts; did you mean --hosts?",
    "down --force": "down has no --force; did you mean --yes?",
    "down --all": f"down has no --all; `fab --help down` {HELP}",
    "down --src=x": f"down has no --src, which is an option of run; `fab --help down` {HELP}",
    "serve --replica 2": "serve has no --replica; did you mean --replicas?",
    "status --jsn": "status has no --jsn; did you mean --json?",
    # options without their values
    "run --src": "--src needs a value; `fab --help run` shows all it takes",
    "run --src=./a --dst": "--dst needs a value; `fab --help run` shows all it takes",
    "run --exclude": "--exclude needs a value",
    "run --exclude --json --src a --dst b": "--exclude needs a value",
    "up --hosts": "--hosts needs a value; `fab --help up` shows all it takes",
    "status --fleet": "--fleet needs a value; `fab --help status` shows all it takes",
    # folders, files and fleets
    "run --src={top}/no --dst={top}/out": "--src '{top}/no' does not exist; give the folder that holds the inputs",
    "run --src={top}/src": "fab run needs --src and --dst; `fab --help run` shows all it takes",
    "run": "fab run needs --src and --dst; `fab --help run` shows all it takes",
    "verify": "fab verify needs --dst; `fab --help verify` shows all it takes",
    "status --fleet=blue": (
        "there is no fleet blue; fleets here: default (`--fleet default`); `fab up --fleet blue` starts one"
    ),
    "ssh --host=worker-9": "fleet default has no host 'worker-9'; its hosts: hub, worker-1, worker-2",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FabWorld:
    return FabWorld(tmp_path_factory.mktemp("typos"))


@pytest.mark.parametrize("typed", LINES)
def test_a_mistake_gets_one_line_that_says_what_to_type_instead(world: FabWorld, typed: str) -> None:
    done = world.fab(*shlex.split(typed))
    assert (done.stdout, done.stderr) == ("", f"error: {LINES[typed].replace('{top}', str(world.top))}\n")
    assert done.returncode == 2
