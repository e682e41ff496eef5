"""Settings: three sources, the later one winning."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanrun.fleet.config import MAX_HOSTS, Logs, Settings, me, settings
from fanrun.fleet.errors import UsageError
from fanrun.fleet.values import size, whole_number
from provision import catalog

ROOT = Path("/checkout")


def test_defaults() -> None:
    assert settings(ROOT, {}, {}, {}) == Settings(ROOT / ".fanrun", "local", "default", None)
    assert settings(ROOT, {}, {"FANRUN_HOSTS": "", "HOSTS": "9"}, {"hosts": None}).hosts is None


@pytest.mark.parametrize(
    ("file", "environment", "flags", "hosts"),
    [
        ({"hosts": 3}, {}, {}, 3),
        ({"hosts": 3}, {"FANRUN_HOSTS": "4"}, {}, 4),
        ({"hosts": 3}, {"FANRUN_HOSTS": "4"}, {"hosts": "5"}, 5),
        ({"hosts": 3}, {"FANRUN_HOSTS": "4"}, {"hosts": None}, 4),
        ({"hosts": "junk"}, {}, {"hosts": "5"}, 5),
    ],
)
def test_the_later_source_wins(
    file: dict[str, object], environment: dict[str, str], flags: dict[str, str | None], hosts: int
) -> None:
    assert settings(ROOT, file, environment, flags).hosts == hosts


@pytest.mark.parametrize(
    ("home", "expected"),
    [("fleets", ROOT / "fleets"), ("/var/fleets", Path("/var/fleets")), ("~/fleets", Path.home() / "fleets")],
)
def test_home_is_beside_the_checkout_or_absolute(home: str, expected: Path) -> None:
    assert settings(ROOT, {}, {"FANRUN_HOME": home}, {}).home == expected


def test_every_setting_can_come_from_everywhere() -> None:
    given_settings = {"provider": "static", "fleet": "blue", "home": "/h", "hosts": "7"}
    expected = Settings(Path("/h"), "static", "blue", 7)
    assert settings(ROOT, dict(given_settings), {}, {}) == expected
    assert settings(ROOT, {}, {f"FANRUN_{key.upper()}": value for key, value in given_settings.items()}, {}) == expected
    assert settings(ROOT, {}, {}, dict(given_settings)) == expected


def test_a_home_of_nobody() -> None:
    with pytest.raises(UsageError, match=r"home '~nobody-of-this-name/x': .*; give a path without ~"):
        settings(ROOT, {"home": "~nobody-of-this-name/x"}, {}, {})


def test_a_setting_without_a_value_is_none() -> None:
    assert settings(ROOT, {"home": None, "hosts": None}, {}, {}) == settings(ROOT, {}, {}, {})


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}], [None], [["a"]]])
def test_a_setting_that_is_no_text(value: object) -> None:
    with pytest.raises(UsageError, match=r"host holds .*; give a text, a number, or a list of them"):
        settings(ROOT, {"host": value}, {}, {}, catalog.setting_names())


def test_a_user_without_a_name_owns_a_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987654)
    assert me().startswith("987654@")


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(UsageError, match=r"'hots'.*home, provider, fleet, hosts"):
        settings(ROOT, {"hots": 3}, {}, {})


def test_a_list_of_machines_and_files_beside_fabric_yaml() -> None:
    file = {"host": ["a@b", "c@d:22"], "known_hosts": "keys"}
    found = settings(ROOT, file, {}, {"ssh_config": "my"}, catalog.setting_names()).provider_options
    assert found == {"host": "a@b,c@d:22", "known_hosts": "/checkout/keys", "ssh_config": str(Path.cwd() / "my")}


@pytest.mark.parametrize("text", ["0", "-3", "abc", "", "1.5", "1e3", "1001", "0x10", "9" * 5000])
def test_a_number_of_hosts_that_can_not_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match=f"--hosts='?{text}'?: give a whole number from 1 to {MAX_HOSTS}"):
        settings(ROOT, {}, {}, {"hosts": text})


@given(st.text(st.characters()))
@example("2\n3")
def test_any_text_is_a_whole_number_or_an_error_of_one_line(text: str) -> None:
    told = ""
    try:
        value = whole_number("hosts", text, 1, 9)
    except UsageError as error:
        value, told = 1, str(error)
    assert 1 <= value <= 9
    assert "\n" not in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6291456", 6 * 1024**2),
        ("6291456b", 6 * 1024**2),
        ("6144k", 6 * 1024**2),
        ("512m", 512 * 1024**2),
        ("4g", 4 * 1024**3),
        ("4G", 4 * 1024**3),
        ("0512M", 512 * 1024**2),
    ],
)
def test_a_size(text: str, expected: int) -> None:
    assert size("memory", text, 6 * 1024**2) == expected


@pytest.mark.parametrize("text", ["", "m", "0", "-4g", "4.5g", "4 g", "4gb", "4t", "lots", "5m", "6291455", "²g", "٣g"])
def test_a_size_that_can_not_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match=f"--memory='?{text}'?: give a size of 6m or more, as 512m or 4g"):
        size("memory", text, 6 * 1024**2)


@given(st.text(st.characters()))
@example("2\n3")
@example("4\ng")
def test_any_text_is_a_size_or_an_error_of_one_line(text: str) -> None:
    told = ""
    try:
        value = size("memory", text, 6)
    except UsageError as error:
        value, told = 6, str(error)
    assert value >= 6
    assert "\n" not in told


MIB = 1024**2


@pytest.mark.parametrize(
    ("file", "environment", "flag", "expected"),
    [
        (None, {}, None, Logs()),
        ("required", {}, None, Logs(required=True)),
        (False, {}, None, Logs(enabled=False)),
        ("off", {"FANRUN_LOGS": "on"}, None, Logs()),
        (None, {"FANRUN_LOGS": "off"}, None, Logs(enabled=False)),
        (None, {"FANRUN_LOGS": "required", "FANRUN_LOGS_DAYS": "3"}, None, Logs(required=True, days=3)),
        ({"required": True, "days": 7, "batch": "8m"}, {}, None, Logs(required=True, days=7, batch=8 * MIB)),
        ({"spool": "64m", "bytes": 5 * MIB, "days": None}, {}, None, Logs(spool=64 * MIB, bytes=5 * MIB)),
        ({"spool": "64m"}, {"FANRUN_LOGS_SPOOL": "2g"}, None, Logs(spool=2048 * MIB)),
        ({"package": "v.deb"}, {}, None, Logs(package="/checkout/v.deb")),
        ({"package": "v.deb"}, {"FANRUN_LOGS_PACKAGE": "/e.deb"}, None, Logs(package="/e.deb")),
        ({"package": "v.deb"}, {"FANRUN_LOGS_PACKAGE": "/e.deb"}, "/f.deb", Logs(package="/f.deb")),
        (None, {}, "v.deb", Logs(package=str(Path.cwd() / "v.deb"))),
    ],
)
def test_log_shipping(file: object, environment: dict[str, str], flag: str | None, expected: Logs) -> None:
    assert settings(ROOT, {"logs": file}, environment, {"vector": flag}).logs == expected


@pytest.mark.parametrize(
    ("file", "environment", "expected"),
    [
        (None, {}, None),
        (True, {}, None),
        ({}, {}, None),
        ({"bytes": None}, {}, None),
        (False, {}, 0),
        ("off", {}, 0),
        ({"bytes": 0}, {}, 0),
        ({"bytes": "20g"}, {}, 20 * 1024 * MIB),
        ({"bytes": 5 * MIB}, {"FANRUN_CACHE_BYTES": "1m"}, MIB),
        ("off", {"FANRUN_CACHE_BYTES": "1m"}, MIB),
        (None, {"FANRUN_CACHE_BYTES": "off"}, 0),
        ({"bytes": "20g"}, {"FANRUN_CACHE": "off"}, 0),
        (False, {"FANRUN_CACHE": "on"}, None),
    ],
)
def test_cache(file: object, environment: dict[str, str], expected: int | None) -> None:
    assert settings(ROOT, {"cache": file}, environment, {}).cache == expected


@pytest.mark.parametrize(
    ("file", "environment", "message"),
    [
        ("always", {}, r"^cache is 'always'; give on, off, or a mapping of bytes"),
        (["bytes"], {}, r"^cache is \['bytes'\]"),
        ({"byte": 3}, {}, r"^cache has no setting 'byte'; it has bytes"),
        ({"bytes": "10t"}, {}, r"^cache.bytes=10t: give a size of 1m or more"),
        ({"bytes": {"a": 1}}, {}, r"cache.bytes holds"),
        (None, {"FANRUN_CACHE_BYTES": "-1"}, r"^cache.bytes=-1"),
        (None, {"FANRUN_CACHE_BYTES": "a quarter"}, r"^cache.bytes=a quarter: give a size"),
    ],
)
def test_a_cache_that_can_not_be_meant(file: object, environment: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings(ROOT, {"cache": file}, environment, {})


@pytest.mark.parametrize(
    ("file", "environment", "message"),
    [
        ("always", {}, r"fabric.yaml: logs is 'always'; give required, on, .* a mapping of required, package"),
        (["required"], {}, r"fabric.yaml: logs is \['required'\]"),
        ({"dais": 3}, {}, r"fabric.yaml: logs has no setting 'dais'; it has required, package, batch"),
        ({"days": 0}, {}, r"^logs.days=0: give a whole number from 1 to 3650"),
        ({"days": "x"}, {}, r"^logs.days=x: give a whole number"),
        ({"bytes": "10t"}, {}, r"^logs.bytes=10t: give a size of 1m or more"),
        ({"batch": "1k"}, {}, r"^logs.batch=1k: give a size"),
        ({"required": "maybe"}, {}, r"^logs.required is 'maybe'; give true or false"),
        ({"package": {"a": 1}}, {}, r"logs.package holds"),
        (None, {"FANRUN_LOGS": "never"}, r"^FANRUN_LOGS is 'never'"),
        (None, {"FANRUN_LOGS_SPOOL": "-1"}, r"^logs.spool=-1"),
    ],
)
def test_log_shipping_that_can_not_be_meant(file: object, environment: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as told:
        settings(ROOT, {"logs": file}, environment, {})
    assert "\n" not in str(told.value)
