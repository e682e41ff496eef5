"""An input that is done, as a ledger has it."""

from __future__ import annotations

import hashlib

from fanrun.fanout.results.ledger import Fact


def digest(content: bytes) -> str:
    """Return the hash of a file with this content."""
    return hashlib.sha256(content).hexdigest()


FACT = Fact(b"d/\xff\n'.jpg", digest(b"in"), {b"d/\xff\n'.jpg": digest(b"out"), b"d/\xff\n'-2\xff.png": digest(b"2")})
