"""The id of a fleet, and those of hosts that it took over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fanrun.fleet.errors import FleetDamaged
from fanrun.fleet.store import Folder
from tests.unit.permissions import mode


def test_a_fleet_has_an_id_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    one, two = Folder(tmp_path / "a", "default"), Folder(tmp_path / "b", "default")
    assert not one.ids
    made = one.ensure_id()
    assert re.fullmatch("[0-9a-f]{16}", made)
    assert made == one.ensure_id() == one.id == Folder(tmp_path / "a", "default").id
    assert two.ensure_id() != made
    old = [f"old-{n:012x}" for n in (1, 2)]
    one.adopt(reversed(old))
    one.adopt([old[0], made])
    assert list(one.ids) == [made, *old]
    assert mode(one.id_file) == 0o600


@pytest.mark.parametrize("damage", ["", "hello", "0123456789abcdef ../x", "\xff", None])
def test_an_id_that_can_not_be_read_is_no_id_and_is_not_replaced(folder: Folder, damage: str | None) -> None:
    folder.create()
    if damage is None:
        folder.id_file.mkdir()
    else:
        folder.id_file.write_text(damage, "latin-1")
    assert (folder.ids, folder.id) == ((), "")
    for change in (folder.ensure_id, lambda: folder.adopt(["old-0123456789ab"])):
        with pytest.raises(FleetDamaged, match=r"id can't be read .* `fab down`"):
            change()
    assert damage is None or folder.id_file.read_text("latin-1") == damage


def test_hosts_are_adopted_in_one_write(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in between, a fleet would have an id and not know its hosts."""
    folder.create()
    written = list[bytes]()
    monkeypatch.setattr("fanrun.fleet.store.write_private", lambda path, data: written.append(data))
    folder.adopt(["old-0123456789ab"])
    assert len(written) == 1
    assert re.fullmatch(rb"[0-9a-f]{16}\nold-0123456789ab\n", written[0])
