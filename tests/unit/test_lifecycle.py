"""What `up` has to do, and the beginning of a fleet."""

from __future__ import annotations

import dataclasses
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fleet.errors import FleetError, UsageError
from fanrun.fleet.model import Fleet, Host, Image, Role, number
from fanrun.fleet.store import Folder
from provision.connections import disconnect
from provision.deployment import OWN, current
from provision.host_changes import change, needed, plan
from provision.lifecycle import begin, check_up
from provision.options import ProviderOptions
from provision.other_fleets import describe, refuse_others
from provision.providers.base import FoundHost, HostSpec, OtherFleet, Provider, State
from provision.registry import build
from provision.teardown import Ended, down, take_over

ROOT = Path(__file__).resolve().parents[2]


def found(name: str, state: State) -> FoundHost:
    role: Role = "hub" if name == "hub" else "worker"
    return FoundHost(Host(name, role, "10.0.0.1", "10.0.0.1", "admin"), state)


def never(item: FoundHost) -> bool:
    return False


states: st.SearchStrategy[State] = st.sampled_from(["running", "stopped", "broken"])
names = st.sampled_from(["hub", *(f"worker-{n}" for n in range(1, 15))])
existing = st.dictionaries(names, states).map(lambda have: [found(name, state) for name, state in have.items()])


@given(existing, st.integers(1, 13))
def test_a_change_makes_the_fleet_that_was_asked_for(have: list[FoundHost], workers: int) -> None:
    wanted = ["hub", *(f"worker-{n}" for n in range(1, workers + 1))]
    todo = change(have, workers, never)
    launched = [item.name for item in todo.launch]
    running = {item.host.name for item in have if item.state == "running"}
    assert sorted([*launched, *todo.keep], key=number) == wanted
    assert set(todo.keep) == running & set(wanted), "what runs stays"
    assert set(todo.terminate) == {item.host.name for item in have} - set(wanted)
    assert all(item.role == ("hub" if item.name == "hub" else "worker") for item in todo.launch)
    for order in (launched, todo.keep, todo.terminate):
        assert list(order) == sorted(order, key=number)


@given(existing, st.integers(1, 13))
def test_a_second_change_has_nothing_to_do(have: list[FoundHost], workers: int) -> None:
    todo = change(have, workers, never)
    after = [found(name, "running") for name in (*todo.keep, *(item.name for item in todo.launch))]
    again = change(after, workers, never)
    assert (again.launch, again.terminate) == ((), ())


def test_a_fleet_of_two() -> None:
    launched = (HostSpec("hub", "hub"), HostSpec("worker-1", "worker"), HostSpec("worker-2", "worker"))
    assert change([], 2, never).launch == launched


def test_a_fleet_begins_with_its_key_and_its_ca_and_keeps_them(folder: Folder) -> None:
    assert begin(folder, "local", None) == Fleet("default", "local")
    private = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    assert set(private) == {"id", "key", "key.pub", "ca.key", "ca.crt", "fleet.json", "ssh_config"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.path.iterdir())
    assert begin(folder, "another", None) == Fleet("default", "local"), "the provider it began with stays"
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == private


class OneName(Provider):
    """A provider that finds hosts of others, and is asked about its own."""

    name = "one-name"

    def __init__(
        self, folder: Folder, there: list[OtherFleet], barring: str = "", mine: Sequence[FoundHost] = ()
    ) -> None:
        super().__init__(folder, ProviderOptions())
        self.there, self.barring, self.mine = there, barring, mine
        self.not_seen, self.placed = list[str](), True
        self.everywhere = list[bool]()

    def others(self, *, everywhere: bool = False) -> list[OtherFleet]:
        self.everywhere.append(everywhere)
        return self.there

    def excludes(self, other: OtherFleet) -> bool:
        return other.id == self.barring

    @property
    def is_placed(self) -> bool:
        return self.placed

    def unnamed_hosts(self) -> list[str]:
        return self.not_seen

    def check(self) -> None:
        """All is well."""

    def find(self) -> list[FoundHost]:
        return list(self.mine)

    def launch(self, wanted: object, say: object) -> list[Host]:
        raise AssertionError("nothing may be launched")

    def terminate(self, names: Sequence[str], say: object) -> None:
        assert list(names) == [item.host.name for item in self.mine]
        self.mine = ()

    def clean(self, say: object) -> None:
        """There is nothing."""


THERE = OtherFleet("0123456789abcdef", "eve@lab", ("hub", "worker-1"), created=1000.0, folder="/lab/x", where="there")


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
    refuse_others(OneName(folder, [THERE]))
    with pytest.raises(UsageError, match=r"of eve@lab, 2 hosts .*`fab up --take-over=0123456789abcdef`"):
        refuse_others(OneName(folder, [THERE], barring=THERE.id))
    with pytest.raises(UsageError, match="--take-over"):
        check_up(OneName(folder, [THERE], barring=THERE.id))
    check_up(OneName(folder, [THERE], barring=THERE.id), THERE.id)


