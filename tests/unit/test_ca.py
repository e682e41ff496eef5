"""The fleet's CA and keys, as OpenSSL and OpenSSH see them."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest

from provision.hosts import ca
from provision.hosts.ssh_key import ssh_key

ADDRESSES = ["10.0.0.10", "127.0.0.1", "hub.example"]


def openssl(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, argv)], capture_output=True, text=True, check=False)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a CA and a server's certificate: ca.crt, ca.key, server.crt, server.key."""
    key, certificate = ca.authority("default")
    server_key, server_certificate = ca.server(key, certificate, ADDRESSES)
    texts = {"ca.key": key, "ca.crt": certificate, "server.key": server_key, "server.crt": server_certificate}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def verify(files: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return openssl("verify", "-CAfile", files / "ca.crt", "-purpose", "sslserver", *options, files / "server.crt")


@pytest.mark.parametrize(
    "options", [["-verify_ip", "10.0.0.10"], ["-verify_ip", "127.0.0.1"], ["-verify_hostname", "hub.example"]]
)
def test_openssl_trusts_the_server_under_its_addresses(files: Path, options: list[str]) -> None:
    done = verify(files, *options)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "options", [["-verify_ip", "10.0.0.11"], ["-verify_hostname", "evil.example"], ["-purpose", "sslclient"]]
)
def test_openssl_trusts_it_for_nothing_else(files: Path, options: list[str]) -> None:
    assert verify(files, *options).returncode != 0


def test_openssl_trusts_the_server_by_the_letter_of_rfc_5280(files: Path) -> None:
    """Python 3.13 and later ask for this by default (ssl.VERIFY_X509_STRICT)."""
    done = verify(files, "-x509_strict")
    assert done.returncode == 0, done.stderr


def test_another_authority_of_the_same_name_is_not_trusted(files: Path) -> None:
    (files / "ca.crt").write_text(ca.authority("default")[1])
    assert verify(files).returncode != 0


@pytest.mark.parametrize("name", ["ca", "server"])
def test_key_and_certificate_belong_together(files: Path, name: str) -> None:
    public = openssl("x509", "-in", files / f"{name}.crt", "-noout", "-pubkey").stdout
    assert public.startswith("-----BEGIN PUBLIC KEY-----")
    assert openssl("pkey", "-in", files / f"{name}.key", "-pubout").stdout == public


def test_a_server_can_not_sign(files: Path) -> None:
    server_key, server_certificate = (files / "server.key").read_text(), (files / "server.crt").read_text()
    (files / "evil.crt").write_text(ca.server(server_key, server_certificate, ["10.0.0.10"])[1])
    chain = openssl("verify", "-CAfile", files / "ca.crt", "-untrusted", files / "server.crt", files / "evil.crt")
    assert chain.returncode != 0


def test_a_client_can_be_nothing_but_a_client(files: Path) -> None:
    key, certificate = ca.client((files / "ca.key").read_text(), (files / "ca.crt").read_text(), ["10.0.0.11"])
    (files / "client.crt").write_text(certificate)
    assert ca.serves(certificate, ["10.0.0.11"], (files / "ca.crt").read_text())
    assert "PRIVATE KEY" in key
    for purpose, good in (("sslclient", True), ("sslserver", False)):
        done = openssl("verify", "-CAfile", files / "ca.crt", "-x509_strict", "-purpose", purpose, files / "client.crt")
        assert (done.returncode == 0) is good, purpose


def test_serves(files: Path) -> None:
    certificate, authority = (files / "server.crt").read_text(), (files / "ca.crt").read_text()
    assert ca.serves(certificate, ADDRESSES, authority)
    assert ca.serves(certificate, ADDRESSES[::-1], authority)
    assert not ca.serves(certificate, ADDRESSES[:2], authority)
    assert not ca.serves(certificate, [*ADDRESSES, "10.0.0.9"], authority)
    assert not ca.serves(certificate, ADDRESSES, ca.authority("default")[1])


@pytest.mark.parametrize("text", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_serves_nothing(files: Path, text: str) -> None:
    assert not ca.serves(text, ADDRESSES, (files / "ca.crt").read_text())


def test_a_certificate_without_addresses_serves_nothing(files: Path) -> None:
    """The CA's own, say, which the CA did sign."""
    authority = (files / "ca.crt").read_text()
    assert not ca.serves(authority, ADDRESSES, authority)


def test_a_certificate_in_its_last_month_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    key, authority = ca.authority("default")
    for days, good in ((29, False), (31, True)):
        monkeypatch.setattr(ca, "VALID", datetime.timedelta(days=days))
        assert ca.serves(ca.server(key, authority, ADDRESSES)[1], ADDRESSES, authority) is good


def test_openssh_reads_the_keys(tmp_path: Path) -> None:
    private, public = ssh_key()
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(private)
    done = subprocess.run(["ssh-keygen", "-y", "-P", "", "-f", path], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == public.split()
    assert public.startswith("ssh-ed25519 AAAA")
    assert ssh_key()[1] != public
