"""The file of bearer tokens."""

from __future__ import annotations

import hashlib
import re


def read_tokens(text: str) -> dict[str, bytes]:
    """Return the SHA-256 of each token by its name, from lines NAME TOKEN or NAME sha256:HEX.

    Raises ValueError, whose text contains no token.
    """
    found: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or words[0] in found:
            raise ValueError(f"line {number} is no NAME TOKEN with a name of its own")
        name, token = words
        if token.startswith("sha256:"):
            if not re.fullmatch(r"sha256:[0-9a-f]{64}", token):
                raise ValueError(f"line {number} has no 64 hexadecimal digits after sha256:")
            found[name] = bytes.fromhex(token[7:])
        elif len(token) < 16:
            raise ValueError(f"line {number} has a token of less than 16 characters, which can be guessed")
        else:
            found[name] = hashlib.sha256(token.encode()).digest()
    if not found:
        raise ValueError("there is no token in it")
    return found
