"""OpenPGP keys, as far as their fingerprints go (RFC 4880 and RFC 9580)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

PUBLIC_KEY = 6
ARMOR = re.compile(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL)
CRC_START, CRC_POLYNOMIAL = 0xB704CE, 0x1864CFB


def dearmor(data: bytes) -> bytes:
    """Return the packets in a file of keys, armored or not; ValueError for an armor that can't be read."""
    if not (blocks := ARMOR.findall(data)):
        return data
    found = b""
    for block in blocks:
        # Headers, if there are any, and a blank line come before the content.
        lines = (b"\n" + block.replace(b"\r", b"")).partition(b"\n\n")[2].splitlines()
        try:
            found += base64.b64decode(b"".join(line for line in lines if not line.startswith(b"=")), validate=True)
        except binascii.Error as error:
            raise ValueError("the armor can't be read") from error
    return found


def armor(packets: bytes) -> str:
    """Return packets as text, with the checksum that older programs ask for."""
    crc = CRC_START
    for byte in packets:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= CRC_POLYNOMIAL
    text = base64.b64encode(packets).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    check = base64.b64encode(crc.to_bytes(3, "big")).decode()
    begin, end = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
    return "\n".join([begin, "", *lines, f"={check}", end, ""])


def fingerprints(packets: bytes) -> list[str]:
    """Return the fingerprints of the primary keys in these packets, in upper-case hexadecimal.

    ValueError for what is no list of packets, and for a key of another version than 4.
    """
    found = []
    for tag, body in read_packets(packets):
        if tag != PUBLIC_KEY:
            continue
        if body[:1] != b"\x04":
            raise ValueError("a key is of another version than 4")
        # RFC 4880, section 12.2. SHA-1 is what version 4 names keys by.
        named = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False)
        found.append(named.hexdigest().upper())
    if not found:
        raise ValueError("it holds no key")
    return found


def read_packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each packet: (its tag, its body); ValueError for what is none, and for one that is cut."""
    position = 0
    while position < len(data):
        header = data[position]
        if not header & 0x80:
            raise ValueError("it holds no OpenPGP packets")
        if header & 0x40:
            tag, (size, width) = header & 0x3F, _new_length(data[position + 1 : position + 6])
        else:
            width = (1, 2, 4, 0)[header & 3]
            if not width:
                raise ValueError("a packet has no length")
            tag, size = header >> 2 & 0xF, int.from_bytes(data[position + 1 : position + 1 + width], "big")
        start = position + 1 + width
        position = start + size
        if position > len(data):
            raise ValueError("a packet is cut")
        yield tag, data[start:position]


def _new_length(octets: bytes) -> tuple[int, int]:
    """Return a packet's length in the newer format, and how many octets say it."""
    first = octets[0] if octets else 255
    if first < 192:
        return first, 1
    if first < 224 and len(octets) > 1:
        return ((first - 192) << 8) + octets[1] + 192, 2
    if first == 255 and len(octets) == 5:
        return int.from_bytes(octets[1:], "big"), 5
    raise ValueError("a packet has no length, or comes in parts")
