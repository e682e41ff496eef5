"""The settings of this machine that a build needs: certificates, proxies, pip's and apt's settings."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.registry import build_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without settings, on a machine without apt and pip settings of its own."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(build_settings, "apt_proxies", lambda: b"")
    monkeypatch.setattr(build_settings, "CA_FILES", ())
    monkeypatch.setattr(build_settings, "PIP_FOLDERS", ())
    monkeypatch.setattr("ssl.get_default_verify_paths", lambda: SimpleNamespace(cafile=None))
    return tmp_path


def test_a_plain_machine_has_no_settings(home: Path) -> None:
    assert build_settings.machine_settings({"HOME": str(home)}) == build_settings.BuildSettings()


def test_the_ca_bundle_is_found_by_the_first_name_that_has_it(home: Path) -> None:
    (home / "ca").write_bytes(b"PEM")
    environ = {
        "PIP_CERT": str(home / "no such file"),
        "SSL_CERT_FILE": str(home / "ca"),
        "PIP_CONFIG_FILE": "/dev/null",
    }
    assert build_settings.machine_settings(environ).files == {"ca.pem": b"PEM"}
    assert build_settings.machine_settings({**environ, "REQUESTS_CA_BUNDLE": "/dev/null"}).files == {}


def test_pips_settings_come_from_its_files_and_the_environment(home: Path) -> None:
    config = home / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    (home / "ca").write_bytes(b"PEM")
    config.write_text(
        f"[global]\nindex-url = https://one/100%\ncert = {home / 'ca'}\n[install]\ntrusted-host = one two\n"
    )
    environ = {"HOME": str(home), "PIP_EXTRA_INDEX_URL": "file:///srv/wheels https://three"}
    assert build_settings.machine_settings(environ).files == {
        "ca.pem": b"PEM",
        "pip.conf": (
            b"[global]\nindex-url = https://one/100%\nextra-index-url = https://three\ntrusted-host = one two\n"
        ),
    }
    found = build_settings.pip_settings({**environ, "PIP_INDEX_URL": "http://four"})
    assert found["index-url"] == "http://four"


def test_pips_settings_lead_out_of_a_container_only(home: Path) -> None:
    environ = {"HOME": str(home), "PIP_INDEX_URL": "file:///srv/simple", "PIP_FIND_LINKS": "/srv/wheels"}
    assert build_settings.machine_settings(environ) == build_settings.BuildSettings()


def test_pip_may_be_told_to_read_no_files(home: Path) -> None:
    (home / "pip.conf").write_text("[global]\nindex-url = https://one\n")
    assert build_settings.pip_settings({"HOME": str(home)}) == {"index-url": "https://one"}
    assert build_settings.pip_settings({"HOME": str(home), "PIP_CONFIG_FILE": "/dev/null"}) == {}


def test_a_broken_pip_conf_is_left_to_pip_to_tell(home: Path) -> None:
    (home / "pip.conf").write_bytes(b"no section = 1\n\xff\xfe")
    assert build_settings.machine_settings({"HOME": str(home)}) == build_settings.BuildSettings()


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:3128", "http://user:secret@localhost:1/", "http://[::1]:80"])
def test_a_proxy_on_this_machine_asks_for_its_network(home: Path, proxy: str) -> None:
    found = build_settings.machine_settings({"HOME": str(home), "https_proxy": proxy, "NO_PROXY": "10.0.0.1"})
    assert found == build_settings.BuildSettings(proxies=("https_proxy", "NO_PROXY"), loopback=True)


def test_apts_proxy_counts_as_well(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = b'Acquire::http::Proxy "http://127.0.0.1:3142";\n'
    monkeypatch.setattr(build_settings, "apt_proxies", lambda: line)
    assert build_settings.machine_settings({"HOME": str(home)}) == build_settings.BuildSettings(
        {"apt.conf": line}, loopback=True
    )


@pytest.mark.skipif(not Path("/usr/bin/apt-config").exists(), reason="a machine without apt")
def test_apts_proxies_are_read_from_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "apt.conf"
    config.write_text('Acquire::http::Proxy "http://p:1"; Acquire::http::Proxy::h "DIRECT"; Acquire::Retries "3";')
    monkeypatch.setenv("APT_CONFIG", str(config))
    assert build_settings.apt_proxies() == b'Acquire::http::Proxy "http://p:1";\nAcquire::http::Proxy::h "DIRECT";\n'
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_settings.apt_proxies() == b""


@given(st.text())
def test_any_text_may_stand_where_a_url_is_expected(text: str) -> None:
    assert isinstance(build_settings.is_loopback(text), bool)
