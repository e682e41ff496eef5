"""Whatever happens on the way up, `fab down` leaves nothing behind."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.ec2.calls import CALLS_OF_UP, Fault
from tests.ec2.cloud import Cloud
from tests.ec2.killed import launched, until_said
from tests.ec2.test_removal import at_first, nothing
from tests.fleet.harness import Fab
from tests.variants import some

pytestmark = pytest.mark.long

UP = ("up", "--hosts=2", "--provider=ec2", "--allow=192.0.2.0/24")


@pytest.fixture
def fab(api: Cloud, tmp_path: Path) -> Fab:
    return Fab(tmp_path / "home", "sky", environment=api.environment)


@pytest.mark.parametrize("action", some(CALLS_OF_UP, "RunInstances", "DescribeImages"))
def test_a_permission_that_is_missing_is_named(api: Cloud, fab: Fab, action: str) -> None:
    def refuse(called: str, arguments: dict[str, str]) -> None:
        if called == action:
            raise Fault("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)

    api.before = refuse
    done = fab(*UP, code=1)
    last = done.stderr.strip().splitlines()[-1]
    assert f":{action}" in last
    assert "docs/iam-policy.json" in last
    api.before = lambda called, arguments: None
    fab("down")
    assert api.left("sky") == []


@pytest.mark.parametrize("number", some(range(1, 19), 3, 9, 16))
def test_killed_after_any_call(api: Cloud, fab: Fab, number: int) -> None:
    """Up to the second launch, the last call but those that wait; the folder is lost as well: tags tell all."""
    process = fab.start(*UP)
    calls, last = Counter[str](), list[threading.Thread]()

    def kill(called: str, arguments: dict[str, str]) -> None:
        calls[called] += 1
        if calls.total() == number + 1:
            last.append(threading.current_thread())
            process.send_signal(signal.SIGKILL)

    api.before = kill
    process.communicate()
    assert calls.total() > number
    last[0].join()  # what the last call asks for is made, though nobody waits for the answer
    api.before = lambda called, arguments: None
    known = fab.home / "sky" / "id"
    identity = known.read_text().strip() if known.exists() else ""
    fab.home.rename(fab.home.with_name("lost"))
    something = bool(api.left("sky"))
    told = fab("down", "--provider=ec2", code=int(something)).stderr
    if something:
        assert f"--take-over={identity}`" in told
        fab("down", "--provider=ec2", f"--take-over={identity}")
    assert api.left("sky") == []


def test_of_three_workers_there_are_two(api: Cloud, fab: Fab) -> None:
    """All or none, unless fewer will do."""
    api.capacity = 3
    done = fab("up", "--hosts=3", *UP[2:], code=1)
    assert "InsufficientInstanceCapacity" in done.stderr
    assert "--min-hosts" in done.stderr
    assert api.alive() == {}


def test_capacity_that_is_missing_is_told_at_once(api: Cloud, fab: Fab) -> None:
    api.capacity = 0
    assert "InsufficientInstanceCapacity" in fab(*UP, code=1).stderr
    assert api.calls.count("RunInstances") == 1
    fab("down")
    assert api.left("sky") == []


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("RunInstances", "InvalidKeyPair.NotFound"),
        ("RunInstances", "InvalidGroup.NotFound"),
        ("AuthorizeSecurityGroupIngress", "InvalidGroup.NotFound"),
        ("ImportKeyPair", "InvalidKeyPair.Duplicate"),
    ],
)
def test_what_was_just_made_may_not_be_known_yet(api: Cloud, fab: Fab, action: str, code: str) -> None:
    api.before = at_first(action, code)
    launched(fab, "worker-2", *UP[1:])
    assert len(api.alive()) == 3
    fab("down")
    assert api.left("sky") == []


@pytest.mark.parametrize("lag", [0, 6])
def test_an_up_that_was_killed_leaves_no_second_host_of_a_name(api: Cloud, fab: Fab, lag: float) -> None:
    """The next `up` ends what nobody knows the keys of, also what is listed late."""
    api.lag = lag
    process = fab.start(*UP)

    def kill(called: str, arguments: dict[str, str]) -> None:
        if called == "DescribeInstances" and len(api.alive()) == 3:
            process.send_signal(signal.SIGKILL)

    api.before = kill
    process.communicate()
    api.before = nothing
    first = set(api.alive())
    assert len(first) == 3
    launched(fab, "worker-2", *UP[1:], timeout=120)
    assert len(api.alive()) == 3
    assert first.isdisjoint(api.alive())
    fab("down")
    assert api.left("sky") == []


def test_up_ends_a_second_host_of_a_name(api: Cloud, fab: Fab) -> None:
    """However it came to be there: the one whose key is pinned stays."""
    launched(fab, "worker-2", *UP[1:])
    known = set(api.alive())
    tags = [
        {"Key": tag["key"], "Value": tag["value"]}
        for each in api.alive().values()
        for tag in each.get_tags()
        if each.ami_launch_index == 1
    ]
    spec = [{"ResourceType": "instance", "Tags": tags}]
    (image,) = {each.image_id for each in api.alive().values()}
    api.client.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=spec)
    (second,) = set(api.alive()) - known
    until_said(fab.start("up"), f"terminated {second}")
    assert set(api.alive()) == known
    fab("down")
    assert api.left("sky") == []


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


def test_killed_while_listings_lag_behind(api: Cloud, fab: Fab) -> None:
    """What was launched is not listed yet when `fab down` looks for it: it knows that there must be something."""
    api.lag = 6
    process = fab.start(*UP)

    def kill(called: str, arguments: dict[str, str]) -> None:
        if called == "DescribeInstances" and api.alive():
            process.send_signal(signal.SIGKILL)

    api.before = kill
    process.communicate()
    api.before = lambda called, arguments: None
    assert len(api.alive()) == 3
    fab("down")
    assert api.left("sky") == []


def test_ctrl_c_while_instances_boot(api: Cloud, fab: Fab) -> None:
    api.lag = 4
    process = fab.start(*UP)

    def interrupt(called: str, arguments: dict[str, str]) -> None:
        if called == "DescribeInstances" and len(api.alive()) == 3:
            process.send_signal(signal.SIGINT)
            api.before = lambda called, arguments: None

    api.before = interrupt
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert api.alive() == {}
    fab("down")
    assert api.left("sky") == []


def test_fewer_will_do_if_that_was_said(api: Cloud, fab: Fab) -> None:
    api.capacity = 3
    config = launched(fab, "worker-2", "--hosts=3", "--min-hosts=2", *UP[2:])
    assert "Host worker-3" not in config
    fab("down")
    assert api.left("sky") == []


@pytest.mark.long
def test_calls_that_are_too_many_all_the_way(api: Cloud, fab: Fab) -> None:
    """Two of three calls are refused, as in a burst; the fleet comes all the same, once."""
    seen = Counter[str]()

    def throttle(called: str, arguments: dict[str, str]) -> None:
        seen[called] += 1
        if seen[called] % 3:
            raise Fault("RequestLimitExceeded", "Request limit exceeded.", 503)

    api.before = throttle
    launched(fab, "worker-2", *UP[1:], timeout=120)
    api.before = lambda called, arguments: None
    assert len(api.alive()) == 3
    fab("down")
    assert api.left("sky") == []


@pytest.mark.long
def test_instances_that_never_answer_are_ended(api: Cloud, fab: Fab) -> None:
    """Nothing is behind their addresses."""
    api.impaired = True
    done = fab("up", "--hosts=20", *UP[2:], code=1, FANRUN_BOOT_TIMEOUT="10")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    for name in ("hub", "worker-1", "worker-20"):
        assert f"{name}: no SSH to " in line
    assert "its instance and system status is impaired" in line
    assert "it was ended, and `fab up --fleet sky` launches another" in line
    assert api.alive() == {}
    assert api.calls.count("DescribeInstanceStatus") == 1
    fab("down")
    assert api.left("sky") == []


def test_instances_that_never_start_are_ended(api: Cloud, fab: Fab) -> None:
    api.lag = 1000
    done = fab(*UP, code=1, FANRUN_BOOT_TIMEOUT="10")
    assert "hub, worker-1, worker-2 did not start within 10 s; `fab up --fleet sky` tries again" in done.stderr
    assert api.alive() == {}
    api.lag = 0
    fab("down")
    assert api.left("sky") == []
