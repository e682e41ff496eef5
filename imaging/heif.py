"""AVIF and HEIC: colours that their own fields describe, which Pillow neither reads nor writes."""

from __future__ import annotations

from typing import IO

from imaging.rules import ImageError

MAX_META = 1024 * 1024  # bytes of the box that has an image's properties
# ITU-T H.273: what counts as sRGB's primaries and transfer function; 2 means that nothing is said.
PRIMARIES, TRANSFERS = (1, 2), (1, 2, 6, 13, 14, 15)


def check_colours(source: IO[bytes]) -> None:
    """Raise ImageError if an image has other colours than sRGB's by its nclx field (ISO/IEC 14496-12, 12.1.5)."""
    meta, at = read_meta(source), 0
    while (at := meta.find(b"colrnclx", at) + 8) >= 8:
        primaries, transfer = (int.from_bytes(meta[at + start : at + start + 2], "big") for start in (0, 2))
        if primaries not in PRIMARIES or transfer not in TRANSFERS:
            raise ImageError("unsupported", f"unsupported: colours by CICP {primaries}/{transfer}, which would be lost")


def read_meta(source: IO[bytes]) -> bytes:
    """Return the content of the box `meta`; nothing if there is none."""
    source.seek(0)
    while len(head := source.read(8)) == 8:
        size, kind, head_size = int.from_bytes(head[:4], "big"), head[4:], 8
        if size == 1:
            size, head_size = int.from_bytes(source.read(8), "big"), 16
        if kind == b"meta":
            return source.read(min(size - head_size, MAX_META) if size else MAX_META)
        if size < head_size:  # the last box, or nonsense
            break
        source.seek(size - head_size, 1)
    return b""
