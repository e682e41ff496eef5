"""A fleet and its hosts."""

from __future__ import annotations

import pytest

from fanrun.fleet.errors import FleetError, UsageError
from fanrun.fleet.model import Fleet, Host, number
from tests.unit.samples import FLEET


def test_a_fleet_knows_its_hosts() -> None:
    assert FLEET.hub.name == "hub"
    assert [host.name for host in FLEET.workers] == ["worker-1", "worker-2"]
    assert FLEET.host("worker-2").inner == "10.0.0.12"
    with pytest.raises(UsageError, match="has no host 'worker-3'; its hosts: worker-2, hub, worker-1"):
        FLEET.host("worker-3")
    with pytest.raises(UsageError, match="its hosts: none"):
        Fleet("empty", "local").host("hub")
    with pytest.raises(FleetError, match="`fab up` makes one"):
        _ = Fleet("empty", "local").hub


def test_workers_are_in_the_order_of_their_numbers() -> None:
    made = tuple(Host(f"worker-{n}", "worker", "a", "a", "u") for n in (10, 9, 1, 100))
    assert [number(host.name) for host in Fleet("f", "local", made).workers] == [1, 9, 10, 100]
    assert number("hub") == 0
