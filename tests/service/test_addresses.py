"""Where a URL may not lead, in whatever form it is written."""

from __future__ import annotations

import ipaddress

import pytest

from service.api.addresses import may_reach
from tests.service.servers import Farm, Origin, Served, answer, content, failure, scaler

INSIDE = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.255",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.88.99.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%lo",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "::8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::1",
    "2001:0:7f00:1::1",
    "2001:db8::1",
    "3fff::1",
    "fec0::1",
    "100::1",
    "5f00::1",
]
PUBLIC = [
    "8.8.8.8",
    "93.184.215.14",
    "172.32.0.1",
    "100.128.0.1",
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "2a00:1450:4001::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not may_reach(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_not(address: str) -> None:
    assert may_reach(address)


def test_an_allowed_network_is_allowed_and_nothing_beside_it() -> None:
    allowed = (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00:1::/64"))
    assert [may_reach(each, allowed) for each in ("10.1.2.3", "fd00:1::5", "10.2.0.1", "fd00:2::5", "8.8.8.8")] == [
        True,
        True,
        False,
        False,
        True,
    ]


@pytest.fixture(scope="module")
def strict(shared: Farm) -> Served:
    """An API as it comes: no network allowed."""
    return shared.api()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "0x7f.1",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
        "127.0.0.1.",
        "①②⑦.0.0.1",
    ],
)
def test_no_form_of_an_address_leads_inside(strict: Served, host: str) -> None:
    origin = Origin({"/": answer(200, b"secret")})
    error = failure(lambda: scaler(strict).ScaleImage(content(uri=f"http://{host}:{origin.server_address[1]}/")))
    assert error.code in ("PERMISSION_DENIED", "INVALID_ARGUMENT", "UNAVAILABLE")
    assert error.code == "PERMISSION_DENIED" or host in ("127.0.0.1.", "0177.0.0.1", "①②⑦.0.0.1")
    assert origin.seen == []


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://example.org/a",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "example.org/a.jpg",
        "http://",
        "http:///a",
        "//a",
        "http://user@example.org/",
        "http://user:pw@example.org/",
        "http://@example.org:x/",
        "http://exa mple.org/",
        "a b",
        "http://[::1/",
        "http://example.org:99999/",
        "\x00",
        "http://\x00/",
        "javascript:alert(1)",
        "http://" + "a" * 70_000,
    ],
)
def test_what_is_no_url_is_an_invalid_argument(strict: Served, uri: str) -> None:
    error = failure(lambda: scaler(strict).ScaleImage(content(uri=uri)))
    assert error.code == "INVALID_ARGUMENT", error.details
