"""Fingerprints of OpenPGP keys."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.hosts.openpgp import armor, dearmor, fingerprints, read_packets

# Made by gpg for this test: an ed25519 key with a subkey.
KEY = """-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawndPhYJKwYBBAHaRw8BAQdALaWhjXsD62cGN15jA2Jvfdc/T/MhspWfZm8+
OUiB7me0FVRlc3RzIDx0ZXN0c0BpbnZhbGlkPoiQBBMWCAA4FiEEJAXQPDBriWII
quG5FAcNs4gDm7kFAmsJ3T4CGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQ
FAcNs4gDm7m8CwEA0dPn3Xh6ucXf/6Xg9lA+jAz8OHmhVf+sUYhsk37DuNkBAJmN
qjb6+g7J/OZjPxNFZEJv88Q1pznUPRIEzqxzYPoLuDgEawndPhIKKwYBBAGXVQEF
AQEHQGr/FB3rQb3dIGwvYLoou9rqd1vr+ickZWoaVvtd6j54AwEIB4h4BBgWCAAg
FiEEJAXQPDBriWIIquG5FAcNs4gDm7kFAmsJ3T4CGwwACgkQFAcNs4gDm7l4KwD7
B/zdoREWjEkSVAoKNYGUMaMaOCUGMkM70j0waJssgZgA/jD5Wd4m/8nSE9mF1HmU
Hh91CpSYutgNusOuKB5U5U8K
=AuFY
-----END PGP PUBLIC KEY BLOCK-----
"""
FINGERPRINT = "2405D03C306B896208AAE1B914070DB388039BB9"
"""As gpg says it."""


def test_the_fingerprint_is_the_one_that_gpg_says() -> None:
    assert fingerprints(dearmor(KEY.encode())) == [FINGERPRINT]
    assert fingerprints(dearmor(KEY.replace("\n", "\r\n").encode())) == [FINGERPRINT]
    assert fingerprints(dearmor(KEY.replace("BLOCK-----\n\n", "BLOCK-----\nComment: x\n\n").encode())) == [FINGERPRINT]


def test_keys_of_several_blocks_are_all_named() -> None:
    assert fingerprints(dearmor((KEY + KEY).encode())) == [FINGERPRINT, FINGERPRINT]


def test_armor_is_gpgs() -> None:
    assert armor(dearmor(KEY.encode())) == KEY


@given(st.binary(min_size=1, max_size=400))
def test_armor_comes_back(data: bytes) -> None:
    assert dearmor(armor(data).encode()) == data


@pytest.mark.parametrize("size", [1, 191, 192, 255, 256, 8383, 8384, 70_000])
@pytest.mark.parametrize("newer", [True, False])
def test_every_way_to_say_a_length(size: int, newer: bool) -> None:
    body = b"\x04" + b"k" * (size - 1)
    if newer:
        short, middle = bytes([size % 256]), bytes([((size - 192) >> 8) % 32 + 192, (size - 192) % 256])
        length = short if size < 192 else middle if size < 8384 else b"\xff" + size.to_bytes(4, "big")
        packet = bytes([0xC0 | 6]) + length + body
    else:
        kind = 0 if size < 256 else 1 if size < 65536 else 2
        packet = bytes([0x80 | 6 << 2 | kind]) + size.to_bytes(1 << kind, "big") + body
    assert list(read_packets(packet)) == [(6, body)]
    if size < 65536:
        named = hashlib.sha1(b"\x99" + size.to_bytes(2, "big") + body, usedforsecurity=False).hexdigest().upper()
        assert fingerprints(packet) == [named]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>not found</html>",
        dearmor(KEY.encode())[:40],
        bytes([0xC0 | 6, 2, 6, 0]),  # version 6
        bytes([0xC0 | 13, 1, 65]),  # a name alone
        bytes([0xC0 | 6]),
        bytes([0xC0 | 6, 230]),  # in parts
        bytes([0x80 | 6 << 2 | 3]),
    ],
)
def test_what_is_no_key(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"key|packet"):
        fingerprints(data)


def test_armor_that_is_broken() -> None:
    with pytest.raises(ValueError, match="armor"):
        dearmor(KEY.replace("mDME", "mD*E").encode())


@given(st.binary(max_size=60))
def test_any_bytes_are_a_key_or_a_value_error(data: bytes) -> None:
    found = ["none"]
    with contextlib.suppress(ValueError):
        found = fingerprints(data)
    assert found
