"""Other fleets of the same name: how they are described, and when they prevent `up`."""

from __future__ import annotations

import pytest

from fanrun.fleet.errors import UsageError
from fanrun.fleet.store import Folder
from provision.lifecycle import check_up
from provision.other_fleets import describe, refuse_others
from provision.providers.base import OtherFleet
from tests.unit.fake_provider import THERE, FakeProvider


def test_another_fleet_is_described_by_id_owner_hosts_age_and_place() -> None:
    assert describe(THERE, now=1000 + 3 * 3600) == (
        "id 0123456789abcdef, of eve@lab, 2 hosts (hub, worker-1), made 3 h ago, there, begun in /lab/x"
    )
    many = OtherFleet("old-1", "", tuple(f"worker-{n}" for n in range(1, 6)), rest=("volume vol-1",))
    assert describe(many) == "id old-1, of an unknown owner, 5 hosts, volume vol-1"
    assert describe(OtherFleet("1", "e", ("hub",))) == "id 1, of e, 1 host (hub)"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172800, "2 days")],
)
def test_an_age_in_words(seconds: float, words: str) -> None:
    assert f"made {words} ago" in describe(THERE, now=1000 + seconds)


def test_up_is_refused_where_another_fleet_of_the_name_stands_in_the_way(folder: Folder) -> None:
    refuse_others(FakeProvider(folder, [THERE]))
    with pytest.raises(UsageError, match=r"of eve@lab, 2 hosts .*`fab up --take-over=0123456789abcdef`"):
        refuse_others(FakeProvider(folder, [THERE], barring=THERE.id))
    with pytest.raises(UsageError, match="--take-over"):
        check_up(FakeProvider(folder, [THERE], barring=THERE.id))
    check_up(FakeProvider(folder, [THERE], barring=THERE.id), THERE.id)
