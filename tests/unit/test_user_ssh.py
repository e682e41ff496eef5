"""What the person's own ssh says of a machine, read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fanrun.fleet.errors import UsageError
from provision.hosts.ssh_key import ssh_key
from provision.providers.static.user_ssh import SshTarget, fingerprint, known_key, parse, resolve

SETTINGS = """user ada
hostname 10.0.0.5
port 2222
userknownhostsfile ~/.ssh/known_hosts "/my keys"
globalknownhostsfile /etc/ssh/ssh_known_hosts
identityfile ~/.ssh/id_ed25519
identityfile /my keys/one
"""


def test_what_ssh_says() -> None:
    files = ("~/.ssh/known_hosts", "/my keys", "/etc/ssh/ssh_known_hosts")
    keys = ("~/.ssh/id_ed25519", "/my keys/one")
    assert parse("plate", SETTINGS) == SshTarget("plate", "10.0.0.5", 2222, "ada", "", "", files, keys)


@pytest.mark.parametrize(
    ("line", "config", "proxy"),
    [
        ("proxyjump gate", "", "ssh -o BatchMode=yes -W '[10.0.0.5]:2222' ssh://gate"),
        ("proxyjump eve@gate:23", "my", "ssh -F my -o BatchMode=yes -W '[10.0.0.5]:2222' ssh://eve@gate:23"),
        ("proxyjump a,b", "", "ssh -o BatchMode=yes -J a -W '[10.0.0.5]:2222' ssh://b"),
        ("proxycommand nc %h %p # %r %n %%", "", "nc 10.0.0.5 2222 # ada plate %"),
        ("proxyjump none", "", ""),
    ],
)
def test_jump_hosts_become_a_command(line: str, config: str, proxy: str) -> None:
    assert parse("plate", f"{SETTINGS}{line}\n", config).proxy == proxy


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ada@10.0.0.5", ("10.0.0.5", 22, "ada")),
        ("ada@10.0.0.5:2222", ("10.0.0.5", 2222, "ada")),
        ("ada@plate", ("10.1.2.3", 24, "ada")),
    ],
)
def test_ssh_is_asked(tmp_path: Path, given: str, expected: tuple[str, int, str]) -> None:
    config = tmp_path / "config"
    config.write_text("Host plate\n  HostName 10.1.2.3\n  Port 24\n")
    found = resolve(given, str(config))
    assert (found.address, found.port, found.user) == expected


@pytest.mark.parametrize(
    "given", ["", "-oProxyCommand=x", "a b", "a@b:x", "a@@b", "a@b:1:2", "a@[fe80::1]:22", "$(x)", "a;b", "ada@-x"]
)
def test_what_is_no_machine(given: str, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("")
    with pytest.raises(UsageError, match=r"IPv6|admin@10\.0\.0\.5|can't make anything"):
        resolve(given, str(tmp_path / "config"))


@pytest.mark.parametrize("hashed", [False, True])
def test_a_key_is_found_in_known_hosts(tmp_path: Path, hashed: bool) -> None:
    (_, key), (_, other), (_, gone) = ssh_key(), ssh_key(), ssh_key()
    file = tmp_path / "known"
    file.write_text(
        f"10.0.0.5 ssh-rsa AAAA\n10.0.0.5 {other}\n[10.0.0.5]:2222 {gone}\n[10.0.0.5]:2222 {key}\n"
        f"@revoked [10.0.0.5]:2222 {gone}\n@cert-authority * {other}\n"
    )
    if hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    login = SshTarget("plate", "10.0.0.5", 2222, "ada", known_hosts=(str(tmp_path / "none"), str(file)))
    assert known_key(login) == key == known_key(login, str(file))
    assert known_key(SshTarget("x", "10.0.0.6", 22, "ada", known_hosts=(str(file),))) == ""
    alias = SshTarget("x", "10.9.9.9", 22, "ada", alias="10.0.0.5", known_hosts=(str(file),))
    assert known_key(alias) == other


def test_a_fingerprint_is_what_ssh_keygen_shows() -> None:
    assert fingerprint(ssh_key()[1]).startswith("SHA256:")
