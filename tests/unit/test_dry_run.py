"""`fab run --dry-run`: it prints the plan, and does nothing."""

from __future__ import annotations

import json

from tests.unit.fab_world import FabWorld


def test_a_dry_run_prints_the_plan_and_does_nothing(fab_world: FabWorld) -> None:
    done = fab_world.fab("run", "--src={top}/src", "--dst={top}/planned", "--dry-run", "--args=--op rotate")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("3 inputs, ")
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:]] == [
        ["worker-1", "2", "inputs,"],
        ["worker-2", "1", "input,"],
    ]
    assert not (fab_world.top / "planned").exists()


def test_a_dry_run_as_json(fab_world: FabWorld) -> None:
    wanted = ["--include=a*", "--include=new*", "--include=b*", "--exclude=d/b*"]
    done = fab_world.fab("run", "--src={top}/src", "--dst={top}/planned", "--dry-run", "--json", *wanted)
    assert (done.returncode, done.stderr) == (0, "")
    plan = json.loads(done.stdout)
    assert (plan["image"], plan["inputs"]) == ("process.py", 2)
    assert {name: share["inputs"] for name, share in plan["workers"].items()} == {"worker-1": 1, "worker-2": 1}
    assert not (fab_world.top / "planned").exists()


def test_a_dry_run_knows_what_is_done_and_force_does_it_again(fab_world: FabWorld) -> None:
    argv = ["run", "--src={top}/src", "--dst={top}/proven", "--dry-run", "--json"]
    kept = [json.loads(fab_world.fab(*argv, *more).stdout)["kept"] for more in ([], ["--force"])]
    assert kept == [1, 0]


def test_limits_that_can_be_meant_are_taken(fab_world: FabWorld) -> None:
    limits = ["--retries=0", "--timeout=0", "--memory=6m", "--tmp=6m", "--shm=1m"]
    done = fab_world.fab("run", "--src={top}/src", "--dst={top}/planned", "--dry-run", *limits)
    assert (done.returncode, done.stderr) == (0, "")
