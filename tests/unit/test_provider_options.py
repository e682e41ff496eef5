"""The options of a provider: its dataclass alone makes flags, settings, help texts and checks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import provision.providers
from fanrun.fleet import config
from fanrun.fleet.errors import ToolMissing, UsageError
from fanrun.fleet.store import Folder
from fanrun.tasks import options
from provision import catalog
from provision.options import Flag

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = """
from dataclasses import dataclass

from provision.options import ProviderOptions, file, option, pattern, switch, text, text_list, whole_number


@dataclass(frozen=True)
class ExampleOptions(ProviderOptions):
    server_type: str = option(pattern("[a-z]+[0-9]+", "cx22"), "Example: what hosts are", tasks=("up", "down"))
    racks: int = option(whole_number(3, 1, 9), "Example: how many racks")
    label: str = option(text_list(), "Example: a label of hosts; repeatable")
    rescue: bool = option(switch(), "Example: start the rescue system", is_setting=False)
    token_file: str = option(file(), "the file with the token", tasks=())
    project: str = option(text(), "the project", tasks=(), places_fleet=True)


OPTIONS = ExampleOptions
"""
PROVIDER = """
import a_package_that_is_not_installed
"""
FAB = "import provision.providers as p; p.__path__.append({!r}); import fabric.main as m; m.program.run()"


@pytest.fixture
def providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of providers besides those of the project; it has the package `example`."""
    package = tmp_path / "providers" / "example"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "options.py").write_text(OPTIONS)
    (package / "provider.py").write_text(PROVIDER)
    monkeypatch.setattr(provision.providers, "__path__", [*provision.providers.__path__, str(package.parent)])
    yield package.parent
    for name in [name for name in sys.modules if name.startswith(f"{provision.providers.__name__}.")]:
        if str(package.parent) in str(sys.modules[name].__file__):
            del sys.modules[name]


def read_settings(file: dict[str, object], environment: dict[str, str], flags: dict[str, str | None]) -> dict[str, str]:
    return config.settings(Path("/checkout"), file, environment, flags, catalog.setting_names()).provider_options


@pytest.mark.usefixtures("providers")
def test_its_flags() -> None:
    assert "example" in catalog.names()
    found = catalog.flags("up")
    assert found["server_type"] == Flag("Example: what hosts are", None, False)
    assert found["label"] == Flag("Example: a label of hosts; repeatable", None, True)
    assert found["rescue"] == Flag("Example: start the rescue system", False, False)
    assert "racks" in found
    assert not {"token_file", "project", "owner"} & found.keys(), "they are settings only"
    assert "server_type" in catalog.flags("down")
    assert "racks" not in catalog.flags("down")


@pytest.mark.usefixtures("providers")
def test_its_settings_and_variables() -> None:
    known = catalog.setting_names()
    assert {"server_type", "racks", "label", "token_file", "project"} <= set(known.names)
    assert "rescue" not in known.names
    assert read_settings({"racks": 4, "label": ["a", "b"]}, {}, {}) == {"racks": "4", "label": "a,b"}
    assert read_settings({"racks": 4}, {"FANRUN_RACKS": "5"}, {}) == {"racks": "5"}
    assert read_settings({"racks": 4}, {"FANRUN_RACKS": "5"}, {"racks": "6"}) == {"racks": "6"}
    assert read_settings({"token_file": "token"}, {}, {}) == {"token_file": "/checkout/token"}
    assert {"owner", "project"} <= set(catalog.placing())


@pytest.mark.usefixtures("providers")
def test_its_values_and_checks() -> None:
    texts = {"server_type": " cx22 ", "racks": "5", "rescue": "true", "region": "eu-central-1"}
    found = catalog.parse("example", texts)
    assert vars(found) == {
        "owner": "",
        "server_type": "cx22",
        "racks": 5,
        "label": "",
        "rescue": True,
        "token_file": "",
        "project": "",
    }
    assert vars(catalog.parse("example", {}))["racks"] == 3
    with pytest.raises(UsageError, match=r"^--server-type 'big' is none; they look like cx22$"):
        catalog.parse("example", {"server_type": "big"})
    with pytest.raises(UsageError, match=r"^--racks=10: give a whole number from 1 to 9$"):
        catalog.parse("local", {"racks": "10"})
    with pytest.raises(UsageError, match=r"^--rescue=maybe: give true or false$"):
        catalog.parse("example", {"rescue": "maybe"})


@pytest.mark.usefixtures("providers")
def test_other_providers_refuse_its_options() -> None:
    assert catalog.owners("server_type") == ["example"]
    options.check(["server_type"], "example")
    with pytest.raises(UsageError, match=r"provider local has no --server-type; did you mean --provider=example\?"):
        options.check(["server_type"], "local")


@pytest.mark.usefixtures("providers")
def test_a_package_that_it_needs_and_that_is_missing(folder: Folder) -> None:
    with pytest.raises(ToolMissing, match=r"^provider example needs a Python package .*a_package_that"):
        catalog.load("example", folder)


def test_a_provider_may_be_a_module(providers: Path) -> None:
    (providers / "moon.py").write_text(OPTIONS.replace("racks", "crater"))
    assert "crater" in catalog.flags("up")
    assert catalog.owners("server_type") == ["example", "moon"]
    assert catalog.flags("up")["server_type"].help_text == "Example: what hosts are", "it is shown once"


def test_a_provider_that_can_not_be_imported_disturbs_no_other(providers: Path, folder: Folder) -> None:
    (providers / "moon.py").write_text(PROVIDER)
    assert "region" in catalog.flags("up")
    assert catalog.load("local", folder).name == "local"
    with pytest.raises(ToolMissing, match=r"^provider moon needs a Python package"):
        catalog.load("moon", folder)


def fab(providers: Path, tmp_path: Path, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the real `fab` with the folder of providers."""
    return subprocess.run(
        [sys.executable, "-c", FAB.format(str(providers)), *argv],
        cwd=ROOT,
        env={**os.environ, "FANRUN_HOME": str(tmp_path / "homes"), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_line_has_them(providers: Path, tmp_path: Path) -> None:
    shown = " ".join(fab(providers, tmp_path, "--help", "up").stdout.split())
    for part in (
        "--server-type=STRING Example: what hosts are",
        "--racks=STRING",
        "--label",
        "--rescue Example: start",
    ):
        assert part in shown
    assert "ec2, example, local, static" in shown
    assert "--racks" not in fab(providers, tmp_path, "--help", "down").stdout


@pytest.mark.parametrize(
    ("argv", "variables", "message"),
    [
        ("up --racks=0 --provider=example", {}, "--racks=0: give a whole number from 1 to 9"),
        ("up --provider=example", {"FANRUN_RACKS": "some"}, "--racks=some: give a whole number from 1 to 9"),
        ("up --racks=2", {}, "provider local has no --racks; did you mean --provider=example?"),
        ("up --provider=example --rescue --disk=9", {}, "provider example has no --disk; did you mean --provider=ec2?"),
        ("up --provider=example --label=a --label=b", {}, "provider example needs a Python package"),
    ],
)
def test_what_is_refused(providers: Path, tmp_path: Path, argv: str, variables: dict[str, str], message: str) -> None:
    done = fab(providers, tmp_path, *argv.split(), **variables)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
