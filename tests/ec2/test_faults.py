"""Whatever happens on the way up, `fab down` leaves nothing behind."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.ec2.cloud import Cloud, Fault
from tests.fleet.harness import Fab

UP = ("up", "--hosts=2", "--provider=ec2", "--allow=192.0.2.0/24")
# The calls of an `up` before it goes on by SSH, which nothing answers here.
CALLS = (
    "DescribeKeyPairs", "DescribeInstances", "ImportKeyPair", "DescribeVpcs",
    "DescribeSecurityGroups", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "DescribeInstanceTypes",
    "DescribeImages", "RunInstances",
)  # fmt: skip


@pytest.fixture
def fab(api: Cloud, tmp_path: Path) -> Fab:
    return Fab(tmp_path / "home", "sky", environment=api.environment)


@pytest.mark.parametrize("action", CALLS)
def test_a_permission_that_is_missing_is_named(api: Cloud, fab: Fab, action: str) -> None:
    def refuse(called: str, arguments: dict[str, str]) -> None:
        if called == action:
            raise Fault("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)

    api.before = refuse
    done = fab(*UP, code=1)
    last = done.stderr.strip().splitlines()[-1]
    assert f"ec2:{action}" in last
    assert "docs/iam-policy.json" in last
    api.before = lambda called, arguments: None
    fab("down")
    assert api.left("sky") == []


@pytest.mark.parametrize("number", range(1, 15))
def test_killed_after_any_call(api: Cloud, fab: Fab, number: int) -> None:
    """The folder is lost as well: what was launched is found by its tags."""
    process = fab.start(*UP)
    calls = Counter[str]()

    def kill(called: str, arguments: dict[str, str]) -> None:
        calls[called] += 1
        if calls.total() == number + 1:
            process.send_signal(signal.SIGKILL)

    api.before = kill
    process.communicate()
    assert calls.total() > number
    api.before = lambda called, arguments: None
    fab.home.rename(fab.home.with_name("lost"))
    fab("down", "--provider=ec2")
    assert api.left("sky") == []


def test_of_three_workers_there_are_two(api: Cloud, fab: Fab) -> None:
    """All or none, unless fewer will do."""
    api.capacity = 3
    done = fab("up", "--hosts=3", *UP[2:], code=1)
    assert "InsufficientInstanceCapacity" in done.stderr
    assert "--min-hosts" in done.stderr
    assert api.alive() == {}


def test_calls_that_are_too_many_are_made_again(api: Cloud, fab: Fab) -> None:
    seen = Counter[str]()

    def throttle(called: str, arguments: dict[str, str]) -> None:
        seen[called] += 1
        if seen[called] % 3 and called != "DescribeInstances":
            raise Fault("RequestLimitExceeded", "Request limit exceeded.", 503)

    api.before = throttle
    done = fab("up", "--dry-run", "--provider=ec2")
    assert "2 workers" in done.stdout
    fab("down", "--provider=ec2")


def test_an_instance_that_ends_while_booting(api: Cloud, fab: Fab) -> None:
    def end_one(called: str, arguments: dict[str, str]) -> None:
        alive = list(api.alive().values())
        if called == "DescribeInstances" and len(alive) == 3:
            alive[-1].terminate()

    api.before = end_one
    done = fab(*UP, code=1)
    assert "ended while they were booting" in done.stderr
    assert api.alive() == {}
    fab("down")
    assert api.left("sky") == []
