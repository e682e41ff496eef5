"""What `down` ends, and when it keeps the folder of a fleet."""

from __future__ import annotations

import dataclasses

import pytest

from fanrun.fleet.errors import FleetError, UsageError
from fanrun.fleet.store import Folder
from provision.lifecycle import begin, check_up
from provision.providers.base import OtherFleet
from provision.teardown import Ended, down, take_over
from tests.unit.fake_provider import THERE, FakeProvider, found


def test_down_forgets_nothing_where_only_others_carry_the_name(folder: Folder) -> None:
    begin(folder, "local", None)
    provider = FakeProvider(folder, [THERE])
    done = down(folder, provider, lambda host, what: None)
    assert (done.hosts, done.others) == ((), (THERE,))
    assert f"no host is left with the id {folder.id}, and those above carry the same name" in done.kept
    assert provider.everywhere == [True], "where nothing was found it looks everywhere"
    assert folder.exists()
    assert down(folder, FakeProvider(folder, []), lambda host, what: None) == Ended(())
    assert not folder.path.exists()


LOST = ["{", None, '{"version": 3}', '{"version": "?"}']


@pytest.mark.parametrize("there", [[], [THERE]])
@pytest.mark.parametrize("text", LOST)
def test_down_forgets_nothing_where_hosts_may_be_elsewhere(
    folder: Folder, text: str | None, there: list[OtherFleet]
) -> None:
    """Without a fleet.json that can be read, nobody knows which provider has them."""
    begin(folder, "local", None)
    folder.fleet_json.unlink() if text is None else folder.fleet_json.write_text(text)
    before = {path: path.read_bytes() for path in folder.path.iterdir()}
    done = down(folder, FakeProvider(folder, there), lambda host, what: None)
    assert "fleet.json is missing or can't be read; no host of the fleet is in what provider fake" in done.kept
    assert (done.hosts, done.others) == ((), tuple(there))
    assert before.items() <= {path: path.read_bytes() for path in folder.path.iterdir()}.items()
    with pytest.raises(FleetError):
        begin(folder, "local", None)
    with pytest.raises(FleetError):
        check_up(FakeProvider(folder, []))
    done = down(folder, FakeProvider(folder, [], mine=[found("hub", "running")]), lambda host, what: None)
    assert done == Ended(("hub",))
    assert not folder.path.exists()


def test_down_keeps_the_folder_where_the_provider_did_not_see_all(folder: Folder) -> None:
    """As on machines of which not all were named."""
    begin(folder, "local", None)
    folder.fleet_json.write_text("{")
    provider = FakeProvider(folder, [], mine=[found("hub", "running")])
    provider.not_seen = ["10.0.0.2"]
    done = down(folder, provider, lambda host, what: None)
    assert done.hosts == ("hub",)
    assert "if the fleet has hosts on 10.0.0.2, which known_hosts names, `fab down --provider=" in done.kept
    assert folder.exists()


@pytest.mark.parametrize("placed", [False, True])
def test_hosts_that_nobody_knows_the_place_of_are_not_taken_for_gone(folder: Folder, placed: bool) -> None:
    """Folders of older versions do not say which Docker, or which account, the hosts are in."""
    fleet = begin(folder, "local", None)
    folder.save(dataclasses.replace(fleet, hosts=(found("hub", "running").host,)))
    provider = FakeProvider(folder, [])
    provider.placed = placed
    done = down(folder, provider, lambda host, what: None)
    assert ("an older Fanrun did not note where hub are" in done.kept, folder.exists()) == (not placed, not placed)


def test_an_older_folder_gets_no_id_where_its_hosts_are_not_found(folder: Folder) -> None:
    """With one, its hosts would be another fleet's from then on."""
    begin(folder, "local", None)
    folder.id_file.unlink()
    folder.fleet_json.write_text("{")
    down(folder, FakeProvider(folder, []), lambda host, what: None)
    assert (folder.outdated, folder.ids) == (True, ())


def test_down_without_a_folder_leaves_none(folder: Folder) -> None:
    folder.remove()
    assert down(folder, FakeProvider(folder, [THERE]), lambda host, what: None).others == (THERE,)
    assert not folder.path.exists()


def test_there_must_be_something_to_take_over(folder: Folder) -> None:
    begin(folder, "local", None)
    with pytest.raises(UsageError, match="nothing of a fleet default has the id"):
        take_over(folder, FakeProvider(folder, []), lambda host, what: None)
    assert folder.exists()
