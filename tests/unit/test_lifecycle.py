"""What `up` has to do, and the beginning of a fleet."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fleet.model import Fleet, Image, number
from fanrun.fleet.store import Folder
from provision.connections import disconnect
from provision.deployment import OWN, current
from provision.host_changes import change, needed, plan
from provision.lifecycle import begin
from provision.providers.base import FoundHost, HostSpec, State
from provision.registry import build
from tests.unit.fake_provider import FakeProvider, found

ROOT = Path(__file__).resolve().parents[2]


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


def test_the_plan_names_hosts_that_are_ended_and_replaced(folder: Folder) -> None:
    """Also those whose host key is lost: what runs there can't be trusted."""
    there: list[tuple[str, State]] = [
        ("hub", "running"),
        ("worker-1", "broken"),
        ("worker-2", "stopped"),
        ("worker-3", "running"),
        ("worker-4", "running"),
    ]
    hosts = [
        dataclasses.replace(item, host=dataclasses.replace(item.host, address=f"10.0.0.{n}"))
        for n, item in enumerate(found(name, state) for name, state in there)
    ]
    for n in (0, 1, 2, 4):
        folder.host_keys.pin(f"10.0.0.{n}", 22, "ssh-ed25519 AAAA")
    provider = FakeProvider(folder, [], mine=hosts)
    assert plan(provider, 3) == [
        "keep hub",
        "end worker-4; end worker-1, worker-3 and launch new ones",
        "launch worker-1, worker-2, worker-3",
    ]
    folder.known_hosts.unlink()
    assert needed(provider, 4).ends == "end hub, worker-1, worker-2, worker-3, worker-4 and launch new ones"
    assert needed(provider, 4).keep == ()


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
