"""Who takes part in a run, as workers join, are drained, and are announced to end."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from fanrun.fanout.workers.membership import Changes, Membership
from fanrun.fanout.workers.roster import Roster
from fanrun.fleet.store import Folder


class Named(Roster):
    """A roster that names these workers at each look."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self.names: frozenset[str] | None = frozenset({"worker-1", "worker-2"})

    def read(self) -> frozenset[str] | None:
        return self.names


@pytest.fixture
def roster(tmp_path: Path) -> Named:
    return Named(Folder(tmp_path, "default"))


def changes(*, joining: Iterable[str] = (), back: Iterable[str] = (), drained: Iterable[str] = ()) -> Changes:
    return Changes(frozenset(joining), frozenset(back), frozenset(drained))


BOTH = {"worker-1", "worker-2"}


def test_nothing_changes_between_two_looks(roster: Named) -> None:
    members = Membership(roster)
    assert members.look(BOTH, set()) == changes()
    roster.names = None
    assert members.look({"worker-1"}, set()) == changes()


def test_each_change_is_told_once(roster: Named) -> None:
    members = Membership(roster)
    roster.names = frozenset({"worker-2", "worker-3"})
    assert members.look(BOTH, set()) == changes(joining={"worker-3"}, drained={"worker-1"})
    assert members.joining == {"worker-3"}
    assert members.look(BOTH, {"worker-3"}) == changes(), "it is being connected to"
    members.freed.add("worker-1")
    roster.names = frozenset({"worker-1", "worker-2", "worker-3"})
    assert members.look({*BOTH, "worker-3"}, set()) == changes(back={"worker-1"})
    assert (members.drained, members.freed) == (set(), set())


def test_one_that_is_lost_is_drained_when_it_is_back(roster: Named) -> None:
    members = Membership(roster)
    roster.names = frozenset({"worker-2"})
    assert members.look(BOTH, {"worker-1"}) == changes()
    assert members.look(BOTH, set()) == changes(drained={"worker-1"})


def test_one_that_will_be_ended_stays_drained_whatever_the_roster_says(roster: Named) -> None:
    members = Membership(roster)
    assert members.end("worker-2")
    assert not members.end("worker-2")
    members.freed.add("worker-2")
    assert members.look(BOTH, set()) == changes()
    assert members.drained == {"worker-2"}


def test_the_notice_about_one_that_is_drained_is_no_news(roster: Named) -> None:
    members = Membership(roster)
    roster.names = frozenset({"worker-2"})
    members.look(BOTH, set())
    assert not members.end("worker-1")