def test_down_forgets_nothing_where_only_others_carry_the_name(folder: Folder) -> None:
    begin(folder, "local", None)
    provider = OneName(folder, [THERE])
    done = down(folder, provider, lambda host, what: None)
    assert (done.hosts, done.others) == ((), (THERE,))
    assert f"no host is left with the id {folder.id}, and those above carry the same name" in done.kept
    assert provider.everywhere == [True], "where nothing was found it looks everywhere"
    assert folder.exists()
    assert down(folder, OneName(folder, []), lambda host, what: None) == Ended(())
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
    done = down(folder, OneName(folder, there), lambda host, what: None)
    assert "fleet.json is missing or can't be read; no host of the fleet is in what provider one-name" in done.kept
    assert (done.hosts, done.others) == ((), tuple(there))
    assert before.items() <= {path: path.read_bytes() for path in folder.path.iterdir()}.items()
    with pytest.raises(FleetError):
        begin(folder, "local", None)
    with pytest.raises(FleetError):
        check_up(OneName(folder, []))
    done = down(folder, OneName(folder, [], mine=[found("hub", "running")]), lambda host, what: None)
    assert done == Ended(("hub",))
    assert not folder.path.exists()


def test_down_keeps_the_folder_where_the_provider_did_not_see_all(folder: Folder) -> None:
    """As on machines of which not all were named."""
    begin(folder, "local", None)
    folder.fleet_json.write_text("{")
    provider = OneName(folder, [], mine=[found("hub", "running")])
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
    provider = OneName(folder, [])
    provider.placed = placed
    done = down(folder, provider, lambda host, what: None)
    assert ("an older Fanrun did not note where hub are" in done.kept, folder.exists()) == (not placed, not placed)


def test_an_older_folder_gets_no_id_where_its_hosts_are_not_found(folder: Folder) -> None:
    """With one, its hosts would be another fleet's from then on."""
    begin(folder, "local", None)
    folder.id_file.unlink()
    folder.fleet_json.write_text("{")
    down(folder, OneName(folder, []), lambda host, what: None)
    assert (folder.outdated, folder.ids) == (True, ())


def test_the_plan_names_hosts_that_are_ended_and_replaced(folder: Folder) -> None:
    """Also those whose host key is lost: what runs there can't be trusted."""
    there: list[tuple[str, State]] = [
        ("hub", "running"), ("worker-1", "broken"), ("worker-2", "stopped"), ("worker-3", "running"),
        ("worker-4", "running"),
    ]  # fmt: skip
    hosts = [
        dataclasses.replace(item, host=dataclasses.replace(item.host, address=f"10.0.0.{n}"))
        for n, item in enumerate(found(name, state) for name, state in there)
    ]
    for n in (0, 1, 2, 4):
        folder.host_keys.pin(f"10.0.0.{n}", 22, "ssh-ed25519 AAAA")
    provider = OneName(folder, [], mine=hosts)
    assert plan(provider, 3) == [
        "keep hub",
        "end worker-4; end worker-1, worker-3 and launch new ones",
        "launch worker-1, worker-2, worker-3",
    ]
    folder.known_hosts.unlink()
    assert needed(provider, 4).ends == "end hub, worker-1, worker-2, worker-3, worker-4 and launch new ones"
    assert needed(provider, 4).keep == ()


def test_down_without_a_folder_leaves_none(folder: Folder) -> None:
    folder.remove()
    assert down(folder, OneName(folder, [THERE]), lambda host, what: None).others == (THERE,)
    assert not folder.path.exists()


def test_there_must_be_something_to_take_over(folder: Folder) -> None:
    begin(folder, "local", None)
    with pytest.raises(UsageError, match="nothing of a fleet default has the id"):
        take_over(folder, OneName(folder, []), lambda host, what: None)
    assert folder.exists()


@pytest.mark.parametrize(("first", "second"), [("key", "key.pub"), ("ca.key", "ca.crt")])
@pytest.mark.parametrize("lost", [0, 1])
def test_half_a_pair_of_keys_is_made_anew(folder: Folder, first: str, second: str, lost: int) -> None:
    begin(folder, "local", None)
    pair = [folder.path / first, folder.path / second]
    old = [path.read_bytes() for path in pair]
    pair[lost].unlink()
    begin(folder, "local", None)
    assert all(path.read_bytes() != before for path, before in zip(pair, old, strict=True))


def test_an_image_is_current_while_its_sources_are_the_same() -> None:
    images = {OWN: Image(OWN, "sha256:1", "hub:5000/i@sha256:00", build.source_hash(ROOT))}
    assert current(Fleet("f", "local", images=images), OWN, ROOT)
    changed = {OWN: Image(OWN, "sha256:1", "hub:5000/i@sha256:00", "another")}
    assert not current(Fleet("f", "local", images=changed), OWN, ROOT)
    assert not current(Fleet("f", "local"), OWN, ROOT)
    assert not current(Fleet("f", "local"), "another:1", ROOT)


def test_nothing_to_disconnect_is_no_error(folder: Folder) -> None:
    disconnect(folder)
