"""The options of providers: each is known to be somebody's, and nobody else's."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from fanrun.fleet.errors import UsageError
from fanrun.tasks import options
from fanrun.tasks.collection import TASKS
from provision import catalog
from provision.options import flags_of

COMMON = {"hosts", "provider", "fleet", "dry_run", "yes", "delete", "take_over", "vector"}
"""Options that every provider takes."""
OWN = {name: flags_of(catalog.options_class(name), "up").keys() for name in catalog.names()}
ALL = sorted({option for found in OWN.values() for option in found})


@pytest.mark.parametrize("task", ["up", "down", "bake"])
def test_every_option_of_a_task_is_common_or_a_providers(task: str) -> None:
    """An option that nobody declares would be refused, or ignored in silence."""
    taken = set(list(inspect.signature(TASKS[task].body).parameters)[1:]) - COMMON
    assert taken <= set(ALL)
    assert task != "up" or taken == set(ALL)


@pytest.mark.parametrize("option", ALL)
@pytest.mark.parametrize("provider", OWN)
def test_an_option_is_taken_by_its_provider_alone(provider: str, option: str) -> None:
    owners = catalog.owners(option)
    assert owners == [name for name in OWN if option in OWN[name]]
    if provider in owners:
        options.check([option], provider)
        return
    flag = "--" + option.replace("_", "-")
    with pytest.raises(
        UsageError, match=rf"^provider {provider} has no {flag}; did you mean --provider={owners[0]}\?$"
    ):
        options.check([option], provider)
    with pytest.raises(UsageError, match=rf"^fleet x is of provider {provider}, which has no {flag}; leave it out$"):
        options.check([option], provider, "x")


def test_what_was_not_given_is_not_checked() -> None:
    flags = {"region": None, "spot": False, "host": [], "ami": "", "hub": "x", "scan": True, "disk": ["0"]}
    assert options.given(flags) == ["ami", "hub", "scan", "disk"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), (False, None), (True, "true"), ([], None), (["a", "b"], "a,b"), ("", ""), ("x", "x")],
)
def test_a_flag_as_a_setting(value: object, expected: str | None) -> None:
    assert options.setting(value) == expected


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("~/x", "{home}/x"),
        ("~", "{home}"),
        ("x", "{cwd}/x"),
        ("./~/x", "{cwd}/~/x"),
        ("a~b", "{cwd}/a~b"),
        ("/x", "/x"),
    ],
)
def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, meant: str) -> None:
    """A shell leaves the ~ of `--dst=~/x` as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert options.path("dst", given) == meant.format(home=tmp_path, cwd=Path.cwd())
    (tmp_path / "tokens").write_text("ada secret")
    assert options.text("tokens", "~/tokens") == "ada secret"


def test_a_home_of_nobody_is_told() -> None:
    with pytest.raises(UsageError, match=r"^--dst '~nobody-of-this-name/x': .*; give a path without ~$"):
        options.path("dst", "~nobody-of-this-name/x")
